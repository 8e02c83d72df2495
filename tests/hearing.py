"""The suite's ear: recordings read back, and where in them a prompt is heard."""

from __future__ import annotations

import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

from flexosip.audio.levels import level, tone_level

__all__ = ["Heard", "hear"]


@dataclass(frozen=True)
class Heard:
    """A recording: one int16 mono track a channel."""

    rate: int
    tracks: tuple[bytes, ...]

    @property
    def left(self) -> bytes:
        """The first track."""
        return self.tracks[0]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.left) / 2 / self.rate

    def cut(self, start: float, end: float, track: int = 0) -> bytes:
        """A piece of a track, in seconds."""
        return self.tracks[track][int(start * self.rate) * 2 : int(end * self.rate) * 2]

    def level(self, start: float = 0.0, end: float = 1e6, track: int = 0) -> float:
        """Level of a piece, dBFS."""
        return level(self.cut(start, min(end, self.seconds), track))

    def tone(self, hz: float, start: float = 0.0, end: float = 1e6, track: int = 0) -> float:
        """Level of a frequency in a piece, dBFS."""
        return tone_level(self.cut(start, min(end, self.seconds), track), self.rate, hz)


def hear(path: Path) -> Heard:
    """Read a WAV file of int16."""
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        channels = file.getnchannels()
        samples = array("h", file.readframes(file.getnframes()))
        return Heard(file.getframerate(), tuple(samples[index::channels].tobytes() for index in range(channels)))
