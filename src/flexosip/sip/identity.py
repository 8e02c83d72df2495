"""Who calls, as the headers of a message tell it: assertions, claims, wishes for privacy, and by whom a call was diverted.

Many headers say it, some of them in the name of a network, most in the caller's own. `read_identity` makes one view of them all.
Whether the sender may be believed it is told: that is a matter of where a message came from, not of what stands in it.

RFC 3323 (Privacy), RFC 3325 (P-Asserted-Identity, P-Preferred-Identity), RFC 5806 (Diversion), RFC 7044 (History-Info), RFC 4458,
RFC 7315 §4.2 (P-Called-Party-ID), RFC 3892 (Referred-By), RFC 4916 (connected identity); Remote-Party-ID (draft-ietf-sip-privacy-04)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import SipParseError, split_list, unescape
from flexosip.sip.headers import Headers, NameAddr
from flexosip.sip.reason import Reason, parse_reasons
from flexosip.sip.uri import OtherUri, SipUri, TelUri, Uri

if TYPE_CHECKING:
    from flexosip.sip.message import Message

__all__ = ["ANONYMOUS", "Claim", "Diversion", "HistoryEntry", "Identity", "number_of", "parse_privacy", "read_history", "read_identity"]

ANONYMOUS: Final = NameAddr(SipUri("sip", "anonymous", "anonymous.invalid"), "Anonymous")
"""The From of a caller who does not want to be known (RFC 3323 §4.1.1.3)."""

_MOST = 20
"""Values of one header that are looked at; a chain of diversions longer than that is a loop."""
_ANONYMOUS_USERS: Final = frozenset({"anonymous", "restricted"})
_HIDES: Final = frozenset({"id", "user", "header", "full", "name", "uri"})
"""Values of Privacy and of the privacy parameter of Remote-Party-ID that ask for the caller to stay unknown."""
_DIVERSION_REASONS: Final[dict[int, str]] = {
    302: "unconditional", 404: "unknown", 408: "no-answer", 480: "deflection", 486: "user-busy", 487: "deflection", 503: "unavailable",
}  # fmt: skip
"""Reasons of RFC 5806 by the causes of RFC 4458 §3, as RFC 7544 §7 maps them."""
_TELEPHONE = re.compile(r"\+?[0-9*#.()\-]+")
_SEPARATORS = str.maketrans("", "", "-.()")


@dataclass(frozen=True, slots=True)
class Claim:
    """What one header says about the caller."""

    source: str
    """Name of the header."""
    address: NameAddr

    @property
    def number(self) -> str:
        """The number or user name."""
        return number_of(self.address.uri)


@dataclass(frozen=True, slots=True)
class Diversion:
    """One station that a call was diverted from before it came here."""

    address: NameAddr
    reason: str = "unknown"
    """`user-busy`, `no-answer`, `unconditional`, `deflection`, `unavailable`, `do-not-disturb`, `unknown`... (RFC 5806 §4)."""
    counter: int = 1
    """How often it was diverted there."""
    private: bool = False
    """True if the one who diverted does not want to be shown."""
    source: str = "Diversion"
    """Name of the header."""

    @property
    def number(self) -> str:
        """The number or user name."""
        return number_of(self.address.uri)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One target that a request had on its way (RFC 7044 §5)."""

    address: NameAddr
    """Without the headers that are escaped in its URI."""
    index: tuple[int, ...]
    """Place in the tree of retargeting: 1.2 came from 1."""
    cause: int | None = None
    """Why the request was sent to this target: the `cause` parameter of the URI (RFC 4458)."""
    reasons: tuple[Reason, ...] = ()
    """Why this target was left: the Reason headers escaped in its URI."""
    private: bool = False
    """True if Privacy asks to hide this entry."""
    retarget: str | None = None
    """`rc`, `mp` or `np`: how the target was found."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The other side of a call in one view."""

    uri: Uri | None
    """Its address; None if it is anonymous."""
    number: str
    """Its number or user name, to show and to call back; "" if it is anonymous."""
    display_name: str
    """Its name; "" if it has none or is anonymous."""
    source: str
    """Name of the header that `uri` is from."""
    asserted: NameAddr | None = None
    """What a trusted server vouches for, also when it is not to be shown; None from anybody else."""
    claimed: NameAddr | None = None
    """What the other side says of itself, without any proof."""
    anonymous: bool = False
    """True if it wants to be unknown."""
    diverted_from: tuple[Diversion, ...] = ()
    """Who diverted the call before it came here, the latest first."""
    called: str = ""
    """The number or user name of ours that was called."""
    referred_by: NameAddr | None = None
    """Who sent the caller to us by a transfer, unproved."""
    claims: tuple[Claim, ...] = ()
    """All that was said about the caller, header by header."""
    trusted: bool = False
    """True if the message came from a peer that we believe: the account's server or one of `trusted_peers`."""

    def matches(self, *patterns: str, asserted: bool = False) -> bool:
        """Whether one of the patterns means the caller.

        A pattern is a number or user name, or `user@host`; a `*` at its end stands for any rest, every other `*` is the key of that name:
        `**6*` means all numbers that begin with `**6`. Separators in numbers (`-.()` and spaces) do not count. What a trusted server
        asserts counts also if the caller wants to be anonymous.

        Args:
            asserted: True: only what a trusted server asserts counts; without that nothing matches.
        """
        uri = self.asserted.uri if self.asserted is not None else None if asserted else self.uri
        return uri is not None and any(_means(pattern, uri) for pattern in patterns)

    def __str__(self) -> str:
        if self.anonymous:
            return "anonymous"
        return f"{self.display_name} ({self.number})" if self.display_name and self.display_name != self.number else self.number


def number_of(uri: Uri | None) -> str:
    """The telephone number or user name in `uri`: escapes resolved, separators and parameters of the number taken away."""
    if isinstance(uri, TelUri):
        return uri.digits
    if isinstance(uri, SipUri) and uri.user:
        # "+4930123;phone-context=..." is a telephone-subscriber in a user part (RFC 3261 §19.1.6).
        user = unescape(uri.user.partition(";")[0])
        return user.translate(_SEPARATORS) if _TELEPHONE.fullmatch(user) else user
    return uri.opaque if isinstance(uri, OtherUri) else ""


def parse_privacy(headers: Headers) -> frozenset[str]:
    """The priv-values of Privacy in lower case (RFC 3323 §4.2); some servers join them with commas."""
    values = ",".join(headers.get_lines("Privacy")).replace(";", ",").lower().split(",")
    return frozenset(value for value in map(str.strip, values) if value)


def read_history(headers: Headers) -> tuple[HistoryEntry, ...]:
    """The entries of History-Info in the order of their indices; what cannot be understood is passed over."""
    entries: list[HistoryEntry] = []
    for address in _addresses(headers, "History-Info"):
        index = address.parameter("index") or ""
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,30}", index):
            continue
        uri = address.uri
        escaped, cause = Headers(), None
        if isinstance(uri, SipUri):
            escaped = _escaped_headers(uri.headers)
            cause = _number(uri.parameter("cause"))
            uri = SipUri(uri.scheme, uri.user, uri.host, uri.port, uri.without_parameters("cause").parameters, None, None)
        retarget = next((name for name in ("rc", "mp", "np") if address.has_parameter(name)), None)
        entries.append(
            HistoryEntry(
                NameAddr(uri, address.display_name),
                tuple(int(part) for part in index.split(".")),
                cause,
                tuple(parse_reasons(escaped)),
                bool(parse_privacy(escaped) - {"none"}),
                retarget,
            )
        )
    return tuple(sorted(entries, key=lambda entry: entry.index))


def read_identity(message: Message, *, trusted: bool, party: str = "calling", dialled: NameAddr | None = None) -> Identity:
    """The sender of `message` in one view: P-Asserted-Identity before Remote-Party-ID before From, as far as they may be believed.

    Args:
        message: the INVITE for a caller; a response or a request within the call for who is connected (RFC 4916).
        trusted: whether it came from a peer whose assertions count.
        party: which Remote-Party-ID speaks of the sender: `calling` for who sent the INVITE, `called` for who answers it.
        dialled: of a response: whom we called, who counts unless the answer says something else.
    """
    headers = message.headers
    base = Claim("To", dialled) if dialled is not None else Claim("From", message.from_)
    claims = _claims(headers, base, party)
    asserted = next((claim for claim in claims if _is_assertion(claim)), None) if trusted else None
    remote_party = next((claim for claim in claims if claim.source == "Remote-Party-ID" and not _is_anonymous(claim.address)), None)
    claimed = _claimed(claims, base, trusted)
    anonymous = bool(parse_privacy(headers) & _HIDES) or _is_anonymous(base.address) or _wants_privacy(remote_party)
    shown: Claim | None = asserted or (remote_party if trusted else None) or claimed or base
    if anonymous:
        # Whom we called ourselves is no secret to us.
        shown = base if dialled is not None else None
    return Identity(
        uri=shown.address.uri if shown is not None else None,
        number=shown.number if shown is not None else "",
        display_name=_display_name(claims, shown) if shown is not None else "",
        source=shown.source if shown is not None else base.source,
        asserted=asserted.address if asserted is not None else None,
        claimed=claimed.address if claimed is not None else None,
        anonymous=anonymous,
        diverted_from=_diversions(headers),
        called=_called(message, trusted) if dialled is None else "",
        referred_by=next(iter(_addresses(headers, "Referred-By")), None),
        claims=claims,
        trusted=trusted,
    )


def _addresses(headers: Headers, name: str) -> list[NameAddr]:
    """The addresses of a header that can be understood; a malformed one never decides what happens."""
    found: list[NameAddr] = []
    for line in headers.get_lines(name):
        try:
            values = split_list(line)
        except SipParseError:
            continue
        for value in values:
            if len(found) == _MOST:
                return found
            try:
                found.append(NameAddr.parse(value))
            except SipParseError:
                continue
    return found


def _claims(headers: Headers, base: Claim, party: str) -> tuple[Claim, ...]:
    claims = [Claim("P-Asserted-Identity", address) for address in _addresses(headers, "P-Asserted-Identity")]
    # A tel URI beside a SIP one says the same, but cannot be called back without a server (RFC 3325 §9.1 allows one of each).
    claims.sort(key=lambda claim: not isinstance(claim.address.uri, SipUri))
    for address in _addresses(headers, "Remote-Party-ID"):
        of_sender = (address.parameter("party") or party).lower() == party
        if of_sender and (address.parameter("id-type") or "subscriber").lower() != "term":
            claims.append(Claim("Remote-Party-ID", address))
    claims.append(base)
    claims += [Claim("P-Preferred-Identity", address) for address in _addresses(headers, "P-Preferred-Identity")]
    return tuple(claims)


def _is_assertion(claim: Claim) -> bool:
    if claim.source == "Remote-Party-ID":
        return (claim.address.parameter("screen") or "no").lower() == "yes" and not _is_anonymous(claim.address)
    return claim.source == "P-Asserted-Identity" and not _is_anonymous(claim.address)


def _claimed(claims: tuple[Claim, ...], base: Claim, trusted: bool) -> Claim | None:
    """What the other side says of itself: base, unless that is anonymous; from strangers everything is no more than that."""
    own = [base, *(claim for claim in claims if claim.source == "P-Preferred-Identity" or (not trusted and claim is not base))]
    return next((claim for claim in own if not _is_anonymous(claim.address)), None)


def _wants_privacy(remote_party: Claim | None) -> bool:
    if remote_party is None:
        return False
    return bool({part.strip() for part in (remote_party.address.parameter("privacy") or "").lower().split("-")} & _HIDES)


def _is_anonymous(address: NameAddr) -> bool:
    uri = address.uri
    if not isinstance(uri, SipUri):
        return False
    return uri.host.endswith("anonymous.invalid") or uri.unescaped_user.lower() in _ANONYMOUS_USERS


def _display_name(claims: tuple[Claim, ...], shown: Claim) -> str:
    """The name beside the number; where the header with the number brings none, another one's with the same number."""
    if shown.address.display_name:
        return shown.address.display_name
    return next((claim.address.display_name for claim in claims if claim.address.display_name and claim.number == shown.number), "")


def _diversions(headers: Headers) -> tuple[Diversion, ...]:
    found = [
        Diversion(
            address.without_parameters(),
            (address.parameter("reason") or "unknown").lower(),
            _number(address.parameter("counter")) or 1,
            (address.parameter("privacy") or "off").lower() not in ("off", "none"),
        )
        for address in _addresses(headers, "Diversion")
    ]
    return tuple(found) if found else _history_diversions(read_history(headers))


def _history_diversions(history: tuple[HistoryEntry, ...]) -> tuple[Diversion, ...]:
    """The stations of History-Info that were left for another one: the next entry tells why by its cause (RFC 7044 §10, RFC 7544 §7)."""
    found: list[Diversion] = []
    for entry in history[1:]:
        left = next((known for known in reversed(history) if known.index < entry.index and _leads_to(known, entry)), None)
        if left is None:
            continue
        cause = entry.cause
        if cause is None:
            cause = next((reason.cause for reason in left.reasons if reason.protocol.upper() == "SIP"), None)
        if cause is not None:
            found.append(Diversion(left.address, _DIVERSION_REASONS.get(cause, "unknown"), 1, left.private, "History-Info"))
    return tuple(reversed(found))


def _leads_to(left: HistoryEntry, entry: HistoryEntry) -> bool:
    """True if `entry` is a child of `left` in the tree, or the next branch beside it."""
    return entry.index[:-1] == left.index or (entry.index[:-1] == left.index[:-1] and entry.index[-1] == left.index[-1] + 1)


def _called(message: Message, trusted: bool) -> str:
    """What was dialled: a proxy puts our Contact into the Request-URI, and tells in P-Called-Party-ID what stood there before."""
    told = _addresses(message.headers, "P-Called-Party-ID") if trusted else []
    return number_of((told[0] if told else message.to).uri)


def _escaped_headers(text: str | None) -> Headers:
    """The headers that are escaped in a URI; what cannot be a header is passed over."""
    headers = Headers()
    for part in (text or "").split("&")[:_MOST]:
        name, equals, value = part.partition("=")
        try:
            if equals:
                headers.add(unescape(name), unescape(value))
        except ValueError:
            continue
    return headers


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 4 else None


def _means(pattern: str, uri: Uri) -> bool:
    pattern = pattern.strip().removeprefix("sip:").removeprefix("tel:").lower()
    if "@" in pattern:
        whole = f"{uri.unescaped_user}@{uri.host}".lower() if isinstance(uri, SipUri) else ""
    else:
        whole = number_of(uri).lower()
        plain = pattern.replace(" ", "")
        if _TELEPHONE.fullmatch(plain):
            pattern = plain.translate(_SEPARATORS)
    return whole.startswith(pattern[:-1]) if pattern.endswith("*") else whole == pattern
