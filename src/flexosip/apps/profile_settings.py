"""The settings of an account that name a profile, the same in every file: see `flexosip.Profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flexosip.apps.settings import Table
from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip import Reach

__all__ = ["PROFILE_KEYS", "profile_of", "profile_reach"]

PROFILE_KEYS = ("profile", "host")


def profile_of(table: Table) -> str | None:
    """Name of a profile, or the path of its file, beside the settings unless it is absolute.

    Raises:
        ConfigurationError: with file, line and key: there is none, it is wrong, or `host` stands without one.
    """
    from flexosip import Profile

    name = table.text("profile")
    if name is None:
        if "host" in table:
            raise table.error("host", "goes with a profile; without one the host stands in aor, registrar or proxy.")
        return None
    if "/" in name or name.endswith(".toml"):
        name = table.file_path("profile")
    assert name is not None
    try:
        Profile.find(name).arguments(table.text("aor") or "", host=table.text("host"))
    except ConfigurationError as error:
        raise table.error("profile", str(error)) from error
    return name


def profile_reach(name: str, told: tuple[tuple[str, Any], ...]) -> Reach:
    """The profile's `Reach` with what was told in place of what it says."""
    from flexosip import Profile, Reach

    return Reach(**{**Profile.find(name).reach, **dict(told)})
