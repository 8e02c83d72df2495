"""The watch on the machine's network: netlink in a network of the test's own, and a clock that was ahead after sleep."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys

import pytest

from flexosip.net import interface_watch
from flexosip.net.interface_watch import InterfaceWatch, clock_through_sleep
from flexosip.net.real import RealNetwork

PROGRAM = """
import asyncio, subprocess, sys
from flexosip.net import interface_watch
interface_watch._LOOK_EVERY = 60.0  # netlink alone

async def main():
    changed = asyncio.Event()
    watch = interface_watch.InterfaceWatch(asyncio.get_running_loop(), lambda slept: changed.set())
    await asyncio.sleep(0.1)
    assert not changed.is_set()
    for command in ("link set lo up", "addr add 192.0.2.7/32 dev lo", "addr del 192.0.2.7/32 dev lo"):
        changed.clear()
        process = await asyncio.create_subprocess_exec("ip", *command.split())
        await process.wait()
        await asyncio.wait_for(changed.wait(), 2.0)
    watch.close()
    print("told of all three")

asyncio.run(main())
"""


def test_links_and_addresses_that_come_and_go_are_told() -> None:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("unshare and ip (iproute2) are absent")
    if subprocess.run(["unshare", "-Urn", "true"], check=False).returncode:
        pytest.skip("no network of one's own may be made here (unshare -Urn)")
    done = subprocess.run(["unshare", "-Urn", sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "told of all three\n", done.stderr


async def test_sleep_is_seen_by_the_clock_that_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface_watch, "_LOOK_EVERY", 0.02)
    loop = asyncio.get_running_loop()
    ahead = 0.0
    told: list[bool] = []
    watch = InterfaceWatch(loop, told.append, wakeful=loop.time, sleepless=lambda: loop.time() + ahead)
    await asyncio.sleep(0.06)
    assert True not in told
    ahead = 3600.0
    await asyncio.sleep(0.06)
    assert told.count(True) == 1
    watch.close()
    ahead = 7200.0
    await asyncio.sleep(0.06)
    assert told.count(True) == 1


async def test_a_fault_of_who_is_told_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(interface_watch, "_LOOK_EVERY", 0.02)
    loop = asyncio.get_running_loop()
    ahead = 0.0
    calls = 0

    def broken(slept: bool) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("a fault")

    watch = InterfaceWatch(loop, broken, wakeful=loop.time, sleepless=lambda: loop.time() + ahead)
    for _ in range(2):
        ahead += 100.0
        await asyncio.sleep(0.05)
    watch.close()
    assert calls == 2
    assert "could not be worked on" in caplog.text


def test_the_clock_through_sleep_goes_on() -> None:
    assert clock_through_sleep() <= clock_through_sleep()


async def test_own_addresses_are_known_from_others() -> None:
    network = RealNetwork()
    assert network.is_own("127.0.0.1")
    assert not network.is_own("192.0.2.77")
