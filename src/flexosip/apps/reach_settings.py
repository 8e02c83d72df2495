"""The settings of an account that say how others reach it, the same in every file: see `flexosip.Reach`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexosip.apps.settings import Table
from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip import Reach

__all__ = ["REACH_KEYS", "reach_of", "reach_settings"]

REACH_KEYS = ("advertise", "stun_server", "outbound", "keep_alive", "keep_alive_interval", "state")
_OUTBOUND: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}


def reach_settings(table: Table) -> tuple[tuple[str, Any], ...]:
    """What the table says, as pairs for `reach_of`; a state folder beside the file if it is written without a slash at its front.

    Raises:
        ConfigurationError: with file, line and key.
    """
    found: dict[str, Any] = {}
    for key in ("advertise", "stun_server", "keep_alive", "state"):
        if key in table:
            found[key] = table.text(key)
    if "outbound" in table:
        found["outbound"] = _OUTBOUND[table.choice("outbound", tuple(_OUTBOUND), "no")]
    if "keep_alive_interval" in table:
        found["keep_alive_interval"] = table.number("keep_alive_interval", 25.0, minimum=5, maximum=3600, what="5 to 3600 seconds")
    if "state" in found:
        found["state"] = str(table.path.parent / Path(found["state"]).expanduser())
    for key, value in found.items():
        try:
            reach_of(((key, value),))
        except ConfigurationError as error:
            raise table.error(key, str(error)) from error
    return tuple(found.items())


def reach_of(settings: tuple[tuple[str, Any], ...]) -> Reach | None:
    """For `Phone`; None where nothing is set."""
    if not settings:
        return None
    from flexosip import Reach

    return Reach(**dict(settings))
