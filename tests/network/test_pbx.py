"""Phones at the embedded PBX, on the virtual network: registration, routing, ringing all, and who hangs up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, NotFound, Phone, Tone, Unavailable
from flexosip.pbx import Pbx
from flexosip.simulation import VirtualClock, VirtualNetwork

USERS = {"bell": "secret-bell", "kitchen": "secret-kitchen", "attic": "secret-attic"}


class House:
    """A PBX and as many phones as are asked for, each on a host of its own."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, seed=7)
        self.pbx = Pbx(USERS, listen=("10.0.0.1:5060", "[fd00::1]:5060"), network=self.network.host("10.0.0.1", "fd00::1"))
        self.count = 1

    def phone(self, user: str, *, password: str | None = None, ipv6: bool = False, **settings: Any) -> Phone:
        self.count += 1
        ipv4, own, server = f"10.0.0.{self.count + 1}", f"10.0.0.{self.count + 1}", "10.0.0.1"
        listen = f"{own}:5060"
        if ipv6:
            own, server = f"fd00::{self.count + 1:x}", "[fd00::1]"
            listen = f"[{own}]:5060"
        return Phone(
            f"sip:{user}@{server}",
            password=password or USERS[user],
            listen=(listen,),
            network=self.network.host(*dict.fromkeys((own, ipv4))),
            clock=self.clock,
            **settings,
        )

    def run(self, story: Any) -> Any:
        async def main() -> Any:
            async with self.pbx:
                return await story()

        result = self.clock.run(main())
        assert not self.network.open_sockets
        return result


def answering(phone: Phone, log: list[str], name: str) -> None:
    @phone.on_call
    async def answer(call: Any) -> None:
        await call.answer()
        log.append(f"{name} answered")
        end = await call.wait_ended()
        log.append(f"{name} {end.by}")


def ringing(phone: Phone, log: list[str], name: str) -> None:
    @phone.on_call
    async def ring(call: Any) -> None:
        await call.ring()
        log.append(f"{name} rings")
        end = await call.wait_ended()
        log.append(f"{name} {'elsewhere' if end.answered_elsewhere else end.status}")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_user_registers_and_is_called_by_name(transport: str) -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell", transport=transport), house.phone("kitchen", transport=transport)
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            assert len(house.pbx.bindings("kitchen")) == 1
            async with bell.call("kitchen", ring_timeout=5) as call:
                await call.play(Tone(440, duration=0.5))
            await asyncio.sleep(1)
        assert not house.pbx.bindings("kitchen")

    house.run(story)
    assert log == ["kitchen answered", "kitchen remote"]


def test_udp_and_tcp_and_both_address_families_meet_at_the_pbx() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell = house.phone("bell", transport="tcp")
        kitchen = house.phone("kitchen", ipv6=True)
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            async with bell.call("kitchen", ring_timeout=5):
                await asyncio.sleep(1)
            await asyncio.sleep(1)

    house.run(story)
    assert log == ["kitchen answered", "kitchen remote"]


def test_a_wrong_password_is_refused_with_a_sentence_that_does_not_repeat_it() -> None:
    house = House()

    async def story() -> None:
        phone = house.phone("bell", password="not-it")
        with pytest.raises(AuthenticationError) as caught:
            await phone.start()
        assert "not-it" not in caught.value.explain()

    house.run(story)


def test_ring_all_rings_everybody_but_the_caller_and_the_first_wins() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen, attic = house.phone("bell"), house.phone("kitchen"), house.phone("attic")
        ringing(bell, log, "bell")
        ringing(attic, log, "attic")

        @kitchen.on_call
        async def answer_late(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(2)
            await call.answer()
            log.append("kitchen answered")
            await call.wait_ended()

        async with bell, kitchen, attic:
            async with bell.call("**9", ring_timeout=10):
                await asyncio.sleep(0.5)
            await asyncio.sleep(1)

    house.run(story)
    assert sorted(log) == ["attic elsewhere", "attic rings", "kitchen answered"]


def test_giving_up_cancels_all_phones() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen, attic = house.phone("bell"), house.phone("kitchen"), house.phone("attic")
        ringing(kitchen, log, "kitchen")
        ringing(attic, log, "attic")
        async with bell, kitchen, attic:
            result = await bell.ring("**9", duration=3)
            assert result.outcome == "rang_out"
            await asyncio.sleep(1)

    house.run(story)
    assert sorted(log) == ["attic 487", "attic rings", "kitchen 487", "kitchen rings"]


def test_unknown_and_unregistered_users() -> None:
    house = House()

    async def story() -> None:
        async with house.phone("bell") as bell:
            with pytest.raises(NotFound):
                await bell.call("nobody")
            with pytest.raises(Unavailable):
                await bell.call("kitchen")

    house.run(story)


def test_the_called_side_hangs_up() -> None:
    house = House()

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen", transport="tcp")

        @kitchen.on_call
        async def short(call: Any) -> None:
            await call.answer()
            await asyncio.sleep(1)

        async with bell, kitchen:
            call = await bell.call("kitchen", ring_timeout=5)
            end = await call.wait_ended()
            assert end.by == "remote"

    house.run(story)
