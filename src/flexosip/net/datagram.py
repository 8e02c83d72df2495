"""A UDP socket for SIP on an asyncio loop: drained by `recvfrom` in one readable-callback, answered by `sendto` at once.

That costs half of what asyncio's DatagramProtocol does. Where the loop cannot watch sockets (Windows' proactor), a protocol is the
fall-back.
A socket bound to the wildcard also tells to which own address a datagram was sent, so that the answer can leave from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from flexosip.net.address import Address, is_ipv6, is_wildcard
from flexosip.net.network import DatagramReceiver, ErrorReceiver

__all__ = ["RealDatagramEndpoint"]

_BATCH = 64
"""Datagrams read in one go before other callbacks of the loop get their turn."""

_LARGEST = 65536
_QUEUE = 1024
"""Datagrams that wait while the kernel's send buffer is full; further ones are dropped, as any UDP may be."""

_LINUX = sys.platform == "linux"
# Linux's numbers; Python 3.11 does not name them all.
_IP_PKTINFO = 8
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_ORIGIN_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_EXTENDED_ERROR = struct.Struct("=IBBBxII")  # struct sock_extended_err
_ANCILLARY = socket.CMSG_SPACE(64) if hasattr(socket, "CMSG_SPACE") else 0


class RealDatagramEndpoint:
    """A bound, non-blocking UDP socket, read by `loop`.

    Args:
        own: bound and non-blocking; the endpoint closes it.
        local_address: own address towards a remote one, where the system does not tell it with the datagram.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        own: socket.socket,
        on_datagram: DatagramReceiver,
        on_error: ErrorReceiver | None,
        local_address: Callable[[str], str],
    ) -> None:
        self._loop = loop
        self._socket = own
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._local_address = local_address
        self.address: Address = own.getsockname()[:2]
        self._ipv6 = is_ipv6(self.address[0])
        self._wildcard = is_wildcard(self.address[0])
        self._destinations: dict[bytes, str] = {}
        self._unsent: deque[tuple[bytes, Address, str | None]] = deque()
        self._writing = False
        self._transport: asyncio.DatagramTransport | None = None
        self.closed = False
        self.dropped = 0
        """datagrams given up because the send buffer stayed full"""
        self._tells_destination = self._prepare()

    async def start(self) -> None:
        """Begin to read."""
        reader = self._read_with_destination if self._tells_destination else self._read
        try:
            self._loop.add_reader(self._socket, reader)
        except NotImplementedError:
            transport, _ = await self._loop.create_datagram_endpoint(lambda: _Protocol(self), sock=self._socket)
            self._transport = transport

    def _prepare(self) -> bool:
        """Ask Linux for ICMP errors and, on a wildcard, for each datagram's destination; True if that is told."""
        if not _LINUX:
            return False
        own = self._socket
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if self._ipv6 else (socket.IPPROTO_IP, _IP_RECVERR)
        own.setsockopt(level, option, 1)
        if not self._wildcard:
            return False
        if self._ipv6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            own.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        return True

    # -- receiving -------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        receive = self._socket.recvfrom
        own = self.address[0]
        for count in range(_BATCH):
            try:
                data, remote = receive(_LARGEST)
            except (BlockingIOError, InterruptedError):
                if count == 0:
                    self._read_errors()
                return
            except OSError:
                self._read_errors()
                continue
            remote = remote[:2]
            self._on_datagram(data, remote, self._local_address(remote[0]) if self._wildcard else own)
            if self.closed:
                return

    def _read_with_destination(self) -> None:
        receive = self._socket.recvmsg
        for count in range(_BATCH):
            try:
                data, ancillary, _, remote = receive(_LARGEST, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                if count == 0:
                    self._read_errors()
                return
            except OSError:
                self._read_errors()
                continue
            remote = remote[:2]
            self._on_datagram(data, remote, self._destination(ancillary) or self._local_address(remote[0]))
            if self.closed:
                return

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> str | None:
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                raw = value[4:8]  # struct in_pktinfo: interface, local address, destination
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                raw = value[:16]
                if raw[0] == 0xFE and raw[1] & 0xC0 == 0x80:
                    return None  # link-local: without its zone it is of no use
            else:
                continue
            host = self._destinations.get(raw)
            if host is None:
                if len(self._destinations) >= 256:
                    self._destinations.clear()
                family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
                host = self._destinations[raw] = socket.inet_ntop(family, raw)
            return host
        return None

    def _read_errors(self) -> None:
        """Take what ICMP said from the socket's error queue: the queue keeps the loop awake until it is empty."""
        if not _LINUX:
            return
        for _ in range(_BATCH):
            try:
                _, ancillary, _, remote = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _level, kind, value in ancillary:
                if kind not in (_IP_RECVERR, _IPV6_RECVERR) or len(value) < _EXTENDED_ERROR.size:
                    continue
                number, origin, *_ = _EXTENDED_ERROR.unpack_from(value)
                # EMSGSIZE only tells the path's size; the kernel sends smaller fragments from now on.
                if origin in _ORIGIN_ICMP and number != errno.EMSGSIZE and remote:
                    self.report(remote[:2], OSError(number, errno.errorcode.get(number, "unreachable")))

    def report(self, remote: Address, error: OSError) -> None:
        """An error about something sent earlier."""
        if self._on_error is not None and not self.closed:
            self._on_error(remote, error)

    def datagram_received(self, data: bytes, remote: Address) -> None:
        """The protocol's way in, where the loop cannot watch sockets."""
        if not self.closed:
            self._on_datagram(data, remote, self._local_address(remote[0]) if self._wildcard else self.address[0])

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes, remote: Address, source: str | None = None) -> None:
        """Send at once; wait only while the kernel's buffer is full."""
        if self.closed:
            return
        if self._transport is not None:
            self._transport.sendto(data, remote)
            return
        if self._writing:
            self._wait_with(data, remote, source)
            return
        try:
            self._send_now(data, remote, source)
        except (BlockingIOError, InterruptedError):
            self._wait_with(data, remote, source)
        except OSError as error:
            self._loop.call_soon(self.report, remote, error)

    def _send_now(self, data: bytes, remote: Address, source: str | None) -> None:
        for attempt in range(3):
            try:
                if source is None or not self._tells_destination:
                    self._socket.sendto(data, remote)
                else:
                    self._socket.sendmsg([data], [self._source(source)], 0, remote)
                return
            except (BlockingIOError, InterruptedError):
                raise
            except OSError as error:
                if source is not None and error.errno in (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH):
                    source = None  # that address has gone: the route decides
                elif attempt < 2 and error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
                    # The pending error of an earlier datagram, perhaps to somebody else: it was reported instead of sending ours.
                    self._read_errors()
                else:
                    raise

    def _source(self, source: str) -> tuple[int, int, bytes]:
        if self._ipv6:
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, source) + bytes(4)
        return socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + socket.inet_pton(socket.AF_INET, source) + bytes(4)

    def _wait_with(self, data: bytes, remote: Address, source: str | None) -> None:
        if len(self._unsent) >= _QUEUE:
            self.dropped += 1
            return
        self._unsent.append((data, remote, source))
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        while self._unsent:
            data, remote, source = self._unsent[0]
            try:
                self._send_now(data, remote, source)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._loop.call_soon(self.report, remote, error)
            self._unsent.popleft()
        self._writing = False
        self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Free the port; what still waits is tried once more."""
        if self.closed:
            return
        self.closed = True
        if self._transport is not None:
            self._transport.close()
            return
        self._loop.remove_reader(self._socket)
        if self._writing:
            self._loop.remove_writer(self._socket)
            for data, remote, source in self._unsent:
                # Closing; there is nobody left to tell, and UDP may lose anything.
                with contextlib.suppress(OSError):
                    self._send_now(data, remote, source)
            self._unsent.clear()
        self._socket.close()


class _Protocol(asyncio.DatagramProtocol):
    """asyncio's way of reading, for loops without `add_reader`."""

    def __init__(self, endpoint: RealDatagramEndpoint) -> None:
        self._endpoint = endpoint

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._endpoint.datagram_received(data, addr[:2])
