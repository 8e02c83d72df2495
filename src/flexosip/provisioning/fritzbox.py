"""Making an IP telephone in a FRITZ!Box, by TR-064 or in words for the one who clicks.

AVM's interface documents for `X_VoIP` (X_AVM-DE_SetClient4) and `X_AVM-DE_Auth` (second factor)
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flexosip.errors import ConfigurationError
from flexosip.provisioning.tr064 import AUTH, VOIP, Box, BoxRefused

__all__ = ["CLICKS", "IpPhone", "check_credentials", "create_ip_phone", "new_password"]

CLICKS = (
    "Open http://{host} and log in.",
    "Telephony (Telefonie), Telephony Devices (Telefoniegeräte), Configure New Device (Neues Gerät einrichten).",
    "Choose Telephone (Telefon), then LAN/WLAN (IP telephone).",
    "Give the telephone a name, then a user name and a password, both of at least 8 characters.",
    "Choose the number for outgoing calls and whether it shall ring for all, and confirm; the box may want a key pressed on it.",
    "Run this again with --user NAME and --password-file FILE.",
)
"""What to do by hand; `{host}` is the box's."""

_ALPHABET = string.ascii_letters + string.digits
"""The box refuses some punctuation in passwords."""
_SHORTEST = 8
_LONGEST = 32
_SECOND_FACTOR_WAIT = 120.0
_POLL = 2.0
_MOST_CLIENTS = 32


@dataclass(frozen=True, slots=True)
class IpPhone:
    """A telephone that was made."""

    user: str
    password: str = field(repr=False)
    number: str
    """Its internal number, `620`; it is called as `**620`."""


def new_password() -> str:
    """A password that the box takes, with 119 bits of chance."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))


def check_credentials(user: str, password: str) -> None:
    """What the box demands of an IP telephone.

    Raises:
        ConfigurationError: it would refuse them.
    """
    for value, what in ((user, "user name"), (password, "password")):
        if not _SHORTEST <= len(value) <= _LONGEST:
            raise ConfigurationError(f"The telephone's {what} has {len(value)} characters; a FRITZ!Box wants {_SHORTEST} to {_LONGEST}.")
    if set(user) - set(_ALPHABET + "-_."):
        raise ConfigurationError("The telephone's user name may have letters, digits, dashes, underscores and dots.")
    if set(password) - set(_ALPHABET + "-_."):
        raise ConfigurationError("The telephone's password may have letters, digits, dashes, underscores and dots.")


def create_ip_phone(
    box: Box,
    user: str,
    password: str,
    *,
    box_user: str,
    box_password: str,
    name: str = "flexosip",
    replace: bool = False,
    on_confirm: Callable[[str], object] | None = None,
    wait: float = _SECOND_FACTOR_WAIT,
    sleep: Callable[[float], object] = time.sleep,
) -> IpPhone:
    """Make an IP telephone.

    Args:
        user, password: of the telephone. box_user, box_password: of somebody who may change the box.
        name: that the box shows for it.
        replace: take the place of a telephone with that user name; False: that is refused.
        on_confirm: told the ways to confirm, when the box wants a second factor; then it is waited for.
        wait: seconds for that.

    Raises:
        ConfigurationError: a name or password that the box would refuse, or there is such a telephone.
        AuthenticationError, BoxRefused, NetworkError: see `Box.call`.
    """
    check_credentials(user, password)
    who = (box_user, box_password)
    index = _slot(box, user, replace, who)
    arguments = {
        "NewX_AVM-DE_ClientIndex": str(index),
        "NewX_AVM-DE_ClientPassword": password,
        "NewX_AVM-DE_ClientUsername": user,
        "NewX_AVM-DE_PhoneName": name,
        "NewX_AVM-DE_ClientId": "",
        "NewX_AVM-DE_OutGoingNumber": "",
        "NewX_AVM-DE_InComingNumbers": "",
    }
    try:
        made = box.call(VOIP, "X_AVM-DE_SetClient4", arguments, login=who)
    except BoxRefused as error:
        if error.code != "866":
            raise
        token = _second_factor(box, who, on_confirm, wait, sleep)
        made = box.call(VOIP, "X_AVM-DE_SetClient4", arguments, token=token, login=who)
    return IpPhone(user, password, made.get("NewX_AVM-DE_InternalNumber", ""))


def _slot(box: Box, user: str, replace: bool, who: tuple[str, str]) -> int:
    """The index of the telephone with that user name, else the next free one."""
    told = box.call(VOIP, "X_AVM-DE_GetNumberOfClients", login=who).get("NewX_AVM-DE_NumberOfClients", "0")
    count = int(told) if told.isascii() and told.isdigit() else 0
    for index in range(min(count, _MOST_CLIENTS)):
        known = box.call(VOIP, "X_AVM-DE_GetClient3", {"NewX_AVM-DE_ClientIndex": str(index)}, login=who)
        if known.get("NewX_AVM-DE_ClientUsername") == user:
            if not replace:
                raise ConfigurationError(
                    f"The box has a telephone with the user name {user!r}.",
                    advice="Take another --user, or --force to give it a new password.",
                )
            return index
    return count


def _second_factor(
    box: Box, who: tuple[str, str], on_confirm: Callable[[str], object] | None, wait: float, sleep: Callable[[float], object]
) -> str:
    """The token, after somebody has confirmed at the box.

    Raises:
        BoxRefused: nobody did.
    """
    begun = box.call(AUTH, "SetConfig", {"NewAction": "start"}, login=who)
    token = begun.get("NewToken", "")
    if on_confirm is not None:
        on_confirm(_methods(begun.get("NewMethods", "")))
    for _ in range(max(1, int(wait / _POLL))):
        state = box.call(AUTH, "GetState", token=token, login=who).get("NewState", "")
        if state == "authenticated":
            return token
        if state not in ("waitingforauth", "anotherauthprocess"):
            raise BoxRefused(f"The confirmation at the box ended: {state[:40]}.", code="866")
        sleep(_POLL)
    box.call(AUTH, "SetConfig", {"NewAction": "stop"}, token=token, login=who)
    raise BoxRefused(f"Nobody confirmed at the box within {wait:.0f} s.", code="866")


def _methods(told: str) -> str:
    """`button,dtmf;*14711` in words."""
    ways = []
    for method in told.split(","):
        kind, _, code = method.partition(";")
        if kind == "button":
            ways.append("press any key on the box")
        elif kind == "dtmf":
            ways.append(
                f"dial {code} at a telephone of the box" if code.isascii() and code.isprintable() else "dial the code that it shows"
            )
        elif kind in ("googleauth", "totp"):
            ways.append("confirm with the authenticator app")
    return ", or ".join(ways) or "confirm as the box says"
