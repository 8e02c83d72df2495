"""The notifier (RFC 6665 §4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip.errors import LocalProtocolError
from flexosip.sip.message import Request, Response
from flexosip.sip.subscription_notifier import NotifierSubscription
from tests.sip_wire import answer
from tests.subscribing import Watched


def take(agent: Watched) -> tuple[Response, Request]:
    """The answer to a SUBSCRIBE and the NOTIFY behind it."""
    response, notify = agent.wire.take()
    assert isinstance(response, Response) and isinstance(notify, Request) and notify.method == "NOTIFY"
    return response, notify


def state(request: Request) -> str:
    return request.headers.get("Subscription-State") or ""


def test_a_subscribe_is_answered_200_and_followed_by_a_notify_at_once() -> None:
    agent = Watched()
    agent.ask()
    response, notify = take(agent)
    assert (response.status, response.headers.get("Expires")) == (200, "3600")
    assert response.contact is not None and response.to.tag == notify.from_.tag
    assert str(notify.uri) == "sip:peer@192.0.2.2:5060"
    assert (notify.headers.get("Event"), state(notify), notify.body) == ("dialog", "active;expires=3600", b"state")
    assert notify.to.tag == "peertag" and notify.contact is not None


def test_a_time_that_is_too_short_is_423_with_the_least_one() -> None:
    agent = Watched(min_expires=60)
    agent.ask(59)
    response = agent.wire.take_response(423)
    assert response.headers.get("Min-Expires") == "60"
    assert agent.ends == ["refused"] and not agent.core.dialogs


def test_the_notifier_may_shorten_the_time_but_not_lengthen_it() -> None:
    agent = Watched(max_expires=600)
    agent.ask(3600)
    assert take(agent)[0].headers.get("Expires") == "600"
    other = Watched()
    other.ask(90)
    assert take(other)[0].headers.get("Expires") == "90"
    silent = Watched(default_expires=777)
    silent.ask(None)
    assert take(silent)[0].headers.get("Expires") == "777"


def test_a_subscription_that_is_not_refreshed_ends_with_a_notify_that_says_timeout() -> None:
    agent = Watched()
    agent.ask(100)
    agent.reply(take(agent)[1], 200)
    agent.wire.advance(99)
    assert agent.wire.take() == []
    agent.wire.advance(1.1)
    last = agent.wire.take_request("NOTIFY")
    assert state(last) == "terminated;reason=timeout" and agent.ends == ["timeout"]
    agent.reply(last, 200)
    agent.wire.advance(40)
    assert not agent.core.dialogs and agent.wire.scheduler.pending == 0


def test_a_refresh_gives_new_time_and_the_present_state() -> None:
    agent = Watched()
    agent.ask(100)
    agent.reply(take(agent)[1], 200)
    agent.wire.advance(80)
    agent.ask(100, within=True)
    response, notify = take(agent)
    assert response.headers.get("Expires") == "100"
    assert state(notify) == "active;expires=100" and notify.body == b"state"
    agent.reply(notify, 200)
    agent.wire.advance(99)
    assert agent.wire.take() == []


def test_a_refresh_that_is_too_short_is_423_and_changes_nothing() -> None:
    agent = Watched()
    agent.ask(100)
    agent.reply(take(agent)[1], 200)
    agent.ask(10, within=True)
    agent.wire.take_response(423)
    assert not agent.subscriptions[0].over


def test_unsubscribing_is_answered_and_followed_by_the_last_notify_and_twice_by_481() -> None:
    agent = Watched()
    agent.ask()
    agent.reply(take(agent)[1], 200)
    agent.ask(0, within=True)
    response, last = take(agent)
    assert response.headers.get("Expires") == "0" and state(last) == "terminated;reason=timeout"
    agent.ask(0, within=True)
    agent.wire.take_response(481)
    agent.reply(last, 200)
    assert agent.ends == ["timeout"]


def test_unsubscribing_while_a_notify_is_on_its_way_waits_for_its_answer() -> None:
    agent = Watched()
    agent.ask()
    first = take(agent)[1]
    agent.ask(0, within=True)
    agent.wire.take_response(200)
    agent.ask(0, within=True)
    agent.wire.take_response(481)
    agent.reply(first, 200)
    assert state(agent.wire.take_request("NOTIFY")) == "terminated;reason=timeout"


def test_a_fetch_gets_one_notify_with_the_state_that_ends_it() -> None:
    agent = Watched()
    agent.ask(0)
    response, notify = take(agent)
    assert response.headers.get("Expires") == "0"
    assert state(notify) == "terminated;reason=timeout" and notify.body == b"state"
    assert agent.subscriptions[0].fetching and not agent.core.dialogs


def test_a_subscription_may_be_refused() -> None:
    agent = Watched(lambda subscription: subscription.reject(403))
    agent.ask()
    agent.wire.take_response(403)
    assert agent.ends == ["rejected"] and not agent.core.dialogs


def test_a_decision_may_wait_as_pending_and_then_be_yes_or_no() -> None:
    agent = Watched(lambda subscription: subscription.accept(pending=True))
    agent.ask()
    notify = take(agent)[1]
    assert state(notify) == "pending;expires=3600" and not notify.body
    agent.reply(notify, 200)
    agent.subscriptions[0].activate()
    agent.subscriptions[0].notify(b"now", "text/plain")
    notify = agent.wire.take_request("NOTIFY")
    assert state(notify) == "active;expires=3600" and notify.body == b"now"
    agent.reply(notify, 200)
    agent.subscriptions[0].reject()
    assert state(agent.wire.take_request("NOTIFY")) == "terminated;reason=rejected"


def test_notifies_go_one_after_the_other_and_stale_states_are_left_out() -> None:
    agent = Watched()
    agent.ask()
    first = take(agent)[1]
    (subscription,) = agent.subscriptions
    for text in (b"1", b"2", b"3"):
        subscription.notify(text, "text/plain")
    assert agent.wire.take() == []
    agent.reply(first, 200)
    notify = agent.wire.take_request("NOTIFY")
    assert notify.body == b"3" and notify.cseq.number == first.cseq.number + 1
    subscription.notify(b"4", replace=False)
    subscription.notify(b"5", replace=False)
    agent.reply(notify, 200)
    fourth = agent.wire.take_request("NOTIFY")
    agent.reply(fourth, 200)
    assert (fourth.body, agent.wire.take_request("NOTIFY").body) == (b"4", b"5")


@pytest.mark.parametrize("status", [481, 404, 410, 489, 603])
def test_a_notify_that_is_refused_removes_the_subscription(status: int) -> None:
    agent = Watched()
    agent.ask()
    agent.reply(take(agent)[1], status)
    dead = status != 603
    assert agent.subscriptions[0].over is dead
    assert agent.ends == (["refused"] if dead else [])
    assert bool(agent.core.dialogs) is not dead


def test_a_notify_that_nobody_answers_removes_the_subscription() -> None:
    agent = Watched()
    agent.ask()
    agent.wire.advance(33)
    assert agent.ends == ["refused"] and not agent.core.dialogs
    with pytest.raises(LocalProtocolError):
        agent.subscriptions[0].notify(b"x")


def test_a_passing_failure_of_a_notify_keeps_the_subscription() -> None:
    agent = Watched()
    agent.ask()
    agent.reply(take(agent)[1], 500)
    agent.subscriptions[0].notify(b"again", "text/plain")
    assert agent.wire.take_request("NOTIFY").body == b"again"


def test_the_notifier_ends_it_with_a_reason_and_a_time() -> None:
    agent = Watched()
    agent.ask()
    agent.reply(take(agent)[1], 200)
    agent.subscriptions[0].terminate("probation", retry_after=60)
    agent.subscriptions[0].terminate("probation")
    assert state(agent.wire.take_request("NOTIFY")) == "terminated;reason=probation;retry-after=60"
    assert agent.ends == ["probation"]


def test_several_subscribers_have_subscriptions_of_their_own() -> None:
    agent = Watched()
    agent.ask(tag="one")
    agent.ask(tag="two")
    assert len(agent.core.dialogs) == 2
    tags = [message.to.tag for message in agent.wire.take() if isinstance(message, Request)]
    assert tags == ["one", "two"]


def test_another_event_or_none_in_the_dialog_is_refused() -> None:
    agent = Watched()
    agent.ask()
    agent.reply(take(agent)[1], 200)
    agent.ask(within=True, event="presence")
    agent.wire.take_response(403)
    agent.ask(within=True, event="dialog;id=1")
    agent.wire.take_response(403)
    assert not agent.subscriptions[0].over


def test_ending_it_from_within_any_callback_is_safe() -> None:
    def both(subscription: NotifierSubscription) -> None:
        subscription.accept(b"x", "text/plain")
        subscription.terminate("noresource")
        subscription.reject()
        subscription.drop()

    for decide in (both, lambda subscription: subscription.drop(), lambda subscription: subscription.terminate("giveup")):
        agent = Watched(decide)
        agent.ask()
        agent.wire.advance(70)
        assert not agent.core.dialogs

    def end_again(reason: Any) -> None:
        agent.subscriptions[0].terminate("giveup")
        agent.subscriptions[0].drop()

    agent = Watched()
    agent.ask()
    agent.subscriptions[0].on_over = end_again
    agent.wire.advance(33)
    assert not agent.core.dialogs and agent.subscriptions[0].over


def test_a_repeated_subscribe_gets_the_same_answer_and_makes_one_subscription() -> None:
    agent = Watched()
    agent.ask()
    agent.wire.take()
    agent.sent -= 1
    agent.ask()
    agent.wire.take_response(200)
    assert len(agent.subscriptions) == 1


def test_a_challenge_to_a_notify_without_credentials_is_no_end() -> None:
    agent = Watched()
    agent.ask()
    notify = take(agent)[1]
    agent.receive(answer(notify, 401, headers=(("WWW-Authenticate", 'Digest realm="x", nonce="1"'),)))
    assert not agent.subscriptions[0].over
