"""The subscriber (RFC 6665 §4.1, §4.4)."""

from __future__ import annotations

import random

import pytest

from flexosip.sip.digest import DigestClient
from flexosip.sip.message import Request
from tests.sip_wire import udp_flow
from tests.subscribing import Subscribed


def test_a_subscribe_names_the_event_the_time_and_a_contact() -> None:
    agent = Subscribed()
    headers = agent.subscribe.headers
    assert (headers.get("Event"), headers.get("Expires")) == ("message-summary", "3600")
    assert str(agent.subscribe.uri) == "sip:box@example.com"
    assert agent.subscribe.contact is not None and headers.get("Accept") == "application/simple-message-summary"
    assert agent.phase == "subscribing"


def test_the_subscription_is_there_with_the_first_notify_not_with_the_2xx() -> None:
    agent = Subscribed()
    agent.ok()
    assert agent.phase == "subscribing"
    assert agent.notify() == 200
    assert agent.phase == "active"
    assert [notify.state.state for notify in agent.notifies] == ["active"]


def test_a_notify_may_come_before_the_2xx() -> None:
    agent = Subscribed()
    assert agent.notify() == 200
    assert agent.phase == "active"
    agent.ok()
    assert len(agent.subscription.legs) == 1
    assert agent.notify() == 200
    assert len(agent.notifies) == 2
    agent.stop()
    end = agent.wire.take_request("SUBSCRIBE")
    assert end.cseq.number == 2
    assert str(end.uri) == "sip:notifier@192.0.2.2:5060"


def test_a_pending_subscription_becomes_active_when_the_notifier_says_so() -> None:
    agent = Subscribed()
    agent.ok()
    agent.notify("pending;expires=3600")
    assert agent.phase == "pending"
    agent.notify()
    assert agent.phase == "active"


def test_without_any_notify_within_timer_n_the_subscription_has_failed() -> None:
    agent = Subscribed()
    agent.ok()
    agent.wire.advance(31.9)
    assert agent.phase == "subscribing"
    agent.wire.advance(0.2)
    assert agent.phase == "waiting"
    assert agent.changes[-1].status == 408
    assert agent.notify() == 481


def test_it_is_refreshed_well_before_it_expires_in_the_same_dialog() -> None:
    agent = Subscribed().active()
    agent.wire.advance(0.79 * 3600)
    assert agent.wire.take() == []
    refresh = agent.next_subscribe(0.12 * 3600)
    assert refresh.call_id == agent.subscribe.call_id and refresh.to.tag == "remote"
    assert refresh.headers.get("Expires") == "3600" and refresh.contact is not None
    assert str(refresh.uri) == "sip:notifier@192.0.2.2:5060"
    agent.ok(to=refresh)
    assert agent.notify() == 200
    agent.wire.advance(0.79 * 3600)
    assert agent.wire.take() == [] and agent.phase == "active"


def test_a_shorter_time_in_the_2xx_or_in_a_notify_counts() -> None:
    agent = Subscribed()
    agent.ok(expires=600)
    agent.notify("active;expires=600")
    agent.ok(to=agent.next_subscribe(600), expires=600)
    agent.notify("active;expires=60")
    agent.next_subscribe(45)


def test_a_refresh_without_a_notify_within_timer_n_ends_it_and_it_subscribes_again() -> None:
    agent = Subscribed().active()
    refresh = agent.next_subscribe(3300)
    agent.ok(to=refresh)
    agent.wire.advance(33)
    assert agent.phase == "waiting"
    again = agent.next_subscribe(6)
    assert again.call_id != agent.subscribe.call_id and again.to.tag is None


def test_a_204_to_a_refresh_announces_that_no_notify_will_follow() -> None:
    agent = Subscribed().active()
    agent.ok(to=agent.next_subscribe(3300), status=204)
    agent.wire.advance(100)
    assert agent.phase == "active"


def test_423_is_followed_by_a_subscribe_with_the_least_time_that_is_wanted() -> None:
    agent = Subscribed(expires=60)
    agent.reply(agent.subscribe, 423, headers=(("Min-Expires", "1800"),))
    again = agent.wire.take_request("SUBSCRIBE")
    assert again.headers.get("Expires") == "1800"
    agent.reply(again, 423, headers=(("Min-Expires", "10"),))
    assert agent.wire.take() == []
    assert agent.phase == "waiting"


def test_423_without_end_is_not_followed_for_ever() -> None:
    agent = Subscribed(expires=60)
    subscribe = agent.subscribe
    for least in range(100, 110):
        agent.reply(subscribe, 423, headers=(("Min-Expires", str(least)),))
        sent = agent.wire.take()
        if not sent:
            break
        assert isinstance(sent[0], Request)
        subscribe = sent[0]
    assert least < 105
    assert agent.phase == "waiting"


def test_a_refresh_that_is_answered_481_makes_a_new_subscription() -> None:
    agent = Subscribed().active()
    agent.reply(agent.next_subscribe(3300), 481)
    again = agent.next_subscribe(1)
    assert again.to.tag is None and again.call_id != agent.subscribe.call_id
    agent.subscribe = again
    agent.active()
    assert agent.phase == "active"


def test_a_refresh_that_fails_for_a_passing_reason_leaves_it_valid_until_its_end() -> None:
    agent = Subscribed().active()
    agent.reply(agent.next_subscribe(3240), 500)
    assert agent.phase == "active"
    assert agent.notify() == 200
    second = agent.next_subscribe(11)
    agent.ok(to=second)
    agent.notify()
    assert agent.phase == "active"


def test_489_ends_it_for_good() -> None:
    agent = Subscribed()
    agent.reply(agent.subscribe, 489)
    assert agent.phase == "terminated" and agent.changes[-1].status == 489
    agent.wire.take()
    agent.nothing_left()
    assert agent.wire.take() == []


def test_a_challenge_is_answered_and_timer_n_counts_from_the_latest_subscribe() -> None:
    agent = Subscribed(auth=DigestClient("us", "secret", random=random.Random(1)))
    agent.wire.advance(10)
    agent.wire.take()
    agent.reply(agent.subscribe, 401, headers=(("WWW-Authenticate", 'Digest realm="x", nonce="1", algorithm=MD5'),))
    again = agent.wire.take_request("SUBSCRIBE")
    assert again.headers.get("Authorization") and again.cseq.number == 2
    agent.subscribe = again
    agent.ok()
    agent.wire.advance(31)
    assert agent.phase == "subscribing"
    assert agent.notify() == 200
    agent.stop()
    assert agent.wire.take_request("SUBSCRIBE").cseq.number == 3


@pytest.mark.parametrize("reason", ["rejected", "noresource", "invariant"])
def test_after_rejected_noresource_and_invariant_it_never_subscribes_again(reason: str) -> None:
    agent = Subscribed().active()
    assert agent.notify(f"terminated;reason={reason}") == 200
    assert agent.phase == "terminated" and agent.changes[-1].reason == reason
    agent.nothing_left()
    agent.wire.advance(10000)
    assert agent.wire.take() == []


@pytest.mark.parametrize(
    ("state", "earliest", "latest"),
    [
        ("terminated;reason=deactivated", 0.0, 0.6),
        ("terminated;reason=timeout", 0.0, 0.6),
        ("terminated;reason=probation;retry-after=600", 600, 602),
        ("terminated;reason=giveup;retry-after=60", 60, 62),
        ("terminated;reason=giveup", 2.4, 5.1),
        ("terminated", 2.4, 5.1),
        ("terminated;reason=something-new", 2.4, 5.1),
        ("terminated;reason=probation;retry-after=4294967295", 3600, 3602),
    ],
)
def test_after_other_reasons_it_subscribes_again_when_it_may(state: str, earliest: float, latest: float) -> None:
    agent = Subscribed().active()
    agent.wire.advance(60)
    assert agent.notify(state) == 200
    assert agent.phase == "waiting"
    agent.wire.advance(max(0.0, earliest - 0.1))
    if earliest:
        assert agent.wire.take() == []
    again = agent.next_subscribe(latest - max(0.0, earliest - 0.1))
    assert again.call_id != agent.subscribe.call_id


def test_a_notifier_that_ends_it_at_once_again_and_again_does_not_make_us_hammer_it() -> None:
    agent = Subscribed()
    waits = []
    for _ in range(8):
        agent.ok()
        assert agent.notify("terminated;reason=deactivated") == 200
        waits.append(agent.changes[-1].retry_in or 0.0)
        agent.subscribe = agent.next_subscribe(400)
    assert waits[0] >= 2.5 and waits[-1] >= 150


def test_unsubscribing_waits_for_the_last_notify() -> None:
    agent = Subscribed().active()
    agent.stop()
    end = agent.wire.take_request("SUBSCRIBE")
    assert end.headers.get("Expires") == "0" and end.to.tag == "remote"
    agent.ok(to=end, expires=0)
    assert agent.done == 0 and agent.phase == "ending"
    assert agent.notify("terminated;reason=timeout") == 200
    assert agent.done == 1 and agent.phase == "terminated"
    assert len(agent.notifies) == 2
    agent.nothing_left()


def test_unsubscribing_ends_all_the_same_when_the_notifier_says_nothing() -> None:
    agent = Subscribed().active()
    agent.stop()
    agent.wire.advance(33)
    assert agent.done == 1
    agent.wire.take()
    agent.nothing_left()


def test_unsubscribing_before_the_2xx_ends_what_the_2xx_makes() -> None:
    agent = Subscribed()
    agent.stop()
    assert agent.wire.take() == [] and agent.done == 0
    agent.ok()
    end = agent.wire.take_request("SUBSCRIBE")
    assert end.headers.get("Expires") == "0"
    assert agent.notify() == 200
    agent.ok(to=end, expires=0)
    agent.notify("terminated;reason=timeout")
    assert agent.done == 1
    agent.nothing_left()


def test_unsubscribing_twice_and_from_within_a_notify_is_harmless() -> None:
    agent = Subscribed()
    agent.ok()
    agent.subscription._on_notify = lambda notify: agent.stop()
    assert agent.notify() == 200
    agent.stop()
    agent.stop()
    agent.wire.advance(33)
    assert agent.done == 3
    agent.wire.take()
    agent.nothing_left()


def test_dropping_it_from_within_a_notify_is_harmless() -> None:
    agent = Subscribed()
    agent.ok()
    agent.subscription._on_notify = lambda notify: agent.subscription.drop()
    agent.notify()
    agent.nothing_left()


def test_a_fetch_is_a_subscribe_with_expires_0_and_ends_with_its_notify() -> None:
    agent = Subscribed(expires=0)
    assert agent.subscribe.headers.get("Expires") == "0"
    agent.ok(expires=0)
    assert agent.notify("terminated;reason=timeout") == 200
    assert agent.phase == "terminated" and len(agent.notifies) == 1
    agent.nothing_left()


def test_the_notify_of_a_fetch_may_come_before_the_2xx() -> None:
    agent = Subscribed(expires=0)
    assert agent.notify("terminated;reason=timeout") == 200
    agent.ok(expires=0)
    assert agent.phase == "terminated"
    agent.nothing_left()


def test_a_subscribe_that_was_forked_makes_a_subscription_at_each_notifier() -> None:
    agent = Subscribed()
    agent.ok(tag="one")
    assert agent.notify(tag="one") == 200
    assert agent.notify(tag="two") == 200
    assert {notify.notifier.split("/")[1] for notify in agent.notifies} == {"one", "two"}
    assert agent.notify("terminated;reason=rejected", tag="two") == 200
    assert agent.phase == "active"
    agent.stop()
    assert agent.wire.take_request("SUBSCRIBE").to.tag == "one"


def test_no_more_than_eight_forks_are_taken_and_none_after_timer_n() -> None:
    agent = Subscribed()
    agent.ok(tag="0")
    assert [agent.notify(tag=str(n)) for n in range(10)] == [200] * 8 + [481] * 2
    late = Subscribed().active()
    late.wire.advance(33)
    assert late.notify(tag="late") == 481
    assert late.notify() == 200


def test_a_notify_of_another_event_or_id_is_481_and_one_without_event_489() -> None:
    agent = Subscribed().active()
    assert agent.notify(event="dialog") == 481
    assert agent.notify(event="message-summary;id=1") == 481
    assert agent.notify(event=None) == 489
    assert agent.notify(event="dialog", tag="fork") == 481
    assert len(agent.notifies) == 1


def test_a_notify_without_subscription_state_is_400_and_changes_nothing() -> None:
    agent = Subscribed().active()
    assert agent.notify(None) == 400
    assert agent.notify("active;expires=x") == 400
    assert agent.notify() == 200


def test_a_notify_with_a_body_that_cannot_be_read_is_400_and_the_subscription_goes_on() -> None:
    agent = Subscribed().active()
    agent.unreadable = True
    assert agent.notify() == 400
    assert agent.phase == "active"
    assert agent.notify("terminated;reason=rejected") == 400
    assert agent.phase == "terminated"


def test_a_notify_out_of_order_is_500() -> None:
    agent = Subscribed().active()
    assert agent.notify(cseq=50) == 200
    assert agent.notify(cseq=49) == 500


def test_a_notify_out_of_thin_air_is_481() -> None:
    agent = Subscribed().active()
    real = agent.subscribe.call_id
    for call_id, tag in (("guessed", agent.subscribe.from_.tag), (real, "guessed")):
        fake = agent.subscribe.copy()
        fake.headers.set("Call-ID", call_id)
        fake.headers.set("From", f"<sip:us@192.0.2.1>;tag={tag}")
        assert agent.notify(to=fake) == 481


def test_other_requests_in_its_dialog_are_481() -> None:
    agent = Subscribed().active()
    from tests.sip_wire import request

    for number, method in enumerate(("BYE", "INFO")):
        agent.receive(
            request(
                method,
                branch=f"z9hG4bKx{number}",
                from_tag="remote",
                to_tag=agent.subscribe.from_.tag,
                call_id=agent.subscribe.call_id,
                cseq=60 + number,
            )
        )
        agent.wire.take_response(481)


def test_no_way_to_the_notifier_is_told_and_tried_again() -> None:
    agent = Subscribed().active()
    agent.notify("terminated;reason=giveup")
    agent.unreachable = OSError("no route")
    agent.wire.advance(6)
    assert agent.phase == "waiting" and agent.changes[-1].status == 503
    agent.unreachable = None
    agent.next_subscribe(12)


def test_a_lost_connection_makes_it_tell_its_new_contact_over_another_one() -> None:
    agent = Subscribed().active()
    lost, agent.flow = agent.flow, udp_flow(("192.0.2.2", 5070))
    lost.alive = False
    agent.subscription.flow_lost(lost)
    refresh = agent.next_subscribe(1.1)
    assert refresh.to.tag == "remote" and agent.wire.sent[-1][1] is agent.flow
    agent.ok(to=refresh)
    assert agent.notify() == 200
    # Another flow does not concern it.
    agent.subscription.flow_lost(udp_flow(("192.0.2.9", 5060)))
    agent.wire.advance(5)
    assert agent.wire.take() == []


def test_after_a_change_of_the_network_or_a_sleep_it_is_refreshed_at_once_and_a_waiting_one_tried() -> None:
    agent = Subscribed().active()
    agent.subscription.network_changed(lambda flow: False, slept=False)
    agent.wire.settle()
    assert agent.wire.take() == []
    for left, slept in ((True, False), (False, True)):
        agent.subscription.network_changed(lambda flow, left=left: left, slept=slept)  # type: ignore[misc]
        agent.ok(to=agent.next_subscribe(0.1))
        assert agent.notify() == 200
    agent.notify("terminated;reason=giveup;retry-after=600")
    agent.subscription.network_changed(lambda flow: False, slept=False)
    assert agent.wire.take_request("SUBSCRIBE").to.tag is None
