"""The RTCP session: its timetable, its reports, and what it learns from the peer's."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from flexosip.rtp.rtcp import Bye, ReceiverReport, ReportBlock, SenderReport, SourceDescription, build_compound, parse_compound
from flexosip.rtp.rtcp_session import RtcpSession
from flexosip.rtp.statistics import ReceiveStatistics


def session(ssrc: int = 1, *, now: float = 0.0, seed: int = 1, wall_offset: float = 0.0) -> RtcpSession:
    return RtcpSession(ssrc, "x7f@host", ReceiveStatistics(), random=random.Random(seed), now=now, wall_offset=wall_offset)


def hear(receiver: RtcpSession, ssrc: int, count: int, *, first: int = 0) -> None:
    receiver.remote_ssrc = ssrc
    for index in range(first, first + count):
        receiver.received.update(index, index * 160, index / 50)


def test_intervals_are_random_between_half_and_one_and_a_half_of_five_seconds() -> None:
    ours = session()
    times = [ours.next_timeout()]
    assert 1.25 <= times[0] <= 3.75
    for _ in range(300):
        assert ours.poll_report(times[-1] - 0.001, 0) is None
        assert ours.poll_report(times[-1], 0) is not None
        times.append(ours.next_timeout())
    waits = [after - before for before, after in pairwise(times)]
    assert min(waits) >= 2.5
    assert max(waits) <= 7.5
    assert 4.7 < sum(waits) / len(waits) < 5.3
    assert len(set(waits)) > 200


def test_who_has_not_sent_makes_a_receiver_report_with_cname() -> None:
    report, description = parse_compound(session(7).create_report(1.0, 0))
    assert report == ReceiverReport(7)
    assert isinstance(description, SourceDescription)
    assert description.cname(7) == "x7f@host"


def test_who_sends_makes_a_sender_report_until_two_intervals_after_the_last_packet() -> None:
    ours = session(7)
    ours.packets_sent, ours.octets_sent = 50, 8000
    kinds = [type(parse_compound(ours.create_report(at, 4000))[0]).__name__ for at in (5.0, 10.0, 15.0)]
    assert kinds == ["SenderReport", "SenderReport", "ReceiverReport"]


def test_the_sender_report_has_the_counts_and_both_clocks() -> None:
    ours = session(7, wall_offset=1_700_000_000.0)
    ours.packets_sent, ours.octets_sent = 50, 8000
    report = parse_compound(ours.create_report(2.5, 0x1_0000_0005))[0]
    assert isinstance(report, SenderReport)
    assert (report.packets, report.octets, report.rtp_timestamp) == (50, 8000, 5)
    assert report.ntp_time / 2**32 == pytest.approx(1_700_000_002.5 + 2208988800, abs=1e-3)


def test_the_block_tells_loss_and_the_time_since_the_senders_report() -> None:
    theirs, ours = session(2), session(1)
    hear(ours, 2, 50)
    hear(ours, 2, 40, first=60)
    theirs.packets_sent = 90
    sent = theirs.create_report(3.0, 0)
    assert ours.receive(sent, 3.1)
    (block,) = parse_compound(ours.create_report(4.1, 0))[0].blocks  # type: ignore[union-attr]
    assert (block.ssrc, block.lost, block.fraction_lost, block.highest_sequence) == (2, 10, 10 * 256 // 100, 99)
    assert block.delay_since == 65536
    assert block.last_sender_report == (parse_compound(sent)[0].ntp_time >> 16) & 0xFFFFFFFF  # type: ignore[union-attr]


def test_the_round_trip_is_measured_between_two_sessions() -> None:
    here, there = session(1, wall_offset=1e9), session(2, wall_offset=5e8)
    hear(here, 2, 10)
    hear(there, 1, 10)
    here.packets_sent = 10
    assert there.receive(here.create_report(10.0, 0), 10.03)
    assert here.receive(there.create_report(12.0, 0), 12.05)
    # 30 ms one way, 50 ms the other; the clocks of the two have nothing in common.
    assert here.round_trip == pytest.approx(0.08, abs=0.001)
    assert here.remote_fraction_lost == 0.0
    assert here.remote_lost == 0
    assert here.remote_cname == "x7f@host"


@pytest.mark.parametrize("last", [1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_block_with_times_that_cannot_be_gives_no_round_trip(last: int) -> None:
    ours = session(1)
    for delay in (0, 0xFFFFFFFF):
        ours.receive(build_compound((ReceiverReport(2, (ReportBlock(1, 0, 0, 0, 0, last, delay),)),)), 1000.0)
    assert ours.round_trip is None or 0 <= ours.round_trip <= 60


def test_blocks_about_others_are_passed_over() -> None:
    ours = session(1)
    ours.receive(build_compound((ReceiverReport(2, (ReportBlock(99, 128, 5, 0, 0),)),)), 1.0)
    assert ours.remote_fraction_lost is None


def test_damaged_datagrams_change_nothing_and_are_counted() -> None:
    ours = session(1)
    hear(ours, 2, 1)
    assert not ours.receive(build_compound((Bye((2,)),)) + b"\x81", 1.0)
    assert not ours.receive(b"\x00\x01\x02\x03", 1.0)
    assert (ours.damaged, ours.bye_received) == (2, False)


def test_bye_of_the_peers_source_is_noted_and_that_of_others_is_not() -> None:
    ours = session(1)
    hear(ours, 2, 1)
    ours.receive(build_compound((Bye((3,)),)), 1.0)
    assert not ours.bye_received
    ours.receive(build_compound((Bye((2,), "done"),)), 1.0)
    assert ours.bye_received


def test_our_bye_is_a_compound_with_report_and_cname() -> None:
    packets = parse_compound(session(5).create_bye(9.0, 0, "call over"))
    assert [type(packet).__name__ for packet in packets] == ["ReceiverReport", "SourceDescription", "Bye"]
    assert packets[-1] == Bye((5,), "call over")
