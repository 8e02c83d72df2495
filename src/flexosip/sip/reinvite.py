"""Changing a session: our re-INVITE with its collisions, and a 2xx of ours that waits for its ACK.

RFC 3261 §13.3.1.4, §14
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.sip.message import Response
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.invite_changes import ChangingUsage
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.server_transaction import InviteServerTransaction

__all__ = ["OutgoingReinvite", "UnacknowledgedAnswer"]

logger = logging.getLogger(__name__)

_MOST_COLLISIONS = 8
"""491s in a row after which the change is given up; with the random waits even three are rare."""
_PATIENCE = 180.0
"""Seconds that a provisional answer to a re-INVITE is followed by nothing: as long as a proxy waits (Timer C, RFC 3261 §16.6)."""


class UnacknowledgedAnswer:
    """Repeat a 2xx to INVITE until its ACK comes: T1 doubling up to T2, on every transport, for 64*T1.

    The transaction does not do that (RFC 6026), and a reliable transport does not help: the 2xx may be lost behind the next proxy.

    Args:
        usage: is told when no ACK came.
        transaction: sends the answer.
        request: the INVITE or re-INVITE.
        response: the 2xx.
        offered: True if its body is an offer, so that the ACK must bring the answer.
    """

    __slots__ = ("_deadline", "_interval", "_timer", "_transaction", "_usage", "cseq", "offered")

    def __init__(
        self, usage: ChangingUsage, transaction: InviteServerTransaction, request: Request, response: Response, *, offered: bool
    ) -> None:
        core = usage.core
        timers = core.stack.timers
        self._usage = usage
        self._transaction = transaction
        self.cseq = request.cseq.number
        self.offered = offered
        transaction.respond(response)
        self._interval = timers.t1
        self._deadline = core.scheduler.now + timers.long
        self._timer: Timer = core.scheduler.call_later(self._interval, self._repeat)

    def _repeat(self) -> None:
        core = self._usage.core
        now = core.scheduler.now
        if now >= self._deadline:
            self._transaction.settle()
            self._usage.answer_unacknowledged(self)
            return
        self._transaction.repeat()
        self._interval = min(2 * self._interval, core.stack.timers.t2)
        self._timer = core.scheduler.call_at(min(now + self._interval, self._deadline), self._repeat)

    def stop(self) -> None:
        """The ACK came, or the call is over."""
        self._timer.cancel()
        self._transaction.settle()


class OutgoingReinvite:
    """One change of a session that we ask for.

    Args:
        usage: the call.
        body: the offer, or what makes it, or None.
        on_result: see `ChangingUsage.reinvite`.
        headers: further headers.
        on_glare: see `ChangingUsage.reinvite`.
    """

    __slots__ = ("_body", "_collisions", "_headers", "_on_glare", "_on_result", "_outgoing", "_timer", "_usage", "in_progress")

    def __init__(
        self,
        usage: ChangingUsage,
        body: bytes | Callable[[], bytes | None] | None,
        on_result: Callable[[Result], bytes | None],
        headers: tuple[tuple[str, str], ...],
        on_glare: Callable[[], None] | None,
    ) -> None:
        self._usage = usage
        self._body = body
        self._on_result: Callable[[Result], bytes | None] | None = on_result
        self._headers = headers
        self._on_glare = on_glare
        self._outgoing: OutgoingRequest | None = None
        self._timer: Timer | None = None
        self._collisions = 0
        self.in_progress = False
        """True while our INVITE transaction runs; False while we wait to send it (again)."""

    def start(self) -> None:
        """Send it, or wait for the other side's re-INVITE to end (RFC 3261 §14.1)."""
        if self._usage.may_reinvite:
            self._send()

    def resume(self) -> None:
        """The other side's re-INVITE has ended."""
        if not self.in_progress and self._timer is None:
            self._send()

    def _send(self) -> None:
        usage = self._usage
        dialog = usage.dialog
        assert dialog is not None
        body = self._body() if callable(self._body) else self._body
        headers = [*usage.core.capability_headers(), *self._headers]
        request = dialog.create_request(
            "INVITE", contact=usage.local_contact, headers=headers, body=body or b"", content_type="application/sdp"
        )
        flow = usage.flow
        self.in_progress = True
        self._outgoing = usage.core.send_in_dialog(
            dialog,
            request,
            auth=usage.auth,
            on_final=self._on_final,
            on_provisional=self._on_provisional,
            flow=flow,
            trusted=flow.remote[0] if flow is not None else None,
        )

    def _on_final(self, result: Result) -> None:
        usage = self._usage
        self.in_progress = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(result, Response) and result.status < 300:
            self._accepted(result)
            return
        if self._on_result is None:
            return
        if result.status == 491 and self._collisions < _MOST_COLLISIONS:
            self._wait_after_glare()
            return
        usage.reinvite_done()
        self._report(result)
        usage.check_reinvite_result(result)

    def _accepted(self, response: Response) -> None:
        """Acknowledge, also when the call has ended meanwhile: the 2xx would be repeated for ever else."""
        outgoing, usage = self._outgoing, self._usage
        dialog = usage.dialog
        assert dialog is not None and outgoing is not None
        first = self._on_result is not None
        body: bytes | None = None
        if first:
            dialog.update_target(response)
            usage.reinvite_done()
            body = self._report(response)
        usage.core.send_ack(dialog, outgoing.request, outgoing.invite_transaction, usage.flow, body)

    def _report(self, result: Result) -> bytes | None:
        callback, self._on_result = self._on_result, None
        if callback is None:
            return None
        try:
            return callback(result)
        except Exception:
            logger.exception("a handler of a re-INVITE failed")
            return None

    def _wait_after_glare(self) -> None:
        """RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other up to 2 s, in steps of 10 ms."""
        usage = self._usage
        self._collisions += 1
        low, high = (2.1, 4.0) if usage.direction == "outgoing" else (0.0, 2.0)
        delay = round(usage.core.random.uniform(low, high), 2)
        self._timer = usage.core.scheduler.call_later(delay, self._retry)
        if self._on_glare is not None:
            try:
                self._on_glare()
            except Exception:
                logger.exception("a handler of a re-INVITE failed")

    def _retry(self) -> None:
        self._timer = None
        self.start()

    def drop(self) -> None:
        """Stop the timer; nobody is told."""
        self._on_result = None
        if self._timer is not None:
            self._timer.cancel()

    def give_up(self) -> None:
        """The call is over. An INVITE that is out is still waited for, because a 2xx needs its ACK, but not for ever."""
        core = self._usage.core
        if self._timer is not None:
            self._timer.cancel()
        if self.in_progress:
            self._timer = core.scheduler.call_later(core.stack.timers.long, self._no_final)
        self._report(TransactionFailure(487, "Request Terminated"))

    def _on_provisional(self, response: Response) -> None:
        # From here on no transaction timer runs. No person decides about most changes: who needs so long has gone.
        if self._timer is None:
            self._timer = self._usage.core.scheduler.call_later(_PATIENCE, self._no_final)

    def _no_final(self) -> None:
        transaction = self._outgoing.invite_transaction if self._outgoing is not None else None
        if transaction is not None:
            transaction.fail(TransactionFailure(408, "Request Timeout"))
