"""Tones, listened to."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.audio.levels import find_gaps, find_sounds, level, tone_level
from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import COUNTRIES, DTMF_PAIRS, ToneGenerator, dtmf_tone, named_tone, tone_names, tone_pcm
from flexosip.errors import ConfigurationError


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_tone_has_its_frequency_level_and_length(rate: int) -> None:
    pcm = tone_pcm(Tone(440, duration=0.5, level=-20), rate)
    assert len(pcm) == rate
    assert tone_level(pcm, rate, 440) == pytest.approx(-20, abs=0.1)
    assert level(pcm[rate // 10 : -rate // 10]) == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize("key", DTMF_PAIRS)
def test_every_key_has_its_two_frequencies_and_no_other(key: str) -> None:
    pcm = tone_pcm(dtmf_tone(key, duration=0.2), 8000)
    rows_and_columns = (697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0)
    heard = {hz for hz in rows_and_columns if tone_level(pcm, 8000, hz) > -30}
    assert heard == set(DTMF_PAIRS[key])


def test_the_keypad_is_that_of_q23() -> None:
    assert DTMF_PAIRS["1"] == (697.0, 1209.0)
    assert DTMF_PAIRS["5"] == (770.0, 1336.0)
    assert DTMF_PAIRS["#"] == (941.0, 1477.0)
    assert DTMF_PAIRS["D"] == (941.0, 1633.0)
    assert len(DTMF_PAIRS) == 16


@pytest.mark.parametrize(
    ("country", "name", "frequencies", "on", "off"),
    [
        ("de", "busy", (425,), 0.48, 0.48),
        ("de", "ringback", (425,), 1.0, 4.0),
        ("us", "busy", (480, 620), 0.5, 0.5),
        ("us", "ringback", (440, 480), 2.0, 4.0),
        ("fr", "ringback", (440,), 1.5, 3.5),
        ("uk", "busy", (400,), 0.375, 0.375),
    ],
)
def test_call_progress_tones_have_the_frequencies_and_the_beat_of_their_country(
    country: str, name: str, frequencies: tuple[int, ...], on: float, off: float
) -> None:
    pcm = tone_pcm(named_tone(name, country=country), 8000, 2 * (on + off))
    first, second = find_sounds(pcm, 8000)
    (gap,) = find_gaps(pcm, 8000)
    assert first.start == 0.0
    assert first.duration == pytest.approx(on, abs=0.01)
    assert gap.duration == pytest.approx(off, abs=0.01)
    assert second.duration == pytest.approx(on, abs=0.01)
    piece = pcm[1600 : 2 * round(8000 * on) - 800]
    for hz in frequencies:
        assert tone_level(piece, 8000, hz) == pytest.approx(-13, abs=0.3)


def test_the_special_information_tone_rises_in_three_steps() -> None:
    pcm = tone_pcm(named_tone("sit"), 8000, 0.99)
    for index, hz in enumerate((950, 1400, 1800)):
        step = pcm[2 * 2640 * index : 2 * 2640 * (index + 1)]
        assert tone_level(step, 8000, hz) == pytest.approx(-13, abs=0.3)


def test_every_name_in_every_country_gives_sound() -> None:
    for country in COUNTRIES:
        for name in tone_names():
            assert level(tone_pcm(named_tone(name, country=country), 8000, 0.1)) > -20
    assert named_tone("5").duration == 0.1
    assert named_tone("BUSY", duration=3).duration == 3


@pytest.mark.parametrize("name", ["", "ringing!", "x", "busy\r\n"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigurationError, match="ringback"):
        named_tone(name)
    with pytest.raises(ConfigurationError, match="de, us"):
        named_tone("busy", country="atlantis")


@given(st.lists(st.integers(0, 700), min_size=1, max_size=12))
def test_pieces_make_no_difference(sizes: list[int]) -> None:
    tone = Tone(duration=0.2, cadence=(((425.0, 300.0), 0.031), ((), 0.017)))
    generator = ToneGenerator(tone, 8000)
    out = b"".join(generator.read(size) for size in sizes)
    assert out == tone_pcm(tone, 8000)[: len(out)]
    assert len(out) == 2 * min(sum(sizes), 1600)
    assert generator.done == (sum(sizes) >= 1600)


def test_a_tone_begins_and_ends_without_a_click() -> None:
    samples = array("h", bytes(20) + tone_pcm(Tone(1000, duration=0.1003, level=-3.1), 48000) + bytes(20))
    steepest = 2 * 3.15 * 1000 / 48000 * 32768
    assert max(abs(b - a) for a, b in pairwise(samples)) < steepest
    assert abs(samples[10]) < 200
    assert abs(samples[-11]) < 200


def test_a_tone_for_ever_goes_on_and_needs_a_length_to_be_made() -> None:
    generator = ToneGenerator(Tone(440), 8000)
    assert all(len(generator.read(160)) == 320 for _ in range(1000))
    assert not generator.done
    with pytest.raises(ConfigurationError):
        tone_pcm(Tone(440), 8000)


@pytest.mark.parametrize(
    "options",
    [
        {"hz": 0},
        {"hz": -5},
        {"hz": float("nan")},
        {"hz": 30000},
        {},
        {"hz": 440, "duration": 0},
        {"hz": 440, "level": 1},
        {"cadence": (((1.0,), 0.0),)},
    ],
)
def test_tones_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Tone(**options)  # type: ignore[arg-type]


def test_a_frequency_above_half_the_rate_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        ToneGenerator(Tone(4000), 8000)


def test_pcm_takes_octets_arrays_and_numbers() -> None:
    expected = b"\x01\x00\xfe\xff"
    for samples in (expected, bytearray(expected), memoryview(expected), array("h", [1, -2]), [1, -2], (1, -2)):
        sound = Pcm(samples, 8000)
        assert (sound.data, sound.samples) == (expected, 2)
    assert Pcm(bytes(16000), 8000).duration == 1.0


@pytest.mark.parametrize(
    ("samples", "rate"), [(b"\x00", 8000), ([40000], 8000), (["x"], 8000), (array("d", [0.5]), 8000), (b"", 0), (b"", 10**7), (5, 8000)]
)
def test_pcm_that_is_no_sound_is_refused(samples: object, rate: int) -> None:
    with pytest.raises(ConfigurationError):
        Pcm(samples, rate)


def test_pcm_takes_a_numpy_array() -> None:
    numpy = pytest.importorskip("numpy")
    assert Pcm(numpy.array([1, -2], dtype="int16"), 8000).data == b"\x01\x00\xfe\xff"
    with pytest.raises(ConfigurationError):
        Pcm(numpy.zeros((2, 2), dtype="int16"), 8000)
    with pytest.raises(ConfigurationError):
        Pcm(numpy.zeros(4, dtype="float32"), 8000)
