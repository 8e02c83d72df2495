"""RTP headers: what is one, what is not, and that parsing and building are inverse."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.errors import RemoteProtocolError
from flexosip.rtp.packet import MAX_PACKET, RtpHeader, RtpPacket, build_packet, is_rtcp, parse_header

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none() | st.tuples(st.integers(0, 0xFFFF), st.integers(0, 20).map(lambda words: b"wxyz" * words)),
    padding=st.integers(0, 255),
)


@given(packets)
def test_what_is_built_is_parsed_again(packet: RtpPacket) -> None:
    data = bytes(packet)
    assert RtpPacket.parse(data) == packet
    header = parse_header(data)
    assert header is not None
    fields = RtpHeader(*header)
    assert data[fields.start : fields.end] == packet.payload
    assert (fields.sequence, fields.timestamp, fields.ssrc) == (packet.sequence, packet.timestamp, packet.ssrc)


@given(st.binary(max_size=200))
def test_any_octets_are_a_packet_or_refused(data: bytes) -> None:
    header = parse_header(data)
    if header is None:
        with pytest.raises(RemoteProtocolError):
            RtpPacket.parse(data)
    else:
        fields = RtpHeader(*header)
        assert 12 <= fields.start <= fields.end <= len(data)
        assert RtpPacket.parse(data).payload == data[fields.start : fields.end]


def test_the_fast_builder_and_the_packet_agree() -> None:
    fast = build_packet(8, 1, 65535, 0xFFFFFFFF, 1, b"abc")
    assert fast == bytes(RtpPacket(8, 65535, 0xFFFFFFFF, 1, b"abc", marker=True))
    assert parse_header(fast) == (8, 1, 65535, 0xFFFFFFFF, 1, 12, 15)


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0),
        RtpPacket(0, 65536, 0, 0),
        RtpPacket(0, 0, 1 << 32, 0),
        RtpPacket(0, 0, 0, -1),
        RtpPacket(0, 0, 0, 0, csrcs=tuple(range(16))),
        RtpPacket(0, 0, 0, 0, extension=(1, b"abc")),
        RtpPacket(0, 0, 0, 0, padding=256),
    ],
)
def test_fields_out_of_range_are_refused(packet: RtpPacket) -> None:
    with pytest.raises(ValueError, match=r"."):
        bytes(packet)


def test_a_packet_too_long_to_be_sound_is_no_packet() -> None:
    assert parse_header(build_packet(8, 0, 1, 1, 1, bytes(MAX_PACKET - 12))) is not None
    assert parse_header(build_packet(8, 0, 1, 1, 1, bytes(MAX_PACKET - 11))) is None


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("cc15-truncated", False),
        ("dtls-on-rtp-port", False),
        ("empty-payload", True),
        ("ext-len-too-long", False),
        ("jumbo-9000", False),
        ("pad-too-big", False),
        ("pad-zero", False),
        ("rtcp-on-rtp-port", True),
        ("short-11", False),
        ("stun-on-rtp-port", False),
        ("v1", False),
        ("zrtp-hello", False),
    ],
)
def test_corpus_of_broken_headers(name: str, accepted: bool) -> None:
    path = CORPUS / "rtp-made" / f"{name}.rtp1"
    if not path.exists():
        pytest.skip(f"absent: {path}")
    data = path.read_bytes()
    assert (parse_header(data) is not None) == accepted
    assert is_rtcp(data) == (name == "rtcp-on-rtp-port")


@pytest.mark.parametrize(
    ("name", "payload", "csrcs", "padding"),
    [("rtp", 160, 0, 0), ("rtp_with_csrc", 160, 2, 0), ("rtp_only_padding", 0, 0, 224),
     ("rtp_only_padding_with_header_extensions", 0, 0, 224),
     ("rtp_with_sdes_mid", None, 0, 0), ("rtp_dtmf", 4, 0, 0)],
)  # fmt: skip
def test_corpus_of_good_packets(name: str, payload: int | None, csrcs: int, padding: int) -> None:
    path = CORPUS / "aiortc" / f"{name}.bin"
    if not path.exists():
        pytest.skip(f"absent: {path}")
    data = path.read_bytes()
    packet = RtpPacket.parse(data)
    assert bytes(packet) == data or packet.padding
    assert (len(packet.csrcs), packet.padding) == (csrcs, padding)
    assert payload is None or len(packet.payload) == payload
