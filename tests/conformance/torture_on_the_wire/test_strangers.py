"""What a stranger gets out of a phone: nothing with an account, and never a flood without one (sources of datagrams are forged)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Limits, Phone
from flexosip.pbx import Pbx
from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.conformance.torture_on_the_wire.renderings import RENDERINGS
from tests.conformance.torture_on_the_wire.torture import TRANSPORTS, Sender, address_of, addressed, certificate, make
from tests.corpus import entries

USER, PASSWORD = "bell", "house"


def requests() -> list[tuple[str, bytes]]:
    """All SIP files of the corpus, where it is, and the renderings."""
    return [(entry.name, entry.data) for entry in entries("sip")] + list(RENDERINGS.items())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_with_an_account_no_stranger_hears_anything(transport: str) -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=7)

    async def main() -> None:
        stranger = network.host("10.0.0.66")
        pbx = Pbx({USER: PASSWORD}, listen=("10.0.0.1:5060",), network=network.host("10.0.0.1"))
        listen = ("10.0.0.2:5060", "tls:10.0.0.2:5061", "ws:10.0.0.2:80")
        there = network.host("10.0.0.2")
        phone = Phone(f"sip:{USER}@10.0.0.1", password=PASSWORD, listen=listen, network=there, clock=clock, tls=certificate())

        @phone.on_call
        async def answer(call: Any) -> None:
            await call.answer()

        async with pbx, phone:
            for name, data in requests():
                async with Sender(stranger, transport, address_of(phone, transport), host="10.0.0.66") as sender:
                    sender.send(data)
                    await asyncio.sleep(0.2)
                    # Line breaks between the messages of a stream are a ping, and one line break its answer (RFC 5626 §3.5.1).
                    assert not sender.received and not sender.unread.strip(b"\r\n"), name
            await asyncio.sleep(40)
            ignored = phone.core.stack.statistics().ignored
            assert ignored > 40, ignored

    clock.run(main())


def test_without_an_account_a_forged_source_gets_no_more_octets_than_its_own_and_for_a_call_a_few_more() -> None:
    # The worst case: nothing is ever acknowledged, so that what the RFC repeats is repeated to its end (§13.3.1.4, §17.2.1).
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=7)
    limits = Limits()
    calls: dict[str, int] = {}
    others: dict[str, int] = {}

    async def main() -> None:
        forged = network.host("10.0.0.66")
        async with make("phone", network.host("10.0.0.1"), host="10.0.0.1", clock=clock, limits=limits) as phone:
            for name, data in requests():
                async with Sender(forged, "udp", address_of(phone), host="10.0.0.66") as sender:
                    sent = len(addressed(data, "udp", sender.port, f"{sender.port}-1"))
                    sender.send(data)
                    await asyncio.sleep(70)
                    taken = any(200 <= answer.status < 300 and answer.cseq.method == "INVITE" for answer in sender.finals())
                    (calls if taken else others)[name] = sum(map(len, sender.received)) - sent

    clock.run(main())
    assert others and max(others.values()) <= 0
    # A call that was taken may borrow: a lost 200 has to be repeated.
    assert calls and max(calls.values()) <= limits.source_loan
