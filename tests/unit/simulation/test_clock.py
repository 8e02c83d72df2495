"""The virtual clock: time jumps, but never past work that is still being done."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from flexosip.simulation import Standstill, VirtualClock


def test_a_sleep_of_a_day_takes_no_real_time(clock: VirtualClock) -> None:
    started = time.monotonic()
    clock.run(asyncio.sleep(86400))
    assert clock.time() == pytest.approx(86400)
    assert time.monotonic() - started < 1.0


def test_deadlines_come_in_order_at_their_exact_time(clock: VirtualClock) -> None:
    seen: list[tuple[str, float]] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(2.5, lambda: seen.append(("late", loop.time())))
        loop.call_later(0.5, lambda: seen.append(("early", loop.time())))
        await asyncio.sleep(3)

    clock.run(story())
    assert seen == [("early", 0.5), ("late", 2.5)]


def test_timeouts_see_the_virtual_time(clock: VirtualClock) -> None:
    async def story() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(32):
                await asyncio.Event().wait()
        return clock.time()

    assert clock.run(story()) == 32


def test_work_in_a_thread_takes_no_virtual_time(clock: VirtualClock) -> None:
    async def story() -> tuple[str, float, bool]:
        ticker = asyncio.create_task(asyncio.sleep(0.001))
        result = await asyncio.to_thread(lambda: time.sleep(0.05) or "done")
        elapsed, ticked = clock.time(), ticker.done()
        await ticker
        return result, elapsed, ticked

    assert clock.run(story()) == ("done", 0.0, False)


def test_a_failure_in_a_thread_is_raised_where_it_is_awaited(clock: VirtualClock) -> None:
    async def story() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        await asyncio.sleep(1)

    clock.run(story())
    assert clock.time() == 1


def test_a_held_clock_waits_for_a_thread_of_ones_own(clock: VirtualClock) -> None:
    async def story() -> float:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            with clock.held():
                held.set()
                time.sleep(0.05)
                loop.call_soon_threadsafe(done.set)

        held = threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        held.wait()
        async with asyncio.timeout(10):
            await done.wait()
        thread.join()
        return clock.time()

    assert clock.run(story()) == 0.0


def test_waiting_for_nothing_is_an_error_and_no_hanging_test(clock: VirtualClock) -> None:
    with pytest.raises(Standstill):
        clock.run(asyncio.Event().wait())


def test_an_exception_in_a_callback_fails_the_run(clock: VirtualClock) -> None:
    async def story() -> None:
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(ZeroDivisionError):
        clock.run(story())


def test_the_exception_of_the_coroutine_itself_comes_first(clock: VirtualClock) -> None:
    async def story() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        clock.run(story())


def test_time_goes_on_over_several_runs(clock: VirtualClock) -> None:
    clock.run(asyncio.sleep(5))
    clock.run(asyncio.sleep(5))
    assert clock.time() == 10


def test_there_is_a_loop_only_inside_a_run(clock: VirtualClock) -> None:
    async def story() -> bool:
        return clock.loop is asyncio.get_running_loop() and clock.running

    assert clock.run(story())
    assert not clock.running
    with pytest.raises(RuntimeError):
        _ = clock.loop


def test_a_run_inside_a_run_is_refused(clock: VirtualClock) -> None:
    async def story() -> None:
        with pytest.raises(RuntimeError):
            clock.run(asyncio.sleep(0))

    clock.run(story())


def test_tasks_that_are_left_over_are_named(clock: VirtualClock) -> None:
    async def story() -> None:
        keep.append(asyncio.create_task(asyncio.sleep(99), name="forgotten"))

    keep: list[asyncio.Task[None]] = []
    other = VirtualClock()
    other.run(story())
    assert "forgotten" in other.unfinished[0]
    other.run(asyncio.sleep(0))
    assert not other.unfinished


def test_the_same_program_runs_in_the_same_order() -> None:
    def run() -> list[int]:
        clock, order = VirtualClock(), []

        async def worker(number: int) -> None:
            for step in range(20):
                await asyncio.sleep(0.01 * (number % 3) + 0.001 * step)
                order.append(number)

        async def story() -> None:
            await asyncio.gather(*(worker(number) for number in range(10)))

        clock.run(story())
        return order

    assert run() == run()


def test_real_sockets_are_served_while_the_clock_is_held(clock: VirtualClock) -> None:
    async def story() -> bytes:
        near, far = socket.socketpair()
        near.setblocking(False)
        with near, far, clock.held():
            threading.Timer(0.02, far.send, (b"hello",)).start()
            return await asyncio.get_running_loop().sock_recv(near, 10)

    assert clock.run(story()) == b"hello"


def test_an_open_clock_keeps_tasks_and_loop_from_run_to_run(clock: VirtualClock) -> None:
    ticks: list[float] = []

    async def ticking() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(clock.now)

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(ticking())

    clock.open()
    try:
        task = clock.run(begin())
        assert not clock.running
        clock.run(asyncio.sleep(2.5))
        assert ticks == [1.0, 2.0]
        task.cancel()
        clock.run(asyncio.sleep(5))
        assert ticks == [1.0, 2.0]
    finally:
        clock.close()
    assert clock.unfinished == ()
    with pytest.raises(RuntimeError):
        _ = clock.loop


def test_closing_an_open_clock_names_and_cancels_what_still_runs(clock: VirtualClock) -> None:
    cancelled: list[bool] = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def begin() -> None:
        clock.left = asyncio.create_task(waiting(), name="the one left")  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    clock.open()
    clock.run(begin())
    clock.close()
    assert cancelled == [True]
    assert len(clock.unfinished) == 1 and "the one left" in clock.unfinished[0]
    clock.unfinished = ()
