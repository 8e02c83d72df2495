"""What is being played or recorded in a call: awaitable handles that know what was really sent."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING

from flexosip.errors import CallEnded, MediaError

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd
    from flexosip.phone.media.media_session import MediaSession

__all__ = ["Playback", "Recording"]


class Playback:
    """One sound in the play queue of a call. Await it to wait for its last packet; cancelling that wait stops the sound."""

    def __init__(self, media: MediaSession, playback_id: int, source: str) -> None:
        self._media = media
        self._id = playback_id
        self._position = 0.0
        self._done: asyncio.Future[None] = media.loop.create_future()
        self.source = source
        """What is played, for people: the path, `tone 440 Hz`, ..."""
        self.completed = False
        """True when it was played to its end."""

    @property
    def position(self) -> float:
        """Seconds that have really been sent; exact once `done`, else to about one packet."""
        if self._done.done():
            return self._position
        return self._media.position(self._id) or 0.0

    @property
    def done(self) -> bool:
        """True when its last packet has left or it was stopped."""
        return self._done.done()

    def stop(self) -> Playback:
        """Stop within one packet. Await the result to know the exact `position`."""
        if not self._done.done():
            self._media.stop_playback(self._id)
        return self

    def __await__(self) -> Generator[object, None, Playback]:
        try:
            yield from asyncio.wait((self._done,)).__await__()
        except asyncio.CancelledError:
            self.stop()
            raise
        self._done.result()
        return self

    def __repr__(self) -> str:
        return f"<Playback {self.source} {self.position:.2f} s{' done' if self.done else ''}>"

    # Called by the media session only.

    def _ended(self, position: float, completed: bool) -> None:
        self._position = position
        self.completed = completed
        if not self._done.done():
            self._done.set_result(None)

    def _failed(self, message: str) -> None:
        if not self._done.done():
            self._done.set_exception(MediaError(message))
            self._done.exception()  # marked as seen: nobody needs to await a playback

    def _call_ended(self, end: CallEnd, position: float) -> None:
        self._position = position
        if not self._done.done():
            self._done.set_exception(CallEnded(end))
            self._done.exception()  # marked as seen: nobody needs to await a playback


class Recording:
    """A recording in progress. Await it to wait for its end; it ends with the call at the latest."""

    def __init__(self, media: MediaSession, recording_id: int, path: str) -> None:
        self._media = media
        self._id = recording_id
        self._done: asyncio.Future[None] = media.loop.create_future()
        self.path = path
        self.seconds = 0.0
        """Length, known when it is done."""

    @property
    def done(self) -> bool:
        """True when the file is closed."""
        return self._done.done()

    def stop(self) -> Recording:
        """Close the file. Await the result to know that it is closed."""
        if not self._done.done():
            self._media.stop_recording(self._id)
        return self

    def __await__(self) -> Generator[object, None, Recording]:
        yield from asyncio.wait((self._done,)).__await__()
        self._done.result()
        return self

    def _ended(self, seconds: float, error: str | None) -> None:
        self.seconds = seconds
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(MediaError(f"The recording {self.path} was cut short after {seconds:.1f} s: {error}."))
            self._done.exception()  # marked as seen: nobody needs to await a recording
