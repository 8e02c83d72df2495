"""TLS on top of any stream connection, real or virtual: itself one.

    below (octets) <--> TlsStream <--> above (plain text)

It is `ssl.SSLObject` between two memory buffers, so that the connection is counted, bounded and timed by whoever owns it from its
first octet on, a half handshake included.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Any

from flexosip.errors import CertificateError, NetworkError
from flexosip.net.certificate import CertificateNames
from flexosip.net.late_callbacks import LateCallbacks
from flexosip.net.network import StreamConnection
from flexosip.net.tls_failures import handshake_timeout, tls_failure, validity_failure, wrong_name

__all__ = ["TlsStream", "look_at_validity"]

_PIECE = 65536
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME"""


class TlsStream(LateCallbacks):
    """One end of a TLS connection.

    Args:
        below: what carries it.
        context: of our side.
        domain: the server's domain, for SNI and the check of its certificate; None: we are the server.
        web: compare names by the rules of secure WebSockets.
        has_certificate: the context holds one of ours.

    Raises:
        ValueError: the domain cannot be one.
    """

    def __init__(
        self,
        below: StreamConnection,
        context: ssl.SSLContext,
        *,
        domain: str | None = None,
        web: bool = False,
        has_certificate: bool = False,
    ) -> None:
        super().__init__()
        self.local = below.local
        self.remote = below.remote
        self.established = False
        """True once the handshake is done and the peer's certificate is good."""
        self.names: CertificateNames | None = None
        """The names in the peer's verified certificate; None: it showed none."""
        self.certificate: dict[str, Any] | None = None
        """The peer's verified certificate, as `ssl` shows it."""
        self._below = below
        self._domain = domain
        self._web = web
        self._has_certificate = has_certificate
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=domain is None, server_hostname=domain)
        self._waiting: list[bytes] = []
        self._closing = False
        self._done: asyncio.Future[None] | None = None
        below.on_lost = self._below_lost
        below.on_data = self._receive

    # -- StreamConnection --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send in order; before the end of the handshake it waits."""
        if self._closing or self._lost is not None or not data:
            return
        if not self.established:
            self._waiting.append(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()

    def close(self) -> None:
        """Say goodbye (close_notify) and close when what was written has been sent."""
        if not self._closing:
            self._closing = True
            if self.established and self._lost is None:
                # Raised while the other side's goodbye has not come; it is not waited for.
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._flush()
        self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._below.abort()

    # -- the handshake -----------------------------------------------------------------------------------------------

    async def handshake(self, timeout: float) -> None:
        """Make the handshake as the client.

        Raises:
            CertificateError: the server's certificate is not good, or it wants another one of ours.
            NetworkError: the peer speaks no TLS, ended the connection, or took longer than `timeout` seconds.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._advance()
        try:
            async with asyncio.timeout(timeout):
                await self._done
        except TimeoutError:
            raise handshake_timeout(self.remote, timeout) from None
        finally:
            self._done = None

    def _receive(self, data: bytes) -> None:
        if self._lost is not None:
            return
        self._incoming.write(data)
        if self.established or self._advance():
            self._read()

    def _advance(self) -> bool:
        """Go on with the handshake; True once it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer why
            self._fail(error)
            return False
        self._flush()
        self.certificate = self._tls.getpeercert()
        self.names = CertificateNames.of(self.certificate) if self.certificate else None
        if self._domain is not None and (self.names is None or not self.names.covers(self._domain, web=self._web)):
            self._fail(wrong_name(self.remote, self._domain, self.names or CertificateNames(), web=self._web))
            return False
        self.established = True
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            self.write(piece)
        return True

    # -- plain text --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closing and self._lost is None:
            try:
                piece = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as error:
                self._flush()
                self._fail(error)
                return
            if not piece:  # the peer's goodbye
                self.close()
                return
            self._arrived(piece)
        self._flush()  # answers of TLS itself, such as to a change of keys

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    # -- the end -----------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        failure = error
        if not isinstance(error, NetworkError):
            failure = tls_failure(self.remote, self._domain, error, has_certificate=self._has_certificate)
            failure.__cause__ = error
        # What was flushed, an alert perhaps, may still go out.
        self._below.close()
        self._end(failure)

    def _below_lost(self, error: Exception | None) -> None:
        if not self.established and error is None:
            error = tls_failure(self.remote, self._domain, ssl.SSLEOFError("the connection ended within the handshake"))
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._lost is not None:
            return
        self._lost = (error,)
        if self._done is not None and not self._done.done():
            self._done.set_exception(error or ConnectionError("The connection was closed."))
        if self._on_lost is not None:
            self._call_soon(self._on_lost, error)


async def look_at_validity(below: StreamConnection, context: ssl.SSLContext, domain: str, timeout: float) -> CertificateError | None:
    """Find out since when the certificate is not valid; nothing but the handshake is ever sent over this connection.

    `ssl` does not show a certificate that it refuses. With the dates left out of the check it does, and nothing else is left out.

    Args:
        context: a fresh one; it is changed.
    """
    context.verify_flags |= _NO_CHECK_TIME
    stream = TlsStream(below, context, domain=domain)
    try:
        await stream.handshake(timeout)
    except NetworkError:
        return None
    finally:
        stream.abort()
    return validity_failure(below.remote, domain, stream.certificate or {}, time.time())
