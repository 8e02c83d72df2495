"""What an account's server wants beyond the RFCs: how numbers are written, what the Contact must be, how digits go. Data of a `Profile`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flexosip.errors import ConfigurationError
from flexosip.phone.values import checked_domain, optional_text, shown
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account

__all__ = ["NUMBER_FORMATS", "ServerRules", "telephone_number"]

NUMBER_FORMATS: Final = ("as_written", "e164", "digits", "national")
DIGIT_WAYS: Final = ("auto", "rfc4733", "info", "info-dtmf", "inband")
_TELEPHONE = re.compile(r"\+?[0-9][0-9 ().\-/]*")
_SEPARATORS = str.maketrans("", "", " ().-/")
_COUNTRY = re.compile(r"[1-9][0-9]{0,2}")
_SHORT = 6
"""Digits up to which a number without + or 0 is one of the house or a service, emergency calls among them: never rewritten."""


def telephone_number(text: str) -> str | None:
    """A telephone number without what people write between its digits (RFC 3966 §5.1.1); None for anything else."""
    text = text.strip()
    return text.translate(_SEPARATORS) if _TELEPHONE.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class ServerRules:
    """What an account's server wants that no RFC says.

    Raises:
        ConfigurationError: an unknown word, or a value that cannot be one.
    """

    dialled: str = "as_written"
    """How a bare telephone number goes into the Request-URI: `as_written`; `e164` +4930123; `digits` 4930123; `national` 030123. Names,
    codes such as `**9` and short numbers, emergency calls among them, go as they are written in any case."""
    caller_id: str = "as_written"
    """The same for the number that calls show."""
    country: str | None = None
    """Country code, for example `49`: what `0...` is to begin with as an international number, and what `00...` stands in for."""
    raw_hash: bool = False
    """Send `#` as it is; else as `%23`, as RFC 3261 §25.1 has it."""
    internal: str | None = None
    """What stands in front of the house's own numbers, for example `**`."""
    everybody: str | None = None
    """What rings all phones of the house, for example `**9`."""
    pickup_code: str | None = None
    """What is dialled before an extension to take its ringing call."""
    account_contact: bool = False
    """The user part of our Contact must be the account's. Then whoever knows the account could call us past the server: only the server
    is believed."""
    service_domain: str | None = None
    """The domain that the server's certificate must name and that SNI tells (RFC 5922), where it is not the account's."""
    digits: str = "auto"
    """How `Call.send_digits` sends unless told: see there."""

    def __post_init__(self) -> None:
        for name, allowed in (("dialled", NUMBER_FORMATS), ("caller_id", NUMBER_FORMATS), ("digits", DIGIT_WAYS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigurationError(f"{name}: {value!r} is not known; allowed are {', '.join(allowed)}.")
        for name in ("internal", "everybody", "pickup_code"):
            optional_text(getattr(self, name), name)
        if self.country is not None and not _COUNTRY.fullmatch(self.country):
            raise ConfigurationError(f"country: {self.country!r} is no country code such as '49' (no +, no zeros in front).")
        if self.service_domain is not None:
            checked_domain(self.service_domain, "service_domain")

    def target(self, text: str, account: Account) -> SipUri:
        """The URI of what was dialled at `account`.

        Raises:
            ConfigurationError: a number that the server would not understand.
        """
        number = telephone_number(text) if self.dialled != "as_written" else None
        if number is not None:
            text = self._format(number, self.dialled)
        uri = SipUri.for_user(text, account.aor.host, account.aor.port, scheme=account.aor.scheme)
        return replace(uri, user=uri.user.replace("%23", "#")) if self.raw_hash and uri.user is not None else uri

    def caller(self, number: str) -> str:
        """The number that a call shows, as the server wants it.

        Raises:
            ConfigurationError: its country is not known.
        """
        return self._format(number, self.caller_id)

    def _format(self, number: str, style: str) -> str:
        if style == "as_written" or (len(number) <= _SHORT and number[0] not in "+0"):
            return number
        country = self.country
        if number.startswith("+"):
            international = number[1:]
        elif country is not None and number.startswith("00"):
            international = number[2:]
        elif country is not None and number.startswith("0"):
            international = country + number[1:]
        elif style == "national" and number.startswith("0"):
            return number
        else:
            hint = "" if country is not None else "; or tell the country, for example country='49'"
            raise ConfigurationError(
                f"The number {shown(number)!r}: this server wants it with its country code. Write it as +49301234567{hint}."
            )
        if style == "e164":
            return f"+{international}"
        if style == "digits":
            return international
        if country is not None and international.startswith(country):
            return f"0{international[len(country) :]}"
        return f"00{international}"
