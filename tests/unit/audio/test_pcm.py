"""Mixing and arranging PCM, with and without the standard library's C functions."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.audio import pcm
from flexosip.audio.pcm import from_samples, gain, interleave, mix, samples_of, silence, to_mono

frames = st.lists(st.integers(-32768, 32767), max_size=50)


def octets(values: list[int]) -> bytes:
    return array("h", values).tobytes()


@pytest.fixture(params=[True, False], ids=["audioop", "python"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(pcm, "audioop", None)
    elif pcm.audioop is None:
        pytest.skip("this Python has no audioop")


@pytest.mark.usefixtures("either")
def test_mix_adds_and_clips_and_fills_up() -> None:
    assert mix(octets([1, 30000, -30000, 5]), octets([2, 10000, -10000])) == octets([3, 32767, -32768, 5])
    assert mix(octets([2]), octets([1, 7])) == octets([3, 7])
    assert mix(b"", b"") == b""


@pytest.mark.usefixtures("either")
def test_stereo_becomes_the_mean() -> None:
    assert to_mono(octets([100, 300, -5, -7, 32767, 32767]), 2) == octets([200, -6, 32767])
    assert to_mono(octets([3, 6, 9, 1, 1, 1, 8]), 3) == octets([6, 1])
    assert to_mono(b"ab", 1) == b"ab"


@given(frames, frames)
def test_mix_is_the_same_on_both_ways(first: list[int], second: list[int]) -> None:
    size = max(len(first), len(second))
    padded = [values + [0] * (size - len(values)) for values in (first, second)]
    expected = octets([max(-32768, min(32767, a + b)) for a, b in zip(*padded, strict=True)])
    assert mix(octets(first), octets(second)) == expected
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(pcm, "audioop", None)
        assert mix(octets(first), octets(second)) == expected


@given(frames, frames)
def test_interleave_puts_left_first_and_fills_up(left: list[int], right: list[int]) -> None:
    stereo = samples_of(interleave(octets(left), octets(right)))
    size = max(len(left), len(right))
    assert list(stereo[0::2]) == left + [0] * (size - len(left))
    assert list(stereo[1::2]) == right + [0] * (size - len(right))


def test_gain() -> None:
    assert gain(octets([1000, -1000]), 20.0) == octets([10000, -10000])
    assert gain(octets([10000, -30000]), 6.0206) == octets([20000, -32768])
    assert gain(octets([5]), 0.0) == octets([5])


def test_samples_and_back() -> None:
    assert list(samples_of(b"\x01\x00\xff\xff\x07")) == [1, -1]
    assert from_samples(array("h", [1, -1])) == b"\x01\x00\xff\xff"
    assert silence(3, 2) == bytes(12)
