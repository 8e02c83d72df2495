"""Resampling between any two rates: streaming, without aliases, the same result however the sound is cut into pieces.

A polyphase FIR low-pass (windowed sinc, Kaiser). For a ratio of L/M, output sample `jL + r` is a sum over the inputs `jM + p` and
their predecessors, so each pair (r, p) is a plain convolution of one sample in M with one coefficient in M*L. Each convolution is
done by one multiplication of two long integers: the samples lie in lanes of 40 bits, the coefficients likewise, and the lanes of the
product are the sums wanted. Python so filters a 20 ms frame in about 50 µs, ten times as fast as sample by sample.

Lanes: unsigned samples (+32768), coefficients of 2^16 a unit, so the result is octets 2 and 3 of the lane. `_BIAS` keeps every lane
positive (else it would borrow from the next) and makes octet 4 tell which samples must be clipped.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from flexosip.errors import ConfigurationError

__all__ = ["Resampler", "resample"]

MIN_RATE, MAX_RATE = 1000, 384000
_PASS = 0.85
"""End of the pass band, of the lower of the two Nyquist frequencies: 3400 Hz for telephone sound."""
_ATTENUATION = 66.0
_MAX_PHASES = 640
_LANE = 5
_GUARD = 0x10
_BIAS = (_GUARD << 32) + (1 << 15)
_FLIP = bytes(octet ^ 0x80 for octet in range(256))


def _bessel_i0(x: float) -> float:
    """Modified Bessel function of order 0 (Abramowitz and Stegun 9.8.1, 9.8.2)."""
    if x < 3.75:
        t = (x / 3.75) ** 2
        return 1 + t * (3.5156229 + t * (3.0899424 + t * (1.2067492 + t * (0.2659732 + t * (0.0360768 + t * 0.0045813)))))
    t = 3.75 / x
    series = 0.02635537 + t * (-0.01647633 + t * 0.00392377)
    series = 0.39894228 + t * (0.01328592 + t * (0.00225319 + t * (-0.00157565 + t * (0.00916281 + t * (-0.02057706 + t * series)))))
    return math.exp(x) / math.sqrt(x) * series


def _prototype(up: int, down: int) -> tuple[list[float], int]:
    """The low-pass at `up` times the input rate, and how many coefficients each of the `up` phases has."""
    nyquist = 0.5 * min(1.0, up / down)
    width = (1.0 - _PASS) * nyquist
    taps = math.ceil((_ATTENUATION - 7.95) / (2.285 * 2 * math.pi * width)) + 1
    cutoff = (1.0 + _PASS) * nyquist
    beta = 0.1102 * (_ATTENUATION - 8.7)
    length = up * taps
    middle = (length - 1) / 2
    filtered = [0.0] * length
    for n in range((length + 1) // 2):
        x = (n - middle) / up
        sinc = math.sin(math.pi * cutoff * x) / (math.pi * x) if x else cutoff
        ratio = (n - middle) / (middle + 0.5)
        filtered[n] = filtered[length - 1 - n] = sinc * _bessel_i0(beta * math.sqrt(max(0.0, 1 - ratio * ratio)))
    return filtered, taps


def _quantised(phase: list[float]) -> list[int]:
    """Coefficients of one phase as integers with a sum of exactly 2^16: unity gain, no ripple between the phases at 0 Hz."""
    scale = 65536 / sum(phase)
    integers = [round(value * scale) for value in phase]
    largest = max(range(len(integers)), key=integers.__getitem__)
    integers[largest] += 65536 - sum(integers)
    return integers


@lru_cache(maxsize=32)
def _design(up: int, down: int) -> tuple[int, int, tuple[tuple[tuple[int, int], ...], ...]]:
    """`(taps, history, plan)`: history in periods of `down` samples; the plan gives for each output phase `(p, coefficients)`."""
    prototype, taps = _prototype(up, down)
    history = -(-(taps - 1) // down)
    plan = []
    for r in range(up):
        base, phase = divmod(r * down, up)
        parts: dict[int, int] = {}
        for k, value in enumerate(_quantised(prototype[phase::up])):
            if value:
                period, p = divmod(base - k, down)
                parts[p] = parts.get(p, 0) + (value << 8 * _LANE * -period)
        plan.append(tuple(sorted(parts.items())))
    return taps, history, tuple(plan)


class Resampler:
    """One mono stream from one rate to another.

    Args:
        rate_in, rate_out: Hz, 1000 to 384000.

    Output comes in steps of `period_out` samples for every `period_in` samples of input. It is later than the input by `delay`
    (3 to 4 ms for telephone rates); `flush` gives what is still inside.
    """

    __slots__ = ("_carry", "_down", "_history", "_pass_through", "_plan", "_taps", "_up", "rate_in", "rate_out")

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if not (MIN_RATE <= rate_in <= MAX_RATE and MIN_RATE <= rate_out <= MAX_RATE):
            raise ConfigurationError(f"Sound rates are {MIN_RATE} to {MAX_RATE} Hz, not {rate_in} and {rate_out}.")
        self.rate_in = rate_in
        self.rate_out = rate_out
        # Odd rates (44101 Hz) go by the nearest ratio that can be filtered: the pitch is off by less than one in 100,000.
        ratio = Fraction(rate_out, rate_in)
        if ratio.numerator > _MAX_PHASES:
            ratio = 1 / (1 / ratio).limit_denominator(_MAX_PHASES)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._pass_through = rate_in == rate_out
        self._taps, self._history, self._plan = (0, 0, ()) if self._pass_through else _design(self._up, self._down)
        self._carry = bytes(2 * self._down * self._history)

    @property
    def period_in(self) -> int:
        """Input samples of one step."""
        return self._down

    @property
    def period_out(self) -> int:
        """Output samples of one step."""
        return self._up

    @property
    def delay(self) -> float:
        """Seconds by which the output is later than the input."""
        return 0.0 if self._pass_through else (self._taps - 1 / self._up) / 2 / self.rate_in

    def process(self, pcm: bytes) -> bytes:
        """More input; what it makes possible as output. An odd last octet waits for the next call."""
        if self._pass_through:
            return pcm
        data = self._carry + pcm
        down, history = self._down, self._history
        periods = len(data) // (2 * down) - history
        if periods <= 0:
            self._carry = data
            return b""
        output = bytearray(2 * self._up * periods)
        # Long multiplications grow faster than their length: pieces of some hundred periods are cheapest.
        step = max(64, 2 * history)
        for start in range(0, periods, step):
            count = min(step, periods - start)
            piece = data[2 * down * start : 2 * down * (start + count + history)]
            output[2 * self._up * start : 2 * self._up * (start + count)] = self._filter(piece, count)
        self._carry = data[2 * down * periods :]
        return bytes(output)

    def flush(self) -> bytes:
        """The end of the sound: what is still inside. The resampler then begins anew."""
        if self._pass_through:
            return b""
        tail = self.process(bytes(2 * (math.ceil(self.delay * self.rate_in) + self._down - 1)))
        self._carry = bytes(2 * self._down * self._history)
        return tail

    def _filter(self, piece: bytes, count: int) -> bytes:
        """`count` periods of output from the same number of periods of input, with the history before them."""
        down, up, history = self._down, self._up, self._history
        size = _LANE * (count + history)
        lanes: dict[int, int] = {}
        bias = int.from_bytes(_BIAS.to_bytes(_LANE, "little") * (count + 2 * history + 1), "little")
        length = _LANE * (count + 2 * history + 2)
        output = bytearray(2 * up * count)
        for r, parts in enumerate(self._plan):
            total = bias
            for p, coefficients in parts:
                samples = lanes.get(p)
                if samples is None:
                    packed = bytearray(size)
                    packed[0::_LANE] = piece[2 * p :: 2 * down]
                    packed[1::_LANE] = piece[2 * p + 1 :: 2 * down].translate(_FLIP)
                    samples = lanes[p] = int.from_bytes(packed, "little")
                total += samples * coefficients
            result = total.to_bytes(length, "little")[_LANE * history : _LANE * (history + count)]
            low, high, guard = result[2::_LANE], result[3::_LANE].translate(_FLIP), result[4::_LANE]
            if guard.count(_GUARD) != count:
                low, high = _clip(low, high, guard)
            output[2 * r :: 2 * up] = low
            output[2 * r + 1 :: 2 * up] = high
        return bytes(output)


def _clip(low: bytes, high: bytes, guard: bytes) -> tuple[bytes, bytes]:
    """Full scale where the guard octet shows an overflow."""
    lows, highs = bytearray(low), bytearray(high)
    for index, octet in enumerate(guard):
        if octet != _GUARD:
            lows[index], highs[index] = (0xFF, 0x7F) if octet > _GUARD else (0x00, 0x80)
    return bytes(lows), bytes(highs)


def resample(pcm: bytes, rate_in: int, rate_out: int) -> bytes:
    """A whole mono sound at another rate, the filter's delay taken off: sample 0 stays sample 0.

    Returns:
        `round(samples * rate_out / rate_in)` samples.
    """
    if rate_in == rate_out:
        return pcm
    resampler = Resampler(rate_in, rate_out)
    skipped = round(resampler.delay * rate_out)
    wanted = round(len(pcm) // 2 * rate_out / rate_in)
    output = resampler.process(pcm) + resampler.flush()
    output = output[2 * skipped : 2 * (skipped + wanted)]
    return output + bytes(2 * wanted - len(output))
