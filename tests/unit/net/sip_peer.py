"""A driver on a virtual host that records what comes in: the test side of the driver's tests."""

from __future__ import annotations

import asyncio

from flexosip.errors import FlexosipError
from flexosip.net.driver import SipDriver
from flexosip.net.network import Network
from flexosip.net.stream_flows import StreamLimits
from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.uri import SipUri


def message(text: str = "OPTIONS", body: bytes = b"") -> bytes:
    """A small framed SIP request."""
    head = f"{text} sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKa\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class SipPeer:
    """One driver with everything it said."""

    def __init__(self, host: Network, limits: StreamLimits | None = None) -> None:
        self.host = host
        self.datagrams: list[tuple[bytes, Flow]] = []
        self.messages: list[tuple[bytes, Flow]] = []
        self.failures: list[tuple[Flow, Exception]] = []
        self.scheduler = Scheduler()
        self.driver = SipDriver(
            host,
            self.scheduler,
            receive_datagram=lambda data, flow: self.datagrams.append((data, flow)),
            receive_message=lambda data, flow: self.messages.append((data, flow)),
            flow_failed=lambda flow, error: self.failures.append((flow, error)),
            limits=limits,
        )

    async def locate(self, uri: str, *, size: int = 500, preferred: Flow | None = None) -> Flow:
        """The flow, or the error raised."""
        found: asyncio.Future[Flow] = asyncio.get_running_loop().create_future()

        def done(flow: Flow | None, error: Exception | None) -> None:
            if flow is not None:
                found.set_result(flow)
            else:
                assert error is not None
                found.set_exception(error)

        self.driver.locate(SipUri.parse(uri), size, preferred, done)
        return await found

    def locate_now(self, uri: str, *, size: int = 500, preferred: Flow | None = None) -> Flow | FlexosipError | None:
        """What `locate` answers without waiting, or None if it has to wait."""
        answers: list[Flow | FlexosipError] = []

        def done(flow: Flow | None, error: Exception | None) -> None:
            answer = flow or error
            assert isinstance(answer, Flow | FlexosipError)
            answers.append(answer)

        self.driver.locate(SipUri.parse(uri), size, preferred, done)
        return answers[0] if answers else None
