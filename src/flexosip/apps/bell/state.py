"""The bell's mind: modes, triggers, pauses. No I/O and no clock: the caller tells the time (monotonic seconds) with every input.

              call in: off → once          key 0, 1, 5, 9: off, once, 5min, forever
    off ───────────────────────────► once ──── trigger: alert ────► off
    5min, forever ──── trigger: alert ────► 5min, forever;  5min ──── 300 s ────► off

A trigger while off stays pending: a mode of 5min or forever that is then chosen is set off by it at once, `once` swallows it, so that who
switches the bell on while leaving is not rung. Behaviour of cowbell (github.com/MarcelWaldvogel/cowbell).
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Announcement", "BellState", "Mode", "ModeChanged", "StateEvent", "Swallowed", "TriggerPending", "Triggered"]

FIVE_MINUTES = 300.0
_WELCOME_PAUSE = 0.5
_STATUS_PAUSE = 0.2
_CONFIRM_PAUSE = 0.3


class Mode(enum.StrEnum):
    """Whether a trigger rings."""

    OFF = "off"
    ONCE = "once"
    FIVE_MINUTES = "5min"
    FOREVER = "forever"


_KEYS = {"0": Mode.OFF, "1": Mode.ONCE, "5": Mode.FIVE_MINUTES, "9": Mode.FOREVER}


@dataclass(frozen=True, slots=True)
class Announcement:
    """A prompt to queue."""

    prompt: str
    """A name of `config.PROMPT_NAMES`."""
    delay: float
    """Seconds of pause before it."""


@dataclass(frozen=True, slots=True)
class ModeChanged:
    """The mode was set; also to what it was before. It is to be kept."""

    mode: Mode
    by: str
    """`call`, `digit`, `trigger`, `time` or `restart`."""


@dataclass(frozen=True, slots=True)
class Triggered:
    """Ring the destinations now, and tell `alert_ended` when that is over."""

    source: str


@dataclass(frozen=True, slots=True)
class Swallowed:
    """A trigger that rings nobody."""

    source: str
    reason: str
    """`once`: it was pending when the bell was switched on; `ringing`: an alert is on; `cool_down`: the last alert is not long ago."""


@dataclass(frozen=True, slots=True)
class TriggerPending:
    """A trigger came while the bell is off."""

    source: str


StateEvent = ModeChanged | Triggered | Swallowed | TriggerPending


class BellState:
    """The machine.

    Args:
        cool_down: seconds after an alert in which triggers are swallowed.
    """

    def __init__(self, *, cool_down: float = 0.0) -> None:
        self._mode = Mode.OFF
        self._until: float | None = None
        self._cool_down = cool_down
        self._cool_until: float | None = None
        self._alerting = False
        self._pending: dict[str, None] = {}
        self._events: deque[StateEvent] = deque()

    @property
    def mode(self) -> Mode:
        """The present mode; exact after an input with the present time."""
        return self._mode

    @property
    def alerting(self) -> bool:
        """True from `Triggered` to `alert_ended`."""
        return self._alerting

    # ---- inputs

    def trigger(self, source: str, now: float) -> None:
        """An edge: motion, a button, Return."""
        self.handle_timeout(now)
        if self._mode is Mode.OFF:
            if source not in self._pending:
                self._pending[source] = None
                self._events.append(TriggerPending(source))
            return
        if self._alerting:
            self._events.append(Swallowed(source, "ringing"))
        elif self._cool_until is not None and now < self._cool_until:
            self._events.append(Swallowed(source, "cool_down"))
        else:
            self._fire(source)

    def release(self, source: str, now: float) -> None:
        """The level that made the edge has gone: the trigger is no longer pending."""
        self.handle_timeout(now)
        self._pending.pop(source, None)

    def call_in(self, now: float) -> list[Announcement]:
        """Somebody has called and may hear: what to say."""
        self.handle_timeout(now)
        status = self._mode.value
        if self._mode is Mode.OFF:
            self._set(Mode.ONCE, "call", now)
            status = "on"
        return [Announcement("welcome", _WELCOME_PAUSE), Announcement(status, _STATUS_PAUSE)]

    def digit(self, digit: str, now: float) -> list[Announcement]:
        """The caller pressed a key (which always ends what is being said): what to say."""
        self.handle_timeout(now)
        mode = _KEYS.get(digit)
        if mode is None:
            return []
        self._set(mode, "digit", now)
        return [Announcement(mode.value, _CONFIRM_PAUSE)]

    def alert_ended(self, now: float) -> None:
        """The destinations have been rung: answered, declined, or the time was up."""
        self.handle_timeout(now)
        self._alerting = False
        if self._cool_down > 0:
            self._cool_until = now + self._cool_down

    def handle_timeout(self, now: float) -> None:
        """Let five minutes end when they are over. Harmless when early."""
        if self._until is not None and now >= self._until:
            self._set(Mode.OFF, "time", now)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` has something to do."""
        return self._until

    def poll_event(self) -> StateEvent | None:
        """The next thing to do or tell, None when there is none."""
        return self._events.popleft() if self._events else None

    # ---- what survives a restart

    def to_store(self, now: float, wall: float) -> dict[str, Any]:
        """The mode as plain data; `wall` is the time since 1970, since a monotonic clock starts anew with the machine."""
        stored: dict[str, Any] = {"mode": self._mode.value}
        if self._until is not None:
            stored["until"] = wall + (self._until - now)
        return stored

    def restore(self, stored: Mapping[str, Any], now: float, wall: float) -> None:
        """Take the mode up again; what cannot be read counts as off. Five minutes that have passed are over."""
        try:
            mode = Mode(stored.get("mode", "off"))
        except ValueError:
            mode = Mode.OFF
        until = stored.get("until")
        if mode is Mode.FIVE_MINUTES:
            # A clock that was set back meanwhile must not make more than five minutes of it.
            left = min(float(until) - wall, FIVE_MINUTES) if isinstance(until, int | float) and not isinstance(until, bool) else 0.0
            if not left > 0:
                mode = Mode.OFF
            else:
                self._until = now + left
        self._mode = mode
        if mode is not Mode.OFF:
            self._events.append(ModeChanged(mode, "restart"))

    # ---- inside

    def _set(self, mode: Mode, by: str, now: float) -> None:
        self._mode = mode
        self._until = now + FIVE_MINUTES if mode is Mode.FIVE_MINUTES else None
        self._events.append(ModeChanged(mode, by))
        if mode is Mode.OFF:
            return
        pending, self._pending = list(self._pending), {}
        for source in pending:
            if mode is Mode.ONCE:
                self._events.append(Swallowed(source, "once"))
            else:
                self.trigger(source, now)

    def _fire(self, source: str) -> None:
        self._alerting = True
        self._events.append(Triggered(source))
        if self._mode is Mode.ONCE:
            self._mode = Mode.OFF
            self._events.append(ModeChanged(Mode.OFF, "trigger"))
