"""Whatever two phones do to each other at random, on a line that loses much: every call ends, and nothing is left or logged as a fault."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flexosip import CallEnded, FlexosipError, Phone, Tone
from tests.network.stage import RawPeer, World, sdp, settle

CALLS = 6


async def act(call: Any, random: Random, path: Path) -> None:
    """Some verbs, one after the other or at once; the last may hang up."""
    tasks: list[asyncio.Task[Any]] = []
    verbs: list[Any] = [
        lambda: call.hold(),
        lambda: call.resume(),
        lambda: call.send_digits("12", via=random.choice(("auto", "info", "info-dtmf", "inband"))),
        lambda: call.gather(Tone(440, duration=0.2), max_digits=2, timeout=1),
        lambda: call.request("INFO", b"x", "text/plain"),
        lambda: call.play(Tone(440, duration=0.5)),
        lambda: call.record(path).stop(),
        lambda: call.stop_playing(),
        lambda: call.hangup(),
    ]

    async def run(verb: Any) -> None:
        try:
            await verb()
        except (FlexosipError, TimeoutError):
            assert call is not None

    for _ in range(random.randrange(1, 7)):
        task = asyncio.create_task(run(random.choice(verbs)))
        tasks.append(task)
        if random.random() < 0.2:
            await asyncio.sleep(random.uniform(0, 0.1))
            task.cancel()
        elif random.random() < 0.6:
            await asyncio.wait((task,), timeout=random.uniform(0, 2))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_calls_full_of_random_verbs_end_and_leave_nothing(seed: int, loss: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(seed)

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            start = random.choice(("answer", "ring", "progress", "reject", "nothing"))
            if start in ("ring", "progress", "reject"):
                await getattr(call, start)()
            await asyncio.sleep(random.choice((0, 0.05, 1)))
            if start != "reject":
                await call.answer()
                await act(call, random, tmp_path / f"{id(call)}.wav")

        async def caller() -> None:
            await asyncio.sleep(random.uniform(0, 2))
            try:
                async with a.call(target, ring_timeout=random.choice((0.02, 0.5, 30))) as call:
                    await act(call, random, tmp_path / f"{id(call)}.wav")
            except FlexosipError:
                return

        callers = [asyncio.create_task(caller()) for _ in range(CALLS)]
        await asyncio.sleep(random.uniform(0, 3))
        if random.random() < 0.3:
            random.choice(callers).cancel()
        await asyncio.wait(callers)
        for task in callers:
            assert task.cancelled() or task.exception() is None
        await settle(a, b)

    with caplog.at_level(logging.WARNING):
        World(seed=seed, loss=loss, reorder=loss, duplicate=loss).run(story)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("seed", range(25))
def test_a_peer_that_says_anything_at_any_time_does_no_harm(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(seed)
    bodies = [
        "",
        sdp(),
        sdp(version=2),
        sdp(direction="sendonly", version=3),
        sdp(direction="inactive", version=4),
        sdp(0, version=5),
        sdp(formats="9"),
        sdp(formats="0", version=6),
        sdp(host="fd00::9"),
        sdp().replace("10.0.0.9", "nowhere.test"),
        sdp().replace("10.0.0.9", "0.0.0.0"),
        sdp().replace("m=audio", "m=video"),
        "v=0\r\n",
        "\0" * 50,
    ]

    async def talk(peer: RawPeer, message: Any, cseq: int) -> None:
        """One random request within the dialog of `message`, or a random answer to what waits."""
        kind = random.choice(("INVITE", "INVITE", "ACK", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "OPTIONS", "PRACK", "answer", "answer"))
        if kind == "answer":
            while not peer.inbox.empty():
                waiting = peer.inbox.get_nowait()
                if hasattr(waiting, "method") and waiting.method != "ACK":
                    status = random.choice((100, 180, 183, 199, 200, 200, 302, 401, 481, 486, 487, 491, 500, 603))
                    peer.answer(waiting, status, random.choice(bodies), tag=random.choice(("peer", "other")))
        else:
            content_type = random.choice(("application/sdp", "application/dtmf-relay", "text/plain"))
            options: dict[str, Any] = {"content_type": content_type if kind == "INFO" else "application/sdp"}
            number = message.cseq.number if kind in ("ACK", "CANCEL") else random.choice((cseq, cseq, cseq, 1))
            peer.within(message, kind, random.choice(bodies), cseq=number, **options)

    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()

        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.answer()
            await act(call, random, tmp_path / "in.wav")

        incoming = random.random() < 0.5
        if incoming:
            peer.ask("INVITE", random.choice(bodies[:3]))
            await asyncio.sleep(random.uniform(0.05, 0.3))
            calls = [*phone.calls]
            message: Any = peer.seen[-1]
        else:
            call = await phone.dial("sip:peer@10.0.0.9")
            calls = [call]
            message = await peer.request("INVITE")
            peer.answer(message, random.choice((180, 183, 200)), random.choice(bodies[:2]))
        busy: list[asyncio.Task[Any]] = []
        for number in range(12):
            await talk(peer, message, 200 + number)
            await asyncio.sleep(random.choice((0, 0.01, 0.3)))
            if random.random() < 0.3 and calls:
                busy.append(asyncio.create_task(quietly(act(calls[0], random, tmp_path / "out.wav"))))
        await asyncio.wait(busy or [asyncio.create_task(asyncio.sleep(0))])
        await settle(phone)
        # It still answers.
        peer.ask("OPTIONS", call_id="alive")
        await peer.response(200, "OPTIONS", 0.1)
        sound.close()

    async def quietly(work: Any) -> None:
        try:
            await work
        except CallEnded:
            return

    with caplog.at_level(logging.WARNING):
        World(seed=seed).run_with_peer(story)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
