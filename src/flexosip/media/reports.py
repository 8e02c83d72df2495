"""RTCP of one stream: the schedule is the `RtcpSession`'s; here are the socket, the peer's address and the exact time of arrival."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flexosip.media.ports import DatagramSocket
from flexosip.media.receiver import Receiver
from flexosip.media.sender import Sender
from flexosip.media.settings import StreamSettings
from flexosip.media.source_guard import plain_address
from flexosip.rtp.rtcp_session import RtcpSession

if TYPE_CHECKING:
    from flexosip.media.core import EngineCore

__all__ = ["Reports"]

_SO_TIMESTAMPNS = 35
"""Linux: the kernel notes when a datagram arrived; Python's socket module does not name it."""
_TIMESTAMP_OCTETS = 16
_RECEIVE_OCTETS = 4096


class Reports:
    """Sends and receives the reports of one stream.

    Args:
        core: clocks and random numbers.
        sender, receiver: the halves of the stream.
        socket: for RTCP.
    """

    __slots__ = (
        "_core", "_learned_host", "_receiver", "_recvmsg", "_sender", "_session", "_socket", "_target", "discarded_by_source",
        "last_packet", "received", "sent",
    )  # fmt: skip

    def __init__(self, core: EngineCore, sender: Sender, receiver: Receiver, socket: DatagramSocket) -> None:
        self._core = core
        self._sender = sender
        self._receiver = receiver
        self._socket = socket
        self._session: RtcpSession | None = None
        self._target: tuple[str, int] = ("", 0)
        self._learned_host = ""
        self._recvmsg = _timestamped(socket)
        self.last_packet = 0.0
        self.sent = 0
        self.received = 0
        self.discarded_by_source = 0

    def use_socket(self, socket: DatagramSocket) -> None:
        """Send and receive over another socket from now on."""
        self._socket = socket
        self._recvmsg = _timestamped(socket)

    def configure(self, settings: StreamSettings, now: float) -> None:
        """Begin to report, or report to another address."""
        host, port = settings.remote
        self._target = plain_address(settings.rtcp if settings.rtcp is not None else (host, port + 1 if port else 0))
        if self._receiver.guard.learned:
            self.source_learned(self._receiver.guard.target)
        else:
            self._learned_host = ""
        if self._session is None:
            self._session = RtcpSession(
                self._sender.ssrc,
                settings.cname,
                self._receiver.statistics,
                random=self._core.random,
                now=now,
                wall_offset=self._core.wall_clock() - now,
            )

    def source_learned(self, target: tuple[str, int]) -> None:
        """RTP comes from elsewhere than the SDP said: RTCP will too, by custom one port higher."""
        if target != self._receiver.guard.expected:
            self._learned_host = target[0]
            self._target = (target[0], target[1] + 1)

    def next_timeout(self) -> float:
        """When the next report is due."""
        return self._session.next_timeout() if self._session is not None else float("inf")

    def handle_timeout(self, now: float) -> None:
        """Send a report if one is due."""
        session = self._session
        if session is not None and now >= session.next_timeout():
            self._prepare(session)
            data = session.poll_report(now, self._sender.timestamp)
            if data is not None:
                self._send(data)

    def _prepare(self, session: RtcpSession) -> None:
        """Give the session the counts of both halves."""
        session.packets_sent = self._sender.packets_sent
        session.octets_sent = self._sender.octets_sent
        session.received = self._receiver.statistics
        session.remote_ssrc = self._receiver.ssrc if self._receiver.ssrc >= 0 else None

    def _send(self, data: bytes) -> None:
        if not self._target[1]:
            return
        try:
            self._socket.sendto(data, self._target)
            self.sent += 1
        except OSError as error:
            self._sender.errors += 1
            self._sender.last_error = str(error)

    def receive(self, now: float) -> bool:
        """Read one datagram; False when there is none."""
        try:
            data, address, age = self._recvmsg(self._core.wall_clock)
        except BlockingIOError:
            return False
        except OSError:
            # An ICMP error of an earlier packet: it takes a place in the queue like a datagram.
            return True
        session = self._session
        if session is None:
            return True
        source = plain_address(address)
        if source != self._target and not (self._learned_host and source[0] == self._learned_host):
            self.discarded_by_source += 1
            return True
        session.remote_ssrc = self._receiver.ssrc if self._receiver.ssrc >= 0 else None
        if session.receive(data, now - age):
            self.received += 1
            self.last_packet = now
            if self._learned_host:
                self._target = source
        return True

    def close(self, now: float) -> None:
        """Say BYE (RFC 3550 §6.6)."""
        session = self._session
        # Who never sent a packet says no BYE (§6.3.7).
        if session is not None and (self._sender.packets_sent or self.sent):
            self._prepare(session)
            self._send(session.create_bye(now, self._sender.timestamp))

    @property
    def garbage(self) -> int:
        """Datagrams that were no RTCP."""
        return self._session.damaged if self._session is not None else 0

    @property
    def round_trip(self) -> float | None:
        """Seconds; None until a report told it."""
        return self._session.round_trip if self._session is not None else None

    @property
    def remote_lost(self) -> int:
        """Packets of ours that the other side misses."""
        return max((self._session.remote_lost or 0) if self._session is not None else 0, 0)

    @property
    def remote_jitter(self) -> float:
        """Seconds, as the other side reports it."""
        ticks = (self._session.remote_jitter_ticks or 0) if self._session is not None else 0
        return ticks / self._sender.format.clock_rate


def _timestamped(socket: DatagramSocket) -> Any:
    """A function that reads (data, address, seconds since its arrival) from the socket.

    Sockets are read once a packet time; the round trip must not contain that wait.
    """
    real: Any = socket
    if sys.platform == "linux" and hasattr(real, "recvmsg"):
        import socket as sockets

        try:
            real.setsockopt(sockets.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:
            pass
        else:
            return lambda wall_clock: _receive_with_age(real, sockets.SOL_SOCKET, wall_clock)
    return lambda wall_clock: (*socket.recvfrom(_RECEIVE_OCTETS), 0.0)


def _receive_with_age(socket: Any, level: int, wall_clock: Any) -> tuple[bytes, Any, float]:
    data, ancillary, _, address = socket.recvmsg(_RECEIVE_OCTETS, 64)
    for found_level, kind, value in ancillary:
        if found_level == level and kind == _SO_TIMESTAMPNS and len(value) >= _TIMESTAMP_OCTETS:
            seconds = int.from_bytes(value[:8], sys.byteorder)
            nanoseconds = int.from_bytes(value[8:16], sys.byteorder)
            age = wall_clock() - seconds - nanoseconds / 1e9
            # Beyond a second the wall clock has been set meanwhile.
            return data, address, age if 0 <= age < 1 else 0.0
    return data, address, 0.0
