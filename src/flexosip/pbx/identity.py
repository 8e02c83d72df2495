"""What the PBX vouches for: who calls is who has given the password, and what phones assert themselves goes no further.

Phones believe their server. So a server that passed their assertions on would make each of them a forger's tool (RFC 3325 §5, §6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flexosip.sip.headers import Headers, NameAddr
from flexosip.sip.identity import ANONYMOUS, parse_privacy
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.sip.message import Request

__all__ = ["assert_caller", "is_caller", "remove_assertions"]

_ASSERTIONS: Final = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "P-Called-Party-ID")


def remove_assertions(headers: Headers) -> bool:
    """Take away what only a trusted server may say; True if there was any."""
    found = [name for name in _ASSERTIONS if name in headers]
    for name in found:
        headers.remove(name)
    return bool(found)


def is_caller(request: Request, username: str) -> bool:
    """Whether `username` may send this: under its own address, or anonymously (RFC 3323)."""
    uri = request.from_.uri
    return isinstance(uri, SipUri) and (uri.unescaped_user == username or uri.matches(ANONYMOUS.uri))


def assert_caller(request: Request, username: str) -> None:
    """Write P-Asserted-Identity of the caller, who has proved it; nothing if the caller wants it kept: phones are not to be told then."""
    remove_assertions(request.headers)
    caller = request.from_
    if "id" in parse_privacy(request.headers) or not isinstance(caller.uri, SipUri) or caller.uri.unescaped_user != username:
        return
    uri = SipUri("sip", caller.uri.user, caller.uri.host, caller.uri.port)
    request.headers.add("P-Asserted-Identity", str(NameAddr(uri, caller.display_name)))
