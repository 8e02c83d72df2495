"""A call that is none, on a clock that jumps: what the caller presses when, and what he heard from when to when."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from flexosip.errors import CallEnded

__all__ = ["StageCall", "perform"]

T = TypeVar("T")


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.clock = 0.0
        loop = self

        class Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
            def select(self, timeout: float | None = None) -> Any:
                if timeout is None:
                    raise RuntimeError("Everybody waits, and nothing will ever happen.")
                loop.clock += max(0.0, timeout)
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.clock


class StagePlayback:
    def __init__(self, call: StageCall, source: Any, seconds: float) -> None:
        self.call, self.source, self.seconds = call, source, seconds
        self.started: float | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        self.call.finish(self)

    def __await__(self) -> Generator[Any, None, None]:
        try:
            yield from asyncio.shield(self.done).__await__()
        except asyncio.CancelledError:
            self.stop()
            raise


class StageCall:
    """The verbs of a call that the IVR uses, with `heard` as their result.

    Args:
        lengths: seconds of each sound by its name; 1 s for others. "missing.wav" cannot be played.
    """

    def __init__(self, **lengths: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.lengths = lengths
        self.heard: list[tuple[str, float, float]] = []
        self.queue: deque[StagePlayback] = deque()
        self.keys: deque[str] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.over = False

    def press(self, keys: str, at: float | None = None) -> None:
        """Press `keys` now, or all at once at that second."""
        if at is not None:
            self.loop.call_at(at, self.press, keys)
            return
        self.keys.extend(keys)
        self._wake()

    def hang_up(self, at: float) -> None:
        def end() -> None:
            self.over = True
            for playback in list(self.queue):
                playback.done.set_exception(CallEnded("hung up"))
                playback.done.exception()
            self.queue.clear()
            self._wake()

        self.loop.call_at(at, end)

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def play(self, source: Any) -> StagePlayback:
        if source == "missing.wav":
            raise FileNotFoundError(source)
        playback = StagePlayback(self, source, self.lengths.get(str(source).removesuffix(".wav"), 1.0))
        self.queue.append(playback)
        self._start()
        return playback

    def stop_playing(self) -> None:
        assert not self.over
        for playback in reversed(list(self.queue)):
            playback.stop()

    def _start(self) -> None:
        if self.queue and self.queue[0].started is None:
            first = self.queue[0]
            first.started = self.loop.time()
            self.loop.call_later(first.seconds, self.finish, first)

    def finish(self, playback: StagePlayback) -> None:
        if playback.done.done():
            return
        playback.done.set_result(None)
        self.queue.remove(playback)
        if playback.started is not None:
            self.heard.append((str(playback.source).removesuffix(".wav"), round(playback.started, 3), round(self.loop.time(), 3)))
        # Like the audio engine: what is stopped together with this one does not begin for a moment.
        self.loop.call_soon(self._start)

    async def wait_digit(self, timeout: float | None = None) -> str:
        assert self.waiter is None, "two consumers at a time"
        async with asyncio.timeout(timeout):
            while not self.keys:
                if self.over:
                    raise CallEnded("hung up")
                self.waiter = self.loop.create_future()
                try:
                    await self.waiter
                finally:
                    self.waiter = None
        return self.keys.popleft()


def perform(scene: Callable[[StageCall], Awaitable[T]], **lengths: float) -> tuple[T, StageCall]:
    """Run `scene` with a fresh call in virtual time; checks that no task, no sound and no reader is left."""

    async def play() -> tuple[T, StageCall]:
        call = StageCall(**lengths)
        result = await scene(call)
        assert len(asyncio.all_tasks()) == 1, "a task is left"
        assert not call.queue and call.waiter is None, "a sound or a reader is left"
        return result, call

    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(play())
