"""Where a request goes: from a URI to a flow, by server, transport, address family and size of the message.

Numeric addresses and UDP, names looked up a moment ago and connections that exist are found at once; the rest takes a task.
Servers that failed lately are tried last, and a request that one of them failed goes on to the next (`next_after`).
Whom a TLS server must prove to be is the domain that the user typed, never what it resolved to; a sips address is never reached
without TLS.

RFC 3263 §4; RFC 3261 §18.1.1, §26.2.2; RFC 8305 (both address families over TCP); RFC 5922 §4; RFC 7118 §5
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random as random_module
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from flexosip.errors import FlexosipError, NetworkError
from flexosip.net.address import Address, format_address, is_ipv6
from flexosip.net.datagram_flows import DatagramFlows
from flexosip.net.dead_servers import DeadServers
from flexosip.net.happy_eyeballs import connect_first
from flexosip.net.names import Names
from flexosip.net.network import Network
from flexosip.net.opening import Destination
from flexosip.net.server_location import RandomSource, ServerLocation, Target
from flexosip.net.stream_flows import StreamFlows
from flexosip.sip.flow import Flow
from flexosip.sip.next_hop import WEB_TRANSPORTS, NextHop, transport_of
from flexosip.sip.uri import SipUri

__all__ = ["Locator"]

logger = logging.getLogger(__name__)

Done = Callable[[Flow | None, Exception | None], None]

_LARGEST_DATAGRAM = 1300
"""RFC 3261 §18.1.1: larger requests go over a transport with congestion control where the path MTU is not known."""

_CONNECT_TIMEOUT = 5.0
"""Seconds for one server; then the next is tried."""

_UPGRADE_TIMEOUT = 2.0
"""Seconds for TCP where UDP is to be had instead."""

_NO_TCP_LIFETIME = 300.0
"""Seconds for which a peer that did not take TCP is not asked again."""

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is looked for."""

    uri: SipUri
    transports: tuple[str, ...]
    """in the order of our preference; one only where the URI says so"""
    large: bool
    """too large for a datagram"""
    preferred: Flow | None
    tried: frozenset[Address] = frozenset()
    """servers that failed this request"""

    def ways(self, target: Target) -> tuple[str, ...]:
        """The transports for a server, in the order in which they are tried."""
        if self.large and target.transport == "udp" and self.uri.transport is None:
            return ("tcp", "udp")
        return (target.transport,)

    @property
    def domain(self) -> str:
        """Whom a TLS server must prove to be."""
        domain = self.uri.service_domain if isinstance(self.uri, NextHop) else None
        return (domain or self.uri.host).rstrip(".")

    @property
    def is_bare(self) -> bool:
        """True if neither a port nor a transport was given."""
        return self.uri.port is None and self.uri.transport is None and self.uri.scheme == "sip"

    def destination(self, remote: Address, transport: str) -> Destination:
        """An address of a server, for a connection."""
        if transport not in WEB_TRANSPORTS:
            return Destination(remote, transport, self.domain)
        return Destination(remote, transport, self.domain, self.uri.host, self.uri.path if isinstance(self.uri, NextHop) else "/")

    def upgrades(self, target: Target) -> bool:
        """True if TCP is taken only because of the size."""
        return len(self.ways(target)) > 1


class Locator:
    """Finds flows for the requests of one driver.

    Args:
        random: draws among servers of one priority.
    """

    def __init__(self, network: Network, datagrams: DatagramFlows, streams: StreamFlows, random: RandomSource | None = None) -> None:
        self._network = network
        self._datagrams = datagrams
        self._streams = streams
        self._names = Names(network)
        self._location = ServerLocation(network, self._names, random or random_module.SystemRandom())
        self.dead = DeadServers(network.time)
        self._no_tcp = DeadServers(network.time)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def locate(self, uri: SipUri, size: int, preferred: Flow | None, done: Done) -> None:
        """Find the flow for a request of `size` octets to `uri`.

        Args:
            preferred: taken if it lives and leads there.
            done: called once with a flow or an error, at once or later.
        """
        self._start(uri, size, preferred, (), done)

    def next_after(self, uri: SipUri, size: int, tried: Collection[Address], done: Done) -> None:
        """Find the flow to the next server for a request that those at `tried` have failed (RFC 3263 §4.3).

        Args:
            done: as for `locate`; gets a `NetworkError` when there is no other server.
        """
        self._start(uri, size, None, tried, done)

    def has_other(self, uri: SipUri, tried: Collection[Address]) -> bool:
        """Whether `next_after` would find a server, as far as that is known without asking."""
        if (uri.host, uri.port) in tried and not uri.has_parameter("maddr"):
            return False  # a numeric address is one server
        return any(
            (ip, target.port) not in tried and self._speaks(ip)
            for target in self._remembered(uri)
            for ip in self._names.remembered(target.host) or ()
        )

    def is_first(self, uri: SipUri, flow: Flow) -> bool:
        """Whether `flow` leads to the server that comes first; True also where that is not known."""
        targets = self._remembered(uri)
        addresses = self._names.remembered(targets[0].host) if targets else None
        return addresses is None or (flow.remote[0] in addresses and flow.remote[1] == targets[0].port)

    def _remembered(self, uri: SipUri) -> tuple[Target, ...]:
        try:
            return self._location.remembered(uri, self._transports(uri))
        except FlexosipError:
            return ()

    def failed(self, remote: Address) -> None:
        """Try `remote` last for some time."""
        self.dead.add(remote)

    def network_changed(self) -> None:
        """Believe nothing that was learned in another network."""
        self._names.forget()
        self._location.forget()
        self.dead.clear()
        self._no_tcp.clear()

    async def close(self) -> None:
        """Give up what is under way."""
        self._closed = True
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._names.tasks, *self._location.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- which transport and address ---------------------------------------------------------------------------------

    def _start(self, uri: SipUri, size: int, preferred: Flow | None, tried: Collection[Address], done: Done) -> None:
        if self._closed:
            done(None, NetworkError("The sockets have been closed."))
            return
        try:
            wish = _Wish(uri, self._transports(uri), size > _LARGEST_DATAGRAM, preferred, frozenset(tried))
            flow = self._find_now(wish)
        except FlexosipError as error:
            done(None, error)
            return
        if flow is not None:
            done(flow, None)
            return
        task = asyncio.get_running_loop().create_task(self._find_later(wish, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _transports(self, uri: SipUri) -> tuple[str, ...]:
        """What may be used for `uri`, the preferred first."""
        transport = transport_of(uri)
        if transport in (None, "udp") and not self._datagrams.is_open:
            if transport is None:
                return ("tcp",)
            raise NetworkError("No UDP socket is open.", advice="Use tcp, or listen on UDP too.")
        return ("udp", "tcp") if transport is None else (transport,)

    def _find_now(self, wish: _Wish) -> Flow | None:
        """A flow that is to be had without waiting, or None."""
        preferred = wish.preferred
        if preferred is not None and preferred.alive and preferred.reliable and wish.uri.host.endswith(".invalid"):
            return preferred  # a WebSocket client has no other address than its connection (RFC 7118 §5.2.1)
        targets = self._location.find_now(wish.uri, wish.transports)
        if targets is None:
            return None
        found = []
        for target in targets:
            addresses = self._names.addresses_now(target.host)
            if addresses is None:
                return None
            found.append((target, addresses))
        if self._takes_preferred(wish, found):
            return wish.preferred
        failure: NetworkError | None = None
        for target, ips in self._in_order(found, wish):
            for ip in ips:
                remote = (ip, target.port)
                way = wish.ways(target)[0]
                if way != "udp":
                    flow = self._streams.existing(remote, wish.destination(remote, way))
                    if flow is not None:
                        return self._known_as(flow, wish)
                    if not (wish.upgrades(target) and remote in self._no_tcp):
                        return None
                try:
                    return self._datagrams.flow_to(remote)
                except NetworkError as error:
                    failure = failure or error
        raise failure or self._nothing_left(found, wish)

    async def _find_later(self, wish: _Wish, done: Done) -> None:
        flow: Flow | None = None
        failure: Exception | None = None
        try:
            flow = await self._find(wish)
        except FlexosipError as error:
            failure = error
        done(flow, failure)

    async def _find(self, wish: _Wish) -> Flow:
        targets = await self._location.find(wish.uri, wish.transports)
        found: list[tuple[Target, list[str]]] = []
        failure: NetworkError | None = None
        hosts = list(dict.fromkeys(target.host for target in targets))
        answers = dict(zip(hosts, await asyncio.gather(*(self._addresses(host) for host in hosts)), strict=True))
        for target in targets:
            addresses = answers[target.host]
            if isinstance(addresses, NetworkError):
                failure = failure or addresses
            else:
                found.append((target, addresses))
        if self._takes_preferred(wish, found):
            assert wish.preferred is not None
            return wish.preferred
        if not found and failure is not None:
            raise failure
        for target, ips in self._in_order(found, wish):
            for way in wish.ways(target):
                try:
                    return await self._take(target, ips, way, wish)
                except NetworkError as error:
                    failure = failure or error
        raise failure or self._nothing_left(found, wish)

    async def _take(self, target: Target, ips: list[str], way: str, wish: _Wish) -> Flow:
        remotes = [(ip, target.port) for ip in ips]
        failure: NetworkError | None = None
        if way == "udp":
            for remote in remotes:
                try:
                    return self._datagrams.flow_to(remote)
                except NetworkError as error:
                    failure = failure or error
                    self.dead.add(remote)
            raise failure or self._no_socket(target.host)
        upgraded = wish.upgrades(target)
        if upgraded:
            remotes = [remote for remote in remotes if remote not in self._no_tcp]
        timeout = _UPGRADE_TIMEOUT if upgraded else _CONNECT_TIMEOUT

        def refused(remote: Address, error: NetworkError) -> None:
            if upgraded:
                self._no_tcp.add(remote, _NO_TCP_LIFETIME)
                logger.warning("a large request to %s goes by UDP, because TCP failed: %s", format_address(remote), error)
            else:
                self.dead.add(remote)

        flow = await connect_first(remotes, lambda remote: self._streams.connect(wish.destination(remote, way), timeout), refused)
        return self._known_as(flow, wish)

    def _known_as(self, flow: Flow, wish: _Wish) -> Flow:
        """Let what goes on over `flow` name the server by the host under which it is configured, too."""
        if flow.secure and wish.domain != wish.uri.host:
            self._streams.add_alias(flow, wish.uri.host)
        return flow

    async def _addresses(self, host: str) -> list[str] | NetworkError:
        try:
            return await self._names.addresses(host)
        except NetworkError as error:
            return error

    def _takes_preferred(self, wish: _Wish, found: list[tuple[Target, list[str]]]) -> bool:
        flow = wish.preferred
        if flow is None or not any(self._leads_to(flow, wish, *each) for each in found):
            return False
        # What has just failed is no good first try while there is another server.
        return flow.remote not in self.dead or not self.has_other(wish.uri, (flow.remote,))

    def _leads_to(self, flow: Flow, wish: _Wish, target: Target, addresses: list[str]) -> bool:
        free = wish.uri.transport is None and wish.uri.scheme == "sip"
        # The URI of a secure WebSocket client says "ws" (RFC 7118 §5.2.4).
        fits = free or flow.transport in wish.transports or (flow.transport == "wss" and "ws" in wish.transports)
        if not flow.alive or not fits or (wish.upgrades(target) and not flow.reliable):
            return False
        host, port = flow.remote
        if host in addresses:
            certain = target.host == wish.domain == host  # a bare address names the connection itself
            if flow.secure and not certain and not self._streams.speaks_for(flow, wish.domain):
                # The same machine, but nobody has proved that it is this domain's.
                return False
            # The port of a connection that the peer opened is not the one at which it listens.
            # Many who speak TLS give their bare address as Contact; that is no wish to go on without.
            return port == target.port or (flow.reliable and self._streams.is_accepted(flow)) or (flow.secure and wish.is_bare)
        # A peer behind a NAT names an address that only its own network knows: it is reached where its packets come from.
        if flow.secure and addresses != [wish.domain]:
            return False
        return len(addresses) == 1 and _is_private(addresses[0]) and not _is_private(host)

    def _in_order(self, found: list[tuple[Target, list[str]]], wish: _Wish) -> Iterator[tuple[Target, list[str]]]:
        """The servers with the addresses that we can speak to and have not tried: those that failed lately last, in a second round.

        Raises:
            NetworkError: we listen in none of their families.
        """
        usable = [(target, [ip for ip in addresses if self._speaks(ip)]) for target, addresses in found]
        if not any(addresses for _, addresses in usable):
            raise self._no_socket(found[0][1][0] if found and found[0][1] else wish.uri.host)
        # As it is now: who fails in the first round must not get a second try at once.
        failed_before = {(ip, target.port) for target, addresses in usable for ip in addresses if (ip, target.port) in self.dead}
        for dead in (False, True):
            for target, addresses in usable:
                left = [ip for ip in addresses if (ip, target.port) not in wish.tried and ((ip, target.port) in failed_before) == dead]
                if left:
                    yield target, left

    def _speaks(self, ip: str) -> bool:
        return self._datagrams.speaks(ip) or self._streams.listening_port(ip) is not None

    def _nothing_left(self, found: list[tuple[Target, list[str]]], wish: _Wish) -> NetworkError:
        if wish.tried:
            return NetworkError(f"{wish.uri.host} has no other server.")
        return self._no_socket(found[0][0].host if found else wish.uri.host)

    def _no_socket(self, host: str) -> NetworkError:
        family = "IPv6" if is_ipv6(host) else "IPv4"
        return NetworkError(
            f"{host} is reached by {family} only, and no {family} socket that leads there is open.", advice=f"Listen by {family} too."
        )


def _is_private(ip: str) -> bool:
    """True for the addresses of private networks (RFC 1918, RFC 4193) and of single links."""
    address = ipaddress.ip_address(ip)
    return any(address.version == network.version and address in network for network in _PRIVATE)
