"""A stream that goes on over other sockets, and one that only keeps its way through a NAT open."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flexosip.audio.sources import Tone
from flexosip.media.settings import StreamSettings
from tests.unit.media.stage import Peer, Stage, alaw, settings


def test_after_a_move_the_stream_goes_on_where_it_was() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440), loop=True)
    stage.run(1.0)
    new_rtp, new_rtcp = stage.wire.socket(("192.0.2.2", 30000)), stage.wire.socket(("192.0.2.2", 30001))
    one.stream.move(new_rtp, new_rtcp)
    stage.run(1.0)
    packets = [*one.rtp.packets, *new_rtp.packets]
    assert len(new_rtp.packets) >= 49
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 and b.ssrc == a.ssrc for a, b in pairwise(packets))
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 160 for a, b in pairwise(packets))
    assert one.rtp.closed and one.rtcp.closed


def test_what_comes_to_the_new_sockets_is_heard_and_reports_leave_from_there() -> None:
    stage = Stage()
    one = stage.open(settings())
    new_rtp, new_rtcp = stage.wire.socket(("192.0.2.2", 30000)), stage.wire.socket(("192.0.2.2", 30001))
    one.stream.move(new_rtp, new_rtcp)
    stage.run(0.1)
    one.rtp = new_rtp
    Peer(stage, one).talk([alaw(bytes(320))] * 50)
    stage.run(10)
    assert one.stream.statistics().packets_received == 50
    assert new_rtcp.sent and not one.rtcp.sent
    one.stream.close()
    stage.run(0.1)
    assert new_rtp.closed and new_rtcp.closed


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_a_stream_that_may_not_send_sends_an_empty_packet_of_an_unknown_type_every_fifteen_seconds(direction: str) -> None:
    stage = Stage()
    one = stage.open(settings(direction=direction))
    stage.run(61)
    packets = one.rtp.packets
    assert len(packets) == 4
    assert {(packet.payload_type, packet.payload, packet.marker) for packet in packets} == {(127, b"", False)}
    assert all(b - a == pytest.approx(15, abs=0.021) for a, b in pairwise(one.rtp.times))
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(packets))


def test_the_unknown_type_is_none_that_was_agreed() -> None:
    stage = Stage()
    taken = settings(direction="recvonly", send_event_payload_type=127, receive_event_payload_types=frozenset((126,)))
    one = stage.open(taken)
    stage.run(16)
    assert [packet.payload_type for packet in one.rtp.packets] == [125]


@pytest.mark.parametrize("remote", [("0.0.0.0", 7000), ("", 0), ("::", 7000)])
def test_who_has_no_address_gets_nothing(remote: tuple[str, int]) -> None:
    stage = Stage()
    quiet: StreamSettings = settings(remote, direction="inactive")
    one = stage.open(quiet)
    stage.run(61)
    assert one.rtp.sent == []


def test_a_stream_that_sends_needs_no_further_packets() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(31)
    assert {packet.payload_type for packet in one.rtp.packets} == {8}
