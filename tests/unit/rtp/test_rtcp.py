"""RTCP packets: built, parsed, and damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.errors import RemoteProtocolError
from flexosip.rtp.rtcp import Bye, OtherPacket, ReceiverReport, ReportBlock, SenderReport, SourceDescription, build_compound, parse_compound

Built = SenderReport | ReceiverReport | SourceDescription | Bye
CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus" / "aiortc"

u32 = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(st.builds(ReportBlock, u32, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32), max_size=31).map(
    tuple
)
items = st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=60)), max_size=4).map(tuple)
any_packet = st.one_of(
    st.builds(SenderReport, u32, st.integers(0, 2**64 - 1), u32, u32, u32, blocks),
    st.builds(ReceiverReport, u32, blocks),
    st.builds(SourceDescription, st.lists(st.tuples(u32, items), max_size=4).map(tuple)),
    st.builds(Bye, st.lists(u32, max_size=31).map(tuple), st.text(max_size=40)),
)


@given(st.lists(any_packet, min_size=1, max_size=3))
def test_what_is_built_is_parsed_again(packets: list[Built]) -> None:
    data = build_compound(packets)
    assert len(data) % 4 == 0
    if len(data) <= 4096:
        assert parse_compound(data) == packets


@given(st.binary(max_size=300))
def test_any_octets_are_rtcp_or_refused(data: bytes) -> None:
    try:
        packets = parse_compound(data)
    except RemoteProtocolError:
        return
    assert packets


@given(any_packet, st.data())
def test_one_changed_octet_never_raises_anything_else(packet: Built, data: st.DataObject) -> None:
    octets = bytearray(bytes(packet))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        parse_compound(bytes(octets))


def test_corpus() -> None:
    if not CORPUS.exists():
        pytest.skip(f"absent: {CORPUS}")
    paths = sorted(CORPUS.glob("rtcp_*.bin"))
    assert len(paths) == 15
    for path in paths:
        data = path.read_bytes()
        if "invalid" in path.name or "truncated" in path.name:
            with pytest.raises(RemoteProtocolError):
                parse_compound(data)
        else:
            assert parse_compound(data)


def test_corpus_sender_report_is_read_right() -> None:
    path = CORPUS / "rtcp_sr.bin"
    if not path.exists():
        pytest.skip(f"absent: {path}")
    (report,) = parse_compound(path.read_bytes())
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.packets, report.octets) == (1831097322, 269, 13557)
    assert report.blocks[0].ssrc == 2398654957
    assert bytes(report) == path.read_bytes()


def test_unknown_types_are_kept_unread() -> None:
    assert parse_compound(b"\x80\xcf\x00\x01abcd") == [OtherPacket(207, 0, b"abcd")]


def test_a_compound_of_a_thousand_packets_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        parse_compound(bytes(Bye(())) * 1000)


def test_the_cname_is_found_by_source() -> None:
    description = SourceDescription(((1, ((2, b"name"), (1, b"a@b"))), (2, ((1, b"c@d"),))))
    assert (description.cname(1), description.cname(2), description.cname(3)) == ("a@b", "c@d", "")


def test_more_than_31_blocks_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="31"):
        bytes(Bye(tuple(range(32))))
