"""Who may control the bell: allow-list of callers, PIN, lock-out. No I/O and no clock."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Access", "Caller", "Gate", "Verdict"]

TRIES_A_CALL = 3
_TRIES_OVER_CALLS = 6
"""Wrong tries since the last right one after which it is enough too: who hangs up after two tries must not have tries without end."""
_FIRST_LOCK_OUT = 60.0
_LONGEST_LOCK_OUT = 3600.0
_LONGEST_PIN = 32


class Verdict(enum.Enum):
    """What became of a key pressed before the PIN was right."""

    WAIT = "wait"
    """Go on."""
    OPEN = "open"
    """The PIN is right."""
    WRONG = "wrong"
    """It is not; another try is left."""
    HANG_UP = "hang_up"
    """It is not, and that was the last try; nobody gets in for a while."""


class Caller(Protocol):
    """Who calls, as `call.identity` tells it."""

    @property
    def trusted(self) -> bool:
        """Whether it comes from our server."""

    def matches(self, *patterns: str) -> bool:
        """Whether one of the patterns means the caller; what the server asserts counts, where it does."""


class Access:
    """The rules, and the lock-out that all calls share: a caller's number can be forged, so it does not limit the guessing.

    Args:
        pin: None: everybody who may call may also control.
        callers: patterns of who may call, see `Identity.matches`; empty: everybody.
    """

    def __init__(self, pin: str | None = None, callers: tuple[str, ...] = ()) -> None:
        self._pin = pin
        self._callers = callers
        self._failures = 0
        self._wrong = 0
        self._locked_until: float | None = None

    def allows(self, identity: Caller | None, *, has_server: bool) -> bool:
        """Whether this caller may call at all.

        What the server asserts decides; else the From that the server let through. From elsewhere everybody writes into From what he
        likes: a bell with a server believes none of it. A bell without one has nothing else to go by.
        """
        if not self._callers or "*" in self._callers:
            return True
        if identity is None or (has_server and not identity.trusted):
            return False
        return identity.matches(*self._callers)

    def locked_for(self, now: float) -> float:
        """Seconds until the next call is taken; 0 when it would be taken now."""
        return 0.0 if self._locked_until is None else max(0.0, self._locked_until - now)

    def gate(self) -> Gate:
        """The gate of one call."""
        return Gate(self)

    def right(self, typed: str) -> bool:
        """Whether this is the PIN, in constant time."""
        return self._pin is None or hmac.compare_digest(typed.encode(), self._pin.encode())

    @property
    def has_pin(self) -> bool:
        """Whether a PIN is asked for."""
        return self._pin is not None

    def opened(self) -> None:
        """The PIN was right: earlier failures are forgiven."""
        self._failures = 0
        self._wrong = 0
        self._locked_until = None

    def wrong(self) -> bool:
        """The PIN was wrong; True when that was once too often over all calls."""
        self._wrong += 1
        return self._wrong >= _TRIES_OVER_CALLS

    def lock_out(self, now: float) -> float:
        """Nobody gets in for a while, longer each time. Returns the seconds."""
        self._wrong = 0
        seconds: float = min(_FIRST_LOCK_OUT * 2.0 ** min(self._failures, 16), _LONGEST_LOCK_OUT)
        self._failures += 1
        self._locked_until = now + seconds
        return seconds

    def to_store(self, now: float, wall: float) -> dict[str, Any]:
        """What survives a restart: a lock-out must not end by pulling the plug."""
        if not self._failures:
            return {}
        return {"failures": self._failures, "locked_until": wall + self.locked_for(now)}

    def restore(self, stored: Mapping[str, Any], now: float, wall: float) -> None:
        """Take it up again; what cannot be read is passed over."""
        failures, until = stored.get("failures"), stored.get("locked_until")
        if isinstance(failures, int) and not isinstance(failures, bool) and failures > 0:
            self._failures = min(failures, 64)
            if isinstance(until, int | float) and not isinstance(until, bool) and until > wall:
                self._locked_until = now + min(until - wall, _LONGEST_LOCK_OUT)


class Gate:
    """What one call has typed so far."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._typed = ""
        self._tries = TRIES_A_CALL
        self.open = not access.has_pin
        """True once the PIN was right, or when none is asked for."""

    def digit(self, digit: str, now: float) -> Verdict:
        """A key before the gate is open; `#` ends the input."""
        if digit != "#":
            # one more than can be right is kept, so that too long an input stays wrong
            self._typed = (self._typed + digit)[: _LONGEST_PIN + 1]
            return Verdict.WAIT
        typed, self._typed = self._typed, ""
        if self._access.locked_for(now) <= 0 and self._access.right(typed):
            self.open = True
            self._access.opened()
            return Verdict.OPEN
        self._tries -= 1
        too_often = self._access.wrong()
        if self._tries > 0 and not too_often:
            return Verdict.WRONG
        self._access.lock_out(now)
        return Verdict.HANG_UP
