"""Changing a session: our re-INVITE and UPDATE with their collisions, and a 2xx of ours that waits for its ACK.

RFC 3261 §13.3.1.4, §14; RFC 3311
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Response, parse_scalar
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.invite_changes import ChangingUsage
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.server_transaction import InviteServerTransaction

__all__ = ["OutgoingChange", "OutgoingReinvite", "OutgoingUpdate", "UnacknowledgedAnswer"]

logger = logging.getLogger(__name__)

_MOST_COLLISIONS = 8
"""491s in a row after which the change is given up; with the random waits even three are rare."""
_LONGEST_RETRY_AFTER = 10
"""Seconds: the largest that RFC 3261 §14.2 lets a side ask for that is in the middle of another change."""
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


class OutgoingChange:
    """One change of a session that we ask for; base of `OutgoingReinvite` and `OutgoingUpdate`.

    Args:
        usage: the call.
        dialog: the dialog of the call that it is for.
        body: the offer, or what makes it, or None.
        on_result: see `ChangingUsage.reinvite`.
        headers: further headers.
        on_glare: see `ChangingUsage.reinvite`.
    """

    __slots__ = (
        "_body", "_collisions", "_dialog", "_headers", "_on_glare", "_on_result", "_outgoing", "_retried", "_timer", "_usage",
        "in_progress",
    )  # fmt: skip

    method = ""

    def __init__(
        self,
        usage: ChangingUsage,
        dialog: Dialog,
        body: bytes | Callable[[], bytes | None] | None,
        on_result: Callable[[Result], bytes | None],
        headers: tuple[tuple[str, str], ...],
        on_glare: Callable[[], None] | None,
    ) -> None:
        self._usage = usage
        self._dialog = dialog
        self._body = body
        self._on_result: Callable[[Result], bytes | None] | None = on_result
        self._headers = headers
        self._on_glare = on_glare
        self._outgoing: OutgoingRequest | None = None
        self._timer: Timer | None = None
        self._collisions = 0
        self._retried = False
        self.in_progress = False
        """True while our transaction runs; False while we wait to send it (again)."""

    def start(self) -> None:
        """Send it, or wait until nothing stands against it."""
        if self._may_send():
            self._send()

    def resume(self) -> None:
        """The other side's change has ended."""
        if not self.in_progress and self._timer is None and self._may_send():
            self._send()

    def _may_send(self) -> bool:
        raise NotImplementedError

    def _done(self) -> None:
        raise NotImplementedError

    def _send(self) -> None:
        usage = self._usage
        body = self._body() if callable(self._body) else self._body
        headers = [*usage.core.capability_headers(), *usage.timer_headers(self._dialog), *self._headers]
        request = self._dialog.create_request(
            self.method, contact=usage.local_contact, headers=headers, body=body or b"", content_type="application/sdp"
        )
        flow = usage.flow
        self.in_progress = True
        self._outgoing = usage.core.send_in_dialog(
            self._dialog,
            request,
            auth=usage.auth,
            on_final=self._on_final,
            on_provisional=self._on_provisional,
            flow=flow,
            trusted=flow.remote[0] if flow is not None else None,
        )

    def _on_provisional(self, response: Response) -> None:
        """Nothing to do."""

    def _on_final(self, result: Result) -> None:
        usage = self._usage
        self.in_progress = False
        self._stop_timer()
        if isinstance(result, Response) and result.status < 300:
            if self._on_result is not None:
                self._dialog.update_target(result)
                usage.change_accepted(self._dialog, result)
            self._accepted(result)
            return
        if self._on_result is None:
            return
        if isinstance(result, Response) and self._again(result):
            return
        self._done()
        self._report(result)
        usage.change_refused(self._dialog, result, by_update=self.method == "UPDATE")

    def _again(self, response: Response) -> bool:
        """True if the refusal asks for another try: a collision, a change of theirs in progress, a session interval too small."""
        usage = self._usage
        delay: float | None = None
        if response.status == 491 and self._collisions < _MOST_COLLISIONS:
            # RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other up to 2 s, in steps of 10 ms.
            self._collisions += 1
            low, high = (2.1, 4.0) if usage.direction == "outgoing" else (0.0, 2.0)
            delay = round(usage.core.random.uniform(low, high), 2)
        elif response.status == 500 and not self._retried:
            self._retried = True
            delay = _retry_after(response)
        elif usage.session_timer is not None and usage.session_timer.raise_minimum(response):
            delay = 0.0
        if delay is None:
            return False
        self._timer = usage.core.scheduler.call_later(delay, self._retry)
        if self._on_glare is not None:
            try:
                self._on_glare()
            except Exception:
                logger.exception("a handler of a %s failed", self.method)
        return True

    def _retry(self) -> None:
        self._timer = None
        self.start()

    def _accepted(self, response: Response) -> None:
        raise NotImplementedError

    def _report(self, result: Result) -> bytes | None:
        callback, self._on_result = self._on_result, None
        if callback is None:
            return None
        try:
            return callback(result)
        except Exception:
            logger.exception("a handler of a %s failed", self.method)
            return None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drop(self) -> None:
        """Stop the timer; nobody is told."""
        self._on_result = None
        self._stop_timer()

    def give_up(self) -> None:
        """The call is over; who waits for the outcome is told."""
        self._stop_timer()
        self._report(TransactionFailure(487, "Request Terminated"))


class OutgoingReinvite(OutgoingChange):
    """A change by re-INVITE (RFC 3261 §14.1)."""

    __slots__ = ("_early_answer",)

    method = "INVITE"

    def _send(self) -> None:
        self._early_answer: Response | None = None
        super()._send()

    def _may_send(self) -> bool:
        return self._usage.may_reinvite

    def _done(self) -> None:
        self._usage.reinvite_done()

    def _accepted(self, response: Response) -> None:
        """Acknowledge, also when the call has ended meanwhile: the 2xx would be repeated for ever else."""
        outgoing, usage = self._outgoing, self._usage
        assert outgoing is not None
        body: bytes | None = None
        if self._on_result is not None:
            self._done()
            # An answer in a reliable 1xx is the answer; the 2xx then brings none (RFC 3262 §5).
            body = self._report(response if response.body or self._early_answer is None else self._early_answer)
        usage.core.send_ack(self._dialog, outgoing.request, outgoing.invite_transaction, usage.flow, body)

    def give_up(self) -> None:
        """The call is over. An INVITE that is out is still waited for, because a 2xx needs its ACK, but not for ever."""
        super().give_up()
        core = self._usage.core
        if self.in_progress:
            self._timer = core.scheduler.call_later(core.stack.timers.long, self._no_final)

    def _on_provisional(self, response: Response) -> None:
        # From here on no transaction timer runs. No person decides about most changes: who needs so long has gone.
        if self._usage.reinvite_provisional(self._dialog, response) and response.body and self._early_answer is None:
            answer = response.copy()
            answer.status, answer.reason = 200, "OK"
            self._early_answer = answer
        if self._timer is None:
            self._timer = self._usage.core.scheduler.call_later(_PATIENCE, self._no_final)

    def _no_final(self) -> None:
        transaction = self._outgoing.invite_transaction if self._outgoing is not None else None
        if transaction is not None:
            transaction.fail(TransactionFailure(408, "Request Timeout"))


class OutgoingUpdate(OutgoingChange):
    """A change by UPDATE, also before the answer, or a refresh without a body (RFC 3311 §5.1)."""

    __slots__ = ()

    method = "UPDATE"

    def _may_send(self) -> bool:
        return self._body is None or self._usage.may_offer_update

    def _done(self) -> None:
        self._usage.update_done()

    def _accepted(self, response: Response) -> None:
        self._done()
        self._report(response)


def _retry_after(response: Response) -> float | None:
    """Seconds after which a side that was in the middle of a change wants to be asked again; None for longer ones."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = parse_scalar(value.partition(";")[0].partition("(")[0].strip(), 2**32 - 1)
    except SipParseError:
        return None
    return float(seconds) if seconds <= _LONGEST_RETRY_AFTER else None
