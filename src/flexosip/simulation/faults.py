"""Faults of the virtual network that begin and end: partitions, outages, and single packets picked by what is in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flexosip.net.address import canonical_ip, is_loopback

if TYPE_CHECKING:
    from flexosip.simulation.host import VirtualHost
    from flexosip.simulation.link import Packet

__all__ = ["Dropped", "Partition", "addresses_of", "fitting"]


def addresses_of(ends: Iterable[str | VirtualHost]) -> frozenset[str]:
    """The addresses of machines, given as such or by address."""
    found: set[str] = set()
    for end in ends:
        found.update((canonical_ip(end) or end,) if isinstance(end, str) else end.addresses)
    return frozenset(found)


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Two groups between which nothing passes, in either direction."""

    first: frozenset[str]
    second: frozenset[str] | None
    """None: everybody else."""

    def separates(self, source: str, destination: str) -> bool:
        """True if a packet from `source` does not reach `destination`; a machine always reaches itself."""
        if is_loopback(destination):
            return False
        return self._between(source, destination) or self._between(destination, source)

    def _between(self, one: str, other: str) -> bool:
        return one in self.first and (other not in self.first if self.second is None else other in self.second)


@dataclass(slots=True, eq=False)
class Dropped:
    """Datagrams that are lost for what is in them; made by `VirtualNetwork.drop`."""

    fits: Callable[[Packet], bool]
    numbers: Collection[int] | None
    """Which of those that fit, counted from 1; None: all."""
    seen: int = 0
    """How many fitted so far."""
    packets: list[Packet] = field(default_factory=list)
    """Those that were lost."""

    def __call__(self, packet: Packet) -> bool:
        if not self.fits(packet):
            return False
        self.seen += 1
        if self.numbers is not None and self.seen not in self.numbers:
            return False
        self.packets.append(packet)
        return True


def fitting(what: str | bytes | Callable[[Packet], bool]) -> Callable[[Packet], bool]:
    """What `VirtualNetwork.drop` means by `what`: a method or status at the begin of a SIP message, octets anywhere, or a function."""
    if callable(what):
        return what
    if isinstance(what, bytes):
        octets = what
        return lambda packet: octets in packet.data
    begin = f"SIP/2.0 {what}".encode() if what.isdigit() else f"{what} ".encode()
    return lambda packet: packet.data.startswith(begin)
