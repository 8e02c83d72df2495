"""TCP of the virtual network: connections whose data arrive in order and complete, later when the link is bad, never while it is cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from flexosip.net.address import format_address
from flexosip.net.late_callbacks import LateCallbacks
from flexosip.simulation.link import Packet

if TYPE_CHECKING:
    from flexosip.net.address import Address
    from flexosip.net.network import StreamConnection
    from flexosip.simulation.host import VirtualHost

__all__ = ["VirtualConnection", "VirtualListener"]

_RETRY = 1.0
"""Seconds between two tries over a cut link."""

_GIVE_UP = 900.0
"""Seconds after which unacknowledged data end a connection, as Linux does after about 15 minutes."""


class VirtualListener:
    """A listening TCP socket."""

    def __init__(self, host: VirtualHost, address: Address, on_connection: Callable[[StreamConnection], None]) -> None:
        self.address = address
        self.on_connection = on_connection
        self._host = host
        self.closed = False

    def close(self) -> None:
        """Accept no more."""
        if not self.closed:
            self.closed = True
            self._host.release_listener(self, self.address)

    def __repr__(self) -> str:
        return f"tcp listener {format_address(self.address)} on {self._host}"


class VirtualConnection(LateCallbacks):
    """One end of a TCP connection."""

    def __init__(self, host: VirtualHost, local: Address, remote: Address) -> None:
        super().__init__()
        self.local = local
        self.remote = remote
        self._host = host
        self._network = host.network
        self._peer: VirtualConnection | None = None
        self._stalled: deque[bytes | None] = deque()  # None is the end of the stream
        self._stalled_since = 0.0
        self._last_arrival = 0.0
        self._closing = False
        self.closed = False
        host.connections.add(self)

    def join(self, peer: VirtualConnection) -> None:
        """Become the two ends of one connection."""
        self._peer, peer._peer = peer, self

    def write(self, data: bytes) -> None:
        """Send in order."""
        if self._closing or self.closed or not data:
            return
        step = self._network.segment
        for start in range(0, len(data), step):
            self._send(bytes(data[start : start + step]))

    def close(self) -> None:
        """Send what was written, then the end of the stream."""
        if not self._closing and not self.closed:
            self._closing = True
            self._send(None)
            self._finish_soon(None)

    def abort(self) -> None:
        """Reset the connection."""
        if not self.closed:
            peer = self._peer
            if peer is not None:
                when = self._link_arrival()
                if when is not None:
                    self._network.schedule(when, peer.finish, (ConnectionResetError("connection reset by peer"),))
            self._stalled.clear()
            self._finish_soon(None)

    def _send(self, piece: bytes | None) -> None:
        if self._stalled:
            self._stalled.append(piece)
            return
        when = self._link_arrival(len(piece) if piece is not None else 0)
        if when is None:
            self._stalled.append(piece)
            self._stalled_since = self._network.time()
            self._network.schedule(self._stalled_since + _RETRY, self._retry, ())
        else:
            self._deliver_at(when, piece)

    def _deliver_at(self, when: float, piece: bytes | None) -> None:
        network = self._network
        # In order: a piece that was lost and sent again holds up those behind it.
        self._last_arrival = when = max(when, self._last_arrival)
        if network.observers and piece is not None:
            network.observe(Packet(network.time(), "tcp", self.local, self.remote, piece, (when,)))
        if self._peer is not None:
            network.schedule(when, self._peer.arrive, (piece,))

    def _retry(self) -> None:
        if not self._stalled:
            return
        network = self._network
        while self._stalled:
            when = self._link_arrival()
            if when is None:
                break
            self._deliver_at(when, self._stalled.popleft())
        if not self._stalled:
            return
        if network.time() - self._stalled_since >= _GIVE_UP:
            self._stalled.clear()
            self.finish(TimeoutError("the connection timed out"))
        else:
            network.schedule(network.time() + _RETRY, self._retry, ())

    def _link_arrival(self, size: int = 0) -> float | None:
        network = self._network
        if not self._host.plugged or (self._peer is not None and not self._peer._host.plugged):
            return None
        if not self._host.is_own(self.local[0]) or (self._peer is not None and not self._peer._host.is_own(self._peer.local[0])):
            return None  # the address has gone: nothing gets through, and nobody is told
        return network.link_between(self.local[0], self.remote[0]).segment_arrival(network.time(), size)

    def arrive(self, piece: bytes | None) -> None:
        """A piece of the other end's stream is here; None is its end."""
        if self.closed:
            return
        if piece is None:
            if not self._closing:
                self._closing = True
                self._send(None)
            self.finish(None)
        elif self._closing:
            return  # we closed: the application hears no more
        else:
            self._arrived(piece)

    def finish(self, error: Exception | None) -> None:
        """The connection is over."""
        if not self.closed:
            self.closed = self._closing = True
            self._host.connections.discard(self)
            self._lost = (error,)
            if self._on_lost is not None:
                self._on_lost(error)

    def _call_soon(self, callback: Callable[[Exception | None], None], error: Exception | None) -> None:
        self._network.schedule(self._network.time(), callback, (error,))

    def _finish_soon(self, error: Exception | None) -> None:
        # Not at once: a callback never runs inside the call that caused it.
        self._closing = True
        self._network.schedule(self._network.time(), self.finish, (error,))

    def __repr__(self) -> str:
        return f"tcp {format_address(self.local)} to {format_address(self.remote)} on {self._host}"
