"""Subscriptions, lamps, mailboxes and presence between phones, and with a raw peer, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, ConfigurationError, InvalidState, NetworkError, Phone, PublicationFailed, SubscriptionFailed
from flexosip.phone.messaging.notifiers import IncomingSubscription
from flexosip.phone.messaging.subscriptions import Notification
from flexosip.sip.dialog_info import DialogInfo
from flexosip.sip.message import Request
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sip.presence import Presence
from tests.network.stage import RawPeer, World, sdp

SUMMARY = "Messages-Waiting: yes\r\nVoice-Message: 2/1 (0/0)\r\n"
MWI_TYPE = "application/simple-message-summary"
ACCOUNT: dict[str, Any] = {"aor": "sip:bell@10.0.0.9", "password": "secret", "register": False}


async def take(source: Any, count: int = 1, timeout: float = 10.0) -> list[Any]:
    """The next items of an iterator."""
    async with asyncio.timeout(timeout):
        return [await source.__anext__() for _ in range(count)]


def notify(peer: RawPeer, subscribe: Request, body: str = "", state: str = "active;expires=600", cseq: int = 1, **options: Any) -> None:
    """A NOTIFY of the peer in the dialog of a SUBSCRIBE of the phone."""
    event = options.pop("event", subscribe.headers.get("Event"))
    headers = (("Event", event), ("Subscription-State", state))
    peer.within(subscribe, "NOTIFY", body, cseq=cseq, headers=headers, **options)


def granted(peer: RawPeer, subscribe: Request, expires: int = 600) -> None:
    peer.answer(subscribe, 200, headers=(("Expires", str(expires)), ("Contact", "<sip:peer@10.0.0.9:5060>")))


async def end(peer: RawPeer, leaving: Any, cseq: int = 50) -> None:
    """The phone leaves a subscription and the peer lets it go."""
    leaving = asyncio.ensure_future(leaving)
    last = await peer.request("SUBSCRIBE")
    assert last.headers.get("Expires") == "0"
    granted(peer, last, 0)
    notify(peer, last, state="terminated;reason=timeout", cseq=cseq, tag=last.to.tag)
    await leaving


def test_a_state_is_followed_from_the_subscription_to_its_end() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        ends: list[str] = []

        @b.on_subscribe("weather")
        async def tell(subscription: IncomingSubscription) -> None:
            subscription.notify("sunny", "text/plain")
            await asyncio.sleep(5)
            subscription.notify("rain", "text/plain")
            ends.append(await subscription.wait_ended())

        async with a.subscribe(target, "weather", expires=600) as subscription:
            assert subscription.state == "active"
            first, second = await take(subscription, 2)
            assert (first.event, first.state, first.body, first.parsed) == ("weather", "active", b"sunny", None)
            assert second.body == b"rain" and subscription.latest is second
            await asyncio.sleep(2000)
            assert subscription.state == "active" and len(b.core.dialogs) == 1
        assert subscription.state == "terminated"
        rest = [notification async for notification in subscription]
        assert rest[-1].state == "terminated" and rest[-1].reason == "timeout"
        assert ends == ["timeout"]

    World().run(story)


def test_without_handlers_subscribe_is_405_and_with_others_489() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        assert "SUBSCRIBE" not in b.core.allow
        with pytest.raises(SubscriptionFailed) as failure:
            await a.subscribe(target, "weather")
        assert failure.value.status == 405
        b.on_subscribe("weather")(lambda subscription: None)
        with pytest.raises(SubscriptionFailed) as failure:
            await a.subscribe(target, "dialog")
        assert failure.value.status == 489

    World().run(story)


def test_what_may_be_subscribed_to_is_announced() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        a.on_subscribe("weather")(lambda subscription: None)
        a.notifier("dialog")

        @a.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        response = await peer.call()
        assert response.headers.get_all("Allow-Events") == ["dialog", "weather"]
        assert "SUBSCRIBE" in response.allow
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")

    World().run_with_peer(story)


def test_a_lost_connection_is_replaced_and_states_come_again() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        box = b.notifier("message-summary")
        box.update(MessageSummary(False))
        async with a.subscribe(f"{target};transport=tcp") as subscription:
            await take(subscription)
            (flow,) = [leg.flow for leg in subscription._machine.legs.values()]  # type: ignore[union-attr]
            assert flow is not None and flow.reliable
            a.signalling.driver.abandon(flow, NetworkError("gone"))
            await asyncio.sleep(3)
            box.update(MessageSummary(True))
            assert (await take(subscription, 2))[-1].parsed.waiting

    World().run(story)


def test_a_handler_may_refuse_fail_or_take_its_time() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_subscribe("no")
        def refuse(subscription: IncomingSubscription) -> None:
            subscription.reject(603)

        @b.on_subscribe("bug")
        def fail(subscription: IncomingSubscription) -> None:
            raise RuntimeError("a bug of the program")

        @b.on_subscribe("slow")
        async def think(subscription: IncomingSubscription) -> None:
            await asyncio.sleep(60)
            subscription.notify("yes", "text/plain")

        for event, status in (("no", 603), ("bug", 500)):
            with pytest.raises(SubscriptionFailed) as failure:
                await a.subscribe(target, event)
            assert failure.value.status == status
        async with a.subscribe(target, "slow") as slow:
            assert slow.state == "pending"
            pending, active = await take(slow, 2, 100)
            assert (pending.state, pending.body, active.state, active.body) == ("pending", b"", "active", b"yes")

    World().run(story)


def test_a_fetch_gets_the_state_once() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        b.notifier("message-summary").update(MessageSummary(True, None, (("voice", MessageCount(3, 0)),)))
        async with a.subscribe(target, expires=0) as subscription:
            (notification,) = [item async for item in subscription]
        assert notification.state == "terminated" and notification.parsed.voice_new == 3
        assert not b.notifiers and not a.subscriptions

    World().run(story)


def test_a_lamp_shows_the_calls_of_another_phone() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        notifier = b.notifier("dialog")

        @b.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(3)
            await call.answer()
            await call.wait_ended()

        async with a.watch(target) as lamp:
            assert lamp.state == "idle" and len(notifier.subscribers) == 1
            call = await a.dial(target)
            states = await take(lamp, 2)
            assert [str(state) for state in states] == ["idle", "early"]
            (dialog,) = states[1].dialogs
            assert dialog.ringing and dialog.call_id == call.id
            assert dialog.remote_tag and dialog.local_tag and dialog.direction == "recipient"
            await call.wait_answered()
            assert [str(state) for state in await take(lamp)] == ["confirmed"]
            await call.hangup()
            assert [str(state) for state in await take(lamp)] == ["idle"]
        assert notifier.subscribers == ()

    World().run(story)


def test_a_lamp_shows_callers_whose_names_are_no_utf_8() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.notifier("dialog")

        @phone.on_call
        async def ring(call: Any) -> None:
            await call.ring()

        peer.ask("SUBSCRIBE", call_id="lamp", headers=(("Event", "dialog"),))
        peer.answer(await peer.request("NOTIFY"), 200)
        peer.outgoing = lambda data: data.replace(b"From: <", b'From: "M\xfcller \\\x07" <')
        peer.ask("INVITE", sdp())
        shown = await peer.request("NOTIFY")
        peer.outgoing = None
        peer.answer(shown, 200)
        assert DialogInfo.parse(shown.body).dialogs[0].remote_name == "M\ufffdller \ufffd"

    World().run_with_peer(story)


def test_who_may_watch_is_decided_by_the_program() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        asked: list[str] = []

        def allow(subscription: IncomingSubscription) -> bool:
            asked.append(subscription.source)
            return False

        b.notifier("dialog", allow=allow)
        with pytest.raises(SubscriptionFailed) as failure:
            await a.watch(target)
        assert failure.value.status == 403 and asked == ["10.0.0.1"]

    World().run(story)


def test_several_watch_one_phone_and_a_dead_one_is_forgotten() -> None:
    world = World()

    async def story() -> None:
        a, b, c = (world.phone(f"10.0.0.{n}") for n in (1, 2, 3))
        async with a, b:
            await c.start()
            presence = b.notifier("presence")
            presence.update(Presence.simple("sip:b@10.0.0.2", True))
            first = await a.subscribe("sip:b@10.0.0.2", "presence")
            second = await c.subscribe("sip:b@10.0.0.2", "presence")
            assert len(presence.subscribers) == 2
            assert first.latest is not None and second.latest is not None and first.latest.parsed.open
            c.drop_events()  # it vanishes without a word
            await c.close()
            presence.update(Presence.simple("sip:b@10.0.0.2", True, activity="on-the-phone"))
            await asyncio.sleep(40)
            assert len(presence.subscribers) == 1
            assert first.latest.parsed.activities == ("on-the-phone",)
            await first.unsubscribe()

    world.run_alone(story)


def test_a_notifier_tells_only_what_fits_its_package_and_what_the_other_side_accepts() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        box = b.notifier("message-summary")
        with pytest.raises(ConfigurationError):
            box.update(Presence.simple("sip:b@c", True))
        with pytest.raises(ConfigurationError):
            b.notifier("dialog").update(b"x")
        with pytest.raises(ConfigurationError):
            b.notifier("weather").update("sunny")
        with pytest.raises(ConfigurationError):
            b.notifier("no such\r\nname")
        with pytest.raises(SubscriptionFailed) as failure:
            await a.subscribe(target, accept="text/plain")
        assert failure.value.status == 406

    World().run(story)


def test_closing_the_subscribers_phone_unsubscribes_and_closing_the_notifiers_tells_to_come_back() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        box = b.notifier("message-summary")
        box.update(MessageSummary(False))
        await a.subscribe(target)
        started = b.loop.time()
        await a.close()
        assert b.loop.time() - started < 1 and box.subscribers == ()
        await a.start()
        subscription = await a.subscribe(target)
        await b.close()
        assert subscription.state == "waiting" and isinstance(subscription.failure, type(None))
        last = (await take(subscription, 2))[-1]
        assert (last.state, last.reason) == ("terminated", "probation")
        await b.start()
        await asyncio.sleep(65)
        assert subscription.state == "active"
        await subscription.unsubscribe()

    World().run(story)


def test_a_closed_phone_ends_who_waits_for_states() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        b.notifier("dialog")
        lamp = await a.watch(target)
        await take(lamp)
        waiting = asyncio.ensure_future(take(lamp, 2))
        plain = await a.subscribe(target, "dialog")
        await take(plain)
        others = asyncio.ensure_future(take(plain, 2))
        await asyncio.sleep(1)
        await a.close()
        for task in (waiting, others):
            with pytest.raises((StopAsyncIteration, RuntimeError)):
                await task

    World().run(story)


def test_nobody_there_is_a_network_error_and_nothing_goes_on() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        with pytest.raises(NetworkError):
            await a.subscribe("sip:x@10.0.0.9", "dialog")
        seen = peer.count("SUBSCRIBE")
        await asyncio.sleep(400)
        assert peer.count("SUBSCRIBE") == seen
        assert not a.core.dialogs and not a.core.half_dialogs and not a.subscriptions

    World().run_with_peer(story)


def test_refused_credentials_are_an_authentication_error() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        subscribing = asyncio.ensure_future(a.subscribe("sip:box@10.0.0.9")._establish())
        for _ in range(2):
            subscribe = await peer.request("SUBSCRIBE")
            peer.answer(subscribe, 401, headers=(("WWW-Authenticate", 'Digest realm="x", nonce="1"'),))
        assert subscribe.headers.get("Authorization")
        with pytest.raises(AuthenticationError):
            await subscribing

    World().run_with_peer(story, **ACCOUNT)


def test_a_body_that_cannot_be_read_is_400_and_one_of_another_type_415() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        subscription = a.subscribe("sip:620@10.0.0.9", "dialog")
        subscribing = asyncio.ensure_future(subscription._establish())
        subscribe = await peer.request("SUBSCRIBE")
        assert subscribe.headers.get("Accept") == "application/dialog-info+xml"
        granted(peer, subscribe)
        bomb = '<!DOCTYPE x [<!ENTITY a "b">]><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info">&a;</dialog-info>'
        notify(peer, subscribe, bomb, content_type="application/dialog-info+xml")
        await peer.response(400, "NOTIFY")
        await subscribing
        assert subscription.latest is None and subscription.state == "active"
        notify(peer, subscribe, "x", cseq=2, content_type="text/plain")
        await peer.response(415, "NOTIFY")
        await end(peer, subscription.unsubscribe())

    World().run_with_peer(story)


def test_a_gap_in_the_documents_of_a_line_makes_us_ask_for_all_of_them() -> None:
    def document(version: int, state: str, *dialogs: str) -> str:
        inner = "".join(f'<dialog id="{name}"><state>{value}</state></dialog>' for name, value in (item.split("=") for item in dialogs))
        return (
            f'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}" state="{state}" '
            f'entity="sip:620@10.0.0.9">{inner}</dialog-info>'
        )

    async def story(a: Phone, peer: RawPeer) -> None:
        lamp = a.watch("sip:620@10.0.0.9")
        watching = asyncio.ensure_future(lamp._establish())
        subscribe = await peer.request("SUBSCRIBE")
        kind = "application/dialog-info+xml"
        # The first NOTIFY before the 2xx.
        notify(peer, subscribe, document(0, "full", "1=confirmed"), content_type=kind)
        await watching
        assert lamp.state == "confirmed"
        granted(peer, subscribe)
        notify(peer, subscribe, document(1, "partial", "1=terminated", "2=trying"), cseq=2, content_type=kind)
        assert [str(state) for state in await take(lamp, 2)] == ["confirmed", "trying"]
        notify(peer, subscribe, document(5, "partial", "3=early"), cseq=3, content_type=kind)
        refresh = await peer.request("SUBSCRIBE")
        assert refresh.to.tag == "peer"
        granted(peer, refresh)
        notify(peer, subscribe, document(6, "full"), cseq=4, content_type=kind)
        assert [str(state) for state in await take(lamp, 2)] == ["early", "idle"]
        # The subscription is lost: nobody knows how the line is.
        notify(peer, subscribe, state="terminated;reason=giveup", cseq=5)
        assert [str(state) for state in await take(lamp)] == ["unknown"]
        await lamp.close()
        assert [state async for state in lamp] == []

    World().run_with_peer(story)


def test_a_lamp_iterates_without_being_entered() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        b.notifier("dialog")
        async for state in a.watch(target):
            assert str(state) == "idle"
            break
        await a.close()

    World().run(story)


# -- mailboxes ------------------------------------------------------------------------------------------------------------


def unasked(peer: RawPeer, body: str = SUMMARY, **options: Any) -> None:
    headers = (("Event", options.pop("event", "message-summary")), ("Subscription-State", "active"))
    peer.ask("NOTIFY", body, headers=headers, content_type=options.pop("content_type", MWI_TYPE), **options)


def test_a_mailbox_is_told_by_subscription_and_by_notifies_without_one() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        box = a.message_waiting()
        entering = asyncio.ensure_future(box._establish())
        subscribe = await peer.request("SUBSCRIBE")
        assert str(subscribe.uri) == "sip:bell@10.0.0.9" and subscribe.headers.get("Event") == "message-summary"
        granted(peer, subscribe)
        notify(peer, subscribe, SUMMARY, content_type=MWI_TYPE)
        await entering
        (summary,) = await take(box)
        assert (summary.waiting, summary.voice_new, summary.voice_old) == (True, 2, 1)
        unasked(peer, call_id="u1")
        await peer.response(200, "NOTIFY")
        unasked(peer, "Messages-Waiting: no\r\n", call_id="u2")
        (summary,) = await take(box)
        assert not summary.waiting and box.latest is summary
        await end(peer, box.close())

    World().run_with_peer(story, **ACCOUNT)


def test_a_server_without_mailbox_subscriptions_is_still_heard() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        box = a.message_waiting()
        entering = asyncio.ensure_future(box._establish())
        peer.answer(await peer.request("SUBSCRIBE"), 489)
        await entering
        waiting = asyncio.ensure_future(take(box, timeout=100))
        await asyncio.sleep(20)
        unasked(peer)
        ((summary,),) = (await waiting,)
        assert summary.voice_new == 2
        await box.close()
        assert [item async for item in box] == []
        # Who comes later has the latest.
        again = a.message_waiting()
        assert again.latest == summary
        again._stop_listening()

    World().run_with_peer(story, **ACCOUNT)


def test_a_notify_out_of_thin_air_is_refused() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        for n, (options, status) in enumerate(
            [
                ({}, 481),
                ({"to_tag": "guessed"}, 481),
            ]
        ):
            unasked(peer, call_id=f"x{n}", **options)
            await peer.response(status, "NOTIFY")
        peer.ask("NOTIFY", call_id="y")
        await peer.response(489, "NOTIFY")
        assert not a.subscriptions.mailboxes

    World().run_with_peer(story)


def test_the_server_itself_is_told_what_it_may_tell() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        sending = asyncio.ensure_future(a.message("1", "so that the server is known"))
        peer.answer(await peer.request("MESSAGE"), 200)
        await sending
        unasked(peer, event="check-sync", call_id="x1")
        assert (await peer.response(489, "NOTIFY")).headers.get("Allow-Events") == "message-summary"
        unasked(peer, "garbage", call_id="x2")
        await peer.response(400, "NOTIFY")
        unasked(peer, content_type="text/plain", call_id="x3")
        await peer.response(415, "NOTIFY")
        unasked(peer, call_id="x4")
        await peer.response(200, "NOTIFY")
        assert a.subscriptions.mailboxes[a.accounts[0]].voice_new == 2

    World().run_with_peer(story, **ACCOUNT)


def test_subscribe_within_a_call_is_refused() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        a.notifier("dialog")

        @a.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        response = await peer.call()
        peer.within(response, "SUBSCRIBE", cseq=5, headers=(("Event", "dialog"),))
        await peer.response(403, "SUBSCRIBE")
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")

    World().run_with_peer(story)


@pytest.mark.parametrize(
    "arguments",
    [
        {"event": "no such"},
        {"event": "a\r\nb"},
        {"accept": "text"},
        {"expires": -1},
        {"account": "nobody"},
        {"target": "sip:b@c\r\n"},
    ],
)
def test_arguments_that_would_break_a_subscription_are_refused(arguments: dict[str, Any]) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(ConfigurationError):
            await a.subscribe(arguments.pop("target", target), **arguments)

    World().run(story)


# -- presence -------------------------------------------------------------------------------------------------------------


def test_presence_is_published_changed_and_removed_at_the_end() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        publishing = asyncio.ensure_future(a.publish_presence(True, note="at the door", activity="away"))
        publish = await peer.request("PUBLISH")
        assert publish.headers.get("Event") == "presence" and publish.content_type == "application/pidf+xml"
        presence = Presence.parse(publish.body)
        assert (presence.entity, presence.open, presence.note, presence.activities) == (
            "sip:bell@10.0.0.9",
            True,
            "at the door",
            ("away",),
        )
        peer.answer(publish, 200, headers=(("SIP-ETag", "e1"), ("Expires", "600")))
        publication = await publishing
        assert publication.state == "published"
        changing = asyncio.ensure_future(publication.update(False))
        change = await peer.request("PUBLISH")
        assert change.headers.get("SIP-If-Match") == "e1" and Presence.parse(change.body).open is False
        peer.answer(change, 200, headers=(("SIP-ETag", "e2"), ("Expires", "600")))
        await changing
        closing = asyncio.ensure_future(a.close())
        removal = await peer.request("PUBLISH")
        assert removal.headers.get("SIP-If-Match") == "e2" and removal.headers.get("Expires") == "0" and not removal.body
        peer.answer(removal, 200)
        await closing

    World().run_with_peer(story, **ACCOUNT)


def test_presence_that_the_server_does_not_take_is_told() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        publishing = asyncio.ensure_future(a.publish_presence(True))
        peer.answer(await peer.request("PUBLISH"), 489)
        with pytest.raises(PublicationFailed) as failure:
            await publishing
        assert failure.value.status == 489
        with pytest.raises(ConfigurationError):
            await a.publish_presence(True, activity="<bad>")
        with pytest.raises(ConfigurationError):
            await a.publish_presence(True, note="a\r\nb")

    World().run_with_peer(story, **ACCOUNT)


def test_a_phone_without_account_has_no_presence_and_no_mailbox() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(InvalidState):
            await a.publish_presence(True)
        with pytest.raises(ConfigurationError):
            a.message_waiting()

    World().run(story)


def test_a_notification_is_a_plain_value() -> None:
    assert Notification("dialog", "active", None, b"", None) == Notification("dialog", "active", None, b"", None)
