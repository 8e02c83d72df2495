"""Cancelled anywhere, a phone leaves nothing: the task of a story is cancelled at its first await, its second, and so on to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from flexosip import CallEnded, CallFailed, Phone, Tone
from flexosip.pbx import Pbx
from tests.network.stage import World, settle

MOST_AWAITS = 400
Mode = str
MODES = ("while it waits", "as it wakes up")


class CancelledAt:
    """Runs a coroutine in the present task and cancels that task at the await of the given number, from 1.

    Args:
        work: the coroutine.
        number: which await.
        mode: cancel while the awaited future is pending, or in the moment in which it is done and the task has not run yet.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], number: int, mode: Mode) -> None:
        self.work = work
        self.number = number
        self.mode = mode
        self.awaits = 0

    @property
    def reached(self) -> bool:
        """True if the story had so many awaits."""
        return self.awaits >= self.number

    def __await__(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                future = self.work.throw(error) if error is not None else self.work.send(None)
            except StopIteration as stop:
                return stop.value
            error = None
            self.awaits += 1
            if self.awaits == self.number:
                if future is None or self.mode == MODES[0]:
                    asyncio.get_running_loop().call_soon(task.cancel)
                else:
                    future.add_done_callback(lambda _: task.cancel())
            try:
                yield future
            except BaseException as thrown:
                error = thrown


def cancelled_at_every_await(once: Callable[[int], Any], most: int = MOST_AWAITS) -> None:
    """Run `once(number)`, each in a world of its own, until it says that its story had no await of that number."""
    for number in range(1, most + 1):
        try:
            reached = once(number)
        except BaseException as error:
            error.add_note(f"cancelled at await {number}")
            raise
        if not reached:
            assert number > 1, "the story has hardly an await"
            return
    raise AssertionError("the story has too many awaits")


async def everything(call: Any, path: Path) -> None:
    """All that a program does in a call."""
    call.record(path)
    await call.play(Tone(440, duration=0.1))
    await call.gather(Tone(440, duration=0.1), max_digits=1, timeout=0.1)
    await call.send_digits("1w2", duration=0.05, gap=0.05)
    await call.send_digits("3", via="info", duration=0.05)
    await call.send_digits("4", via="inband", duration=0.05)
    await call.hold()
    await call.resume()
    async with call.audio(8000) as stream:
        await stream.write(bytes(1600))
        await stream.mark("end")
        await anext(stream)
    call.play(Tone(440), delay=1)
    await call.stop_playing()


async def quietly(story: Awaitable[Any]) -> None:
    """Await a story that may be cancelled, or find its call ended or refused because of that."""
    try:
        await story
    except (asyncio.CancelledError, CallEnded, CallFailed):
        assert not isinstance(story, CancelledAt) or story.reached
        task = asyncio.current_task()
        assert task is not None
        while task.cancelling():
            task.uncancel()


async def patient(call: Any) -> None:
    """A callee that rings, answers and waits."""
    await call.ring()
    await asyncio.sleep(0.05)
    await call.answer()
    await call.wait_ended()


@pytest.mark.parametrize("mode", MODES)
def test_a_caller_leaves_nothing_wherever_it_is_cancelled(mode: Mode, tmp_path: Path) -> None:
    def once(number: int) -> Any:
        async def story(a: Phone, b: Phone, target: str) -> bool:
            b.on_call(patient)

            async def calling() -> None:
                async with a.call(target, ring_timeout=5) as call:
                    await everything(call, tmp_path / "a.wav")

            work = CancelledAt(calling(), number, mode)
            await quietly(work)
            await asyncio.sleep(0.2)
            assert not a.calls
            await settle(a, b)
            return work.reached

        return World().run(story)

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_of_an_incoming_call_leaves_nothing_wherever_it_is_cancelled(mode: Mode, tmp_path: Path) -> None:
    def once(number: int) -> Any:
        async def story(a: Phone, b: Phone, target: str) -> bool:
            works: list[CancelledAt] = []

            async def all_of_it(call: Any) -> None:
                await call.ring()
                await call.progress()
                await call.play(Tone(440, duration=0.05))
                await call.answer()
                await everything(call, tmp_path / "b.wav")
                await call.hangup()

            @b.on_call
            async def handle(call: Any) -> None:
                work = CancelledAt(all_of_it(call), number, mode)
                works.append(work)
                await work

            async def calling() -> None:
                async with a.call(target) as call:
                    await call.wait_ended()

            await quietly(calling())
            await settle(a, b)
            return works[0].reached

        return World().run(story)

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outcome", ["rings for ever", "declines", "answers"])
def test_a_doorbell_leaves_nothing_wherever_it_is_cancelled(mode: Mode, outcome: str) -> None:
    def once(number: int) -> Any:
        async def story(a: Phone, b: Phone, target: str) -> bool:
            @b.on_call
            async def handle(call: Any) -> None:
                await call.ring()
                if outcome == "declines":
                    await call.reject(603)
                elif outcome == "answers":
                    await call.answer()
                await call.wait_ended()

            work = CancelledAt(ringing(a, target), number, mode)
            await quietly(work)
            await settle(a, b)
            return work.reached

        async def ringing(a: Phone, target: str) -> None:
            await a.ring(target, duration=0.5)
            call = await a.dial(target)
            try:
                await call.wait_ringing(5)
                await call.wait_answered(1)
            except CallFailed:
                assert outcome != "answers"
            finally:
                await call.hangup()

        return World().run(story)

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("confirm", [None, "1"])
def test_a_ring_of_several_leaves_nothing_wherever_it_is_cancelled(mode: Mode, confirm: str | None) -> None:
    def once(number: int) -> Any:
        async def story(a: Phone, b: Phone, target: str) -> bool:
            @b.on_call
            async def handle(call: Any) -> None:
                await call.ring()
                if call.identity.called == "refuses":
                    await call.reject(486)
                elif call.identity.called == "answers":
                    await asyncio.sleep(0.3)
                    await call.answer()
                    await asyncio.sleep(0.2)
                    await call.send_digits("1")
                await call.wait_ended()

            work = CancelledAt(ringing(a), number, mode)
            await quietly(work)
            await settle(a, b)
            return work.reached

        async def ringing(a: Phone) -> None:
            host = "@10.0.0.2"
            group = a.call([f"sip:rings{host}", f"sip:refuses{host}"], ring_timeout=0.4, then=[[f"sip:answers{host}"]], confirm=confirm)
            async with group as call:
                await asyncio.sleep(0.1)
                assert call.end is None

        return World().run(story)

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_that_registers_and_closes_leaves_nothing_wherever_it_is_cancelled(mode: Mode, transport: str) -> None:
    def once(number: int) -> Any:
        world = World()

        async def story() -> bool:
            pbx = Pbx(users={"me": "SECRET"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
            async with pbx:
                phone = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="SECRET", transport=transport)

                async def living() -> None:
                    async with phone:
                        phone.add_account("sip:me2@10.0.0.5", register=False)
                        call = await phone.dial("sip:nobody@10.0.0.200")
                        await asyncio.sleep(0.1)
                        assert call.state == "calling"

                work = CancelledAt(living(), number, mode)
                started = world.clock.now
                await quietly(work)
                assert not phone.running
                assert world.clock.now - started < 5
                assert not phone.calls
                assert not next(host for host in world.network.hosts if "10.0.0.1" in host.addresses).open_sockets
            return work.reached

        return world.run_alone(story)

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
def test_a_phone_can_be_started_again_after_it_was_cancelled_while_closing(mode: Mode) -> None:
    def once(number: int) -> Any:
        world = World()

        async def story() -> bool:
            a, b = world.phone("10.0.0.1"), world.phone("10.0.0.2")
            b.on_call(patient)
            async with b:
                await a.start()
                await a.call("sip:b@10.0.0.2")
                work = CancelledAt(a.close(), number, mode)
                await quietly(work)
                assert not a.running
                async with a, a.call("sip:b@10.0.0.2") as call:
                    assert call.state == "answered"
                await settle(b)
            return work.reached

        return world.run_alone(story)

    cancelled_at_every_await(once)
