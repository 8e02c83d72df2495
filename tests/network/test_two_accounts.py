"""Two accounts of one phone at one server, and two of one name at two servers: each is itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flexosip import Busy, Phone
from flexosip.pbx import Pbx
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from tests.network.stage import World, settle

SERVER, OTHER_SERVER = "10.0.0.5", "10.0.0.6"
USERS = {"one": "S1", "two": "S2", "other": "S3"}


@asynccontextmanager
async def office(world: World) -> AsyncIterator[tuple[Phone, Phone]]:
    """(the phone with the accounts one and two, the phone of other), all registered at one PBX."""
    async with Pbx(USERS, listen=(f"{SERVER}:5060",), clock=world.clock, network=world.network.host(SERVER)):
        phone = world.phone("10.0.0.1", aor=f"sip:one@{SERVER}", password="S1")
        phone.add_account(f"sip:two@{SERVER}", password="S2", display_name="Number Two")
        other = world.phone("10.0.0.2", aor=f"sip:other@{SERVER}", password="S3")
        async with phone, other:
            yield phone, other


def run(story: Callable[[Phone, Phone], Awaitable[None]]) -> None:
    world = World()

    async def main() -> None:
        async with office(world) as (phone, other):
            await story(phone, other)
            await settle(phone, other)

    world.run_alone(main)


def watch(phone: Phone) -> list[Any]:
    """The messages that the phone sends, as they go."""
    sent: list[Any] = []
    phone.on_wire(lambda wire: sent.append(parse_message(wire.data)) if wire.direction == "out" else None)
    return sent


def contacts(sent: list[Any], kind: str) -> list[str | None]:
    """The users of the Contacts in the requests, or answers to requests, of that method."""
    named = [message for message in sent if message.cseq.method == kind and "Contact" in message.headers]
    return [message.contacts[0].uri.user for message in named]


@pytest.mark.parametrize("name", ["one", "two"])
def test_whoever_is_called_answers_with_the_contact_of_the_account_called(name: str) -> None:
    async def story(phone: Phone, other: Phone) -> None:
        sent = watch(phone)
        account = phone.find_account(name)
        assert account is not None
        notes: list[str] = []

        @phone.on_call
        async def take(call: Any) -> None:
            assert call.account is account and call.identity.number == "other"
            assert call.local.uri.user == name
            await call.answer()
            async for digit in call.digits():
                notes.append(digit)

        async with other.call(name) as call:
            await call.hold()
            await call.resume()
            await call.send_digits("5", via="info")
            await other.options(name)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert notes == ["5"]
        for method in ("INVITE", "OPTIONS"):
            assert set(contacts(sent, method)) == {account.contact_user}, method

    run(story)


@pytest.mark.parametrize("name", ["one", "two"])
def test_whoever_calls_is_reached_within_the_call_by_the_contact_of_its_account(name: str) -> None:
    async def story(phone: Phone, other: Phone) -> None:
        sent = watch(phone)
        came: list[Request] = []

        def look(wire: Any) -> None:
            message = parse_message(wire.data)
            if wire.direction == "in" and isinstance(message, Request):
                came.append(message)

        phone.on_wire(look)
        account = phone.find_account(name)
        assert account is not None

        @other.on_call
        async def take(call: Any) -> None:
            assert call.identity.number == name and call.identity.trusted
            await call.answer()
            await call.hold()
            await call.resume()
            await asyncio.sleep(0.2)

        async with phone.call("other", account=name) as call:
            await call.wait_ended()
        assert set(contacts(sent, "INVITE")) == {account.contact_user}
        within = [request for request in came if request.method in ("INVITE", "BYE")]
        assert {request.uri.user for request in within} == {account.contact_user} and len(within) == 3  # type: ignore[union-attr]

    run(story)


def test_both_talk_at_once_and_each_has_its_own_lines() -> None:
    async def story(phone: Phone, other: Phone) -> None:
        one, two = phone.accounts
        two.max_calls = 1
        calls: list[Any] = []

        @phone.on_call
        async def take(call: Any) -> None:
            calls.append(call)
            await call.answer()
            await call.wait_ended()

        async with other.call("one") as first, other.call("two") as second:
            assert [call.account for call in calls] == [one, two]
            assert phone.options_status is not None
            with pytest.raises(Busy):
                await other.call("two")
            assert (await other.options("two")).status == 486
            assert (await other.options("one")).status == 200
            async with other.call("one") as third:
                assert [call.account for call in calls] == [one, two, one]
                await second.hangup()
                async with other.call("two"):
                    assert [call.account for call in calls] == [one, two, one, two]
                await third.hangup()
            await first.hangup()

    run(story)


def test_a_subscription_at_an_account_is_refreshed_at_that_account() -> None:
    async def story(phone: Phone, other: Phone) -> None:
        sent = watch(phone)
        phone.notifier("weather").update(b"sun", "text/plain")
        two = phone.accounts[1]
        async with other.subscribe("two", "weather", accept="text/plain", expires=60) as weather:
            assert (await anext(weather)).body == b"sun"
            await asyncio.sleep(130)
        answered = [message for message in sent if isinstance(message, Response) and message.cseq.method == "SUBSCRIBE"]
        assert len(answered) >= 3
        assert set(contacts(sent, "SUBSCRIBE")) == set(contacts(sent, "NOTIFY")) == {two.contact_user}

    run(story)


def test_of_two_accounts_of_one_name_the_server_tells_which_is_called() -> None:
    world = World()

    async def story() -> None:
        servers = (SERVER, OTHER_SERVER)
        pbxs = [Pbx(USERS, listen=(f"{ip}:5060",), clock=world.clock, network=world.network.host(ip)) for ip in servers]
        async with pbxs[0], pbxs[1]:
            phone = world.phone("10.0.0.1", aor=f"sip:one@{SERVER}", password="S1")
            phone.add_account(f"sip:one@{OTHER_SERVER}", password="S1")
            called: list[Any] = []

            @phone.on_call
            async def take(call: Any) -> None:
                called.append(call.account.aor.host)
                await call.reject(486)

            callers = [world.phone(f"10.0.0.{2 + i}", aor=f"sip:other@{ip}", password="S3") for i, ip in enumerate(servers)]
            async with phone, callers[0], callers[1]:
                for account in phone.accounts:
                    account.contact_user = "one"  # as where a provider wants the number in the Contact
                for caller in callers:
                    with pytest.raises(Busy):
                        await caller.call("one")
                assert called == [SERVER, OTHER_SERVER]
                await settle(phone, *callers)

    world.run_alone(story)
