"""The story of a bell as recorded messages: two phones register, one calls the other through the PBX, digits, good-bye, an alert."""

from __future__ import annotations

import struct

from flexosip.observe import WireMessage

PBX, BELL, PHONE = ("192.0.2.1", 5060), ("192.0.2.17", 5061), ("192.0.2.20", 5062)
BELL_RTP, PHONE_RTP = ("192.0.2.17", 16384), ("192.0.2.20", 16390)
NAMES = {PBX: "PBX", "192.0.2.17": "bell", "192.0.2.20": "house phone"}
CREDENTIALS = (
    'Authorization: Digest username="bell", realm="home", nonce="abc123nonce", uri="sip:home.test", '
    'response="0123456789abcdef0123456789abcdef", cnonce="c0ffee", nc=00000001, qop=auth\r\n'
)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n"
    "m=audio 16390 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)
PROXY_CREDENTIALS = CREDENTIALS.replace("Auth", "Proxy-Auth", 1)


def request(method: str, uri: str, call_id: str, cseq: int, *, extra: str = "", body: str = "", to_tag: bool = False) -> bytes:
    """A request as text."""
    tag = ";tag=t2" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5062;branch=z9hG4bK{call_id}{cseq}{method}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@home.test>;tag=t1\r\nTo: <sip:b@home.test>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def response(status: int, reason: str, method: str, call_id: str, cseq: int, *, extra: str = "", body: str = "") -> bytes:
    """A response as text."""
    return (
        f"SIP/2.0 {status} {reason}\r\nVia: SIP/2.0/UDP 192.0.2.20:5062;branch=z9hG4bK{call_id}{cseq}{method}\r\n"
        f"From: <sip:a@home.test>;tag=t1\r\nTo: <sip:b@home.test>;tag=t2\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def sent(at: float, source: tuple[str, int], destination: tuple[str, int], data: bytes, transport: str = "udp") -> WireMessage:
    """A message as its sender records it."""
    return WireMessage(at, "out", transport, source, destination, data)


def received(message: WireMessage, later: float = 0.002) -> WireMessage:
    """The same message as its receiver records it."""
    return WireMessage(message.at + later, "in", message.transport, message.remote, message.local, message.data)


def rtp(
    at: float,
    source: tuple[str, int],
    destination: tuple[str, int],
    sequence: int,
    payload_type: int = 8,
    payload: bytes = b"\xd5" * 160,
    timestamp: int | None = None,
) -> WireMessage:
    """An RTP packet."""
    stamp = sequence * 160 if timestamp is None else timestamp
    header = struct.pack("!BBHII", 0x80, payload_type, sequence, stamp, 7 if source == BELL_RTP else 8)
    return sent(at, source, destination, header + payload)


def registration(at: float, phone: tuple[str, int], call_id: str) -> list[WireMessage]:
    """A phone registers: challenged once."""
    challenge = 'WWW-Authenticate: Digest realm="home", nonce="abc123nonce", algorithm=SHA-256, qop="auth"\r\n'
    return [
        sent(at, phone, PBX, request("REGISTER", "sip:home.test", call_id, 1)),
        sent(at + 0.01, PBX, phone, response(401, "Unauthorized", "REGISTER", call_id, 1, extra=challenge)),
        sent(at + 0.02, phone, PBX, request("REGISTER", "sip:home.test", call_id, 2, extra=CREDENTIALS)),
        sent(at + 0.03, PBX, phone, response(200, "OK", "REGISTER", call_id, 2)),
    ]


def call_in(at: float) -> list[WireMessage]:
    """The house phone calls the bell, presses 5, hangs up."""
    messages = [
        sent(at, PHONE, PBX, request("INVITE", "sip:bell@home.test", "call1", 1, body=SDP)),
        sent(at + 0.01, PBX, PHONE, response(407, "Proxy Authentication Required", "INVITE", "call1", 1)),
        sent(at + 0.01, PHONE, PBX, request("ACK", "sip:bell@home.test", "call1", 1)),
        sent(at + 0.02, PHONE, PBX, request("INVITE", "sip:bell@home.test", "call1", 2, extra=PROXY_CREDENTIALS, body=SDP)),
        sent(at + 0.03, PBX, PHONE, response(100, "Trying", "INVITE", "call1", 2)),
        sent(at + 0.04, PBX, BELL, request("INVITE", "sip:bell@192.0.2.17:5061", "call1", 2, body=SDP)),
        sent(at + 0.05, BELL, PBX, response(180, "Ringing", "INVITE", "call1", 2)),
        sent(at + 0.06, PBX, PHONE, response(180, "Ringing", "INVITE", "call1", 2)),
        sent(at + 0.07, BELL, PBX, response(200, "OK", "INVITE", "call1", 2, body=SDP)),
        sent(at + 0.08, PBX, PHONE, response(200, "OK", "INVITE", "call1", 2, body=SDP)),
        sent(at + 0.09, PHONE, PBX, request("ACK", "sip:bell@192.0.2.17:5061", "call1", 2, to_tag=True)),
        sent(at + 0.10, PBX, BELL, request("ACK", "sip:bell@192.0.2.17:5061", "call1", 2, to_tag=True)),
    ]
    for number in range(250):
        messages.append(rtp(at + 0.1 + number * 0.02, PHONE_RTP, BELL_RTP, number))
        messages.append(rtp(at + 0.11 + number * 0.02, BELL_RTP, PHONE_RTP, number))
    for number in range(8):
        end = 0x8A if number >= 5 else 0x0A
        payload = struct.pack("!BBH", 5, end, min(number + 1, 6) * 160)
        messages.append(rtp(at + 3.0 + number * 0.02, PHONE_RTP, BELL_RTP, 300 + number, 101, payload, timestamp=48_000))
    messages += [
        sent(at + 5.2, PHONE, PBX, request("BYE", "sip:bell@192.0.2.17:5061", "call1", 3, to_tag=True)),
        sent(at + 5.21, PBX, BELL, request("BYE", "sip:bell@192.0.2.17:5061", "call1", 3, to_tag=True)),
        sent(at + 5.22, BELL, PBX, response(200, "OK", "BYE", "call1", 3)),
        sent(at + 5.23, PBX, PHONE, response(200, "OK", "BYE", "call1", 3)),
    ]
    return messages


def alert(at: float) -> list[WireMessage]:
    """Motion: the bell rings **9, nobody answers, the bell gives up."""
    return [
        sent(at, BELL, PBX, request("INVITE", "sip:**9@home.test", "call2", 1, body=SDP)),
        sent(at + 0.01, PBX, BELL, response(100, "Trying", "INVITE", "call2", 1)),
        sent(at + 0.02, PBX, PHONE, request("INVITE", "sip:phone@192.0.2.20:5062", "call2b", 1, body=SDP)),
        sent(at + 0.05, PHONE, PBX, response(180, "Ringing", "INVITE", "call2b", 1)),
        sent(at + 0.06, PBX, BELL, response(180, "Ringing", "INVITE", "call2", 1)),
        sent(at + 10.0, BELL, PBX, request("CANCEL", "sip:**9@home.test", "call2", 1)),
        sent(at + 10.01, PBX, BELL, response(200, "OK", "CANCEL", "call2", 1)),
        sent(at + 10.02, PBX, BELL, response(487, "Request Terminated", "INVITE", "call2", 1)),
        sent(at + 10.03, BELL, PBX, request("ACK", "sip:**9@home.test", "call2", 1)),
    ]


def story() -> list[WireMessage]:
    """All of it, in order."""
    messages = registration(0.0, PHONE, "reg1") + registration(0.1, BELL, "reg2") + call_in(1.0) + alert(9.0)
    return sorted(messages, key=lambda message: message.at)
