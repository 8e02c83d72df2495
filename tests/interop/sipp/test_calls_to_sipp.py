"""A Phone calls SIPp."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path

import pytest

from flexosip import AuthenticationError, Busy, Call, CallFailed, Declined, NoAnswer, NotFound, Phone, Tone, Unavailable
from tests.interop.listening import assert_tone
from tests.interop.peers import DOMAIN, Sipp

pytestmark = [
    pytest.mark.peer("sipp"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root"),
]

LISTEN = "127.0.0.1:0"


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sound_and_digits_both_ways(tmp_path: Path, transport: str) -> None:
    heard, pressed = tmp_path / "heard.wav", list[str]()
    audio = {"hz": 700, "digits": "159#", "seconds": 2}
    async with Sipp(tmp_path, "uas_play_wait_bye", transport=transport, audio=audio) as sipp, Phone(listen=LISTEN) as phone:
        target = f"sip:bob@{sipp.address}" + (";transport=tcp" if transport == "t1" else "")
        async with phone.call(target, ring_timeout=5) as call:
            call.record(heard, side="in")

            async def listen() -> None:
                async for digit in call.digits():
                    pressed.append(digit)

            listening = asyncio.create_task(listen())
            call.play(Tone(440))
            await asyncio.sleep(3.2)
            listening.cancel()
        await sipp.done()
    assert "".join(pressed) == "159#"
    assert_tone(heard, 700, seconds=1.8)


async def test_our_sound_comes_back_from_an_echo(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with Sipp(tmp_path, "uas_answer", options=("-rtp_echo",)) as sipp, Phone(listen=LISTEN) as phone:
        async with phone.call(f"sip:bob@{sipp.address}", ring_timeout=5) as call:
            call.record(heard, side="in")
            call.play(Tone(440))
            await asyncio.sleep(2)
        await sipp.done()
    assert_tone(heard, 440, seconds=1.7)


async def test_the_other_side_hangs_up(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_play", seconds=1) as sipp, Phone(listen=LISTEN) as phone:
        call = await phone.dial(f"sip:bob@{sipp.address}")
        await call.wait_ringing(5)
        await call.wait_answered(5)
        end = await asyncio.wait_for(call.wait_ended(), 5)
        assert (end.by, end.status) == ("remote", 200)
        await sipp.done()


def digest_response(method: str, header: str, password: str) -> str:
    """The response that RFC 7616 asks for with MD5 and qop=auth."""
    given = {key.lower(): value for key, value in re.findall(r'(\w+)="?([^",]+)', header)}

    def h(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    a1 = h(f"{given['username']}:{given['realm']}:{password}")
    a2 = h(f"{method}:{given['uri']}")
    return h(f"{a1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{a2}")


@pytest.mark.parametrize("scenario", ["uas_401", "uas_407"])
async def test_a_challenge_is_answered(tmp_path: Path, scenario: str) -> None:
    async with Sipp(tmp_path, scenario) as sipp:
        async with Phone(f"sip:alice@{DOMAIN}", password="secret", proxy=sipp.address, register=False, listen=LISTEN) as phone:
            async with phone.call("bob", ring_timeout=5):
                await asyncio.sleep(0.3)
            await sipp.done()
    received = [text for way, text in sipp.messages if way == "received" and "uthorization: Digest" in text]
    assert received
    for text in received:
        line = next(line for line in text.splitlines() if "uthorization: Digest" in line)
        match = re.search(r'response="([0-9a-f]{32})"', line)
        assert match is not None
        # an ACK repeats the credentials of its INVITE (RFC 3261 §22.1)
        method = text.split()[0].replace("ACK", "INVITE")
        assert match[1] == digest_response(method, line, "secret")


async def test_a_wrong_password_ends_the_try_at_once(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_401", password="right") as sipp:
        async with Phone(f"sip:alice@{DOMAIN}", password="wrong", proxy=sipp.address, register=False, listen=LISTEN) as phone:
            with pytest.raises((AuthenticationError, CallFailed)) as caught:
                await phone.call("bob", ring_timeout=5)
            assert "wrong" not in str(caught.value)
            await sipp.done()
    assert sipp.count("received", "INVITE ") == 2


async def test_a_call_that_rings_too_long_is_cancelled(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_cancel") as sipp, Phone(listen=LISTEN) as phone:
        with pytest.raises(NoAnswer):
            await phone.call(f"sip:bob@{sipp.address}", ring_timeout=0.7)
        await sipp.done()


async def test_no_cancel_is_sent_before_a_provisional_answer(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_silent_then_answer") as sipp, Phone(listen=LISTEN) as phone:
        with pytest.raises(NoAnswer):
            await phone.call(f"sip:bob@{sipp.address}", ring_timeout=0.4)
        await sipp.done()
    starts = [(way, text.split("\n")[0]) for way, text in sipp.messages]
    ringing = next(index for index, (way, text) in enumerate(starts) if way == "sent" and text.startswith("SIP/2.0 180"))
    cancel = next(index for index, (way, text) in enumerate(starts) if text.startswith("CANCEL "))
    assert ringing < cancel


async def test_an_answer_that_crosses_our_cancel_is_acknowledged_and_ended(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_cancel_race") as sipp, Phone(listen=LISTEN) as phone:
        with pytest.raises(NoAnswer):
            await phone.call(f"sip:bob@{sipp.address}", ring_timeout=0.5)
        await sipp.done()


async def test_every_repeated_200_is_acknowledged(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_repeat_200", options=("-nr",)) as sipp, Phone(listen=LISTEN) as phone:
        async with phone.call(f"sip:bob@{sipp.address}", ring_timeout=5):
            await asyncio.sleep(1)
        await sipp.done()
    assert sipp.count("received", "ACK ") == 3


async def test_early_media_is_heard(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with Sipp(tmp_path, "uas_early_media", audio={"hz": 425, "seconds": 1}) as sipp, Phone(listen=LISTEN) as phone:
        call = await phone.dial(f"sip:bob@{sipp.address}")
        async for event in call.events():
            if type(event).__name__ == "EarlyMedia":
                call.record(heard, side="in")
                break
        await call.wait_answered(5)
        await asyncio.sleep(0.2)
        await call.hangup()
        await sipp.done()
    assert_tone(heard, 425, seconds=0.7)


async def test_the_other_side_holds_and_resumes(tmp_path: Path) -> None:
    seen: list[str] = []
    async with Sipp(tmp_path, "uas_hold", audio={"seconds": 3}) as sipp, Phone(listen=LISTEN) as phone:
        call: Call = await phone.dial(f"sip:bob@{sipp.address}")
        async for event in call.events():
            seen.append(type(event).__name__)
        await sipp.done()
    assert [name for name in seen if name in ("Held", "Resumed")] == ["Held", "Resumed"]


async def test_we_hold_and_resume(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_serve") as sipp, Phone(listen=LISTEN) as phone:
        async with phone.call(f"sip:bob@{sipp.address}", ring_timeout=5) as call:
            await call.hold()
            await call.resume()
        await sipp.done()
    offers = [text for way, text in sipp.messages if way == "received" and text.startswith("INVITE ")]
    assert ["a=sendonly" in offer for offer in offers] == [False, True, False]


async def test_digits_go_by_info_where_telephone_event_is_missing(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_info") as sipp, Phone(listen=LISTEN) as phone:
        async with phone.call(f"sip:bob@{sipp.address}", ring_timeout=5) as call:
            await call.send_digits("12#")
        await sipp.done()
    bodies = [text for way, text in sipp.messages if way == "received" and text.startswith("INFO ")]
    assert [re.search(r"Signal\s*=\s*(\S)", text)[1] for text in bodies] == ["1", "2", "#"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("404 Not Found", NotFound),
        ("480 Temporarily Unavailable", Unavailable),
        ("486 Busy Here", Busy),
        ("503 Service Unavailable", Unavailable),
        ("603 Decline", Declined),
    ],
)
async def test_a_refusal_is_a_typed_error(tmp_path: Path, status: str, error: type[CallFailed]) -> None:
    async with Sipp(tmp_path, "uas_refuse", words={"STATUS": status}) as sipp, Phone(listen=LISTEN) as phone:
        with pytest.raises(error) as caught:
            await phone.call(f"sip:bob@{sipp.address}", ring_timeout=5)
        assert caught.value.status == int(status[:3])
        assert caught.value.explain()
        await sipp.done()


async def test_a_redirection_is_not_followed_but_told(tmp_path: Path) -> None:
    keys = {"redirect": "carol@127.0.0.1"}
    async with Sipp(tmp_path, "uas_redirect", keys=keys) as sipp, Phone(listen=LISTEN, follow_redirects=False) as phone:
        with pytest.raises(CallFailed) as caught:
            await phone.call(f"sip:bob@{sipp.address}", ring_timeout=5)
        assert caught.value.status == 302
        await sipp.done()
