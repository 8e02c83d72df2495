"""Bodies and headers of events, damaged in every way: read, or refused with the error that becomes an answer; nothing else."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from flexosip.sip.dialog_info import DialogInfo, DialogTable, WatchedDialog
from flexosip.sip.event_headers import Event, SubscriptionState
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sip.multipart import parse_multipart
from flexosip.sip.presence import Presence

CALL = WatchedDialog("1", "early", "recipient", "c1", "l", "r", "sip:a@b", "sip:c@d", "C", "sip:a@e", "sip:c@f", "cancelled", 487, 12)


def read_table(body: bytes) -> None:
    """A document, and what a watcher makes of it."""
    table = DialogTable()
    table.receive(DialogInfo.parse(body))
    assert table.state in ("idle", "trying", "early", "confirmed", "terminated")


def text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """A parser of headers, which get their octets decoded so; what was read is written and read back."""

    def read(body: bytes) -> None:
        value = parse(body.decode("utf-8", "surrogateescape"))
        assert parse(str(value)) == value

    return read


def again(kind: type[Any]) -> Callable[[bytes], Any]:
    """What was read of a body can be told to others: it is written and read back."""

    def read(body: bytes) -> None:
        value = kind.parse(body)
        assert kind.parse(bytes(value)) == value

    return read


CASES: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "summary": (again(MessageSummary), bytes(MessageSummary(True, "sip:a@b", (("voice", MessageCount(1, 2, 3, 4)),)))),
    "dialogs": (read_table, bytes(DialogInfo("sip:a@b", 3, False, (CALL, CALL)))),
    "told dialogs": (again(DialogInfo), bytes(DialogInfo("sip:a@b", 3, True, (CALL,)))),
    "presence": (again(Presence), bytes(Presence.simple("sip:a@b", True, note="x & y", activity="away"))),
    "multipart": (
        lambda body: parse_multipart(body, 'multipart/mixed;boundary="b"'),
        b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\n\r\nx\r\n--b--\r\n",
    ),
    "event": (text(Event.parse), b'dialog;id=3;call-id="a;b"'),
    "state": (text(SubscriptionState.parse), b"terminated;reason=probation;retry-after=60;x=y"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_of_any_kind_is_read_or_refused(name: str) -> None:
    read, good = CASES[name]
    read(good)
    chance = random.Random(name)
    pieces = [b"<", b">", b"&", b'"', b"\r\n", b"\x00", b"\xff", b"--b", b":", b";", b"=", b"/", b"9" * 30, b"<!DOCTYPE x>", b"<![CDATA["]
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(body) + 1)
            kind = chance.randrange(4)
            if kind == 0:
                body[at : at + chance.randrange(1, 12)] = b""
            elif kind == 1:
                body[at:at] = chance.choice(pieces)
            elif kind == 2:
                body[at : at + 1] = bytes((chance.randrange(256),))
            else:
                start = chance.randrange(len(body) + 1)
                body[at:at] = body[start : start + chance.randrange(40)]
        with contextlib.suppress(SipParseError):
            read(bytes(body))
