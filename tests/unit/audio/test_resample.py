"""The resampler, by ear: levels, images, aliases, and that pieces make no difference."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexosip.audio.levels import dominant_frequency, level, tone_level
from flexosip.audio.resample import Resampler, resample
from flexosip.errors import ConfigurationError

PAIRS = [(8000, 16000), (16000, 8000), (8000, 48000), (48000, 8000), (24000, 16000), (16000, 24000), (48000, 16000), (44100, 8000),
         (8000, 44100), (22050, 8000), (11025, 8000), (32000, 8000), (44100, 48000)]  # fmt: skip


def sine(hz: float, rate: int, seconds: float = 1.0, amplitude: float = 10000.0) -> bytes:
    return array("h", [round(amplitude * math.sin(2 * math.pi * hz * n / rate)) for n in range(round(rate * seconds))]).tobytes()


def inner(pcm: bytes, rate: int) -> bytes:
    """Without the first and last 50 ms, where the filter fills and empties."""
    edge = 2 * (rate // 20)
    return pcm[edge:-edge]


def rest_without(pcm: bytes, rate: int, hz: float) -> float:
    """Level of everything but the tone at `hz`, dBFS: the tone is fitted and taken away."""
    samples = array("h", pcm)
    count = len(samples)
    turn = 2 * math.pi * hz / rate
    cosines, sines = [math.cos(turn * n) for n in range(count)], [math.sin(turn * n) for n in range(count)]
    cc, ss = sum(c * c for c in cosines), sum(s * s for s in sines)
    cs = sum(c * s for c, s in zip(cosines, sines, strict=True))
    xc = sum(x * c for x, c in zip(samples, cosines, strict=True))
    xs = sum(x * s for x, s in zip(samples, sines, strict=True))
    determinant = cc * ss - cs * cs
    a, b = (xc * ss - xs * cs) / determinant, (xs * cc - xc * cs) / determinant
    power = sum((x - a * c - b * s) ** 2 for x, c, s in zip(samples, cosines, sines, strict=True)) / count
    return 10 * math.log10(max(power, 1e-9) / 32768**2)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.84])
def test_a_tone_in_the_pass_band_keeps_its_level_and_all_else_is_60_db_below(rate_in: int, rate_out: int, share: float) -> None:
    hz = round(share * min(rate_in, rate_out) / 2) + 0.5
    out = inner(resample(sine(hz, rate_in, 0.6), rate_in, rate_out), rate_out)
    loud = tone_level(out, rate_out, hz)
    assert loud == pytest.approx(tone_level(inner(sine(hz, rate_out, 0.6), rate_out), rate_out, hz), abs=0.1)
    assert rest_without(out, rate_out, hz) < loud - 60


@pytest.mark.parametrize(("rate_in", "rate_out"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_carry_is_60_db_down(rate_in: int, rate_out: int) -> None:
    steps = 7
    for step in range(steps):
        hz = rate_out / 2 + 1 + step * (rate_in / 2 - rate_out / 2 - 50) / steps
        tone = sine(hz, rate_in, 0.3, 20000)
        out = inner(resample(tone, rate_in, rate_out), rate_out)
        assert level(out) < level(tone) - 60, hz


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_the_frequency_stays(rate_in: int, rate_out: int) -> None:
    out = inner(resample(sine(1004.7, rate_in, 1.2), rate_in, rate_out), rate_out)
    assert dominant_frequency(out, rate_out) == pytest.approx(1004.7, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 1000), max_size=8), st.randoms(use_true_random=False))
def test_pieces_make_no_difference(pair: tuple[int, int], sizes: list[int], random: st.DataObject) -> None:
    pcm = array("h", [random.randint(-32768, 32767) for _ in range(sum(sizes))]).tobytes()  # type: ignore[attr-defined]
    whole = Resampler(*pair)
    expected = whole.process(pcm) + whole.flush()
    parts = Resampler(*pair)
    out, at = b"", 0
    for size in sizes:
        out += parts.process(pcm[2 * at : 2 * (at + size)])
        at += size
    assert out + parts.flush() == expected


def test_octets_may_come_one_by_one() -> None:
    pcm = sine(440, 16000, 0.01)
    whole, parts = Resampler(16000, 8000), Resampler(16000, 8000)
    assert b"".join(parts.process(pcm[n : n + 1]) for n in range(len(pcm))) == whole.process(pcm)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_a_whole_sound_keeps_its_length_and_its_place(rate_in: int, rate_out: int) -> None:
    click = rate_in // 4
    pcm = array("h", [0] * click + [20000] * (rate_in // 100) + [0] * (rate_in // 4)).tobytes()
    out = array("h", resample(pcm, rate_in, rate_out))
    assert len(out) == round(len(pcm) // 2 * rate_out / rate_in)
    first = next(n for n, value in enumerate(out) if value > 10000)
    assert first / rate_out == pytest.approx(0.25, abs=2 / min(rate_in, rate_out))


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16000), (16000, 8000), (8000, 48000), (48000, 8000)])
def test_a_live_frame_in_is_a_live_frame_out_with_under_4_ms_delay(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    frame = sine(1000, rate_in, 0.02)
    assert [len(resampler.process(frame)) for _ in range(5)] == [rate_out // 50 * 2] * 5
    assert resampler.delay < 0.004


def test_loud_sound_is_clipped_and_not_wrapped() -> None:
    square = array("h", ([32767] * 20 + [-32768] * 20) * 100).tobytes()
    for rate_out in (8000, 48000, 44100):
        out = array("h", resample(square, 16000, rate_out))
        assert max(out) == 32767
        assert min(out) == -32768
        # A wrapped sample would be a jump from one end of the scale to the other within one sample of a high rate.
        if rate_out == 48000:
            assert max(abs(b - a) for a, b in pairwise(out)) < 40000


def test_constant_sound_stays_constant_in_every_phase() -> None:
    out = array("h", inner(resample(array("h", [12345] * 16000).tobytes(), 16000, 44100), 44100))
    assert set(out) == {12345}


def test_the_same_rate_is_passed_through() -> None:
    resampler = Resampler(8000, 8000)
    assert resampler.process(b"\x01\x02") == b"\x01\x02"
    assert resampler.flush() == b""
    assert resampler.delay == 0.0


def test_after_flush_it_begins_anew() -> None:
    resampler = Resampler(8000, 16000)
    pcm = sine(500, 8000, 0.1)
    first = resampler.process(pcm) + resampler.flush()
    assert resampler.process(pcm) + resampler.flush() == first


def test_odd_rates_go_by_the_nearest_ratio() -> None:
    out = inner(resample(sine(1000, 44101, 1.1), 44101, 8000), 8000)
    assert dominant_frequency(out, 8000) == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize("rates", [(0, 8000), (8000, -1), (8000, 400_000), (999, 8000)])
def test_rates_that_no_sound_has_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError):
        Resampler(*rates)
