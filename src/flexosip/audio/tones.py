"""Tones by name and as samples: call progress by country (ITU-T E.180), special information, DTMF pairs (ITU-T Q.23)."""

from __future__ import annotations

import math
from array import array
from functools import lru_cache

from flexosip.audio.pcm import from_samples, samples_of
from flexosip.audio.sources import Cadence, Tone
from flexosip.errors import ConfigurationError

__all__ = ["COUNTRIES", "DTMF_PAIRS", "ToneGenerator", "dtmf_tone", "named_tone", "tone_names", "tone_pcm"]

_ROWS = (697.0, 770.0, 852.0, 941.0)
_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = ("123A", "456B", "789C", "*0#D")

DTMF_PAIRS: dict[str, tuple[float, float]] = {
    key: (_ROWS[row], _COLUMNS[column]) for row, keys in enumerate(_KEYS) for column, key in enumerate(keys)
}
"""Key to its low and high frequency, Hz."""

_RAMP_SECONDS = 0.003
_STEADY = 1.0


def _beats(hz: tuple[float, ...], *seconds: float) -> Cadence:
    """Tone, pause, tone, pause, ..."""
    return tuple((hz if index % 2 == 0 else (), length) for index, length in enumerate(seconds))


_SIT: Cadence = (((950.0,), 0.33), ((1400.0,), 0.33), ((1800.0,), 0.33), ((), 1.0))

_DE = (425.0,)
_US_RING = (440.0, 480.0)
_US_BUSY = (480.0, 620.0)
_UK_RING = (400.0, 450.0)
_FR = (440.0,)

_PLANS: dict[str, dict[str, Cadence]] = {
    "de": {
        "dial": ((_DE, _STEADY),),
        "ringback": _beats(_DE, 1.0, 4.0),
        "busy": _beats(_DE, 0.48, 0.48),
        "congestion": _beats(_DE, 0.24, 0.24),
        "waiting": _beats(_DE, 0.2, 0.2, 0.2, 5.0),
    },
    "us": {
        "dial": (((350.0, 440.0), _STEADY),),
        "ringback": _beats(_US_RING, 2.0, 4.0),
        "busy": _beats(_US_BUSY, 0.5, 0.5),
        "congestion": _beats(_US_BUSY, 0.25, 0.25),
        "waiting": _beats((440.0,), 0.3, 10.0),
    },
    "uk": {
        "dial": (((350.0, 440.0), _STEADY),),
        "ringback": _beats(_UK_RING, 0.4, 0.2, 0.4, 2.0),
        "busy": _beats((400.0,), 0.375, 0.375),
        "congestion": _beats((400.0,), 0.4, 0.35, 0.225, 0.525),
        "waiting": _beats((400.0,), 0.1, 3.0),
    },
    "fr": {
        "dial": ((_FR, _STEADY),),
        "ringback": _beats(_FR, 1.5, 3.5),
        "busy": _beats(_FR, 0.5, 0.5),
        "congestion": _beats(_FR, 0.25, 0.25),
        "waiting": _beats(_FR, 0.3, 10.0),
    },
}

COUNTRIES = tuple(_PLANS)
"""Countries with a tone plan of their own."""


def tone_names() -> tuple[str, ...]:
    """The names that `named_tone` knows, besides the keys of a telephone."""
    return (*_PLANS["de"], "sit", "beep")


def named_tone(name: str, *, duration: float | None = None, country: str = "de") -> Tone:
    """A tone by name: `dial`, `ringback`, `busy`, `congestion`, `waiting`, `sit`, `beep`, or one key (`5`, `#`).

    Args:
        duration: seconds; None: for ever, but 0.25 s for the beep and 0.1 s for a key.
        country: whose tone plan, see `COUNTRIES`.

    Raises:
        ConfigurationError: the name or the country is unknown.
    """
    if name.upper() in DTMF_PAIRS:
        return dtmf_tone(name, duration=duration if duration is not None else 0.1)
    key = name.lower()
    if key == "beep":
        return Tone(1000.0, duration=duration if duration is not None else 0.25)
    if key == "sit":
        return Tone(duration=duration, cadence=_SIT)
    plan = _PLANS.get(country.lower())
    if plan is None:
        raise ConfigurationError(f"There is no tone plan {country!r}: there are {', '.join(COUNTRIES)}.")
    pattern = plan.get(key)
    if pattern is None:
        raise ConfigurationError(f"There is no tone {name!r}: there are {', '.join(tone_names())} and the keys of a telephone.")
    if len(pattern) == 1:
        return Tone(pattern[0][0], duration=duration)
    return Tone(duration=duration, cadence=pattern)


def dtmf_tone(key: str, *, duration: float = 0.1, level: float = -13.0) -> Tone:
    """The two frequencies of a key, each at `level` dBFS.

    Raises:
        ConfigurationError: no such key.
    """
    pair = DTMF_PAIRS.get(key.upper())
    if pair is None:
        raise ConfigurationError(f"{key!r} is no key: allowed are 0-9, *, # and A-D.")
    return Tone(pair, duration=duration, level=level)


class ToneGenerator:
    """The samples of a tone, as many at a time as are wanted. Every step begins and ends softly, so nothing clicks.

    Args:
        rate: samples a second. Frequencies that this rate cannot carry are refused (ConfigurationError).
    """

    __slots__ = ("_amplitude", "_at", "_left", "_ramp", "_step", "_steps", "rate")

    def __init__(self, tone: Tone, rate: int) -> None:
        self._amplitude = 32768.0 * math.sqrt(2.0) * 10.0 ** (tone.level / 20.0)
        self.rate = rate
        self._left = None if tone.duration is None else round(tone.duration * rate)
        self._ramp = max(round(_RAMP_SECONDS * rate), 1)
        self._steps: list[tuple[tuple[float, ...], int]] = []
        for frequencies, seconds in tone.steps:
            if any(hz >= rate / 2 for hz in frequencies):
                raise ConfigurationError(f"{max(frequencies)} Hz cannot be played at {rate} samples a second.")
            length = 0 if tone.steady else max(round(seconds * rate), 1)
            self._steps.append((tuple(map(float, frequencies)), length))
        self._step = 0
        self._at = 0

    @property
    def done(self) -> bool:
        """True when the tone is over."""
        return self._left == 0

    def read(self, samples: int) -> bytes:
        """The next `samples` samples; fewer, at last none, when the tone is over."""
        wanted = samples if self._left is None else min(samples, self._left)
        parts: list[bytes] = []
        while wanted > 0:
            frequencies, length = self._steps[self._step]
            count = wanted if not length else min(wanted, length - self._at)
            parts.append(self._sound(frequencies, length, count))
            self._at += count
            if self._left is not None:
                self._left -= count
            wanted -= count
            if length and self._at >= length:
                self._at = 0
                self._step = (self._step + 1) % len(self._steps)
        return b"".join(parts)

    def _sound(self, frequencies: tuple[float, ...], length: int, count: int) -> bytes:
        if not frequencies:
            return bytes(2 * count)
        start, ramp = self._at, self._ramp
        pcm = _steady(frequencies, self._amplitude, self.rate, start, count)
        # Where the sound ends: of the step or of the whole, whichever is nearer.
        ends = [start + left for left in (self._left,) if left is not None]
        if length:
            ends.append(length)
        end = min(ends) if ends else None
        if start >= ramp and (end is None or start + count <= end - ramp):
            return pcm
        samples = samples_of(pcm)
        for index in range(count):
            inside = start + index + 1
            if end is not None:
                inside = min(inside, end - start - index)
            if inside <= ramp:
                samples[index] = round(samples[index] * (0.5 - 0.5 * math.cos(math.pi * inside / (ramp + 1))))
        return from_samples(samples)


def _steady(frequencies: tuple[float, ...], amplitude: float, rate: int, start: int, count: int) -> bytes:
    """`count` samples of a tone that began `start` samples ago."""
    if not all(hz == int(hz) for hz in frequencies):
        return _computed(frequencies, amplitude, rate, start, count)
    # Whole Hertz repeat every second: the tones of all calls come out of one table.
    second = _one_second(frequencies, amplitude, rate)
    at = start % rate
    if at + count <= rate:
        return second[2 * at : 2 * (at + count)]
    return (second * ((at + count) // rate + 1))[2 * at : 2 * (at + count)]


@lru_cache(maxsize=32)
def _one_second(frequencies: tuple[float, ...], amplitude: float, rate: int) -> bytes:
    return _computed(frequencies, amplitude, rate, 0, rate)


def _computed(frequencies: tuple[float, ...], amplitude: float, rate: int, start: int, count: int) -> bytes:
    values = [0.0] * count
    for hz in frequencies:
        turn = 2 * math.pi * hz / rate
        values = [value + amplitude * math.sin(turn * n) for n, value in enumerate(values, start)]
    return from_samples(array("h", [max(-32768, min(32767, round(value))) for value in values]))


def tone_pcm(tone: Tone, rate: int, seconds: float | None = None) -> bytes:
    """The samples of a whole tone, or of its first `seconds`.

    Raises:
        ConfigurationError: neither the tone nor the caller says how long.
    """
    length = seconds if seconds is not None else tone.duration
    if length is None:
        raise ConfigurationError("This tone goes on for ever: say how many seconds of it.")
    return ToneGenerator(tone, rate).read(round(length * rate))
