"""Hearing by numbers: level, tones, gaps. What detectors build on and what tests listen with.

All levels are dBFS by RMS: a square wave at full scale has 0, a sine at full scale -3.01. Digital silence is `SILENCE`.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import mul

from flexosip.audio.pcm import samples_of

__all__ = ["SILENCE", "Span", "dominant_frequency", "find_gaps", "find_sounds", "level", "rms", "tone_level"]

SILENCE = -120.0
"""The lowest level that is told, dBFS: below any int16 sample."""
_FULL_SCALE = 32768.0
_MAX_FFT = 8192


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, seconds from the begin of the sound."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


def rms(pcm: bytes) -> float:
    """Root mean square of the samples, 0 to 32768."""
    if len(pcm) < 2:
        return 0.0
    samples = samples_of(pcm)
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples))


def _decibels(amplitude: float) -> float:
    return max(20.0 * math.log10(amplitude / _FULL_SCALE), SILENCE) if amplitude > 0 else SILENCE


def level(pcm: bytes) -> float:
    """Level of the whole, dBFS."""
    return _decibels(rms(pcm))


@lru_cache(maxsize=16)
def _hann(count: int) -> tuple[float, ...]:
    return tuple(0.5 - 0.5 * math.cos(2 * math.pi * (n + 0.5) / count) for n in range(count))


def tone_level(pcm: bytes, rate: int, hz: float) -> float:
    """Level of the one frequency `hz` within the sound, dBFS: a Goertzel filter behind a Hann window.

    The filter is about 2 / duration wide: 100 ms tell 440 Hz from 480, 20 ms tell 697 from 770 hardly.
    """
    samples = samples_of(pcm)
    if not samples:
        return SILENCE
    coefficient = 2.0 * math.cos(2.0 * math.pi * hz / rate)
    before = last = 0.0
    for sample in map(mul, samples, _hann(len(samples))):
        before, last = last, sample + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    # The window halves the amplitude; a sine's RMS is its amplitude by root 2.
    return _decibels(math.sqrt(max(power, 0.0)) * 2.0 / (0.5 * len(samples)) / math.sqrt(2.0))


def _fft(values: list[complex]) -> list[complex]:
    """Discrete Fourier transform; the length is a power of two."""
    count = len(values)
    if count == 1:
        return values
    even, odd = _fft(values[0::2]), _fft(values[1::2])
    turn = cmath.exp(-2j * math.pi / count)
    turned = list(map(mul, odd, _powers(turn, count // 2)))
    return [a + b for a, b in zip(even, turned, strict=True)] + [a - b for a, b in zip(even, turned, strict=True)]


@lru_cache(maxsize=32)
def _powers(base: complex, count: int) -> tuple[complex, ...]:
    angle = cmath.phase(base)
    return tuple(cmath.exp(1j * angle * n) for n in range(count))


def dominant_frequency(pcm: bytes, rate: int, *, lowest: float = 50.0) -> float | None:
    """The strongest frequency, Hz, to about a tenth of a per cent for a steady tone; None for silence.

    The first 8192 samples at most are looked at.
    """
    samples = samples_of(pcm)[:_MAX_FFT]
    size = 1 << max(len(samples).bit_length() - 1, 0)
    if size < 16 or level(pcm) <= -90.0:
        return None
    windowed = list(map(mul, samples[:size], _hann(size)))
    spectrum = _fft([complex(value) for value in windowed])
    powers = [abs(value) for value in spectrum[: size // 2]]
    first = max(1, math.ceil(lowest * size / rate))
    if first >= len(powers) - 1:
        return None
    peak = max(range(first, len(powers) - 1), key=powers.__getitem__)
    # With a Hann window the ratio of the two highest bins gives the place between them.
    left, middle, right = powers[peak - 1], powers[peak], powers[peak + 1]
    if right >= left:
        offset = (2 * right - middle) / (middle + right)
    else:
        offset = (middle - 2 * left) / (middle + left)
    return (peak + offset) * rate / size


def find_sounds(pcm: bytes, rate: int, *, threshold: float = -50.0, window: float = 0.005) -> list[Span]:
    """The stretches that are louder than `threshold` (dBFS), measured in windows of `window` seconds."""
    width = max(round(window * rate), 1)
    total = len(pcm) // 2
    spans: list[Span] = []
    begin = -1
    for at in range(0, total, width):
        loud = level(pcm[2 * at : 2 * (at + width)]) > threshold
        if loud and begin < 0:
            begin = at
        elif not loud and begin >= 0:
            spans.append(Span(begin / rate, at / rate))
            begin = -1
    if begin >= 0:
        spans.append(Span(begin / rate, total / rate))
    return spans


def find_gaps(pcm: bytes, rate: int, *, threshold: float = -50.0, window: float = 0.005, shortest: float = 0.01) -> list[Span]:
    """The silent stretches between sounds, of `shortest` seconds or more. Silence before the first and after the last is none."""
    sounds = find_sounds(pcm, rate, threshold=threshold, window=window)
    gaps = [Span(before.end, after.start) for before, after in pairwise(sounds)]
    return [gap for gap in gaps if gap.duration >= shortest - 1e-9]
