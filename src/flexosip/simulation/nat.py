"""A router with network address translation on the virtual network: hosts behind it share its public address.

A mapping belongs to an inside address and port (RFC 4787: endpoint-independent mapping); who may send back through it is the filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.net.address import Address

if TYPE_CHECKING:
    from flexosip.simulation.host import VirtualHost

__all__ = ["VirtualNat"]

_FIRST_PORT = 20000


class VirtualNat:
    """One public address for several hosts. Made by `VirtualNetwork.nat`; hosts join with `network.host(ip, nat=nat)`.

    Args:
        public: the outside address.
        lifetime: seconds after the last outgoing packet for which a mapping lives.
        filtering: True (RFC 4787 address and port-dependent filtering): only those who were sent something get in.
    """

    def __init__(self, public: str, *, lifetime: float = 60.0, filtering: bool = True) -> None:
        self.public = public
        self.lifetime = lifetime
        self.filtering = filtering
        self.inside: dict[str, VirtualHost] = {}
        self._mappings: dict[Address, int] = {}
        self._owners: dict[int, tuple[VirtualHost, Address]] = {}
        self._used: dict[int, float] = {}
        self._allowed: dict[int, set[Address]] = {}
        self._next_port = _FIRST_PORT

    def outbound(self, host: VirtualHost, source: Address, destination: Address, now: float) -> Address:
        """The public source of a packet from inside; opens or refreshes the mapping."""
        port = self._mappings.get(source)
        if port is None or now - self._used[port] > self.lifetime:
            if port is not None:
                self._forget(port, source)
            port = self._next_port
            self._next_port += 1
            self._mappings[source] = port
            self._owners[port] = (host, source)
            self._allowed[port] = set()
        self._used[port] = now
        self._allowed[port].add(destination)
        return self.public, port

    def inbound(self, source: Address, port: int, now: float) -> tuple[VirtualHost, Address] | None:
        """The host and address inside for a packet to public `port`, or None if it is dropped."""
        owner = self._owners.get(port)
        if owner is None or now - self._used[port] > self.lifetime:
            return None
        if self.filtering and source not in self._allowed[port]:
            return None
        return owner

    def rebind(self) -> None:
        """Forget all mappings, as after a restart of the router: every host gets new public ports."""
        self._mappings.clear()
        self._owners.clear()
        self._used.clear()
        self._allowed.clear()

    def _forget(self, port: int, source: Address) -> None:
        del self._mappings[source], self._owners[port], self._used[port], self._allowed[port]
