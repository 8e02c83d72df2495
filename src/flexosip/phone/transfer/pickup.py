"""Picking up a call that rings elsewhere: by a code of the PBX, or by taking it from its caller (RFC 5359 §2.15, RFC 3891)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flexosip.errors import ConfigurationError, FlexosipError, InvalidState
from flexosip.sip.replaces import Replaces
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone

__all__ = ["DialogToPickUp", "pick_up"]


class DialogToPickUp(Protocol):
    """A dialog of a watched extension, as dialog-info tells it (RFC 4235 §4.1)."""

    @property
    def call_id(self) -> str | None:
        """Its Call-ID; None when the watched phone does not tell."""

    @property
    def local_tag(self) -> str | None:
        """The tag of the watched phone."""

    @property
    def remote_tag(self) -> str | None:
        """The tag of who calls it."""

    @property
    def remote_uri(self) -> str | None:
        """The address of who calls it."""

    @property
    def remote_target(self) -> str | None:
        """The Contact of who calls it."""

    @property
    def ringing(self) -> bool:
        """True while the watched phone is called and has not answered."""


def pick_up(phone: Phone, target: str | DialogToPickUp, account: Account | str | None, ring_timeout: float | None) -> Call:
    """See `Phone.pickup`."""
    chosen = phone.find_account(account)
    if isinstance(target, str):
        code = chosen.pickup_code if chosen is not None else None
        if code is None:
            raise ConfigurationError(
                "pickup(): the account has no pickup code. Give it one, for example pickup_code='*8' (FreeSWITCH '**'), or watch the "
                "extension and pick up its ringing dialog."
            )
        return phone.call(code + target, account=account, ring_timeout=ring_timeout)
    if not target.ringing:
        raise InvalidState("pickup(): the extension is not called any more.", advice="Pick up while it rings.")
    caller = _caller(target, chosen)
    if not target.call_id or not target.local_tag or not target.remote_tag or caller is None:
        raise ConfigurationError(
            "pickup(): the server does not tell which call rings (no call-id, tags or caller in its dialog-info). Use the pickup code."
        )
    try:
        # Seen from the caller, who gets it: its own tag first. Once answered the call must not be torn away.
        replaces = Replaces(target.call_id, target.remote_tag, target.local_tag, early_only=True)
    except ValueError as error:
        raise ConfigurationError(f"pickup(): the dialog cannot be named: {error}") from error
    return phone.call(caller, account=account, ring_timeout=ring_timeout, replaces=replaces)


def _caller(dialog: DialogToPickUp, account: Account | None) -> SipUri | None:
    """Where the caller is: by its address when our server knows it, else by the target of its side of the dialog."""
    address, contact = _sip_uri(dialog.remote_uri), _sip_uri(dialog.remote_target)
    if address is not None and account is not None and account.owns(address):
        return address
    return contact or address


def _sip_uri(text: str | None) -> SipUri | None:
    try:
        return SipUri.parse(text) if text is not None else None
    except FlexosipError:
        return None
