"""UDP sockets of the virtual network: one that calls back (SIP), and one that is polled (RTP)."""

from __future__ import annotations

import errno
import heapq
from typing import TYPE_CHECKING, Any

from flexosip.net.address import format_address, is_ipv6, is_wildcard

if TYPE_CHECKING:
    from flexosip.net.address import Address
    from flexosip.net.network import DatagramReceiver, ErrorReceiver
    from flexosip.simulation.host import VirtualHost

__all__ = ["VirtualDatagramEndpoint", "VirtualMediaSocket"]

_RECEIVE_BUFFER = 4096
"""Datagrams that wait in a polled socket; further ones are lost, as in a kernel."""


class VirtualDatagramEndpoint:
    """A UDP socket that hands each datagram to `on_datagram`."""

    def __init__(self, host: VirtualHost, address: Address, on_datagram: DatagramReceiver, on_error: ErrorReceiver | None) -> None:
        self.address = address
        self.on_datagram = on_datagram
        self.on_error = on_error
        self._host = host
        self._own_ip = None if is_wildcard(address[0]) else address[0]
        self._ipv6 = is_ipv6(address[0])
        self.closed = False

    def send(self, data: bytes, remote: Address, source: str | None = None) -> None:
        """Send a datagram. Errors come through `on_error`."""
        if self.closed:
            return
        if is_ipv6(remote[0]) != self._ipv6:
            self._fail(remote, errno.EAFNOSUPPORT, "address family not supported")
        elif len(data) > 65507:
            self._fail(remote, errno.EMSGSIZE, "message too long")
        else:
            own = self._own_ip or (source if source is not None and self._host.is_own(source) else self._host.route(remote[0]))
            if own is None or not self._host.is_own(own):
                self._fail(remote, errno.ENETUNREACH, "network is unreachable")
            else:
                self._host.network.transmit(self._host, (own, self.address[1]), remote, bytes(data))

    def close(self) -> None:
        """Free the port."""
        if not self.closed:
            self.closed = True
            self._host.release_datagram(self, self.address)

    def report(self, remote: Address, error: OSError) -> None:
        """An error about something sent earlier."""
        if not self.closed and self.on_error is not None:
            self.on_error(remote, error)

    def _fail(self, remote: Address, number: int, words: str) -> None:
        network = self._host.network
        network.schedule(network.time(), self.report, (remote, _os_error(number, words)))

    def __repr__(self) -> str:
        return f"udp {format_address(self.address)} on {self._host}"


class VirtualMediaSocket:
    """A non-blocking UDP socket that is polled. What is on its way lies in its own heap: no timer and no callback for it."""

    def __init__(self, host: VirtualHost, address: Address) -> None:
        self.address = address
        self._host = host
        self._own_ip = None if is_wildcard(address[0]) else address[0]
        self._ipv6 = is_ipv6(address[0])
        self._arriving: list[tuple[float, int, bytes, Address]] = []
        self.closed = False

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Address]:
        """The next datagram, cut to `size`, and its source.

        Raises:
            BlockingIOError: none has arrived.
            OSError: the socket is closed.
        """
        arriving = self._arriving
        if arriving and arriving[0][0] <= self._host.network.time():
            _, _, data, source = heapq.heappop(arriving)
            return (data if len(data) <= size else data[:size]), source
        if self.closed:
            raise _os_error(errno.EBADF, "bad file descriptor")
        raise BlockingIOError(errno.EAGAIN, "no datagram has arrived")

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Address]:
        """Write the next datagram into `buffer`: its length and its source; raises as `recvfrom`."""
        view = memoryview(buffer)
        data, source = self.recvfrom(nbytes or len(view))
        view[: len(data)] = data
        return len(data), source

    def sendto(self, data: Any, address: Any) -> int:
        """Send a datagram.

        Raises:
            OSError: no route, wrong address family, too long, or closed.
        """
        if self.closed:
            raise _os_error(errno.EBADF, "bad file descriptor")
        remote = (address[0], address[1])
        if is_ipv6(remote[0]) != self._ipv6:
            raise _os_error(errno.EAFNOSUPPORT, "address family not supported")
        payload = bytes(data)
        if len(payload) > 65507:
            raise _os_error(errno.EMSGSIZE, "message too long")
        own = self._own_ip or self._host.route(remote[0])
        if own is None or not self._host.is_own(own):
            raise _os_error(errno.ENETUNREACH, "network is unreachable")
        self._host.network.transmit(self._host, (own, self.address[1]), remote, payload)
        return len(payload)

    def enqueue(self, when: float, order: int, data: bytes, source: Address) -> None:
        """A datagram is on its way and arrives at `when`."""
        if len(self._arriving) < _RECEIVE_BUFFER:
            heapq.heappush(self._arriving, (when, order, data, source))

    def getsockname(self) -> Address:
        """Own host and port."""
        return self.address

    def fileno(self) -> int:
        """-1: there is no descriptor to wait for."""
        return -1

    def setblocking(self, flag: bool) -> None:
        """It never blocks.

        Raises:
            ValueError: it shall block.
        """
        if flag:
            raise ValueError("a virtual socket cannot block")

    def close(self) -> None:
        """Free the port; what was on its way is lost."""
        if not self.closed:
            self.closed = True
            self._arriving.clear()
            self._host.release_datagram(self, self.address)

    def __repr__(self) -> str:
        return f"media {format_address(self.address)} on {self._host}"


def _os_error(number: int, words: str) -> OSError:
    # With two arguments OSError makes the fitting subclass.
    return OSError(number, words)
