"""The digits of a call: RTP events and INFO merged into one press each, type-ahead kept, one consumer at a time."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flexosip.errors import CallEnded, InvalidState
from flexosip.phone.events import CallEnd

__all__ = ["DigitQueue", "DigitReader", "parse_dtmf", "parse_dtmf_relay"]

_MERGE_WINDOW = 0.3
"""Seconds between two tellings of the same key, in two ways, that are still one press."""
_TYPE_AHEAD = 256
"""Digits kept for a reader that is slower than the caller; beyond it the oldest is dropped."""

_NAMED = {
    "*": "*",
    "#": "#",
    "star": "*",
    "pound": "#",
    "hash": "#",
    "10": "*",
    "11": "#",
    "12": "A",
    "13": "B",
    "14": "C",
    "15": "D",
    "16": "!",
    "flash": "!",
    "hf": "!",
}
_SIGNAL = re.compile(rb"(?im)^[ \t]*(?:signal|d)[ \t]*=[ \t]*([0-9A-Za-z*#]{1,5})[ \t]*\r?$")
_DURATION = re.compile(rb"(?im)^[ \t]*duration[ \t]*=[ \t]*(\d{1,6})[ \t]*\r?$")


def _digit(text: str) -> str | None:
    lowered = text.lower()
    if lowered in _NAMED:
        return _NAMED[lowered]
    upper = text.upper()
    return upper if len(upper) == 1 and upper in "0123456789ABCD" else None


def parse_dtmf_relay(body: bytes) -> tuple[str, float | None] | None:
    """(digit, seconds or None) of an `application/dtmf-relay` body (`Signal=5\\r\\nDuration=160`), None when there is none."""
    match = _SIGNAL.search(body[:1024])
    if match is None:
        return None
    digit = _digit(match.group(1).decode("ascii"))
    duration = _DURATION.search(body[:1024])
    return None if digit is None else (digit, int(duration.group(1)) / 1000 if duration else None)


def parse_dtmf(body: bytes) -> str | None:
    """The digit of an `application/dtmf` body (the bare key), None when there is none."""
    text = body[:64].strip().decode("ascii", "replace")
    if text[:2].lower() == "d=":
        text = text[2:].strip()
    return _digit(text)


@dataclass(slots=True)
class _Press:
    """A press as told so far."""

    digit: str
    begin: float
    end: float
    ways: set[str]


class DigitQueue:
    """Presses in order of time, read by one consumer at a time.

    Args:
        loop: the event loop of the call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._digits: deque[str] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._consumer_waits = False
        self._end: CallEnd | None = None
        self._recent: deque[_Press] = deque(maxlen=16)
        self.dropped = 0
        """Digits that nobody read in time."""

    def push(self, digit: str, via: str, at: float, duration: float | None = None) -> bool:
        """Add a press that `via` tells of at `at` seconds; False when it is the echo of a press told another way already.

        Args:
            duration: how long the key was held, seconds. RTP tells of a press when it is over, INFO when it begins or when it is
                over, so that both are known to mean the same one only by the time in between.
        """
        begin = at - (duration or 0.0)
        for press in self._recent:
            if press.digit == digit and via not in press.ways and begin - press.end <= _MERGE_WINDOW and press.begin - at <= _MERGE_WINDOW:
                press.ways.add(via)
                press.begin = min(press.begin, begin)
                press.end = max(press.end, at)
                return False
        self._recent.append(_Press(digit, begin, at, {via}))
        if len(self._digits) >= _TYPE_AHEAD:
            self._digits.popleft()
            self.dropped += 1
        self._digits.append(digit)
        self._wake()
        return True

    def close(self, end: CallEnd) -> None:
        """The call is over: readers get what is left, then `CallEnded`."""
        self._end = end
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @contextmanager
    def _consumer(self) -> Iterator[None]:
        if self._consumer_waits:
            raise InvalidState(
                "Somebody reads the digits of this call already.",
                advice="Only one of digits(), gather() and menu() can run at a time; end the first one.",
            )
        self._consumer_waits = True
        try:
            yield
        finally:
            self._consumer_waits = False

    async def get(self, timeout: float | None = None) -> str:
        """The next digit.

        Raises:
            TimeoutError: none within `timeout` seconds.
            CallEnded: the call ended.
            InvalidState: somebody else waits for a digit.
        """
        with self._consumer():
            deadline = None if timeout is None else self._loop.time() + timeout
            while not self._digits:
                if self._end is not None:
                    raise CallEnded(self._end)
                self._waiter = self._loop.create_future()
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._waiter
                finally:
                    self._waiter = None
            return self._digits.popleft()


class DigitReader:
    """`async for digit in ...` until the call ends. Between two digits it holds nothing, so a loop may be left at any time."""

    def __init__(self, queue: DigitQueue) -> None:
        self._queue = queue

    def __aiter__(self) -> DigitReader:
        return self

    async def __anext__(self) -> str:
        try:
            return await self._queue.get()
        except CallEnded:
            raise StopAsyncIteration from None
