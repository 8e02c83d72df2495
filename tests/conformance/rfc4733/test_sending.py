"""RFC 4733: what a sender of events puts on the wire, rule by rule."""

from __future__ import annotations

import pytest

from flexosip.rtp.telephone_event import TelephoneEventSender

Packet = tuple[int, int, int, int, bool, int]


def wire(digits: str, *, clock_rate: int = 8000, duration: float = 0.1, gap: float = 0.06, volume: int = 10) -> list[Packet]:
    """(tick, marker, timestamp, event, end, duration) of each packet; the stream's clock starts at 1000."""
    sender = TelephoneEventSender(101, clock_rate, duration=duration, gap=gap, volume=volume)
    sender.send(digits)
    packets: list[Packet] = []
    tick = 0
    while sender.busy:
        for marker, timestamp, payload in sender.tick(1000 + tick * clock_rate // 50):
            assert len(payload) == 4
            assert payload[1] & 0x7F == volume
            packets.append((tick, marker, timestamp, payload[0], bool(payload[1] & 0x80), payload[2] << 8 | payload[3]))
        tick += 1
    return packets


def test_all_packets_of_an_event_carry_the_timestamp_of_its_begin() -> None:
    assert {timestamp for _, _, timestamp, _, _, _ in wire("7")} == {1000}


def test_the_marker_is_on_the_first_packet_only() -> None:
    assert [marker for _, marker, *_ in wire("7")] == [1, 0, 0, 0, 0, 0, 0]


def test_the_duration_rises_by_the_packet_time() -> None:
    assert [duration for *_, duration in wire("7")] == [160, 320, 480, 640, 800, 800, 800]


def test_the_final_packet_is_sent_three_times_with_the_same_duration() -> None:
    final = [(end, duration) for *_, end, duration in wire("7") if end]
    assert final == [(True, 800)] * 3


def test_the_durations_are_in_the_clock_of_the_stream() -> None:
    assert [duration for *_, duration in wire("7", clock_rate=48000)][-1] == 4800


def test_a_press_that_is_no_whole_number_of_packets_ends_with_its_exact_duration() -> None:
    assert [duration for *_, duration in wire("7", duration=0.11)] == [160, 320, 480, 640, 800, 880, 880, 880]


@pytest.mark.parametrize("gap", [0.04, 0.05, 0.06, 0.1])
def test_the_next_press_begins_at_least_the_gap_after_the_end_of_the_last(gap: float) -> None:
    packets = wire("77", gap=gap)
    first, second = sorted({timestamp for _, _, timestamp, *_ in packets})
    pause = (second - first - 800) / 8000
    assert gap - 1e-9 <= pause <= gap + 0.04


def test_the_next_press_has_a_timestamp_behind_the_end_of_the_last() -> None:
    stamps = [(timestamp, duration) for _, _, timestamp, _, end, duration in wire("1234") if end]
    for (begin, duration), (following, _) in zip(stamps, stamps[3:], strict=False):
        assert following >= begin + duration


def test_an_event_longer_than_65535_ticks_goes_on_in_a_segment_with_its_own_timestamp_and_no_marker() -> None:
    packets = wire("9", duration=20.0)
    stamps = sorted({timestamp for _, _, timestamp, *_ in packets})
    assert stamps == [1000, 1000 + 0xFFFF, 1000 + 2 * 0xFFFF]
    assert sum(marker for _, marker, *_ in packets) == 1
    for begin in stamps[:-1]:
        of_segment = [(end, duration) for _, _, timestamp, _, end, duration in packets if timestamp == begin]
        assert of_segment[-1] == (False, 0xFFFF)
    final = [(timestamp, duration) for _, _, timestamp, _, end, duration in packets if end]
    assert final == [(stamps[-1], 20 * 8000 - 2 * 0xFFFF)] * 3


def test_events_have_the_codes_of_the_registry() -> None:
    events = list(dict.fromkeys(event for _, _, _, event, _, _ in wire("0123456789*#ABCD!")))
    assert events == list(range(17))


def test_no_two_packets_go_in_one_packet_time_except_at_a_segment() -> None:
    ticks = [tick for tick, *_ in wire("12")]
    assert len(ticks) == len(set(ticks))
