"""Sound that the user writes or yields while it is being sent: to the codec's rate and form, on the user's side of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flexosip.audio.resample import Resampler
from flexosip.audio.sources import Pcm
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media.sending_format import SendingFormat

__all__ = ["FrameFeeder", "LiveFeed"]

SUPPLY_SECONDS = 0.5
"""What is taken from an iterator at once: enough to bridge a slow moment of the user's code."""


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """A source for `MediaStream.play` that is written with `feed`: heard whenever the queue is empty."""

    rate: int
    """Samples a second of what will be fed: int16 little-endian mono."""
    low_watermark: float = 0.1
    """Seconds; `FeedLow` tells when less waits."""


class FrameFeeder:
    """Turns PCM at one rate, piece by piece, into what waits in the play queue.

    Args:
        rate: of the PCM, Hz; None: always the codec's.
        sending_format: the form to turn it into.
        frames: pulled from by `pull`: `Pcm`, or PCM bytes at `rate`.
    """

    def __init__(self, rate: int | None, sending_format: SendingFormat, frames: Iterator[Any] | None = None) -> None:
        if rate is not None and not 1000 <= rate <= 384000:
            raise ConfigurationError(f"{rate} samples a second cannot be played.")
        self.frames = frames
        self.exhausted = False
        self.format = sending_format
        self._default_rate = rate
        self._resampler: Resampler | None = None
        self._set_rate(rate or sending_format.sample_rate)

    def _set_rate(self, rate: int) -> None:
        self._rate = rate
        self._resampler = None if rate == self.format.sample_rate else Resampler(rate, self.format.sample_rate)

    def change_format(self, sending_format: SendingFormat) -> None:
        """The codec has changed."""
        self.format = sending_format
        self._set_rate(self._default_rate or sending_format.sample_rate)

    def reset(self) -> None:
        """What comes next does not go on from what came before."""
        self._set_rate(self._rate)

    def convert(self, pcm: bytes) -> bytes:
        """PCM at the feed's rate to the form of the queue."""
        if len(pcm) % 2:
            raise MediaError(f"PCM of {len(pcm)} octets is no whole number of 16-bit samples.")
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
        return self.format.prepare(pcm)

    def flush(self) -> bytes:
        """What the resampler still holds."""
        rest = self._resampler.flush() if self._resampler is not None else b""
        self.reset()
        return self.format.prepare(rest)

    def pull(self, buffered: float) -> bytes:
        """Take frames until `SUPPLY_SECONDS` wait; sets `exhausted` at the end.

        Raises:
            MediaError: a frame is neither `Pcm` nor bytes, or no whole number of samples.
        """
        if self.frames is None or self.exhausted:
            return b""
        parts = []
        need = int((SUPPLY_SECONDS - buffered) * self.format.octets_per_second)
        while need > 0:
            try:
                frame = next(self.frames)
            except StopIteration:
                self.exhausted = True
                parts.append(self.flush())
                break
            part = self._frame(frame)
            parts.append(part)
            need -= len(part)
        return b"".join(parts)

    def _frame(self, frame: Any) -> bytes:
        rate = self._default_rate or self.format.sample_rate
        if isinstance(frame, Pcm):
            rate = frame.rate
            frame = frame.data
        elif not isinstance(frame, (bytes, bytearray, memoryview)):
            raise MediaError(f"A frame of sound is bytes or Pcm, not {type(frame).__name__}.")
        before = b""
        if rate != self._rate:
            before = self.flush()
            self._set_rate(rate)
        return before + self.convert(bytes(frame))
