"""A router with network address translation on the virtual network: hosts behind it share its public address.

Mapping and filtering are those of RFC 4787 §4.1 and §5, under the names of RFC 3489 that people use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.net.address import Address

if TYPE_CHECKING:
    from flexosip.simulation.host import VirtualHost

__all__ = ["VirtualNat"]

_FIRST_PORT = 20000
_KINDS = ("full-cone", "restricted", "port-restricted", "symmetric")


class VirtualNat:
    """One public address for several hosts. Made by `VirtualNetwork.nat`; hosts join with `network.host(ip, nat=nat)`.

    Args:
        public: the outside address.
        lifetime: seconds after the last outgoing packet for which a mapping lives.
        filtering: False is short for `kind="full-cone"`.
        kind: `full-cone`: anybody gets in through a mapping; `restricted`: addresses that were sent something; `port-restricted`:
            addresses and ports that were; `symmetric`: like that, and each destination gets a mapping of its own.
        hairpin: hosts inside reach each other by the public address.
        inbound_refresh: packets from outside keep a mapping alive, too (RFC 4787 REQ-6 leaves it open).
    """

    def __init__(
        self,
        public: str,
        *,
        lifetime: float = 60.0,
        filtering: bool = True,
        kind: str | None = None,
        hairpin: bool = True,
        inbound_refresh: bool = False,
    ) -> None:
        if kind is not None and kind not in _KINDS:
            raise ValueError(f"kind={kind!r}: a NAT is {', '.join(_KINDS)}")
        self.public = public
        self.lifetime = lifetime
        self.kind = kind or ("port-restricted" if filtering else "full-cone")
        self.hairpin = hairpin
        self.inbound_refresh = inbound_refresh
        self.inside: dict[str, VirtualHost] = {}
        self._mappings: dict[tuple[Address, Address | None], int] = {}
        self._owners: dict[int, tuple[VirtualHost, Address]] = {}
        self._used: dict[int, float] = {}
        self._allowed: dict[int, set[Address]] = {}
        self._next_port = _FIRST_PORT

    def outbound(self, host: VirtualHost, source: Address, destination: Address, now: float) -> Address:
        """The public source of a packet from inside; opens or refreshes the mapping."""
        key = (source, destination if self.kind == "symmetric" else None)
        port = self._mappings.get(key)
        if port is None or now - self._used[port] > self.lifetime:
            if port is not None:
                del self._mappings[key], self._owners[port], self._used[port], self._allowed[port]
            port = self._next_port
            self._next_port += 1
            self._mappings[key] = port
            self._owners[port] = (host, source)
            self._allowed[port] = set()
        self._used[port] = now
        self._allowed[port].add(destination)
        return self.public, port

    def inbound(self, source: Address, port: int, now: float) -> tuple[VirtualHost, Address] | None:
        """The host and address inside for a packet to public `port`, or None if it is dropped."""
        owner = self._owners.get(port)
        if owner is None or now - self._used[port] > self.lifetime or not self._lets_in(source, port):
            return None
        if self.inbound_refresh:
            self._used[port] = now
        return owner

    def _lets_in(self, source: Address, port: int) -> bool:
        if self.kind == "full-cone":
            return True
        if self.kind == "restricted":
            return any(source[0] == ip for ip, _ in self._allowed[port])
        return source in self._allowed[port]

    def rebind(self) -> None:
        """Forget all mappings, as after a restart of the router: every host gets new public ports."""
        self._mappings.clear()
        self._owners.clear()
        self._used.clear()
        self._allowed.clear()
