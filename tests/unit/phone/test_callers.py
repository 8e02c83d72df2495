"""Who may call: sources, and patterns of identities."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import Callers, ConfigurationError
from flexosip.phone.policy.callers import CallerPolicy, Judgement, caller_matches
from flexosip.phone.profiles.server_rules import ServerRules
from flexosip.sip.flow import Flow
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import parse_uri


class Server:
    """As much of an account as the policy asks for."""

    contact_user = "unguessable"
    server_rules = ServerRules()

    def trusts(self, flow: Flow) -> bool:
        return flow.remote == ("198.51.100.1", 5060)


def request(user: str = "alice", *, uri: str = "sip:me@192.0.2.1", extra: str = "") -> Any:
    return parse_message(
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:{user}@h.example>;tag=1\r\nTo: <sip:me@h>\r\n"
        f"Call-ID: c\r\nCSeq: 1 INVITE\r\n{extra}Content-Length: 0\r\n\r\n".encode()
    )


def judge(policy: CallerPolicy, source: str, *, port: int = 5060, account: bool = True, **options: Any) -> Judgement:
    flow = Flow("udp", ("192.0.2.1", 5060), (source, port))
    accounts: Any = [Server()] if account else []
    return policy.judge(request(**options), flow, accounts)


ACCEPT, SILENCE, DENY, STRANGER = Judgement.ACCEPT, Judgement.SILENCE, Judgement.DENY, Judgement.STRANGER


@pytest.mark.parametrize(
    ("accept_from", "account", "source", "expected"),
    [
        ("auto", True, "198.51.100.1", ACCEPT),
        ("auto", True, "203.0.113.1", SILENCE),
        ("auto", False, "203.0.113.1", STRANGER),
        ("registrar", True, "198.51.100.1", ACCEPT),
        ("registrar", True, "203.0.113.1", SILENCE),
        ("registrar", False, "203.0.113.1", SILENCE),
        ("any", True, "203.0.113.1", STRANGER),
        ("any", True, "198.51.100.1", STRANGER),
        (("registrar", "203.0.113.0/24"), True, "203.0.113.9", ACCEPT),
        (("registrar", "203.0.113.0/24"), True, "198.51.100.1", ACCEPT),
        (("registrar", "203.0.113.0/24"), True, "192.0.2.99", SILENCE),
        ("203.0.113.7", True, "203.0.113.7", ACCEPT),
        ("203.0.113.7", True, "198.51.100.1", SILENCE),
        ("203.0.113.7", False, "::ffff:203.0.113.7", ACCEPT),
        ("2001:db8::/32", False, "2001:db8::9", ACCEPT),
        ("2001:db8::/32", False, "203.0.113.7", SILENCE),
        ((), False, "203.0.113.7", SILENCE),
    ],
)
def test_the_source_decides(accept_from: Any, account: bool, source: str, expected: Judgement) -> None:
    assert judge(CallerPolicy(accept_from, Callers()), source, account=account) is expected


@pytest.mark.parametrize("accept_from", ["auto", "registrar", ("registrar",)])
def test_who_knows_our_contact_was_sent_by_the_registrar(accept_from: Any) -> None:
    assert judge(CallerPolicy(accept_from, Callers()), "203.0.113.1", uri="sip:unguessable@192.0.2.1") is ACCEPT
    assert judge(CallerPolicy(accept_from, Callers()), "203.0.113.1", uri="sip:unguessable%00@192.0.2.1") is SILENCE


def test_a_contact_that_the_server_wants_to_be_the_users_name_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "server_rules", ServerRules(account_contact=True))
    for accept_from in ("auto", "registrar"):
        assert judge(CallerPolicy(accept_from, Callers()), "203.0.113.1", uri="sip:unguessable@192.0.2.1") is SILENCE
        assert judge(CallerPolicy(accept_from, Callers()), "198.51.100.1", uri="sip:unguessable@192.0.2.1") is ACCEPT


def test_the_servers_address_with_another_port_is_no_server() -> None:
    assert judge(CallerPolicy("auto", Callers()), "198.51.100.1", port=5062) is SILENCE


@pytest.mark.parametrize("agent", ["friendly-scanner", "sipvicious", "Phone 1.0"])
def test_what_a_scanner_calls_itself_changes_nothing(agent: str) -> None:
    extra = f"User-Agent: {agent}\r\n"
    assert judge(CallerPolicy("auto", Callers()), "203.0.113.1", extra=extra) is SILENCE
    assert judge(CallerPolicy("auto", Callers()), "198.51.100.1", extra=extra) is ACCEPT


@pytest.mark.parametrize(
    ("allow", "deny", "user", "expected"),
    [
        (None, ("alice",), "alice", DENY),
        (None, ("alice",), "bob", ACCEPT),
        (None, ("*@h.example",), "bob", DENY),
        (None, ("+49190*",), "+491901234", DENY),
        (("+49*",), ("+49190*",), "+491901234", DENY),
        (("+49*",), ("+49190*",), "+49301234", ACCEPT),
        (("+49*",), (), "+43301234", DENY),
        ((), (), "alice", DENY),
        (("[*][*]6*",), (), "**620", ACCEPT),
        (("[*][*]6*",), (), "6620", DENY),
        (None, ("ALICE",), "aLiCe", DENY),
        (None, ("alice",), "%61lice", DENY),
    ],
)
def test_patterns_of_callers(allow: Any, deny: Any, user: str, expected: Judgement) -> None:
    assert judge(CallerPolicy("auto", Callers(allow, deny)), "198.51.100.1", user=user) is expected


def test_a_denied_stranger_meets_silence_as_every_stranger_does() -> None:
    assert judge(CallerPolicy("auto", Callers(None, ("alice",))), "203.0.113.1") is SILENCE


def test_what_the_server_asserts_counts_and_what_a_stranger_asserts_does_not() -> None:
    asserted = "P-Asserted-Identity: <sip:+49301234@h.example>\r\n"
    assert judge(CallerPolicy("auto", Callers(("+49*",))), "198.51.100.1", user="anonymous", extra=asserted) is ACCEPT
    assert judge(CallerPolicy("auto", Callers(("bob",))), "198.51.100.1", user="bob", extra=asserted) is DENY
    assert judge(CallerPolicy("any", Callers(("+49*",))), "203.0.113.1", user="anonymous", extra=asserted) is DENY
    tel = "P-Asserted-Identity: <tel:+49301234>\r\n"
    assert judge(CallerPolicy("auto", Callers(("+49*",))), "198.51.100.1", user="anonymous", extra=tel) is ACCEPT


def test_a_hundred_stars_in_a_pattern_take_no_time() -> None:
    assert not caller_matches("*a" * 20 + "b", parse_uri("sip:" + "a" * 60 + "@h"))


@pytest.mark.parametrize("wrong", ["192.0.2.0/33", "a b", "-", "", "host:5060", "any,auto", 7])
def test_what_accept_from_cannot_mean_is_refused_with_what_it_can(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="host names"):
        CallerPolicy((wrong,), Callers())


@pytest.mark.parametrize("wrong", ["", "a\r\nb", 7])
def test_a_pattern_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Callers(None, (wrong,))
