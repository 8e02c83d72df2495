"""Hearing: levels, frequencies and gaps of sounds that are known."""

from __future__ import annotations

import math
import random
from array import array

import pytest

from flexosip.audio.levels import SILENCE, dominant_frequency, find_gaps, find_sounds, level, rms, tone_level


def sine(hz: float, rate: int, seconds: float, amplitude: float = 10000.0, phase: float = 0.0) -> bytes:
    return array("h", [round(amplitude * math.sin(2 * math.pi * hz * n / rate + phase)) for n in range(round(rate * seconds))]).tobytes()


def test_full_scale_square_is_zero_and_sine_three_below() -> None:
    assert level(array("h", [-32768] * 1000).tobytes()) == 0.0
    assert level(sine(1000, 8000, 1.0, 32767.0)) == pytest.approx(-3.01, abs=0.01)


def test_half_the_amplitude_is_six_decibels() -> None:
    assert level(sine(440, 8000, 1.0, 16000)) - level(sine(440, 8000, 1.0, 8000)) == pytest.approx(6.02, abs=0.02)


@pytest.mark.parametrize("pcm", [b"", b"\x00", bytes(320)])
def test_silence_has_the_lowest_level(pcm: bytes) -> None:
    assert level(pcm) == SILENCE
    assert rms(pcm) == 0.0
    assert tone_level(pcm, 8000, 440) == SILENCE
    assert dominant_frequency(pcm, 8000) is None


@pytest.mark.parametrize("hz", [425.0, 697.0, 1633.0, 3400.0])
@pytest.mark.parametrize("phase", [0.0, 1.0, 2.5])
def test_a_tone_has_its_level_at_its_frequency_and_none_elsewhere(hz: float, phase: float) -> None:
    pcm = sine(hz, 8000, 0.5, 10000, phase)
    assert tone_level(pcm, 8000, hz) == pytest.approx(20 * math.log10(10000 / math.sqrt(2) / 32768), abs=0.05)
    assert tone_level(pcm, 8000, hz + 100) < -70
    assert tone_level(pcm, 8000, hz - 100) < -70


def test_two_tones_are_told_apart() -> None:
    both = array(
        "h", [a + b for a, b in zip(array("h", sine(770, 8000, 0.2)), array("h", sine(1336, 8000, 0.2, 5000)), strict=True)]
    ).tobytes()
    assert tone_level(both, 8000, 770) - tone_level(both, 8000, 1336) == pytest.approx(6.02, abs=0.1)
    assert tone_level(both, 8000, 852) < tone_level(both, 8000, 1336) - 30


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("hz", [62.5, 425.0, 440.0, 1004.7, 3211.3])
def test_the_dominant_frequency_is_exact_to_a_tenth_of_a_per_cent_or_half_a_hertz(rate: int, hz: float) -> None:
    found = dominant_frequency(sine(hz, rate, 1.1, 9000, 0.3), rate)
    assert found == pytest.approx(hz, rel=1e-3, abs=0.5)


def test_the_dominant_frequency_is_found_in_noise() -> None:
    rng = random.Random(1)
    noisy = array("h", [round(value + rng.gauss(0, 2000)) for value in array("h", sine(1234, 8000, 1.0, 5000))]).tobytes()
    assert dominant_frequency(noisy, 8000) == pytest.approx(1234, rel=1e-3)


def test_gaps_are_found_where_they_are() -> None:
    pcm = bytes(1600) + sine(500, 8000, 0.5) + bytes(2 * 480) + sine(500, 8000, 0.3) + bytes(2 * 80) + sine(500, 8000, 0.2) + bytes(4000)
    gaps = find_gaps(pcm, 8000)
    assert [(round(gap.start, 2), round(gap.duration, 2)) for gap in gaps] == [(0.6, 0.06), (0.96, 0.01)]
    sounds = find_sounds(pcm, 8000)
    assert (round(sounds[0].start, 2), round(sounds[-1].end, 2)) == (0.1, 1.17)


def test_a_steady_tone_has_no_gap_at_its_zero_crossings() -> None:
    assert find_gaps(sine(50, 8000, 1.0), 8000) == []
    assert find_gaps(bytes(16000), 8000) == []
