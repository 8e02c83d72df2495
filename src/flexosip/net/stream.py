"""A TCP connection on an asyncio loop, as `flexosip.net.network.StreamConnection`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

from flexosip.net.address import Address
from flexosip.net.late_callbacks import LateCallbacks

__all__ = ["RealListener", "RealStreamConnection", "enable_keepalive"]

_LARGEST_BACKLOG = 1 << 20
"""Octets that may wait for a peer that does not read; then the connection is given up."""


class RealStreamConnection(LateCallbacks, asyncio.Protocol):
    """One connection: callbacks instead of a protocol class of the caller's own.

    Args:
        on_connected: called when the connection is there.
    """

    def __init__(self, on_connected: Callable[[RealStreamConnection], None] | None = None) -> None:
        super().__init__()
        self.local: Address = ("", 0)
        self.remote: Address = ("", 0)
        self._on_connected = on_connected
        self._transport: asyncio.Transport | None = None
        self._closing = False

    @property
    def socket(self) -> Any:
        """The connection's socket, None when it is over."""
        return self._transport.get_extra_info("socket") if self._transport is not None else None

    def write(self, data: bytes) -> None:
        """Send in order."""
        transport = self._transport
        if transport is None or self._closing:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > _LARGEST_BACKLOG:
            self.abort()

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.local = _address(transport.get_extra_info("sockname"))
        self.remote = _address(transport.get_extra_info("peername"))
        with contextlib.suppress(OSError):  # it may be over already, which is told soon
            enable_keepalive(transport.get_extra_info("socket"))
        if not self.remote[1]:  # it was gone before we looked
            self.abort()
        elif self._on_connected is not None:
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._arrived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._transport = None
        self._lost = (exc,)
        if self._on_lost is not None:
            self._on_lost(exc)


class RealListener:
    """A listening TCP socket."""

    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self.address = address

    def close(self) -> None:
        """Accept no more."""
        self._server.close()


def enable_keepalive(own: Any) -> None:
    """Let the kernel notice a peer that vanished: after 60 s of silence, four probes 15 s apart."""
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _address(name: Any) -> Address:
    return (name[0], name[1]) if name else ("", 0)
