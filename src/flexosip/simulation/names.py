"""The domain name system of the virtual network: records of all kinds, and all that goes wrong with it.

    network.dns.srv("_sip._udp.provider.test", 10, 50, 5060, "a.provider.test", ttl=300)
    network.dns.naptr("provider.test", 10, 10, "SIP+D2U", "_sip._udp.provider.test")
    network.name("a.provider.test", "10.0.0.8")
    network.dns.down = True
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from flexosip.net.address import is_host_name, is_ipv6
from flexosip.net.dns_records import AddressRecord, DnsAnswer, DnsRecord, NaptrRecord, RecordKind, ServiceRecord
from flexosip.net.failures import lookup_failure, no_name_server

if TYPE_CHECKING:
    from flexosip.simulation.network import VirtualNetwork

__all__ = ["VirtualDns"]

_PATIENCE = 5.0
"""Seconds after which a client gives a silent name server up."""


class VirtualDns:
    """The name servers of a virtual network. Its `dns`."""

    def __init__(self, network: VirtualNetwork) -> None:
        self._network = network
        self._records: dict[tuple[str, RecordKind], list[DnsRecord]] = {}
        self._ttls: dict[tuple[str, RecordKind], float] = {}
        self.down = False
        """True: no name server answers; a client gives up after 5 s"""
        self.silent: set[RecordKind] = set()
        """Kinds of records about which questions get no answer, as some routers do with what they do not know"""
        self.negative_ttl = 60.0
        """Seconds for which the lack of a record is good"""
        self.queries: list[tuple[str, RecordKind]] = []
        """What was asked by `resolve_dns`, in order"""

    def srv(self, name: str, priority: int, weight: int, port: int, target: str, *, ttl: float = 300.0) -> None:
        """Add an SRV record."""
        self._add(name, "SRV", ServiceRecord(priority, weight, port, _canonical(target)), ttl)

    def naptr(
        self, name: str, order: int, preference: int, service: str, replacement: str, *, flags: str = "s", ttl: float = 300.0
    ) -> None:
        """Add a NAPTR record."""
        self._add(name, "NAPTR", NaptrRecord(order, preference, flags.lower(), service.upper(), "", _canonical(replacement)), ttl)

    def remove(self, name: str) -> None:
        """Forget all records of a name, those of `VirtualNetwork.name` too."""
        name = _canonical(name)
        for key in [key for key in self._records if key[0] == name]:
            del self._records[key]
        self._network.name(name)

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a name, as the system's own look-up finds them."""
        await asyncio.sleep(self._network.lookup_delay)
        if self.down:
            await asyncio.sleep(_PATIENCE)
            raise lookup_failure(host, socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"))
        known = self._network.addresses_of(host) if is_host_name(host) else ()
        if not known:
            raise lookup_failure(host, socket.gaierror(socket.EAI_NONAME, "name or service not known"))
        return list(known)

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of a name."""
        name = _canonical(name)
        self.queries.append((name, kind))
        await asyncio.sleep(self._network.lookup_delay)
        if self.down or kind in self.silent:
            await asyncio.sleep(_PATIENCE)
            raise no_name_server(name, "no name server answers")
        key = (name, kind)
        records = list(self._records.get(key, ()))
        if kind in ("A", "AAAA"):
            records += [AddressRecord(ip) for ip in self._network.addresses_of(name) if is_ipv6(ip) == (kind == "AAAA")]
        return DnsAnswer(tuple(records), self._ttls.get(key, 300.0) if records else self.negative_ttl)

    def _add(self, name: str, kind: RecordKind, record: DnsRecord, ttl: float) -> None:
        key = (_canonical(name), kind)
        self._records.setdefault(key, []).append(record)
        self._ttls[key] = ttl


def _canonical(name: str) -> str:
    return name.lower().rstrip(".")
