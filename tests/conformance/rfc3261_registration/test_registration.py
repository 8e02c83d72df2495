"""RFC 3261 §10.2 and RFC 5626 §4.5: a registration over months, in virtual time."""

from __future__ import annotations

import random

import pytest

from flexosip.sip.digest import DigestClient
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.registration import Registration, RegistrationEvent, RegistrationState
from flexosip.sip.uri import SipUri
from tests.sip_agent import Agent
from tests.sip_wire import answer, tcp_flow

CHALLENGE = ("WWW-Authenticate", 'Digest realm="example.com", nonce="n1", algorithm=MD5, qop="auth"')


class Registering(Agent):
    """An agent with a registration; the peer is the registrar."""

    def __init__(self, *, password: str | None = None, expires: float = 3600, flow: Flow | None = None) -> None:
        super().__init__(flow)
        self.events: list[RegistrationEvent] = []
        self.public = False
        self.registration = Registration(
            self.core,
            aor=SipUri.parse("sip:us@example.com"),
            registrar=SipUri.parse("sip:someone@example.com:5060;lr"),
            next_hop=SipUri.parse("sip:192.0.2.2"),
            contact=self.contact_of,
            auth=DigestClient("us", password, random=random.Random(3)) if password is not None else None,
            expires=expires,
            random=self.wire.random,
            on_change=self.events.append,
        )

    def contact_of(self, flow: Flow) -> NameAddr:
        host, port = (flow.advertised or flow.local) if self.public else flow.local
        return NameAddr(SipUri("sip", "secret-user", host, port))

    def grant(self, request: Request, lease: int | None = None, **options: object) -> None:
        contact = str(request.contact.without_parameters()) if request.contact is not None else ""
        headers = [("Contact", f"{contact};expires={lease}")] if lease is not None else []
        headers += options.pop("headers", ())  # type: ignore[arg-type]
        self.reply(request, 200, headers=tuple(headers), contact=False, **options)

    def start(self) -> Request:
        self.registration.start()
        return self.wire.take_request("REGISTER")

    def next_register(self, limit: float = 10_000_000) -> tuple[float, Request]:
        """Let time pass until the next REGISTER; how long it took, and the request."""
        before = self.wire.scheduler.now
        while not any(data.startswith(b"REGISTER") for _, _, data in self.wire.sent[self.wire._read :]):
            due = self.wire.scheduler.next_timeout()
            assert due is not None and due - before < limit
            self.wire.scheduler.handle_timeout(due)
        return self.wire.scheduler.now - before, self.wire.take_request("REGISTER")


# -- the request ----------------------------------------------------------------------------------------------------------


def test_the_request_uri_is_the_domain_without_user_and_from_and_to_are_the_address_of_record() -> None:
    register = Registering().start()
    assert str(register.uri) == "sip:example.com:5060"
    assert str(register.to) == "<sip:us@example.com>"
    assert str(register.from_.uri) == "sip:us@example.com" and register.from_.tag
    assert str(register.contact) == "<sip:secret-user@192.0.2.1:5060>;expires=3600"
    assert register.expires == 3600


def test_the_call_id_stays_for_life_and_cseq_rises_by_one_also_between_401_and_retry() -> None:
    agent = Registering(password="x")
    first = agent.start()
    agent.reply(first, 401, headers=(CHALLENGE,))
    second = agent.wire.take_request("REGISTER")
    agent.grant(second, 3600)
    _, third = agent.next_register()
    requests = (first, second, third)
    assert len({request.call_id for request in requests}) == 1
    assert len({request.from_.tag for request in requests}) == 1
    assert [request.cseq.number for request in requests] == [1, 2, 3]
    assert len({request.via.branch for request in requests}) == 3
    assert "Authorization" in second.headers and "Authorization" in third.headers


def test_a_second_register_is_not_sent_before_the_first_is_answered() -> None:
    agent = Registering()
    agent.start()
    agent.registration.start()
    agent.registration.refresh()
    agent.registration.stop(lambda: None)
    assert agent.wire.lines() == []


# -- the lease ------------------------------------------------------------------------------------------------------------


def test_the_lease_is_that_of_our_own_contact_whatever_others_have() -> None:
    agent = Registering()
    register = agent.start()
    others = (
        ("Contact", "<sip:other@192.0.2.50>;expires=17"),
        ("Contact", "<sip:secret-user@192.0.2.1:5060>;expires=600, <sip:x@192.0.2.51>;expires=3"),
        ("Expires", "99"),
    )
    agent.reply(register, 200, headers=others, contact=False)
    assert agent.events[-1].expires == 600 and agent.registration.registered
    assert agent.registration.expires_at == agent.wire.scheduler.now + 600
    wait, _ = agent.next_register()
    assert 480 <= wait <= 540


@pytest.mark.parametrize(
    ("headers", "lease"),
    [
        ((("Expires", "120"),), 120),
        ((("Contact", "<sip:secret-user@198.51.100.1:999>;expires=77"), ("Contact", "<sip:b@c>;expires=5")), 77),
        ((("Contact", "<sip:rewritten@198.51.100.1:999>;expires=66"),), 66),
        ((), 3600),
        ((("Contact", "<sip:secret-user@192.0.2.1:5060>;expires=nonsense"), ("Expires", "50")), 50),
        ((("Contact", "<sip:secret-user@192.0.2.1:5060>;expires=4000000000"),), 7 * 86400),
    ],
)
def test_contact_beats_expires_and_what_we_asked_for_is_the_last_resort(headers: tuple[tuple[str, str], ...], lease: int) -> None:
    agent = Registering()
    agent.reply(agent.start(), 200, headers=headers, contact=False)
    assert agent.events[-1].expires == lease


def test_a_200_that_binds_nothing_is_a_failure() -> None:
    agent = Registering()
    agent.grant(agent.start(), 0)
    assert agent.events[-1].failed and not agent.registration.registered


def test_a_tiny_lease_does_not_make_us_hammer_the_registrar() -> None:
    agent = Registering()
    agent.grant(agent.start(), 1)
    wait, _ = agent.next_register()
    assert wait >= 2


def test_a_lease_of_six_seconds_is_refreshed_before_it_ends() -> None:
    agent = Registering()
    agent.grant(agent.start(), 6)
    wait, _ = agent.next_register()
    assert 2 <= wait <= 4.5
    assert agent.registration.registered


def test_it_stays_registered_for_a_month() -> None:
    agent = Registering()
    request = agent.start()
    count = 0
    while agent.wire.scheduler.now < 30 * 86400:
        agent.grant(request, 3600)
        assert agent.registration.registered
        _, request = agent.next_register()
        assert agent.registration.registered
        count += 1
    assert 700 < count < 1000
    assert agent.core.statistics().stack.client_transactions <= 2


# -- refusals -------------------------------------------------------------------------------------------------------------


def test_423_is_answered_at_once_with_min_expires_which_is_kept() -> None:
    agent = Registering(expires=60)
    agent.reply(agent.start(), 423, headers=(("Min-Expires", "1800"),))
    second = agent.wire.take_request("REGISTER")
    assert second.expires == 1800 and str(second.contact).endswith("expires=1800")
    agent.grant(second, 1800)
    assert agent.events[-1].state is RegistrationState.REGISTERED and not agent.events[-1].failed
    _, third = agent.next_register()
    assert third.expires == 1800


@pytest.mark.parametrize("minimum", ["60", "30", "x", "99999999999", ""])
def test_a_423_that_asks_for_nothing_more_is_a_failure_and_no_loop(minimum: str) -> None:
    agent = Registering(expires=60)
    agent.reply(agent.start(), 423, headers=(("Min-Expires", minimum),))
    assert agent.wire.lines() == []
    assert agent.events[-1].failed and agent.events[-1].status == 423


def test_retry_after_is_kept() -> None:
    agent = Registering()
    agent.reply(agent.start(), 503, headers=(("Retry-After", "100 (overload);duration=9"),))
    wait, _ = agent.next_register()
    assert 100 <= wait <= 101.1
    assert agent.events[-1].retry_in == pytest.approx(wait)


def test_back_off_doubles_with_jitter_up_to_five_minutes_and_never_gives_up() -> None:
    agent = Registering()
    request = agent.start()
    waits = []
    for _ in range(60):
        agent.reply(request, 500)
        wait, request = agent.next_register()
        waits.append(wait)
    bounds = [min(300, 5 * 2**number) for number in range(60)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len({round(wait, 3) for wait in waits[10:]}) > 40
    agent.grant(request, 3600)
    assert agent.registration.registered
    _, request = agent.next_register()
    agent.reply(request, 500)
    wait, _ = agent.next_register()
    assert wait <= 5


def test_no_answer_is_a_time_out_and_tried_again() -> None:
    agent = Registering()
    agent.start()
    agent.wire.advance_to(32)
    event = agent.events[-1]
    assert (event.failed, event.timed_out, event.status) == (True, True, 408)
    agent.wire.take()
    _, register = agent.next_register()
    assert register.cseq.number == 2


def test_no_way_to_the_registrar_is_reported_with_its_error_and_tried_again() -> None:
    agent = Registering()
    agent.unreachable = OSError("no such host")
    agent.registration.start()
    assert agent.events[-1].error is agent.unreachable and agent.events[-1].status == 503
    agent.unreachable = None
    agent.next_register()


def test_a_wrong_password_is_sent_once_reported_and_tried_again_slowly() -> None:
    agent = Registering(password="wrong")
    agent.reply(agent.start(), 401, headers=(CHALLENGE,))
    again = agent.wire.take_request("REGISTER")
    agent.reply(again, 401, headers=(("WWW-Authenticate", CHALLENGE[1].replace("n1", "n2")),))
    assert agent.wire.lines() == []
    assert agent.events[-1].refused_credentials and agent.events[-1].status == 401
    wait, _ = agent.next_register()
    assert 300 <= wait <= 600


def test_a_stale_nonce_is_renewed_silently() -> None:
    agent = Registering(password="right")
    agent.reply(agent.start(), 401, headers=(CHALLENGE,))
    agent.grant(agent.wire.take_request("REGISTER"), 60)
    _, refresh = agent.next_register()
    stale = ("WWW-Authenticate", CHALLENGE[1].replace("n1", "n2") + ", stale=true")
    agent.reply(refresh, 401, headers=(stale,))
    again = agent.wire.take_request("REGISTER")
    assert 'nonce="n2"' in (again.headers.get("Authorization") or "")
    agent.grant(again, 60)
    assert [event.failed for event in agent.events] == [False, False]


def test_without_password_a_challenge_is_a_refusal() -> None:
    agent = Registering()
    agent.reply(agent.start(), 401, headers=(CHALLENGE,))
    assert agent.wire.lines() == [] and agent.events[-1].refused_credentials


def test_a_failed_refresh_leaves_it_registered_until_the_lease_ends() -> None:
    agent = Registering()
    agent.grant(agent.start(), 1000)
    _, refresh = agent.next_register()
    agent.reply(refresh, 500)
    assert agent.events[-1].failed and agent.registration.registered
    agent.wire.advance_to(1000)
    assert not agent.registration.registered


# -- the end --------------------------------------------------------------------------------------------------------------


def test_unregistering_takes_only_our_own_binding_away() -> None:
    agent = Registering()
    agent.grant(agent.start(), 3600)
    done: list[bool] = []
    agent.registration.stop(lambda: done.append(True))
    request = agent.wire.take_request("REGISTER")
    assert request.expires == 0 and str(request.contact) == "<sip:secret-user@192.0.2.1:5060>;expires=0"
    assert request.cseq.number == 2 and done == []
    agent.reply(request, 200, contact=False)
    assert done == [True] and agent.events[-1].state is RegistrationState.IDLE
    assert not agent.registration.registered
    assert agent.left_behind() == (0, 0, 0)
    assert agent.wire.lines() == []


def test_unregistering_answers_a_challenge() -> None:
    agent = Registering(password="x")
    agent.grant(agent.start(), 3600)
    done: list[bool] = []
    agent.registration.stop(lambda: done.append(True))
    agent.reply(agent.wire.take_request("REGISTER"), 401, headers=(CHALLENGE,))
    agent.reply(agent.wire.take_request("REGISTER"), 200, contact=False)
    assert done == [True]


def test_stopping_while_a_register_is_under_way_unregisters_after_its_answer() -> None:
    agent = Registering()
    register = agent.start()
    done: list[bool] = []
    agent.registration.stop(lambda: done.append(True))
    agent.grant(register, 3600)
    final = agent.wire.take_request("REGISTER")
    assert final.expires == 0
    agent.reply(final, 200, contact=False)
    assert done == [True]


def test_stopping_when_nothing_is_registered_is_done_at_once() -> None:
    agent = Registering()
    done: list[int] = []
    agent.registration.stop(lambda: done.append(1))
    agent.reply(agent.start(), 500)
    agent.registration.stop(lambda: done.append(2))
    assert done == [1, 2]
    assert agent.left_behind() == (0, 0, 0)
    assert agent.wire.lines() == []


def test_a_registrar_that_does_not_answer_ends_the_stopping_too() -> None:
    agent = Registering()
    agent.grant(agent.start(), 3600)
    done: list[bool] = []
    agent.registration.stop(lambda: done.append(True))
    agent.registration.stop(lambda: done.append(True))
    agent.wire.advance(32)
    assert done == [True, True]


def test_it_can_be_started_again_after_stopping() -> None:
    agent = Registering()
    agent.grant(agent.start(), 3600)
    agent.registration.stop(lambda: None)
    leaving = agent.wire.take_request("REGISTER")
    agent.registration.start()
    assert agent.wire.lines() == []
    agent.reply(leaving, 200, contact=False)
    again = agent.wire.take_request("REGISTER")
    assert again.expires == 3600
    agent.grant(again, 3600)
    assert agent.registration.registered


# -- our address ----------------------------------------------------------------------------------------------------------


def test_a_public_address_learned_by_rport_replaces_the_private_one_at_the_registrar() -> None:
    agent = Registering()
    agent.public = True
    register = agent.start()
    seen = b";rport=40000;received=198.51.100.9"
    private = (("Contact", "<sip:secret-user@192.0.2.1:5060>;expires=600"),)
    agent.receive(answer(register, 200, headers=private, contact=False).replace(b";rport", seen))
    assert agent.registration.public_address == ("198.51.100.9", 40000)
    agent.wire.settle()
    second = agent.wire.take_request("REGISTER")
    assert [str(contact) for contact in second.contacts] == [
        "<sip:secret-user@198.51.100.9:40000>;expires=3600",
        "<sip:secret-user@192.0.2.1:5060>;expires=0",
    ]
    both = (("Contact", "<sip:secret-user@198.51.100.9:40000>;expires=600"),)
    agent.receive(answer(second, 200, headers=both, contact=False).replace(b";rport", seen))
    agent.wire.settle()
    assert agent.wire.lines() == []
    assert agent.events[-1].expires == 600


def test_a_public_address_that_changes_each_time_makes_no_loop() -> None:
    agent = Registering()
    agent.public = True
    register = agent.start()
    for port in range(40000, 40020):
        data = answer(register, 200, headers=(("Expires", "600"),), contact=False)
        agent.receive(data.replace(b";rport", f";rport={port};received=198.51.100.9".encode()))
        agent.wire.settle()
        sent = agent.wire.take()
        if not sent:
            break
        register = sent[0]  # type: ignore[assignment]
    assert port < 40006


def test_a_lost_connection_is_followed_by_a_register_over_a_new_one() -> None:
    agent = Registering(flow=tcp_flow())
    agent.grant(agent.start(), 3600)
    lost, agent.flow = agent.flow, tcp_flow()
    agent.core.flow_failed(lost, ConnectionResetError())
    agent.registration.flow_lost(lost)
    wait, _ = agent.next_register()
    assert wait <= 1
    assert agent.wire.sent[-1][1] is agent.flow


def test_service_route_is_kept_for_later_requests() -> None:
    agent = Registering()
    agent.grant(agent.start(), 3600, headers=[("Service-Route", "<sip:a.example.com;lr>, <sip:b.example.com;lr>")])
    assert [str(route) for route in agent.registration.service_route] == ["<sip:a.example.com;lr>", "<sip:b.example.com;lr>"]
