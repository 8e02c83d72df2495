"""The table `[policy]`, the same in every settings file: who may call us, and whom we may call. See `flexosip.Callers` and `CallPolicy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip.apps.settings import Table

__all__ = ["POLICY_KEYS", "policy_settings", "policy_to_phone"]

_CALLERS = {"allow_callers": "allow", "deny_callers": "deny"}
_CALLING = (
    "max_calls_per_hour", "allowed_prefixes", "denied_prefixes", "emergency", "country", "emergency_numbers", "max_duration",
)  # fmt: skip
POLICY_KEYS = ("accept_from", *_CALLERS, *_CALLING)
_LISTS = ("allow_callers", "deny_callers", "allowed_prefixes", "denied_prefixes", "emergency_numbers")


def policy_settings(table: Table | None) -> dict[str, Any]:
    """What the table says, for `policy_to_phone`; empty without a table.

    Raises:
        ConfigurationError: with file, line, key and what is allowed.
    """
    if table is None:
        return {}
    from flexosip import Phone

    table.check_keys(POLICY_KEYS)
    found: dict[str, Any] = {}
    for key in table:
        if key == "accept_from":
            found[key] = table.text_or_texts(key)
        elif key in _LISTS:
            found[key] = table.texts(key)
        elif key == "max_calls_per_hour":
            found[key] = table.whole(key, 0, allowed=range(1_000_000), what="a number of calls, 0 or more")
        elif key == "max_duration":
            found[key] = table.number(key, 0, minimum=1, maximum=86_400 * 366, what="seconds, 1 or more")
        elif key == "emergency":
            found[key] = table.choice(key, ("refuse", "allow"), "refuse")
        else:
            found[key] = table.text(key)
        try:
            # It knows what makes sense, and opens nothing.
            Phone(**policy_to_phone({key: found[key]}))
        except ConfigurationError as error:
            raise table.error(key, str(error)) from error
    return found


def policy_to_phone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Phone` that the settings stand for; what is not set is left to it.

    Raises:
        ConfigurationError: a value that makes no sense.
    """
    told: dict[str, Any] = {}
    if not settings:
        return told
    from flexosip import Callers, CallPolicy

    if "accept_from" in settings:
        told["accept_from"] = settings["accept_from"]
    callers = {name: settings[key] for key, name in _CALLERS.items() if key in settings}
    if callers:
        told["callers"] = Callers(**callers)
    calling = {key: settings[key] for key in _CALLING if key in settings}
    if calling:
        told["call_policy"] = CallPolicy(**calling)
    return told
