"""Reliable provisional responses: 1xx that are repeated until a PRACK acknowledges them, from both sides.

`ReliableProvisionals` sends them, one at a time, and says when the 2xx has to wait; `ReliableReceipts` tells which of those received
are new and in order. The calls that use them are in `flexosip.sip.invite_server` and `flexosip.sip.invite_client`.

    queued --sent--> UNACKNOWLEDGED --PRACK--> the next one, or the 2xx that waited
                        |   repeated at T1, 2*T1, 4*T1...
                        `--64*T1--> the call is refused with 504

RFC 3262
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import parse_scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import InviteServerTransaction

__all__ = ["OPTION_TAG", "POLICIES", "RAck", "ReliableProvisionals", "ReliableReceipts", "reliable_sequence"]

OPTION_TAG = "100rel"
POLICIES = ("off", "supported", "required")
"""When our own 1xx are reliable: only for a caller that requires it; for everyone who supports it; for everyone, or no call at all."""

_RACK = re.compile(r"([0-9]{1,10})[ \t]+([0-9]{1,10})[ \t]+([-.!%*_+`'~A-Za-z0-9]+)")
_LARGEST = 2**32 - 1
_MOST_FORKS = 256
"""Early dialogs of one INVITE whose numbers are kept: four times as many as there may be at a time, since some end (199)."""


@dataclass(frozen=True, slots=True)
class RAck:
    """What a PRACK acknowledges (RFC 3262 §7.2)."""

    rseq: int
    """RSeq of the provisional response, 1 to 2**32 - 1."""
    cseq: int
    """CSeq of the request that it answers."""
    method: str

    @classmethod
    def of(cls, prack: Request) -> RAck:
        """The RAck of a PRACK.

        Raises:
            SipParseError: it is missing or malformed.
        """
        match = _RACK.fullmatch((prack.headers.get("RAck") or "").strip())
        if match is None or not 1 <= int(match[1]) <= _LARGEST or int(match[2]) > _LARGEST:
            raise SipParseError("Missing or malformed RAck")
        return cls(int(match[1]), int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def reliable_sequence(response: Response) -> int | None:
    """RSeq of a 101-199 that wants a PRACK; None for any other response, and where the number cannot be read."""
    headers = response.headers
    if not 100 < response.status < 200 or "RSeq" not in headers or OPTION_TAG not in response.require:
        return None
    try:
        return parse_scalar((headers.get("RSeq") or "").strip(), _LARGEST) or None
    except SipParseError:
        return None


class ReliableReceipts:
    """Which reliable 1xx to our INVITE are new: in each early dialog one after the other (RFC 3262 §4)."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[tuple[int, str], int] = {}

    def take(self, response: Response, rseq: int) -> bool:
        """True if `response` is the first of its dialog or the next one; others are neither processed nor acknowledged."""
        key = (response.cseq.number, response.to.tag or "")
        last = self._last.get(key)
        if last is not None and rseq != last + 1:
            return False
        if last is None:
            # What was received for an earlier INVITE of the call is over; and more forks than that are no phones.
            self._last = {known: number for known, number in self._last.items() if known[0] == key[0]}
            if len(self._last) >= _MOST_FORKS:
                return False
        self._last[key] = rseq
        return True


class ReliableProvisionals:
    """The reliable 1xx of one incoming call.

    Args:
        core: gives time, timers and randomness.
        transaction: of the INVITE; sends and repeats.
        on_timeout: called when no PRACK has come for 64*T1.
    """

    __slots__ = (
        "_core", "_cseq", "_current", "_deadline", "_interval", "_late", "_on_timeout", "_queue", "_rseq", "_timer", "_transaction",
    )  # fmt: skip

    def __init__(self, core: UserAgentCore, transaction: InviteServerTransaction, on_timeout: Callable[[], None]) -> None:
        self._core = core
        self._transaction = transaction
        self._on_timeout = on_timeout
        self._cseq = transaction.request.cseq.number
        # §3: 1 to 2**31 - 1, so that there is room above.
        self._rseq = int(core.random.uniform(1, 2**31 - 1))
        self._queue: deque[tuple[Response, bool]] = deque()
        self._current: bool | None = None
        self._late: int | None = None
        self._timer: Timer | None = None
        self._interval = self._deadline = 0.0

    @property
    def must_wait(self) -> bool:
        """True while the 2xx must be held back: a session description is not acknowledged yet (§3)."""
        return self._current is True or any(described for _, described in self._queue)

    def send(self, response: Response, *, described: bool) -> None:
        """Send a 101-199 as soon as the one before is acknowledged.

        Args:
            described: it carries a session description.
        """
        response.headers.add("Require", OPTION_TAG)
        self._queue.append((response, described))
        self.send_next()

    def send_next(self) -> None:
        """Send what waits, unless something is unacknowledged."""
        if self._current is not None or not self._queue:
            return
        response, self._current = self._queue.popleft()
        response.headers.set("RSeq", str(self._rseq))
        timers = self._core.stack.timers
        self._transaction.respond(response)
        self._interval = timers.t1
        self._deadline = self._core.scheduler.now + timers.long
        self._timer = self._core.scheduler.call_later(self._interval, self._repeat)

    def _repeat(self) -> None:
        now = self._core.scheduler.now
        if now >= self._deadline:
            self.stop()
            self._on_timeout()
            return
        self._transaction.repeat()
        self._interval *= 2
        self._timer = self._core.scheduler.call_at(min(now + self._interval, self._deadline), self._repeat)

    def acknowledge(self, rack: RAck) -> bool:
        """A PRACK came; False if it acknowledges nothing that waits for it (481)."""
        if rack.cseq != self._cseq or rack.method != "INVITE":
            return False
        if rack.rseq == self._late:
            self._late = None
            return True
        if self._current is None or rack.rseq != self._rseq:
            return False
        self._cancel_timer()
        self._current = None
        self._rseq += 1
        return True

    def stop(self) -> None:
        """The INVITE has its final response: nothing is repeated or sent any more, but a PRACK on its way is still right (§3)."""
        self._cancel_timer()
        self._queue.clear()
        if self._current is not None:
            self._late, self._current = self._rseq, None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
