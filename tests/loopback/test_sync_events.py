"""Messages, subscriptions and presence of the blocking phone, on real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flexosip.errors import InvalidState, MessageFailed, PublicationFailed, SubscriptionFailed
from flexosip.phone.messaging.messages import Message
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sync import Phone
from flexosip.sync.subscriptions import IncomingSubscription

HERE = ("127.0.0.1:0",)


def address(phone: Phone) -> str:
    """What reaches `phone`."""
    return "sip:peer@" + phone.addresses[0].split(":", 1)[1]


@pytest.fixture
def ours() -> Iterator[Phone]:
    with Phone(listen=HERE) as phone:
        yield phone


@pytest.fixture
def peer() -> Iterator[Phone]:
    with Phone(listen=HERE) as phone:
        yield phone


def test_messages_come_in_a_thread_of_their_own(ours: Phone, peer: Phone) -> None:
    got: list[tuple[str, str]] = []
    done = threading.Event()

    @peer.on_message
    def take(message: Message) -> None:
        got.append((message.text, threading.current_thread().name))
        done.set()

    assert ours.message(address(peer), "hello").status == 200
    assert done.wait(2)
    assert got == [("hello", "flexosip-handler")]
    with pytest.raises(MessageFailed):
        ours.message(address(peer), "{}", content_type="application/json")
    peer.on_message(types=("*/*",))(take)
    ours.message(address(peer), "{}", content_type="application/json")


def test_a_state_is_told_from_a_thread_and_followed_in_another(ours: Phone, peer: Phone) -> None:
    reasons: list[str] = []

    @peer.on_subscribe("weather")
    def tell(subscription: IncomingSubscription) -> None:
        assert (subscription.state, subscription.event.package, subscription.source, subscription.body) == (
            "new",
            "weather",
            "127.0.0.1",
            b"",
        )
        assert "sip:" in str(subscription.from_) and subscription.target and subscription.headers
        subscription.accept()
        subscription.notify("1", "text/plain")
        time.sleep(0.05)
        subscription.notify("2", "text/plain")
        reasons.append(subscription.wait_ended())

    with ours.subscribe(address(peer), "weather") as weather:
        assert weather.state == "active" and weather.event.package == "weather"
        seen: list[bytes] = []
        for notification in weather:
            seen.append(notification.body)
            if notification.body == b"2":
                break
        assert weather.latest is not None and weather.latest.body == b"2"
        weather.refresh()
    assert weather.state == "terminated"
    assert seen == [b"", b"1", b"2"]
    deadline = time.monotonic() + 2
    while not reasons and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reasons == ["timeout"]


def test_a_subscription_may_be_refused_from_a_thread(ours: Phone, peer: Phone) -> None:
    @peer.on_subscribe("no")
    def refuse(subscription: IncomingSubscription) -> None:
        subscription.reject(603)
        assert subscription.over

    @peer.on_subscribe("short")
    def end(subscription: IncomingSubscription) -> None:
        subscription.notify("x", "text/plain")
        subscription.terminate("noresource")

    with pytest.raises(SubscriptionFailed):
        ours.subscribe(address(peer), "no")
    assert [notification.state for notification in ours.subscribe(address(peer), "short")] == ["active", "terminated"]


def test_a_lamp_and_a_mailbox(ours: Phone, peer: Phone) -> None:
    early = Phone(listen=HERE)
    box = early.notifier("message-summary")
    box.update(MessageSummary(True, None, (("voice", MessageCount(1, 0)),)))
    lines = peer.notifier("dialog")
    assert lines.package == "dialog"
    with early, ours.message_waiting(address(early)) as mailbox:
        summaries = iter(mailbox)
        assert next(summaries).voice_new == 1
        box.update(MessageSummary(False))
        assert not next(summaries).waiting
        assert mailbox.latest == MessageSummary(False)
    with ours.watch(address(peer)) as lamp:
        assert (lamp.state, lamp.dialogs, str(lamp.line)) == ("idle", (), "idle")
        assert len(lines.subscribers) == 1
        lines.tell()

        @peer.on_call
        def answer(call: Any) -> None:
            call.answer()
            call.wait_ended()

        states = iter(lamp)
        with ours.call(address(peer)) as call:
            seen = [next(states).state, next(states).state]
            assert seen == ["idle", "confirmed"]
            call.request("OPTIONS")
            with pytest.raises(InvalidState):
                call.send_info(b"x", "text/plain", package="unknown")
        assert next(states).state == "idle"
    lamp.close()


def test_presence_needs_a_server_that_takes_it(peer: Phone) -> None:
    with (
        Phone("sip:bell@127.0.0.1:" + peer.addresses[0].rsplit(":", 1)[1], register=False, listen=HERE) as ours,
        pytest.raises(PublicationFailed),
    ):
        ours.publish_presence(True)


def test_who_is_there_is_asked_once_and_watched(ours: Phone) -> None:
    with Phone(listen=HERE) as peer:
        target = address(peer)
        result = ours.options(target)
        assert result.available and "INVITE" in result.allow
        watch = ours.qualify(target, 1)
        assert watch.reachable and watch.round_trip is not None
        changes = iter(watch)
        assert next(changes).reachable
    assert not next(changes).reachable
    watch.close()
    assert list(changes) == [] and not watch.reachable
    assert watch.latest is not None and watch.latest.error is not None
