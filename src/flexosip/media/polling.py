"""Which sockets have something to read, and reading them empty within bounds.

`EpollReader` asks the kernel once for a whole group of streams. `DirectReader` simply tries: for virtual sockets, which have
no descriptor, and where there is no epoll.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from flexosip.media.ports import DatagramSocket

__all__ = ["DirectReader", "EpollReader", "Receive", "SocketReader", "new_reader"]

Receive = Callable[[float], bool]
"""Reads one datagram, which arrived at or before `now`; False when there was none."""

MAX_BACKLOG = 1000
"""Datagrams read beyond the first of each socket, in one tick of one group: what a flood leaves waits in, or falls out of, the
kernel's buffer, and the other calls keep time."""


def _empty(receive: Receive, now: float, most: int) -> None:
    for _ in range(most):
        if not receive(now):
            break


class SocketReader(Protocol):
    """Reads the sockets of one group of streams."""

    def add(self, socket: DatagramSocket, receive: Receive) -> None:
        """Begin to read `socket` through `receive`."""

    def remove(self, socket: DatagramSocket) -> None:
        """Read it no more; to be called before it is closed."""

    def drain(self, now: float) -> None:
        """Read all that is there, within bounds."""

    def close(self) -> None:
        """Give back what the reader itself holds."""


class EpollReader:
    """One epoll for the sockets of one group."""

    __slots__ = ("_epoll", "_receivers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._receivers: dict[int, Receive] = {}

    def add(self, socket: DatagramSocket, receive: Receive) -> None:
        """Begin to read `socket`."""
        number = socket.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._receivers[number] = receive

    def remove(self, socket: DatagramSocket) -> None:
        """Read it no more."""
        number = socket.fileno()
        if self._receivers.pop(number, None) is not None:
            self._epoll.unregister(number)

    def drain(self, now: float) -> None:
        """One datagram from each socket that has some; who still has more is read empty."""
        receivers = self._receivers
        ready = self._epoll.poll(0, len(receivers) or 1)
        if not ready:
            return
        for number, _ in ready:
            receivers[number](now)
        # The normal case is one packet a socket and tick: this second question then costs one system call for the whole group.
        behind = self._epoll.poll(0, len(receivers))
        for number, _ in behind:
            _empty(receivers[number], now, max(MAX_BACKLOG // len(behind), 4))

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()


class DirectReader:
    """Tries every socket at every tick."""

    __slots__ = ("_receivers",)

    def __init__(self) -> None:
        self._receivers: dict[DatagramSocket, Receive] = {}

    def add(self, socket: DatagramSocket, receive: Receive) -> None:
        """Begin to read `socket`."""
        self._receivers[socket] = receive

    def remove(self, socket: DatagramSocket) -> None:
        """Read it no more."""
        self._receivers.pop(socket, None)

    def drain(self, now: float) -> None:
        """Read every socket empty."""
        for receive in self._receivers.values():
            _empty(receive, now, MAX_BACKLOG)

    def close(self) -> None:
        """Nothing is held."""
        self._receivers.clear()


def new_reader(virtual: bool) -> SocketReader:
    """The cheapest reader that works here."""
    return DirectReader() if virtual or not hasattr(select, "epoll") else EpollReader()
