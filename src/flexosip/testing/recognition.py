"""Is this prompt in what was heard, and where? In plain Python, fast enough for every test.

Two steps. The levels of 20 ms each, compared at every place, tell where the prompt may be: what they differ by is a constant, the gain of
the line. There the wave forms are compared in pieces of 0.2 s by normalised cross-correlation, each piece at its own small shift: so G.711,
another level, a resampler's delay, and a jitter buffer that changed its depth do no harm. A piece that has suffered is compared frame by
frame: what losses have left of it is exact. Scattered frames may be missing or concealed; a fifth of a second of loud sound that is
something else is not forgiven, since sentences often begin alike.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import mul, sub
from typing import Literal

from flexosip.audio.files import open_audio, read_mono
from flexosip.audio.levels import SILENCE
from flexosip.audio.pcm import samples_of
from flexosip.audio.resample import resample
from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import tone_pcm
from flexosip.errors import ConfigurationError
from flexosip.phone.media.media_session import describe
from flexosip.testing.hearing import FRAME, RATE, Ear

__all__ = ["Found", "Prompt", "Sound"]

Sound = str | os.PathLike[str] | bytes | Pcm | Tone
"""What can be listened for."""

Look = Literal["likeliest", "near", "growing"]

COUNTS_AS_HEARD = 0.6
"""Part of a prompt's loudness in time that must be recognised."""
_ALIKE = 0.6
"""Normalised cross-correlation from which on a piece lies at its right shift."""
_SAME = 0.8
"""Normalised cross-correlation from which on a piece, or a frame of 20 ms, is the same sound."""
_WINDOW, _FEW = 10, 1
"""So many loud frames on end with so few of the prompt's among them are another sound."""
_PIECE = 1600
"""Samples of a piece: 0.2 s."""
_SHIFT = 200
"""Samples by which the wave form may lie beside the place that the levels tell: 25 ms."""
_SPAN = 30.0
"""dB below the loudest 20 ms of the prompt up to which a frame tells something."""
_NEAR = 9.0
"""dB of standard deviation of the levels' difference up to which a place is looked at while sound still comes in."""
_PLACES = 6
"""The likeliest places, looked at when all is in."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a sound was heard."""

    start: float
    """When it began, seconds of the clock."""
    end: float
    likeness: float
    """0 to 1: the part of it that was recognised."""


class Prompt:
    """A sound to listen for.

    Args:
        source: a path, encoded bytes, `Pcm`, or a `Tone` with a duration.
        seconds: only its first so many seconds.

    Raises:
        MediaError: it cannot be read. ConfigurationError: it is endless or silent.
    """

    def __init__(self, source: Sound, seconds: float | None = None) -> None:
        self.name = describe(source)
        pcm = self.sound_of(source)
        if seconds is not None:
            pcm = pcm[: 2 * round(seconds * RATE)]
        levels = _levels(pcm)
        loudest = max(levels, default=SILENCE)
        sounding = [index for index, value in enumerate(levels) if value > loudest - _SPAN]
        if loudest <= -70.0 or not sounding:
            raise ConfigurationError(f"{self.name} is silent: nothing to listen for.")
        self.lead = sounding[0] * FRAME / RATE
        """Seconds of silence before it begins."""
        self.tail = (len(levels) - 1 - sounding[-1]) * FRAME / RATE
        samples = samples_of(pcm)[sounding[0] * FRAME : (sounding[-1] + 1) * FRAME]
        self._floor = loudest - _SPAN
        self._levels = [max(value, self._floor) for value in levels[sounding[0] : sounding[-1] + 1]]
        self._loudest = loudest
        self.duration = len(samples) / RATE
        """Seconds from the first sound to the last."""
        self._pieces = [piece for piece in _pieces(samples) if piece.thinned_energy > 0]
        strongest = max(piece.energy / len(piece.samples) for piece in self._pieces)
        self._pieces = [piece for piece in self._pieces if piece.energy / len(piece.samples) > strongest * 10 ** (-_SPAN / 10)]

    @staticmethod
    def sound_of(source: Sound) -> bytes:
        """A sound as it is compared: int16 mono at `RATE`."""
        if isinstance(source, Tone):
            if source.duration is None:
                raise ConfigurationError("A tone without end cannot be heard whole: give it a duration, or use heard_tone().")
            return tone_pcm(source, RATE)
        if isinstance(source, Pcm):
            return resample(source.data, source.rate, RATE)
        reader = open_audio(source)
        try:
            return b"".join(read_mono(reader, RATE))
        finally:
            reader.close()

    def find(self, ear: Ear, after: int = 0, *, look: Look = "likeliest") -> tuple[Found | None, float]:
        """(where it is first heard from sample `after` on, the best likeness met).

        Args:
            look: `likeliest`: at the likeliest places, unlikely ones too; `near`: at places that are near enough, which takes less
                time; `growing`: the same while sound still comes in.
        """
        if ear.begin is None:
            return None, 0.0
        heard = samples_of(bytes(ear.pcm))
        best = 0.0
        for place in self._places(ear.levels(), after // FRAME, look):
            likeness, other, start = self._compare(heard, place * FRAME)
            if start < after - _SHIFT or start + round(self.duration * RATE) > len(heard) + _SHIFT:
                continue
            if not other:
                best = max(best, likeness)
                if likeness >= COUNTS_AS_HEARD:
                    begin = ear.begin + start / RATE
                    return Found(begin - self.lead, begin + self.duration + self.tail, likeness), likeness
        return None, best

    # -- where it may be -----------------------------------------------------------------------------------------------

    def _places(self, levels: Sequence[float], first: int, look: Look) -> Iterator[int]:
        """Frames where the levels rise and fall as the prompt's do, earliest first."""
        wanted, count = self._levels, len(self._levels)
        differences: list[tuple[float, int]] = []
        for place in range(first, len(levels) - count + 1):
            there = [value if value > -75.0 else -75.0 for value in levels[place : place + count]]
            loudest = max(there)
            if loudest < -60.0:
                continue
            # What the prompt's floor hides is hidden here too.
            floor = loudest - _SPAN
            off = list(map(sub, [value if value > floor else floor for value in there], wanted))
            mean = sum(off) / count
            spread = sum(map(mul, off, off)) / count - mean * mean
            differences.append((math.sqrt(max(spread, 0.0)), place))
        lowest = _minima(differences)
        if look == "growing" and lowest and lowest[-1][1] == differences[-1][1]:
            lowest.pop()  # the next place may be better
        if look == "likeliest":
            lowest = sorted(lowest)[:_PLACES]
        else:
            lowest = [item for item in lowest if item[0] <= _NEAR]
        return iter(sorted(place for _, place in lowest))

    # -- whether it is there -------------------------------------------------------------------------------------------

    def _compare(self, heard: Sequence[int], place: int) -> tuple[float, bool, int]:
        """(part recognised, whether another sound or its early end tells against it, first sample) near the sample `place`."""
        anchor = self._anchor(heard, place)
        if anchor is None:
            return 0.0, False, place
        shift, gain = anchor
        first_shift = shift
        frames: list[str] = []
        for piece in self._pieces:
            found = _best(heard, piece, place + shift, range(-4, 5))
            if found[0] < _ALIKE:
                # A jitter buffer that changed its depth has moved everything by whole packets.
                steps = [packet * 160 + fine for packet in (-1, 1, -2, 2, -3, 3) for fine in range(-4, 5, 2)]
                moved = _best(heard, piece, place + shift, steps)
                if moved[0] > max(_ALIKE, found[0]):
                    shift += moved[1]
                    found = (moved[0], 0, moved[2])
            if found[0] >= _SAME:
                frames.append("=" * max(1, len(piece.samples) // FRAME))
            else:
                frames.append(_by_frames(heard, piece, place + shift + found[1], gain))
        told = "".join(frames)
        # Silence in the middle may be a burst of losses; at the end it is a prompt that was cut off.
        other = told[-_WINDOW:].count(".") > _WINDOW // 2 or any(
            part.count("=") <= _FEW and part.count("x") >= _WINDOW - 2 * _FEW
            for part in (told[at : at + _WINDOW] for at in range(len(told) - _WINDOW + 1))
        )
        return told.count("=") / len(told), other, place + first_shift

    def _anchor(self, heard: Sequence[int], place: int) -> tuple[int, float] | None:
        """(shift, gain) at which the wave form lies near its place; None if it does not."""
        loudest = sorted(self._pieces, key=lambda piece: -piece.energy)
        candidates: set[int] = set()
        for piece in loudest[:3]:
            rough = sorted((_at_shift(heard, piece, place, shift, 2) for shift in range(-_SHIFT, _SHIFT + 1, 2)), reverse=True)[:4]
            # Between two of the shifts that were tried a shrill sound may be quite another than at them.
            shifts = {shift + fine for likeness, shift, _ in rough if likeness > _ALIKE * 0.5 for fine in (-1, 0, 1)}
            candidates |= {found[1] for shift in shifts if (found := _at_shift(heard, piece, place, shift))[0] >= _ALIKE}
        if not candidates:
            return None
        # A voice resembles itself one period later: of several shifts that is right at which most of it lies.
        some = loudest[:8]
        shift = max(candidates, key=lambda shift: sum(_at_shift(heard, piece, place, shift, 2)[0] for piece in some))
        gains = sorted(abs(_at_shift(heard, piece, place, shift)[2]) for piece in some)
        return shift, gains[len(gains) // 2]


@dataclass(frozen=True, slots=True)
class _Piece:
    at: int
    """Samples from the begin of the prompt."""
    samples: Sequence[int]
    energy: float
    thinned: Sequence[int]
    """Every second sample: enough to find a place."""
    thinned_energy: float


def _pieces(samples: Sequence[int]) -> Iterator[_Piece]:
    count = max(1, round(len(samples) / _PIECE))
    step = len(samples) // count
    for index in range(count):
        part = samples[index * step : (index + 1) * step]
        if len(part):
            thinned = part[::2]
            yield _Piece(index * step, part, float(sum(map(mul, part, part))), thinned, float(sum(map(mul, thinned, thinned))))


def _best(heard: Sequence[int], piece: _Piece, place: int, shifts: Iterable[int]) -> tuple[float, int, float]:
    """(cross-correlation, shift, gain) at the best of `shifts`."""
    return max((_at_shift(heard, piece, place, shift) for shift in shifts), default=(0.0, 0, 0.0))


def _at_shift(heard: Sequence[int], piece: _Piece, place: int, shift: int, step: int = 1) -> tuple[float, int, float]:
    """(cross-correlation, shift, gain) at one shift, by every `step`-th sample."""
    at, count = place + piece.at + shift, len(piece.samples)
    if at < 0 or at + count > len(heard):
        return 0.0, shift, 0.0
    wanted, energy = (piece.samples, piece.energy) if step == 1 else (piece.thinned, piece.thinned_energy)
    there = heard[at : at + count : step]
    power = sum(map(mul, there, there))
    if power <= count * 4:  # one or two steps of noise resemble anything
        return 0.0, shift, 0.0
    product = sum(map(mul, there, wanted))
    return abs(product) / math.sqrt(power * energy), shift, product / energy


def _by_frames(heard: Sequence[int], piece: _Piece, place: int, gain: float) -> str:
    """For each 20 ms of a piece: `=` the same sound, `.` silence in its place, `x` another sound."""
    told = ""
    for at in range(0, max(len(piece.samples) - FRAME, 0) + 1, FRAME):
        wanted = piece.samples[at : at + FRAME]
        begin = max(place + piece.at + at, 0)
        there = heard[begin : begin + len(wanted)]
        power, energy = sum(map(mul, there, there)), sum(map(mul, wanted, wanted))
        if power < gain * gain * piece.energy / len(piece.samples) * FRAME * 0.03:
            # A pause of the prompt is one here too.
            told += "=" if energy < piece.energy / len(piece.samples) * FRAME * 0.03 else "."
        else:
            likeness = abs(sum(map(mul, there, wanted))) / math.sqrt(power * energy) if energy else 0.0
            told += "=" if likeness >= _SAME else "x"
    return told


def _minima(differences: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Those that are not higher than their neighbours; of a level stretch the first."""
    found = []
    for index, (value, place) in enumerate(differences):
        before = differences[index - 1] if index else None
        after = differences[index + 1] if index + 1 < len(differences) else None
        if before is not None and before[1] == place - 1 and before[0] <= value:
            continue
        if after is not None and after[1] == place + 1 and after[0] < value:
            continue
        found.append((value, place))
    return found


def _levels(pcm: bytes) -> list[float]:
    ear = Ear(lambda: 0.0)
    ear.pcm += pcm + bytes(-len(pcm) % (2 * FRAME))
    return list(ear.levels())
