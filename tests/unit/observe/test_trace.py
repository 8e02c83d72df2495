"""The recorder keeps what it may keep and tells its observers."""

from __future__ import annotations

import pytest

from flexosip.observe import Trace, WireMessage
from tests.unit.observe import scene


def test_kinds_are_told_from_the_first_bytes() -> None:
    def kind(data: bytes) -> str:
        return WireMessage(0.0, "in", "udp", scene.PHONE, scene.PBX, data).kind

    assert kind(b"OPTIONS sip:a SIP/2.0\r\n") == "sip"
    assert kind(b"\x80\x08" + bytes(10)) == "rtp"
    assert kind(b"\x80\x88" + bytes(10)) == "rtp"
    assert kind(b"\x80\xc8" + bytes(10)) == "rtcp"
    assert kind(b"\x00\x01" + bytes(18)) == "other"
    assert kind(b"\r\n\r\n") == "other"
    assert kind(b"") == "other"


def test_the_oldest_messages_leave_when_there_are_too_many() -> None:
    trace = Trace(max_messages=3)
    for number in range(5):
        trace.record(scene.sent(number, scene.PHONE, scene.PBX, b"OPTIONS"))
    assert [message.at for message in trace] == [2, 3, 4]
    assert trace.dropped == 2


def test_the_oldest_messages_leave_when_they_are_too_large() -> None:
    trace = Trace(max_bytes=100)
    for number in range(5):
        trace.record(scene.sent(number, scene.PHONE, scene.PBX, b"x" * 40))
    assert len(trace) == 2
    trace.record(scene.sent(9, scene.PHONE, scene.PBX, b"x" * 500))
    assert [message.at for message in trace] == [9]


def test_media_are_passed_over_unless_wanted() -> None:
    trace = Trace(media=False)
    for message in scene.call_in(0.0):
        trace.record(message)
    assert len(trace) == len(trace.signalling) == 16


def test_observers_see_each_message_until_they_stop() -> None:
    trace = Trace()
    seen: list[WireMessage] = []
    stop = trace.observe(seen.append)
    first = scene.sent(0, scene.PHONE, scene.PBX, b"OPTIONS")
    trace.record(first)
    stop()
    stop()
    trace.record(scene.sent(1, scene.PHONE, scene.PBX, b"OPTIONS"))
    assert seen == [first]


def test_clear_forgets_the_messages() -> None:
    trace = Trace()
    trace.record(scene.sent(0, scene.PHONE, scene.PBX, b"OPTIONS"))
    trace.clear()
    assert trace.messages == ()


def test_a_trace_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Trace(max_messages=0)
