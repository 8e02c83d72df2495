"""The headers that say why a call is refused, sent elsewhere or ended (RFC 3326, RFC 3261 §20.33 and §21.3, RFC 7433)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError
from flexosip.phone.values import checked_text, header_pairs
from flexosip.sip.headers import NameAddr
from flexosip.sip.reason import q850_reason
from flexosip.sip.uri import SipUri
from flexosip.sip.user_to_user import MAX_CONTENT, UserToUser

if TYPE_CHECKING:
    from flexosip.phone.account import Account

__all__ = ["HeaderArgument", "RedirectTarget", "own_headers", "reason_headers", "redirect_headers", "retry_headers"]

HeaderArgument = Mapping[str, str] | Iterable[tuple[str, str]] | None
"""Headers of the user's own."""
RedirectTarget = str | SipUri | tuple[str | SipUri, float]
"""A target, or a target with its q-value, 0 to 1: the larger is tried first."""


def own_headers(headers: HeaderArgument, uui: bytes | str | UserToUser | None = None) -> tuple[tuple[str, str], ...]:
    """Headers of the user's own, checked, with User-to-User if there is something to carry.

    Raises:
        ConfigurationError: a header that cannot be sent or that the library writes itself; too much or nothing in `uui`.
    """
    pairs = header_pairs(headers)
    if uui is None:
        return pairs
    value = uui if isinstance(uui, UserToUser) else UserToUser(uui.encode() if isinstance(uui, str) else bytes(uui))
    if not 0 < len(value.content) <= MAX_CONTENT:
        raise ConfigurationError(f"uui: {len(value.content)} octets; User-to-User carries 1 to {MAX_CONTENT}.")
    try:
        return (*pairs, ("User-to-User", str(value)))
    except ValueError as error:
        raise ConfigurationError(f"uui: {error}") from error


def reason_headers(cause: int | None, text: str | None = None) -> tuple[tuple[str, str], ...]:
    """The Reason for a Q.850 cause; nothing without one.

    Raises:
        ConfigurationError: no such cause, a control character, or a text without a cause.
    """
    if cause is None:
        if text is not None:
            raise ConfigurationError(f"text={text!r} needs a cause: cause=16 is a normal end (ITU-T Q.850).")
        return ()
    if text is not None:
        checked_text(text, "The reason's text")
    try:
        return (("Reason", str(q850_reason(cause, text))),)
    except ValueError as error:
        raise ConfigurationError(f"cause={cause}: {error}") from error


def retry_headers(seconds: float | None) -> tuple[tuple[str, str], ...]:
    """Retry-After in whole seconds; nothing for None.

    Raises:
        ConfigurationError: less than no time.
    """
    if seconds is None:
        return ()
    if not 0 <= seconds <= 2**31:
        raise ConfigurationError(f"retry_after={seconds}: give seconds from 0 on.")
    return (("Retry-After", f"{-int(-seconds // 1)}"),)


def redirect_headers(target: RedirectTarget | Sequence[RedirectTarget], account: Account | None) -> tuple[tuple[str, str], ...]:
    """The Contacts of a redirection; of a plain sequence the first is preferred, then the second and so on (RFC 3261 §20.10).

    Raises:
        ConfigurationError: a target that means none, a q-value out of range, or no target at all.
    """
    from flexosip.phone.dialling.targets import target_uri

    single = isinstance(target, (str, SipUri)) or (isinstance(target, tuple) and len(target) == 2 and isinstance(target[1], (int, float)))
    targets: Sequence[RedirectTarget] = (target,) if single else target  # type: ignore[assignment]
    if not targets:
        raise ConfigurationError("redirect(): there is no target.")
    contacts = []
    for place, entry in enumerate(targets):
        plain, q = entry if isinstance(entry, tuple) else (entry, None)
        if q is None and len(targets) > 1:
            q = max(0.0, 1.0 - place / 10 if len(targets) <= 10 else 1.0 - place / len(targets))
        if q is not None and not 0 <= q <= 1:
            raise ConfigurationError(f"redirect(): the q-value {q} is not between 0 and 1.")
        address = NameAddr(target_uri(plain, account))
        contacts.append(str(address if q is None else address.with_parameter("q", f"{q:.3f}".rstrip("0").rstrip("."))))
    return (("Contact", ", ".join(contacts)),)
