"""Digits as telephone events: exact on the wire, sound suspended meanwhile. RFC 4733."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flexosip.audio.sources import Tone
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media.events import DigitReceived, DigitsSent, PlaybackEnded
from flexosip.rtp.packet import RtpPacket
from tests.unit.media.stage import Open, Stage, settings


def events_of(one: Open) -> list[tuple[float, RtpPacket]]:
    return [(at, packet) for at, packet in zip(one.rtp.times, one.rtp.packets, strict=True) if packet.payload_type == 101]


def test_one_press_has_one_timestamp_one_marker_rising_durations_and_three_ends() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    one.stream.send_digits("5")
    stage.run(1.0)
    packets = [packet for _, packet in events_of(one)]
    assert len({packet.timestamp for packet in packets}) == 1
    assert [packet.marker for packet in packets] == [True] + [False] * (len(packets) - 1)
    assert {packet.payload[0] for packet in packets} == {5}
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in packets]
    assert durations == [160, 320, 480, 640, 800, 800, 800]
    assert [packet.payload[1] >> 7 for packet in packets] == [0, 0, 0, 0, 1, 1, 1]
    assert len(one.told(DigitsSent)) == 1


def test_sequence_numbers_and_timestamps_are_those_of_the_stream() -> None:
    stage = Stage()
    one = stage.open(settings())
    stage.run(0.1)
    one.stream.send_digits("5")
    stage.run(1.0)
    packets = one.rtp.packets
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(packets))
    first = next(index for index, packet in enumerate(packets) if packet.payload_type == 101)
    assert (packets[first].timestamp - packets[first - 1].timestamp) & 0xFFFFFFFF == 160
    sound = [(at, packet.timestamp) for at, packet in zip(one.rtp.times, packets, strict=True) if packet.payload_type == 8]
    assert all((b[1] - a[1]) & 0xFFFFFFFF == round((b[0] - a[0]) * 8000) for a, b in pairwise(sound))


def test_sound_is_suspended_while_a_key_is_held_and_nothing_of_it_is_lost() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440, duration=1.0))
    stage.run(0.3)
    one.stream.send_digits("12")
    stage.run(2.0)
    begin, end = events_of(one)[0][0], events_of(one)[-1][0]
    between = [
        packet.payload for at, packet in zip(one.rtp.times, one.rtp.packets, strict=True) if begin < at < end and packet.payload_type == 8
    ]
    assert set(between) <= {b"\xd5" * 160}
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, 1.0, True)]
    sounding = [packet for packet in one.rtp.packets if packet.payload_type == 8 and packet.payload != b"\xd5" * 160]
    assert len(sounding) == 50


def test_the_gap_between_two_keys_is_at_least_forty_milliseconds() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.send_digits("11")
    stage.run(1.0)
    packets = events_of(one)
    starts = [at for at, packet in packets if packet.marker]
    assert len(starts) == 2
    assert starts[1] - (starts[0] + 0.1) >= 0.04 - 1e-4


def test_w_waits_half_a_second_in_which_sound_goes_on() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.play(1, Tone(440))
    one.stream.send_digits("1w2")
    stage.run(2.0)
    starts = [at for at, packet in events_of(one) if packet.marker]
    assert starts[1] - starts[0] == pytest.approx(0.1 + 0.06 + 0.5, abs=0.05)
    middle = (starts[0] + starts[1]) / 2
    heard = [packet.payload for at, packet in zip(one.rtp.times, one.rtp.packets, strict=True) if middle < at < starts[1]]
    assert heard
    assert all(payload != b"\xd5" * 160 for payload in heard[:5])


def test_duration_and_gap_of_the_user() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.send_digits("11", duration=0.2, gap=0.3)
    stage.run(2.0)
    starts = [at for at, packet in events_of(one) if packet.marker]
    assert starts[1] - starts[0] == pytest.approx(0.5, abs=0.021)


def test_digits_cross_from_stream_to_stream() -> None:
    stage = Stage()
    one, two = stage.pair()
    one.stream.send_digits("0123456789*#ABCD")
    two.stream.send_digits("99")
    stage.run(5.0)
    assert "".join(event.digit for event in two.told(DigitReceived)) == "0123456789*#ABCD"
    assert "".join(event.digit for event in one.told(DigitReceived)) == "99"
    assert one.stream.statistics().digits_sent == 16
    assert one.stream.statistics().concealed == 0


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
def test_digits_at_other_packet_times(ptime_ms: int) -> None:
    stage = Stage()
    one, two = stage.pair(ptime_ms=ptime_ms)
    one.stream.send_digits("42#")
    stage.run(4.0)
    assert "".join(event.digit for event in two.told(DigitReceived)) == "42#"


def test_forgotten_digits_are_not_sent_and_the_present_one_ends_as_it_should() -> None:
    stage = Stage()
    one, two = stage.pair()
    one.stream.send_digits("123456")
    stage.run(0.05)
    one.stream.stop_digits()
    stage.run(2.0)
    assert "".join(event.digit for event in two.told(DigitReceived)) == "1"
    assert len(one.told(DigitsSent)) == 1


def test_digits_that_are_all_forgotten_are_told_as_done() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.send_digits("1")
    one.stream.stop_digits()
    stage.run(0.5)
    assert not events_of(one)
    assert len(one.told(DigitsSent)) == 1


def test_digits_end_when_the_other_side_takes_no_events_any_more() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.send_digits("123456")
    stage.run(0.1)
    one.stream.configure(settings(send_event_payload_type=None))
    stage.run(0.5)
    assert len(one.told(DigitsSent)) == 1


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    stage = Stage()
    one = stage.open(settings())
    with pytest.raises(ConfigurationError):
        one.stream.send_digits("12x")
    with pytest.raises(ConfigurationError):
        one.stream.send_digits("1", duration=0.01)
    one.stream.configure(settings(send_event_payload_type=None))
    with pytest.raises(MediaError, match="telephone events"):
        one.stream.send_digits("1")
    stage.run(0.5)
    assert not events_of(one)
