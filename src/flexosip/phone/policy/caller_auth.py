"""Callers who have to prove who they are: strangers' requests are challenged (RFC 3261 §22.2, RFC 7616, RFC 8760).

Nothing is kept of a challenge: the nonce carries its time under a key of this phone. Known and unknown users get the same answer after
the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flexosip.sip.digest import DigestServer, Verified

if TYPE_CHECKING:
    from random import Random

    from flexosip.phone.policy.callers import Callers
    from flexosip.sansio import Scheduler
    from flexosip.sip.message import Request

__all__ = ["CallerAuth"]


class CallerAuth:
    """Challenges and their answers.

    Args:
        callers: who may call, with users and passwords.
        realm: shown by phones when they ask for the password, unless `callers` names another.
        scheduler: gives the time. random: of the phone.
    """

    def __init__(self, callers: Callers, realm: str, *, scheduler: Scheduler, random: Random) -> None:
        users = callers.require_auth
        assert users is not None
        find: Callable[[str], str | None] = users.get if isinstance(users, Mapping) else users
        self._server = DigestServer(callers.realm or realm, find, scheduler=scheduler, random=random, algorithms=callers.algorithms)
        self._verified: tuple[Request, str] | None = None

    def check(self, request: Request) -> tuple[tuple[str, str], ...] | None:
        """None if the request proves who it is from, else the headers of a 401."""
        result = self._server.verify(request)
        if isinstance(result, Verified):
            self._verified = (request, result.username)
            return None
        return tuple((self._server.header, value) for value in self._server.challenge(stale=result.stale))

    def guessed(self, request: Request) -> bool:
        """Whether it brought credentials at all: wrong ones are somebody who guesses, or has mistyped."""
        return "Authorization" in request.headers

    def user_of(self, request: Request) -> str | None:
        """Who has proved to be the sender of the request that was let in last."""
        verified = self._verified
        return verified[1] if verified is not None and verified[0] is request else None
