"""Where new calls go: to a handler, as one task a call, or to the readers of `Phone.incoming_calls`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallEnded, FlexosipError

if TYPE_CHECKING:
    from flexosip.phone.call import Call

__all__ = ["CallHandler", "IncomingCalls"]

logger = logging.getLogger(__name__)

CallHandler = Callable[["Call"], Awaitable[Any]]

_LAST_WORDS = 0.1
"""Seconds that handlers have to end when the phone closes."""


class IncomingCalls:
    """The calls that nobody has taken yet, and the tasks of those that a handler works on."""

    def __init__(self) -> None:
        self.handler: CallHandler | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Call] = deque()
        self._readers: list[asyncio.Future[None]] = []
        self._reading = 0
        self._open = False

    @property
    def wanted(self) -> bool:
        """True if somebody takes calls."""
        return self._open and (self.handler is not None or self._reading > 0)

    def open(self) -> None:
        """The phone has started."""
        self._open = True

    def put(self, call: Call) -> None:
        """A new call."""
        if self.handler is not None:
            task = asyncio.get_running_loop().create_task(_handle(self.handler, call))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._waiting.append(call)
            self._wake()

    async def read(self) -> AsyncIterator[Call]:
        """Calls one after the other, until the phone closes."""
        loop = asyncio.get_running_loop()
        self._reading += 1
        try:
            while self._open:
                while self._waiting:
                    call = self._waiting.popleft()
                    if call.end is None:
                        yield call
                reader = loop.create_future()
                self._readers.append(reader)
                await reader
        finally:
            self._reading -= 1
            if self._reading == 0 and self.handler is None:
                # Nobody will ever take them: the callers shall know it at once.
                while self._waiting:
                    _give_up(self._waiting.popleft(), 480)

    def _wake(self) -> None:
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)
        self._readers.clear()

    def stop(self) -> None:
        """The phone closes: no more calls are wanted."""
        self._open = False
        self._waiting.clear()
        self._wake()

    async def end_tasks(self, spared: set[asyncio.Task[Any]]) -> None:
        """Cancel the handlers, except `spared`, which wait for the phone to close themselves."""
        tasks = self.tasks - spared
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS)


async def _handle(handler: CallHandler, call: Call) -> None:
    """Run a handler; its faults are logged and end its own call only, and when it returns the call is over."""
    session = call._session
    status = 480
    try:
        await handler(call)
    except CallEnded as ended:
        if ended.end is not session.end:
            logger.exception("the on_call handler failed")
            status = 500
    except FlexosipError as error:
        if session.end is None:
            logger.warning("the on_call handler failed: %s", error.explain())
        status = 500
    except Exception:
        logger.exception("the on_call handler failed; its call is ended")
        status = 500
    finally:
        _give_up(call, status)


def _give_up(call: Call, status: int) -> None:
    session = call._session
    if session.end is not None:
        return
    if session.answered_at is None and session.usage is not None and not session.accepted:
        session.usage.reject(status)
    else:
        session.hangup()
