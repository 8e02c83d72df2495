"""Messages, lamps, mailboxes and presence of phones that are registered at the embedded PBX."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import CallFailed, CallReplaced, ConfigurationError, MessageFailed, Phone, SubscriptionFailed
from flexosip.pbx import Pbx
from flexosip.pbx.proxy import Target
from flexosip.phone.messaging.messages import Message
from flexosip.phone.messaging.outside import new_outside_request, route_to, send
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import new_request
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sip.uri import SipUri
from tests.network.stage import World, settle

SERVER = "10.0.0.100"
USERS = {"alice": "a", "bob": "b", "carol": "c"}
Story = Callable[[Pbx, Phone, Phone, Phone], Awaitable[Any]]


def run(story: Story, **settings: Any) -> Any:
    """Run `story(pbx, alice, bob, carol)` with three registered phones."""
    world = World()

    async def main() -> Any:
        pbx = Pbx(USERS, listen=(f"{SERVER}:5060",), clock=world.clock, network=world.network.host(SERVER))
        async with pbx:
            phones = [
                world.phone(f"10.0.0.{n}", aor=f"sip:{name}@{SERVER}", password=password, **settings)
                for n, (name, password) in enumerate(USERS.items(), 1)
            ]
            async with phones[0], phones[1], phones[2]:
                result = await story(pbx, *phones)
                await settle(*phones)
        return result

    return world.run_alone(main)


@pytest.mark.parametrize("transport", [None, "tcp"])
def test_a_message_goes_through_the_pbx(transport: str | None) -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        got: list[Message] = []
        bob.on_message(lambda message: got.append(message))
        await alice.message("bob", "hello")
        assert got[0].text == "hello" and str(got[0].from_.uri) == f"sip:alice@{SERVER}"
        assert got[0].account is bob.accounts[0]
        with pytest.raises(MessageFailed) as failure:
            await alice.message("nobody", "hello")
        assert failure.value.status == 404

    run(story, transport=transport)


@pytest.mark.parametrize("transport", [None, "tcp"])
def test_a_lamp_for_a_phone_behind_the_pbx(transport: str | None) -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        @bob.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(2)
            await call.answer()
            await call.wait_ended()

        async with alice.watch("bob", expires=100) as lamp:
            states: list[str] = []

            async def follow() -> None:
                async for line in lamp:
                    states.append(str(line))

            following = asyncio.ensure_future(follow())
            # It is renewed through the PBX.
            await asyncio.sleep(1000)
            async with carol.call("bob"):
                await asyncio.sleep(5)
            await asyncio.sleep(1)
            assert states == ["idle", "trying", "early", "confirmed", "idle"]
        await following

    run(story, transport=transport)


@pytest.mark.parametrize("transport", [None, "tcp"])
def test_the_pbx_tells_of_messages_that_wait(transport: str | None) -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        async with alice.message_waiting(expires=100) as box:
            assert not (await anext(box)).waiting
            await asyncio.sleep(500)
            pbx.set_messages("alice", MessageSummary(True, None, (("voice", MessageCount(2, 0)),)))
            assert (await anext(box)).voice_new == 2
        # Whose phones have not asked is told all the same.
        pbx.set_messages("carol", MessageSummary(True))
        await asyncio.sleep(1)
        assert carol.subscriptions.mailboxes == {carol.accounts[0]: MessageSummary(True)}
        with pytest.raises(SubscriptionFailed) as failure:
            await bob.subscribe("alice", "message-summary")
        assert failure.value.status == 403
        with pytest.raises(ConfigurationError):
            pbx.set_messages("nobody", MessageSummary(False))

    run(story, transport=transport)


def test_presence_is_what_a_phone_publishes_else_whether_it_is_registered() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        states: list[str] = []

        async def follow() -> None:
            async with alice.subscribe("bob", "presence", expires=300) as subscription:
                async for notification in subscription:
                    states.append(notification.parsed.state)

        following = asyncio.ensure_future(follow())
        await asyncio.sleep(1)
        publication = await bob.publish_presence(True, activity="away", expires=100)
        await asyncio.sleep(1000)
        assert publication.state == "published"
        await publication.update(True, activity="busy")
        await asyncio.sleep(1)
        await publication.remove()
        await asyncio.sleep(1)
        await bob.close()
        await asyncio.sleep(1)
        following.cancel()
        await asyncio.sleep(3)
        assert [state for n, state in enumerate(states) if n == 0 or states[n - 1] != state] == ["open", "away", "busy", "open", "closed"]

    run(story)


def test_presence_that_is_not_renewed_is_forgotten_and_foreign_or_broken_presence_refused() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        publication = await bob.publish_presence(False, expires=100)
        assert pbx._states.presence_of("bob").state == "closed"
        bob.publications.drop_all()
        assert publication.state == "idle"
        await asyncio.sleep(101)
        assert pbx._states.presence_of("bob").state == "open"
        # Less than it keeps: it says so, and the phone asks for that.
        assert (await bob.publish_presence(True, expires=10)).state == "published"
        for method, headers, body, status in (
            ("PUBLISH", (("Event", "dialog"),), b"x", 489),
            ("PUBLISH", (("Event", "presence"), ("SIP-If-Match", "guessed")), b"", 412),
            ("PUBLISH", (("Event", "presence"),), b"", 400),
            ("PUBLISH", (("Event", "presence"),), b"<!DOCTYPE x><x/>", 400),
        ):
            route = route_to(bob, "bob", None)
            request = new_outside_request(bob, method, route, headers, body, "application/pidf+xml")
            assert (await send(bob, request, route)).status == status
        route = route_to(alice, "bob", None)
        request = new_outside_request(alice, "PUBLISH", route, (("Event", "presence"),), b"", None)
        assert (await send(alice, request, route)).status == 403

    run(story)


def test_presence_with_words_that_nobody_knows_is_told_without_them() -> None:
    body = """<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
        xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:bob@house"><tuple id="t"><status><basic>open</basic></status></tuple>
        <d:person id="p"><r:activities><r:größe/><r:busy/></r:activities></d:person></presence>"""

    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        async with alice.subscribe("bob", "presence") as presence:
            await presence.__anext__()
            route = route_to(bob, "bob", None)
            request = new_outside_request(bob, "PUBLISH", route, (("Event", "presence"),), body.encode(), "application/pidf+xml")
            assert (await send(bob, request, route)).status == 200
            assert (await presence.__anext__()).parsed.activities == ("busy",)

    run(story)


# -- lamps of the PBX itself ------------------------------------------------------------------------------------------


async def rings(phone: Phone, seconds: float = 60) -> None:
    """Let it ring there and then answer."""

    @phone.on_call
    async def answer(call: Any) -> None:
        await call.ring()
        await asyncio.sleep(seconds)
        await call.answer()
        await call.wait_ended()


def test_the_pbx_tells_both_sides_of_a_call_with_what_names_it() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        await rings(bob, 1)
        async with alice.watch("bob") as called, alice.watch("carol") as calling:
            call = await carol.dial("bob")
            await call.wait_ringing()
            await asyncio.sleep(0.2)
            (theirs,), (ours,) = called.dialogs, calling.dialogs
            assert (theirs.state, theirs.direction, theirs.ringing) == ("early", "recipient", True)
            assert (ours.state, ours.direction, ours.ringing) == ("early", "initiator", False)
            assert theirs.call_id == ours.call_id == call.id
            assert theirs.local_tag == ours.remote_tag and theirs.remote_tag == ours.local_tag and theirs.local_tag
            assert theirs.remote_uri == f"sip:carol@{SERVER}" and ours.remote_uri == f"sip:bob@{SERVER}"
            await call.wait_answered(5)
            await asyncio.sleep(0.2)
            dialog = call._session.usage.dialog  # type: ignore[union-attr]
            assert dialog is not None
            assert (called.state, calling.state) == ("confirmed", "confirmed")
            assert (calling.dialogs[0].local_tag, calling.dialogs[0].remote_tag) == (dialog.local_tag, dialog.remote_tag)
            await call.hangup()
            await asyncio.sleep(0.2)
            assert (called.state, calling.state) == ("idle", "idle")

    run(story)


def test_what_the_lamp_shows_ringing_is_picked_up() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        await rings(bob)
        await rings(carol, 0)
        async with alice.watch("bob") as lamp:
            ringing = await carol.dial("bob")
            await ringing.wait_ringing()
            await asyncio.sleep(0.2)
            (dialog,) = lamp.dialogs
            picked = await alice.pickup(dialog)
            with pytest.raises(CallReplaced) as caught:
                await ringing.wait_answered(5)
            assert picked.state == "answered" and caught.value.call.identity.number == "alice"
            await asyncio.sleep(0.5)
            assert lamp.state == "idle"
            await picked.hangup()

    run(story)


@pytest.mark.parametrize("how", ["busy", "cancelled", "gone"])
def test_a_call_that_comes_to_nothing_leaves_no_lamp_on(how: str) -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        if how == "cancelled":
            await rings(bob)
        elif how == "busy":
            bob.do_not_disturb = 486
        else:
            await bob.unregister()
        async with alice.watch("bob") as called, alice.watch("carol") as calling:
            with pytest.raises(CallFailed):
                await carol.call("bob", ring_timeout=2)
            await asyncio.sleep(1)
            assert (called.state, calling.state, len(pbx._states.calls)) == ("idle", "idle", 0)

    run(story)


def test_of_phones_that_ring_together_the_one_that_answers_stays_lit() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        await rings(bob, 1)
        await rings(alice)
        async with carol.watch("alice") as first, carol.watch("bob") as second:
            async with carol.call("**9") as call:
                await asyncio.sleep(0.5)
                assert (first.state, second.state) == ("idle", "confirmed")
                await call.hold()
                await call.resume()
                assert second.state == "confirmed"
            await asyncio.sleep(0.5)
            assert (second.state, len(pbx._states.calls)) == ("idle", 0)

    run(story)


def test_who_wants_to_be_unknown_is_not_named_by_a_lamp() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        await rings(bob)
        async with alice.watch("bob") as lamp:
            call = await carol.dial("bob", anonymous=True)
            await call.wait_ringing()
            await asyncio.sleep(0.2)
            assert "carol" not in str(lamp.dialogs) and lamp.state == "early"
            await call.hangup()

    run(story)


def test_a_call_whose_phones_have_died_is_forgotten_after_half_a_day() -> None:
    async def story(pbx: Pbx, alice: Phone, bob: Phone, carol: Phone) -> None:
        calls = pbx._states.calls
        uri = SipUri.for_user("bob", SERVER)
        from_ = carol.accounts[0].identity.with_tag("c")
        request = new_request("INVITE", uri, from_=from_, to=NameAddr(uri), call_id="lost", cseq=1)
        phone = Target(SipUri("sip", "x", "10.0.0.2"))
        async with alice.watch("bob") as lamp:
            call = calls.begin(request, "carol", (("bob", phone),))
            call.answered(phone, request.create_response(200, to_tag="b"))
            await asyncio.sleep(1)
            assert lamp.state == "confirmed"
            update = new_request("UPDATE", uri, from_=from_, to=NameAddr(uri).with_tag("b"), call_id="lost", cseq=2)
            await asyncio.sleep(11 * 3600)
            assert calls.find(update) is call
            calls.goes_on(call)
            await asyncio.sleep(11 * 3600)
            assert lamp.state == "confirmed"
            await asyncio.sleep(2 * 3600)
            assert (lamp.state, len(calls)) == ("idle", 0)

    run(story)
