"""Codecs by name, and L16."""

from __future__ import annotations

from array import array

import pytest

from flexosip import codecs
from flexosip.codecs import Codec, create, supported
from flexosip.errors import CodecError


def test_every_supported_codec_is_made_and_says_what_it_is() -> None:
    for name, clock_rate, payload_type in supported():
        codec: Codec = create(name, clock_rate)
        assert (codec.name, codec.clock_rate, codec.payload_type, codec.channels) == (name, clock_rate, payload_type, 1)
        assert codec.sample_rate == clock_rate


def test_names_are_case_insensitive_and_pcm_is_l16() -> None:
    assert create("pcma", 8000).name == "PCMA"
    assert create("PCM", 16000).name == "L16"


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("G729", 8000, 1), ("PCMA", 16000, 1), ("PCMU", 8000, 2), ("L16", 1, 1), ("L16", 8000, 3)]
)
def test_what_is_not_supported_is_refused_with_advice(name: str, rate: int, channels: int) -> None:
    with pytest.raises(CodecError) as caught:
        create(name, rate, channels)
    assert "PCMA/8000" in caught.value.explain()


@pytest.mark.parametrize("name", ["PCMA", "PCMU"])
def test_half_a_sample_is_a_codec_error(name: str) -> None:
    with pytest.raises(CodecError):
        create(name, 8000).encode(b"\x00\x01\x02")


def test_empty_is_empty() -> None:
    for name, rate, _ in supported():
        codec = create(name, rate)
        assert codec.encode(b"") == codec.decode(b"") == b""
        assert codec.samples(b"") == 0


def test_ticks_of_a_payload() -> None:
    assert create("PCMA", 8000).samples(bytes(160)) == 160
    assert create("L16", 16000).samples(bytes(640)) == 320
    assert create("L16", 44100, 2).samples(bytes(3528)) == 882


def test_l16_is_in_network_order() -> None:
    codec = create("L16", 16000)
    pcm = array("h", [0x0102, -2]).tobytes()
    assert codec.encode(pcm) == b"\x01\x02\xff\xfe"
    assert codec.decode(b"\x01\x02\xff\xfe") == pcm


def test_l16_refuses_a_torn_sample() -> None:
    with pytest.raises(CodecError):
        create("L16", 16000).decode(b"\x00")
    with pytest.raises(CodecError):
        create("L16", 44100, 2).decode(b"\x00\x00")


def test_static_payload_types_of_l16() -> None:
    assert create("L16", 44100, 1).payload_type == 11
    assert create("L16", 44100, 2).payload_type == 10
    assert create("L16", 16000).payload_type is None


@pytest.mark.parametrize("name", [row[0] for row in supported()])
def test_silence_is_as_long_as_asked_and_silent(name: str) -> None:
    rate = next(row[1] for row in supported() if row[0] == name)
    codec = create(name, rate)
    pcm = codec.decode(codec.silence(160))
    assert len(pcm) == 320
    assert max(map(abs, array("h", pcm))) <= 8


def test_the_room_exports_what_it_says() -> None:
    assert all(hasattr(codecs, name) for name in codecs.__all__)
