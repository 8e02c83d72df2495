"""Damaged messages without end: seeds, and what a bad link, a bad program or a bad person makes of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from tests import corpus
from tests.conformance.torture_on_the_wire.renderings import RENDERINGS
from tests.fuzz.live_seeds import LIVE_SEEDS

__all__ = ["mutations", "seeds"]

_NUMBER = re.compile(rb"\d+")
_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"70",
    b"255",
    b"65535",
    b"65536",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9" * 40,
    b"00000000007",
    b"",
)
_BYTES = (
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b'"',
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"%00",
    b"=",
    b"\xff",
    b"\xc3\xa9",
    b"[",
    b"]",
)


def seeds() -> list[bytes]:
    """SIP messages: the collected ones where they are beside the project, and the torture tests' own renderings."""
    own = [data for data in RENDERINGS.values() if data]
    return own + [entry.data for entry in corpus.entries("sip") if len(entry.data) < 20000]


def _flip(data: bytearray, random: random.Random, other: bytes) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: random.Random, other: bytes) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.choice((1, 2, 10, 100, len(data)))]


def _insert(data: bytearray, random: random.Random, other: bytes) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = random.choice(_BYTES) * random.choice((1, 1, 1, 2, 3, 50, 2000))


def _repeat_line(data: bytearray, random: random.Random, other: bytes) -> None:
    lines = bytes(data).split(b"\r\n")
    index = random.randrange(len(lines))
    lines[index:index] = [lines[index]] * random.choice((1, 1, 2, 40))
    data[:] = b"\r\n".join(lines)


def _drop_line(data: bytearray, random: random.Random, other: bytes) -> None:
    lines = bytes(data).split(b"\r\n")
    del lines[random.randrange(len(lines))]
    data[:] = b"\r\n".join(lines)


def _swap_lines(data: bytearray, random: random.Random, other: bytes) -> None:
    lines = bytes(data).split(b"\r\n")
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    data[:] = b"\r\n".join(lines)


def _change_number(data: bytearray, random: random.Random, other: bytes) -> None:
    numbers = list(_NUMBER.finditer(bytes(data)))
    if numbers:
        start, end = random.choice(numbers).span()
        data[start:end] = random.choice(_NUMBERS)


def _splice(data: bytearray, random: random.Random, other: bytes) -> None:
    data[random.randrange(len(data)) :] = other[random.randrange(len(other)) :]


def _take_line(data: bytearray, random: random.Random, other: bytes) -> None:
    lines, others = bytes(data).split(b"\r\n"), other.split(b"\r\n")
    lines.insert(random.randrange(len(lines) + 1), random.choice(others))
    data[:] = b"\r\n".join(lines)


_WAYS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    _flip, _cut, _insert, _repeat_line, _drop_line, _swap_lines, _change_number, _change_number, _splice, _take_line,
)  # fmt: skip


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged messages, the same for the same seed: one to four changes each, at most 64 KiB.

    Every second one was a message of `live_seeds`, whose words are still to be filled in.
    """
    chance = random.Random(seed)
    known = seeds()
    for number in range(count):
        data = bytearray(chance.choice(LIVE_SEEDS if number % 2 else known))
        other = chance.choice(known)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            if data:
                chance.choice(_WAYS)(data, chance, other)
        yield bytes(data[:65507])
