"""Who we say we are: the number that is shown, where a provider wants it to stand, and calls that show none.

RFC 3323 (Privacy), RFC 3325 (P-Preferred-Identity, P-Asserted-Identity), RFC 5806 (Diversion), draft-ietf-sip-privacy-04
(Remote-Party-ID)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.errors import ConfigurationError
from flexosip.phone.dialling.targets import target_uri
from flexosip.phone.profiles.server_rules import telephone_number
from flexosip.phone.values import checked_text
from flexosip.sip.headers import NameAddr
from flexosip.sip.identity import ANONYMOUS
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account

__all__ = ["IdentityPolicy", "OutgoingIdentity", "caller_address", "outgoing_identity"]

_NUMBER: Final = ("from", "ppi", "pai", "rpid", "diversion")
_HIDDEN: Final = ("from", "header", "prefix")


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """What a provider takes for the caller's number; data of a provider's profile.

    Raises:
        ConfigurationError: an unknown word.
    """

    number: str = "from"
    """Where `caller_id` goes: `from` into the From itself; else the From stays the account's address, as digest and routing of many trunks
    want it, and the number stands in `ppi` P-Preferred-Identity, `pai` P-Asserted-Identity, `rpid` Remote-Party-ID, `diversion`."""
    anonymous: str = "from"
    """How a call is made anonymous: `from` an anonymous From and Privacy: id (RFC 3323), `header` Privacy: id alone, for servers that know
    their users by the From, `prefix` a number in front of the dialled one."""
    prefix: str = "*31#"
    """For `prefix`: what is dialled before the number; `*31#` is ETSI's code for it."""

    def __post_init__(self) -> None:
        if self.number not in _NUMBER:
            raise ConfigurationError(f"identity_policy: number={self.number!r} is not known; allowed are {', '.join(_NUMBER)}.")
        if self.anonymous not in _HIDDEN:
            raise ConfigurationError(f"identity_policy: anonymous={self.anonymous!r} is not known; allowed are {', '.join(_HIDDEN)}.")
        checked_text(self.prefix, "identity_policy: prefix")

    @classmethod
    def of(cls, policy: IdentityPolicy | str) -> IdentityPolicy:
        """A policy, or the word for where the number goes.

        Raises:
            ConfigurationError: an unknown word.
        """
        return policy if isinstance(policy, IdentityPolicy) else cls(policy)


@dataclass(frozen=True, slots=True)
class OutgoingIdentity:
    """What the INVITE says of us."""

    from_: NameAddr
    """Without tag."""
    headers: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    """To be dialled in front of the number."""


def caller_address(caller_id: str | SipUri, account: Account | None, own: NameAddr) -> NameAddr:
    """The address that a caller id means: a SIP URI, `user@host`, or a number in the account's domain.

    Raises:
        ConfigurationError: it means none.
    """
    number = telephone_number(caller_id) if isinstance(caller_id, str) else None
    if number is not None:
        # "+49 30 123-45" is written for people.
        caller_id = number
        if account is not None:
            user = account.server_rules.caller(number)
            return NameAddr(SipUri.for_user(user, account.aor.host, account.aor.port, scheme=account.aor.scheme), own.display_name)
    if account is None and isinstance(caller_id, str) and "@" not in caller_id and ":" not in caller_id:
        checked_text(caller_id, "caller_id")
        assert isinstance(own.uri, SipUri)
        return NameAddr(SipUri.for_user(caller_id.strip(), own.uri.host, own.uri.port), own.display_name)
    return NameAddr(target_uri(caller_id, account), own.display_name)


def outgoing_identity(
    account: Account | None, own: NameAddr, caller_id: str | SipUri | None, anonymous: bool, *, ours: bool
) -> OutgoingIdentity:
    """The From and the headers that say who calls.

    Args:
        own: our address: the account's, or where a phone without account can be called back.
        caller_id: the number to show; None: the account's `caller_id`, or else its address.
        ours: whether the INVITE goes to the account's own server: nobody else is told the identity of an anonymous call.
    """
    policy = account.identity_policy if account is not None else IdentityPolicy()
    if caller_id is None and account is not None:
        caller_id = account.caller_id
    shown = caller_address(caller_id, account, own) if caller_id is not None else None
    if anonymous:
        return _hidden(policy, own, shown, ours)
    if shown is None:
        return OutgoingIdentity(own)
    if policy.number == "from":
        return OutgoingIdentity(shown)
    return OutgoingIdentity(own, _identity_header(policy.number, shown, hidden=False))


def _hidden(policy: IdentityPolicy, own: NameAddr, shown: NameAddr | None, ours: bool) -> OutgoingIdentity:
    privacy = (("Privacy", "id"),)
    if not ours or policy.anonymous == "from":
        real = _identity_header(policy.number, shown or own, hidden=True) if ours else ()
        return OutgoingIdentity(ANONYMOUS, (*privacy, *real))
    if policy.anonymous == "prefix":
        return OutgoingIdentity(own, prefix=policy.prefix)
    real = _identity_header(policy.number, shown, hidden=True) if shown is not None else ()
    return OutgoingIdentity(own, (*privacy, *real))


def _identity_header(kind: str, address: NameAddr, *, hidden: bool) -> tuple[tuple[str, str], ...]:
    if kind == "ppi":
        return (("P-Preferred-Identity", str(address)),)
    if kind == "pai":
        return (("P-Asserted-Identity", str(address)),)
    if kind == "rpid":
        return (("Remote-Party-ID", f"{address};party=calling;screen=no;privacy={'full' if hidden else 'off'}"),)
    if kind == "diversion" and not hidden:
        return (("Diversion", f"{address};reason=unconditional"),)
    return ()
