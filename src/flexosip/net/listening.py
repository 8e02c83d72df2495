"""Binding a phone's sockets: UDP and TCP on one port, IPv4 and IPv6 on the same one where that is free, others by their transport."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from flexosip.errors import NetworkError
from flexosip.net.address import Address, canonical_ip, is_ipv6, is_wildcard, parse_listener
from flexosip.net.network import Network

__all__ = ["DEFAULT_LISTEN", "Bind", "Binder", "Unbind"]

logger = logging.getLogger(__name__)

DEFAULT_LISTEN = ("0.0.0.0:0", "[::]:0")
"""All addresses of both families, any free port."""

_TRIES = 32
"""Free ports tried until one is free for all sockets."""

Bind = Callable[[str, int], Awaitable[Address]]
Unbind = Callable[[Address], None]


class Binder:
    """Binds all sockets or none.

    Args:
        ways: by transport, how to bind a host and port, and how to give it back.
        plain: the transports of an address without one.
    """

    def __init__(self, network: Network, ways: Mapping[str, tuple[Bind, Unbind]], plain: Sequence[str]) -> None:
        self._network = network
        self._ways = ways
        self._transports = tuple(ways[transport] for transport in plain)

    async def bind(self, addresses: Sequence[str], *, tolerant: bool) -> None:
        """Bind every address.

        Args:
            addresses: `HOST:PORT` or `TRANSPORT:HOST:PORT` each; a name stands for its first address. All with port 0 and no transport
                get the same port if possible.
            tolerant: leave out a wildcard whose address family is not there, as long as another is.

        Raises:
            ConfigurationError: an address is none, or TLS lacks its files.
            NetworkError: one cannot be bound; then none is.
        """
        listeners = [parse_listener(text) for text in addresses]
        parsed = [await self._numeric(address) for transport, address in listeners if transport is None]
        named = [(transport, await self._numeric(address)) for transport, address in listeners if transport is not None]
        bound: list[tuple[Unbind, Address]] = []
        try:
            for host, port in parsed:
                if port:
                    bound += await self._bind_port(host, port)
            for transport, (host, port) in named:
                bind, unbind = self._ways[transport]
                bound.append((unbind, await bind(host, port)))
            hosts = [host for host, port in parsed if not port]
            if hosts:
                bound += await self._bind_free(hosts, tolerant)
        except BaseException:
            _give_back(bound)
            raise

    async def _numeric(self, address: Address) -> Address:
        host, port = address
        return (host if canonical_ip(host) is not None else (await self._network.resolve(host))[0]), port

    async def _bind_port(self, host: str, port: int) -> list[tuple[Unbind, Address]]:
        """Bind every transport on this port; if one fails, none is bound."""
        bound: list[tuple[Unbind, Address]] = []
        try:
            for bind, unbind in self._transports:
                address = await bind(host, port)
                port = address[1]
                bound.append((unbind, address))
        except BaseException:
            _give_back(bound)
            raise
        return bound

    async def _bind_free(self, hosts: list[str], tolerant: bool) -> list[tuple[Unbind, Address]]:
        """Bind all hosts on one free port; if there seems to be none, each host on one of its own."""
        hosts = await self._present(hosts) if tolerant else hosts
        failure: NetworkError | None = None
        for _ in range(_TRIES):
            bound: list[tuple[Unbind, Address]] = []
            port = 0
            try:
                for host in hosts:
                    bound += await self._bind_port(host, port)
                    port = bound[-1][1][1]
            except NetworkError as error:
                _give_back(bound)
                failure = error
                if error.errno != errno.EADDRINUSE:
                    break
                continue
            except BaseException:
                _give_back(bound)
                raise
            return bound
        if len(hosts) == 1 and failure is not None:
            raise failure
        logger.debug("no port is free on all of %s at once: %s", hosts, failure)
        bound = []
        try:
            for host in hosts:
                bound += await self._bind_free([host], False)
        except BaseException:
            _give_back(bound)
            raise
        return bound

    async def _present(self, hosts: list[str]) -> list[str]:
        """The hosts without those wildcards whose address family this machine does not have; all if none would be left."""
        bind, unbind = self._transports[0]
        present = []
        for host in hosts:
            if is_wildcard(host):
                try:
                    unbind(await bind(host, 0))
                except NetworkError as error:
                    logger.info("not listening by %s: %s", "IPv6" if is_ipv6(host) else "IPv4", error)
                    continue
            present.append(host)
        return present or hosts


def _give_back(bound: list[tuple[Unbind, Address]]) -> None:
    for unbind, address in bound:
        unbind(address)
