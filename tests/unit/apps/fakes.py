"""A phone that only remembers, for the bell's tests: the same names as `flexosip.Phone`, no SIP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flexosip.errors import CallEnded
from flexosip.sip.identity import Identity
from flexosip.sip.uri import SipUri


@dataclass
class FakeUri:
    unescaped_user: str
    host: str = "home.test"


@dataclass
class FakeRemote:
    uri: FakeUri


@dataclass
class FakeResult:
    outcome: str

    @property
    def answered(self) -> bool:
        return self.outcome == "answered"

    @property
    def declined(self) -> bool:
        return self.outcome == "declined"


class FakeCall:
    """A call in; what is said is kept with its time."""

    def __init__(self, number: int, user: str) -> None:
        self.id = f"call-{number}"
        self.remote = FakeRemote(FakeUri(user))
        self.identity = Identity(SipUri("sip", user, "home.test"), user, "", "From", trusted=True)
        self.said: list[tuple[float, str, float]] = []
        self.stopped: list[float] = []
        self.answered_at: float | None = None
        self.rejected: int | None = None
        self.ended = asyncio.Event()
        self._keys: asyncio.Queue[str | None] = asyncio.Queue()
        self._reading = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def answer(self) -> None:
        await asyncio.sleep(0)
        self.answered_at = self._now()

    async def reject(self, status: int = 486) -> None:
        self.rejected = status

    def play(self, source: str, *, delay: float = 0.0) -> None:
        if self.ended.is_set():
            raise CallEnded(None)
        self.said.append((self._now(), Path(source).stem, delay))

    def stop_playing(self) -> None:
        self.stopped.append(self._now())

    def digits(self) -> AsyncIterator[str]:
        async def iterate() -> AsyncIterator[str]:
            assert not self._reading, "two readers of the digits of one call"
            self._reading = True
            try:
                while (key := await self._keys.get()) is not None:
                    yield key
            finally:
                self._reading = False

        return iterate()

    def press(self, keys: str) -> None:
        for key in keys:
            self._keys.put_nowait(key)

    def hang_up(self) -> None:
        self.ended.set()
        self._keys.put_nowait(None)

    @property
    def prompts(self) -> list[tuple[str, float]]:
        """What was said: prompt and the pause before it."""
        return [(name, delay) for _, name, delay in self.said]


@dataclass
class FakePhone:
    """Rings by script: target → (seconds, outcome or error); the default rings out."""

    script: dict[str, tuple[float, str | Exception]] = field(default_factory=dict)
    rings: list[tuple[float, str, float, str | None]] = field(default_factory=list)
    confirmed: list[str | None] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)
    running: bool = False
    addresses: tuple[str, ...] = ("udp:192.0.2.17:5060",)
    registration_error: Exception | None = None
    accounts: tuple[Any, ...] = (SimpleNamespace(register=True),)
    _handler: Callable[[Any], Awaitable[Any]] | None = None
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def on_call(self, handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        self._handler = handler
        return handler

    async def start(self, *, wait_registered: bool = True) -> None:
        assert not wait_registered
        self.running = True

    async def wait_registered(self, timeout: float = 15.0) -> None:
        if self.registration_error is not None:
            raise self.registration_error

    async def close(self) -> None:
        self.running = False
        for task in self._tasks:
            task.cancel()

    async def ring(
        self, target: str | list[str], duration: float = 20.0, *, subject: str | None = None, confirm: str | None = None
    ) -> FakeResult:
        now = asyncio.get_running_loop().time()
        if not isinstance(target, str):
            target = " and ".join(target)
        self.rings.append((now, target, duration, subject))
        self.confirmed.append(confirm)
        seconds, outcome = self.script.get(target, (float("inf"), "rang_out"))
        try:
            if duration and duration < seconds:
                await asyncio.sleep(duration)
                return FakeResult("rang_out")
            await asyncio.sleep(seconds if seconds < float("inf") else 1e6)
        except asyncio.CancelledError:
            self.cancelled.append(asyncio.get_running_loop().time())
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return FakeResult(outcome)

    async def call_in(self, user: str = "620") -> FakeCall:
        """Somebody calls the bell; returns once the bell has reacted."""
        assert self._handler is not None
        call = FakeCall(len(self._tasks), user)

        async def handle() -> None:
            try:
                assert self._handler is not None
                await self._handler(call)
            except CallEnded:
                pass
            finally:
                call.hang_up()

        self._tasks.append(asyncio.create_task(handle()))
        await asyncio.sleep(0.01)
        return call
