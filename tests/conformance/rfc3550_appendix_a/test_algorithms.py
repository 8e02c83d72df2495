"""RFC 3550 appendix A: sequence numbers (A.1), RTCP validity (A.2), loss (A.3), jitter (A.8), each against the RFC's own C code
written again in Python as plainly as it stands there."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.errors import RemoteProtocolError
from flexosip.rtp.rtcp import Bye, ReceiverReport, SourceDescription, build_compound, parse_compound
from flexosip.rtp.statistics import ReceiveStatistics


class SourceOfTheRfc:
    """`source` with `update_seq` (MIN_SEQUENTIAL 0) and the jitter of A.8, as printed."""

    def __init__(self, sequence: int) -> None:
        self.init_seq(sequence)
        self.transit: int | None = None
        self.jitter = 0

    def init_seq(self, sequence: int) -> None:
        self.base_seq = self.max_seq = sequence
        self.bad_seq = (1 << 16) + 1
        self.cycles = 0
        self.received = 0

    def update_seq(self, sequence: int) -> bool:
        udelta = (sequence - self.max_seq) & 0xFFFF
        if udelta < 3000:
            if sequence < self.max_seq:
                self.cycles += 1 << 16
            self.max_seq = sequence
        elif udelta <= (1 << 16) - 100:
            if sequence == self.bad_seq:
                self.init_seq(sequence)
            else:
                self.bad_seq = (sequence + 1) & 0xFFFF
                return False
        self.received += 1
        return True

    def update_jitter(self, arrival: int, timestamp: int) -> None:
        transit = arrival - timestamp
        if self.transit is not None:
            d = abs(transit - self.transit)
            self.jitter += d - ((self.jitter + 8) >> 4)
        self.transit = transit


@given(st.integers(0, 0xFFFF), st.lists(st.one_of(st.integers(1, 5), st.integers(-103, 3003), st.integers(0, 0xFFFF)), max_size=60))
def test_a1_the_extended_highest_sequence_number_and_the_count_are_those_of_the_rfc(first: int, steps: list[int]) -> None:
    reference = SourceOfTheRfc(first)
    ours = ReceiveStatistics()
    sequence = first
    timestamp = 0
    for step in [0, *steps]:
        sequence = (sequence + step) & 0xFFFF
        timestamp += 160
        reference.update_seq(sequence)
        ours.update(sequence, timestamp, timestamp / 8000)
        assert ours.extended_highest == reference.cycles + reference.max_seq
        assert ours.packets == reference.received


def test_a1_two_packets_in_sequence_after_a_large_jump_restart_the_source() -> None:
    ours = ReceiveStatistics()
    for sequence in range(100, 110):
        assert ours.update(sequence, sequence * 160, sequence / 50)
    assert not ours.update(40000, 0, 3.0)
    assert ours.extended_highest == 109
    assert ours.update(40001, 160, 3.02)
    assert (ours.extended_highest, ours.packets, ours.expected) == (40001, 1, 1)


def test_a3_fraction_and_cumulative_loss_are_those_of_the_interval_and_of_all() -> None:
    ours = ReceiveStatistics()
    for sequence in range(100):
        if sequence % 4 != 1:
            ours.update(sequence, sequence * 160, sequence / 50)
    fraction, lost, highest, _ = ours.report() or (0, 0, 0, 0)
    assert (fraction, lost, highest) == (25 * 256 // 100, 25, 99)
    for sequence in range(100, 200):
        ours.update(sequence, sequence * 160, sequence / 50)
    assert (ours.report() or ())[:2] == (0, 25)


def test_a3_loss_is_negative_with_duplicates_and_its_fraction_then_zero() -> None:
    ours = ReceiveStatistics()
    for sequence in range(10):
        ours.update(sequence, sequence * 160, sequence / 50)
        ours.update(sequence, sequence * 160, sequence / 50)
    assert (ours.report() or ())[:2] == (0, -10)


def test_a3_a_source_that_sent_nothing_since_the_last_report_has_no_block() -> None:
    ours = ReceiveStatistics()
    assert ours.report() is None
    ours.update(1, 160, 0.0)
    assert ours.report() is not None
    assert ours.report() is None


@pytest.mark.parametrize("clock_rate", [8000, 16000, 48000])
@pytest.mark.parametrize("start", [0, 0xFFFFFF00])
def test_a8_the_jitter_is_that_of_the_integer_code_of_the_rfc(clock_rate: int, start: int) -> None:
    rng = random.Random(clock_rate + start)
    ours = ReceiveStatistics(clock_rate)
    reference: SourceOfTheRfc | None = None
    for index in range(500):
        timestamp = start + index * clock_rate // 50
        arrival = 1000.0 + index / 50 + rng.random() * 0.03
        ticks = int(arrival * clock_rate)
        reference = reference or SourceOfTheRfc(0)
        # The reference counts without wrap: 32-bit arithmetic of the real thing must give the same.
        reference.update_jitter(ticks, timestamp)
        ours.update(index, timestamp & 0xFFFFFFFF, arrival)
        assert ours.jitter_ticks == reference.jitter >> 4
    assert 0.005 < ours.jitter < 0.015


def test_a2_a_packet_that_is_longer_than_the_datagram_makes_all_of_it_invalid() -> None:
    good = build_compound((ReceiverReport(1), SourceDescription(((1, ((1, b"x"),)),))))
    assert len(parse_compound(good)) == 2
    for cut in range(1, len(good)):
        if cut != 8:
            with pytest.raises(RemoteProtocolError):
                parse_compound(good[:cut])


def test_a2_the_version_is_2_in_every_packet() -> None:
    good = bytearray(build_compound((ReceiverReport(1), Bye((1,)))))
    good[8] &= 0x3F
    with pytest.raises(RemoteProtocolError):
        parse_compound(bytes(good))


def test_a2_padding_is_on_the_last_packet_only() -> None:
    padded = bytearray(bytes(ReceiverReport(1)) + b"\x00\x00\x00\x04")
    padded[0] |= 0x20
    padded[3] += 1
    assert parse_compound(bytes(padded)) == [ReceiverReport(1)]
    with pytest.raises(RemoteProtocolError):
        parse_compound(bytes(padded) + bytes(Bye((1,))))
