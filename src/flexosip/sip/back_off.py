"""How long to wait after failures (RFC 5626 §4.5), and how far a Retry-After is believed (RFC 3261 §20.33)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flexosip.sip.message import Response, seconds_of

if TYPE_CHECKING:
    from flexosip.sip.stack import RandomSource
    from flexosip.sip.transaction import TransactionFailure

__all__ = ["back_off", "no_sooner_than", "retry_after"]

_BASE: Final = 5.0
"""Seconds: upper bound of the first wait; it doubles with each further failure in a row."""
_LONGEST: Final = 300.0
_LONGEST_RETRY_AFTER: Final = 3600.0


def back_off(failures: int, random: RandomSource, bound: float | None = None) -> float:
    """Seconds until the next try after so many failures in a row, at least 1: a random time from half of a bound to the bound.

    Args:
        bound: where the number of failures does not decide.
    """
    if bound is None:
        bound = min(_LONGEST, _BASE * 2.0 ** min(failures - 1, 16))
    return random.uniform(bound / 2, bound)


def retry_after(result: Response | TransactionFailure) -> float | None:
    """Seconds of a Retry-After, None if there is none that can be read."""
    told = seconds_of(result.headers.get("Retry-After")) if isinstance(result, Response) else None
    return None if told is None else float(told)


def no_sooner_than(wait: float, told: float | None, random: RandomSource) -> float:
    """The wait, or what a Retry-After asks for if that is longer, but never more than an hour, and not all at the same moment."""
    return wait if told is None else max(wait, min(told, _LONGEST_RETRY_AFTER) + random.uniform(0.0, 1.0))
