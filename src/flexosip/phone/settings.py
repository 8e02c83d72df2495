"""Checks of what a `Phone` is made of."""

from __future__ import annotations

from flexosip.errors import ConfigurationError
from flexosip.phone.account import TRANSPORTS

__all__ = ["check_settings"]


def check_settings(srtp: str, transport: str | None, media_timeout: float | None) -> None:
    """Check the arguments of a phone that have a meaning of their own.

    Raises:
        ConfigurationError: one is out of its range.
    """
    if srtp != "off":
        raise ConfigurationError(f"srtp={srtp!r}: this version sends sound unencrypted only; allowed is 'off'.")
    if transport is not None and transport not in TRANSPORTS:
        raise ConfigurationError(f"transport={transport!r}: allowed are {' and '.join(TRANSPORTS)}.")
    if media_timeout is not None and media_timeout < 1:
        raise ConfigurationError(f"media_timeout={media_timeout}: at least 1 second, or None for no limit.")
