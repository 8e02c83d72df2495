"""What the rooms above need from a network: `RealNetwork` gives it on sockets, `flexosip.simulation` in memory.

All of it belongs to one event loop and is called from that loop's thread only; `MediaSocket`s may be handed to another thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flexosip.net.address import Address
from flexosip.net.dns_records import DnsAnswer, RecordKind

__all__ = [
    "DatagramEndpoint",
    "DatagramReceiver",
    "ErrorReceiver",
    "Listener",
    "MediaSocket",
    "Network",
    "StreamConnection",
    "TimerHandle",
    "Watch",
]

DatagramReceiver = Callable[[bytes, Address, str], None]
"""Called with a datagram, its source, and the own address that it was sent to."""

ErrorReceiver = Callable[[Address, OSError], None]
"""Called with a destination and why it cannot be reached: what ICMP or the local kernel said. Never called from inside `send`."""


class TimerHandle(Protocol):
    """One deadline of the network's clock."""

    def cancel(self) -> None:
        """Never fire. Harmless at any time."""


class Watch(Protocol):
    """Somebody who watches the machine's network."""

    def close(self) -> None:
        """Watch no more. Harmless at any time."""


class DatagramEndpoint(Protocol):
    """A bound UDP socket."""

    @property
    def address(self) -> Address:
        """Where it is bound: the host may be the wildcard, the port is the real one."""

    def send(self, data: bytes, remote: Address, source: str | None = None) -> None:
        """Send a datagram; errors come through the endpoint's `on_error`.

        Args:
            source: the own address to send from, where the socket is bound to the wildcard. None: the route decides.
        """

    def close(self) -> None:
        """Free the port. Harmless at any time."""


class Listener(Protocol):
    """A listening TCP socket."""

    @property
    def address(self) -> Address:
        """Where it is bound."""

    def close(self) -> None:
        """Accept no more; connections that were accepted stay."""


class StreamConnection(Protocol):
    """A TCP connection. What arrives before `on_data` is set waits for it."""

    local: Address
    remote: Address

    @property
    def on_data(self) -> Callable[[bytes], None] | None:
        """Called with each piece that arrives."""

    @on_data.setter
    def on_data(self, callback: Callable[[bytes], None] | None) -> None: ...

    @property
    def on_lost(self) -> Callable[[Exception | None], None] | None:
        """Called exactly once at the end, with None if one side closed in an orderly way; soon, if that was before it was set."""

    @on_lost.setter
    def on_lost(self, callback: Callable[[Exception | None], None] | None) -> None: ...

    def write(self, data: bytes) -> None:
        """Send; a peer that does not read long enough loses the connection."""

    def close(self) -> None:
        """Close when what was written has been sent."""

    def abort(self) -> None:
        """Close at once."""


class MediaSocket(Protocol):
    """A non-blocking UDP socket for RTP or RTCP; `socket.socket` is one. A virtual one's `fileno()` is -1: poll it."""

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]:
        """A datagram and its source; `BlockingIOError` when none is there."""

    def recvfrom_into(self, buffer: Any, /) -> tuple[int, Any]:
        """Write a datagram into `buffer`: its length and its source; `BlockingIOError` when none is there."""

    def sendto(self, data: Any, address: Any, /) -> int:
        """Send a datagram."""

    def getsockname(self) -> Any:
        """Own host and port, first two items of a tuple."""

    def fileno(self) -> int:
        """The file descriptor, or -1."""

    def close(self) -> None:
        """Free the port."""


class Network(Protocol):
    """Sockets, names, routes and time of one host."""

    def time(self) -> float:
        """Monotonic seconds, the clock of `call_at`."""

    def call_at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> TimerHandle:
        """Call `callback(*arguments)` at `when`."""

    async def open_datagram(
        self, host: str, port: int, on_datagram: DatagramReceiver, on_error: ErrorReceiver | None = None
    ) -> DatagramEndpoint:
        """Bind a UDP socket to a numeric host; port 0 takes a free one. An IPv6 wildcard does not take IPv4.

        Raises:
            NetworkError: the port is in use, the address is not ours, or the address family is not there.
        """

    async def open_listener(self, host: str, port: int, on_connection: Callable[[StreamConnection], None]) -> Listener:
        """Listen for TCP connections on a numeric host; port 0 takes a free one.

        Raises:
            NetworkError: as for `open_datagram`.
        """

    async def connect(self, host: str, port: int, *, local: str | None = None) -> StreamConnection:
        """Connect to a numeric host by TCP, from the own address `local` if given.

        Raises:
            NetworkError: refused or not reachable. There is no time-out here: wrap it in `asyncio.timeout`.
        """

    async def resolve(self, host: str) -> list[str]:
        """The numeric addresses of a name, IPv4 and IPv6, the system's best first; a numeric host is its own answer.

        Raises:
            NetworkError: the name is unknown, or no name server answers.
        """

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of a name in the domain name system; none of them if there is no such name. `resolve` is for addresses.

        Raises:
            NetworkError: no name server answers, or `name` is no domain name.
        """

    def local_address(self, remote_ip: str) -> str:
        """The own address from which packets to `remote_ip` leave.

        Raises:
            NetworkError: there is no route.
        """

    def mark(self, signalling: int | None, media: int | None) -> None:
        """Mark the packets of sockets that are opened from now on with these DSCPs (RFC 2474), 0 to 63; None: not."""

    def is_own(self, ip: str) -> bool:
        """Whether a socket of ours could be bound to `ip` now."""

    def forget_routes(self) -> None:
        """Ask the system again from now on: the network has changed."""

    def watch(self, on_change: Callable[[bool], None]) -> Watch:
        """Call `on_change(slept)` whenever links, addresses or routes have changed (False), or the machine has slept (True)."""

    def bind_media(self, host: str, port: int) -> MediaSocket:
        """A non-blocking UDP socket for RTP or RTCP with a roomy receive buffer; `host` is numeric, port 0 takes a free one.

        Raises:
            NetworkError: as for `open_datagram`.
        """
