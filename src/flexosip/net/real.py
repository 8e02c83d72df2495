"""The operating system's network on an asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flexosip import extras
from flexosip.errors import NetworkError
from flexosip.net.address import Address, canonical_ip, is_host_name, is_ipv6
from flexosip.net.datagram import RealDatagramEndpoint
from flexosip.net.dns_client import DnsClient
from flexosip.net.dns_records import DnsAnswer, RecordKind
from flexosip.net.failures import bind_failure, connect_failure, lookup_failure
from flexosip.net.interface_watch import InterfaceWatch
from flexosip.net.network import DatagramReceiver, ErrorReceiver, StreamConnection
from flexosip.net.stream import RealListener, RealStreamConnection

if TYPE_CHECKING:
    from flexosip.net.dns_library import DnsLibrary

__all__ = ["RealNetwork"]

logger = logging.getLogger(__name__)

_SIP_BUFFER = 1 << 20
"""Octets of socket buffer each way, so that a burst of some hundred messages waits instead of being lost."""

_MEDIA_BUFFER = 1 << 17
"""Over a second of G.711 even while the reader is held up; the kernel counts about 800 octets for each packet."""

_ROUTE_LIFETIME = 5.0
"""Seconds for which a route is believed: addresses change when a laptop changes its network."""

_ROUTES = 1024
_ANY_PORT = 9  # discard: nothing is sent, a route only wants some port


class RealNetwork:
    """Sockets, names and routes of this machine.

    Args:
        loop: on which everything happens; default: the running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self._routes: dict[str, tuple[float, str]] = {}
        self._signalling_dscp: int | None = None
        self._media_dscp: int | None = None
        self._dns: DnsClient | DnsLibrary | None = None

    def time(self) -> float:
        """The loop's monotonic time, seconds."""
        return self.loop.time()

    def call_at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        """Call `callback(*arguments)` at `when`."""
        return self.loop.call_at(when, callback, *arguments)

    async def open_datagram(
        self, host: str, port: int, on_datagram: DatagramReceiver, on_error: ErrorReceiver | None = None
    ) -> RealDatagramEndpoint:
        """Bind a UDP socket."""
        own = _bound(socket.SOCK_DGRAM, host, port, _SIP_BUFFER)
        _mark(own, self._signalling_dscp)
        try:
            endpoint = RealDatagramEndpoint(self.loop, own, on_datagram, on_error, self.local_address)
            await endpoint.start()
        except BaseException:
            own.close()
            raise
        return endpoint

    async def open_listener(self, host: str, port: int, on_connection: Callable[[StreamConnection], None]) -> RealListener:
        """Listen for TCP connections."""
        own = _bound(socket.SOCK_STREAM, host, port, 0)
        _mark(own, self._signalling_dscp)  # connections that are accepted have it from the listener
        address: Address = own.getsockname()[:2]
        try:
            server = await self.loop.create_server(lambda: RealStreamConnection(on_connection), sock=own, backlog=256)
        except OSError as error:
            own.close()
            raise bind_failure("tcp", address, error) from error
        except BaseException:
            own.close()
            raise
        return RealListener(server, address)

    async def connect(self, host: str, port: int, *, local: str | None = None) -> RealStreamConnection:
        """Connect by TCP."""
        try:
            _, connection = await self.loop.create_connection(
                RealStreamConnection, host, port, local_addr=(local, 0) if local is not None else None
            )
            _mark(connection.socket, self._signalling_dscp)
        except OSError as error:
            raise connect_failure((host, port), error) from error
        return connection

    async def resolve(self, host: str) -> list[str]:
        """The numeric addresses of a name."""
        numeric = canonical_ip(host)
        if numeric is not None:
            return [numeric]
        if not is_host_name(host):
            raise lookup_failure(host, OSError("no host name"))
        try:
            answers = await self.loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all, for instance a label of 64 characters
            raise lookup_failure(host, error) from error
        found = dict.fromkeys(str(name[0]) for family, _, _, _, name in answers if family in (socket.AF_INET, socket.AF_INET6))
        if not found:
            raise lookup_failure(host, OSError("no address"))
        return list(found)

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of a name, through dnspython where it is installed."""
        if self._dns is None:
            self._dns = _dns_client()
        return await self._dns.resolve_dns(name, kind)

    def local_address(self, remote_ip: str) -> str:
        """The own address that the route to `remote_ip` gives; believed for some seconds."""
        now = self.loop.time()
        known = self._routes.get(remote_ip)
        if known is not None and now < known[0]:
            return known[1]
        family = socket.AF_INET6 if is_ipv6(remote_ip) else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((remote_ip, _ANY_PORT))  # sends nothing, only looks up the route
                own = str(probe.getsockname()[0])
        except OSError as error:
            raise connect_failure((remote_ip, 0), error) from error
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        self._routes[remote_ip] = (now + _ROUTE_LIFETIME, own)
        return own

    def forget_routes(self) -> None:
        """Ask the system again from now on: the network has changed."""
        self._routes.clear()
        self._dns = None  # another network has other name servers

    def mark(self, signalling: int | None, media: int | None) -> None:
        """Mark the packets of sockets that are opened from now on."""
        self._signalling_dscp, self._media_dscp = signalling, media

    def is_own(self, ip: str) -> bool:
        """Whether `ip` is an address of this machine now."""
        try:
            with socket.socket(socket.AF_INET6 if is_ipv6(ip) else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((ip, 0))
        except OSError:
            return False
        return True

    def watch(self, on_change: Callable[[bool], None]) -> InterfaceWatch:
        """Watch the machine's interfaces and its sleep."""
        return InterfaceWatch(self.loop, on_change)

    def bind_media(self, host: str, port: int) -> socket.socket:
        """A non-blocking UDP socket for RTP or RTCP."""
        own = _bound(socket.SOCK_DGRAM, host, port, _MEDIA_BUFFER)
        _mark(own, self._media_dscp)
        return own


def _mark(own: Any, dscp: int | None) -> None:
    """Set the DSCP of a socket's packets. Who may not is not worse off: routers treat what is unmarked like everything else."""
    if dscp is None or own is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        if own.family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        else:
            own.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def _dns_client() -> DnsClient | DnsLibrary:
    if extras.available("dns.asyncresolver"):
        from flexosip.net.dns_library import DnsLibrary

        try:
            return DnsLibrary()
        except NetworkError as error:
            logger.debug("dnspython finds no settings (%s); our own client asks", error)
    return DnsClient()


def _bound(kind: socket.SocketKind, host: str, port: int, buffer: int) -> socket.socket:
    """A bound, non-blocking socket; an IPv6 one for IPv6 only.

    Raises:
        NetworkError: it cannot be had.
    """
    transport = "udp" if kind is socket.SOCK_DGRAM else "tcp"
    host = canonical_ip(host) or host
    if canonical_ip(host) is None:
        raise NetworkError(f"{host!r} is not a numeric address.")
    family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
    try:
        own = socket.socket(family, kind)
    except OSError as error:
        raise bind_failure(transport, (host, port), error) from error
    try:
        own.setblocking(False)
        if family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM and sys.platform != "win32":
            # Not on Windows, where it means that a second program may take the port. Elsewhere: ports in TIME_WAIT are free.
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                # Linux takes as much as it allows; others refuse what is too much, and their default serves.
                with contextlib.suppress(OSError):
                    own.setsockopt(socket.SOL_SOCKET, option, buffer)
        own.bind((host, port))
    except OSError as error:
        own.close()
        raise bind_failure(transport, (host, port), error) from error
    return own
