"""What a stream plays: a queue of sounds one after another, each with a pause before it, and live sources beside the queue.

Everything is counted in octets of the `SendingFormat`, so that positions are exact to the sample and packets are slices.

    queued:  [pause][sound A][sound B][pause][sound C] ...     gapless, sample by sample
    live:    heard whenever the queue is empty; held, not lost, while the queue plays
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from flexosip.media.events import FeedLow, MarkReached, MediaEvent, PlaybackEnded, PlaybackStarted
from flexosip.media.sending_format import SendingFormat

__all__ = ["FeedItem", "PlayQueue", "PreparedSound", "SoundItem"]

Emit = Callable[[MediaEvent], None]


class PreparedSound(Protocol):
    """A sound in the form of the queue, possibly still growing while somebody prepares it."""

    data: bytes | bytearray
    complete: bool
    """True when `data` will not grow any more."""
    error: str | None
    """Why it ended early, in words."""
    repeat_from: int | None
    """Octets: when it is over it goes on from there, for ever (an endless tone). None: it ends."""


class _Item:
    """What prepared sounds and live feeds share."""

    __slots__ = ("id", "pause", "position", "seconds_before", "started")

    def __init__(self, playback_id: int, pause: int) -> None:
        self.id = playback_id
        self.pause = pause
        """Octets of silence still to come before it."""
        self.position = 0
        """Octets taken of the present data."""
        self.seconds_before = 0.0
        """Played before `position` began to count: earlier rounds of a loop, or in another codec."""
        self.started = False

    def played(self, octets_per_second: int) -> float:
        """Seconds taken so far."""
        return self.seconds_before + self.position / octets_per_second


class SoundItem(_Item):
    """A prepared sound in the queue, once or in a loop."""

    __slots__ = ("loop", "sound")

    def __init__(self, playback_id: int, sound: PreparedSound, pause: int, loop: bool) -> None:
        super().__init__(playback_id, pause)
        self.sound = sound
        self.loop = loop

    def take(self, octets: int, octets_per_second: int) -> bytes | bytearray:
        """At most `octets`, less at the end or where preparation is behind."""
        sound = self.sound
        position = self.position
        chunk = sound.data[position : position + octets]
        self.position = position + len(chunk)
        if sound.complete and self.position >= len(sound.data):
            start = 0 if self.loop else sound.repeat_from
            if start is not None and sound.error is None:
                self.seconds_before += (self.position - start) / octets_per_second
                self.position = start
        return chunk

    @property
    def finished(self) -> bool:
        """True when nothing more will come."""
        sound = self.sound
        return sound.complete and self.position >= len(sound.data)

    @property
    def error(self) -> str | None:
        """Why the sound ended early."""
        return self.sound.error

    def change(self, sound: PreparedSound, old_rate: int, new_rate: int) -> None:
        """Go on at the same moment in another codec; rates are octets a second."""
        self.sound = sound
        # Counted in whole samples of the new format: an L16 sample must not be cut in two.
        samples_per_octet = 2 if new_rate % 2 == 0 else 1
        seconds = self.position / old_rate
        self.position = int(seconds * new_rate) // samples_per_octet * samples_per_octet
        self.pause = int(self.pause / old_rate * new_rate) // samples_per_octet * samples_per_octet


class FeedItem(_Item):
    """A live source: its owner writes, the stream takes. Empty it is silent, and finished only when closed."""

    __slots__ = ("_armed", "_chunks", "_offset", "buffered", "closed", "error", "low_octets", "marks")

    def __init__(self, playback_id: int, pause: int, low_octets: int) -> None:
        super().__init__(playback_id, pause)
        self.low_octets = low_octets
        """Below this many octets more is asked for."""
        self.buffered = 0
        self.closed = False
        self.error: str | None = None
        self.marks: deque[tuple[int, str]] = deque()
        self._chunks: deque[bytes] = deque()
        self._offset = 0
        self._armed = True

    def write(self, data: bytes) -> None:
        """Append sound."""
        if data:
            self._chunks.append(data)
            self.buffered += len(data)
            self._armed = True

    def mark(self, name: str) -> None:
        """Tell when all that was written so far has been taken."""
        self.marks.append((self.position + self.buffered, name))

    def clear(self) -> None:
        """Forget what was written and not taken, and its marks."""
        self._chunks.clear()
        self._offset = 0
        self.buffered = 0
        self._armed = True
        self.marks.clear()

    def take(self, octets: int, octets_per_second: int) -> bytes | bytearray:
        """At most `octets`."""
        parts = []
        need = octets
        chunks = self._chunks
        while need and chunks:
            head = chunks[0]
            part = head[self._offset : self._offset + need]
            need -= len(part)
            self._offset += len(part)
            parts.append(part)
            if self._offset >= len(head):
                chunks.popleft()
                self._offset = 0
        taken = octets - need
        self.position += taken
        self.buffered -= taken
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def finished(self) -> bool:
        """True when it is closed and empty."""
        return self.closed and self.buffered == 0

    def wants_more(self) -> bool:
        """True once each time it has fallen below its low watermark."""
        if self._armed and not self.closed and self.buffered < self.low_octets:
            self._armed = False
            return True
        return False

    def change(self, convert: Callable[[bytes], bytes], old_rate: int) -> None:
        """Go on in another codec."""
        # Joined first: a converter must see one stretch of sound, not pieces with seams.
        rest = b"".join(self._chunks)[self._offset :]
        names = [(octets - self.position, name) for octets, name in self.marks]
        before = len(rest)
        self.seconds_before += self.position / old_rate
        self.position = 0
        self.clear()
        self.write(convert(rest))
        self.marks.extend((octets * self.buffered // before if before else 0, name) for octets, name in names)


Item = SoundItem | FeedItem


class PlayQueue:
    """The sounds of one stream.

    Args:
        sending_format: the form in which sound waits.
        emit: takes the events.
    """

    __slots__ = ("_emit", "_format", "_live", "_queue", "_rate")

    def __init__(self, sending_format: SendingFormat, emit: Emit) -> None:
        self._format = sending_format
        self._rate = sending_format.octets_per_second
        self._emit = emit
        self._queue: deque[Item] = deque()
        self._live: list[FeedItem] = []

    @property
    def idle(self) -> bool:
        """True when there is nothing to play and no live source."""
        return not self._queue and not self._live

    def add(self, item: Item, *, live: bool = False) -> None:
        """Append to the queue, or set a live source beside it."""
        if live and isinstance(item, FeedItem):
            self._live.append(item)
        else:
            self._queue.append(item)

    def find(self, playback_id: int) -> Item | None:
        """The item with this id, None when it has ended."""
        for item in self._queue:
            if item.id == playback_id:
                return item
        for item in self._live:
            if item.id == playback_id:
                return item
        return None

    def find_feed(self, playback_id: int) -> FeedItem | None:
        """The live source or fed playback with this id."""
        item = self.find(playback_id)
        return item if isinstance(item, FeedItem) else None

    def played(self, playback_id: int) -> float | None:
        """Seconds of this playback sent so far; None when it has ended."""
        item = self.find(playback_id)
        return None if item is None else item.played(self._rate)

    def stop(self, playback_id: int | None) -> None:
        """End one playback at once, or with None the whole queue (not live sources)."""
        if playback_id is None:
            stopped: list[Item] = list(self._queue)
            self._queue.clear()
        else:
            item = self.find(playback_id)
            if item is None:
                return
            stopped = [item]
            if item in self._live:
                self._live.remove(item)
            else:
                self._queue.remove(item)
        for item in stopped:
            self._end(item, completed=False)

    def stop_everything(self) -> None:
        """End the queue and the live sources."""
        self.stop(None)
        for item in list(self._live):
            self.stop(item.id)

    def take(self, octets: int) -> bytes | bytearray | None:
        """The next `octets`, padded with silence where the sound is short; None when there is nothing to play now."""
        queue = self._queue
        if queue:
            item = queue[0]
            # The common case by itself: in the middle of a prepared sound.
            if type(item) is SoundItem and item.started:
                position = item.position
                end = position + octets
                data = item.sound.data
                if end < len(data):
                    item.position = end
                    return data[position:end]
        elif not self._live:
            return None
        return self._take_across(octets)

    def _take_across(self, octets: int) -> bytes | None:
        parts: list[bytes | bytearray] = []
        need = octets
        queue = self._queue
        while queue:
            item = queue[0]
            if need:
                need -= self._take_of(item, need, parts)
            if item.finished:
                queue.popleft()
                self._end(item, completed=item.error is None)
            else:
                break
        # Live sources fill in only when nothing is queued at all: a pause of the queue stays silent.
        if not queue and need:
            for feed in list(self._live):
                need -= self._take_of(feed, need, parts)
                if feed.finished:
                    self._live.remove(feed)
                    self._end(feed, completed=True)
                if not need:
                    break
        if not parts:
            return None
        if need:
            parts.append(self._format.silence(need))
        return b"".join(parts)

    def _take_of(self, item: Item, need: int, parts: list[bytes | bytearray]) -> int:
        """Take of one item until `need` is met or it has nothing more now; returns what was taken, its pause included."""
        taken = 0
        if item.pause:
            taken = min(item.pause, need)
            item.pause -= taken
            parts.append(self._format.silence(taken))
        while taken < need:
            chunk = item.take(need - taken, self._rate)
            if not chunk:
                break
            taken += len(chunk)
            parts.append(chunk)
            if not item.started:
                item.started = True
                self._emit(PlaybackStarted(item.id))
        if type(item) is FeedItem:
            self._tell_of_feed(item)
        return taken

    def _tell_of_feed(self, feed: FeedItem) -> None:
        marks = feed.marks
        while marks and marks[0][0] <= feed.position:
            self._emit(MarkReached(feed.id, marks.popleft()[1], feed.played(self._rate)))
        if feed.wants_more():
            self._emit(FeedLow(feed.id, feed.buffered / self._rate))

    def _end(self, item: Item, *, completed: bool) -> None:
        self._emit(PlaybackEnded(item.id, item.played(self._rate), completed, item.error))

    def change_format(self, sending_format: SendingFormat, sounds: dict[int, PreparedSound], convert: Callable[[bytes], bytes]) -> None:
        """Go on in another codec.

        Args:
            sending_format: the new one.
            sounds: the prepared sounds again, in the new form, by playback id.
            convert: turns fed sound into the new form.
        """
        old_rate, self._rate = self._rate, sending_format.octets_per_second
        self._format = sending_format
        for item in [*self._queue, *self._live]:
            if isinstance(item, FeedItem):
                item.change(convert, old_rate)
                item.low_octets = item.low_octets * self._rate // old_rate
                item.pause = item.pause * self._rate // old_rate // 2 * 2
            elif item.id in sounds:
                item.change(sounds[item.id], old_rate, self._rate)
            else:
                # Asked for while the change was on its way: it cannot be played in the old form.
                self.stop(item.id)
