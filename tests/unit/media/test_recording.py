"""Recordings: both sides on one timeline, limits, and a disk that is full."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from flexosip.audio.levels import find_sounds
from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.audio.wav import WavWriter
from flexosip.codecs import create
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media.events import PlaybackEnded, RecordingEnded, StreamClosed, StreamFailed
from tests.hearing import hear
from tests.unit.media.stage import L16, Open, Peer, Stage, alaw, frames, settings


def opened(**changes: object) -> tuple[Stage, Open, Peer]:
    stage = Stage()
    one = stage.open(settings(**changes))
    return stage, one, Peer(stage, one)


def tone(hz: float, seconds: float = 1.0) -> bytes:
    return tone_pcm(Tone(hz, duration=seconds), 8000)


def test_left_is_what_we_heard_and_right_what_we_sent_on_one_timeline(tmp_path: Path) -> None:
    stage, one, peer = opened()
    one.stream.record(1, tmp_path / "r.wav")
    one.stream.play(1, Tone(1000, duration=1.0), delay=0.5)
    peer.talk(frames(alaw(tone(440, 2.0))))
    stage.run(0.5)
    one.stream.stop_recording(1)
    stage.run(0.1)
    ended = one.told(RecordingEnded)
    assert [(event.id, event.error, event.reason) for event in ended] == [(1, None, "stopped")]
    heard = hear(tmp_path / "r.wav")
    assert heard.rate == 8000
    assert heard.seconds == pytest.approx(ended[0].seconds) == pytest.approx(2.54, abs=0.05)
    assert heard.tone(440, 0.2, 1.9, 0) == pytest.approx(-13, abs=0.5)
    assert heard.tone(1000, 0.6, 1.4, 1) == pytest.approx(-13, abs=0.5)
    assert heard.tone(1000, 0.2, 1.9, 0) < -50
    assert heard.level(0.0, 0.48, 1) < -70
    (sound,) = find_sounds(heard.tracks[1], 8000)
    assert (sound.start, sound.end) == (pytest.approx(0.5, abs=0.03), pytest.approx(1.5, abs=0.03))
    (sound,) = find_sounds(heard.tracks[0], 8000)
    # The network's 3 ms, the tick and the jitter buffer's 40 ms.
    assert sound.start == pytest.approx(0.06, abs=0.03)


def test_mixed_both_sides_are_in_one_track(tmp_path: Path) -> None:
    stage, one, peer = opened()
    one.stream.record(1, tmp_path / "r.wav", mix=True)
    one.stream.play(1, Tone(1000))
    peer.talk(frames(alaw(tone(440, 1.0))))
    one.stream.stop_recording(1)
    stage.run(0.1)
    heard = hear(tmp_path / "r.wav")
    assert len(heard.tracks) == 1
    assert heard.tone(440, 0.2, 0.9) == pytest.approx(-13, abs=0.5)
    assert heard.tone(1000, 0.2, 0.9) == pytest.approx(-13, abs=0.5)


@pytest.mark.parametrize(("side", "there", "not_there"), [("in", 440, 1000), ("out", 1000, 440)])
def test_one_side_alone(tmp_path: Path, side: str, there: float, not_there: float) -> None:
    stage, one, peer = opened()
    one.stream.record(1, tmp_path / "r.wav", side=side)
    one.stream.play(1, Tone(1000))
    peer.talk(frames(alaw(tone(440, 1.0))))
    one.stream.stop_recording(1)
    stage.run(0.1)
    heard = hear(tmp_path / "r.wav")
    assert len(heard.tracks) == 1
    assert heard.tone(there, 0.2, 0.9) == pytest.approx(-13, abs=0.5)
    assert heard.tone(not_there, 0.2, 0.9) < -50


def test_it_ends_at_its_greatest_length_to_the_sample(tmp_path: Path) -> None:
    stage, one, _ = opened()
    one.stream.record(1, tmp_path / "r.wav", max_seconds=1.234)
    stage.run(3.0)
    assert one.told(RecordingEnded) == [RecordingEnded(1, str(tmp_path / "r.wav"), pytest.approx(1.234), None, "max_seconds")]
    assert hear(tmp_path / "r.wav").seconds == pytest.approx(1.234)
    one.stream.stop_recording(1)  # late: it is over
    stage.run(0.5)
    assert len(one.told(RecordingEnded)) == 1


def test_it_ends_after_silence(tmp_path: Path) -> None:
    stage, one, peer = opened()
    one.stream.record(1, tmp_path / "r.wav", side="in", silence=1.0)
    peer.talk(frames(alaw(tone(440, 1.5))))
    stage.run(3.0)
    (event,) = one.told(RecordingEnded)
    assert event.reason == "silence"
    assert event.seconds == pytest.approx(2.6, abs=0.3)


def test_time_in_which_the_process_stood_still_is_silence(tmp_path: Path) -> None:
    stage, one, _ = opened()
    one.stream.record(1, tmp_path / "r.wav", side="out")
    one.stream.play(1, Tone(440, duration=2.0))
    stage.run(1.0)
    stage.freeze(3.0)
    stage.run(2.0)
    one.stream.stop_recording(1)
    stage.run(0.1)
    heard = hear(tmp_path / "r.wav")
    assert heard.seconds == pytest.approx(6.0, abs=0.1)
    first, second = find_sounds(heard.left, 8000)
    assert (first.end, second.start) == (pytest.approx(1.0, abs=0.05), pytest.approx(4.0, abs=0.1))


def test_a_full_disk_ends_the_recording_with_a_valid_file_and_the_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, one, _ = opened()
    one.stream.record(1, tmp_path / "r.wav", side="out")
    one.stream.play(1, Tone(440, duration=2.0))
    stage.run(1.0)

    def full(self: WavWriter, pcm: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(WavWriter, "write", full)
    stage.run(2.0)
    (event,) = one.told(RecordingEnded)
    assert (event.reason, event.error) == ("error", "No space left on device")
    assert hear(tmp_path / "r.wav").seconds == pytest.approx(event.seconds)
    assert 0.7 < event.seconds <= 1.02
    assert one.told(PlaybackEnded) == [PlaybackEnded(1, 2.0, True)]
    assert not one.told(StreamFailed)


def test_the_file_is_complete_before_the_stream_is_closed(tmp_path: Path) -> None:
    stage, one, _ = opened()
    one.stream.record(1, tmp_path / "r.wav")
    one.stream.record(2, tmp_path / "s.wav", side="in")
    stage.run(0.5)
    one.stream.close()
    stage.run(0.1)
    assert [(type(event), getattr(event, "id", None)) for event in one.events[-3:]] == [
        (RecordingEnded, 1),
        (RecordingEnded, 2),
        (StreamClosed, None),
    ]
    assert {event.reason for event in one.told(RecordingEnded)} == {"closed"}
    assert hear(tmp_path / "r.wav").seconds == pytest.approx(0.52, abs=0.03)


def test_a_change_of_codec_in_the_middle_keeps_rate_and_timeline(tmp_path: Path) -> None:
    stage, one, peer = opened()
    one.stream.record(1, tmp_path / "r.wav")
    one.stream.play(1, Tone(1000, duration=3.0))
    peer.talk(frames(alaw(tone(440, 1.0))))
    one.stream.configure(settings(send_format=L16, send_payload_type=97, receive_formats={97: L16}))
    peer.payload_type = 97
    wide = create("L16", 16000).encode(tone_pcm(Tone(440, duration=1.0), 16000))
    peer.talk(frames(wide, 640), ticks=320)
    one.stream.stop_recording(1)
    stage.run(0.1)
    heard = hear(tmp_path / "r.wav")
    assert heard.rate == 8000
    assert heard.seconds == pytest.approx(2.06, abs=0.05)
    assert heard.tone(440, 1.3, 1.9, 0) == pytest.approx(-13, abs=1)
    assert heard.tone(1000, 1.3, 1.9, 1) == pytest.approx(-13, abs=1)


def test_what_cannot_be_recorded_is_refused_at_once(tmp_path: Path) -> None:
    _, one, _ = opened()
    with pytest.raises(MediaError, match="cannot be written"):
        one.stream.record(1, tmp_path / "no" / "folder.wav")
    with pytest.raises(ConfigurationError, match="side"):
        one.stream.record(1, tmp_path / "r.wav", side="left")
    with pytest.raises(ConfigurationError, match="max_seconds"):
        one.stream.record(1, tmp_path / "r.wav", max_seconds=0)
    with pytest.raises(ConfigurationError, match="silence"):
        one.stream.record(1, tmp_path / "r.wav", silence=-1)
    assert not list(tmp_path.iterdir())
