"""What the engine tells its user: events in the past tense, delivered in batches on the user's event loop."""

from __future__ import annotations

from dataclasses import dataclass

from flexosip.media.statistics import MediaStatistics

__all__ = [
    "DigitBegan",
    "DigitReceived",
    "DigitsSent",
    "FeedLow",
    "FrameCaptured",
    "MarkReached",
    "MediaEvent",
    "MediaStarted",
    "MediaTimeout",
    "PlaybackEnded",
    "PlaybackStarted",
    "RecordingEnded",
    "SourceLearned",
    "StreamClosed",
    "StreamFailed",
]


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The first valid RTP packet of the other side arrived."""

    source: tuple[str, int]
    payload_type: int


@dataclass(frozen=True, slots=True)
class SourceLearned:
    """RTP comes from another address than the SDP told, and is now sent there too (symmetric RTP, RFC 4961)."""

    expected: tuple[str, int]
    learned: tuple[str, int]


@dataclass(frozen=True, slots=True)
class MediaTimeout:
    """Neither RTP nor RTCP arrived for `seconds` although it may. Told once until packets arrive again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first packet with sound of this playback has left."""

    id: int


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """The playback is over: `position` seconds of it were really sent; `completed` if that was all of it."""

    id: int
    position: float
    completed: bool
    error: str | None = None
    """Why the source failed in the middle, in words; None when it did not."""


@dataclass(frozen=True, slots=True)
class FeedLow:
    """A live source holds less than its low watermark: write more. `buffered` seconds are left."""

    id: int
    buffered: float


@dataclass(frozen=True, slots=True)
class MarkReached:
    """All that was fed before the mark has been sent; `position` seconds of the playback were sent so far."""

    id: int
    name: str
    position: float


@dataclass(frozen=True, slots=True)
class DigitBegan:
    """The other side holds a key down; `DigitReceived` follows when it is let go."""

    digit: str


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """One key press of the other side. `duration` in seconds, as far as it is known when the press is told."""

    digit: str
    duration: float
    via: str = "rtp"


@dataclass(frozen=True, slots=True)
class DigitsSent:
    """Every digit given to `send_digits` so far has left, the last end packet included."""


@dataclass(frozen=True, slots=True)
class FrameCaptured:
    """One packet time of what was heard: int16 little-endian mono at `rate` Hz; silence where nothing arrived."""

    pcm: bytes
    rate: int


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A recording is closed and its file complete. `error` says in words why it ended early (disk full), else None.

    `reason` is "stopped", "max_seconds", "silence", "closed" (the stream ended) or "error".
    """

    id: int
    path: str
    seconds: float
    error: str | None = None
    reason: str = "stopped"


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A fault inside the engine hit this stream; it stays open, the packet time was lost. Told at most once a second."""

    error: str


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The last event of a stream: RTCP BYE sent, sockets closed, final figures."""

    statistics: MediaStatistics


MediaEvent = (
    MediaStarted
    | SourceLearned
    | MediaTimeout
    | PlaybackStarted
    | PlaybackEnded
    | FeedLow
    | MarkReached
    | DigitBegan
    | DigitReceived
    | DigitsSent
    | FrameCaptured
    | RecordingEnded
    | StreamFailed
    | StreamClosed
)
