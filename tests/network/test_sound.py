"""The verbs of sound end to end: the play queue, live sound, recordings, raw frames, figures."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import CallEnded, ConfigurationError, InvalidState, MediaError, Phone, Tone
from flexosip.audio.levels import tone_level
from flexosip.audio.sources import Pcm
from tests.hearing import Heard, hear
from tests.network.stage import World


def sine(hz: float, seconds: float, rate: int = 8000) -> bytes:
    """int16 mono at -12 dBFS."""
    return array("h", (round(8231 * math.sin(2 * math.pi * hz * index / rate)) for index in range(round(seconds * rate)))).tobytes()


def heard_by_callee(path: Path, speak: Any, **settings: Any) -> Heard:
    """What the callee recorded of a call in which `speak(call)` ran."""

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.record(path, side="in")
            await call.wait_ended()

        async with a.call(target) as call:
            # The callee records from its ACK on.
            await asyncio.sleep(0.1)
            await speak(call)

    World().run(story, **settings)
    return hear(path)


def test_sounds_are_played_one_after_the_other_each_after_its_delay(tmp_path: Path) -> None:
    async def speak(call: Any) -> None:
        call.play(Tone(440, duration=0.5))
        call.play(Tone(1000, duration=0.5), delay=0.3)
        last = call.play(Tone(1500, duration=0.4))
        await last
        assert last.completed

    sound = heard_by_callee(tmp_path / "h.wav", speak)
    begin = next(at / 100 for at in range(200) if sound.tone(440, at / 100, at / 100 + 0.02) > -25)
    assert sound.tone(440, begin + 0.05, begin + 0.45) > -18
    assert sound.level(begin + 0.55, begin + 0.75) < -60
    assert sound.tone(1000, begin + 0.85, begin + 1.25) > -18
    assert sound.tone(1500, begin + 1.35, begin + 1.65) > -18


def test_stop_playing_tells_what_was_really_sent_and_the_rest_is_never_heard(tmp_path: Path) -> None:
    async def speak(call: Any) -> None:
        first, second = call.play(Tone(440, duration=0.3)), call.play(Tone(1000, duration=5))
        await first
        await asyncio.sleep(0.5)
        assert second.position == pytest.approx(0.5, abs=0.041)
        sent = await call.stop_playing()
        # Of what it stops: the first one was over.
        assert sent == pytest.approx(0.5, abs=0.041)
        assert sent == second.position
        assert second.done and not second.completed
        assert await call.stop_playing() == 0.0
        await asyncio.sleep(0.5)

    sound = heard_by_callee(tmp_path / "h.wav", speak)
    assert sound.tone(1000, sound.seconds - 0.3, sound.seconds) < -60


def test_cancelling_the_wait_for_a_sound_stops_it(tmp_path: Path) -> None:
    async def speak(call: Any) -> None:
        playback = call.play(Tone(440, duration=10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await playback
        await asyncio.sleep(0.1)
        assert playback.done and playback.position == pytest.approx(0.5, abs=0.041)

    heard_by_callee(tmp_path / "h.wav", speak)


def test_a_loop_plays_until_it_is_stopped(tmp_path: Path) -> None:
    async def speak(call: Any) -> None:
        playback = call.play(Pcm(sine(440, 0.1), 8000), loop=True)
        await asyncio.sleep(1.0)
        await playback.stop()
        assert playback.position == pytest.approx(1.0, abs=0.041)
        assert not playback.completed

    sound = heard_by_callee(tmp_path / "h.wav", speak)
    assert sound.tone(440, 0.3, 0.9) > -18


def test_frames_of_an_iterator_are_pulled_as_they_are_needed(tmp_path: Path) -> None:
    pulled = 0

    def frames() -> Iterator[bytes]:
        nonlocal pulled
        sound = sine(700, 3.0)
        for offset in range(0, len(sound), 320):
            pulled += 1
            yield sound[offset : offset + 320]

    async def speak(call: Any) -> None:
        playback = call.play(frames())
        await asyncio.sleep(1.0)
        assert 40 <= pulled <= 100
        await playback
        assert pulled == 150 and playback.position == pytest.approx(3.0, abs=0.02)

    sound = heard_by_callee(tmp_path / "h.wav", speak)
    assert sound.tone(700, 0.5, 2.8) > -18


def test_an_iterator_that_fails_ends_its_playback_with_the_reason(tmp_path: Path) -> None:
    def frames() -> Iterator[bytes]:
        yield sine(700, 0.2)
        raise ValueError("no more ideas")

    async def speak(call: Any) -> None:
        with pytest.raises(MediaError, match="no more ideas"):
            await call.play(frames())
        await call.play(Tone(440, duration=0.1))

    heard_by_callee(tmp_path / "h.wav", speak)


def test_muted_is_silent_and_what_plays_goes_on_unheard(tmp_path: Path) -> None:
    async def speak(call: Any) -> None:
        playback = call.play(Tone(440, duration=1.5))
        await asyncio.sleep(0.5)
        call.mute()
        await asyncio.sleep(0.5)
        call.unmute()
        await playback
        assert playback.position == pytest.approx(1.5)

    sound = heard_by_callee(tmp_path / "h.wav", speak)
    assert sound.tone(440, 0.2, 0.5) > -18
    assert sound.level(0.75, 0.95) < -60
    assert sound.tone(440, 1.2, 1.5) > -18


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_raw_frames_go_both_ways_at_the_rate_of_the_program(rate: int) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        frames: list[bytes] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async with call.audio(rate) as stream:
                async for frame in stream:
                    frames.append(frame)

        async with a.call(target) as call, call.audio(rate) as stream:
            started = a.loop.time()
            await stream.write(sine(1000, 1.0, rate))
            await stream.write(sine(1000, 1.0, rate))
            # Bounded: the second second waits for the first.
            assert a.loop.time() - started == pytest.approx(0.8, abs=0.15)
            assert await stream.mark("end") == pytest.approx(2.0, abs=0.05)
        await asyncio.sleep(0.2)
        assert {len(frame) for frame in frames} == {rate // 50 * 2}
        sound = b"".join(frames)
        middle = sound[len(sound) // 4 : len(sound) * 3 // 4]
        assert tone_level(middle, rate, 1000) > -18

    World().run(story)


def test_clear_forgets_what_was_not_sent_and_cancels_its_marks() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call, call.audio(8000) as stream:
            await stream.write(sine(440, 2.0))
            mark = stream.mark("never")
            await asyncio.sleep(0.5)
            assert stream.clear() == pytest.approx(0.5, abs=0.041)
            assert mark.cancelled()
            await stream.write(sine(440, 0.2))
            assert await stream.mark("again") == pytest.approx(0.2, abs=0.02)
            stream.close()
            with pytest.raises(InvalidState):
                await stream.write(bytes(320))
            async for _ in stream:
                pass

    World().run(story)


def test_the_end_of_the_call_ends_frames_writes_and_marks() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await asyncio.sleep(0.5)

        async with a.call(target) as call:
            stream = call.audio(8000)
            await stream.write(sine(440, 5.0))
            mark = stream.mark("never")
            assert len([frame async for frame in stream]) >= 20
            with pytest.raises(CallEnded):
                await mark
            with pytest.raises(CallEnded):
                await stream.write(bytes(320))
            with pytest.raises(CallEnded):
                call.audio()

    World().run(story)


@pytest.mark.parametrize(("options", "tracks"), [({}, 2), ({"mix": True}, 1), ({"side": "in"}, 1), ({"side": "out"}, 1)])
def test_a_recording_has_both_sides_on_one_time_line(tmp_path: Path, options: dict[str, Any], tracks: int) -> None:
    path = tmp_path / "r.wav"

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.play(Tone(1000, duration=1.0))
            await call.wait_ended()

        async with a.call(target) as call:
            recording = call.record(path, **options)
            call.play(Tone(440, duration=1.0))
            await asyncio.sleep(1.5)
            await recording.stop()
            assert recording.seconds == pytest.approx(1.5, abs=0.05)

    World().run(story)
    sound = hear(path)
    assert len(sound.tracks) == tracks
    # What we heard is left, what we sent is right.
    heard, sent = (0, tracks - 1)
    if options.get("side") != "out":
        assert sound.tone(1000, 0.2, 0.9, heard) > -19
    if options.get("side") != "in":
        assert sound.tone(440, 0.1, 0.9, sent) > -19
    if tracks == 2:
        assert sound.tone(440, 0.2, 0.9, 0) < -60
        assert sound.tone(1000, 0.2, 0.9, 1) < -60


def test_a_recording_ends_by_itself_after_its_length_or_a_silence(tmp_path: Path) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.play(Tone(1000, duration=1.0))
            await call.wait_ended()

        async with a.call(target) as call:
            short = call.record(tmp_path / "short.wav", max_seconds=0.5)
            voice = call.record(tmp_path / "voice.wav", side="in", silence=1.0)
            assert (await short).seconds == pytest.approx(0.5, abs=0.021)
            assert (await voice).seconds == pytest.approx(2.1, abs=0.3)

    World().run(story)


def test_a_recording_that_lasts_until_the_end_can_be_awaited_after_it(tmp_path: Path) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await asyncio.sleep(0.5)

        async with a.call(target) as call:
            recording = call.record(tmp_path / "r.wav")
            await call.wait_ended()
        await recording
        assert recording.seconds == pytest.approx(0.5, abs=0.1)
        assert type([event async for event in call.events()][-1]).__name__ == "Ended"

    World().run(story)


def test_what_cannot_be_played_is_told_at_once_and_the_call_goes_on(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is no sound")

    async def speak(call: Any) -> None:
        for source, kind in [
            (tmp_path / "absent.wav", MediaError),
            (tmp_path / "text.wav", MediaError),
            (b"RIFF", MediaError),
            (42, MediaError),
        ]:
            with pytest.raises(kind) as caught:
                call.play(source)
            assert caught.value.explain()
        with pytest.raises(ConfigurationError):
            call.play(Tone(440), delay=-1)
        with pytest.raises(MediaError):
            call.record(tmp_path / "no" / "such" / "folder.wav")
        with pytest.raises(ConfigurationError):
            call.record(tmp_path / "r.wav", side="left")
        with pytest.raises(ConfigurationError):
            call.audio(rate=11025)
        await call.play(Tone(440, duration=0.1))

    heard_by_callee(tmp_path / "h.wav", speak)


def test_before_the_answer_and_after_the_end_sound_is_refused_with_a_reason() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            with pytest.raises(InvalidState):
                call.play(Tone(440))
            await call.answer()
            await call.wait_ended()

        new = a.call(target)
        for verb in (lambda: new.play(Tone(440)), lambda: new.record("x.wav"), new.audio, new.stop_playing, new.mute):
            with pytest.raises(InvalidState):
                verb()
        async with new as call:
            await asyncio.sleep(0.1)
        with pytest.raises(CallEnded):
            call.play(Tone(440))
        with pytest.raises(CallEnded):
            await call.send_digits("1")

    World().run(story)


def test_figures_of_a_good_line_show_no_loss_and_stay_after_the_end() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            await asyncio.sleep(20)
            figures = call.statistics()
            assert figures.packets_sent == pytest.approx(1000, abs=3)
            assert figures.packets_received == pytest.approx(1000, abs=6)
            assert (figures.lost, figures.duplicates, figures.late) == (0, 0, 0)
            assert figures.round_trip == pytest.approx(0.02, abs=0.025)
            assert figures.codec == "PCMA"
        assert call.statistics().packets_sent >= figures.packets_sent

    World().run(story)


@pytest.mark.parametrize("codec", ["PCMA", "PCMU", "L16/16000", "L16/8000"])
def test_each_codec_carries_a_tone(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "h.wav"

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.record(path, side="in")
            await call.wait_ended()

        async with a.call(target) as call:
            assert call.codec == codec.split("/")[0]
            await call.play(Tone(440, duration=1.0))

    World().run(story, codecs=(codec,), callee={"codecs": ("PCMA", "PCMU", "L16/16000", "L16/8000")})
    sound = hear(path)
    assert sound.tone(440, 0.2, 0.8) > -18
