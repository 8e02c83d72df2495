"""Where a request goes: from a URI to a flow, by transport, address family, name and size of the message.

Numeric addresses and UDP, names looked up a moment ago and connections that exist are found at once; the rest takes a task.
SRV and NAPTR records are not asked for.

RFC 3263 §4; RFC 3261 §18.1.1
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flexosip.errors import FlexosipError, NetworkError
from flexosip.net.address import Address, canonical_ip, format_address, is_ipv6
from flexosip.net.datagram_flows import DatagramFlows
from flexosip.net.network import Network
from flexosip.net.stream_flows import StreamFlows
from flexosip.sip.flow import Flow
from flexosip.sip.uri import SipUri

__all__ = ["Locator"]

logger = logging.getLogger(__name__)

Done = Callable[[Flow | None, Exception | None], None]

_SIP_PORT = 5060
_LARGEST_DATAGRAM = 1300
"""RFC 3261 §18.1.1: larger requests go over a transport with congestion control where the path MTU is not known."""

_CONNECT_TIMEOUT = 5.0
"""Seconds for one address; then the next is tried."""

_UPGRADE_TIMEOUT = 2.0
"""Seconds for TCP where UDP is to be had instead."""

_NO_TCP_LIFETIME = 300.0
"""Seconds for which a peer that did not take TCP is not asked again."""

_DEAD_LIFETIME = 30.0
"""Seconds for which an address that failed is tried last (RFC 3263 §4.3)."""

_NAME_LIFETIME = 30.0
"""Seconds for which an address is believed: the system does not tell how long it is good."""

_REMEMBERED = 1024

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    transport: str | None
    """as the URI says"""
    transports: tuple[str, ...]
    """in the order in which they are tried"""
    upgraded: bool
    """TCP only because of the size"""


class Locator:
    """Finds flows for the requests of one driver."""

    def __init__(self, network: Network, datagrams: DatagramFlows, streams: StreamFlows) -> None:
        self._network = network
        self._datagrams = datagrams
        self._streams = streams
        self._names: dict[str, tuple[float, list[str]]] = {}
        self._lookups: dict[str, asyncio.Task[list[str]]] = {}
        self._dead: dict[Address, float] = {}
        self._no_tcp: dict[Address, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def locate(self, uri: SipUri, size: int, preferred: Flow | None, done: Done) -> None:
        """Find the flow for a request of `size` octets to `uri`.

        Args:
            preferred: taken if it lives and leads there.
            done: called once with a flow or an error, at once or later.
        """
        if self._closed:
            done(None, NetworkError("The sockets have been closed."))
            return
        try:
            target = self._target(uri, size)
            flow = self._find_now(target, preferred)
        except FlexosipError as error:
            done(None, error)
            return
        if flow is not None:
            done(flow, None)
            return
        task = asyncio.get_running_loop().create_task(self._find_later(target, preferred, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def failed(self, remote: Address) -> None:
        """Try `remote` last for some time."""
        _remember(self._dead, remote, self._network.time() + _DEAD_LIFETIME)

    async def close(self) -> None:
        """Give up what is under way."""
        self._closed = True
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._lookups.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- which transport and address ---------------------------------------------------------------------------------

    def _target(self, uri: SipUri, size: int) -> _Target:
        if uri.scheme == "sips":
            raise NetworkError("sips addresses need TLS, which is not supported.", advice="Use a sip: address.")
        transport = uri.transport
        if transport not in (None, "udp", "tcp"):
            raise NetworkError(f"The transport {transport!r} is not supported.", advice="Use udp or tcp.")
        host = (uri.parameter("maddr") or uri.host).rstrip(".")
        port = uri.port or _SIP_PORT
        upgraded = False
        transports: tuple[str, ...]
        if transport == "tcp":
            transports = ("tcp",)
        elif not self._datagrams.addresses:
            transports = ("tcp",) if transport is None else ()
        elif size > _LARGEST_DATAGRAM:
            transports, upgraded = ("tcp", "udp"), True
        else:
            transports = ("udp",)
        if not transports:
            raise NetworkError("No UDP socket is open.", advice="Use tcp, or listen on UDP too.")
        return _Target(canonical_ip(host) or host, port, transport, transports, upgraded)

    def _find_now(self, target: _Target, preferred: Flow | None) -> Flow | None:
        """A flow that is to be had without waiting, or None."""
        addresses = self._known_addresses(target.host)
        if addresses is None:
            return None
        failure: NetworkError | None = None
        if preferred is not None and self._leads_to(preferred, target, addresses):
            return preferred
        for ip in self._in_order(addresses, target.port):
            remote = (ip, target.port)
            if target.transports[0] == "tcp":
                flow = self._streams.existing(remote)
                if flow is not None:
                    return flow
                if not (target.upgraded and self._knows_no_tcp(remote)):
                    return None
            try:
                return self._datagrams.flow_to(remote)
            except NetworkError as error:
                failure = failure or error
        raise failure or self._no_socket(target.host)

    async def _find_later(self, target: _Target, preferred: Flow | None, done: Done) -> None:
        flow: Flow | None = None
        failure: Exception | None = None
        try:
            flow = await self._find(target, preferred)
        except FlexosipError as error:
            failure = error
        done(flow, failure)

    async def _find(self, target: _Target, preferred: Flow | None) -> Flow:
        addresses = await self._addresses(target.host)
        if preferred is not None and self._leads_to(preferred, target, addresses):
            return preferred
        failure: NetworkError | None = None
        ordered = self._in_order(addresses, target.port)
        for transport in target.transports:
            for ip in ordered:
                remote = (ip, target.port)
                try:
                    if transport == "udp":
                        return self._datagrams.flow_to(remote)
                    if not (target.upgraded and self._knows_no_tcp(remote)):
                        return await self._streams.connect(remote, _UPGRADE_TIMEOUT if target.upgraded else _CONNECT_TIMEOUT)
                except NetworkError as error:
                    failure = failure or error
                    self._note_failure(remote, transport, target, error)
        raise failure or self._no_socket(target.host)

    def _note_failure(self, remote: Address, transport: str, target: _Target, error: NetworkError) -> None:
        now = self._network.time()
        if transport == "tcp" and target.upgraded:
            _remember(self._no_tcp, remote, now + _NO_TCP_LIFETIME)
            logger.warning("a large request to %s goes by UDP, because TCP failed: %s", format_address(remote), error)
        else:
            _remember(self._dead, remote, now + _DEAD_LIFETIME)

    def _leads_to(self, flow: Flow, target: _Target, addresses: list[str]) -> bool:
        if not flow.alive or target.transport not in (None, flow.transport) or (target.upgraded and not flow.reliable):
            return False
        host, port = flow.remote
        if host in addresses:
            # The port of a connection that the peer opened is not the one at which it listens.
            return port == target.port or (flow.reliable and self._streams.is_accepted(flow))
        # A peer behind a NAT names an address that only its own network knows: it is reached where its packets come from.
        return len(addresses) == 1 and _is_private(addresses[0]) and not _is_private(host)

    def _in_order(self, addresses: list[str], port: int) -> list[str]:
        """The addresses that we can speak to, those that failed lately last.

        Raises:
            NetworkError: we listen in none of their families.
        """
        now = self._network.time()
        usable = [ip for ip in addresses if self._datagrams.speaks(ip) or self._streams.listening_port(ip) is not None]
        if not usable:
            raise self._no_socket(addresses[0])
        return sorted(usable, key=lambda ip: self._dead.get((ip, port), 0.0) > now)

    def _no_socket(self, host: str) -> NetworkError:
        family = "IPv6" if is_ipv6(host) else "IPv4"
        return NetworkError(
            f"{host} is reached by {family} only, and no {family} socket that leads there is open.", advice=f"Listen by {family} too."
        )

    def _knows_no_tcp(self, remote: Address) -> bool:
        return self._no_tcp.get(remote, 0.0) > self._network.time()

    # -- names -----------------------------------------------------------------------------------------------------

    def _known_addresses(self, host: str) -> list[str] | None:
        if canonical_ip(host) is not None:
            return [host]
        known = self._names.get(host)
        return known[1] if known is not None and known[0] > self._network.time() else None

    async def _addresses(self, host: str) -> list[str]:
        known = self._known_addresses(host)
        if known is not None:
            return known
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = asyncio.get_running_loop().create_task(self._look_up(host))
            lookup.add_done_callback(lambda done: self._look_up_done(host, done))
        return await asyncio.shield(lookup)

    def _look_up_done(self, host: str, task: asyncio.Task[list[str]]) -> None:
        self._lookups.pop(host, None)
        if not task.cancelled():
            task.exception()  # those who wait for it get it; if all of them were cancelled, nobody needs it

    async def _look_up(self, host: str) -> list[str]:
        addresses = await self._network.resolve(host)
        if len(self._names) >= _REMEMBERED:
            self._names.clear()
        self._names[host] = (self._network.time() + _NAME_LIFETIME, addresses)
        return addresses


def _remember(table: dict[Address, float], remote: Address, until: float) -> None:
    if len(table) >= _REMEMBERED:
        table.clear()
    table[remote] = until


def _is_private(ip: str) -> bool:
    """True for the addresses of private networks (RFC 1918, RFC 4193) and of single links."""
    address = ipaddress.ip_address(ip)
    return any(address.version == network.version and address in network for network in _PRIVATE)
