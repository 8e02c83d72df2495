"""What a call has heard, kept from its first frame and told in numbers and words.

All of it is int16 mono at 8000 samples a second, the band of a telephone; wide-band sound is brought down to it.
Times are seconds of the phone's clock, the same that the ladder shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

from flexosip.audio.levels import SILENCE, Span, dominant_frequency, level, tone_level
from flexosip.audio.pcm import samples_of
from flexosip.audio.resample import Resampler

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd

__all__ = ["FRAME", "RATE", "Ear", "Stretch", "is_tone"]

RATE = 8000
"""Samples a second of everything that is kept and compared."""
FRAME = 160
"""Samples in which levels are measured: 20 ms."""
_QUIET = -50.0
"""dBFS: what is below counts as silence; comfort noise and the idle steps of G.711 are."""
_LONGEST_HOLE = 0.06
"""Seconds between two frames from which on the hole is filled with silence: a hold, a stream made anew."""
_JOINED = 0.15
"""Pauses shorter than this belong to the sound around them, in words for people."""
_TOLD = 24
"""Lines of a timeline; of a longer one the middle is left out."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of sound or silence."""

    start: float
    end: float
    level: float
    """dBFS by RMS; `SILENCE` for none."""
    hz: float | None
    """The frequency, if it is one steady tone."""

    def __str__(self) -> str:
        if self.level <= _QUIET:
            what = "silence"
        else:
            what = f"{self.level:.0f} dBFS, " + (f"a tone of {self.hz:.0f} Hz" if self.hz is not None else "speech, music or noise")
        return f"{self.start:8.2f} to {self.end:8.2f} s  {what}"


class Ear:
    """Everything that one call heard. The media session hands it each frame.

    Args:
        time: seconds of the phone's clock.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.pcm = bytearray()
        """int16 little-endian mono at `RATE`, silence where nothing arrived."""
        self.begin: float | None = None
        """When the first sample was heard; None before."""
        self.over = False
        """True when the call has ended: nothing more will come."""
        self._down: Resampler | None = None
        self._rate = RATE
        self._levels: list[float] = []

    # -- for the media session ---------------------------------------------------------------------------------------

    def _received(self, pcm: bytes, rate: int) -> None:
        if rate != self._rate:
            self._rate = rate
            self._down = None if rate == RATE else Resampler(rate, RATE)
        now = self._time()
        if self._down is not None:
            pcm = self._down.process(pcm)
        seconds = len(pcm) / 2 / RATE
        if self.begin is None:
            self.begin = now - seconds
        else:
            hole = now - seconds - self.end
            if hole > _LONGEST_HOLE:
                self.pcm += bytes(2 * round(hole * RATE))
        self.pcm += pcm

    def _call_ended(self, end: CallEnd) -> None:
        self.over = True

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def end(self) -> float:
        """Up to when it heard, seconds of the clock."""
        return (self.begin or 0.0) + len(self.pcm) / 2 / RATE

    def position(self, at: float) -> int:
        """The sample heard at the time `at`, within what there is."""
        return min(max(round((at - (self.begin or 0.0)) * RATE), 0), len(self.pcm) // 2)

    def cut(self, start: float, end: float) -> bytes:
        """What was heard between two times."""
        return bytes(self.pcm[2 * self.position(start) : 2 * self.position(end)])

    def levels(self) -> Sequence[float]:
        """dBFS of each 20 ms from the begin on."""
        known, total = self._levels, len(self.pcm) // (2 * FRAME)
        if len(known) < total:
            samples = samples_of(bytes(self.pcm[2 * FRAME * len(known) : 2 * FRAME * total]))
            for at in range(0, len(samples), FRAME):
                frame = samples[at : at + FRAME]
                power = sum(map(mul, frame, frame)) / FRAME
                known.append(10.0 * math.log10(power / 1073741824.0) if power > 0.001 else SILENCE)
        return known

    def sounds(self, start: float | None = None, end: float | None = None, *, threshold: float = _QUIET, joined: float = 0.0) -> list[Span]:
        """The stretches louder than `threshold` between two times of the clock, to 20 ms; pauses up to `joined` belong to them."""
        if self.begin is None:
            return []
        levels, step = self.levels(), FRAME / RATE
        first = self.position(start if start is not None else self.begin) // FRAME
        last = min(len(levels), -(-self.position(end if end is not None else self.end) // FRAME))
        spans: list[Span] = []
        for index in range(first, last):
            if levels[index] > threshold:
                at = self.begin + index * step
                if spans and at - spans[-1].end <= joined + 1e-6:
                    spans[-1] = Span(spans[-1].start, at + step)
                else:
                    spans.append(Span(at, at + step))
        return spans

    def timeline(self, start: float | None = None, end: float | None = None) -> list[Stretch]:
        """Sound and silence one after the other."""
        if self.begin is None:
            return []
        at = max(self.begin, start if start is not None else self.begin)
        until = min(self.end, end if end is not None else self.end)
        told: list[Stretch] = []
        for span in self.sounds(at, until, joined=_JOINED):
            if span.start - at > FRAME / RATE / 2:
                told.append(Stretch(at, span.start, SILENCE, None))
            told.append(Stretch(span.start, span.end, level(self.cut(span.start, span.end)), self.steady_tone(span.start, span.end)))
            at = span.end
        if until - at > FRAME / RATE / 2:
            told.append(Stretch(at, until, SILENCE, None))
        return told

    def steady_tone(self, start: float, end: float) -> float | None:
        """The frequency that carries nearly all of a stretch, Hz; None if there is no such one."""
        middle = (start + end) / 2
        piece = self.cut(max(start, middle - 0.25), min(end, middle + 0.25))
        hz = dominant_frequency(piece, RATE)
        return hz if hz is not None and tone_level(piece, RATE, hz) > level(piece) - 1.5 else None

    def has_tone(self, hz: float) -> bool:
        """True if 160 ms of this frequency, to 1 %, were heard anywhere."""
        step = 8 * FRAME * 2
        return any(is_tone(bytes(self.pcm[at : at + step]), hz) for at in range(0, len(self.pcm) - step + 1, step // 2))

    def in_words(self, start: float | None = None) -> str:
        """What was heard, for people; several lines."""
        if self.begin is None:
            return "Nothing was heard: no sound was agreed, or no packet time has passed."
        stretches = self.timeline(start)
        loud = [stretch for stretch in stretches if stretch.level > _QUIET]
        overall = level(bytes(self.pcm))
        sounds = f"{len(loud)} stretch{'' if len(loud) == 1 else 'es'} of sound"
        head = f"Heard from {self.begin:.2f} to {self.end:.2f} s, {overall:.0f} dBFS overall, {sounds}:"
        lines = [f"  {stretch}" for stretch in stretches]
        if len(lines) > _TOLD:
            lines = [*lines[: _TOLD // 2], f"  ... {len(lines) - _TOLD} more ...", *lines[-_TOLD // 2 :]]
        return "\n".join([head, *lines])


def is_tone(piece: bytes, hz: float) -> bool:
    """True if nearly all of a sound is this frequency, to 1 %."""
    loud = level(piece)
    if loud <= _QUIET:
        return False
    tone = tone_level(piece, RATE, hz)
    if tone < loud - 10.0:
        return False
    # A high tone that is a little off lies beside the filter.
    return tone > loud - 2.0 or max(tone_level(piece, RATE, hz * detuned) for detuned in (0.993, 1.007)) > loud - 2.0
