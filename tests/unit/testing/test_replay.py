"""Recorded calls again: from what was on the wire of another test, and from a pcap file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from flexosip import Busy, ConfigurationError
from flexosip.observe import WireMessage, write_pcap
from flexosip.testing import Replay, Stage, read_pcap


def recorded(story: Any) -> list[WireMessage]:
    """What two phones at 10.0.0.1 and 10.0.0.2 say in a story."""
    stage = Stage(seed=11)

    async def main() -> None:
        await story(await stage.phone(), await stage.phone())

    stage.play(main())
    return stage.messages


async def long_call(a: Any, b: Any) -> None:
    b.answers(after=0.5)
    async with a.call("sip:10.0.0.2"):
        await (await b.wait_call()).wait_answered()


async def called_hangs_up(a: Any, b: Any) -> None:
    b.answers(after=0.5, hang_up_after=1.0)
    await (await a.call("sip:10.0.0.2")).wait_ended()


async def busy(a: Any, b: Any) -> None:
    b.refuses(486)
    with pytest.raises(Busy):
        await a.call("sip:10.0.0.2")


async def given_up(a: Any, b: Any) -> None:
    call = await a.dial("sip:10.0.0.2")
    await call.wait_ringing(5)
    await call.hangup()


async def with_info(a: Any, b: Any) -> None:
    b.answers()
    async with a.call("sip:10.0.0.2") as call:
        await call.send_digits("5", via="info")


def again(messages: list[WireMessage], ours: str, **options: Any) -> tuple[Any, Stage]:
    stage = Stage(seed=99)
    stage.host("somebody else"), stage.host("and another")  # our phone has another address than then

    async def main() -> Any:
        return await Replay(messages, ours=ours, **options).run(stage, await stage.phone())

    return stage.play(main()), stage


@pytest.mark.parametrize("ours", ["10.0.0.1", "10.0.0.2"])
@pytest.mark.parametrize("story", [long_call, called_hangs_up, busy, given_up], ids=lambda story: story.__name__)
def test_a_recorded_call_goes_the_same_way_again(story: Any, ours: str) -> None:
    messages = recorded(story)
    call, stage = again(messages, ours)
    assert call.end is not None
    kinds = [message.data.split(b"\r\n")[0].split(b"@")[0].split(b" sip:")[0] for message in messages]
    assert [message.data.split(b"\r\n")[0].split(b"@")[0].split(b" sip:")[0] for message in stage.messages] == kinds
    then, now = (b"".join(message.data for message in group if b"INVITE" in message.data) for group in (messages, stage.messages))
    assert b"10.0.0.2" in then and b"10.0.0.2" not in now


def test_other_requests_come_about_as_the_test_says() -> None:
    messages = recorded(with_info)
    call, stage = again(messages, "10.0.0.1", acts={"INFO": lambda call: call.send_digits("7", via="info")})
    assert any(b"Signal=7" in message.data for message in stage.messages) and call.end.by == "local"
    with pytest.raises(ConfigurationError, match="INFO of ours"):
        again(messages, "10.0.0.1")


def test_a_phone_that_does_something_else_fails_with_the_step() -> None:
    messages = [message for message in recorded(long_call) if not message.data.startswith(b"ACK")]
    with pytest.raises(AssertionError, match="Step 4 of the recording is 'BYE' of ours; now it was 'ACK'"):
        again(messages, "10.0.0.1")


def test_a_recording_is_read_back_from_a_pcap_file(tmp_path: Path) -> None:
    messages = recorded(long_call)
    write_pcap(tmp_path / "call.pcap", messages)
    capture = read_pcap(tmp_path / "call.pcap")
    assert [message.data for message in capture.messages] == [message.data for message in messages]
    assert capture.messages[-1].at == pytest.approx(messages[-1].at - messages[0].at, abs=1e-5)
    call, _ = again(capture.messages, "10.0.0.1")
    assert call.end.by == "local"


def test_ethernet_with_vlan_tags_is_read_and_what_is_no_whole_datagram_passed_over(tmp_path: Path) -> None:
    messages = recorded(busy)
    write_pcap(tmp_path / "raw.pcap", messages)
    raw = (tmp_path / "raw.pcap").read_bytes()
    out = raw[:20] + struct.pack("<I", 1)
    at = 24
    while at < len(raw):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", raw, at)
        frame = bytes(12) + b"\x81\x00\x00\x05\x08\x00" + raw[at + 16 : at + 16 + length]
        out += struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame
        out += struct.pack("<IIII", seconds, fraction, 60, 60) + frame[:60]
        at += 16 + length
    (tmp_path / "ethernet.pcap").write_bytes(out)
    capture = read_pcap(tmp_path / "ethernet.pcap")
    assert [message.data for message in capture.messages] == [message.data for message in messages]
    assert capture.passed_over == len(messages)


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture at all, but long enough to be one")
    (tmp_path / "new.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(40))
    for path, words in (("text", "no pcap file"), ("new.pcapng", "editcap"), ("absent", "cannot be read")):
        with pytest.raises(ConfigurationError, match=words):
            read_pcap(tmp_path / path)
    with pytest.raises(ConfigurationError, match="no call of"):
        Replay(recorded(busy), ours="192.0.2.1")
