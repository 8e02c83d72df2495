"""One path between two transport addresses, over which requests and their responses travel.

It is a name, no socket: the driver that owns the socket gives it out with what it receives and sends to it later.

RFC 5626 §3.1, RFC 3581
"""

from __future__ import annotations

from flexosip.sip.grammar import format_host_port

__all__ = ["Flow"]


class Flow:
    """A 5-tuple. Two flows are equal only if they are the same object.

    Args:
        transport: "udp", "tcp", "tls", "ws" or "wss".
        local: our (host, port); the host is a numeric address without brackets.
        remote: the peer's (host, port).
        connection: the driver's own handle of a connection; opaque here.
    """

    __slots__ = (
        "__weakref__", "advertised", "alive", "connection", "credit", "failure", "host_name", "local", "payer", "peer_names", "proven",
        "remote", "ringing", "transport", "via_address",
    )  # fmt: skip

    def __init__(self, transport: str, local: tuple[str, int], remote: tuple[str, int], *, connection: object | None = None) -> None:
        self.transport = transport.lower()
        self.local = local
        self.remote = remote
        self.connection = connection
        self.alive = True
        """False when the connection has gone; nothing can be sent over it any more."""
        self.advertised: tuple[str, int] | None = None
        """Our public (host, port) as the peer told it in received and rport, or None (RFC 3581)."""
        self.proven = False
        """True once the other end has shown that it gets what we send there: a datagram's source address alone can be forged."""
        self.credit = 0
        """Octets that came less octets that went while it was not proven; kept by whoever bounds what strangers are answered."""
        self.ringing = False
        """True while it is not proven and a call that came over it rings or has been answered; kept like `credit`."""
        self.payer: Flow | None = None
        """The flow that a request came over whose responses go elsewhere by this one (RFC 3261 §18.2.2)."""
        self.failure: Exception | None = None
        """Why it is not alive any more, where that is known."""
        self.host_name: str | None = None
        """What we call ourselves where nobody can connect to us: a WebSocket client is `something.invalid` (RFC 7118 §5.2.1)."""
        self.via_address: tuple[str, int] | None = None
        """Where new connections and answers to us go, if that is not `local`: our listening port, or what the user advertises."""
        self.peer_names: tuple[str, ...] = ()
        """The names in the peer's verified TLS certificate, `sip:` domains first; empty without one."""

    @property
    def reliable(self) -> bool:
        """True for everything but UDP: no retransmissions are needed (RFC 3261 §17.1.1.2)."""
        return self.transport != "udp"

    @property
    def secure(self) -> bool:
        """True if it is TLS that carries it."""
        return self.transport in ("tls", "wss")

    @property
    def is_ipv6(self) -> bool:
        """True if the addresses are IPv6."""
        return ":" in self.local[0]

    @property
    def sent_by(self) -> str:
        """Our "host:port" for Via, an IPv6 address in brackets (RFC 3261 §18.1.1)."""
        if self.host_name is not None:
            return self.host_name
        return format_host_port(*(self.via_address or self.local))

    def __repr__(self) -> str:
        return f"<Flow {self.transport} {self.sent_by} to {format_host_port(*self.remote)}{'' if self.alive else ' dead'}>"
