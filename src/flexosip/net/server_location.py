"""Where the servers of a domain are: from a URI to an ordered list of hosts, ports and transports.

    transport, port, numeric host in the URI     what is asked
    a numeric host                               nothing
    a port                                       addresses only
    a transport                                  SRV of that transport, then addresses
    nothing                                      NAPTR, else SRV of each transport, then addresses

All questions are asked at once, and a domain that has an address of its own waits only a moment for answers that may never come, so that
a router in the living room is found as fast as ever. Names without a dot and those of a single link (`.local`) have no such records.

RFC 3263 §4.1, §4.2; RFC 2782 (priority and weight); RFC 7984 (both address families)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from flexosip.errors import NetworkError
from flexosip.net.address import canonical_ip
from flexosip.net.dns_records import NaptrRecord, ServiceRecord
from flexosip.sip.next_hop import default_port

if TYPE_CHECKING:
    from flexosip.net.dns_records import DnsAnswer, RecordKind
    from flexosip.net.names import Names
    from flexosip.net.network import Network
    from flexosip.sip.uri import SipUri

__all__ = ["RandomSource", "ServerLocation", "Target"]

logger = logging.getLogger(__name__)

_MOST_TARGETS = 20
"""Servers of one domain that are ever tried: a hostile domain gets no more of our time."""
_PATIENCE = 1.0
"""Seconds that a domain with an address of its own waits for NAPTR and SRV."""
_SHORTEST_LIFE, _LONGEST_LIFE = 10.0, 3600.0
"""Bounds of what a name server says: a TTL of 0 must not make each request a look-up, and one of years not hide a move."""
_UNANSWERED_LIFE = 600.0
"""Seconds for which a domain whose NAPTR and SRV nobody answers is taken to have none."""
_FAILED_LIFE = 30.0
"""Seconds between two tries while the last good servers are used because no name server answers."""
_STALE_LIFE = 86400.0
"""Seconds for which good servers are remembered in case that the name servers fail."""
_REMEMBERED = 256

_SRV_PREFIX = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
_NAPTR_TRANSPORT = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_LINK_ONLY = ("local", "localhost", "invalid")


class RandomSource(Protocol):
    """What draws servers by weight."""

    def uniform(self, a: float, b: float) -> float:
        """A number from `a` to `b`."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server to try."""

    host: str
    """numeric, or a name that has addresses"""
    port: int
    transport: str
    service_domain: str
    """what the user asked for: the name that a certificate must show (RFC 5922), whatever SRV says"""


@dataclass(frozen=True, slots=True)
class _Located:
    targets: tuple[Target, ...]
    until: float
    """when it must be asked again"""
    good_at: float
    """when name servers confirmed it last"""
    marks: frozenset[tuple[int, int, int, str]] = frozenset()
    """the SRV records it was made from"""


Key = tuple[str, str, str | None, tuple[str, ...]]


class ServerLocation:
    """Finds and remembers the servers of domains.

    Args:
        network: asks the name servers.
        names: remembers addresses.
        random: draws among servers of one priority.
    """

    def __init__(self, network: Network, names: Names, random: RandomSource) -> None:
        self._network = network
        self._names = names
        self._random = random
        self._known: dict[Key, _Located] = {}
        self._asking: dict[Key, asyncio.Task[tuple[Target, ...]]] = {}

    def find_now(self, uri: SipUri, transports: Sequence[str]) -> tuple[Target, ...] | None:
        """The servers for a request to `uri`, best first, if nobody has to be asked; None otherwise.

        Args:
            transports: what may be used, the preferred first; one only where the URI names it.
        """
        host = _host_of(uri)
        if uri.port is not None or canonical_ip(host) is not None or not _may_have_services(host):
            return (_direct(uri, host, transports[0]),)
        known = self._known.get(_key(uri, host, transports))
        return known.targets if known is not None and known.until > self._network.time() else None

    def remembered(self, uri: SipUri, transports: Sequence[str]) -> tuple[Target, ...]:
        """The latest servers, however old; none if they were never looked for."""
        known = self._known.get(_key(uri, _host_of(uri), transports))
        return known.targets if known is not None else self.find_now(uri, transports) or ()

    async def find(self, uri: SipUri, transports: Sequence[str]) -> tuple[Target, ...]:
        """As `find_now`, but asks.

        Raises:
            NetworkError: the domain says that it offers no such service, or it is unknown, or no name server answers.
        """
        now_known = self.find_now(uri, transports)
        if now_known is not None:
            return now_known
        key = _key(uri, _host_of(uri), transports)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.get_running_loop().create_task(self._look_up(uri, key, transports))
            asking.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(asking)

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """Look-ups under way."""
        return tuple(self._asking.values())

    def forget(self) -> None:
        """Ask again from now on: the network has changed. What was good stays known in case that nobody answers."""
        self._known = {key: replace(located, until=0.0) for key, located in self._known.items()}

    def _done(self, key: Key, task: asyncio.Task[tuple[Target, ...]]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who wait for it get it; if all of them were cancelled, nobody needs it

    async def _look_up(self, uri: SipUri, key: Key, transports: Sequence[str]) -> tuple[Target, ...]:
        before = self._known.get(key)
        try:
            located = await self._ask(uri, transports, before)
        except NetworkError as error:
            now = self._network.time()
            if before is None or now - before.good_at > _STALE_LIFE:
                raise
            # RFC 3263 says nothing about it, but servers seldom move in the moment in which the name servers fail.
            logger.warning("the servers of %s cannot be looked up (%s); the last good ones are used", uri.host, error)
            located = replace(before, until=now + _FAILED_LIFE)
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = located
        return located.targets

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, uri: SipUri, transports: Sequence[str], before: _Located | None) -> _Located:
        host = _host_of(uri)
        names = {transport: f"{_SRV_PREFIX[transport]}.{host}" for transport in transports if transport in _SRV_PREFIX}
        questions: list[tuple[str, RecordKind]] = [(host, "NAPTR")] if uri.transport is None else []
        questions += [(name, "SRV") for name in names.values()]
        loop = asyncio.get_running_loop()
        asked = [loop.create_task(self._answer(*question)) for question in questions]
        try:
            addresses = await self._own_addresses(host)
            if asked:
                await asyncio.wait(asked, timeout=None if isinstance(addresses, NetworkError) else _PATIENCE)
            replies = [task.result() if task.done() else NetworkError("no answer in time") for task in asked]
        finally:
            unanswered = [task for task in asked if task.cancel()]
            if unanswered:
                await asyncio.wait(unanswered)
        answers = dict(zip(questions, replies, strict=True))
        found = await self._by_naptr(answers.get((host, "NAPTR")), transports, answers) or _by_srv(names, answers)
        now = self._network.time()
        failed = [answer for answer in replies if isinstance(answer, NetworkError)]
        if found.records:
            return self._located(found, uri.host.rstrip("."), now, before)
        if failed and (isinstance(addresses, TimeoutError) or (before is not None and before.marks)):
            raise failed[0]
        if isinstance(addresses, NetworkError):
            raise addresses
        offered = [transport for transport in transports if transport not in found.refused]
        if not offered:
            raise NetworkError(f"{host} says that it offers no SIP by {' or '.join(transports)}.", advice="Try another transport.")
        life = _UNANSWERED_LIFE if failed else _lifetime(found.ttl)
        return _Located((_direct(uri, host, offered[0]),), now + life, now)

    async def _by_naptr(
        self,
        naptr: DnsAnswer | NetworkError | None,
        transports: Sequence[str],
        answers: dict[tuple[str, RecordKind], DnsAnswer | NetworkError],
    ) -> _Services | None:
        """The servers of the first service that we have and that has some; None if there is none (RFC 3263 §4.1)."""
        if naptr is None or isinstance(naptr, NetworkError):
            return None
        pointers = [record for record in naptr.records[:_MOST_TARGETS] if isinstance(record, NaptrRecord)]
        for pointer in sorted(pointers, key=lambda record: (record.order, record.preference)):
            transport = _NAPTR_TRANSPORT.get(pointer.service)
            if transport is None or transport not in transports or not pointer.replacement:
                continue
            if pointer.flags == "a":
                return _Services(transport, (ServiceRecord(0, 0, default_port(transport), pointer.replacement),), naptr.ttl)
            if pointer.flags == "s":
                answer = answers.get((pointer.replacement, "SRV")) or await self._answer(pointer.replacement, "SRV")
                if not isinstance(answer, NetworkError) and (records := _services(answer)):
                    return _Services(transport, records, min(naptr.ttl, answer.ttl))
        return None

    async def _answer(self, name: str, kind: RecordKind) -> DnsAnswer | NetworkError:
        try:
            return await self._network.resolve_dns(name, kind)
        except NetworkError as error:
            return error

    async def _own_addresses(self, host: str) -> list[str] | NetworkError:
        try:
            return await self._names.addresses(host)
        except NetworkError as error:
            return error

    def _located(self, found: _Services, domain: str, now: float, before: _Located | None) -> _Located:
        marks = frozenset((record.priority, record.weight, record.port, record.target) for record in found.records)
        until = now + _lifetime(found.ttl)
        if before is not None and before.marks == marks and before.targets[0].transport == found.transport:
            # The draw by weight stays: a phone must not wander between equal servers each time that a TTL ends.
            return replace(before, until=until, good_at=now)
        ordered = _draw(found.records, self._random)[:_MOST_TARGETS]
        targets = tuple(Target(record.target, record.port, found.transport, domain) for record in ordered)
        return _Located(targets, until, now, marks)


@dataclass(frozen=True, slots=True)
class _Services:
    transport: str
    records: tuple[ServiceRecord, ...]
    ttl: float
    refused: frozenset[str] = frozenset()


def _by_srv(names: dict[str, str], answers: dict[tuple[str, RecordKind], DnsAnswer | NetworkError]) -> _Services:
    """The servers of the first transport that has some."""
    refused, ttl = set[str](), _LONGEST_LIFE
    for transport, name in names.items():
        answer = answers[name, "SRV"]
        if isinstance(answer, NetworkError):
            continue
        if records := _services(answer):
            return _Services(transport, records, answer.ttl)
        ttl = min(ttl, answer.ttl)
        if answer.records:  # only the root: decidedly not (RFC 2782)
            refused.add(transport)
    return _Services("", (), ttl, frozenset(refused))


def _draw(records: Sequence[ServiceRecord], random: RandomSource) -> list[ServiceRecord]:
    """By priority; within one the order is drawn, each share as large as its weight (RFC 2782)."""
    ordered = []
    for priority in sorted({record.priority for record in records}):
        left = sorted((record for record in records if record.priority == priority), key=lambda record: record.weight > 0)
        while left:
            mark = random.uniform(0.0, float(sum(record.weight for record in left)))
            total = 0.0
            for record in left:
                total += record.weight
                if total >= mark:
                    break
            left.remove(record)
            ordered.append(record)
    return ordered


def _services(answer: DnsAnswer) -> tuple[ServiceRecord, ...]:
    """The SRV records that name a server."""
    return tuple(record for record in answer.records if isinstance(record, ServiceRecord) and record.target and record.port)


def _direct(uri: SipUri, host: str, transport: str) -> Target:
    return Target(host, uri.port or default_port(transport), transport, uri.host.rstrip("."))


def _host_of(uri: SipUri) -> str:
    """RFC 3263 §4: maddr, if there is one, else the host."""
    host = (uri.parameter("maddr") or uri.host).rstrip(".")
    return canonical_ip(host) or host.lower()


def _may_have_services(host: str) -> bool:
    return "." in host and ":" not in host and host.rpartition(".")[2] not in _LINK_ONLY


def _key(uri: SipUri, host: str, transports: Sequence[str]) -> Key:
    return uri.scheme, host, uri.transport, tuple(transports)


def _lifetime(ttl: float) -> float:
    return min(max(ttl, _SHORTEST_LIFE), _LONGEST_LIFE)
