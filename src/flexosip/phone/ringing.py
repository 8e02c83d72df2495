"""What became of a ring: the result of `Phone.ring`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.errors import Busy, CallFailed, Declined, NoAnswer

if TYPE_CHECKING:
    from flexosip.phone.call import Call

__all__ = ["RingOutcome", "RingResult", "ring_until"]


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


async def ring_until(call: Call, duration: float) -> RingResult:
    """Let `call` ring for `duration` seconds (0: for ever) or until it is answered or refused, then hang up.

    Raises:
        CallFailed, AuthenticationError, NetworkError: it could not ring at all. CallEnded: the phone was closed meanwhile.
    """
    loop = call._session.loop
    started = loop.time()
    try:
        await call.wait_answered(duration if duration > 0 else None)
        outcome, status = RingOutcome.ANSWERED, 200
        await call.hangup()
    except NoAnswer:
        outcome, status = RingOutcome.RANG_OUT, 487
    except (Busy, Declined) as error:
        outcome, status = RingOutcome.DECLINED, error.status
    except CallFailed as error:
        # A phone that gives up by itself after ringing is one more way of ringing out.
        if not call._session.rang or error.status not in (408, 480, 487):
            raise
        outcome, status = RingOutcome.RANG_OUT, error.status
    return RingResult(outcome, status, loop.time() - started)
