"""Sound that a program makes while it is being sent: written piece by piece, cleared and marked at any time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from flexosip.errors import CallEnded

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd
    from flexosip.phone.media.media_session import MediaSession

__all__ = ["LiveSource"]


class LiveSource:
    """A live source of one stream: it is heard whenever the play queue is empty.

    Args:
        media: the media session.
        rate: samples a second of what is written.
        on_room: called when more may be written.
    """

    def __init__(self, media: MediaSession, rate: int, on_room: Callable[[], None]) -> None:
        self._media = media
        self._rate = rate
        self._on_room = on_room
        self._marks: deque[tuple[str, asyncio.Future[float]]] = deque()
        self._id: int | None = None
        self._written = 0.0
        self._marked = 0
        self._closed = False

    def _open(self) -> int:
        if self._id is None:
            self._id = self._media.start_feed(self, self._rate)
            self._written = 0.0
        return self._id

    @property
    def sent(self) -> float:
        """Seconds that were really sent since the last `clear`, to about one packet."""
        if self._id is None:
            return 0.0
        position = self._media.position(self._id)
        return min(self._written, position) if position is not None else 0.0

    @property
    def buffered(self) -> float:
        """Seconds written and not sent yet."""
        return max(0.0, self._written - self.sent)

    def write(self, pcm: bytes) -> None:
        """Append int16 mono sound."""
        if self._closed or not pcm:
            return
        playback_id = self._open()
        self._written += len(pcm) / 2 / self._rate
        self._media.stream.feed(playback_id, pcm)

    def mark(self, name: str) -> asyncio.Future[float]:
        """A future for the moment at which all that was written so far has been sent."""
        future: asyncio.Future[float] = self._media.loop.create_future()
        self._marked += 1
        key = f"{self._marked}:{name}"
        self._marks.append((key, future))
        self._media.stream.mark(self._open(), key)
        return future

    def clear(self) -> float:
        """Forget what was not sent; seconds sent since the last `clear`."""
        sent = self.sent
        if self._id is not None:
            self._media.stream.stop(self._id)
            self._id = None
        while self._marks:
            self._marks.popleft()[1].cancel()
        self._written = 0.0
        self._on_room()
        return sent

    def close(self) -> None:
        """End the source."""
        self.clear()
        self._closed = True

    # Called by the media session.

    def marked(self, key: str, position: float) -> None:
        """All before the mark was sent."""
        if all(key != known for known, _ in self._marks):
            return  # of what was cleared while the engine's word was on its way
        while self._marks:
            known, future = self._marks.popleft()
            if not future.done():
                future.set_result(position)
            if known == key:
                return

    def call_ended(self, end: CallEnd) -> None:
        """The call is over: what is marked will not be sent any more."""
        self._closed = True
        while self._marks:
            future = self._marks.popleft()[1]
            if not future.done():
                future.set_exception(CallEnded(end))
                future.exception()  # marked as seen: nobody needs to await a mark

    def low(self) -> None:
        """More is wanted."""
        self._on_room()
