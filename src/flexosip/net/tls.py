"""TLS settings, and the `ssl` contexts made of them: TLS 1.2 at least, no renegotiation, files read again when they change.

RFC 3261 §26.3.1, RFC 9325
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from flexosip.errors import ConfigurationError

__all__ = ["TlsContexts", "TlsSettings"]

logger = logging.getLogger(__name__)

_VERIFY_CLIENT = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What TLS connections, made and accepted, need. Files are PEM.

    Raises:
        ConfigurationError: settings that do not fit together. The files are read when the phone starts.
    """

    ca: str | Path | None = None
    """Authorities that are trusted; None: those of the operating system. The server's own certificate does too: then only that one."""
    certificate: str | Path | None = None
    """Our own certificate and those up to its authority: a listener needs one, a client gives it to servers that ask."""
    key: str | Path | None = None
    """The private key; None: it is in the certificate's file."""
    key_password: str | None = field(default=None, repr=False)
    """Of an encrypted private key."""
    verify_client: str = "off"
    """Whether a listener asks for certificates of clients: `off`, `optional` or `required`; `ca` tells whose are good."""

    def __post_init__(self) -> None:
        if self.verify_client not in _VERIFY_CLIENT:
            raise ConfigurationError(f"verify_client={self.verify_client!r}: allowed are {', '.join(map(repr, _VERIFY_CLIENT))}.")
        if self.key is not None and self.certificate is None:
            raise ConfigurationError("A TLS key without its certificate is of no use: give both files.")
        if self.verify_client != "off" and self.ca is None:
            # The system's authorities vouch for the whole world: that admits everybody who has a web site.
            raise ConfigurationError("Certificates of clients can only be verified against an authority of yours: give its file as ca.")
        for value in (self.ca, self.certificate, self.key):
            if value is not None and "\0" in str(value):
                raise ConfigurationError("The name of a TLS file contains a NUL character.")


class TlsContexts:
    """The contexts of one driver, made when first needed and anew when a file has changed.

    Args:
        settings: None: nothing is told.
    """

    def __init__(self, settings: TlsSettings | None) -> None:
        self.settings = settings or TlsSettings()
        self._client: tuple[object, ssl.SSLContext] | None = None
        self._server: tuple[object, ssl.SSLContext] | None = None

    def check(self) -> None:
        """Read the files that are named, so that a mistake is told at the start and not with the first connection.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        if self.settings.ca is not None or self.settings.certificate is not None:
            self.client()

    def client(self) -> ssl.SSLContext:
        """The context for connections that we open. It verifies the chain; names are compared by `CertificateNames`.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        self._client = self._current(self._client, self.make_client)
        return self._client[1]

    def server(self) -> ssl.SSLContext:
        """The context for connections that we accept.

        Raises:
            ConfigurationError: there is no certificate, or a file cannot be used.
        """
        self._server = self._current(self._server, self._make_server)
        return self._server[1]

    def _current(self, known: tuple[object, ssl.SSLContext] | None, make: Callable[[], ssl.SSLContext]) -> tuple[object, ssl.SSLContext]:
        stamp = self._stamp()
        if known is not None and known[0] == stamp:
            return known
        try:
            return stamp, make()
        except ConfigurationError as error:
            if known is None:
                raise
            # Renewed by another program right now, certificate and key one after the other: the old ones serve until both fit.
            logger.warning("the TLS files have changed and cannot be used, the old ones stay in use: %s", error)
            return known

    def _stamp(self) -> object:
        """Changes when a file does."""
        stamps = []
        for path in (self.settings.ca, self.settings.certificate, self.settings.key):
            if path is None:
                continue
            try:
                status = os.stat(path)
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamps)

    def make_client(self) -> ssl.SSLContext:
        """A client's context that nobody else has."""
        context = self._base(ssl.Purpose.SERVER_AUTH)
        # A certificate for a SIP domain may name it as a URI only (RFC 5922 §7.1), which OpenSSL's check of the host does not know:
        # the names are compared after the handshake, before anything is sent.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _make_server(self) -> ssl.SSLContext:
        if self.settings.certificate is None:
            raise ConfigurationError(
                "Listening by TLS needs a certificate and its key.", advice="Give tls_certificate and tls_key, or --tls-cert and --tls-key."
            )
        context = self._base(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = _VERIFY_CLIENT[self.settings.verify_client]
        return context

    def _base(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        settings = self.settings
        try:
            context = ssl.create_default_context(purpose, cafile=settings.ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigurationError(f"The certificate authority's file {str(settings.ca)!r} cannot be used: {_words(error)}.") from error
        if settings.ca is not None:
            # The file may hold the server's certificate itself, or one between it and its authority: what is named is trusted.
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
            # Since Python 3.13 the default refuses authorities without the extensions of RFC 5280 §4.2, and such are those that
            # `openssl req -x509` and the scripts of PBXs make.
            context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
        context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        if settings.certificate is not None:
            try:
                context.load_cert_chain(settings.certificate, settings.key, settings.key_password or _no_password)
            except ConfigurationError:
                raise
            except (OSError, ValueError) as error:
                names = str(settings.certificate) + (f" with the key {str(settings.key)!r}" if settings.key is not None else "")
                raise ConfigurationError(f"The TLS certificate {names} cannot be used: {_words(error)}.") from error
        return context


def _no_password() -> NoReturn:
    # Without this OpenSSL would ask on the terminal, and wait.
    raise ConfigurationError(
        "The TLS key is encrypted, and no password for it was given.", advice="Give key_password, or a key without one."
    )


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if "KEY_VALUES_MISMATCH" in str(error):
            return "the key does not belong to the certificate"
        return (
            "it is no PEM file of certificates"
            if error.reason is None or any(word in str(error) for word in ("PEM", "NO_CERTIFICATE", "NO_START_LINE"))
            else str(error.reason).lower().replace("_", " ")
        )
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error)
