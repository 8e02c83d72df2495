"""Calls over TLS and WebSocket through the PBX: real TLS and real frames on the virtual network, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import Call
from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.network.company import Company
from tests.network.stage import settle

WAYS = ("udp", "tcp", "tls", "ws", "wss")


@pytest.fixture
def company(clock: VirtualClock, network: VirtualNetwork, tmp_path: Path) -> Company:
    return Company(clock, network, tmp_path)


@pytest.mark.parametrize(
    ("one", "other"), [(one, other) for one in WAYS for other in WAYS if {one, other} & {"tls", "ws", "wss"} or one == other]
)
def test_a_call_passes_between_any_two_transports_and_either_side_changes_and_ends_it(company: Company, one: str, other: str) -> None:
    seen: list[str] = []

    async def story() -> None:
        async with company.pbx(), company.phone("alice", one) as alice, company.phone("bob", other) as bob:

            @bob.on_call
            async def answer(call: Call) -> None:
                await call.answer()
                await call.hold()
                await call.resume()
                await call.wait_ended()
                seen.append("bob")

            async with alice.call("bob") as call:
                await asyncio.sleep(1)
                await call.hold()
                await call.resume()
            assert call.end is not None
            assert call.end.by == "local"
            await asyncio.sleep(1)
            assert seen == ["bob"]

            @alice.on_call
            async def answer_and_leave(call: Call) -> None:
                await call.answer()
                await asyncio.sleep(1)

            async with bob.call("alice") as call:
                await call.wait_ended()
            assert call.end is not None
            assert call.end.by == "remote"
            await settle(alice, bob)

    company.run(story())


@pytest.mark.parametrize("transport", ["tls", "ws", "wss"])
def test_a_phone_that_listens_nowhere_is_reached_over_its_own_connection(company: Company, transport: str) -> None:
    async def story() -> None:
        async with company.pbx() as pbx, company.phone("alice", transport) as alice:
            flow = pbx.bindings("alice")[0].flow
            assert flow.transport == transport
            uri = pbx.bindings("alice")[0].uri
            assert uri.transport == ("tls" if transport == "tls" else "ws")
            if transport == "tls":
                assert (uri.host, uri.port) == flow.remote
            else:
                assert uri.host.endswith(".invalid")
            assert not any(address.startswith(("tls", "ws")) for address in alice.addresses)

    company.run(story())


def test_a_sips_account_goes_by_tls_and_its_contact_is_a_sips_address(company: Company) -> None:
    async def story() -> None:
        async with company.pbx() as pbx, company.phone("alice", None, scheme="sips"), company.phone("bob", "wss", scheme="sips") as bob:
            assert [pbx.bindings(user)[0].uri.scheme for user in ("alice", "bob")] == ["sips", "sips"]
            assert [pbx.bindings(user)[0].flow.transport for user in ("alice", "bob")] == ["tls", "wss"]
            assert pbx.bindings("alice")[0].uri.transport is None
            assert bob.accounts[0].registered

    company.run(story())


def test_a_call_to_a_sips_address_is_secure_on_every_hop_or_fails(company: Company) -> None:
    urls: list[str] = []

    async def story() -> None:
        async with company.pbx() as pbx, company.phone("alice", None, scheme="sips") as alice:
            async with company.phone("bob", "tls") as bob:

                @bob.on_call
                async def answer(call: Call) -> None:
                    urls.append(call.headers.get("Contact") or "")
                    await call.answer()
                    await call.wait_ended()

                messages: list[str] = []
                pbx.on_wire(lambda message: messages.append(message.data.decode()))
                async with alice.call("bob"):
                    await asyncio.sleep(1)
                await asyncio.sleep(1)
                invites = [text for text in messages if text.startswith("INVITE")]
                assert all(text.startswith("INVITE sips:") for text in invites)
                assert "<sips:" in urls[0]
                assert not [text for text in messages if "Record-Route: <sip:" in text]
                assert any(text.startswith("BYE sips:") for text in messages)
                await settle(alice, bob)
            async with company.phone("bob", "tcp"):
                with pytest.raises(Exception, match="480"):
                    await alice.call("bob")
                assert any("Warning: 380" in text for text in messages)

    company.run(story())


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_after_a_broken_connection_the_phone_registers_over_a_new_one(company: Company, transport: str) -> None:
    async def story() -> None:
        async with company.pbx() as pbx, company.phone("alice", transport) as alice:
            before = pbx.bindings("alice")[0].flow
            company.network.reset_streams()
            await asyncio.sleep(1)
            assert not before.alive
            await asyncio.sleep(90)
            after = pbx.bindings("alice")[0].flow
            assert after is not before
            assert after.alive
            assert alice.accounts[0].registered

    company.run(story())
