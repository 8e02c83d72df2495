"""Whom a certificate is for: the names in it, and whether they cover a SIP domain.

`sip:` URIs in the subjectAltName come first; without one of these the dNSNames count, and the common name only where there is no
subjectAltName at all. Names are compared whole: SIP domains know no wildcards. A secure WebSocket follows the rules of the web,
where the leftmost label of a dNSName may be `*`.

RFC 5922 §7.1, §7.2; RFC 7118 §10.1; RFC 9525 §6.3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flexosip.net.address import canonical_ip
from flexosip.sip.grammar import SipParseError
from flexosip.sip.uri import SipUri

__all__ = ["CertificateNames"]


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """The identities of a certificate whose chain has been verified. All in lower case."""

    sip_domains: tuple[str, ...] = ()
    """Hosts of its `sip:` URIs without a user part; other URIs are no domain's identity."""
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """Numeric addresses in their canonical spelling."""
    common_name: str | None = None
    """Only if there is no subjectAltName."""

    @classmethod
    def of(cls, certificate: Mapping[str, Any]) -> CertificateNames:
        """The names of what `ssl.SSLSocket.getpeercert()` gives."""
        alternatives: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
        if not alternatives:
            subject: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())
            common = [value for entry in subject for key, value in entry if key == "commonName"]
            # The last is the most specific one (RFC 2818 §3.1).
            return cls(common_name=_plain(common[-1]) if common else None)
        uris = (_sip_domain(value) for kind, value in alternatives if kind == "URI")
        return cls(
            sip_domains=tuple(dict.fromkeys(domain for domain in uris if domain is not None)),
            dns=tuple(dict.fromkeys(_plain(value) for kind, value in alternatives if kind == "DNS")),
            addresses=tuple(canonical_ip(value.strip()) or value.strip() for kind, value in alternatives if kind == "IP Address"),
        )

    def covers(self, domain: str, *, web: bool = False) -> bool:
        """True if the certificate speaks for `domain`, a name or a numeric address.

        Args:
            web: by the rules of secure WebSockets (RFC 7118 §10.1) instead of RFC 5922.
        """
        numeric = canonical_ip(domain.partition("%")[0])
        if numeric is not None:
            return numeric in self.addresses
        wanted = _plain(domain)
        if not wanted:
            return False
        if web:
            return any(_web_match(name, wanted) for name in self.dns) or wanted == self.common_name
        if self.sip_domains:
            return wanted in self.sip_domains
        return wanted in self.dns or wanted == self.common_name

    def counting(self, *, web: bool = False) -> tuple[str, ...]:
        """The names that `covers` compares with, for people: a `sip:` domain keeps DNS names from counting (RFC 5922 §7.2)."""
        if self.sip_domains and not web:
            return (*(f"sip:{domain}" for domain in self.sip_domains), *self.addresses)
        return tuple(name for name in self.all if not web or name not in self.sip_domains or name in self.dns)

    @property
    def all(self) -> tuple[str, ...]:
        """Every name, for people and for policies: `sip:` domains first."""
        common = () if self.common_name is None else (self.common_name,)
        return tuple(dict.fromkeys((*self.sip_domains, *self.dns, *self.addresses, *common)))


def _plain(name: str) -> str:
    return name.strip().rstrip(".").lower()


def _sip_domain(text: str) -> str | None:
    """The domain of a `sip:` URI; None for any other, and for one of a single user."""
    if not text.lower().startswith("sip:"):
        return None
    try:
        uri = SipUri.parse(text)
    except SipParseError:
        return None
    return None if uri.user is not None else _plain(uri.host)


def _web_match(name: str, wanted: str) -> bool:
    if name == wanted:
        return True
    label, dot, rest = wanted.partition(".")
    # One whole label, and never right below the root.
    return bool(label and dot) and "." in rest and name == f"*.{rest}"
