"""How much of this machine strangers may use: one frozen value that all bounds of a phone come from."""

from __future__ import annotations

from dataclasses import dataclass

from flexosip.errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a phone. The servers of its accounts are spared from the rates, never from the other bounds.

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    source_rate: float | None = 20.0
    """new requests a second from one source address (IPv6: from one /64); None: any number"""
    source_burst: int = 40
    """new requests of one source at once, after a pause"""
    total_rate: float | None = 200.0
    """new requests a second from all sources that have not shown yet that they get our answers; None: any number"""
    total_burst: int = 400
    """such requests at once, after a pause"""
    excess: str = "503"
    """`503`: some of the requests above a rate are answered 503 with Retry-After, at most as many as are let in; the rest and, with
    `silence`, all of them are dropped unread"""
    sources: int = 4096
    """source addresses that are remembered"""
    transactions: int = 120_000
    """transactions, those included that only absorb repetitions"""
    pending: int = 5_000
    """received requests without a final answer"""
    dialogs: int = 5_000
    """dialogs at once, and calls with them: more are answered 503"""
    connections: int = 256
    """connections that others opened"""
    source_connections: int = 16
    """connections that one source address opened"""
    first_message: float = 30.0
    """seconds for the first complete message of a connection"""
    message: float = 10.0
    """seconds from the first to the last octet of a message"""
    bound_answers: bool = True
    """whether a UDP address that has not shown yet that it gets our answers is sent no more octets than came from it; False only where
    nobody can forge addresses"""
    source_loan: int = 8192
    """octets that the 18x and 2xx of calls may exceed what came from a UDP address which has not shown yet that it gets our answers;
    nothing else may exceed it at all"""
    total_loan: int = 262_144
    """octets of that kind for all addresses together; what an address borrowed comes back when it shows that it gets our answers,
    and else 16 KiB a second"""

    def __post_init__(self) -> None:
        if self.excess not in ("503", "silence"):
            raise ConfigurationError(f"Limits(excess={self.excess!r}): allowed are '503' and 'silence'.")
        for name in ("source_rate", "total_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < 1e9:
                raise ConfigurationError(f"Limits({name}={rate!r}): a rate is above 0 requests a second, or None for no limit.")
        for name in ("source_burst", "total_burst", "sources", "transactions", "pending", "dialogs", "connections", "source_connections"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Limits({name}={getattr(self, name)!r}): at least 1.")
        for name in ("first_message", "message"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"Limits({name}={getattr(self, name)!r}): seconds above 0.")
        if self.source_loan < 0 or self.total_loan < 0:
            raise ConfigurationError("Limits: the loans are octets, 0 or more.")
