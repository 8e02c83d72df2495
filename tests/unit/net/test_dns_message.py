"""DNS messages: what we ask, what we understand, and what hostile answers cannot do."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.net.dns_message import DnsFormatError, create_query, parse_reply
from flexosip.net.dns_records import AddressRecord, NaptrRecord, RecordKind, ServiceRecord

ID = 0x1234
KIND_NUMBERS = {"A": 1, "AAAA": 28, "SRV": 33, "NAPTR": 35, "CNAME": 5, "SOA": 6}


def name_bytes(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"


def record(owner: bytes, kind: str, data: bytes, ttl: int = 300) -> bytes:
    return owner + struct.pack("!HHIH", KIND_NUMBERS[kind], 1, ttl, len(data)) + data


def reply(
    name: str, kind: RecordKind, *answers: bytes, flags: int = 0x8180, number: int = ID, authorities: tuple[bytes, ...] = ()
) -> bytes:
    question = name_bytes(name) + struct.pack("!HH", KIND_NUMBERS[kind], 1)
    return struct.pack("!HHHHHH", number, flags, 1, len(answers), len(authorities), 0) + question + b"".join((*answers, *authorities))


def srv(priority: int, weight: int, port: int, target: bytes) -> bytes:
    return struct.pack("!HHH", priority, weight, port) + target


QUESTION = b"\xc0\x0c"  # a pointer to the name of the question


def test_a_question_asks_for_recursion_and_one_name() -> None:
    query = create_query(ID, "_sip._udp.Example.com.", "SRV")
    assert query == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04_sip\x04_udp\x07example\x03com\x00\x00\x21\x00\x01"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".com", ".".join(["abcdefg"] * 40), "bücher.example"])
def test_what_is_no_domain_name_is_not_asked(name: str) -> None:
    with pytest.raises(DnsFormatError):
        create_query(ID, name, "A")


def test_srv_records_come_with_their_compressed_names_and_the_least_ttl() -> None:
    name = "_sip._udp.example.com"
    target = b"\x01a" + struct.pack("!H", 0xC000 | 12 + 10)  # "a" and a pointer to "example.com" in the question
    data = reply(
        name, "SRV", record(QUESTION, "SRV", srv(10, 60, 5060, target), ttl=90), record(QUESTION, "SRV", srv(20, 0, 5062, b"\0"), ttl=60)
    )
    answer = parse_reply(data, ID, name, "SRV")
    assert answer.records == (ServiceRecord(10, 60, 5060, "a.example.com"), ServiceRecord(20, 0, 5062, ""))
    assert (answer.ttl, answer.status, answer.truncated) == (60.0, 0, False)


def test_naptr_records_are_read_with_service_in_upper_and_flags_in_lower_case() -> None:
    data = struct.pack("!HH", 10, 50) + b"\x01S\x07sip+d2u\x00" + name_bytes("_sip._udp.tel.t-online.de")
    answer = parse_reply(reply("tel.t-online.de", "NAPTR", record(QUESTION, "NAPTR", data)), ID, "TEL.t-online.de.", "NAPTR")
    assert answer.records == (NaptrRecord(10, 50, "s", "SIP+D2U", "", "_sip._udp.tel.t-online.de"),)


@pytest.mark.parametrize(
    ("kind", "data", "ip"), [("A", bytes((192, 0, 2, 1)), "192.0.2.1"), ("AAAA", bytes.fromhex("20010db8" + "0" * 23 + "1"), "2001:db8::1")]
)
def test_addresses_are_read(kind: RecordKind, data: bytes, ip: str) -> None:
    assert parse_reply(reply("a.b", kind, record(QUESTION, kind, data)), ID, "a.b", kind).records == (AddressRecord(ip),)


def test_an_alias_is_followed_within_the_answer_and_its_ttl_counts() -> None:
    answers = (
        record(QUESTION, "CNAME", name_bytes("real.test"), ttl=5),
        record(name_bytes("real.test"), "A", bytes(4)),
        record(name_bytes("other.test"), "A", bytes((1, 1, 1, 1))),
    )
    answer = parse_reply(reply("a.test", "A", *answers), ID, "a.test", "A")
    assert answer.records == (AddressRecord("0.0.0.0"),)
    assert answer.ttl == 5


def test_aliases_in_a_circle_lead_to_nothing() -> None:
    answers = (record(QUESTION, "CNAME", name_bytes("b.test")), record(name_bytes("b.test"), "CNAME", name_bytes("a.test")))
    assert parse_reply(reply("a.test", "A", *answers), ID, "a.test", "A").records == ()


def test_the_lack_of_a_name_is_good_for_as_long_as_the_soa_says() -> None:
    soa = record(name_bytes("test"), "SOA", b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, 42), ttl=900)
    answer = parse_reply(reply("a.test", "SRV", flags=0x8183, authorities=(soa,)), ID, "a.test", "SRV")
    assert (answer.records, answer.status, answer.ttl) == ((), 3, 42.0)
    assert parse_reply(reply("a.test", "SRV"), ID, "a.test", "SRV").ttl == 60.0


def test_a_ttl_with_the_highest_bit_counts_as_0() -> None:
    assert parse_reply(reply("a.b", "A", record(QUESTION, "A", bytes(4), ttl=0xFFFFFFFF)), ID, "a.b", "A").ttl == 0.0


def test_truncation_is_told() -> None:
    assert parse_reply(reply("a.b", "SRV", flags=0x8380), ID, "a.b", "SRV").truncated


HOSTILE = {
    "nothing": b"",
    "a header only": struct.pack("!HHHHHH", ID, 0x8180, 1, 1, 0, 0),
    "another id": reply("a.test", "SRV", number=ID + 1),
    "a question": reply("a.test", "SRV", flags=0x0100),
    "another opcode": reply("a.test", "SRV", flags=0x9180),
    "no question": struct.pack("!HHHHHH", ID, 0x8180, 0, 0, 0, 0),
    "another name": reply("b.test", "SRV"),
    "another kind": reply("a.test", "A"),
    "a pointer to itself": struct.pack("!HHHHHH", ID, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c\x00\x21\x00\x01",
    "a pointer forwards": struct.pack("!HHHHHH", ID, 0x8180, 1, 0, 0, 0) + b"\xc0\x20" + bytes(40),
    "two pointers at each other": reply("a.test", "SRV", record(QUESTION, "SRV", srv(1, 1, 1, struct.pack("!H", 0xC000 | 42)))),
    "a label of a kind that does not exist": struct.pack("!HHHHHH", ID, 0x8180, 1, 0, 0, 0) + b"\x80abc" + bytes(8),
    "more records than there are octets": struct.pack("!HHHHHH", ID, 0x8180, 1, 65535, 0, 0) + reply("a.test", "SRV")[12:],
    "a record longer than the answer": reply("a.test", "SRV", QUESTION + struct.pack("!HHIH", 33, 1, 1, 500) + bytes(8)),
    "an SRV of two octets": reply("a.test", "SRV", record(QUESTION, "SRV", b"ab")),
    "an SRV with octets behind it": reply("a.test", "SRV", record(QUESTION, "SRV", srv(1, 1, 1, b"\0") + b"xyz")),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_refused(data: bytes) -> None:
    with pytest.raises(DnsFormatError):
        parse_reply(data, ID, "a.test", "SRV")


def test_an_address_of_a_wrong_length_and_a_naptr_cut_short_are_refused() -> None:
    for kind, data in (("A", bytes(5)), ("AAAA", bytes(4)), ("NAPTR", b"\0\1\0\1\x20S"), ("NAPTR", b"\0\1\0")):
        with pytest.raises(DnsFormatError):
            parse_reply(reply("a.b", kind, record(QUESTION, kind, data)), ID, "a.b", kind)  # type: ignore[arg-type]


def test_a_chain_of_pointers_is_read_in_linear_time_and_bounded() -> None:
    # Each record's name points to the one before, as deep as a datagram allows.
    owner, answers = QUESTION, []
    position = len(reply("a.test", "SRV"))
    for _ in range(200):
        answers.append(record(b"\x01x" + owner, "A", bytes(4)))
        owner = struct.pack("!H", 0xC000 | position)
        position += len(answers[-1])
    with pytest.raises(DnsFormatError, match="too long"):
        parse_reply(reply("a.test", "SRV", *answers), ID, "a.test", "SRV")


def test_names_of_odd_octets_cannot_forge_a_name_or_a_log_line() -> None:
    target = b"\x06a.b\r\nc\x04test\0"
    answer = parse_reply(reply("a.test", "SRV", record(QUESTION, "SRV", srv(1, 1, 1, target))), ID, "a.test", "SRV")
    assert isinstance(answer.records[0], ServiceRecord)
    assert answer.records[0].target == "a\\046b\\013\\010c.test"


GOOD = reply(
    "a.test", "SRV", record(QUESTION, "SRV", srv(1, 1, 5060, b"\x01b\xc0\x0c")), record(QUESTION, "SRV", srv(2, 1, 5060, name_bytes("c.d")))
)


@given(st.binary(max_size=120))
def test_no_octets_do_more_than_raise_the_one_error(data: bytes) -> None:
    with contextlib.suppress(DnsFormatError):
        parse_reply(GOOD[:12] + data, ID, "a.test", "SRV")


def test_no_damage_to_a_good_answer_does_more_than_raise_the_one_error() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        damaged = bytearray(GOOD)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(2, len(damaged))] = draw.randrange(256)
        with contextlib.suppress(DnsFormatError):
            parse_reply(bytes(damaged[: draw.randint(10, len(damaged))]), ID, "a.test", "SRV")
