"""A Twilio trunk, as far as it was seen on the wire: no registration, addresses instead of passwords, its own domain, +E.164, TLS, SRTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, CallFailed, ConfigurationError, InvalidState, Phone
from flexosip.testing import FakeTwilioTrunk, Stage
from tests.certificates import Authority

GATEWAY, OFFICE, NUMBER, DOMAIN = "54.172.60.1", "203.0.113.20", "+12025550101", "mytrunk.pstn.twilio.com"


class Trunk:
    """The trunk and an office that calls through it."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage()
        self.authority = Authority(folder)
        self.stage.network.name(DOMAIN, GATEWAY)

    @contextlib.asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[FakeTwilioTrunk]:
        """The gateway."""
        settings = {"domain": DOMAIN, "allowed": [OFFICE], "numbers": [NUMBER], "transports": ("udp", "tls"), **settings}
        tls = self.authority.server("*.pstn.twilio.com", DOMAIN)
        async with await FakeTwilioTrunk.open(self.stage.host("gateway", settings.pop("ip", GATEWAY)), tls=tls, **settings) as gateway:
            yield gateway

    def phone(self, number: str = NUMBER, *, ip: str = OFFICE, **settings: Any) -> Phone:
        """A phone made by the profile."""
        settings = {"host": DOMAIN, "tls_ca": self.authority.certificate, "listen": f"{ip}:5060", **settings}
        return Phone.twilio_trunk(number, clock=self.stage.clock, network=self.stage.host("office", ip), **settings)


@pytest.fixture
def trunk(tmp_path: Path) -> Trunk:
    return Trunk(tmp_path)


def test_nothing_is_registered_and_a_call_goes_out_by_tls_to_the_trunks_own_domain(trunk: Trunk) -> None:
    async def story() -> None:
        async with trunk.open() as gateway, trunk.phone() as phone:
            assert not gateway.received
            async with phone.call("+1 (202) 555-0199"):
                await asyncio.sleep(1)
            assert not gateway.requests("REGISTER")
            (invite,) = gateway.requests("INVITE")
            assert str(invite.uri).partition(";")[0] == f"sip:+12025550199@{DOMAIN}"
            assert str(invite.from_.uri) == f"sip:{NUMBER}@{DOMAIN}"
            assert {item.flow.transport for item in gateway.received} == {"tls"}

    trunk.stage.play(story())


def test_who_waits_for_the_registration_of_a_trunk_is_told_that_there_is_none(trunk: Trunk) -> None:
    async def story() -> None:
        async with trunk.open(), trunk.phone() as phone:
            with pytest.raises(InvalidState, match="no account that could be registered"):
                await phone.wait_registered()

    trunk.stage.play(story())


def test_a_number_that_is_not_e164_never_leaves(trunk: Trunk) -> None:
    async def story() -> None:
        async with trunk.open() as gateway, trunk.phone() as phone:
            with pytest.raises(ConfigurationError, match="with its country code"):
                phone.call("2025550199")
            assert not gateway.received

    trunk.stage.play(story())


@pytest.mark.parametrize(
    ("settings", "caller", "status"),
    [
        ({"allowed": ["203.0.113.99"]}, None, 403),
        ({"domain": "other.pstn.twilio.com"}, None, 404),
        ({}, "+12025550102", 403),
    ],
)
def test_what_the_trunk_does_not_take_is_told_with_its_status(trunk: Trunk, settings: Any, caller: str | None, status: int) -> None:
    async def story() -> None:
        async with trunk.open(**settings), trunk.phone() as phone:
            with pytest.raises(CallFailed) as refused:
                await phone.call("+12025550199", caller_id=caller)
            assert refused.value.status == status

    trunk.stage.play(story())


def test_a_gateway_calls_in_with_headers_written_twice_and_is_let_in_by_its_address(trunk: Trunk) -> None:
    async def story() -> None:
        async with trunk.open() as gateway, trunk.phone() as phone:
            seen: list[Call] = []

            @phone.on_call
            async def answer(call: Call) -> None:
                seen.append(call)
                await call.answer()
                await call.wait_ended()

            theirs = await gateway.call(f"sip:{NUMBER}@{OFFICE}:5060")
            assert gateway.answers[-1].status == 200
            await asyncio.sleep(1)
            assert (await theirs.bye(("Reason", 'Q.850;cause=16;text="Normal call clearing"'))).status == 200
            await asyncio.sleep(1)
            (call,) = seen
            assert call.end is not None
            assert call.end.q850_cause == 16

    trunk.stage.play(story())


def test_a_call_from_elsewhere_meets_silence(trunk: Trunk) -> None:
    async def story() -> None:
        async with trunk.open(ip="203.0.113.66") as stranger, trunk.phone() as phone:
            with pytest.raises(TimeoutError):
                await stranger.call(f"sip:{NUMBER}@{OFFICE}:5060")
            assert not phone.calls

    trunk.stage.play(story())


def test_secure_sound_is_never_answered_with_plain_sound(trunk: Trunk) -> None:
    """An answer of RTP/AVP to an offer of RTP/SAVP would drop the call after it was taken."""

    async def story() -> None:
        async with trunk.open(secure_sound=True) as gateway, trunk.phone() as phone:

            @phone.on_call
            async def answer(call: Call) -> None:
                await call.answer()

            theirs = await gateway.call(f"sip:{NUMBER}@{OFFICE}:5060")
            assert gateway.answers[-1].status == 488
            assert gateway.dropped_legs == 0
            assert theirs.ended.is_set()
            with pytest.raises(CallFailed) as refused:
                await phone.call("+12025550199")
            assert refused.value.status == 488

    trunk.stage.play(story())
