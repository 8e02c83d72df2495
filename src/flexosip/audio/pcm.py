"""Arithmetic on PCM: mix, gain, stereo from two sides, mono from many channels. int16 little-endian octets in and out."""

from __future__ import annotations

import sys
from array import array
from operator import add

from flexosip.audio.audioop_module import audioop

__all__ = ["from_samples", "gain", "interleave", "mix", "samples_of", "silence", "to_mono"]

_SWAP = sys.byteorder == "big"


def samples_of(pcm: bytes) -> array[int]:
    """The samples as an array of int16; an odd last octet is left out."""
    samples = array("h", pcm[: len(pcm) & ~1] if len(pcm) & 1 else pcm)
    if _SWAP:
        samples.byteswap()
    return samples


def from_samples(samples: array[int]) -> bytes:
    """The octets of an array of int16."""
    if _SWAP:
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()


def silence(samples: int, channels: int = 1) -> bytes:
    """Zeros."""
    return bytes(2 * samples * channels)


def _clipped(values: list[int]) -> array[int]:
    if values and (max(values) > 32767 or min(values) < -32768):
        values = [32767 if value > 32767 else -32768 if value < -32768 else value for value in values]
    return array("h", values)


def mix(first: bytes, second: bytes) -> bytes:
    """The sum of two sounds, clipped at full scale; the shorter one is followed by silence."""
    if len(first) != len(second):
        if len(first) < len(second):
            first, second = second, first
        second += bytes(len(first) - len(second))
    if audioop is not None:
        return audioop.add(first, second, 2)  # type: ignore[no-any-return]
    return from_samples(_clipped(list(map(add, samples_of(first), samples_of(second)))))


def gain(pcm: bytes, decibels: float) -> bytes:
    """Louder or softer by `decibels`, clipped at full scale."""
    if decibels == 0.0:
        return pcm
    factor = 10.0 ** (decibels / 20.0)
    return from_samples(_clipped([round(sample * factor) for sample in samples_of(pcm)]))


def interleave(left: bytes, right: bytes) -> bytes:
    """Stereo from two mono sounds; the shorter one is followed by silence."""
    size = max(len(left), len(right)) & ~1
    stereo = bytearray(2 * size)
    for at, side in ((0, left), (2, right)):
        count = len(side) & ~1
        stereo[at : 2 * count : 4] = side[0:count:2]
        stereo[at + 1 : 2 * count : 4] = side[1:count:2]
    return bytes(stereo)


def to_mono(pcm: bytes, channels: int) -> bytes:
    """The mean of all channels of interleaved sound; octets beyond the last whole frame are left out."""
    if channels == 1:
        return pcm
    whole = len(pcm) - len(pcm) % (2 * channels)
    if channels == 2 and audioop is not None:
        return audioop.tomono(pcm[:whole], 2, 0.5, 0.5)  # type: ignore[no-any-return]
    samples = samples_of(pcm[:whole])
    sums = list(samples[0::channels])
    for channel in range(1, channels):
        sums = list(map(add, sums, samples[channel::channels]))
    return from_samples(array("h", [total // channels for total in sums]))
