"""Messages, lamps, mailboxes and presence of phones that are registered at the embedded PBX."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import ConfigurationError, MessageFailed, Phone, SubscriptionFailed
from flexosip.pbx import Pbx
from flexosip.phone.messages import Message
from flexosip.phone.outside import new_outside_request, route_to, send
from flexosip.sip.message_summary import MessageCount, MessageSummary
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
        bob.notifier("dialog")

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
            assert states == ["idle", "early", "confirmed", "idle"]
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
