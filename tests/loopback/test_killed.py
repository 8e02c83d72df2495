"""Processes that are told to end, killed, or held up by their own program: what the other side of their calls sees. Real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flexosip import Call, CallEnded, CallFailed, Limits, Phone
from flexosip.pbx import Pbx
from flexosip.sync import Phone as BlockingPhone

HERE = ("127.0.0.1:0",)
UNBOUNDED = Limits(source_rate=None, total_rate=None)

PHONE = """
import asyncio, json, sys
from flexosip import FlexosipError, Limits, Phone, Reach, Tone
from flexosip.cli.running import run_until_signal

settings = json.loads(sys.argv[1])

async def command():
    phone = Phone(
        settings["aor"], password="secret-bell", listen=(settings["listen"],), transport="udp",
        limits=Limits(source_rate=None, total_rate=None), reach=Reach(outbound=True, state=settings["state"]),
    )
    count = 0

    @phone.on_call
    async def take(call):
        nonlocal count
        count += 1
        await call.ring()
        if not settings["some_ring"] or count % 2:
            await call.answer()
            if count % 4 == 1:
                call.play(Tone(440))
        await call.wait_ended()

    async def dial(target):
        try:
            call = await phone.dial(target)
            await call.wait_ended()
        except FlexosipError:
            pass

    async with phone:
        print("ready", flush=True)
        tasks = [asyncio.ensure_future(dial(target)) for target in settings["targets"]]
        while True:
            states = sorted(f"{call.direction} {call.state}" for call in phone.calls)
            print(json.dumps({state: states.count(state) for state in states}), flush=True)
            await asyncio.sleep(0.1)

sys.exit(run_until_signal(command))
"""


@contextlib.asynccontextmanager
async def child(
    folder: Path, aor: str, *, listen: str = HERE[0], targets: tuple[str, ...] = (), some_ring: bool = False
) -> AsyncIterator[Process]:
    """A registered phone in a process of its own, that calls `targets` and answers every call, or every second one."""
    settings = {"aor": aor, "listen": listen, "targets": targets, "some_ring": some_ring, "state": str(folder)}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PHONE, json.dumps(settings), stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def wait_for(process: Process, wanted: dict[str, int]) -> None:
    """Until it says that it has these calls."""
    assert process.stdout is not None
    said: dict[str, int] = {}
    try:
        async with asyncio.timeout(30):
            while said != wanted:
                said = json.loads(await process.stdout.readline())
    except TimeoutError:
        raise AssertionError(f"{said} instead of {wanted}") from None


def pbx() -> Pbx:
    """A registrar for the child and a caller."""
    return Pbx({"bell": "secret-bell", "house": "secret-house"}, listen=HERE)


@pytest.mark.parametrize("signals", [1, 2])
async def test_sigterm_ends_fifty_calls_in_all_states_by_their_rules_within_five_seconds(tmp_path: Path, signals: int) -> None:
    """F17: BYE, CANCEL, a refusal, and the binding is taken back; a second signal ends the process at once."""
    ended: list[Call] = []
    refused: list[int] = []
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    server = pbx()
    house = Phone(listen=HERE, limits=UNBOUNDED)

    @house.on_call
    async def take(call: Call) -> None:
        await call.ring()
        if call.identity.called == "answers":
            await call.answer()
        try:
            await call.wait_ended()
        finally:
            ended.append(call)

    async with server, house:
        there = house.addresses[0].partition(":")[2]
        targets = (*["sip:answers@" + there] * 10, *["sip:rings@" + there] * 10, *[f"sip:x@127.0.0.1:{silent.getsockname()[1]}"] * 10)
        aor = f"sip:bell@{server.addresses[0].partition(':')[2]}"
        async with child(tmp_path, aor, targets=targets, some_ring=True) as process:
            (binding,) = server.bindings("bell")

            async def calling() -> None:
                try:
                    async with house.call(str(binding.uri)) as call:
                        await call.wait_ended()
                except CallFailed as failure:
                    refused.append(failure.status or 0)
                except CallEnded:
                    pass

            calls = [asyncio.ensure_future(calling()) for _ in range(20)]
            await wait_for(
                process,
                {"incoming answered": 10, "incoming ringing": 10, "outgoing answered": 10, "outgoing calling": 10, "outgoing ringing": 10},
            )
            began = time.monotonic()
            process.terminate()
            if signals == 2:
                await asyncio.sleep(0.05)
                process.terminate()
                assert process.stdout is not None
                await asyncio.wait_for(process.stdout.read(), 5)
                await process.wait()
                assert time.monotonic() - began < 0.5 + 0.05
                for call in house.calls:
                    await call.hangup()
                for task in calls:
                    task.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            else:
                assert process.stdout is not None
                await asyncio.wait_for(process.stdout.read(), 5)
                assert await process.wait() == 130
                assert time.monotonic() - began < 5
                await asyncio.wait_for(asyncio.gather(*calls), 5)
                async with asyncio.timeout(5):
                    while len(ended) < 20:
                        await asyncio.sleep(0.05)
                by = sorted((call.end.by, call.answered_at is not None) for call in ended if call.end is not None)
                assert by == [("remote", False)] * 10 + [("remote", True)] * 10
                assert len(refused) == 10 and set(refused) <= {480, 486, 487, 503}
                assert not server.bindings("bell")
    silent.close()


async def test_after_kill_9_a_new_start_takes_the_place_of_the_old_and_old_calls_get_481(tmp_path: Path) -> None:
    """F18."""
    server = pbx()
    house = Phone(listen=HERE, limits=UNBOUNDED)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    async with server, house:
        aor = f"sip:bell@{server.addresses[0].partition(':')[2]}"
        async with child(tmp_path, aor, listen=listen) as killed:
            (before,) = server.bindings("bell")
            call = await house.call(str(before.uri))
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
        async with child(tmp_path, aor, listen=listen):
            ready = time.monotonic()
            (after,) = server.bindings("bell")
            with pytest.raises((CallEnded, CallFailed)):
                await call.hold()
            end = await call.wait_ended()
            assert end.status == 481
            async with house.call(str(after.uri)):
                assert time.monotonic() - ready < 1.0


def test_a_program_that_blocks_its_loop_for_two_seconds_costs_the_other_calls_no_packet() -> None:
    """F19: sound leaves and is heard in a thread of its own, whatever the handler of another call does."""

    async def bell(addresses: list[str], started: threading.Event, over: threading.Event) -> None:
        from flexosip import Tone

        async with Phone(listen=HERE) as phone:
            count = 0

            @phone.on_call
            async def take(call: Call) -> None:
                nonlocal count
                count += 1
                await call.answer()
                if count == 1:
                    call.play(Tone(440), loop=True)
                    await call.wait_ended()
                else:
                    time.sleep(2.0)

            addresses.append(phone.addresses[0].partition(":")[2])
            started.set()
            await asyncio.to_thread(over.wait, 30)

    addresses: list[str] = []
    started, over = threading.Event(), threading.Event()
    program = threading.Thread(target=lambda: asyncio.run(bell(addresses, started, over)))
    program.start()
    try:
        assert started.wait(10)
        with BlockingPhone(listen=HERE) as house, house.call(f"sip:first@{addresses[0]}") as good:
            time.sleep(0.5)
            with house.call(f"sip:second@{addresses[0]}") as bad:
                before = good.statistics().packets_received
                time.sleep(1.5)
                heard = good.statistics().packets_received - before
                assert bad.wait_ended().by == "remote"
            assert good.end is None
            assert heard >= 70  # 75 packets of 20 ms
    finally:
        over.set()
        program.join(10)
