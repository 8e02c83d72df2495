"""The duplex sound of a call as raw PCM: `async for frame in call.audio()`, `await stream.write(pcm)`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from flexosip.audio.resample import Resampler
from flexosip.errors import CallEnded, ConfigurationError, InvalidState

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd
    from flexosip.phone.media.media_session import MediaSession

__all__ = ["AudioStream"]

_INCOMING_SECONDS = 2.0
"""Sound kept for a reader that is slower than the call; beyond it the oldest is dropped and counted."""
_OUTGOING_SECONDS = 0.2
"""Sound that `write` lets pile up before it waits."""


class AudioStream:
    """20 ms frames of int16 little-endian mono in both directions, at the caller's rate.

    Iterating yields frames of `rate // 50` samples, silence for what was lost, until the call ends.
    """

    def __init__(self, media: MediaSession, rate: int) -> None:
        if not 8000 <= rate <= 48000 or rate % 50:
            raise ConfigurationError(f"audio(rate={rate}): allowed are 8000 to 48000 samples a second, for example 8000 or 16000.")
        self.rate = rate
        """Samples a second, both directions."""
        self.dropped_frames = 0
        """Received frames that the reader came too late for."""
        self._media = media
        self._frame_bytes = rate // 50 * 2
        self._frames: deque[bytes] = deque()
        self._partial = b""
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._end: CallEnd | None = None
        self._closed = False
        self._down: Resampler | None = None
        self._source_rate = 0
        self._live = media.open_live(rate, self._has_room)
        media.attach_audio(self)

    def __aiter__(self) -> AudioStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._frames:
            if self._end is not None or self._closed:
                raise StopAsyncIteration
            self._waiter = self._media.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft()

    async def write(self, pcm: bytes) -> None:
        """Send `pcm` (any length) after what was written before; waits while more than 0.2 s is still to be sent.

        Raises:
            CallEnded: the call is over. InvalidState: the stream was closed.
        """
        while True:
            self._check_open()
            if self._live.buffered <= _OUTGOING_SECONDS:
                break
            self._room = self._media.loop.create_future()
            try:
                await self._room
            finally:
                self._room = None
        self._live.write(pcm)

    def clear(self) -> float:
        """Forget what was written and not sent yet; returns the seconds that were really sent since the last `clear`."""
        return self._live.clear()

    def mark(self, name: str) -> asyncio.Future[float]:
        """A future that is done, with the position in seconds, when all that was written so far has been sent.

        `clear` cancels the marks of what it throws away; the end of the call makes them raise CallEnded.

        Raises:
            CallEnded: the call is over. InvalidState: the stream was closed.
        """
        self._check_open()
        return self._live.mark(name)

    def _check_open(self) -> None:
        if self._end is not None:
            raise CallEnded(self._end)
        if self._closed:
            raise InvalidState("The audio stream was closed.", advice="Make a new one with call.audio().")

    def close(self) -> None:
        """End both directions; the call goes on."""
        if not self._closed:
            self._closed = True
            self._media.detach_audio(self)
            self._live.close()
            self._wake()

    async def __aenter__(self) -> AudioStream:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    # Called by the media session only.

    def _received(self, pcm: bytes, rate: int) -> None:
        if rate != self._source_rate:
            self._source_rate = rate
            self._down = None if rate == self.rate else Resampler(rate, self.rate)
        data = self._partial + (pcm if self._down is None else self._down.process(pcm))
        size = self._frame_bytes
        offset = 0
        while len(data) - offset >= size:
            self._frames.append(data[offset : offset + size])
            offset += size
        self._partial = data[offset:]
        while len(self._frames) > _INCOMING_SECONDS * 50:
            self._frames.popleft()
            self.dropped_frames += 1
        self._wake()

    def _has_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _call_ended(self, end: CallEnd) -> None:
        self._end = end
        self._live.call_ended(end)
        self._wake()
        self._has_room()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
