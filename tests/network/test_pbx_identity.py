"""Phones believe their PBX, so it vouches for callers that gave the password, and for nothing that phones say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import CallFailed, IdentityPolicy
from flexosip.sip.identity import number_of
from tests.network.stage import settle
from tests.network.test_pbx import House

FORGED = [
    ("P-Asserted-Identity", '"Police" <sip:110@10.0.0.1>'),
    ("Remote-Party-ID", "<sip:110@10.0.0.1>;screen=yes"),
    ("P-Preferred-Identity", "<sip:110@10.0.0.1>"),
    ("P-Called-Party-ID", "<sip:112@10.0.0.1>"),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_caller_is_asserted_by_its_password_and_cannot_assert_anybody_else(transport: str) -> None:
    house = House()
    seen: list[Any] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell", transport=transport, display_name="Front door"), house.phone("kitchen", transport=transport)

        @kitchen.on_call
        async def look(call: Any) -> None:
            seen.append(call.identity)
            await call.answer(headers=FORGED)
            await call.wait_ended()

        async with bell, kitchen:
            call = await bell.call("kitchen", headers=FORGED)
            assert call.identity is not None and call.identity.number == "kitchen" and call.identity.asserted is None
            await asyncio.sleep(0.2)
            await call.hangup()
            await settle(bell, kitchen)

    house.run(story)
    [identity] = seen
    assert identity.trusted and identity.source == "P-Asserted-Identity" and identity.called == "kitchen"
    assert (identity.number, identity.display_name) == ("bell", "Front door") and identity.matches("bell", asserted=True)
    assert {claim.number for claim in identity.claims} == {"bell"}


@pytest.mark.parametrize("policy", ["from", "ppi", IdentityPolicy(anonymous="header")])
def test_a_caller_that_wants_to_be_unknown_is(policy: Any) -> None:
    house = House()
    seen: list[Any] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell", identity_policy=policy), house.phone("kitchen")

        @kitchen.on_call
        async def look(call: Any) -> None:
            seen.append(call.identity)
            await call.reject(486)

        async with bell, kitchen:
            with pytest.raises(CallFailed) as caught:
                await bell.call("kitchen", anonymous=True)
            assert caught.value.status == 486
            await settle(bell, kitchen)

    house.run(story)
    [identity] = seen
    assert identity.anonymous and identity.number == "" and identity.asserted is None
    hidden = isinstance(policy, str)
    assert (identity.claimed is None) is hidden
    if not hidden:
        # The From itself is the caller's own choice; the phone does not show it.
        assert number_of(identity.claimed.uri) == "bell"


def test_somebody_elses_address_is_refused_as_before() -> None:
    house = House()

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        async with bell, kitchen:
            with pytest.raises(CallFailed) as caught:
                await bell.call("kitchen", caller_id="attic")
            assert caught.value.status == 403
            await settle(bell, kitchen)

    house.run(story)
