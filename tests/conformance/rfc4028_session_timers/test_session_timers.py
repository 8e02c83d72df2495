"""RFC 4028: session timers in both roles."""

from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.invite import InviteUsage
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.session_timer import SessionExpires, SessionTimerSettings
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request

TIMER = ("Supported", "timer")
UPDATES = ("Allow", "INVITE, ACK, BYE, UPDATE")


def expires(value: str) -> tuple[str, str]:
    return ("Session-Expires", value)


class Timed(Agent):
    """An agent with session timers."""

    def __init__(self, seconds: int | None = 1800, min_se: int = 90) -> None:
        super().__init__()
        self.core.supported = frozenset({"timer"})
        self.core.session_timer = SessionTimerSettings(seconds, min_se)
        self.handler.do["refresh"] = self.refresh
        self.offers: list[bytes] = []

    def refresh(self, usage: InviteUsage) -> None:
        usage.reinvite(OFFER, lambda result: None)

    def with_timer(self, *headers: tuple[str, str]) -> InviteUsage:
        """A call of ours whose 2xx has `headers`, the wire read."""
        return self.answered_call(headers=headers)

    def asked(self, *headers: tuple[str, str], cseq: int = 1) -> tuple[InviteUsage, Response]:
        """A call to us, answered and acknowledged, and our 2xx."""
        usage = self.called(headers=headers)
        usage.accept(ANSWER)
        response = self.wire.take_response(200)
        self.receive(self.in_dialog(usage, "ACK"))
        return usage, response


def session_expires(message: Message) -> str | None:
    return message.headers.get("Session-Expires")


# -- the caller -----------------------------------------------------------------------------------------------------------


def test_an_invite_asks_for_an_interval_and_leaves_the_refresher_to_the_callee() -> None:
    agent = Timed()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    assert session_expires(invite) == "1800" and "timer" in invite.supported and "Min-SE" not in invite.headers


def test_a_minimum_above_90_is_told() -> None:
    agent = Timed(600, 300)
    agent.call()
    invite = agent.wire.take_request("INVITE")
    assert (session_expires(invite), invite.headers.get("Min-SE")) == ("600", "300")


def test_a_phone_that_wants_no_timer_asks_for_none_but_understands_it() -> None:
    agent = Timed(None)
    agent.call()
    invite = agent.wire.take_request("INVITE")
    assert session_expires(invite) is None and "timer" in invite.supported
    agent.reply(invite, 200, body=ANSWER, headers=(expires("600;refresher=uac"), ("Require", "timer")))
    agent.wire.take()
    agent.wire.advance(301)
    assert agent.handler.names.count("refresh") == 1


def test_the_refresher_refreshes_at_half_the_interval_by_update_without_a_body() -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(299.9)
    assert agent.wire.lines() == []
    agent.wire.advance(0.2)
    update = agent.wire.take_request("UPDATE")
    assert session_expires(update) == "600;refresher=uac" and not update.body
    agent.reply(update, 200, headers=(expires("600;refresher=uac"),))
    agent.wire.advance(299.8)
    assert agent.wire.lines() == []
    agent.wire.advance(0.3)
    assert agent.wire.lines() == ["UPDATE"]


def test_it_refreshes_by_reinvite_where_update_is_not_allowed() -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uac"), ("Allow", "INVITE, ACK, BYE"))
    agent.wire.advance(300.1)
    invite = agent.wire.take_request("INVITE")
    assert session_expires(invite) == "600;refresher=uac" and invite.body == OFFER
    agent.reply(invite, 200, body=ANSWER, headers=(expires("600;refresher=uac"),))
    agent.wire.take_request("ACK")
    agent.wire.advance(299.8)
    assert agent.wire.lines() == []


@pytest.mark.parametrize("status", [405, 501])
def test_an_update_that_is_not_known_after_all_is_followed_by_a_reinvite_at_once_and_for_good(status: int) -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    agent.reply(agent.wire.take_request("UPDATE"), status)
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 200, body=ANSWER, headers=(expires("600;refresher=uac"), UPDATES))
    agent.wire.take()
    agent.wire.advance(300.1)
    assert agent.wire.lines() == ["INVITE"]


def test_who_is_not_the_refresher_sends_nothing_and_ends_the_call_before_the_end_when_no_refresh_comes() -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uas"), UPDATES)
    agent.wire.advance_to(567.9)
    assert agent.wire.lines() == []
    agent.wire.advance_to(568)
    bye = agent.wire.take_request("BYE")
    assert "Session timer" in (bye.headers.get("Reason") or "")
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 408)


def test_a_short_interval_leaves_a_third_of_it_before_the_bye() -> None:
    agent = Timed()
    agent.with_timer(expires("90;refresher=uas"))
    agent.wire.advance_to(59.9)
    assert agent.wire.lines() == []
    agent.wire.advance_to(60)
    assert agent.wire.lines() == ["BYE"]


def test_a_2xx_without_session_expires_turns_the_timer_off() -> None:
    agent = Timed()
    usage = agent.with_timer()
    agent.wire.advance(10_000)
    assert agent.wire.lines() == [] and not usage.ended


def test_a_refresh_that_is_answered_without_session_expires_turns_the_timer_off() -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    agent.reply(agent.wire.take_request("UPDATE"), 200)
    agent.wire.advance(10_000)
    assert agent.wire.lines() == []


def test_the_refresher_may_change_with_a_refresh() -> None:
    agent = Timed()
    agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    agent.reply(agent.wire.take_request("UPDATE"), 200, headers=(expires("600;refresher=uas"),))
    agent.wire.advance(567)
    assert agent.wire.lines() == []
    agent.wire.advance(1.1)
    assert agent.wire.lines() == ["BYE"]


def test_a_change_of_ours_refreshes_and_keeps_the_refresher() -> None:
    agent = Timed()
    usage = agent.with_timer(expires("600;refresher=uas"), UPDATES)
    agent.wire.advance(500)
    usage.reinvite(OFFER, lambda result: None)
    invite = agent.wire.take_request("INVITE")
    assert session_expires(invite) == "600;refresher=uas"
    agent.reply(invite, 200, body=ANSWER, headers=(expires("600;refresher=uas"),))
    agent.wire.take()
    agent.wire.advance(567)
    assert agent.wire.lines() == []
    agent.wire.advance(1.1)
    assert agent.wire.lines() == ["BYE"]


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_that_nobody_knows_the_call_of_ends_it(status: int) -> None:
    agent = Timed()
    usage = agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    agent.reply(agent.wire.take_request("UPDATE"), status)
    assert usage.ended and agent.wire.lines() == ["BYE"]


def test_a_refresh_that_fails_is_tried_again_while_there_is_time_and_the_call_ends_before_the_interval() -> None:
    agent = Timed()
    usage = agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    tries = 0
    while not usage.ended:
        for message in agent.wire.take():
            if isinstance(message, Request) and message.method == "UPDATE":
                tries += 1
                agent.reply(message, 503)
        agent.wire.advance(0.1)
    assert 5 <= tries <= 12
    assert agent.wire.times("BYE") == [568]


def test_a_refresh_that_succeeds_at_the_second_try_keeps_the_call() -> None:
    agent = Timed()
    usage = agent.with_timer(expires("600;refresher=uac"), UPDATES)
    agent.wire.advance(300.1)
    agent.reply(agent.wire.take_request("UPDATE"), 500)
    agent.wire.advance(134.2)
    agent.reply(agent.wire.take_request("UPDATE"), 200, headers=(expires("600;refresher=uac"),))
    agent.wire.advance(290)
    assert not usage.ended and agent.wire.lines() == []


# -- 422 ------------------------------------------------------------------------------------------------------------------


def test_a_422_leads_to_another_invite_with_the_larger_interval() -> None:
    agent = Timed()
    agent.core.session_timer = SessionTimerSettings(100)
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 422, headers=(("Min-SE", "300"),))
    ack, again = agent.wire.take()
    assert isinstance(ack, Request) and ack.method == "ACK" and isinstance(again, Request)
    assert (session_expires(again), again.headers.get("Min-SE")) == ("300", "300")
    assert again.call_id == invite.call_id and again.from_.tag == invite.from_.tag and again.to.tag is None
    assert again.cseq.number == invite.cseq.number + 1 and again.body == OFFER and again.via.branch != invite.via.branch
    agent.reply(again, 200, body=ANSWER, headers=(expires("300;refresher=uas"),))
    assert agent.handler.names == ["accepted"] and not usage.ended


def test_422_for_ever_is_a_failure_after_a_few_tries() -> None:
    agent = Timed()
    agent.core.session_timer = SessionTimerSettings(90)
    agent.call()
    for tries in range(10):
        invites = [message for message in agent.wire.take() if isinstance(message, Request) and message.method == "INVITE"]
        if not invites:
            break
        agent.reply(invites[0], 422, headers=(("Min-SE", str(200 * (tries + 1))),))
    assert agent.handler.rejection == (422, 422) and tries == 4


def test_a_422_that_asks_for_nothing_new_is_a_failure_the_second_time() -> None:
    agent = Timed()
    agent.call()
    for _ in range(2):
        invite = agent.wire.take()[-1]
        assert isinstance(invite, Request)
        agent.reply(invite, 422, headers=(("Min-SE", "200"),))
    assert agent.handler.rejection == (422, 422)


def test_a_422_with_an_unreadable_minimum_is_a_failure() -> None:
    agent = Timed()
    agent.call()
    agent.reply(agent.wire.take_request("INVITE"), 422, headers=(("Min-SE", "long"),))
    assert agent.handler.rejection == (422, 422)


def test_a_422_to_a_refresh_is_followed_by_a_longer_one() -> None:
    agent = Timed()
    agent.with_timer(expires("200;refresher=uac"), UPDATES)
    agent.wire.advance(100.1)
    agent.reply(agent.wire.take_request("UPDATE"), 422, headers=(("Min-SE", "300"),))
    agent.wire.settle()
    again = agent.wire.take_request("UPDATE")
    assert (session_expires(again), again.headers.get("Min-SE")) == ("300;refresher=uac", "300")


def test_a_cancelled_call_is_not_tried_again_after_a_422() -> None:
    agent = Timed()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    usage.cancel()
    agent.reply(invite, 422, headers=(("Min-SE", "3000"),))
    assert agent.wire.lines() == ["ACK"] and agent.handler.names == ["rejected"]


# -- the callee -----------------------------------------------------------------------------------------------------------


def test_an_interval_below_our_minimum_gets_422_with_it() -> None:
    agent = Timed(1800, 300)
    agent.receive(request("INVITE", headers=(TIMER, expires("299")), body="v=0"))
    assert agent.wire.take_response(422).headers.get("Min-SE") == "300"
    assert agent.usages == []


def test_who_does_not_understand_422_is_not_refused_for_an_interval_of_a_proxy() -> None:
    agent = Timed(1800, 300)
    _, response = agent.asked(expires("200"))
    assert session_expires(response) == "200;refresher=uas" and response.require == set()


@pytest.mark.parametrize(("asked", "answer"), [("1800", "1800"), ("600", "600"), ("7200", "1800")])
def test_the_2xx_may_shorten_the_interval_but_never_lengthen_it(asked: str, answer: str) -> None:
    _, response = Timed().asked(TIMER, expires(asked))
    assert session_expires(response) == f"{answer};refresher=uas"


def test_the_2xx_does_not_go_below_the_callers_minimum() -> None:
    _, response = Timed(200).asked(TIMER, expires("7200"), ("Min-SE", "1000"))
    assert session_expires(response) == "1000;refresher=uas"


@pytest.mark.parametrize(
    ("headers", "refresher", "required"),
    [
        ((TIMER, expires("600")), "uas", True),
        ((TIMER, expires("600;refresher=uac")), "uac", True),
        ((TIMER, expires("600;refresher=uas")), "uas", True),
        ((expires("600"),), "uas", False),
        ((TIMER,), "uas", True),
    ],
)
def test_the_2xx_names_the_refresher_of_table_2(headers: tuple[tuple[str, str], ...], refresher: str, required: bool) -> None:
    _, response = Timed().asked(*headers)
    value = session_expires(response)
    assert value is not None and value.endswith(f";refresher={refresher}")
    assert ("timer" in response.require) is required


def test_a_caller_who_knows_no_timers_gets_none() -> None:
    agent = Timed()
    usage, response = agent.asked()
    assert session_expires(response) is None
    agent.wire.advance(10_000)
    assert agent.wire.lines() == [] and not usage.ended


def test_a_phone_that_wants_no_timer_leaves_it_to_the_caller() -> None:
    _, without = Timed(None).asked(TIMER)
    assert session_expires(without) is None
    _, response = Timed(None).asked(TIMER, expires("600;refresher=uac"))
    assert session_expires(response) == "600;refresher=uac"


def test_the_fritzbox_refreshes_itself_every_300_seconds_and_the_call_lives() -> None:
    agent = Timed()
    usage, response = agent.asked(TIMER, expires("600;refresher=uac"), UPDATES)
    assert session_expires(response) == "600;refresher=uac"
    for number in range(2, 20):
        agent.wire.advance(300)
        agent.receive(agent.in_dialog(usage, "UPDATE", number, headers=(TIMER, expires("600;refresher=uac"))))
        assert session_expires(agent.wire.take_response(200)) == "600;refresher=uac"
    assert not usage.ended
    agent.wire.advance(568)
    assert agent.wire.lines() == ["BYE"]


def test_a_reinvite_of_the_refresher_refreshes_too() -> None:
    agent = Timed()
    usage, _ = agent.asked(TIMER, expires("600;refresher=uac"))
    agent.wire.advance(300)
    agent.receive(agent.in_dialog(usage, "INVITE", 2, headers=(TIMER, expires("600;refresher=uac")), body="v=0"))
    agent.wire.take()
    usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    assert session_expires(agent.wire.take_response(200)) == "600;refresher=uac"
    agent.receive(agent.in_dialog(usage, "ACK", 2))
    agent.wire.advance(567)
    assert agent.wire.lines() == []


def test_a_callee_that_refreshes_is_the_uac_of_its_refresh() -> None:
    agent = Timed()
    agent.asked(TIMER, expires("600"), UPDATES)
    agent.wire.advance(300.1)
    assert session_expires(agent.wire.take_request("UPDATE")) == "600;refresher=uac"


def test_a_change_without_session_expires_by_who_understands_it_keeps_the_timer_and_its_refresher() -> None:
    agent = Timed()
    usage, _ = agent.asked(TIMER, expires("600;refresher=uac"))
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, headers=(TIMER,)))
    assert session_expires(agent.wire.take_response(200)) == "1800;refresher=uac"


def test_a_change_of_who_is_silent_about_timers_leaves_the_refreshing_to_us() -> None:
    agent = Timed()
    usage, _ = agent.asked(TIMER, expires("600;refresher=uac"))
    agent.receive(agent.in_dialog(usage, "UPDATE", 2))
    response = agent.wire.take_response(200)
    assert session_expires(response) == "1800;refresher=uas" and response.require == set()


def test_a_refresh_with_too_small_an_interval_gets_422_and_changes_nothing() -> None:
    agent = Timed(1800, 300)
    usage, _ = agent.asked(TIMER, expires("600;refresher=uac"))
    for method in ("UPDATE", "INVITE"):
        agent.receive(agent.in_dialog(usage, method, 2 if method == "UPDATE" else 3, headers=(TIMER, expires("100"))))
        refusals = [message for message in agent.wire.take() if isinstance(message, Response) and message.status == 422]
        assert len(refusals) == 1 and refusals[0].headers.get("Min-SE") == "300"
    assert agent.handler.reinvites == []


@pytest.mark.parametrize("header", [expires("soon"), expires("1800;=x"), ("Min-SE", "-1")])
def test_a_malformed_value_gets_400(header: tuple[str, str]) -> None:
    agent = Timed()
    agent.receive(request("INVITE", headers=(TIMER, header), body="v=0"))
    assert agent.wire.lines() == ["400"] and agent.usages == []


def test_a_malformed_value_in_a_2xx_is_no_timer() -> None:
    agent = Timed()
    usage = agent.with_timer(expires("soon;refresher=uas"))
    agent.wire.advance(5000)
    assert not usage.ended and agent.wire.lines() == []


def test_the_compact_form_is_understood() -> None:
    message = parse_message(request("INVITE", headers=(("x", "600 ; Refresher=UAS"),)))
    assert SessionExpires.of(message) == SessionExpires(600, "uas")
    with pytest.raises(SipParseError):
        SessionExpires.of(parse_message(request("INVITE", headers=(("x", "99999999999"),))))


# -- both sides for a day -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_update", [True, False])
def test_a_call_of_a_day_is_refreshed_96_times_and_nothing_is_left_of_it(by_update: bool) -> None:
    agent = Timed()
    allow = UPDATES if by_update else ("Allow", "INVITE, ACK, BYE")
    usage = agent.with_timer(expires("1800;refresher=uac"), allow)
    refreshes = 0
    for _ in range(24 * 60):
        agent.wire.advance(60)
        for message in agent.wire.take():
            if isinstance(message, Request) and message.method in ("UPDATE", "INVITE"):
                assert message.method == ("UPDATE" if by_update else "INVITE")
                refreshes += 1
                agent.reply(message, 200, body=b"" if by_update else ANSWER, headers=(expires("1800;refresher=uac"),))
                agent.wire.take()
    # Each minute looked at costs up to one: the interval begins anew with the answer.
    assert not usage.ended and 88 <= refreshes <= 96
    usage.hangup()
    agent.reply(agent.wire.take_request("BYE"), 200)
    assert agent.left_behind() == (0, 0, 0)
    assert agent.wire.scheduler.next_timeout() is None
