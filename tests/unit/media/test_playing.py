"""The play queue: sample-exact, with pauses, loops, stops, and live sources beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flexosip.audio.levels import find_gaps, find_sounds, level, tone_level
from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.wav import WavWriter
from flexosip.errors import InvalidState, MediaError
from flexosip.media.events import FeedLow, MarkReached, PlaybackEnded, PlaybackStarted
from flexosip.media.feeding import LiveFeed
from tests.unit.media.stage import Open, Stage, alaw, settings

RAMP = b"".join((index * 8).to_bytes(2, "little", signed=True) for index in range(-4000, 4000))
"""One second in which no two frames are alike."""


def playing(stage: Stage | None = None) -> tuple[Stage, Open]:
    stage = stage or Stage()
    return stage, stage.open(settings())


def test_a_sound_is_sent_completely_and_told_when_its_last_packet_has_left() -> None:
    stage, one = playing()
    sound = RAMP[: 2 * (160 * 10 + 37)]  # the last frame is not full
    one.stream.play(5, Pcm(sound, 8000))
    stage.run(0.5)
    sent = b"".join(packet.payload for packet in one.rtp.packets)
    expected = alaw(sound)
    assert sent.startswith(expected)
    assert set(sent[len(expected) :]) == {0xD5}
    assert one.events[1:] == [] or one.told(PlaybackStarted) == [PlaybackStarted(5)]
    assert one.told(PlaybackEnded) == [PlaybackEnded(5, 1637 / 8000, True)]


def test_two_sounds_follow_each_other_without_a_gap_of_one_sample() -> None:
    stage, one = playing()
    first, second = RAMP[: 2 * 1001], RAMP[2 * 1001 : 2 * 3003]
    one.stream.play(1, Pcm(first, 8000))
    one.stream.play(2, Pcm(second, 8000))
    stage.run(1.0)
    assert b"".join(packet.payload for packet in one.rtp.packets).startswith(alaw(first + second))
    assert [event.id for event in one.told(PlaybackEnded)] == [1, 2]


def test_a_delay_is_exact_to_the_sample() -> None:
    stage, one = playing()
    one.stream.play(1, Pcm(RAMP[:320], 8000))
    one.stream.play(2, Pcm(RAMP[:320], 8000), delay=0.3)
    stage.run(1.0)
    sent = b"".join(packet.payload for packet in one.rtp.packets)
    part = alaw(RAMP[:320])
    assert sent.startswith(part + b"\xd5" * 2400 + part)


def test_an_odd_delay_shifts_the_sound_within_the_packet() -> None:
    stage, one = playing()
    one.stream.play(1, Pcm(RAMP[:320], 8000), delay=0.0101)
    stage.run(0.5)
    sent = b"".join(packet.payload for packet in one.rtp.packets)
    assert sent.startswith(b"\xd5" * 80 + alaw(RAMP[:320]))


def test_stop_empties_the_queue_within_one_packet_and_tells_what_was_sent() -> None:
    stage, one = playing()
    one.stream.play(1, Tone(440, duration=5.0))
    one.stream.play(2, Tone(880, duration=5.0))
    stage.run(1.0)
    sounding = len([packet for packet in one.rtp.packets if packet.payload != b"\xd5" * 160])
    one.stream.stop()
    stage.run(0.5)
    after = one.rtp.packets[sounding:]
    assert {packet.payload for packet in after} == {b"\xd5" * 160}
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, pytest.approx(sounding * 0.02), False), PlaybackEnded(2, 0.0, False)]


def test_stopping_one_lets_the_next_begin() -> None:
    stage, one = playing()
    one.stream.play(1, Tone(440))
    one.stream.play(2, Tone(880, duration=0.5))
    stage.run(0.2)
    one.stream.stop(1)
    stage.run(1.0)
    assert [(event.id, event.completed) for event in one.told(PlaybackEnded)] == [(1, False), (2, True)]
    one.stream.stop(99)  # long over: nothing happens
    stage.run(0.1)


def test_position_is_known_while_it_plays() -> None:
    stage, one = playing()
    one.stream.play(1, Tone(440, duration=2.0), delay=0.1)
    assert one.stream.position(1) is None
    stage.run(0.6)
    assert one.stream.position(1) == pytest.approx(0.52, abs=0.001)
    stage.run(3.0)
    assert one.stream.position(1) is None


@pytest.mark.parametrize("tone", [Tone(440), Tone(440.5), Tone(cadence=(((425.0,), 0.11), ((), 0.09)))])
def test_an_endless_tone_goes_on_without_a_click(tone: Tone) -> None:
    stage, one = playing()
    one.stream.play(1, tone)
    stage.run(25.0)
    sound = one.sound[2 * 8000 :]
    if tone.steady:
        assert not find_gaps(sound, 8000)
        # A click would put energy where there is none.
        assert tone_level(sound[: 2 * 80000], 8000, 1800) < -60
    else:
        spans = find_sounds(sound, 8000)
        assert len(spans) == pytest.approx(24 / 0.2, abs=2)
    one.stream.stop(1)
    stage.run(0.1)
    assert one.told(PlaybackEnded)[0].position == pytest.approx(25.0, abs=0.03)


def test_a_loop_repeats_without_a_gap_until_it_is_stopped() -> None:
    stage, one = playing()
    piece = RAMP[: 2 * 1000]
    one.stream.play(1, Pcm(piece, 8000), loop=True)
    stage.run(2.0)
    assert b"".join(packet.payload for packet in one.rtp.packets).startswith(alaw(piece) * 16)
    one.stream.stop(1)
    stage.run(0.1)
    assert one.told(PlaybackEnded)[0].position == pytest.approx(2.0, abs=0.03)


def test_a_file_of_another_rate_and_two_channels_is_heard_at_the_right_pitch(tmp_path: Path) -> None:
    from flexosip.audio.pcm import interleave
    from flexosip.audio.tones import tone_pcm

    mono = tone_pcm(Tone(1000, duration=1.0), 44100)
    writer = WavWriter(tmp_path / "a.wav", 44100, 2)
    writer.write(interleave(mono, mono))
    writer.close()
    stage, one = playing()
    one.stream.play(1, tmp_path / "a.wav")
    stage.run(1.5)
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, pytest.approx(1.0, abs=0.01), True)]
    assert tone_level(one.sound[1600:14400], 8000, 1000) == pytest.approx(-13, abs=1)


def test_a_missing_file_raises_at_once_and_nothing_is_queued(tmp_path: Path) -> None:
    stage, one = playing()
    with pytest.raises(MediaError, match=r"nowhere\.wav"):
        one.stream.play(1, tmp_path / "nowhere.wav")
    with pytest.raises(MediaError):
        one.stream.play(1, b"no sound at all")
    with pytest.raises(MediaError):
        one.stream.play(1, 42)
    stage.run(0.2)
    assert not one.told(PlaybackStarted)
    assert not one.told(PlaybackEnded)


def test_an_empty_sound_ends_at_once() -> None:
    stage, one = playing()
    one.stream.play(1, Pcm(b"", 8000))
    one.stream.play(2, Pcm(RAMP[:320], 8000))
    stage.run(0.2)
    assert [(event.id, event.completed) for event in one.told(PlaybackEnded)] == [(1, True), (2, True)]


def test_an_iterator_is_pulled_as_it_plays_and_never_far_ahead() -> None:
    stage, one = playing()
    pulled = 0

    def source() -> Iterator[bytes]:
        nonlocal pulled
        for start in range(0, len(RAMP), 320):
            pulled += 1
            yield RAMP[start : start + 320]

    one.stream.play(1, source())
    stage.run(0.1)
    assert pulled <= 26
    stage.run(1.5)
    assert b"".join(packet.payload for packet in one.rtp.packets).startswith(alaw(RAMP))
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, 1.0, True)]
    assert not one.told(FeedLow)  # that is between the stream and the iterator


def test_an_iterator_that_fails_ends_its_playback_with_the_reason() -> None:
    stage, one = playing()

    def source() -> Iterator[bytes]:
        yield RAMP[:8000]
        raise ZeroDivisionError("no more")

    one.stream.play(1, source())
    one.stream.play(2, Pcm(RAMP[:320], 8000))
    stage.run(1.0)
    first, second = one.told(PlaybackEnded)
    assert (first.id, first.completed, first.position) == (1, False, 0.5)
    assert "ZeroDivisionError" in first.error
    assert (second.id, second.completed) == (2, True)


def test_a_live_source_is_heard_between_queued_sounds_and_held_during_them() -> None:
    stage, one = playing()
    one.stream.play(1, LiveFeed(8000))
    one.stream.feed(1, RAMP[: 2 * 1600])
    stage.run(0.1)
    one.stream.play(2, Tone(440, duration=0.2))
    stage.run(1.0)
    sent = b"".join(packet.payload for packet in one.rtp.packets)
    live = alaw(RAMP[: 2 * 1600])
    tone_at = sent.index(live[:160]) + 160 * (round(0.1 / 0.02) + 1)
    assert sent.startswith(live[:tone_at])
    assert sent[tone_at + 1600 : tone_at + 1600 + 1600 - tone_at] == live[tone_at:]
    assert one.stream.position(1) == pytest.approx(0.2)


def test_a_live_source_asks_for_more_once_and_tells_its_marks() -> None:
    stage, one = playing()
    one.stream.play(1, LiveFeed(8000, low_watermark=0.1))
    stage.run(0.05)
    assert len(one.told(FeedLow)) == 1  # empty from the start
    one.stream.feed(1, RAMP[: 2 * 2400])
    one.stream.mark(1, "middle")
    one.stream.feed(1, RAMP[: 2 * 800])
    one.stream.mark(1, "end")
    assert one.stream.buffered(1) == 0.0  # the engine does not know it yet
    stage.run(0.1)
    assert one.stream.buffered(1) == pytest.approx(0.3, abs=0.03)
    stage.run(1.0)
    assert [(event.name, pytest.approx(event.position, abs=0.021)) for event in one.told(MarkReached)] == [("middle", 0.3), ("end", 0.4)]
    assert len(one.told(FeedLow)) == 2


def test_clearing_a_live_source_forgets_sound_and_marks() -> None:
    stage, one = playing()
    one.stream.play(1, LiveFeed(8000))
    one.stream.feed(1, RAMP)
    one.stream.mark(1, "never")
    stage.run(0.2)
    one.stream.clear_feed(1)
    stage.run(0.1)
    assert one.stream.position(1) == pytest.approx(0.22, abs=0.001)
    one.stream.feed(1, RAMP[:320])
    stage.run(0.1)
    assert one.stream.position(1) == pytest.approx(0.24, abs=0.001)
    assert not one.told(MarkReached)


def test_a_live_source_at_another_rate_is_resampled() -> None:
    from flexosip.audio.tones import tone_pcm

    stage, one = playing()
    one.stream.play(1, LiveFeed(48000))
    pcm = tone_pcm(Tone(700, duration=1.0), 48000)
    for start in range(0, len(pcm), 1920):
        one.stream.feed(1, pcm[start : start + 1920])
        stage.run(0.02)
    one.stream.end_feed(1)
    stage.run(0.5)
    assert tone_level(one.sound[3200:14400], 8000, 700) == pytest.approx(-13, abs=1)
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, pytest.approx(1.0, abs=0.01), True)]
    with pytest.raises(InvalidState):
        one.stream.feed(1, b"\0\0")


def test_feeding_is_bounded_and_checked() -> None:
    stage, one = playing()
    one.stream.play(1, LiveFeed(8000))
    with pytest.raises(MediaError):
        one.stream.feed(1, b"odd")
    for _ in range(31):
        one.stream.feed(1, RAMP)
        stage.run(0.02)
    with pytest.raises(MediaError, match="wait to be sent"):
        one.stream.feed(1, RAMP)
    stage.run(2.0)
    one.stream.feed(1, RAMP)


def test_a_live_source_survives_a_change_of_codec() -> None:
    from tests.unit.media.stage import PCMU

    stage, one = playing()
    one.stream.play(1, LiveFeed(8000))
    one.stream.feed(1, RAMP[: 2 * 3200])
    stage.run(0.1)
    one.stream.configure(settings(send_format=PCMU, send_payload_type=0))
    one.stream.feed(1, RAMP[: 2 * 800])
    one.stream.end_feed(1)
    stage.run(1.0)
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, pytest.approx(0.5, abs=0.001), True)]


def test_the_level_that_is_sent_is_the_level_of_the_source() -> None:
    stage, one = playing()
    one.stream.play(1, Tone(440, duration=1.0, level=-20.0))
    stage.run(0.9)
    assert level(one.sound[1600:]) == pytest.approx(-20, abs=0.5)
