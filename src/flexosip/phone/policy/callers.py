"""Who may call us: `accept_from` and `Callers`. Strangers meet silence, so that a scanner does not even learn that there is a phone.

What decides is where a request comes from. What it says of itself, User-Agent and From, is never a reason to let anybody in that the
source does not let in: everybody can write it. So there is no list of scanners' names either.
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, NetworkError
from flexosip.phone.values import checked_text
from flexosip.sip.digest import ALGORITHMS
from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import NameAddr
from flexosip.sip.uri import SipUri, TelUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.uri import Uri

__all__ = ["CallerPolicy", "Callers", "Judgement", "caller_matches", "checked_patterns"]

logger = logging.getLogger(__name__)

_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?\Z")
_RESOLVE_AGAIN = 300.0
"""Seconds after which the host names of `accept_from` are looked up anew."""
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Judgement(enum.Enum):
    """What becomes of a new request from outside of any dialog."""

    ACCEPT = "accept"
    """It is worked on."""
    SILENCE = "silence"
    """No answer at all."""
    DENY = "deny"
    """403: it comes from where calls may come from, and from somebody who may not call."""
    STRANGER = "stranger"
    """It is accepted only because anybody is; where callers have to prove who they are, this one has to."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Who of those that `accept_from` lets in may call.

    A pattern is a number or user name, or `user@host`, in which `*` stands for any text and `?` for any character; letters of both
    cases are the same. A star that is a key is written `[*]`: `[*][*]6*` means all numbers that begin with `**6`. Only what comes
    through our server tells who really calls; everybody else writes into From what he likes.

    Raises:
        ConfigurationError: a pattern is none.
    """

    allow: Sequence[str] | None = None
    """patterns of who may call; None: everybody"""
    deny: Sequence[str] = ()
    """patterns of who may not, also where `allow` has them; they get 403"""
    require_auth: Mapping[str, str] | Callable[[str], str | None] | None = field(default=None, repr=False)
    """passwords by user, or a function that gives the password of a user and None for those who are none. With it, strangers are
    challenged (401) instead of met with silence or let in; the server of an account and sources named in `accept_from` are not."""
    realm: str | None = None
    """what phones show when they ask for that password; None: the account's domain, or `flexosip`"""
    algorithms: Sequence[str] = ("SHA-256", "MD5")
    """offered in the challenge, the preferred first; without `MD5` many phones cannot call"""

    def __post_init__(self) -> None:
        unknown = [name for name in self.algorithms if name not in ALGORITHMS]
        if unknown or not self.algorithms or isinstance(self.algorithms, str):
            raise ConfigurationError(f"Callers(algorithms={self.algorithms!r}): allowed are {', '.join(ALGORITHMS)}.")
        if self.realm is not None:
            checked_text(self.realm, "Callers.realm")
        if self.require_auth is not None and not isinstance(self.require_auth, Mapping) and not callable(self.require_auth):
            raise ConfigurationError("Callers(require_auth=...): give passwords by user, or a function of the user.")
        object.__setattr__(self, "deny", checked_patterns(self.deny, "Callers.deny"))
        if self.allow is not None:
            object.__setattr__(self, "allow", checked_patterns(self.allow, "Callers.allow"))


class CallerPolicy:
    """Decides about requests from outside of any dialog.

    Args:
        accept_from: one of these or a sequence of them. `auto`: with an account its server, or who knows our Contact; without one
            anybody. `registrar`: the same, but without an account nobody. `any`: anybody. An address, a network such as
            `192.168.1.0/24`, or a host name, which is looked up at the start and every five minutes.
        callers: who of those may call.

    Raises:
        ConfigurationError: something else.
    """

    def __init__(self, accept_from: str | Sequence[str], callers: Callers) -> None:
        words: set[str] = set()
        networks: list[_Network] = []
        names: list[str] = []
        for entry in (accept_from,) if isinstance(accept_from, str) else accept_from:
            if entry in ("auto", "any", "registrar"):
                words.add(entry)
                continue
            try:
                # An integer is an address to that module.
                networks.append(ipaddress.ip_network(entry if isinstance(entry, str) else repr(entry) + "?", strict=False))
            except ValueError as error:
                if _HOST_NAME.match(str(entry)) is None:
                    raise ConfigurationError(
                        f"accept_from={accept_from!r}: allowed are 'auto', 'registrar', 'any', addresses, networks and host names: {error}."
                    ) from error
                names.append(entry)
        self._words = frozenset(words)
        self._networks = tuple(networks)
        self.names = tuple(names)
        """The host names of `accept_from`."""
        self._resolved: dict[str, frozenset[str]] = {}
        self.callers = callers
        self._allow, self._deny = callers.allow, callers.deny

    def judge(self, request: Request, flow: Flow, accounts: Sequence[Account]) -> Judgement:
        """What becomes of `request`."""
        by_account = ("auto" in self._words or "registrar" in self._words) and bool(accounts)
        trusted = by_account and self._sent_by_server(request, flow, accounts)
        if trusted or self._names_source(flow):
            judgement = Judgement.ACCEPT
        elif "any" in self._words or ("auto" in self._words and not accounts):
            judgement = Judgement.STRANGER
        else:
            return Judgement.SILENCE
        if (self._allow is not None or self._deny) and not self._may_call(request, trusted):
            return Judgement.DENY
        return judgement

    @staticmethod
    def _sent_by_server(request: Request, flow: Flow, accounts: Sequence[Account]) -> bool:
        if any(account.trusts(flow) for account in accounts):
            return True
        uri = request.uri
        secret = (account.contact_user for account in accounts if not account.server_rules.account_contact)
        return isinstance(uri, SipUri) and uri.user is not None and uri.user in secret

    def _names_source(self, flow: Flow) -> bool:
        """Whether the source was named as such in `accept_from`."""
        if not self._networks and not self._resolved:
            return False
        address = _plain(flow.remote[0])
        return any(address in network for network in self._networks) or any(str(address) in found for found in self._resolved.values())

    def _may_call(self, request: Request, trusted: bool) -> bool:
        identities = list(_identities(request, trusted))
        if any(caller_matches(pattern, identity) for pattern in self._deny for identity in identities):
            return False
        # The first is the one that counts most; a caller must not get in by adding a second, better one.
        return self._allow is None or (bool(identities) and any(caller_matches(pattern, identities[0]) for pattern in self._allow))

    async def resolve(self, network: Any) -> None:
        """Look the host names up; one that cannot be found keeps what was found before, and lets nobody in until it is found."""
        for name in self.names:
            try:
                found = await network.resolve(name)
            except NetworkError as error:
                logger.warning("accept_from: %s is not known (%s); nobody is let in by it", name, error)
            else:
                self._resolved[name] = frozenset(str(_plain(address)) for address in found)

    async def keep_resolved(self, network: Any) -> None:
        """Look the host names up again and again."""
        while True:
            await asyncio.sleep(_RESOLVE_AGAIN)
            await self.resolve(network)


def caller_matches(pattern: str, uri: Uri) -> bool:
    """Whether the caller `uri` is meant by a pattern, see `Callers`."""
    pattern = pattern.lower().removeprefix("sip:").removeprefix("sips:").removeprefix("tel:")
    if isinstance(uri, SipUri):
        user = (uri.unescaped_user or "").lower()
        return fnmatchcase(f"{user}@{uri.host}" if "@" in pattern else user, pattern)
    if isinstance(uri, TelUri):
        return fnmatchcase(uri.number.lower(), pattern)
    return False


def checked_patterns(patterns: Sequence[str], what: str) -> tuple[str, ...]:
    """The patterns as a tuple.

    Raises:
        ConfigurationError: one is empty, is no text or has a control character.
    """
    listed = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in listed:
        if not isinstance(pattern, str) or not pattern:
            raise ConfigurationError(f"{what}={patterns!r}: a pattern is a number, a user name or user@host, with * for any text.")
        checked_text(pattern, what)
    return listed


def _identities(request: Request, trusted: bool) -> Iterable[Uri]:
    """Who calls: what our server asserts (RFC 3325), and what the caller claims in From."""
    if trusted:
        for value in request.headers.get_all("P-Asserted-Identity"):
            try:
                yield NameAddr.parse(value).uri
            except SipParseError as error:
                logger.debug("P-Asserted-Identity is passed over: %s", error)
    try:
        yield request.from_.uri
    except SipParseError as error:
        logger.debug("a request without a From that can be read: %s", error)


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its zone; an IPv4 address as such however it is written."""
    address = ipaddress.ip_address(host.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
