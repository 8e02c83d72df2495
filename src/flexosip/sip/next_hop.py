"""Transports of SIP, and the server to which a request goes, with the name that it must prove to have.

RFC 3261 §19.1.2, §26.2.2; RFC 5630 §3.1; RFC 7118 §5; RFC 5922 §4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flexosip.errors import NetworkError
from flexosip.sip.uri import SipUri

__all__ = ["DEFAULT_PORTS", "SECURE_TRANSPORTS", "TRANSPORTS", "WEB_TRANSPORTS", "NextHop", "default_port", "transport_of"]

TRANSPORTS: Final = ("udp", "tcp", "tls", "ws", "wss")
SECURE_TRANSPORTS: Final = frozenset({"tls", "wss"})
WEB_TRANSPORTS: Final = frozenset({"ws", "wss"})
DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
"""RFC 3261 §19.1.2; RFC 7118 §5.2.1 takes the ports of the web."""

_OVER_TLS: Final = {None: "tls", "tcp": "tls", "tls": "tls", "ws": "wss", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class NextHop(SipUri):
    """The URI of a server that speaks for a domain. It is never sent: it only tells where requests go."""

    service_domain: str | None = None
    """The domain that its certificate must name (RFC 5922 §4); None: the URI's own host. It is the SNI too."""
    path: str = "/"
    """Of a WebSocket server (RFC 6455 §3)."""


def transport_of(uri: SipUri) -> str | None:
    """The transport that a URI asks for; None where it leaves it open. A sips URI never means anything but TLS underneath.

    Raises:
        NetworkError: there is no such transport, or a sips URI asks for one without TLS.
    """
    told = uri.transport
    if uri.scheme == "sips":
        secure = _OVER_TLS.get(told)
        if secure is None:
            raise NetworkError(
                f"A sips: address is reached by TLS only, not by {told!r}.", advice="Use transport tls or wss, or a sip: address."
            )
        return secure
    if told is not None and told not in TRANSPORTS:
        raise NetworkError(f"The transport {told!r} is not supported.", advice=f"Use {', '.join(TRANSPORTS[:-1])} or {TRANSPORTS[-1]}.")
    return told


def default_port(transport: str | None) -> int:
    """The port of a URI without one."""
    return DEFAULT_PORTS[transport or "udp"]
