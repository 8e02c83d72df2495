"""One machine on the virtual network: addresses, ports, names and time, as `flexosip.net.network.Network` asks for."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flexosip.net.address import Address, canonical_ip, is_ipv6, is_loopback, is_wildcard
from flexosip.net.failures import bind_failure, connect_failure, connect_timeout
from flexosip.simulation.datagram import VirtualDatagramEndpoint, VirtualMediaSocket
from flexosip.simulation.life import VirtualWatch, tell_watches
from flexosip.simulation.stream import VirtualConnection, VirtualListener

if TYPE_CHECKING:
    from flexosip.net.dns_records import DnsAnswer, RecordKind
    from flexosip.net.network import DatagramReceiver, ErrorReceiver, StreamConnection, TimerHandle
    from flexosip.simulation.nat import VirtualNat
    from flexosip.simulation.network import VirtualNetwork

__all__ = ["VirtualHost"]

_FIRST_EPHEMERAL = 49152
_SYN_RETRY = 1.0
_CONNECT_TIMEOUT = 127.0
"""Seconds after which Linux gives up connecting."""


class VirtualHost:
    """A machine with one or more addresses. Made by `VirtualNetwork.host`.

    `plugged = False` pulls its cable: nothing comes in or goes out, and nobody hears an error.
    """

    def __init__(self, network: VirtualNetwork, addresses: Iterable[str], nat: VirtualNat | None = None) -> None:
        self.network = network
        self.addresses = tuple(addresses)
        self.nat = nat
        self.watches: list[VirtualWatch] = []
        self._plugged = True
        self.random = random.Random(f"{network.seed}/host/{self.addresses[0]}")
        """for the machines that run here: the same again with the same seed"""
        self._drift = 0.0
        self._wound = (0.0, 0.0)
        self.connections: set[VirtualConnection] = set()
        self._datagrams: dict[Address, VirtualDatagramEndpoint | VirtualMediaSocket] = {}
        self._listeners: dict[Address, VirtualListener] = {}
        self._next_port = _FIRST_EPHEMERAL
        self._routes: dict[str, str | None] = {}

    def __repr__(self) -> str:
        return f"host {self.addresses[0]}"

    # -- what happens to it ----------------------------------------------------------------------------------------

    @property
    def plugged(self) -> bool:
        """False while its cable is pulled."""
        return self._plugged

    @plugged.setter
    def plugged(self, value: bool) -> None:
        if value != self._plugged:
            self._plugged = value
            tell_watches(self, False)

    def move(self, *ips: str) -> None:
        """Give it other addresses: another network, another lease. Sockets on the wildcard go with it, the others hear nothing more."""
        bound = [(table, owner) for table in (self._datagrams, self._listeners) for owner in dict.fromkeys(table.values())]
        self.network.readdress(self, ips)
        self._routes.clear()
        for table, owner in bound:
            if is_wildcard(owner.address[0]):
                for address in [known for known, found in table.items() if found is owner]:
                    del table[address]
                self._occupy(owner.address, owner, table)
        tell_watches(self, False)

    def sleep(self) -> None:
        """It wakes from a long sleep. What others did meanwhile (forget it, for example) is for the test to do."""
        tell_watches(self, True)

    # -- Network ---------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """The time of this machine, seconds: the network's, unless its clock drifts."""
        now = self.network.time()
        if self._drift == 0.0 and self._wound == (0.0, 0.0):
            return now
        since, showed = self._wound
        return showed + (now - since) * (1.0 + self._drift)

    @property
    def drift(self) -> float:
        """What its clock goes fast (or slow, below 0), seconds a second: 50e-6 is a usual crystal. Packets are sent by it."""
        return self._drift

    @drift.setter
    def drift(self, drift: float) -> None:
        if not -0.5 < drift < 0.5:
            raise ValueError(f"drift is a part of a second, for example 50e-6, not {drift!r}")
        self._wound = (self.network.time(), self.time())
        self._drift = drift

    def call_at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> TimerHandle:
        """Call `callback(*arguments)` at `when` of this machine's time."""
        since, showed = self._wound
        if self._drift != 0.0 or since != showed:
            # Not a hair too early by rounding: who finds his time not come would ask for the same moment again, for ever.
            when = since + (when - showed) / (1.0 + self._drift) + 1e-9
        return self.network.loop.call_at(when, callback, *arguments)

    async def open_datagram(
        self, host: str, port: int, on_datagram: DatagramReceiver, on_error: ErrorReceiver | None = None
    ) -> VirtualDatagramEndpoint:
        """Bind a UDP socket."""
        address = self._bind("udp", host, port, self._datagrams)
        endpoint = VirtualDatagramEndpoint(self, address, on_datagram, on_error)
        self._occupy(address, endpoint, self._datagrams)
        return endpoint

    async def open_listener(self, host: str, port: int, on_connection: Callable[[StreamConnection], None]) -> VirtualListener:
        """Listen for TCP connections."""
        address = self._bind("tcp", host, port, self._listeners)
        listener = VirtualListener(self, address, on_connection)
        self._occupy(address, listener, self._listeners)
        return listener

    def mark(self, signalling: int | None, media: int | None) -> None:
        """Nothing to do: all packets are equal here."""

    def is_own(self, ip: str) -> bool:
        """Whether `ip` is an address of this machine now."""
        return ip in self.addresses or is_loopback(ip)

    def forget_routes(self) -> None:
        """Nothing to do: routes change with the addresses."""

    def watch(self, on_change: Callable[[bool], None]) -> VirtualWatch:
        """Call `on_change` when `move`, `plugged` or `sleep` have changed something."""
        return VirtualWatch(self.watches, on_change)

    def bind_media(self, host: str, port: int) -> VirtualMediaSocket:
        """A polled UDP socket."""
        address = self._bind("udp", host, port, self._datagrams)
        media_socket = VirtualMediaSocket(self, address)
        self._occupy(address, media_socket, self._datagrams)
        return media_socket

    async def connect(self, host: str, port: int, *, local: str | None = None) -> VirtualConnection:
        """Connect by TCP: refused where nothing listens, silent where nothing is."""
        network, remote = self.network, (host, port)
        own = local or self.route(host)
        if own is None:
            raise connect_failure(remote, OSError(errno.ENETUNREACH, "network is unreachable"))
        give_up = network.time() + _CONNECT_TIMEOUT
        while True:
            there = network.link_between(own, host).segment_arrival(network.time()) if self.plugged else None
            target = network.destination_of(self, remote)
            if there is not None and target is not None and target[0].plugged:
                break
            await asyncio.sleep(_SYN_RETRY)
            if network.time() >= give_up:
                raise connect_timeout(remote)
        back = network.link_between(host, own).settings.delay
        await asyncio.sleep(max(0.0, there - network.time()))
        machine, address = target
        listener = machine.listener_at(address)
        if listener is None:
            await asyncio.sleep(back)
            raise connect_failure(remote, ConnectionRefusedError(errno.ECONNREFUSED, "connection refused"))
        near = VirtualConnection(self, (own, self._free_port(own, self._listeners)), remote)
        seen_as = near.local if self.nat is None else self.nat.outbound(self, near.local, remote, network.time())
        far = VirtualConnection(machine, address, seen_as)
        near.join(far)
        try:
            listener.on_connection(far)
            await asyncio.sleep(back)
        except BaseException:
            near.abort()
            raise
        return near

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a name in the network's table."""
        numeric = canonical_ip(host)
        if numeric is not None:
            return [numeric]
        return await self.network.dns.resolve(host)

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of a name in the network's `dns`."""
        return await self.network.dns.resolve_dns(name, kind)

    def local_address(self, remote_ip: str) -> str:
        """The own address from which packets to `remote_ip` leave."""
        own = self.route(remote_ip)
        if own is None:
            raise connect_failure((remote_ip, 0), OSError(errno.ENETUNREACH, "network is unreachable"))
        return own

    # -- for the network -------------------------------------------------------------------------------------------

    def route(self, remote_ip: str) -> str | None:
        """`local_address`, or None if there is no route."""
        try:
            return self._routes[remote_ip]
        except KeyError:
            pass
        if is_loopback(remote_ip):
            own: str | None = remote_ip
        else:
            family = [ip for ip in self.addresses if is_ipv6(ip) == is_ipv6(remote_ip)]
            # Of several the one on the same net as the other; what is on none of them is reached over the first.
            own = next((ip for ip in family if _net(ip) == _net(remote_ip)), family[0] if family else None)
        self._routes[remote_ip] = own
        return own

    def datagram_socket_at(self, address: Address) -> VirtualDatagramEndpoint | VirtualMediaSocket | None:
        """The UDP socket that gets what is sent to `address`."""
        return self._datagrams.get(address)

    def listener_at(self, address: Address) -> VirtualListener | None:
        """The TCP socket that listens at `address`."""
        return self._listeners.get(address)

    def release_datagram(self, owner: object, address: Address) -> None:
        """A UDP socket was closed."""
        self._vacate(owner, address, self._datagrams)

    def release_listener(self, owner: object, address: Address) -> None:
        """A listener was closed."""
        self._vacate(owner, address, self._listeners)

    @property
    def open_sockets(self) -> tuple[object, ...]:
        """Whatever is open here."""
        return (*dict.fromkeys(self._datagrams.values()), *dict.fromkeys(self._listeners.values()), *self.connections)

    # -- ports -----------------------------------------------------------------------------------------------------

    def _own_ips(self, host: str) -> list[str]:
        """The addresses for which a socket bound to `host` receives."""
        if not is_wildcard(host):
            return [host]
        ipv6 = is_ipv6(host)
        return [ip for ip in self.addresses if is_ipv6(ip) == ipv6] + ["::1" if ipv6 else "127.0.0.1"]

    def _bind(self, transport: str, host: str, port: int, table: dict[Address, Any]) -> Address:
        host = canonical_ip(host) or host
        address = (host, port)
        if is_wildcard(host):
            if len(self._own_ips(host)) == 1:  # only loopback: as a machine without that address family
                raise bind_failure(transport, address, OSError(errno.EAFNOSUPPORT, "address family not supported"))
        elif host not in self.addresses and not is_loopback(host):
            raise bind_failure(transport, address, OSError(errno.EADDRNOTAVAIL, "cannot assign requested address"))
        if port == 0:
            return host, self._free_port(host, table)
        if any((ip, port) in table for ip in self._own_ips(host)):
            raise bind_failure(transport, address, OSError(errno.EADDRINUSE, "address already in use"))
        return address

    def _free_port(self, host: str, table: dict[Address, Any]) -> int:
        for _ in range(65536 - _FIRST_EPHEMERAL):
            port = self._next_port
            self._next_port = port + 1 if port < 65535 else _FIRST_EPHEMERAL
            if not any((ip, port) in table for ip in self._own_ips(host)):
                return port
        raise bind_failure("udp", (host, 0), OSError(errno.EADDRINUSE, "no free port is left"))

    def _occupy(self, address: Address, owner: Any, table: dict[Address, Any]) -> None:
        for ip in self._own_ips(address[0]):
            table[(ip, address[1])] = owner

    def _vacate(self, owner: object, address: Address, table: dict[Address, Any]) -> None:
        for ip in self._own_ips(address[0]):
            if table.get((ip, address[1])) is owner:
                del table[(ip, address[1])]


def _net(ip: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The net of an address: /24, or /64."""
    return ipaddress.ip_network((ip.partition("%")[0], 64 if is_ipv6(ip) else 24), strict=False)
