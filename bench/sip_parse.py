"""Time of one received INVITE of 990 octets: split, split and checked, answered; best of seven passes, in microseconds.

Branch, tags, Call-ID and the caller's number differ from message to message, so what is remembered from one to the next is what a phone
meets in its day: its own address, and the two addresses of a dialog. `new_peers` is the same with no address seen before.

    python bench/sip_parse.py [--messages 3000]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from flexosip.sip.message import Request
from flexosip.sip.parser import check_message, parse_message

SDP = (
    "v=0\r\no=- 2890844526 2890844526 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 16384 RTP/AVP 8 0 9 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    "a=ptime:20\r\na=sendrecv\r\n"
)
INVITE = (
    "INVITE sip:bell@192.0.2.20:5060;transport=udp SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{number:016x};rport\r\n"
    "Max-Forwards: 70\r\n"
    'From: "Front Door" <sip:{peer}@fritz.box>;tag=19283{number:06d}\r\n'
    "To: <sip:bell@fritz.box>\r\n"
    "Call-ID: a84b4c76e66710{number:06d}@192.0.2.10\r\n"
    "CSeq: 314159 INVITE\r\n"
    "Contact: <sip:{peer}@192.0.2.10:5060;transport=udp>\r\n"
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, MESSAGE, PRACK, REFER, NOTIFY\r\n"
    "Supported: replaces, timer, 100rel\r\n"
    "Accept: application/sdp, multipart/mixed\r\n"
    "User-Agent: Example Phone 1.2.3 (build 4711)\r\n"
    "Session-Expires: 1800;refresher=uac\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: {length}\r\n\r\n{sdp}"
)


def messages(count: int, *, new_peers: bool) -> list[bytes]:
    """`count` INVITEs of 990 octets, all different."""
    texts = [INVITE.format(number=n, peer=610000 + (n if new_peers else n % 10), length=len(SDP), sdp=SDP) for n in range(count)]
    padded = [text.replace("(build 4711)", "(build 4711" + "." * (990 - len(text)) + ")") for text in texts]
    if any(len(text) != 990 for text in padded):
        raise ValueError("The INVITE of the benchmark has outgrown its 990 octets.")
    return [text.encode() for text in padded]


def parse_core(data: bytes) -> None:
    """Split, and the values every user agent needs."""
    message = parse_message(data)
    _ = message.via.branch, message.from_.tag, message.to.tag, message.call_id, message.cseq.number, message.contact, message.max_forwards


def parse_check(data: bytes) -> None:
    """Split, and everything that is checked of a request from the network."""
    check_message(parse_message(data))


def parse_serialise(data: bytes) -> None:
    """Split and write again."""
    bytes(parse_message(data))


def parse_answer(data: bytes) -> None:
    """Split, check, make a 200 and write it."""
    message = parse_message(data)
    check_message(message)
    if isinstance(message, Request):
        bytes(message.create_response(200, to_tag="a6c85cf"))


def measure(action: Callable[[bytes], object], data: list[bytes]) -> float:
    """Best of seven passes, microseconds a message."""
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for message in data:
            action(message)
        best = min(best, time.perf_counter() - start)
    return round(best / len(data) * 1e6, 2)


def main() -> None:
    """Measure and print one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--messages", type=int, default=3000)
    count = arguments.parse_args().messages
    known, new = messages(count, new_peers=False), messages(count, new_peers=True)
    print(
        json.dumps(
            {
                "benchmark": "sip_parse",
                "unit": "microseconds",
                "octets": 990,
                "parse": measure(parse_message, known),
                "parse_core": measure(parse_core, known),
                "parse_check": measure(parse_check, known),
                "parse_check_new_peers": measure(parse_check, new),
                "parse_serialise": measure(parse_serialise, known),
                "parse_check_answer": measure(parse_answer, known),
            }
        )
    )


if __name__ == "__main__":
    main()
