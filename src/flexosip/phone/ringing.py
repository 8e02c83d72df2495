"""What became of a ring: the result of `Phone.ring`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["RingOutcome", "RingResult"]


class RingOutcome(enum.StrEnum):
    """What became of a ring."""

    ANSWERED = "answered"
    DECLINED = "declined"
    RANG_OUT = "rang_out"


@dataclass(frozen=True, slots=True)
class RingResult:
    """The result of `Phone.ring`."""

    outcome: RingOutcome
    status: int
    """Final SIP status: 200 answered, 486 or 603 declined, 487 rang out."""
    seconds: float
    """How long it took from dialling."""

    @property
    def answered(self) -> bool:
        """True if somebody took the call."""
        return self.outcome is RingOutcome.ANSWERED

    @property
    def declined(self) -> bool:
        """True if somebody refused it or the line was busy."""
        return self.outcome is RingOutcome.DECLINED
