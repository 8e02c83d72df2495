"""The engine as a whole: groups, faults, the end of streams, RTCP."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import Any

import pytest

from flexosip.audio.sources import Tone
from flexosip.media.events import PlaybackEnded, StreamClosed, StreamFailed
from flexosip.media.groups import FULL
from flexosip.media.sender import Sender
from flexosip.rtp.rtcp import Bye, ReceiverReport, SenderReport, SourceDescription, parse_compound
from tests.unit.media.stage import PEER, Peer, Stage, settings


def rtcp(sent: list[tuple[float, bytes, Any]]) -> list[tuple[float, list[Any]]]:
    return [(at, parse_compound(data)) for at, data, _ in sent]


# -- groups -------------------------------------------------------------------------------------------------------


def test_a_few_streams_share_one_wake_up() -> None:
    stage = Stage()
    for _ in range(10):
        stage.open(settings())
        stage.run(0.0137)
    stage.run(1.0)
    assert stage.engine.statistics().groups == 1
    before = stage.engine.statistics().ticks
    stage.run(1.0)
    assert stage.engine.statistics().ticks - before == pytest.approx(50, abs=1)


def test_many_streams_spread_over_the_packet_time() -> None:
    stage = Stage()
    opened = [stage.open(settings()) for _ in range(10 * FULL + 30)]
    stage.run(1.0)
    counts = Counter(round(one.rtp.times[-1] % 0.02, 4) for one in opened)
    assert stage.engine.statistics().groups == 10
    assert max(counts.values()) <= FULL + 4
    for one in opened:
        assert len(one.rtp.times) == pytest.approx(50, abs=1)


def test_without_a_stream_there_is_no_wake_up() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    one.stream.close()
    stage.run(0.1)
    assert stage.engine.statistics().groups == 0
    assert stage.scheduler.next_timeout() is None
    assert not stage.engine.running


def test_a_stream_that_is_open_but_not_configured_costs_nothing() -> None:
    stage = Stage()
    one = stage.open()
    stage.run(0.1)
    assert stage.scheduler.next_timeout() is None
    one.stream.close()
    stage.run(0.0)
    assert isinstance(one.events[-1], StreamClosed)
    assert one.rtp.closed
    assert one.rtcp.closed


def test_an_idle_engine_begins_at_once_when_a_stream_comes() -> None:
    stage = Stage()
    stage.run(12.345)
    one = stage.open(settings())
    stage.run(0.0)
    assert one.rtp.times == [pytest.approx(112.345, abs=1e-5)]


# -- faults -------------------------------------------------------------------------------------------------------


def test_a_fault_in_one_stream_stays_there(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    one, two, three = (stage.open(settings()) for _ in range(3))
    stage.run(0.1)
    broken = stage.engine._core.channels[two.stream.id].sender
    original = Sender.tick

    def tick(self: Sender, echo: bytes | None) -> None:
        if self is broken:
            raise ZeroDivisionError("a fault of ours")
        original(self, echo)

    monkeypatch.setattr(Sender, "tick", tick)
    with caplog.at_level(logging.ERROR):
        stage.run(2.0)
    assert len(one.rtp.sent) == len(three.rtp.sent) == pytest.approx(106, abs=1)
    assert [event.error for event in two.told(StreamFailed)] == ["ZeroDivisionError: a fault of ours"] * 2
    assert stage.engine.statistics().failures == pytest.approx(100, abs=1)
    assert len(caplog.records) == 2
    assert not one.told(StreamFailed)
    monkeypatch.undo()
    stage.run(0.2)
    assert two.rtp.sent[-1][0] == pytest.approx(stage.scheduler.now, abs=0.021)


def test_an_event_handler_that_fails_keeps_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    one = stage.open(settings())

    def handler(event: object) -> None:
        one.events.append(event)  # type: ignore[arg-type]
        raise RuntimeError("in the user's code")

    one.stream._on_event = handler
    one.stream.play(1, Tone(440, duration=0.1))
    stage.run(0.5)
    assert [type(event).__name__ for event in one.events] == ["PlaybackStarted", "PlaybackEnded"]
    assert "in the user's code" in caplog.text


def test_commands_after_the_end_are_harmless() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440))
    stage.run(0.1)
    one.stream.close()
    one.stream.close()
    one.stream.stop()
    one.stream.stop_recording(7)
    one.stream.stop_digits()
    stage.run(0.1)
    assert len(one.told(StreamClosed)) == 1
    assert one.told(PlaybackEnded)[0].completed is False
    assert one.stream.statistics() == one.events[-1].statistics  # type: ignore[union-attr]


def test_opening_and_closing_many_streams_leaves_nothing() -> None:
    stage = Stage()
    for _ in range(20):
        opened = [stage.open(settings()) for _ in range(50)]
        stage.run(0.05)
        for one in opened:
            one.stream.close()
        stage.run(0.03)
    assert not stage.wire.sockets
    assert stage.engine.statistics().closed == stage.engine.statistics().opened == 1000
    assert not stage.engine._core.channels
    assert not stage.engine._streams


# -- RTCP ---------------------------------------------------------------------------------------------------------


def test_reports_come_at_irregular_intervals_of_about_five_seconds() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(61.0)
    times = [at for at, _ in rtcp(one.rtcp.sent)]
    assert 1.25 <= times[0] - 100 <= 3.8
    intervals = [after - before for before, after in itertools.pairwise(times)]
    assert all(2.4 <= interval <= 7.6 for interval in intervals)
    assert len({round(interval, 2) for interval in intervals}) > 5
    assert {address for _, _, address in one.rtcp.sent} == {(PEER[0], PEER[1] + 1)}


def test_a_report_counts_what_was_sent_and_names_us() -> None:
    stage = Stage()
    one = stage.open(settings(cname="bell@house"))
    stage.run(9.0)
    at, packets = rtcp(one.rtcp.sent)[-1]
    report, description = packets
    assert isinstance(report, SenderReport)
    assert isinstance(description, SourceDescription)
    sent = [packet for moment, packet in zip(one.rtp.times, one.rtp.packets, strict=True) if moment <= at + 1e-5]
    assert (report.ssrc, report.packets, report.octets) == (sent[0].ssrc, len(sent), 160 * len(sent))
    assert (report.rtp_timestamp - sent[-1].timestamp) & 0xFFFFFFFF == 160
    assert description.cname(report.ssrc) == "bell@house"


def test_who_only_listens_sends_receiver_reports_about_the_other() -> None:
    stage = Stage()
    one = stage.open(settings(direction="recvonly"))
    Peer(stage, one).talk([b"\xd5" * 160] * 500)
    report = rtcp(one.rtcp.sent)[-1][1][0]
    assert isinstance(report, ReceiverReport)
    assert report.blocks[0].ssrc == 0x1234


def test_the_round_trip_is_known_on_both_sides() -> None:
    stage = Stage()
    one, two = stage.pair()
    stage.run(30.0)
    for stream in (one.stream, two.stream):
        round_trip = stream.statistics().round_trip
        assert round_trip is not None
        assert 0 <= round_trip <= 0.041  # this wire delivers at once, at the other side's next tick
        assert stream.statistics().rtcp_received > 3


def test_losses_are_reported_to_the_sender() -> None:
    stage = Stage()
    one, two = stage.pair()
    stage.run(1.0)
    for _ in range(1000):
        stage.run(0.02)
        if stage.scheduler.now % 0.2 < 0.02 and two.rtp.inbox:
            two.rtp.inbox.pop()
    assert two.stream.statistics().lost > 20
    assert one.stream.statistics().remote_lost == pytest.approx(two.stream.statistics().lost, abs=40)
    assert two.stream.statistics().fraction_lost == pytest.approx(0.1, abs=0.08)


def test_the_end_is_told_with_bye() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(1.0)
    one.stream.close()
    stage.run(0.1)
    _, packets = rtcp(one.rtcp.sent)[-1]
    assert any(isinstance(packet, Bye) and packet.ssrcs == (one.rtp.packets[0].ssrc,) for packet in packets)


def test_bye_of_the_other_side_ends_nothing() -> None:
    stage = Stage()
    one, two = stage.pair()
    stage.run(1.0)
    two.stream.close()
    stage.run(1.0)
    assert not one.told(StreamClosed)
    assert len(one.rtp.sent) == pytest.approx(100, abs=2)


def test_reports_of_a_stranger_are_not_read() -> None:
    stage = Stage()
    one, two = stage.pair()
    stage.run(10.0)
    known = one.stream.statistics().rtcp_received
    for _, data, _ in list(two.rtcp.sent):
        one.rtcp.inbox.append((data, ("203.0.113.66", 6667)))
    stage.run(0.1)
    assert one.stream.statistics().rtcp_received == known
    assert one.stream.statistics().discarded_by_source == len(two.rtcp.sent)


def test_rtcp_on_the_port_of_rtp_is_garbage_not_sound() -> None:
    stage = Stage()
    one, two = stage.pair()
    stage.run(10.0)
    for _, data, _ in list(two.rtcp.sent):
        one.rtp.inbox.append((data, two.address))
    stage.run(0.1)
    assert one.stream.statistics().garbage == len(two.rtcp.sent)
    assert one.stream.statistics().concealed == 0
