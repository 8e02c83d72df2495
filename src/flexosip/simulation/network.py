"""A network in memory: seeded loss, duplicates, reordering, delay and jitter, per link; UDP, TCP, names, NAT, observers.

    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=7, loss=0.05)
    bell, house = network.host(), network.host("10.0.0.9")
    clock.run(story(bell, house))
    assert not network.open_sockets

The same seed and the same program give the same run. Addresses where nobody lives are silent, like a machine that is switched off.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from flexosip.net.address import Address, canonical_ip, is_loopback
from flexosip.simulation.clock import VirtualClock
from flexosip.simulation.datagram import VirtualDatagramEndpoint, VirtualMediaSocket
from flexosip.simulation.faults import Dropped, Partition, addresses_of, fitting
from flexosip.simulation.host import VirtualHost
from flexosip.simulation.link import Link, LinkSettings, Packet
from flexosip.simulation.names import VirtualDns
from flexosip.simulation.nat import VirtualNat

__all__ = ["VirtualNetwork"]

_LOOPBACK = LinkSettings(delay=0.0)


class VirtualNetwork:
    """The wires between virtual hosts.

    Args:
        clock: the virtual clock; None: the time of the running loop.
        seed: of everything random here.
        loss, duplicate, reorder, delay, jitter: of every link, see `LinkSettings`; `link` sets single ones.
        icmp: answer datagrams to closed ports with an error, as real machines do; otherwise with silence, as firewalls do.
        segment: largest piece in which TCP data arrive, octets.
    """

    def __init__(
        self,
        clock: VirtualClock | None = None,
        *,
        seed: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay: float = 0.01,
        jitter: float = 0.0,
        icmp: bool = False,
        segment: int = 1460,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.icmp = icmp
        self.segment = segment
        self.dns = VirtualDns(self)
        """Name servers: records other than addresses, and failures; addresses are given by `name`"""
        self.lookup_delay = 0.0
        """seconds that a look-up of a name takes"""
        self.settings = LinkSettings(loss=loss, duplicate=duplicate, reorder=reorder, delay=delay, jitter=jitter)
        self.observers: list[Callable[[Packet], None]] = []
        """Called with every packet when it is sent, lost ones too."""
        self.filters: list[Callable[[Packet], bool]] = []
        """A datagram for which one of these says True is lost: `lambda packet: packet.data.startswith(b"ACK")`."""
        self._hosts: dict[str, VirtualHost] = {}
        self._all_hosts: list[VirtualHost] = []
        self._nats: dict[str, VirtualNat] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._overrides: dict[tuple[str, str], LinkSettings] = {}
        self._partitions: list[Partition] = []
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = 0.0
        self._delivering = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_ip = 1

    # -- building --------------------------------------------------------------------------------------------------

    def host(self, *ips: str, nat: VirtualNat | None = None) -> VirtualHost:
        """A new machine; without an address it gets the next free one of 10.0.0.0/8.

        Raises:
            ValueError: an address is not numeric, or is taken.
        """
        addresses = [self._checked_ip(ip, nat) for ip in ips] or [self._free_ip()]
        host = VirtualHost(self, addresses, nat)
        table = self._hosts if nat is None else nat.inside
        table.update(dict.fromkeys(addresses, host))
        self._all_hosts.append(host)
        return host

    def readdress(self, host: VirtualHost, ips: Sequence[str]) -> None:
        """Take a machine's addresses away and give it others; see `VirtualHost.move`."""
        table = self._hosts if host.nat is None else host.nat.inside
        for ip in host.addresses:
            table.pop(ip, None)
        host.addresses = tuple(self._checked_ip(ip, host.nat) for ip in ips)
        table.update(dict.fromkeys(host.addresses, host))

    def nat(self, public: str, *, lifetime: float = 60.0, filtering: bool = True, **settings: Any) -> VirtualNat:
        """A router with address translation; see `VirtualNat` for the settings."""
        address = self._checked_ip(public, None)
        self._nats[address] = nat = VirtualNat(address, lifetime=lifetime, filtering=filtering, **settings)
        return nat

    def name(self, name: str, *ips: str) -> None:
        """Let `name` resolve to these addresses, in this order; none: it is unknown again."""
        self._names[name.lower().rstrip(".")] = tuple(canonical_ip(ip) or ip for ip in ips)

    def link(self, source: str | VirtualHost, destination: str | VirtualHost, *, both: bool = True, **changes: Any) -> None:
        """Change single settings of the link between two addresses or hosts, from now on; `both` ways or one.

        `network.link(a, b, loss=1.0)` cuts it, `network.link(a, b, loss=0.0)` mends it.
        """
        for first in _ips(source):
            for second in _ips(destination):
                pairs = [(first, second), (second, first)] if both else [(first, second)]
                for pair in pairs:
                    settings = dataclasses.replace(self._overrides.get(pair, self.settings), **changes)
                    self._overrides[pair] = settings
                    if pair in self._links:
                        self._links[pair].change(settings)

    def partition(self, first: Iterable[str | VirtualHost], second: Iterable[str | VirtualHost] | None = None) -> Partition:
        """Let nothing pass between two groups of machines, from now on until `heal`; the second is everybody else unless told."""
        cut = Partition(addresses_of(first), addresses_of(second) if second is not None else None)
        self._partitions.append(cut)
        self._sever()
        return cut

    def heal(self, partition: Partition | None = None) -> None:
        """End a partition, or all."""
        self._partitions = [cut for cut in self._partitions if partition is not None and cut is not partition]
        self._sever()

    def outage(self, seconds: float, *, after: float = 0.0, of: Iterable[str | VirtualHost] | None = None) -> None:
        """Let nothing pass for `seconds`, beginning `after` seconds from now: on all links, or to and from the machines `of`."""
        ends = list(of) if of is not None else None

        def begin() -> None:
            for end in ends if ends is not None else self.hosts:
                self.schedule(self.time() + seconds, self.heal, (self.partition([end]),))

        if after > 0:
            self.schedule(self.time() + after, begin, ())
        else:
            begin()

    def drop(self, what: str | bytes | Callable[[Packet], bool], nth: int | Collection[int] | None = None) -> Dropped:
        """Lose datagrams for what is in them, from now on.

        Args:
            what: a method or status (`"REGISTER"`, `"200"`), octets (`b"CSeq: 2"`), or a function of the `Packet`.
            nth: the how-manieth of them, counted from 1, or several; None: all.

        `network.filters.remove` of what comes back ends it.
        """
        dropped = Dropped(fitting(what), (nth,) if isinstance(nth, int) else nth)
        self.filters.append(dropped)
        return dropped

    def _sever(self) -> None:
        for (source, destination), link in self._links.items():
            link.severed = any(cut.separates(source, destination) for cut in self._partitions)

    def change(self, **changes: Any) -> None:
        """Change settings of all links that have none of their own."""
        self.settings = dataclasses.replace(self.settings, **changes)
        for pair, link in self._links.items():
            if pair not in self._overrides and not is_loopback(pair[1]):
                link.change(self.settings)

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def open_sockets(self) -> tuple[object, ...]:
        """Everything that is open on any host: empty when all have cleaned up."""
        return tuple(open_socket for host in self._all_hosts for open_socket in host.open_sockets)

    @property
    def hosts(self) -> tuple[VirtualHost, ...]:
        """All machines."""
        return tuple(self._all_hosts)

    def time(self) -> float:
        """Seconds."""
        clock = self.clock
        return clock.now if clock is not None else self.loop.time()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which packets arrive."""
        if self.clock is not None:
            return self.clock.loop
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
        return self._loop

    def addresses_of(self, name: str) -> tuple[str, ...]:
        """What `name` resolves to; nothing if it is unknown."""
        return self._names.get(name.lower().rstrip("."), ())

    # -- carrying --------------------------------------------------------------------------------------------------

    def transmit(self, sender: VirtualHost, source: Address, destination: Address, data: bytes) -> None:
        """Carry a datagram."""
        clock = self.clock
        now = clock.now if clock is not None else self.loop.time()
        link = self._links.get((source[0], destination[0])) or self.link_between(source[0], destination[0])
        arrivals = link.arrivals(now, len(data)) if sender.plugged else ()
        seen_as = source
        if sender.nat is not None and destination[0] not in sender.nat.inside and not is_loopback(destination[0]):
            seen_as = sender.nat.outbound(sender, source, destination, now)
        if self.observers or self.filters:
            packet = Packet(now, "udp", seen_as, destination, data, arrivals)
            if arrivals and any(dropped(packet) for dropped in self.filters):
                arrivals = ()
                packet = dataclasses.replace(packet, arrivals=())
            self.observe(packet)
        if not arrivals:
            return
        found = self.destination_of(sender, destination, seen_as)
        if found is None:
            return
        host, address = found
        target = host.datagram_socket_at(address)
        for when in arrivals:
            if isinstance(target, VirtualMediaSocket) and host.plugged:
                self._order = order = self._order + 1
                target.enqueue(when, order, data, seen_as)
            else:
                self.schedule(when, self._arrive, (host, address, seen_as, data, sender, source, destination))

    def schedule(self, when: float, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Call back at `when`, in the order of the calls where times are equal."""
        self._order = order = self._order + 1
        heapq.heappush(self._heap, (when, order, callback, arguments))
        if not self._delivering and (self._timer is None or when < self._timer_when or self._loop is not self.loop):
            self._arm(when)

    def destination_of(
        self, sender: VirtualHost, destination: Address, source: Address | None = None
    ) -> tuple[VirtualHost, Address] | None:
        """The machine that gets a packet, and the address by which it knows itself; None: nobody."""
        ip = destination[0]
        if is_loopback(ip):
            return sender, destination
        if sender.nat is not None and ip in sender.nat.inside:
            return sender.nat.inside[ip], destination
        host = self._hosts.get(ip)
        if host is not None:
            return host, destination
        nat = self._nats.get(ip)
        if nat is None or source is None or (nat is sender.nat and not nat.hairpin):
            return None
        return nat.inbound(source, destination[1], self.time())

    def link_between(self, source_ip: str, destination_ip: str) -> Link:
        """The link in this direction; made when first used."""
        pair = (source_ip, destination_ip)
        link = self._links.get(pair)
        if link is None:
            settings = _LOOPBACK if is_loopback(destination_ip) else self._overrides.get(pair, self.settings)
            link = self._links[pair] = Link(settings, f"{self.seed}/{source_ip}/{destination_ip}")
            link.severed = any(cut.separates(source_ip, destination_ip) for cut in self._partitions)
        return link

    def observe(self, packet: Packet) -> None:
        """Show a packet to the observers."""
        for observer in self.observers:
            observer(packet)

    def reset_streams(self) -> None:
        """Reset every TCP connection, as a firewall that lost its state does."""
        for host in self._all_hosts:
            for connection in list(host.connections):
                self.schedule(self.time(), connection.finish, (ConnectionResetError("connection reset by peer"),))

    # -- private ---------------------------------------------------------------------------------------------------

    def _arrive(
        self,
        host: VirtualHost,
        address: Address,
        seen_as: Address,
        data: bytes,
        sender: VirtualHost,
        source: Address,
        destination: Address,
    ) -> None:
        if not host.plugged:
            return
        target = host.datagram_socket_at(address)
        if isinstance(target, VirtualDatagramEndpoint):
            target.on_datagram(data, seen_as, address[0])
        elif target is not None:
            self._order = order = self._order + 1
            target.enqueue(self.time(), order, data, seen_as)
        elif self.icmp:
            origin = sender.datagram_socket_at(source)
            if isinstance(origin, VirtualDatagramEndpoint):
                back = self.link_between(address[0], source[0]).settings.delay
                self.schedule(self.time() + back, origin.report, (destination, ConnectionRefusedError("port unreachable")))

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop = loop = self.loop
        self._timer_when = when
        self._timer = loop.call_at(when, self._deliver)

    def _deliver(self) -> None:
        # A loop fires timers up to its clock's resolution early.
        now = max(self.time(), self._timer_when)
        self._timer = None
        self._delivering = True
        heap, pop = self._heap, heapq.heappop
        try:
            while heap and heap[0][0] <= now:
                _, _, callback, arguments = pop(heap)
                callback(*arguments)
        finally:
            self._delivering = False
            if heap:
                self._arm(heap[0][0])

    def _checked_ip(self, ip: str, nat: VirtualNat | None) -> str:
        address = canonical_ip(ip)
        if address is None:
            raise ValueError(f"{ip!r} is not a numeric address")
        if address in (self._hosts if nat is None else nat.inside) or address in self._nats:
            raise ValueError(f"{address} is taken")
        return address

    def _free_ip(self) -> str:
        while True:
            number = self._next_ip
            self._next_ip += 1
            ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            if number & 255 not in (0, 255) and ip not in self._hosts:
                return ip


def _ips(end: str | VirtualHost) -> tuple[str, ...]:
    if isinstance(end, VirtualHost):
        return end.addresses
    return (canonical_ip(end) or end,)
