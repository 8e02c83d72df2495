"""Opening a connection to a server: TCP, on top of it TLS, on top of that a WebSocket, each as far as the transport wants it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from flexosip.errors import CertificateError, NetworkError
from flexosip.net.address import Address, format_address
from flexosip.net.channel import Channel, StreamChannel
from flexosip.net.failures import connect_failure, connect_timeout
from flexosip.net.network import Network, StreamConnection
from flexosip.net.tls import TlsContexts
from flexosip.net.tls_failures import TIME_CODES
from flexosip.net.tls_stream import TlsStream, look_at_validity
from flexosip.net.websocket import open_websocket, require_websockets
from flexosip.sip.next_hop import SECURE_TRANSPORTS, WEB_TRANSPORTS

__all__ = ["Destination", "open_connection"]

_SECOND_LOOK = 3.0
"""Seconds for finding out since when a certificate has expired."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection goes, and whom we want to find there."""

    remote: Address
    transport: str = "tcp"
    domain: str = ""
    """What the server's certificate must name, and the SNI; only TLS looks at it."""
    host: str = ""
    """The host of a WebSocket's URL, and its port in `remote`."""
    path: str = "/"


async def open_connection(
    network: Network, contexts: TlsContexts, to: Destination, *, timeout: float, handshake_timeout: float, local: str | None = None
) -> tuple[StreamConnection, Channel]:
    """A connection on which messages can be sent.

    Args:
        timeout: seconds for TCP. handshake_timeout: seconds for each handshake.

    Raises:
        NetworkError, CertificateError, ConfigurationError, MissingExtra: why not.
    """
    if to.transport in WEB_TRANSPORTS:
        require_websockets()
    connection = await _connect(network, to.remote, timeout, local)
    try:
        if to.transport in SECURE_TRANSPORTS:
            connection = await _secure(network, contexts, connection, to, timeout, handshake_timeout)
        if to.transport not in WEB_TRANSPORTS:
            return connection, StreamChannel()
        async with asyncio.timeout(handshake_timeout):
            channel = await open_websocket(
                connection, to.host or to.remote[0], to.path, secure=to.transport == "wss", port=to.remote[1], remote=to.remote
            )
    except TimeoutError as error:
        connection.abort()
        if isinstance(error, NetworkError):
            raise
        raise NetworkError(f"{format_address(to.remote)} did not open the WebSocket in {handshake_timeout:g} s.") from None
    except BaseException:
        connection.abort()
        raise
    return connection, channel


async def _connect(network: Network, remote: Address, timeout: float, local: str | None) -> StreamConnection:
    try:
        async with asyncio.timeout(timeout):
            return await network.connect(*remote, local=local)
    except NetworkError:
        raise
    except TimeoutError:
        raise connect_timeout(remote) from None
    except OSError as error:
        raise connect_failure(remote, error) from error


async def _secure(
    network: Network, contexts: TlsContexts, below: StreamConnection, to: Destination, timeout: float, handshake_timeout: float
) -> TlsStream:
    domain = (to.domain or to.remote[0]).partition("%")[0].rstrip(".")
    web = to.transport == "wss"
    try:
        stream = TlsStream(below, contexts.client(), domain=domain, web=web, has_certificate=contexts.settings.certificate is not None)
    except ValueError as error:  # a label that is empty or too long
        raise NetworkError(f"{domain!r} is no domain that a certificate could name: {error}.") from error
    try:
        await stream.handshake(handshake_timeout)
    except CertificateError as error:
        if getattr(error.__cause__, "verify_code", 0) in TIME_CODES:
            since = await _since(network, contexts, to, domain, timeout)
            if since is not None:
                raise since from error.__cause__
        raise
    return stream


async def _since(network: Network, contexts: TlsContexts, to: Destination, domain: str, timeout: float) -> CertificateError | None:
    try:
        below = await _connect(network, to.remote, min(timeout, _SECOND_LOOK), None)
        return await look_at_validity(below, contexts.make_client(), domain, _SECOND_LOOK)
    except NetworkError:
        return None
