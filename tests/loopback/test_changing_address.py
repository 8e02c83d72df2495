"""A phone on a machine whose real address changes while it is registered and in a call: two network namespaces and a cable (F7)."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

PBX = """
import asyncio, subprocess, sys
from flexosip import Phone, Tone
from flexosip.pbx import Pbx

async def ip(*words):
    process = await asyncio.create_subprocess_exec("ip", *words)
    assert await process.wait() == 0, words

async def main():
    await ip("link", "set", "lo", "up")
    child = await asyncio.create_subprocess_exec(
        "unshare", "-n", sys.executable, "-c", sys.argv[1], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await asyncio.wait_for(child.stdout.readline(), 10)
    await ip("link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(child.pid))
    await ip("addr", "add", "10.9.0.1/24", "dev", "v0")
    await ip("link", "set", "v0", "up")
    async with Pbx({"bell": "s", "house": "s"}, listen=("10.9.0.1:5060",)):
        async with Phone("sip:house@10.9.0.1", password="s") as house:
            @house.on_call
            async def answer(call):
                await call.answer()
                call.play(Tone(440), loop=True)
                await call.wait_ended()

            child.stdin.write(b"go\\n")
            output = await asyncio.wait_for(child.stdout.read(), 30)
    sys.stdout.write(output.decode())

asyncio.run(main())
"""

BELL = """
import asyncio, sys, time
from flexosip import Phone, Tone

async def ip(*words):
    process = await asyncio.create_subprocess_exec("ip", *words)
    assert await process.wait() == 0, words

async def main():
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await ip("link", "set", "lo", "up")
    await ip("addr", "add", "10.9.0.2/24", "dev", "v1")
    await ip("link", "set", "v1", "up")
    async with Phone("sip:bell@10.9.0.1", password="s") as bell:
        async with bell.call("house") as call:
            call.play(Tone(440), loop=True)
            await asyncio.sleep(1)
            heard = call.statistics().packets_received
            print("heard before", heard > 30)
            await ip("addr", "del", "10.9.0.2/24", "dev", "v1")
            await ip("addr", "add", "10.9.0.3/24", "dev", "v1")
            changed = time.monotonic()
            while bell.accounts[0].registration.flow is None or bell.accounts[0].registration.flow.local[0] != "10.9.0.3":
                await asyncio.sleep(0.02)
            print("registered within 2 s", time.monotonic() - changed < 2)
            await asyncio.sleep(max(0, changed + 2.5 - time.monotonic()))
            heard = call.statistics().packets_received
            await asyncio.sleep(0.5)
            print("heard after 3 s", call.statistics().packets_received - heard > 15)
            print("the call is up", call.end is None)

asyncio.run(main())
"""


def test_registration_and_call_follow_a_real_change_of_address() -> None:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("unshare and ip (iproute2) are absent")
    if subprocess.run(["unshare", "-Urn", "unshare", "-n", "true"], check=False).returncode:
        pytest.skip("no network of one's own may be made here (unshare -Urn)")
    command = ["unshare", "-Urn", sys.executable, "-c", PBX, BELL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["heard before True", "registered within 2 s True", "heard after 3 s True", "the call is up True"], (
        done.stdout + done.stderr
    )
