"""The same stories with pjsip, baresip and linphone, in both directions and by each transport: sound, hold, resume, transfer."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, Phone, TlsSettings, Tone
from flexosip.pbx import Pbx
from tests.certificates import Authority
from tests.interop.listening import assert_tone
from tests.interop.matrix.phones import HZ, PHONES, STORIES, TRANSPORTS, Trust, make, render
from tests.interop.process import free_ports, wait_until

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interop.md"
OUR_HZ = 440
CASES = [
    pytest.param(name, transport, marks=pytest.mark.peer(name), id=f"{name}-{transport}") for name in PHONES for transport in TRANSPORTS
]


class Table:
    """Our phone, one of ours to transfer to, and the other's; with a PBX between them where the other cannot be called directly."""

    def __init__(self, name: str, transport: str, folder: Path) -> None:
        self.folder, self.transport = folder, transport
        authority = Authority(folder / "authority")
        issued = authority.issue(addresses=["127.0.0.1"])
        self.tls = TlsSettings(ca=authority.certificate, certificate=issued.certificate, key=issued.key)
        trust = Trust(authority.certificate, issued.certificate, issued.key)
        self.pbx: Pbx | None = None
        if (name, transport) == ("linphonec", "tls"):
            self.pbx_port = free_ports(1)
            users = {user: f"secret-{user}" for user in ("bell", "third", "bob")}
            self.pbx = Pbx(users, listen=(f"tls:127.0.0.1:{self.pbx_port}",), tls=self.tls)
        self.other = make(name, folder / name, transport, trust, f"127.0.0.1:{self.pbx_port}" if self.pbx else None)
        self.phone, self.third = (self._phone(user) for user in ("bell", "third"))
        self.calls: list[Call] = []
        """that our phone has taken"""
        self.third_calls: list[Call] = []
        self._stack = AsyncExitStack()

    def _phone(self, user: str) -> Phone:
        listen = ("127.0.0.1:0", "tls:127.0.0.1:0") if self.transport == "tls" else ("127.0.0.1:0",)
        if self.pbx is None:
            return Phone(listen=listen, tls=self.tls, accept_transfers=True)
        account = f"sip:{user}@127.0.0.1:{self.pbx_port}"
        return Phone(account, password=f"secret-{user}", transport="tls", listen=listen, tls=self.tls, accept_transfers=True)

    def uri_of(self, phone: Phone) -> str:
        """Where one of our phones is called."""
        parameter = "" if self.transport == "udp" else f";transport={self.transport}"
        if self.pbx is not None:
            return f"{phone.accounts[0].aor}{parameter}"
        address = next(known.partition(":")[2] for known in phone.addresses if known.startswith(f"{self.transport}:"))
        return f"sip:x@{address}{parameter}"

    async def __aenter__(self) -> Table:
        try:
            await self._set()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _set(self) -> None:
        for one in (self.pbx, self.phone, self.third, self.other):
            if one is not None:
                await self._stack.enter_async_context(one)
        if self.pbx is not None:
            locations = self.pbx.locations
            await wait_until(lambda: locations.bindings("bob", time.monotonic()), 5, "the other phone is registered")

        @self.phone.on_call
        async def take(call: Call) -> None:
            self.calls.append(call)
            await call.answer()
            call.play(Tone(OUR_HZ))
            await call.wait_ended()

        @self.third.on_call
        async def take_transferred(call: Call) -> None:
            self.third_calls.append(call)
            await call.answer()
            call.record(self.folder / "third.wav", side="in")
            call.play(Tone(OUR_HZ))
            await call.wait_ended()

    async def __aexit__(self, *details: Any) -> None:
        await self._stack.aclose()

    async def connected(self, direction: str) -> Call:
        """An answered call between our phone and the other, with sound both ways."""
        if direction == "we call":
            call = await self.phone.call(self.other.uri, ring_timeout=15)
            call.play(Tone(OUR_HZ))
            return call
        await self.other.dial(self.uri_of(self.phone))
        await wait_until(lambda: self.calls and self.calls[0].state == "answered", 10, "the call is answered")
        return self.calls[0]


@pytest.mark.parametrize("direction", ["we call", "we are called"])
@pytest.mark.parametrize(("name", "transport"), CASES)
async def test_sound_hold_and_resume_by_each_side(name: str, transport: str, direction: str, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with Table(name, transport, tmp_path) as table:
        call = await table.connected(direction)
        call.record(heard, side="in")
        await asyncio.sleep(1.2)
        await call.hold()
        await asyncio.sleep(0.5)
        await call.resume()
        await asyncio.sleep(0.5)
        await table.other.hold()
        await wait_until(lambda: call.held, 5, "the other side holds us")
        await table.other.resume()
        await wait_until(lambda: not call.held, 5, "the other side resumes")
        await asyncio.sleep(1)
        await table.other.hang_up()
        end = await asyncio.wait_for(call.wait_ended(), 5)
        assert end.by == "remote"
    assert_tone(heard, HZ, seconds=1.5)
    assert_tone(table.other.heard, OUR_HZ, seconds=0.8)


@pytest.mark.parametrize("direction", ["we call", "we are called"])
@pytest.mark.parametrize(("name", "transport"), CASES)
async def test_we_transfer_the_other_side_to_a_third_phone(name: str, transport: str, direction: str, tmp_path: Path) -> None:
    async with Table(name, transport, tmp_path) as table:
        call = await table.connected(direction)
        await asyncio.sleep(0.8)
        result = await call.transfer(table.uri_of(table.third))
        assert result.status in (0, 200)
        await wait_until(lambda: table.third_calls and table.third_calls[0].state == "answered", 5, "the third phone has the call")
        assert call.end is not None
        await asyncio.sleep(1.5)
        await table.third_calls[0].hangup()
    assert_tone(tmp_path / "third.wav", HZ, seconds=1)


@pytest.mark.parametrize(("name", "transport"), CASES)
async def test_the_other_side_transfers_us_to_a_third_phone(name: str, transport: str, tmp_path: Path) -> None:
    async with Table(name, transport, tmp_path) as table:
        call = await table.connected("we call")
        await asyncio.sleep(0.8)
        await table.other.transfer(table.uri_of(table.third))
        await wait_until(lambda: call.transferred_to and call.transferred_to.state == "answered", 8, "we talk to the third phone")
        await asyncio.wait_for(call.wait_ended(), 8)
        new = call.transferred_to
        assert new is not None and table.third_calls[0].state == "answered"
        await new.hangup()


def test_the_page_says_what_is_tested_here() -> None:
    assert render() in PAGE.read_text(encoding="utf-8")
    assert set(STORIES) < set(globals())
