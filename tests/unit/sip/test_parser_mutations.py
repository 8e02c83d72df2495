"""Thousands of damaged messages: each is understood or refused by one typed error, and what is understood can be written again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from flexosip.sip.digest import DigestClient, parse_challenges
from flexosip.sip.framing import StreamFramer
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import SipParseError, check_message, parse_message
from tests.corpus import entries

OWN = [
    (
        b"INVITE sip:bell@[2001:db8::1]:5070;transport=tcp SIP/2.0\r\n"
        b"Via: SIP/2.0/TCP a.example:5060;branch=z9hG4bK1;rport, SIP/2.0/UDP b\r\n"
        b'From: "A, \\"B\\"" <sip:a@b;x=y>;tag=1\r\nTo: <sip:bell@h?x=y>;tag=2\r\nCall-ID: 1@h\r\nCSeq: 1 INVITE\r\n'
        b'Max-Forwards: 70\r\nm: "C" <sip:c@d>;q=0.5, sip:e@f;expires=60\r\nRecord-Route: <sip:p;lr>,\r\n <sip:q;lr>\r\n'
        b"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
        b'Authorization: Digest username="a", realm="r", nonce="n", uri="sip:h", response="0"\r\nContent-Length: 3\r\n\r\nv=0'
    ),
    (
        b"SIP/2.0 401 Unauthorized\r\nv: SIP/2.0/UDP [::1]:5060;received=[::2];rport=7;branch=z9hG4bK2\r\n"
        b"f: <tel:+49;ext=1>;tag=1\r\nt: x:y\r\ni: 2\r\nCSeq: 2 REGISTER\r\n"
        b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\nContact: *\r\nExpires: 0\r\n\r\n'
    ),
]
PIECES = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\x00",
    b";",
    b",",
    b"=",
    b'"',
    b"<",
    b">",
    b"\\",
    b"@",
    b":",
    b"%",
    b"[",
    b"]",
    b" ",
    b"\t",
    b"\xff",
    b"99999999999",
    b"-1",
    b"\r\n ",
    b"\r\n\r\n",
    b"SIP/2.0",
    b"Via: ",
    b"l: 5\r\n",
    "ü".encode(),
    b"\xed\xa0\x80",
]


def flip(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def cut(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.randrange(1, 40)]


def insert(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start:start] = dice.choice(PIECES) * dice.choice((1, 1, 1, 2, 30))


def repeat_line(data: bytearray, dice: random.Random) -> None:
    lines = bytes(data).split(b"\r\n")
    position = dice.randrange(len(lines))
    lines.insert(dice.randrange(len(lines)), lines[position])
    data[:] = b"\r\n".join(lines)


def replace(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start : start + dice.randrange(1, 12)] = dice.choice(PIECES)


def truncate(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [flip, cut, insert, repeat_line, replace, truncate]


def splice(data: bytes, other: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


def use_everything(message: Request | Response) -> None:
    """Touch what the stack touches after the check; none of it may raise."""
    _ = message.via.branch, message.via.rport, message.vias, message.from_.tag, message.to.tag, message.call_id, message.cseq
    _ = message.content_type, bytes(message), repr(message)
    if isinstance(message, Request) or message.cseq.method != "REGISTER":
        _ = message.contact, message.contacts, message.record_routes
    if isinstance(message, Request):
        _ = message.routes, message.max_forwards, message.expires
        again = parse_message(bytes(message.create_response(200, to_tag="t")))
    else:
        parse_challenges(message)
        again = parse_message(bytes(message))
    check_message(again)
    for address in (message.from_, message.to, *again.vias):
        str(address)


def survive(data: bytes) -> bool:
    try:
        message = parse_message(data)
        check_message(message)
    except SipParseError as error:
        assert 400 <= error.status_hint <= 599
        if error.message is not None:
            bytes(error.message.create_response(error.status_hint, error.reason, to_tag="t"))
        return False
    use_everything(message)
    return True


@pytest.mark.parametrize("seed", range(8))
def test_damaged_messages_end_in_one_typed_error_or_are_usable(seed: int) -> None:
    dice = random.Random(seed)
    seeds = OWN * 10 + [entry.data for entry in entries("sip")]
    usable = 0
    for _ in range(700):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.choice((1, 1, 2, 5))):
            if len(data) > 1:
                dice.choice(MUTATIONS)(data, dice)
        usable += survive(bytes(data))
    assert 30 < usable < 650, "the damage is too little or too much to prove anything"


def test_spliced_messages_end_in_one_typed_error_or_are_usable() -> None:
    dice = random.Random(99)
    seeds = OWN * 10 + [entry.data for entry in entries("sip")]
    for _ in range(500):
        survive(splice(dice.choice(seeds), dice.choice(seeds), dice))


def test_damaged_streams_end_in_a_typed_error_or_wait() -> None:
    dice = random.Random(7)
    for _ in range(500):
        data = bytearray(b"".join(OWN))
        dice.choice(MUTATIONS)(data, dice)
        whole = frame(bytes(data), len(data))
        assert frame(bytes(data), dice.randrange(1, 50)) == whole


def frame(data: bytes, size: int) -> tuple[list[bytes], str]:
    framer = StreamFramer()
    messages: list[bytes] = []
    for start in range(0, len(data), size):
        try:
            messages += framer.receive(data[start : start + size])
        except SipParseError:
            break
    return messages, "" if framer.error is None else str(framer.error)


def test_damaged_challenges_never_crash() -> None:
    dice = random.Random(3)
    request = parse_message(OWN[0])
    assert isinstance(request, Request)
    for _ in range(2000):
        value = bytearray(b'Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", Digest realm="s", nonce="m"')
        for _ in range(3):
            dice.choice((flip, cut, insert, replace))(value, dice)
        response = Response(401)
        text = value.decode("utf-8", "surrogateescape")
        try:
            response.headers.add("WWW-Authenticate", text)
        except ValueError:
            continue
        client = DigestClient("u", "p", realms=None, random=random.Random(1))
        if client.challenged(response, request):
            client.authorize(request)
            parse_message(bytes(request))
