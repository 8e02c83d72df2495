"""What can be played besides files: `Pcm`, sound that is there already, and `Tone`, sound that is described."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexosip.audio.pcm import from_samples
from flexosip.audio.resample import MAX_RATE, MIN_RATE
from flexosip.errors import ConfigurationError

__all__ = ["Cadence", "Pcm", "Tone"]

Cadence = tuple[tuple[tuple[float, ...], float], ...]
"""Steps of `(frequencies, seconds)`; no frequency is a pause."""


@dataclass(frozen=True, slots=True, init=False)
class Pcm:
    """Mono sound in memory.

    Args:
        samples: int16 little-endian octets, an int16 buffer (`array("h")`, a numpy array), or a sequence of numbers -32768 to 32767.
        rate: samples a second.

    Raises:
        ConfigurationError: half a sample, numbers out of range, or a rate that no sound has.
    """

    data: bytes
    """int16 little-endian."""
    rate: int

    def __init__(self, samples: bytes | bytearray | memoryview | Sequence[int] | Any, rate: int) -> None:
        object.__setattr__(self, "data", _octets(samples))
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ConfigurationError(f"A rate of {rate} Hz is none for sound: {MIN_RATE} to {MAX_RATE} are.")
        object.__setattr__(self, "rate", int(rate))

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.data) // 2

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.data) / 2 / self.rate


def _octets(samples: Any) -> bytes:
    if isinstance(samples, (bytes, bytearray)):
        data = bytes(samples)
    else:
        try:
            view = memoryview(samples)
        except TypeError:
            try:
                return from_samples(array("h", samples))
            except (TypeError, OverflowError, ValueError) as error:
                raise ConfigurationError(f"These are no int16 samples: {error}.") from error
        if view.ndim != 1 or view.format not in ("h", "<h", "B", "b", "c"):
            raise ConfigurationError("Samples in a buffer are mono int16; convert them first (numpy: x.astype('int16')).")
        data = from_samples(array("h", view.tobytes())) if view.itemsize == 2 else view.tobytes()
    if len(data) % 2:
        raise ConfigurationError(f"{len(data)} octets are not a whole number of 16-bit samples.")
    return data


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone, two at once, or a pattern of tones and pauses; for ever if no `duration` is given.

    `Tone(440)`, `Tone((697, 1209), duration=0.1)`, `Tone(cadence=(((425.0,), 0.48), ((), 0.48)))`.
    """

    hz: float | tuple[float, ...] = ()
    """Frequency or frequencies that sound together; empty if there is a `cadence`."""
    duration: float | None = None
    """Seconds; None for ever."""
    level: float = -13.0
    """Level of each frequency, dBFS by RMS (as `flexosip.audio.levels` measures)."""
    cadence: Cadence = ()
    """Repeated from its begin when it is over."""

    def __post_init__(self) -> None:
        frequencies = [hz for step, _ in self.steps for hz in step]
        if not all(0 < hz <= 20000 for hz in frequencies):
            raise ConfigurationError(f"A tone is between 0 and 20000 Hz, not {self.hz or frequencies}.")
        if not frequencies and not self.cadence:
            raise ConfigurationError("A tone needs a frequency.")
        if any(seconds <= 0 for _, seconds in self.cadence) or (self.duration is not None and self.duration <= 0):
            raise ConfigurationError("A tone lasts longer than no time.")
        if not -100.0 <= self.level <= 0.0:
            raise ConfigurationError("The level of a tone is 0 dBFS or lower.")

    @property
    def steps(self) -> Cadence:
        """The cadence; a steady tone is one step of a second."""
        if self.cadence:
            return self.cadence
        return ((self.hz if isinstance(self.hz, tuple) else (float(self.hz),), 1.0),)

    @property
    def steady(self) -> bool:
        """True if it never changes."""
        return not self.cadence
