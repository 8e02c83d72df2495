"""Checks of what a `Phone` is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from flexosip.errors import ConfigurationError
from flexosip.net.tls import TlsSettings
from flexosip.phone.account import check_transport

__all__ = ["check_settings", "given_or_default", "tls_settings", "tuple_of"]

S = TypeVar("S")


def check_settings(
    srtp: str, transport: str | None, media_timeout: float | None, *, account: bool, secrets: tuple[object, ...]
) -> None:
    """Check the arguments of a phone that have a meaning of their own.

    Args:
        account: whether there is one. secrets: what only an account can use.

    Raises:
        ConfigurationError: one is out of its range.
    """
    if not account and any(secret is not None for secret in secrets):
        raise ConfigurationError("A password, auth_user or registrar needs an account: give aor='sip:user@host' first.")
    if srtp != "off":
        raise ConfigurationError(f"srtp={srtp!r}: this version sends sound unencrypted only; allowed is 'off'.")
    check_transport(transport)
    if media_timeout is not None and media_timeout < 1:
        raise ConfigurationError(f"media_timeout={media_timeout}: at least 1 second, or None for no limit.")


def tls_settings(whole: TlsSettings | None, ca: str | Path | None, certificate: str | Path | None, key: str | Path | None) -> TlsSettings:
    """The TLS settings, given whole or as single files.

    Raises:
        ConfigurationError: both, or they do not fit together.
    """
    if whole is None:
        return TlsSettings(ca=ca, certificate=certificate, key=key)
    whole = given_or_default(whole, TlsSettings, "tls")
    if (ca, certificate, key) != (None, None, None):
        raise ConfigurationError("Give the TLS files in tls=TlsSettings(...), or as tls_ca, tls_certificate and tls_key; not both.")
    return whole


def given_or_default(value: S | None, kind: type[S], name: str) -> S:
    """A group of settings; its defaults for None.

    Raises:
        ConfigurationError: it is of another type.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name}={value!r}: give {kind.__name__}(...) of flexosip, or nothing.")
    return value


def tuple_of(value: Sequence[str] | str) -> tuple[str, ...]:
    """A text, or several."""
    return (value,) if isinstance(value, str) else tuple(value)
