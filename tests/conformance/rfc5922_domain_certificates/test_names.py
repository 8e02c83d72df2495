"""RFC 5922 §7.1 and §7.2: which identities a certificate has, and when one of them is a SIP domain's."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip.net.certificate import CertificateNames


def certificate(*alternatives: tuple[str, str], common_name: str = "common.example.org") -> dict[str, Any]:
    """What `ssl` tells of a certificate."""
    shown: dict[str, Any] = {"subject": ((("countryName", "DE"),), (("commonName", common_name),))}
    return {**shown, "subjectAltName": alternatives} if alternatives else shown


def covers(domain: str, *alternatives: tuple[str, str], web: bool = False, **options: str) -> bool:
    return CertificateNames.of(certificate(*alternatives, **options)).covers(domain, web=web)


@pytest.mark.parametrize("uri", ["sip:example.org", "SIP:Example.ORG", "sip:example.org:5061", "sip:example.org;transport=tls"])
def test_a_sip_uri_in_the_subject_alternative_name_is_a_domain_identity(uri: str) -> None:
    assert covers("example.org", ("URI", uri))


@pytest.mark.parametrize("uri", ["sips:example.org", "https://example.org", "urn:example.org", "sip:bob@example.org", "sip:", "sip:*"])
def test_other_uris_and_those_of_a_user_are_none(uri: str) -> None:
    assert not covers("example.org", ("URI", uri))


def test_a_dns_name_counts_if_and_only_if_there_is_no_sip_uri() -> None:
    assert covers("example.org", ("DNS", "example.org"))
    assert covers("example.org", ("DNS", "example.org"), ("URI", "https://elsewhere.test"))
    assert not covers("example.org", ("DNS", "example.org"), ("URI", "sip:elsewhere.test"))


def test_the_common_name_counts_only_where_there_is_no_subject_alternative_name() -> None:
    assert covers("common.example.org")
    assert not covers("common.example.org", ("DNS", "other.example.org"))
    assert not covers("common.example.org", ("email", "bob@example.org"))


@pytest.mark.parametrize("domain", ["example.org", "EXAMPLE.org", "example.org."])
def test_names_are_compared_whatever_the_case(domain: str) -> None:
    assert covers(domain, ("DNS", "Example.Org"))


@pytest.mark.parametrize("name", ["org", "sip.example.org", "xample.org", "example.org.evil.test", "example.org\0.evil.test", ""])
def test_names_are_compared_whole_and_never_by_a_suffix(name: str) -> None:
    assert not covers("example.org", ("DNS", name))


@pytest.mark.parametrize("name", ["*.example.org", "*", "s*.example.org", "*.org"])
def test_no_form_of_wildcard_matches_a_sip_domain(name: str) -> None:
    assert not covers("sip.example.org", ("DNS", name))
    assert not covers("sip.example.org", ("URI", f"sip:{name}"))


def test_an_address_is_no_domain_identity_but_that_of_itself() -> None:
    assert not covers("example.org", ("IP Address", "192.0.2.1"))
    assert covers("192.0.2.1", ("IP Address", "192.0.2.1"))
    assert covers("2001:db8::1", ("IP Address", "2001:DB8:0:0:0:0:0:1"))
    assert not covers("192.0.2.1", ("DNS", "192.0.2.1"))
    assert not covers("192.0.2.2", ("IP Address", "192.0.2.1"))


def test_a_secure_websocket_follows_the_rules_of_the_web() -> None:
    assert covers("sip.example.org", ("DNS", "*.example.org"), web=True)
    assert covers("sip.example.org", ("DNS", "sip.example.org"), ("URI", "sip:elsewhere.test"), web=True)
    for name in ("*.sip.example.org", "s*.example.org", "*", "*.org"):
        assert not covers("sip.example.org", ("DNS", name), web=True)
    assert not covers("a.sip.example.org", ("DNS", "*.example.org"), web=True)
    assert not covers("example.org", ("DNS", "*.org"), web=True)


def test_all_names_are_told_the_sip_domains_first() -> None:
    names = CertificateNames.of(certificate(("DNS", "b.test"), ("IP Address", "192.0.2.1"), ("URI", "sip:a.test"), ("DNS", "b.test")))
    assert names.all == ("a.test", "b.test", "192.0.2.1")
    assert CertificateNames.of(certificate()).all == ("common.example.org",)
    assert CertificateNames.of({}).all == ()
