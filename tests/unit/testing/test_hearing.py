"""What a call of the testing room heard: prompts recognised through codecs, loss, gain; tones, silence, keys; what failures tell."""

from __future__ import annotations

import asyncio
import itertools
import math
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flexosip import ConfigurationError, Pcm, Tone
from flexosip.testing import Ear, Found, Prompt, Stage, TestCall, TestPhone

PROMPTS = Path(__file__).parents[3] / "src" / "flexosip" / "apps" / "bell" / "prompts" / "en"
ALL = sorted(PROMPTS.glob("*.wav"))


def in_a_call(story: Callable[[TestCall, TestCall], Awaitable[Any]], *, codecs: tuple[str, ...] | None = None, **line: Any) -> Any:
    """Run `story(listening call, playing call)`."""
    stage = Stage(**line)

    async def main() -> Any:
        a, b = await stage.phone(codecs=codecs), await stage.phone(codecs=codecs)
        b.answers()
        async with a.call("sip:10.0.0.2") as call:
            assert isinstance(call, TestCall)
            return await story(call, await b.wait_call())

    return stage.play(main())


def played(source: Any, wanted: Any, *, within: float = 1.0, **settings: Any) -> Found:
    """`wanted` is listened for where `source` is played."""

    async def story(call: TestCall, other: TestCall) -> Found:
        other.play(source)
        return await call.heard(wanted, within=within)

    found = in_a_call(story, **settings)
    assert isinstance(found, Found)
    return found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
@pytest.mark.parametrize("line", [{}, {"loss": 0.05}, {"loss": 0.2, "seed": 2}, {"jitter": 0.08, "reorder": 0.1, "loss": 0.01}], ids=str)
def test_a_prompt_is_recognised_over_a_bad_line(path: Path, line: dict[str, Any]) -> None:
    assert played(path, path, within=5.0, **line).likeness > 0.65


@pytest.mark.parametrize("codec", ["PCMA", "PCMU", "L16/8000", "L16/16000"])
def test_a_prompt_is_recognised_through_every_codec(codec: str) -> None:
    assert played(ALL[0], ALL[0], codecs=(codec,)).likeness > 0.95


def test_sentences_that_begin_alike_are_told_apart() -> None:
    paths = [PROMPTS / f"{name}.wav" for name in ("5min", "off", "once")]
    prompts = [Prompt(path) for path in paths]
    ears = []
    for path in paths:
        ear = Ear(lambda: 5.0)
        ear._received(bytes(3200) + Prompt.sound_of(path) + bytes(16000), 8000)
        ears.append(ear)
    confused = [
        (paths[one].stem, paths[two].stem)
        for one, two in itertools.permutations(range(3), 2)
        if prompts[one].find(ears[two])[0] is not None
    ]
    assert confused == []
    assert all(prompt.find(ear)[0] for prompt, ear in zip(prompts, ears, strict=True))


@pytest.mark.parametrize("gain", [0.05, 0.3, 1.5])
def test_a_prompt_is_recognised_at_another_level_and_in_its_place(gain: float) -> None:
    sound = array("h", Prompt.sound_of(ALL[0]))
    changed = array("h", (max(-32768, min(32767, round(value * gain))) for value in sound)).tobytes()
    ear = Ear(lambda: 10.0)
    ear._received(bytes(2 * 8000 * 3) + changed + bytes(2 * 8000), 8000)
    found, _ = Prompt(ALL[0]).find(ear)
    assert found is not None and ear.begin is not None
    assert found.start - ear.begin == pytest.approx(3.0, abs=0.001)
    assert found.end - found.start == pytest.approx(len(sound) / 8000, abs=0.03)


def test_prompts_are_heard_in_their_order_each_once() -> None:
    async def story(call: TestCall, other: TestCall) -> None:
        for name in ("welcome", "on", "welcome"):
            other.play(PROMPTS / f"{name}.wav", delay=0.2)
        first = await call.heard(PROMPTS / "welcome.wav")
        now = asyncio.get_running_loop().time()
        assert now == pytest.approx(first.end, abs=0.3), "it waits no longer than the prompt lasts"
        second = await call.heard(PROMPTS / "welcome.wav", within=5)
        assert second.start > first.end + 2
        with pytest.raises(AssertionError, match=r"on\.wav was to begin by"):
            await call.heard(PROMPTS / "on.wav", within=1)

    in_a_call(story)


def test_a_prompt_that_comes_too_late_or_is_cut_off_was_not_heard() -> None:
    async def late(call: TestCall, other: TestCall) -> None:
        other.play(ALL[0], delay=2.0)
        with pytest.raises(AssertionError, match="was to begin by"):
            await call.heard(ALL[0], within=1)

    async def cut(call: TestCall, other: TestCall) -> None:
        playback = other.play(ALL[0])
        await asyncio.sleep(1.4)
        await playback.stop()
        with pytest.raises(AssertionError, match="the best likeness"):
            await call.heard(ALL[0], within=1)
        await call.heard(ALL[0], within=0, seconds=1.0)

    in_a_call(late)
    in_a_call(cut)


def test_a_call_that_ends_ends_the_listening_at_once() -> None:
    async def story(call: TestCall, other: TestCall) -> None:
        await other.hangup()
        begin = asyncio.get_running_loop().time()
        with pytest.raises(AssertionError, match="the other side hung up"):
            await call.heard(ALL[0], within=60)
        with pytest.raises(AssertionError, match="The call was over"):
            await call.assert_silence(60)
        assert asyncio.get_running_loop().time() - begin < 1

    in_a_call(story)


def test_what_is_listened_for_may_be_bytes_pcm_or_a_tone() -> None:
    sound = array("h", (round(9000 * math.sin(n * n / 9000)) for n in range(8000))).tobytes()
    assert played(Pcm(sound, 16000), Pcm(sound, 16000)).likeness > 0.9
    assert played(ALL[1].read_bytes(), ALL[1].read_bytes()).likeness > 0.9
    assert played(Tone(440, duration=1.0), Tone(440, duration=1.0)).likeness > 0.9
    for silent in (Pcm(bytes(16000), 8000), Tone(440)):
        with pytest.raises(ConfigurationError):
            Prompt(silent)


def test_tones_silence_level_and_keys() -> None:
    async def story(call: TestCall, other: TestCall) -> None:
        other.play(Tone(440, duration=0.5))
        other.play(Tone((697, 1209), duration=0.5), delay=1.5)
        found = await call.heard_tone(440)
        assert found.end - found.start == pytest.approx(0.2, abs=0.05)
        await asyncio.sleep(0.5)
        await call.assert_silence(0.8)
        with pytest.raises(AssertionError, match="but there was sound at"):
            await call.assert_silence(1.0)
        with pytest.raises(AssertionError, match=r"No tone of 440 Hz(.|\n)* a tone of 440 Hz"):
            await call.heard_tone(440, within=0.5)
        other.play(Tone(1000, duration=3.0, level=-20.0))
        await asyncio.sleep(0.5)
        assert await call.assert_level(-22, -18) == pytest.approx(-20, abs=0.5)
        with pytest.raises(AssertionError, match=r"was to be -10 to 0 dBFS and was -(20|19)"):
            await call.assert_level(-10)
        await other.send_digits("12#4")
        await call.heard_digits("12")
        await call.heard_digits("#")
        with pytest.raises(AssertionError, match="keys 5 were to be heard"):
            await call.heard_digits("5")
        assert await call.gather(max_digits=4, timeout=1) == "12"

    in_a_call(story)


def test_nothing_but_the_prompts_was_heard_or_something_else() -> None:
    welcome, on = PROMPTS / "welcome.wav", PROMPTS / "on.wav"

    async def story(call: TestCall, other: TestCall) -> None:
        other.play(welcome)
        await other.play(on, delay=0.5)
        await asyncio.sleep(0.5)
        assert [round(found.likeness) for found in await call.heard_nothing_but(on, welcome)] == [1, 1]
        with pytest.raises(AssertionError, match=r"The sound at .* s is not of .*welcome\.wav"):
            await call.heard_nothing_but(welcome)
        with pytest.raises(AssertionError, match="is not of nothing"):
            await call.heard_nothing_but()

    in_a_call(story)


def test_a_failure_tells_what_was_heard() -> None:
    async def story(call: TestCall, other: TestCall) -> None:
        other.play(Tone(440, duration=1.0))
        await other.send_digits("7")
        with pytest.raises(AssertionError) as caught:
            await call.heard(ALL[0], within=2)
        told = str(caught.value)
        for part in ("5min.wav was to begin by", "a tone of 440 Hz", "silence", "Keys: 7 at", "0 lost", "answered at"):
            assert part in told

    in_a_call(story)


def test_a_phone_for_tests_lets_calls_ring_until_it_is_told_otherwise() -> None:
    stage = Stage()

    async def story() -> None:
        a, b = await stage.phone("alice"), await stage.phone("bob")
        assert isinstance(a, TestPhone)
        call = await a.dial("bob")
        other = await b.wait_call()
        assert other.state == "ringing"
        await call.wait_ringing(1)
        await other.answer()
        await call.wait_answered(1)
        await call.hangup()
        b.answers(hang_up_after=2.0)
        call = await a.call("bob")
        assert (await call.wait_ended()).by == "remote"
        assert call.duration == pytest.approx(2.0, abs=0.1)
        with pytest.raises(AssertionError, match="No call came"):
            await a.wait_call(within=1)

    stage.play(story())
    assert "INVITE bob" in stage.ladder() and "alice" in stage.ladder()
