"""Event, Subscription-State and Allow-Events: what SUBSCRIBE, NOTIFY, PUBLISH and REFER say about event packages.

RFC 6665 §8
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import Parameters, SipParseError, find_parameter, format_parameters, is_token, parse_parameters, unquote
from flexosip.sip.message import parse_scalar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flexosip.sip.headers import Headers

__all__ = ["Event", "SubscriptionState", "allow_events_value", "allowed_events"]

_LARGEST: Final = 2**32 - 1
_OWN_PARAMETERS: Final = frozenset({"expires", "reason", "retry-after"})


@dataclass(frozen=True, slots=True)
class Event:
    """An Event header: the event package and which of several subscriptions to it in one dialog.

    Raises:
        ValueError: the package or the id is no token, or a parameter cannot be sent.
    """

    package: str
    """For example `message-summary`, `dialog`, `presence`, `refer`; with its templates, as in `presence.winfo`."""
    id: str | None = None
    """Tells subscriptions of one dialog apart (RFC 6665 §8.2.1); of `refer` the CSeq of the REFER (RFC 3515 §2.4.6)."""
    parameters: Parameters = ()
    """The other parameters, of the package itself; a quoted value keeps its quotes."""

    def __post_init__(self) -> None:
        if not is_token(self.package) or (self.id is not None and not is_token(self.id)):
            raise ValueError("An event package and its id are tokens.")
        try:
            parse_parameters(format_parameters(self.parameters))
        except SipParseError as error:
            raise ValueError("A parameter of an Event cannot hold separators or control characters unless it is quoted.") from error

    @classmethod
    def parse(cls, text: str) -> Event:
        """The value written in `text`: `dialog;id=3;call-id="a@b"`.

        Raises:
            SipParseError: it is malformed.
        """
        name, semicolon, rest = text.partition(";")
        package = name.strip(" \t")
        if not is_token(package):
            raise SipParseError("Malformed Event")
        parameters = parse_parameters(semicolon + rest)
        found = find_parameter(parameters, "id")
        if found is None:
            return cls(package, None, parameters)
        number = unquote(found[1] or "")
        if not is_token(number):
            raise SipParseError("Malformed id in Event")
        return cls(package, number, tuple(item for item in parameters if item[0].lower() != "id"))

    @classmethod
    def of(cls, headers: Headers) -> Event | None:
        """The Event of a message, None when there is none.

        Raises:
            SipParseError: it is malformed.
        """
        value = headers.get("Event")
        return None if value is None else cls.parse(value)

    def __str__(self) -> str:
        number = "" if self.id is None else f";id={self.id}"
        return f"{self.package}{number}{format_parameters(self.parameters)}"

    def parameter(self, name: str) -> str | None:
        """The value of a parameter of the package without its quotes, or None."""
        found = find_parameter(self.parameters, name)
        return None if found is None or found[1] is None else unquote(found[1])

    def matches(self, other: Event) -> bool:
        """True for the same subscription: package and id octet by octet, other parameters never (RFC 6665 §4.4.1, §8.2.1)."""
        return self.package == other.package and self.id == other.id


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A Subscription-State header: where the subscription of a NOTIFY stands (RFC 6665 §4.1.3, §8.2.3).

    Raises:
        ValueError: the state or the reason is no token, or a parameter cannot be sent.
    """

    state: str
    """`active`, `pending` (not authorised yet), `terminated`, or a later extension, in lower case."""
    expires: int | None = None
    """Seconds that are left."""
    reason: str | None = None
    """Why it is terminated: `deactivated`, `probation`, `rejected`, `timeout`, `giveup`, `noresource`, `invariant` or an extension."""
    retry_after: int | None = None
    """Seconds to wait before subscribing again."""
    parameters: Parameters = ()
    """All others."""

    def __post_init__(self) -> None:
        if not is_token(self.state) or (self.reason is not None and not is_token(self.reason)):
            raise ValueError("State and reason of a subscription are tokens.")
        if any(number is not None and not 0 <= number <= _LARGEST for number in (self.expires, self.retry_after)):
            raise ValueError("Seconds are 0 to 2**32 - 1.")
        try:
            parse_parameters(format_parameters(self.parameters))
        except SipParseError as error:
            raise ValueError("A parameter cannot hold separators or control characters unless it is quoted.") from error

    @property
    def terminated(self) -> bool:
        """True if this is the last NOTIFY."""
        return self.state == "terminated"

    @classmethod
    def parse(cls, text: str) -> SubscriptionState:
        """The value written in `text`: `active;expires=3599` or `terminated;reason=probation;retry-after=60`.

        Raises:
            SipParseError: it is malformed, or a number is none.
        """
        name, semicolon, rest = text.partition(";")
        state = name.strip(" \t").lower()
        if not is_token(state):
            raise SipParseError("Malformed Subscription-State")
        parameters = parse_parameters(semicolon + rest)
        reason = _value(parameters, "reason")
        if reason is not None and not is_token(reason):
            # linphone 5.1 writes "reason=reason=noresource"; how a subscription ended is worth more than why.
            last = reason.rpartition("=")[2]
            reason = last if is_token(last) else None
        return cls(
            state,
            _seconds(parameters, "expires"),
            reason.lower() if reason is not None else None,
            _seconds(parameters, "retry-after"),
            tuple(item for item in parameters if item[0].lower() not in _OWN_PARAMETERS),
        )

    @classmethod
    def of(cls, headers: Headers) -> SubscriptionState:
        """The Subscription-State of a NOTIFY.

        Raises:
            SipParseError: it is malformed, or missing, which it must not be (RFC 6665 §4.1.3).
        """
        value = headers.get("Subscription-State")
        if value is None:
            raise SipParseError("Missing Subscription-State")
        return cls.parse(value)

    def __str__(self) -> str:
        values = (("expires", self.expires), ("reason", self.reason), ("retry-after", self.retry_after))
        return self.state + "".join(f";{name}={value}" for name, value in values if value is not None) + format_parameters(self.parameters)


def allowed_events(headers: Headers) -> frozenset[str]:
    """The packages of Allow-Events (RFC 6665 §8.2.2); what is no token is passed over."""
    return frozenset(value for value in headers.get_all("Allow-Events") if is_token(value))


def allow_events_value(packages: Iterable[str]) -> str:
    """Value of Allow-Events for these packages."""
    return ", ".join(sorted(packages))


def _value(parameters: Parameters, name: str) -> str | None:
    found = find_parameter(parameters, name)
    return None if found is None or found[1] is None else unquote(found[1])


def _seconds(parameters: Parameters, name: str) -> int | None:
    value = _value(parameters, name)
    return None if value is None else parse_scalar(value, _LARGEST)
