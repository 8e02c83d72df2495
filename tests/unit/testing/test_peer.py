"""The scripted peer: whole messages, templates, raw octets, and RTP packet by packet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.testing import RawPeer, Stage, TestCall, sdp

OK = """
    SIP/2.0 200 OK
    {vias}
    {routes}
    From: {from}
    To: {to};tag=text
    Call-ID: {call_id}
    CSeq: {cseq} {method}
    Contact: <{uri}>
    X-Text: {note}
    Content-Type: application/sdp
    Content-Length: {length}

    {sdp}
"""
BYE = """
    BYE {contact} SIP/2.0
    Via: SIP/2.0/UDP {ip}:{port};branch={new_branch}
    Max-Forwards: 70
    From: {to}
    To: {from}
    Call-ID: {call_id}
    CSeq: 7 BYE
    Content-Length: {length}
"""


def play(story: Any, **line: Any) -> Any:
    stage = Stage(**line)

    async def main() -> Any:
        phone = await stage.phone()
        return await story(phone, await stage.peer())

    return stage.play(main())


def test_a_call_written_as_text() -> None:
    async def story(phone: Any, peer: RawPeer) -> None:
        call = await phone.dial(peer.uri)
        await peer.expect("INVITE")
        peer.send_text(OK, note="line")
        await call.wait_answered(1)
        assert call.headers.get("X-Text") == "line"
        await peer.expect("ACK")
        peer.send_text(BYE)
        await peer.expect(200)
        assert (await call.wait_ended()).by == "remote"
        await peer.expect_nothing(1.0)

    play(story)


def test_what_does_not_come_fails_and_says_what_did() -> None:
    async def story(phone: Any, peer: RawPeer) -> None:
        call = await phone.dial(peer.uri)
        with pytest.raises(AssertionError, match=r"no BYE within 1 s; seen: \['INVITE"):
            await peer.expect("BYE", within=1)
        await phone.dial(peer.uri)
        with pytest.raises(AssertionError, match="nothing was to come, but 'INVITE"):
            await peer.expect_nothing(1)
        peer.send_raw(b"no SIP at all\r\n\r\n")
        invite = peer.seen[0]
        peer.answer(invite, 486)  # type: ignore[arg-type]
        with pytest.raises(Exception, match="486"):
            await call.wait_answered(1)

    play(story)


async def answered(phone: Any, peer: RawPeer) -> tuple[TestCall, tuple[str, int]]:
    phone.answers()
    response = await peer.call()
    port = int(response.body.decode().split("m=audio ")[1].split()[0])
    return await phone.wait_call(), (peer.remote[0], port)


def test_sound_packet_by_packet() -> None:
    async def story(phone: Any, peer: RawPeer) -> None:
        call, remote = await answered(phone, peer)
        sound = peer.sound()
        tone = tone_pcm(Tone(440), 8000, 1.0)
        await sound.play(remote, tone, jitter=0.03, dropped=lambda count: count == 20)
        await call.heard_tone(440, within=0, duration=0.3)
        sound.become_another()
        await sound.play(remote, tone_pcm(Tone(1000), 8000, 0.6), marker=False)
        await call.heard_tone(1000, within=0)
        await sound.press(remote, "5")
        await sound.press(remote, "6", ends=0)
        await sound.press(remote, "7", packets=3, marker=False)
        await call.heard_digits("567")
        statistics = call.statistics()
        assert statistics is not None and statistics.lost >= 1
        packets = sound.receive()
        assert len(packets) > 50 and {packet.payload_type for packet in packets} == {8}
        await call.hangup()
        peer.answer(await peer.expect("BYE"), 200)
        sound.close()

    play(story)


def test_a_peer_ignores_keep_alives_and_counts_what_it_saw() -> None:
    async def story(phone: Any, peer: RawPeer) -> None:
        other = await peer.host.network.host().open_datagram("10.0.0.3", 5060, lambda *_: None)
        for keep_alive in (b"\r\n\r\n", b"\0\0\0\0", b""):
            other.send(keep_alive, (peer.ip, 5060))
        await asyncio.sleep(0.1)
        other.close()
        assert peer.seen == [] and peer.count("INVITE") == 0
        await phone.dial(peer.uri)
        await asyncio.sleep(0.1)
        assert peer.count("INVITE") == 1

    play(story)


def test_a_description_is_for_any_address() -> None:
    assert "IN IP6 fd00::1" in sdp(host="fd00::1")
    assert "a=inactive" in sdp(direction="inactive")
