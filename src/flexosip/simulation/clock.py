"""Virtual time: an asyncio loop that never waits. When nothing is left to do now, its clock jumps to the next deadline.

    clock = VirtualClock()
    clock.run(main())          # `await asyncio.sleep(3600)` in there takes microseconds

Sleeps, `asyncio.timeout` and `loop.call_at` see the virtual time. Work in real threads (`asyncio.to_thread`, executors, `getaddrinfo`)
takes no virtual time: the clock stands still until it is done. Real sockets are served too, but the clock does not wait for them.
A run in which nothing can ever happen again is an error (`Standstill`), not a hanging test; so is an exception in a callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Standstill", "VirtualClock", "VirtualEventLoop"]

T = TypeVar("T")

_PATIENCE = 2.0
"""Real seconds that a loop without any deadline waits for a thread that might still wake it."""

_LAST_ROUNDS = 5
"""Rounds of the loop in which tasks that were cancelled at the very end may still finish."""

_LOOK_EVERY = 64
"""Loop iterations between two looks at the real file descriptors, when only the loop's own wake-up pipe is open: a system call each."""


class Standstill(RuntimeError):
    """Every task waits for something that nobody will ever do."""


class VirtualClock:
    """A clock that jumps from deadline to deadline.

    Args:
        start: the first time, seconds. It goes on over several runs.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self.errors: list[dict[str, Any]] = []
        """What reached the loop's exception handler: exceptions of callbacks and of tasks that nobody awaited."""
        self.unfinished: tuple[str, ...] = ()
        """The tasks that were still pending when the latest run's coroutine returned; they were then cancelled."""
        self._loop: VirtualEventLoop | None = None
        self._kept: asyncio.Runner | None = None
        self._running = False
        self._held = 0
        self._lock = threading.Lock()

    def time(self) -> float:
        """The virtual time in seconds."""
        return self.now

    @property
    def loop(self) -> VirtualEventLoop:
        """The loop of the run in progress; between `open` and `close` that of all runs.

        Raises:
            RuntimeError: outside of that.
        """
        if self._loop is None:
            raise RuntimeError("the virtual clock does not run; use VirtualClock.run()")
        return self._loop

    @property
    def running(self) -> bool:
        """True inside `run`."""
        return self._running

    @property
    def is_open(self) -> bool:
        """True between `open` and `close`."""
        return self._kept is not None

    def open(self) -> None:
        """Keep one loop for all runs until `close`: what one run leaves, sockets and tasks, goes on in the next.

        Between two runs the time stands still. Harmless when open.
        """
        if self._kept is None:
            self._kept = asyncio.Runner(loop_factory=self._new_loop)
            self._kept.get_loop()

    def close(self) -> None:
        """Cancel what still runs on the loop that was kept (`unfinished` names it) and close that. Harmless when not open."""
        runner, self._kept = self._kept, None
        if runner is not None:
            self.unfinished = tuple(repr(task) for task in asyncio.all_tasks(runner.get_loop()))
            try:
                runner.close()
            finally:
                self._loop = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` to its end on a loop of virtual time, as `asyncio.run` does on real time.

        Raises:
            Standstill: all tasks wait and no deadline is left.
            Exception: what the coroutine raises; or, if it succeeded, the first exception of a callback or of a forgotten task.
        """
        if self._running:
            coroutine.close()
            raise RuntimeError("the virtual clock runs already")
        self.errors.clear()
        kept = self._kept
        self._running = True
        try:
            if kept is not None:
                result = kept.run(coroutine)
            else:
                with asyncio.Runner(loop_factory=self._new_loop) as runner:
                    result = runner.run(self._watched(coroutine))
        finally:
            self._running = False
            if kept is None:
                self._loop = None
        for context in self.errors:
            raise context.get("exception") or RuntimeError(context["message"])
        return result

    async def _watched(self, coroutine: Coroutine[Any, Any, T]) -> T:
        self.unfinished = ()
        result = await coroutine
        for _ in range(_LAST_ROUNDS):
            await asyncio.sleep(0)
        this = asyncio.current_task()
        self.unfinished = tuple(repr(task) for task in asyncio.all_tasks() if task is not this)
        return result

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the time stand still while a thread of one's own works; whoever leaves must first wake the loop. Thread-safe."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def hold(self) -> None:
        """Do not jump until `release` was called as often. Thread-safe."""
        with self._lock:
            self._held += 1

    def release(self) -> None:
        """Undo one `hold`. Thread-safe."""
        with self._lock:
            self._held -= 1
        loop = self._loop
        if loop is not None:
            # RuntimeError: the loop has ended meanwhile, and with it the need to wake it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_nothing)

    @property
    def is_held(self) -> bool:
        """True while the time stands still for a thread."""
        return self._held > 0

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = VirtualEventLoop(self)
        loop.set_exception_handler(self._on_exception)
        return loop

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context)
        loop.default_exception_handler(context)


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on the time of a `VirtualClock`."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._virtual_executor: ThreadPoolExecutor | None = None
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._clock.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As everywhere; meanwhile the virtual time stands still."""
        if executor is None:
            executor = self._virtual_executor
            if executor is None:
                executor = self._virtual_executor = ThreadPoolExecutor(thread_name_prefix="virtual-clock")
                self.set_default_executor(executor)
        self._clock.hold()
        try:
            work = executor.submit(func, *args)
        except BaseException:
            self._clock.release()
            raise
        future = asyncio.wrap_future(work, loop=self)
        # Added after wrap_future's own callback, so the result is on its way to the loop before the time may jump.
        work.add_done_callback(self._work_done)
        return future

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """As everywhere; the threads end in real time, so that the time-out of Python 3.12 and later must not jump past them."""
        with self._clock.held():
            await super().shutdown_default_executor(*timeout)

    def _work_done(self, work: Future[Any]) -> None:
        self._clock.release()


class _JumpingSelector(selectors.BaseSelector):
    """The real selector, which instead of waiting for a deadline lets the clock jump to it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._real = selectors.DefaultSelector()
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._clock
        if clock.is_held:
            # The release wakes the loop through its own pipe.
            return self._real.select(timeout if timeout is not None and timeout <= 0 else None)
        if timeout is None:
            ready = self._real.select(_PATIENCE)
            if not ready and not clock.is_held:
                raise Standstill("every task waits, and no deadline is left that could wake one")
            return ready
        self._rounds += 1
        if self._rounds >= _LOOK_EVERY or len(self._real.get_map()) > 1:
            self._rounds = 0
            ready = self._real.select(0)
            if ready:
                return ready
        if timeout > 0:
            clock.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Any:
        return self._real.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def close(self) -> None:
        self._real.close()


def _nothing() -> None:
    """Only wakes the loop."""
