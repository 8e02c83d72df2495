"""Collecting digits, as a machine without a clock.

             ┌──────────── silence, tries left ─────────────┐
             ▼                                              │
    begin ▶ prompting ──prompt_ended──▶ waiting ──silence, last try──▶ done("timeout")
             │ digit (barge-in)            │ digit
             └──────────────▶ entering ◀───┘
                                 │ max_digits, terminator, pause
                                 ▼
                               done("max_digits" | "terminator" | "between")

The driver plays the prompt while `prompting`, hands keys in while `listening`, and calls `handle_timeout` at `next_timeout`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from flexosip.errors import ConfigurationError, LocalProtocolError

__all__ = ["KEYS", "ChoiceCollector", "DigitCollector", "Digits", "Reason"]

KEYS = "0123456789*#ABCD"
"""The sixteen keys of DTMF."""

DEFAULT_BETWEEN = 3.0

Reason = Literal["max_digits", "terminator", "timeout", "between", "choice", "invalid"]


class Digits(str):
    """What the caller entered: a `str` that knows why the entry ended.

    Attributes:
        reason: "max_digits": as many as were wanted; "terminator": the closing key (it is not part of the text);
            "between": too long a pause after a digit; "timeout": no digit at all, the text is "".
            From a menu also "choice": one of its keys; "invalid": a key that it does not have.
    """

    __slots__ = ("reason",)

    reason: Reason

    def __new__(cls, text: str = "", reason: Reason = "timeout") -> Digits:
        digits = super().__new__(cls, text)
        digits.reason = reason
        return digits

    def __repr__(self) -> str:
        return f"Digits({str(self)!r}, reason={self.reason!r})"

    def __getnewargs__(self) -> tuple[str, Reason]:  # type: ignore[override]
        return str(self), self.reason


def _seconds(name: str, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 86400:
        raise ConfigurationError(f"{name}={value!r}: seconds from 0 to 86400, or None to wait as long as the call lasts.")
    return value


class DigitCollector:
    """One entry of digits, with as many tries as the caller is given.

    Args:
        max_digits: the entry is complete with so many.
        timeout: seconds of silence after the prompt before the try is given up; None: no limit.
        between: seconds after a digit before the entry is taken as it is. The default is 3 s.
        terminator: keys that end the entry at once; "" for none.
        tries: how often the prompt is played before silence is the result.
        barge_in: a key cuts the prompt short. Otherwise keys wait until it is over.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    def __init__(
        self,
        *,
        max_digits: int,
        timeout: float | None = 5.0,
        between: float | None = None,
        terminator: str = "#",
        tries: int = 1,
        barge_in: bool = True,
    ) -> None:
        if max_digits < 1:
            raise ConfigurationError(f"max_digits={max_digits!r}: at least one digit is to be collected.")
        if tries < 1:
            raise ConfigurationError(f"tries={tries!r}: at least one try is needed.")
        terminator = (terminator or "").upper()
        if any(key not in KEYS for key in terminator):
            raise ConfigurationError(f"terminator={terminator!r}: keys are {KEYS}.")
        self.timeout = _seconds("timeout", timeout)
        self.between = _seconds("between", DEFAULT_BETWEEN if between is None else between)
        self.max_digits = max_digits
        self.terminator = terminator
        self.tries = tries
        self.barge_in = barge_in
        self.attempt = 0
        """Number of the present try, from 1."""
        self.prompting = False
        """True while the prompt is to be heard; the driver stops it when this turns False."""
        self.result: Digits | None = None
        """What was entered, or None before the end."""
        self._text = ""
        self._deadline: float | None = None

    @property
    def listening(self) -> bool:
        """True when a key may be handed in now; otherwise it is to be kept for later."""
        return self.attempt > 0 and self.result is None and (self.barge_in or not self.prompting)

    def begin(self) -> None:
        """Start the first try: the prompt is due."""
        if self.attempt:
            raise LocalProtocolError("The collection of digits has begun already.")
        self._next_try()

    def prompt_ended(self, now: float) -> None:
        """The prompt was played to its end at `now` (seconds), or there is none: the wait for the first digit begins."""
        if self.prompting:
            self.prompting = False
            self._deadline = None if self.timeout is None else now + self.timeout

    def receive_digit(self, digit: str, now: float) -> None:
        """A key was pressed at `now`. It ends the prompt.

        Raises:
            LocalProtocolError: not now, see `listening`.
        """
        if not self.listening:
            raise LocalProtocolError("No key is awaited now.")
        self.prompting = False
        digit = digit.upper()
        if digit in self.terminator:
            self._finish("terminator")
            return
        self._text += digit
        reason = self._judge(self._text)
        if reason is not None:
            self._finish(reason)
        else:
            self._deadline = None if self.between is None else now + self.between

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, or None."""
        return self._deadline

    def handle_timeout(self, now: float) -> None:
        """Time has passed. Harmless when early."""
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        if self._text:
            self._finish(self._judge_pause(self._text))
        elif self.attempt < self.tries:
            self._next_try()
        else:
            self._finish("timeout")

    def _next_try(self) -> None:
        self.attempt += 1
        self.prompting = True

    def _finish(self, reason: Reason) -> None:
        self.prompting = False
        self._deadline = None
        self.result = Digits(self._text, reason)

    def _judge(self, text: str) -> Reason | None:
        """Why the entry is over after the last digit of `text`, or None."""
        return "max_digits" if len(text) >= self.max_digits else None

    def _judge_pause(self, text: str) -> Reason:
        """What the entry is when a pause follows `text`."""
        return "between"


class ChoiceCollector(DigitCollector):
    """An entry that is one of the keys of a menu; a key may have several digits ("1", "12", "#").

    A key is taken at once when no longer one begins like it, else after a pause of `between` seconds. The first digit that fits no
    key ends the entry as "invalid".

    Args:
        choices: the keys of the menu.
        timeout, between, tries, barge_in: as for `DigitCollector`.
    """

    def __init__(
        self,
        choices: Iterable[str],
        *,
        timeout: float | None = 5.0,
        between: float | None = None,
        tries: int = 1,
        barge_in: bool = True,
    ) -> None:
        self.choices = frozenset(choices)
        super().__init__(
            max_digits=max((len(choice) for choice in self.choices), default=0),
            timeout=timeout,
            between=between,
            terminator="",
            tries=tries,
            barge_in=barge_in,
        )

    def _judge(self, text: str) -> Reason | None:
        if any(choice != text and choice.startswith(text) for choice in self.choices):
            return None
        return self._judge_pause(text)

    def _judge_pause(self, text: str) -> Reason:
        return "choice" if text in self.choices else "invalid"
