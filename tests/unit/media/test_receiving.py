"""What comes in: sound, digits, strangers and garbage."""

from __future__ import annotations

from random import Random

import pytest

from flexosip.audio.levels import find_gaps, level, tone_level
from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.codecs import create
from flexosip.media.events import DigitReceived, FrameCaptured, MediaStarted, MediaTimeout, SourceLearned, StreamFailed
from flexosip.media.polling import MAX_BACKLOG
from tests.unit.media.stage import L16, PCMA, PEER, Open, Peer, Stage, alaw, frames, settings

STRANGER = ("203.0.113.66", 6666)


def listening(**changes: object) -> tuple[Stage, Open, Peer]:
    stage = Stage()
    one = stage.open(settings(**changes))
    one.stream.capture(True)
    return stage, one, Peer(stage, one)


def heard(one: Open) -> bytes:
    return b"".join(event.pcm for event in one.told(FrameCaptured))


def tone(hz: float, seconds: float = 1.0) -> bytes:
    return tone_pcm(Tone(hz, duration=seconds), 8000)


def test_what_is_sent_is_heard_bit_by_bit() -> None:
    stage, one, peer = listening()
    generator = Random(3)
    sound = bytes(generator.randrange(256) for _ in range(8000))
    peer.talk(frames(sound))
    stage.run(0.2)
    assert create("PCMA", 8000).decode(sound) in heard(one)
    assert one.told(MediaStarted) == [MediaStarted(PEER, 8)]
    statistics = one.stream.statistics()
    assert (statistics.packets_received, statistics.octets_received, statistics.lost, statistics.concealed) == (50, 8000, 0, 9)


def test_a_frame_is_told_for_every_packet_time_even_when_nothing_comes() -> None:
    stage, one, _ = listening()
    stage.run(1.0)
    assert len(one.told(FrameCaptured)) == pytest.approx(50, abs=1)
    assert not any(heard(one))


@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60])
def test_the_other_sides_packet_time_may_be_another(milliseconds: int) -> None:
    stage, one, peer = listening()
    peer.talk(frames(alaw(tone(440, 2.0)), 8 * milliseconds), milliseconds / 1000)
    stage.run(0.3)
    sound = heard(one)
    assert not find_gaps(sound[2 * 2400 : 2 * 14000], 8000)
    assert tone_level(sound[2 * 2400 : 2 * 14000], 8000, 440) == pytest.approx(-13, abs=0.5)


def test_the_other_sides_packet_time_may_change_in_the_middle() -> None:
    _stage, one, peer = listening()
    data = alaw(tone(440, 3.0))
    peer.talk(frames(data[:8000]))
    peer.talk(frames(data[8000:16000], 480), 0.06)
    peer.talk(frames(data[16000:], 80), 0.01)
    sound = heard(one)[2 * 1600 :]
    assert sum(gap.duration for gap in find_gaps(sound, 8000)) < 0.3
    assert tone_level(sound[-2 * 4000 : -2 * 800], 8000, 440) == pytest.approx(-13, abs=0.5)


def test_a_lost_packet_is_concealed_and_no_gap_is_heard() -> None:
    stage, one, peer = listening()
    stage.run(0.003)
    for index, frame in enumerate(frames(alaw(tone(440, 2.0)))):
        data = peer.packet(frame)
        if index % 10 != 7:
            peer.put(data)
        stage.run(0.02)
    sound = heard(one)[2 * 1600 : 2 * 14400]
    assert not find_gaps(sound, 8000)
    assert one.stream.statistics().lost == pytest.approx(10, abs=1)
    assert one.stream.statistics().concealed >= 9


def test_a_long_loss_fades_to_silence() -> None:
    stage, one, peer = listening()
    peer.talk(frames(alaw(tone(440, 0.5))))
    stage.run(1.0)
    assert level(heard(one)[-2 * 4000 :]) < -90


def test_packets_in_the_wrong_order_are_heard_in_the_right_one() -> None:
    stage, one, peer = listening()
    stage.run(0.003)
    sound = bytes(Random(4).randrange(256) for _ in range(160 * 60))
    packets = [peer.packet(frame) for frame in frames(sound)]
    for index in range(0, 60, 2):
        peer.put(packets[index + 1])
        peer.put(packets[index])
        stage.run(0.04)
    stage.run(0.2)
    assert create("PCMA", 8000).decode(sound[160 * 10 :]) in heard(one)


def test_a_new_ssrc_is_followed_within_three_packets() -> None:
    _stage, one, peer = listening()
    sound = alaw(tone(440, 1.0))
    peer.talk(frames(sound))
    peer.ssrc, peer.sequence, peer.timestamp = 0x9999, 77, 123456
    peer.talk(frames(sound))
    statistics = one.stream.statistics()
    assert statistics.packets_received >= 98
    assert tone_level(heard(one)[-2 * 4000 : -2 * 400], 8000, 440) == pytest.approx(-13, abs=1)


def test_a_second_ssrc_between_the_packets_of_the_first_does_not_disturb_it() -> None:
    stage, one, peer = listening()
    other = Peer(stage, one, ssrc=0x4444)
    stage.run(0.003)
    for frame in frames(alaw(tone(440, 1.5))):
        peer.send(frame)
        other.send(b"\x2a" * 160)
        stage.run(0.02)
    assert tone_level(heard(one)[2 * 1600 : 2 * 11000], 8000, 440) == pytest.approx(-13, abs=0.5)


def test_the_other_side_may_change_its_codec_between_those_agreed() -> None:
    _stage, one, peer = listening()
    pcm = tone(440, 1.0)
    peer.talk(frames(alaw(pcm)))
    peer.talk(frames(create("PCMU", 8000).encode(pcm)), payload_type=0)
    sound = heard(one)[2 * 1600 : 2 * 15000]
    assert sum(gap.duration for gap in find_gaps(sound, 8000)) < 0.1
    assert tone_level(sound[2 * 9000 :], 8000, 440) == pytest.approx(-13, abs=1)


def test_a_codec_of_another_rate_is_told_with_its_rate() -> None:
    _stage, one, peer = listening(receive_formats={97: L16, 8: PCMA})
    codec = create("L16", 16000)
    pcm = tone_pcm(Tone(3000, duration=1.0), 16000)
    peer.talk(frames(codec.encode(pcm), 640), payload_type=97, ticks=320)
    events = one.told(FrameCaptured)
    assert events[-5].rate == 16000
    assert len(events[-5].pcm) == 640
    assert tone_level(b"".join(event.pcm for event in events[10:40]), 16000, 3000) == pytest.approx(-13, abs=1)


def test_unknown_payload_types_are_counted_and_comfort_noise_is_not() -> None:
    _stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 5)
    peer.talk([b"\x00" * 33] * 7, payload_type=3)
    peer.talk([b"\x40"] * 2, payload_type=13)
    assert one.stream.statistics().unknown_payload == 7


def test_on_hold_nothing_is_heard_and_frames_are_silence() -> None:
    _stage, one, peer = listening(direction="sendonly")
    peer.talk(frames(alaw(tone(440))))
    assert not any(heard(one))
    assert one.stream.statistics().packets_received == 50
    one.stream.configure(settings())
    peer.talk(frames(alaw(tone(440))))
    assert tone_level(heard(one)[-2 * 4000 : -2 * 400], 8000, 440) == pytest.approx(-13, abs=1)


def test_loopback_returns_what_was_heard() -> None:
    stage = Stage()
    one = stage.open(settings())
    one.stream.loopback(True)
    peer = Peer(stage, one)
    sound = bytes(Random(5).randrange(256) for _ in range(160 * 50))
    peer.talk(frames(sound))
    stage.run(0.2)
    assert sound in b"".join(packet.payload for packet in one.rtp.packets)


def test_loopback_between_codecs_of_two_rates() -> None:
    stage = Stage()
    one = stage.open(settings(receive_formats={97: L16}))
    one.stream.loopback(True)
    peer = Peer(stage, one, payload_type=97)
    peer.talk(frames(create("L16", 16000).encode(tone_pcm(Tone(1000, duration=1.0), 16000)), 640), ticks=320)
    assert tone_level(one.sound[2 * 2400 : 2 * 7000], 8000, 1000) == pytest.approx(-13, abs=1)


# -- strangers and garbage ----------------------------------------------------------------------------------------


def test_a_stranger_is_not_heard_and_nothing_is_ever_sent_to_him() -> None:
    stage, one, peer = listening()
    spray = Peer(stage, one, source=STRANGER, ssrc=0xBAD)
    peer.talk([alaw(tone(440, 0.02))] * 2)
    for frame in frames(alaw(tone(440, 4.0))):
        peer.send(frame)
        spray.send(b"\x2a" * 160)
        stage.run(0.02)
    assert {address for _, _, address in one.rtp.sent} == {PEER}
    assert tone_level(heard(one)[2 * 1600 : 2 * 30000], 8000, 440) == pytest.approx(-13, abs=0.5)
    assert one.stream.statistics().discarded_by_source == 200
    assert not one.told(SourceLearned)


def test_a_stranger_who_comes_late_is_not_learned() -> None:
    stage, one, _ = listening()
    stage.run(5.5)
    Peer(stage, one, source=STRANGER).talk([b"\xd5" * 160] * 50)
    assert {address for _, _, address in one.rtp.sent} == {PEER}
    assert not one.told(MediaStarted)


def test_behind_a_nat_the_real_source_is_learned_after_five_packets() -> None:
    stage, one, _ = listening()
    nat = ("198.51.100.7", 31000)
    peer = Peer(stage, one, source=nat)
    peer.talk(frames(alaw(tone(440))))
    assert one.told(SourceLearned) == [SourceLearned(PEER, nat)]
    assert one.stream.statistics().packets_received == 46
    assert one.rtp.sent[-1][2] == nat
    assert tone_level(heard(one)[-2 * 4000 : -2 * 400], 8000, 440) == pytest.approx(-13, abs=1)
    # And from then on a second stranger gets nowhere, though the SDP's address never spoke.
    Peer(stage, one, source=STRANGER).talk([b"\xd5" * 160] * 20)
    assert one.rtp.sent[-1][2] == nat


def test_who_was_learned_wrongly_gives_way_to_the_address_of_the_sdp() -> None:
    stage, one, peer = listening()
    Peer(stage, one, source=STRANGER).talk([b"\xd5" * 160] * 10)
    assert one.rtp.sent[-1][2] == STRANGER
    peer.talk([b"\xd5" * 160] * 3)
    assert one.rtp.sent[-1][2] == PEER


def test_thousands_of_garbage_packets_are_counted_and_hurt_nobody() -> None:
    stage, one, peer = listening()
    generator = Random(6)
    sound = frames(alaw(tone(440, 2.0)))
    stage.run(0.003)
    for frame in sound:
        for _ in range(100):
            one.rtp.inbox.append((generator.randbytes(generator.randrange(40)), STRANGER if generator.random() < 0.5 else PEER))
            one.rtcp.inbox.append((generator.randbytes(generator.randrange(40)), PEER))
        peer.send(frame)
        stage.run(0.02)
    statistics = one.stream.statistics()
    assert statistics.garbage > 5000
    assert statistics.concealed < 3
    assert not one.told(StreamFailed)
    assert tone_level(heard(one)[2 * 1600 : 2 * 15000], 8000, 440) == pytest.approx(-13, abs=0.5)


def test_a_flood_is_read_within_bounds_in_one_tick() -> None:
    stage, one, _ = listening()
    stage.run(0.01)
    one.rtp.inbox.extend([(b"garbage", STRANGER)] * (2 * MAX_BACKLOG))
    stage.run(0.02)
    assert 0 < 2 * MAX_BACKLOG - len(one.rtp.inbox) <= MAX_BACKLOG


def test_damaged_payload_is_silence() -> None:
    _stage, one, peer = listening(receive_formats={97: L16})
    peer.payload_type = 97
    peer.talk([b"\x01" * 639] * 20, ticks=320)
    assert one.stream.statistics().decode_errors >= 10
    assert not one.told(StreamFailed)


# -- digits -------------------------------------------------------------------------------------------------------


def press(peer: Peer, event: int, *, payload_type: int = 101, ends: int = 3, packets: int = 5, marker: bool = True) -> None:
    """One press as a phone sends it, with so many of the end packets getting through."""
    start = peer.timestamp
    for index in range(1, packets + 1):
        peer.timestamp = start
        peer.send(bytes((event, 10)) + (160 * index).to_bytes(2, "big"), ticks=0, marker=marker and index == 1, payload_type=payload_type)
        peer.stage.run(0.02)
    for index in range(3):
        data = peer.packet(bytes((event, 0x8A)) + (160 * packets).to_bytes(2, "big"), ticks=0, payload_type=payload_type)
        if index < ends:
            peer.put(data)
        peer.stage.run(0.02)
    peer.timestamp = start + 160 * (packets + 3) & 0xFFFFFFFF


def digits(one: Open) -> str:
    return "".join(event.digit for event in one.told(DigitReceived))


def test_each_press_is_one_digit() -> None:
    _stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 5)
    for event in (1, 1, 10, 11, 15):
        press(peer, event)
        peer.talk([b"\xd5" * 160] * 4)
    assert digits(one) == "11*#D"
    assert one.told(DigitReceived)[0].duration == pytest.approx(0.1)
    assert one.stream.statistics().digits_received == 5


def test_a_press_during_sound_is_no_loss_of_sound() -> None:
    _stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 20)
    press(peer, 5)
    peer.talk([b"\xd5" * 160] * 20)
    assert one.stream.statistics().concealed <= 9
    assert one.stream.statistics().lost == 0


def test_a_press_whose_ends_are_lost_is_told_soon() -> None:
    stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 5)
    press(peer, 7, ends=0)
    stage.run(0.8)
    assert digits(one) == "7"


@pytest.mark.parametrize("payload_type", [96, 100, 127])
def test_a_press_under_a_payload_type_that_was_not_agreed(payload_type: int) -> None:
    stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 5)
    press(peer, 9, payload_type=payload_type)
    stage.run(0.5)
    assert digits(one) == "9"


def test_any_of_several_agreed_payload_types() -> None:
    _stage, one, peer = listening(receive_event_payload_types=frozenset((97, 101)))
    peer.talk([b"\xd5" * 160] * 5)
    press(peer, 1, payload_type=97)
    press(peer, 2, payload_type=101)
    assert digits(one) == "12"


def test_a_press_on_hold_and_before_any_sound() -> None:
    stage, one, peer = listening(direction="sendonly")
    stage.run(0.01)
    press(peer, 3)
    assert digits(one) == "3"


def test_a_strangers_press_is_nothing() -> None:
    stage, one, peer = listening()
    peer.talk([b"\xd5" * 160] * 5)
    press(Peer(stage, one, source=STRANGER), 3)
    assert digits(one) == ""


# -- time-out -----------------------------------------------------------------------------------------------------


def test_silence_on_the_line_is_told_once_and_again_after_sound() -> None:
    stage, one, peer = listening(media_timeout=10.0)
    peer.talk([b"\xd5" * 160] * 10)
    stage.run(30.0)
    assert [event.seconds for event in one.told(MediaTimeout)] == [pytest.approx(10, abs=0.6)]
    peer.talk([b"\xd5" * 160] * 50)
    stage.run(30.0)
    assert len(one.told(MediaTimeout)) == 2


def test_hold_is_exempt_from_the_time_out_and_starts_it_anew() -> None:
    stage, one, _ = listening(media_timeout=10.0, direction="sendonly")
    stage.run(60.0)
    assert not one.told(MediaTimeout)
    one.stream.configure(settings(media_timeout=10.0))
    stage.run(9.0)
    assert not one.told(MediaTimeout)
    stage.run(3.0)
    assert len(one.told(MediaTimeout)) == 1


def test_without_a_time_out_there_is_none() -> None:
    stage, one, _ = listening(media_timeout=None)
    stage.run(300.0)
    assert not one.told(MediaTimeout)
