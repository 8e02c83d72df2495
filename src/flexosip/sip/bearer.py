"""Bearer tokens: the client's side of challenges that want a token of an authorization server instead of a password.

RFC 8898, RFC 6750
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from random import Random
from typing import Final

from flexosip.sip.digest import MAX_CHALLENGES, DigestClient, parse_credentials
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request, Response

__all__ = ["BearerClient", "is_token"]

logger = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")


def is_token(text: str) -> bool:
    """Whether a text can be sent as a token (RFC 6750 §2.1)."""
    return _TOKEN.fullmatch(text) is not None


class BearerClient(DigestClient):
    """The token of one account; it stands where a `DigestClient` does.

    It leaves over TLS only (RFC 8898 §2.1), and only to a server that has asked for a bearer token: whoever gets it can use it.

    Args:
        token: the token, or what gives the present one: it is asked again when a server does not accept the last one any more.
        realms: the realms that may have it; None: any.
        random: of the phone.
    """

    secure_only = True

    def __init__(self, token: str | Callable[[], str], *, realms: frozenset[str] | None = None, random: Random) -> None:
        super().__init__("", "", realms=realms, random=random)
        self._source = token
        self._asked: dict[tuple[bool, str, bool], None] = {}
        self._token = ""
        self._refused = ""

    def __repr__(self) -> str:
        return "<BearerClient>"

    def challenged(self, response: Response, request: Request) -> bool:
        """Learn from a 401 or 407 to `request`; True if another try with a token makes sense: a token is offered once."""
        registering = request.method == "REGISTER"
        known = False
        for proxy, realm in _bearer_challenges(response):
            if self.realms is None or realm in self.realms:
                known = True
                self._asked.pop((proxy, realm, registering), None)
                self._asked[proxy, realm, registering] = None
                while len(self._asked) > MAX_CHALLENGES:
                    del self._asked[next(iter(self._asked))]
        if not known:
            return False
        sent = "Authorization" in request.headers or "Proxy-Authorization" in request.headers
        if sent:
            self._refused = self._token
        token = self._fetch()
        if not token or (sent and token == self._refused):
            return False
        self._token = token
        return True

    def _fetch(self) -> str:
        try:
            token = self._source() if callable(self._source) else self._source
        except Exception:
            logger.exception("the function that gives the token failed")
            return ""
        if not isinstance(token, str) or not is_token(token):
            logger.error("the function that gives the token gave none")
            return ""
        return token

    def authorize(self, request: Request) -> None:
        """Put the token into `request` for whoever asked for it, in place of what it carries."""
        request.headers.remove("Authorization")
        request.headers.remove("Proxy-Authorization")
        if not self._token:
            return
        registering = request.method == "REGISTER"
        for name in sorted({"Proxy-Authorization" if proxy else "Authorization" for proxy, _, of in self._asked if of is registering}):
            request.headers.add(name, f"Bearer {self._token}")


def _bearer_challenges(response: Response) -> list[tuple[bool, str]]:
    """(from a proxy, realm) of each Bearer challenge of a 401 or 407."""
    found = []
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        for line in response.headers.get_lines(name)[:MAX_CHALLENGES]:
            try:
                parsed = parse_credentials(line)
            except SipParseError:
                continue
            found += [(name[0] == "P", values.get("realm", "")) for scheme, values in parsed if scheme == "bearer"]
    return found[:MAX_CHALLENGES]
