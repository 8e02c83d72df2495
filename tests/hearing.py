"""The suite's ear: recordings read back, and where in them a prompt is heard."""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from flexosip.audio.levels import _fft, level, tone_level

__all__ = ["Found", "Heard", "hear"]

_COMPARED_AT = 4000
"""Samples a second at which sounds are compared: what tells two spoken sentences apart lies below 2 kHz."""


@dataclass(frozen=True)
class Found:
    """Where a sound is heard best in a recording."""

    start: float
    """Seconds from the begin of the recording."""
    likeness: float
    """Normalised cross-correlation: 1 for the same sound at any level, below 0.7 for another sentence that begins alike."""


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

    def find(self, other: Heard, after: float = 0.0) -> Found:
        """Where `other` is heard best in this recording, looked for from `after` seconds on."""
        whole = _slowed(self.cut(after, self.seconds), self.rate)
        wanted = _slowed(other.left, other.rate)
        products = _correlation(whole, wanted)
        energy = [0.0, *accumulate(value * value for value in whole)]
        norm = math.sqrt(sum(value * value for value in wanted))
        best, place = 0.0, 0
        # Where the recording is next to silent anything would look alike.
        silent = (norm * 0.03) ** 2
        for at in range(len(whole) - len(wanted) + 1):
            power = energy[at + len(wanted)] - energy[at]
            if power > silent and (likeness := products[at] / (norm * math.sqrt(power))) > best:
                best, place = likeness, at
        return Found(after + place / _COMPARED_AT, best)


def _slowed(pcm: bytes, rate: int) -> list[float]:
    """The sound at `_COMPARED_AT` samples a second, by taking means."""
    samples = array("h", pcm)
    step, rest = divmod(rate, _COMPARED_AT)
    assert rest == 0, f"a sound of {rate} samples a second"
    return [sum(samples[at : at + step]) / step for at in range(0, len(samples) - step + 1, step)]


def _correlation(whole: Sequence[float], part: Sequence[float]) -> list[float]:
    """Sum of the products of `part` and `whole` from each place on."""
    size = 1 << (len(whole) + len(part)).bit_length()
    first = _fft([complex(value) for value in whole] + [0j] * (size - len(whole)))
    second = _fft([complex(value) for value in part] + [0j] * (size - len(part)))
    # the inverse transform by the forward one, of conjugates
    product: list[Any] = [a.conjugate() * b for a, b in zip(first, second, strict=True)]
    return [value.real / size for value in _fft(product)[: len(whole) - len(part) + 1]]


def hear(path: Path) -> Heard:
    """Read a WAV file of int16."""
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        channels = file.getnchannels()
        samples = array("h", file.readframes(file.getnframes()))
        return Heard(file.getframerate(), tuple(samples[index::channels].tobytes() for index in range(channels)))
