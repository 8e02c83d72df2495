"""Numeric addresses and the `HOST:PORT` words in which users write where to listen."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache

from flexosip.errors import ConfigurationError
from flexosip.sip.next_hop import DEFAULT_PORTS

__all__ = [
    "Address",
    "ListenAddress",
    "canonical_ip",
    "format_address",
    "is_host_name",
    "is_house_name",
    "is_ipv6",
    "is_loopback",
    "is_wildcard",
    "parse_listen",
    "parse_listener",
]

Address = tuple[str, int]
"""Numeric host (IPv6 without brackets) and port."""

_SIP_PORT = 5060

_HOUSE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
"""RFC 1918, RFC 4193, single links, and this machine."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where something listens; the port is the real one, never 0."""

    transport: str
    """`udp`, `tcp`, `tls`, `ws` or `wss`"""
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:{format_address((self.host, self.port))}"


def is_ipv6(host: str) -> bool:
    """True if the numeric `host` is an IPv6 address."""
    return ":" in host


def is_wildcard(host: str) -> bool:
    """True for the address that stands for all addresses of the machine."""
    return host in ("0.0.0.0", "::", "")


def is_loopback(host: str) -> bool:
    """True if the numeric `host` never leaves this machine."""
    return host.startswith("127.") or host == "::1"


@lru_cache(maxsize=1024)
def canonical_ip(host: str) -> str | None:
    """`host` in the one spelling in which the operating system reports it, or None if it is not a numeric address.

    The zone of a link-local IPv6 address (`fe80::1%eth0`) is kept.
    """
    address, percent, zone = host.partition("%")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address)) + percent + zone
    except (OSError, ValueError):  # ValueError: an embedded NUL
        return None


def is_host_name(host: str) -> bool:
    """True if `host` may be asked of a name server.

    What ends in a number is a damaged or an odd numeric address (`10.1`, `1.2.3.400`, `0x7f000001`), which resolvers read in
    ways that surprise.
    """
    last = host.rstrip(".").rpartition(".")[2].lower()
    return bool(last) and not last.isdigit() and not last.startswith("0x") and ":" not in host and len(host) <= 255


def format_address(address: Address) -> str:
    """`host:port`, with the brackets that IPv6 needs."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_listener(text: str) -> tuple[str | None, Address]:
    """Transport and address of what `parse_listen` takes, perhaps with `tls:`, `ws:`, `wss:`, `udp:` or `tcp:` before it.

    Without a transport it is None, for UDP and TCP. Without a port it is the transport's own: 5060, 5061, 80 or 443.

    Raises:
        ConfigurationError: it is none of these.
    """
    word, colon, rest = text.strip().partition(":")
    transport = word.lower()
    if not colon or transport not in DEFAULT_PORTS:
        return None, parse_listen(text)
    return transport, parse_listen(rest, DEFAULT_PORTS[transport])


def parse_listen(text: str, default_port: int = _SIP_PORT) -> Address:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT`, `HOST`, `:PORT` or a bare IPv6 address; without a port it is `default_port`.

    Raises:
        ConfigurationError: it is none of these.
    """
    host, port_text = text.strip(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or canonical_ip(host) is None:
            raise _bad_listen(text)
        port_text = rest[1:]
    elif host.count(":") <= 1:
        host, _, port_text = host.partition(":")
    elif canonical_ip(host) is None:
        raise _bad_listen(text)
    port = default_port
    if port_text:
        if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= 65535):
            raise _bad_listen(text)
        port = int(port_text)
    if any(character.isspace() or not character.isprintable() or character in "/@" for character in host):
        raise _bad_listen(text)
    if host.isdigit():  # a port alone, which no resolver should be asked about
        raise _bad_listen(text)
    host = host or "0.0.0.0"
    return canonical_ip(host) or host, port


def _bad_listen(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text!r} is not an address to listen on.",
        advice="Write HOST:PORT, for example 0.0.0.0:5060 or [::]:5060; port 0 takes any free port. "
        "A transport may stand before it: tls:0.0.0.0:5061.",
    )


def is_house_name(host: str) -> bool:
    """True if `host` is of one's own house: a private or loopback address, a name without a dot, or one of a router's own domain."""
    if canonical_ip(host) is not None:
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address.version == network.version and address in network for network in _HOUSE)
    name = host.rstrip(".").lower()
    house = ("box", "local", "lan", "home", "internal", "localdomain")
    return "." not in name or name.rpartition(".")[2] in house or name.endswith("home.arpa")
