"""What an account proves itself with: a password, its hash, or a token."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from flexosip.errors import ConfigurationError
from flexosip.phone.values import checked_text
from flexosip.sip.bearer import BearerClient, is_token
from flexosip.sip.digest import ALGORITHMS, DigestClient

__all__ = ["Credentials", "checked_secret", "create_auth"]

_HA1: Final = re.compile(r"(?:([A-Za-z0-9-]+):)?([0-9a-fA-F]{32}|[0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A password, a hash of it or a token; one of the three. None of them is ever shown.

    Raises:
        ConfigurationError: none or several are given, or one cannot be what it should; the text never says the secret.
    """

    password: str | None = field(default=None, repr=False)
    ha1: str | Sequence[str] | None = field(default=None, repr=False)
    """hash of `user:realm:password` in hexadecimal digits: 32 are MD5, 64 SHA-256; `SHA-512-256:...` names another algorithm. Several
    for several algorithms. The user and the realm must be those that the server wants (RFC 7616 §3.4.2)."""
    token: str | Callable[[], str] | None = field(default=None, repr=False)
    """bearer token (RFC 8898), or a function that gives the present one; it leaves over TLS only"""
    algorithms: Sequence[str] = ALGORITHMS
    """digest algorithms that may be answered, without `MD5` for example"""

    def __post_init__(self) -> None:
        if sum(secret is not None for secret in (self.password, self.ha1, self.token)) != 1:
            raise ConfigurationError("Credentials: give one of password, ha1 and token.")
        unknown = [name for name in self.algorithms if name not in ALGORITHMS]
        if unknown or not self.algorithms:
            raise ConfigurationError(f"Credentials(algorithms=...): allowed are {', '.join(ALGORITHMS)}.")
        if self.password is not None:
            checked_secret(self.password)
        if isinstance(self.token, str) and not is_token(self.token):
            raise ConfigurationError("Credentials(token=...): a token consists of letters, digits and -._~+/, with = at its end.")
        hashes_of(self.ha1)


def hashes_of(ha1: str | Sequence[str] | None) -> dict[str, str] | None:
    """HA1 by algorithm.

    Raises:
        ConfigurationError: one is none.
    """
    if ha1 is None:
        return None
    hashes: dict[str, str] = {}
    for text in (ha1,) if isinstance(ha1, str) else ha1:
        match = _HA1.fullmatch(text)
        algorithm = (match[1] or "").upper() or ("MD5" if len(match[2]) == 32 else "SHA-256") if match is not None else ""
        if match is None or algorithm not in ALGORITHMS or (algorithm == "MD5") is not (len(match[2]) == 32):
            raise ConfigurationError(
                "Credentials(ha1=...): 32 hexadecimal digits for MD5, 64 for SHA-256, or SHA-512-256: and 64 digits.",
                advice="Make one with: printf 'user:realm:password' | md5sum",
            )
        hashes[algorithm] = match[2].lower()
    return hashes


def create_auth(
    user: str, credentials: str | Credentials | None, realm: str | None, random: Random, *, secure: bool
) -> DigestClient | None:
    """What answers the challenges of an account's server, None when nothing can.

    Args:
        user: the authentication user. secure: whether the account goes by TLS.

    Raises:
        ConfigurationError: a token for an account that does not.
    """
    if credentials is None:
        return None
    if isinstance(credentials, str):
        checked_secret(credentials)
        credentials = Credentials(credentials)
    realms = frozenset((realm,)) if realm is not None else None
    if credentials.token is not None:
        if not secure:
            raise ConfigurationError(
                "A bearer token leaves over TLS only (RFC 8898 §2.1), and this account does not go by TLS.",
                advice="Use transport='tls' or 'wss', or a sips: address.",
            )
        return BearerClient(credentials.token, realms=realms, random=random)
    return DigestClient(
        user,
        credentials.password or "",
        realms=realms,
        random=random,
        algorithms=credentials.algorithms,
        hashes=hashes_of(credentials.ha1),
    )


def checked_secret(value: str) -> None:
    """Check a password; its text never gets into a message.

    Raises:
        ConfigurationError: a control character is in it.
    """
    try:
        checked_text(value, "")
    except ConfigurationError:
        raise ConfigurationError("The password contains a control character (a line break, for example), which is not allowed.") from None
