"""INFO within a call: packages by agreement (RFC 6086), and the older ones that say nothing but their type (RFC 2976).

Digits by INFO are taken by `flexosip.phone.session_requests`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, InvalidState
from flexosip.phone.events import InfoReceived
from flexosip.phone.values import checked_media_type
from flexosip.sip.grammar import is_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flexosip.phone.session import CallSession
    from flexosip.sip.headers import Headers
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["Info", "InfoHandler", "checked_packages", "info_headers", "package_of", "receive_package"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Info:
    """An INFO that has come."""

    package: str | None
    """Its package; None for one that names none."""
    content_type: str
    body: bytes
    headers: Headers


InfoHandler = Callable[[Info], Any]


def checked_packages(packages: Iterable[str]) -> frozenset[str]:
    """Names of INFO packages that we take.

    Raises:
        ConfigurationError: one is no token.
    """
    names = frozenset((packages,) if isinstance(packages, str) else packages)
    for name in names:
        if not is_token(name):
            raise ConfigurationError(f"info_packages: {name!r} is no name of an INFO package.")
    return names


def package_of(request: Request) -> str | None:
    """The package that an INFO names, None if it names none (RFC 6086 §4.2.1)."""
    value = request.headers.get("Info-Package")
    return value.partition(";")[0].strip() if value is not None else None


def receive_package(session: CallSession, request: Request, transaction: ServerTransaction) -> bool:
    """An INFO that names a package, or one without that only a handler of the program understands; False: somebody else's."""
    package = package_of(request)
    if package is None:
        if session.info_handler is None:
            return False
    elif package not in session.phone.core.info_packages:
        # RFC 6086 §4.2.2: with the packages that we take.
        transaction.respond(request.create_response(469, headers=(("Recv-Info", session.phone.core.recv_info_value),)))
        return True
    content_type = request.content_type or ""
    handler = session.info_handler
    if handler is not None:
        try:
            handler(Info(package, content_type, request.body, request.headers))
        except Exception:
            logger.exception("the on_info handler failed")
            transaction.respond(request.create_response(500))
            return True
    session.emit(InfoReceived(session.loop.time(), package, content_type, request.body))
    transaction.respond(request.create_response(200))
    return True


def info_headers(
    session: CallSession, body: bytes, content_type: str | None, package: str | None, headers: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Headers of an INFO of ours.

    Raises:
        InvalidState: the other side has not said that it takes the package (RFC 6086 §4.2.1).
        ConfigurationError: the package or the type is none.
    """
    if content_type is not None:
        checked_media_type(content_type)
    elif body:
        raise ConfigurationError("An INFO with a body needs its content_type.")
    if package is not None:
        if not is_token(package):
            raise ConfigurationError(f"{package!r} is no name of an INFO package.")
        theirs = session.call.headers
        willing = theirs.get_all("Recv-Info") if theirs is not None else []
        if package not in {value.partition(";")[0].strip() for value in willing}:
            raise InvalidState(
                f"The other side takes no INFO of the package {package!r}; it takes {', '.join(willing) or 'none'}.",
                advice="Send it without a package only if the other side is known to understand it.",
            )
        # RFC 6086 §4.2.1: of the body too.
        headers = (("Info-Package", package), *((("Content-Disposition", "Info-Package"),) if body else ()), *headers)
    return headers
