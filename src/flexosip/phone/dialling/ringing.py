"""What became of a ring: the result of `Phone.ring`, target by target."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.errors import Busy, CallFailed, Declined, NoAnswer

if TYPE_CHECKING:
    from flexosip.phone.dialling.ring_group import RingGroup

__all__ = ["AttemptOutcome", "RingAttempt", "RingOutcome", "RingResult", "ring_group"]


class RingOutcome(enum.StrEnum):
    """What became of a ring."""

    ANSWERED = "answered"
    DECLINED = "declined"
    RANG_OUT = "rang_out"


class AttemptOutcome(enum.StrEnum):
    """What became of one target."""

    ANSWERED = "answered"
    """It has the call."""
    DECLINED = "declined"
    """Refused or busy."""
    RANG_OUT = "rang_out"
    """It rang, and nobody came."""
    UNCONFIRMED = "unconfirmed"
    """Answered, but the key was not pressed: a mailbox, or somebody who hung up."""
    ELSEWHERE = "elsewhere"
    """Somebody else was quicker, or the ringing was given up."""
    FAILED = "failed"
    """It could not be rung at all."""


@dataclass(frozen=True, slots=True)
class RingAttempt:
    """One target of a ring."""

    target: str
    """As it was given."""
    outcome: AttemptOutcome
    status: int
    """Final SIP status; 487 if it was given up, 0 if there was none."""
    reason: str
    """Why, in words."""
    seconds: float
    """How long it took from its dialling."""


@dataclass(frozen=True, slots=True)
class RingResult:
    """The result of `Phone.ring`."""

    outcome: RingOutcome
    status: int
    """Final SIP status: 200 answered, 486 or 603 declined, 487 rang out."""
    seconds: float
    """How long it took from dialling."""
    answered_by: str | None = None
    """The target that answered, as it was given."""
    attempts: tuple[RingAttempt, ...] = ()
    """All targets that were dialled, in their order."""

    @property
    def answered(self) -> bool:
        """True if somebody took the call."""
        return self.outcome is RingOutcome.ANSWERED

    @property
    def declined(self) -> bool:
        """True if somebody refused it or the line was busy."""
        return self.outcome is RingOutcome.DECLINED


async def ring_group(group: RingGroup) -> RingResult:
    """Ring until somebody answers, all have refused or the time is up, then hang up.

    Raises:
        CallFailed, AuthenticationError, NetworkError: it could not ring at all. CallEnded: the phone was closed meanwhile.
    """
    started = group.loop.time()
    try:
        call = await group.run()
        outcome, status = RingOutcome.ANSWERED, 200
        await call.hangup()
    except NoAnswer:
        outcome, status = RingOutcome.RANG_OUT, 487
    except (Busy, Declined) as error:
        outcome, status = RingOutcome.DECLINED, error.status
    except CallFailed as error:
        # A phone that gives up by itself after ringing is one more way of ringing out.
        if not any(attempt.outcome is AttemptOutcome.RANG_OUT for attempt in group.attempts):
            raise
        outcome, status = RingOutcome.RANG_OUT, error.status
    return RingResult(outcome, status, group.loop.time() - started, group.answered_by, group.attempts)
