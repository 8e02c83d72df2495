"""STUN messages: the published vectors, our own requests, and damage."""

from __future__ import annotations

import random
import struct

import pytest

from flexosip.net.stun import BINDING_SUCCESS, MAGIC_COOKIE, StunError, create_binding_request, is_stun, parse_stun
from tests.corpus import ROOT

VECTORS = ROOT / "rfc5769"
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"


def vector(name: str) -> bytes:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "mapped"),
    [("respv4.stun", ("192.0.2.1", 32853)), ("respv6.stun", ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_rfc_5769_responses_tell_the_mapped_address_and_are_authentic(name: str, mapped: tuple[str, int]) -> None:
    message = parse_stun(vector(name))
    assert (message.kind, message.mapped, message.error) == (BINDING_SUCCESS, mapped, None)
    assert message.is_authentic(PASSWORD)
    assert not message.is_authentic(PASSWORD + b"x")


def test_rfc_5769_requests_are_read() -> None:
    short = parse_stun(vector("req.stun"))
    assert short.kind == 1
    assert short.attribute(0x0006) == b"evtj:h6vY"
    assert short.is_authentic(PASSWORD)
    long = parse_stun(vector("reqltc.stun"))
    assert long.attribute(0x0014) == b"example.org"


@pytest.mark.parametrize("name", ["req.stun", "respv4.stun", "respv6.stun"])
def test_any_flipped_octet_of_a_vector_is_noticed(name: str) -> None:
    data = vector(name)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x55
        try:
            message = parse_stun(bytes(damaged))
            assert not (message.is_authentic(PASSWORD) and message.attribute(0x8028) is not None), position
        except StunError:
            continue


def test_our_request_is_a_binding_request_with_a_right_fingerprint() -> None:
    request = parse_stun(create_binding_request(b"abcdefghijkl"))
    assert (request.kind, request.transaction, request.mapped) == (1, b"abcdefghijkl", None)
    with pytest.raises(ValueError, match="12 octets"):
        create_binding_request(b"short")


def test_an_old_server_tells_the_address_unmasked() -> None:
    attribute = struct.pack("!HHBBH4s", 0x0001, 8, 0, 1, 4711, bytes((203, 0, 113, 9)))
    data = struct.pack("!HH", BINDING_SUCCESS, len(attribute)) + MAGIC_COOKIE + bytes(12) + attribute
    assert parse_stun(data).mapped == ("203.0.113.9", 4711)


def test_sip_is_no_stun() -> None:
    assert not is_stun(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")
    assert not is_stun(b"\r\n\r\n")
    with pytest.raises(StunError):
        parse_stun(b"SIP/2.0 200 OK\r\n\r\n")


def test_no_damage_does_more_than_raise_the_one_error() -> None:
    attribute = struct.pack("!HHBBH4s", 0x0020, 8, 0, 1, 4711, bytes((203, 0, 113, 9)))
    good = struct.pack("!HH", BINDING_SUCCESS, len(attribute)) + MAGIC_COOKIE + bytes(12) + attribute
    draw = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(good + draw.randbytes(draw.randrange(40)))
        for _ in range(draw.randint(0, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        struct.pack_into("!H", damaged, 2, draw.choice((len(damaged) - 20, draw.randrange(200))))
        try:
            parse_stun(bytes(damaged))
        except StunError:
            continue
