"""Sound and keys on a line that loses, doubles, delays and reorders, and among strangers who send what nobody agreed to."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flexosip import CallEnded, Phone, Tone
from flexosip.audio.levels import dominant_frequency, find_gaps, tone_level
from flexosip.codecs import create
from flexosip.simulation.link import Packet
from tests.hearing import hear
from tests.network.stage import RawPeer, World, sdp, settle
from tests.network.test_sound import sine

LINES: dict[str, dict[str, float]] = {
    "a good line": {},
    "5 % loss": {"loss": 0.05},
    "10 % reordered": {"reorder": 0.1},
    "jitter up to 80 ms": {"jitter": 0.08},
    "30 % doubled": {"duplicate": 0.3},
    "all of it": {"loss": 0.05, "reorder": 0.1, "jitter": 0.04, "duplicate": 0.3},
}
KEYS = "0123456789*#ABCD11225588"


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tone_keeps_its_level_and_pitch_without_a_long_gap(line: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "heard.wav"

    async def story(a: Phone, b: Phone, target: str) -> Any:
        figures: list[Any] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.record(path, side="in")
            await call.wait_ended()
            figures.append(call.statistics())

        async with a.call(target) as call:
            await call.play(Tone(440, duration=8.0))
        await asyncio.sleep(3)
        return figures[0]

    figures = World(seed=seed, **LINES[line]).run(story)
    sound = hear(path)
    # The jitter buffer may need a second to learn the line.
    steady = sound.cut(1.5, 7.5)
    assert dominant_frequency(steady, sound.rate) == pytest.approx(440, abs=2)
    assert tone_level(steady, sound.rate, 440) == pytest.approx(-16, abs=3.5)
    longest = max((gap.end - gap.start for gap in find_gaps(steady, sound.rate)), default=0.0)
    assert longest <= 0.06, f"{longest:.3f} s of silence"
    # It begins with the ACK, which may be lost and repeated.
    assert sound.seconds > 6
    lost = LINES[line].get("loss", 0.0)
    assert figures.fraction_lost == pytest.approx(lost, abs=0.045)
    assert (figures.duplicates > 50) == bool(LINES[line].get("duplicate"))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_keys_arrive_exactly_both_ways_while_sound_plays(line: str, seed: int) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        told = {"a": "", "b": ""}

        async def listen(call: Any, name: str) -> None:
            async for digit in call.digits():
                told[name] += digit

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.play(Tone(600))
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(call, "b"))
                group.create_task(call.send_digits(KEYS))

        async with a.call(target) as call:
            call.play(Tone(440))
            listening = asyncio.create_task(listen(call, "a"))
            await call.send_digits(KEYS)
            await asyncio.sleep(3)
        await listening
        await asyncio.sleep(3)
        assert told == {"a": KEYS, "b": KEYS}

    World(seed=seed, **LINES[line]).run(story)


@pytest.mark.parametrize("seed", range(4))
def test_calls_ring_once_and_are_answered_once_on_a_line_that_doubles_and_reorders(seed: int) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        rang = 0

        @b.on_call
        async def answer(call: Any) -> None:
            nonlocal rang
            rang += 1
            await call.ring()
            await call.answer()
            await call.wait_ended()

        for _ in range(10):
            async with a.call(target) as call:
                await call.play(Tone(440, duration=0.1))
            names = [type(event).__name__ async for event in call.events()]
            assert names.count("Answered") == 1 and names.count("Ringing") <= 1
        assert rang == 10

    World(seed=seed, duplicate=0.3, reorder=0.3).run(story)


def test_sound_is_back_at_once_after_the_line_was_dead(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "heard.wav"

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.record(path, side="in")
            await call.wait_ended()

        async with a.call(target) as call:
            call.play(Tone(440))
            await asyncio.sleep(2)
            world.network.change(loss=1.0)
            await asyncio.sleep(2)
            world.network.change(loss=0.0)
            await asyncio.sleep(1)

    world.run(story)
    sound = hear(path)
    assert sound.level(2.3, 3.8) < -60
    assert sound.tone(440, 4.2, 4.9) > -18


async def talking(phone: Phone, peer: RawPeer, path: Path) -> tuple[Any, Any, Any, tuple[str, int]]:
    """A call of the peer that is recorded: (call, its 200, the peer's sound, where it goes)."""
    calls: list[Any] = []

    @phone.on_call
    async def answer(call: Any) -> None:
        await call.answer()
        call.record(path, side="in")
        calls.append(call)
        await call.wait_ended()

    sound = peer.sound()
    ok = await peer.call()
    await asyncio.sleep(0.1)
    return calls[0], ok, sound, ("10.0.0.1", int(ok.body.split(b"m=audio ")[1].split()[0]))


@pytest.mark.parametrize("when", ["before the peer speaks", "while the peer speaks"])
def test_a_stranger_is_neither_heard_nor_spoken_to(when: str, tmp_path: Path) -> None:
    world = World()

    async def story(phone: Phone, peer: RawPeer) -> None:
        stranger = RawPeer(world.network, "10.0.0.66")
        spray = stranger.sound(7000)
        spray.ssrc, spray.sequence = 0x9999, 5000
        call, ok, sound, where = await talking(phone, peer, tmp_path / "heard.wav")
        codec = create("PCMA", 8000)
        mine, theirs = sine(440, 4.0), sine(1000, 4.0)
        if when == "before the peer speaks":
            # Four packets are fewer than a stream; then the right one speaks.
            for offset in range(0, 1280, 320):
                spray.send(where, codec.encode(theirs[offset : offset + 320]))
        for offset in range(0, len(mine) - 319, 320):
            sound.send(where, codec.encode(mine[offset : offset + 320]))
            spray.send(where, codec.encode(theirs[offset : offset + 320]))
            spray.rtp.sendto(b"\x80\xc8\0\6" + bytes(24), (where[0], where[1] + 1))
            spray.rtp.sendto(b"garbage", where)
            await asyncio.sleep(0.02)
        assert not spray.receive()
        assert len(sound.receive()) > 150
        assert call.statistics().discarded_by_source > 100
        peer.within(ok, "BYE", cseq=2)
        await settle(phone)
        sound.close()
        spray.close()

    world.run_with_peer(story)
    heard = hear(tmp_path / "heard.wav")
    assert heard.tone(440, 0.5, 3.8) > -18
    assert heard.tone(1000, 0.5, 3.8) < -45


def test_sound_from_behind_a_nat_is_heard_and_answered_where_it_comes_from(tmp_path: Path) -> None:
    world = World()

    async def story(phone: Phone, peer: RawPeer) -> None:
        _, ok, sound, where = await talking(phone, peer, tmp_path / "heard.wav")
        outside = RawPeer(world.network, "10.0.0.50").sound(30000)
        outside.ssrc = 0x77
        await outside.play(where, sine(440, 2.0))
        assert len(outside.receive()) > 70
        sound.receive()
        peer.within(ok, "BYE", cseq=2)
        await settle(phone)
        sound.close()
        outside.close()

    world.run_with_peer(story)
    assert hear(tmp_path / "heard.wav").tone(440, 0.6, 1.8) > -18


def test_a_new_ssrc_with_other_numbers_plays_on(tmp_path: Path) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, ok, sound, where = await talking(phone, peer, tmp_path / "heard.wav")
        await sound.play(where, sine(440, 1.0))
        sound.ssrc, sound.sequence, sound.timestamp = 0xABCD, 60000, 4_000_000_000
        await sound.play(where, sine(1000, 1.0))
        peer.within(ok, "BYE", cseq=2)
        await settle(phone)
        sound.close()

    World().run_with_peer(story)
    heard = hear(tmp_path / "heard.wav")
    assert heard.tone(440, 0.3, 0.9) > -18
    assert heard.tone(1000, 1.4, 1.9) > -18


def test_late_packets_of_a_closed_call_are_not_heard_in_the_next_one(tmp_path: Path) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, ok, sound, where = await talking(phone, peer, tmp_path / "one.wav")
        peer.within(ok, "BYE", cseq=2)
        await call.wait_ended()
        sound.close()
        call, ok, sound, next_where = await talking_again(phone, peer, tmp_path / "two.wav")
        assert next_where != where
        await sound.play(where, sine(440, 0.5))
        assert call.statistics().packets_received == 0
        peer.within(ok, "BYE", cseq=2)
        await settle(phone)
        sound.close()

    async def talking_again(phone: Phone, peer: RawPeer, path: Path) -> Any:
        original = peer.call

        async def call() -> Any:
            return await original(call_id="raw-2")

        peer.call = call  # type: ignore[method-assign]
        return await talking(phone, peer, path)

    World().run_with_peer(story)


def test_nothing_of_ours_leaves_the_grid_or_repeats_a_number_on_a_bad_line() -> None:
    world = World(**LINES["all of it"])
    sent: list[Packet] = []
    world.network.observers.append(lambda packet: sent.append(packet) if packet.source[0] == "10.0.0.1" else None)

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            await call.play(Tone(440, duration=3))

    world.run(story)
    port = max({packet.source[1] for packet in sent if packet.source[1] % 2 == 0 and packet.source[1] >= 16384})
    rtp = [packet for packet in sent if packet.source[1] == port]
    times = [packet.at for packet in rtp]
    assert all(second - first == pytest.approx(0.02, abs=1e-6) for first, second in pairwise(times))
    numbers = [int.from_bytes(packet.data[2:4], "big") for packet in rtp]
    assert all((second - first) & 0xFFFF == 1 for first, second in pairwise(numbers))


@pytest.mark.parametrize("limit", [30.0, 5.0])
def test_a_call_whose_other_side_has_died_is_ended_and_says_why(limit: float) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered(5)
        sound = peer.sound()
        started = phone.loop.time()
        with pytest.raises(CallEnded):
            await call.play(Tone(440))
        assert phone.loop.time() - started == pytest.approx(limit, abs=1)
        assert (call.end.by, call.end.status) == ("timeout", 408)
        bye = await peer.request("BYE")
        assert "408" in (bye.headers.get("Reason") or "")
        peer.answer(bye, 200)
        names = [type(event).__name__ async for event in call.events()]
        assert names[-2:] == ["MediaSilent", "Ended"] or names[-3:-1] == ["MediaSilent", "PlaybackFinished"]
        await settle(phone)
        sound.close()

    World().run_with_peer(story, media_timeout=limit)


@pytest.mark.parametrize("why", ["no limit", "on hold", "still ringing"])
def test_silence_is_borne_where_nobody_has_to_speak(why: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9")
        invite = await peer.request("INVITE")
        peer.answer(invite, 183 if why == "still ringing" else 200, sdp(direction="recvonly" if why == "on hold" else "sendrecv"))
        await asyncio.sleep(100)
        assert call.end is None
        if why == "still ringing":
            peer.answer(invite, 200, sdp())
            await call.wait_answered(1)
            await asyncio.sleep(4)
            assert call.end is None
            await asyncio.sleep(2)
            assert call.end is not None
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story, media_timeout=None if why == "no limit" else 5.0)
