"""A wire without a network for tests of SIP machines: what they send is kept with its time, what they get is made by hand."""

from __future__ import annotations

import random

from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message


class Wire:
    """Virtual time and everything that was sent.

    Args:
        seed: of the machines' randomness.
    """

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler(100.0)
        self.start = 100.0
        self.random = random.Random(seed)
        self.sent: list[tuple[float, Flow, bytes]] = []
        self._read = 0

    def transmit(self, flow: Flow, data: bytes) -> None:
        """The machines' way out."""
        self.sent.append((self.scheduler.now - self.start, flow, data))

    def advance(self, seconds: float) -> None:
        """Let that much time pass, deadline by deadline."""
        self.advance_to(self.scheduler.now - self.start + seconds)

    def advance_to(self, when: float) -> None:
        """Let time pass until `when` seconds after the start."""
        end = self.start + when
        while (due := self.scheduler.next_timeout()) is not None and due <= end:
            self.scheduler.handle_timeout(due)
        self.scheduler.handle_timeout(end)

    def settle(self) -> None:
        """Fire what is due now."""
        self.advance(0.0)

    def take(self) -> list[Message]:
        """The messages sent since the last call, parsed."""
        fresh = self.sent[self._read :]
        self._read = len(self.sent)
        return [parse_message(data) for _, _, data in fresh]

    def take_one(self) -> Message:
        """The only message sent since the last call."""
        messages = self.take()
        assert len(messages) == 1, [message.start_line for message in messages]
        return messages[0]

    def take_request(self, method: str | None = None) -> Request:
        """The only message sent since the last call, a request."""
        message = self.take_one()
        assert isinstance(message, Request), message.start_line
        assert method is None or message.method == method, message.start_line
        return message

    def take_response(self, status: int | None = None) -> Response:
        """The only message sent since the last call, a response."""
        message = self.take_one()
        assert isinstance(message, Response), message.start_line
        assert status is None or message.status == status, message.start_line
        return message

    def lines(self) -> list[str]:
        """Method or status of each message sent since the last call."""
        return [message.method if isinstance(message, Request) else str(message.status) for message in self.take()]

    def times(self, what: str) -> list[float]:
        """When messages whose first line begins with `what` were sent, seconds after the start."""
        return [round(when, 3) for when, _, data in self.sent if data.startswith(what.encode())]


def udp_flow(remote: tuple[str, int] = ("192.0.2.2", 5060)) -> Flow:
    """A datagram flow of 192.0.2.1."""
    return Flow("udp", ("192.0.2.1", 5060), remote)


def tcp_flow(remote: tuple[str, int] = ("192.0.2.2", 5060)) -> Flow:
    """A connection of 192.0.2.1."""
    return Flow("tcp", ("192.0.2.1", 5060), remote)


def message(text: str, body: str = "") -> bytes:
    """A message of lines as written in a test, with the Content-Length of `body`."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]) + body).encode()


def answer(
    request: Request,
    status: int,
    *,
    tag: str | None = "remote",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    contact: bool = True,
) -> bytes:
    """A response of the peer to one of our requests."""
    extra = list(headers)
    if contact and status < 300 and request.method == "INVITE" and not any(name == "Contact" for name, _ in extra):
        extra.append(("Contact", "<sip:peer@192.0.2.2:5060>"))
    return bytes(request.create_response(status, to_tag=tag, headers=extra, body=body, content_type="application/sdp" if body else None))


def request(
    method: str,
    *,
    uri: str = "sip:us@192.0.2.1:5060",
    branch: str = "z9hG4bKpeer1",
    from_tag: str | None = "peertag",
    to_tag: str | None = None,
    call_id: str = "call-1",
    cseq: int = 1,
    headers: tuple[tuple[str, str], ...] = (),
    body: str = "",
    transport: str = "UDP",
    via: str | None = None,
    cseq_method: str | None = None,
) -> bytes:
    """A request of the peer 192.0.2.2."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via or f'SIP/2.0/{transport} 192.0.2.2:5060;branch={branch};rport'}",
        "Max-Forwards: 70",
        "From: <sip:peer@192.0.2.2>" + (f";tag={from_tag}" if from_tag else ""),
        "To: <sip:us@192.0.2.1>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {cseq_method or method}",
    ]
    if method in ("INVITE", "SUBSCRIBE", "REFER", "UPDATE") and not any(name == "Contact" for name, _ in headers):
        lines.append("Contact: <sip:peer@192.0.2.2:5060>")
    lines += [f"{name}: {value}" for name, value in headers]
    if body and not any(name == "Content-Type" for name, _ in headers):
        lines.append("Content-Type: application/sdp")
    return message("\n".join(lines), body)


__all__ = ["Request", "Response", "Wire", "answer", "message", "request", "tcp_flow", "udp_flow"]
