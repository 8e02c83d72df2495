"""The client side of a transaction: one request, any number of provisional responses, one final response.

It sends and repeats the request, matches nothing itself (the stack does) and tells each response that matters. It owns
no socket and no clock.

    INVITE                 CALLING --1xx--> PROCEEDING             timers A, B in CALLING
                              |                 |
                              +---2xx---> ACCEPTED --M--> TERMINATED
                              +-300-699-> COMPLETED --D--> TERMINATED   (answers each with ACK)
    other requests         TRYING --1xx--> PROCEEDING              timers E, F in both
                              +---200-699--> COMPLETED --K--> TERMINATED

RFC 3261 §17.1, RFC 6026 §7.2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.sip.headers import Headers
from flexosip.sip.message import Request
from flexosip.sip.transaction import TransactionFailure, TransactionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Response
    from flexosip.sip.transaction import TransactionLayer

__all__ = ["ClientTransaction", "InviteClientTransaction", "NonInviteClientTransaction", "create_ack"]

_CALLING = TransactionState.CALLING
_TRYING = TransactionState.TRYING
_PROCEEDING = TransactionState.PROCEEDING
_COMPLETED = TransactionState.COMPLETED
_ACCEPTED = TransactionState.ACCEPTED
_TERMINATED = TransactionState.TERMINATED


class ClientTransaction:
    """Carry one request to its final response. Made by `SipStack.send_request`.

    Args:
        layer: the stack.
        request: with its Via; it must not be changed any more.
        flow: where it goes.
        key: what the stack knows the transaction by.
        data: the request as bytes.
        on_response: called with each provisional response and with the final one.
        on_failure: called once instead of a final response.
    """

    __slots__ = (
        "_data", "_deadline", "_impatience", "_interval", "_layer", "_on_failure", "_on_response", "_timer", "expires", "flow",
        "key", "request", "state",
    )  # fmt: skip

    def __init__(
        self,
        layer: TransactionLayer,
        request: Request,
        flow: Flow,
        key: tuple[str, str],
        data: bytes,
        *,
        on_response: Callable[[Response], None],
        on_failure: Callable[[TransactionFailure], None],
    ) -> None:
        self._layer = layer
        self.request: Request | None = request
        """The request; None once only retransmissions are absorbed."""
        self.flow = flow
        self.key = key
        self.state = TransactionState.TRYING
        self._data = data
        self._on_response: Callable[[Response], None] | None = on_response
        self._on_failure: Callable[[TransactionFailure], None] | None = on_failure
        self._timer: Timer | None = None
        self._impatience: Timer | None = None
        self._interval = 0.0
        self._deadline = 0.0
        self.expires = 0.0

    def start(self) -> None:
        """Send the request for the first time."""
        layer = self._layer
        scheduler = layer.scheduler
        self._deadline = scheduler.now + layer.timers.long
        layer.transmit(self.flow, self._data)
        if self.flow.reliable:
            # Timers A and E do not run; only B or F does.
            self._data = b""
            self._timer = scheduler.call_at(self._deadline, self._repeat)
        else:
            self._interval = layer.timers.t1
            self._timer = scheduler.call_later(self._interval, self._repeat)

    def _repeat(self) -> None:
        """Timers A, E (repeat) and B, F (give up) in one."""
        layer = self._layer
        now = layer.scheduler.now
        if now >= self._deadline:
            self.fail(TransactionFailure(408, "Request Timeout"))
            return
        layer.transmit(self.flow, self._data)
        self._interval = self._next_interval()
        self._timer = layer.scheduler.call_at(min(now + self._interval, self._deadline), self._repeat)

    def _next_interval(self) -> float:
        raise NotImplementedError

    def receive_response(self, response: Response) -> None:
        """A response that matched (RFC 3261 §17.1.3)."""
        raise NotImplementedError

    @property
    def is_pending(self) -> bool:
        """True until a final response or a failure."""
        return self.state in (_CALLING, _TRYING, _PROCEEDING)

    def fail(self, failure: TransactionFailure) -> None:
        """End without a final response: time-out, transport error (RFC 3261 §17.1.4), or given up."""
        if not self.is_pending:
            return
        callback = self._on_failure
        self.terminate()
        if callback is not None:
            callback(failure)

    def limit_silence(self, seconds: float, on_silence: Callable[[], None]) -> None:
        """Call `on_silence` unless there is some response before: another server is to be tried then."""
        self._impatience = self._layer.scheduler.call_later(seconds, on_silence)

    def accept_silence(self) -> None:
        """Something came, or nobody is to be tried any more."""
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def abandon(self) -> None:
        """Nobody wants the outcome any more; the transaction still obeys its timers."""
        self._on_response = _ignore_response
        self._on_failure = None

    def terminate(self) -> None:
        """End now without telling anybody; harmless when ended already."""
        if self.state is _TERMINATED:
            return
        was_pending = self.is_pending
        self.state = _TERMINATED
        self._cancel_timer()
        self.accept_silence()
        self._forget()
        if was_pending:
            self._layer.client_settled()
        self._layer.remove_client(self.key)

    def _forget(self) -> None:
        self.request = None
        self._data = b""
        self._on_response = None
        self._on_failure = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class NonInviteClientTransaction(ClientTransaction):
    """RFC 3261 §17.1.2."""

    __slots__ = ()

    def _next_interval(self) -> float:
        t2 = self._layer.timers.t2
        return t2 if self.state is _PROCEEDING else min(2 * self._interval, t2)

    def receive_response(self, response: Response) -> None:
        """Pass up provisional responses and the first final one; absorb what follows for Timer K."""
        if self.state not in (_TRYING, _PROCEEDING):
            return
        callback = self._on_response
        if response.status < 200:
            self.state = _PROCEEDING
        else:
            self.state = _COMPLETED
            self._cancel_timer()
            self._forget()
            self._layer.client_settled()
            if self.flow.reliable:
                self.terminate()
            else:
                self._layer.linger_short.add(self)
        if callback is not None:
            callback(response)


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 §17.1.1 with RFC 6026: a 2xx ends nothing, because other forks may answer too and each 2xx may be repeated."""

    __slots__ = ("_acks",)

    def start(self) -> None:
        """Send the INVITE for the first time."""
        self.state = _CALLING
        self._acks: dict[str, tuple[Flow, bytes]] = {}
        super().start()

    def _next_interval(self) -> float:
        return 2 * self._interval

    def receive_response(self, response: Response) -> None:
        """Pass up provisional responses, every new 2xx and the first failure response; answer the last with ACK."""
        state = self.state
        status = response.status
        if state is _CALLING or state is _PROCEEDING:
            if status < 200:
                self.state = _PROCEEDING
                self._cancel_timer()
                self._data = b""
            elif status < 300:
                self.state = _ACCEPTED
                self._cancel_timer()
                self._data = b""
                self._on_failure = None
                self._layer.client_settled()
                self._layer.linger_long.add(self)
            else:
                self._refused(response)
                return
            if self._on_response is not None:
                self._on_response(response)
        elif state is _ACCEPTED and 200 <= status < 300:
            ack = self._acks.get(response.to.tag or "")
            if ack is not None:
                # §13.2.2.4: the ACK is sent again each time that the 2xx is.
                self._layer.transmit(*ack)
            elif self._on_response is not None:
                self._on_response(response)
        elif state is _COMPLETED and status >= 300:
            self._layer.transmit(self.flow, self._data)

    def _refused(self, response: Response) -> None:
        callback = self._on_response
        request = self.request
        assert request is not None
        ack = bytes(create_ack(request, response))
        self.state = _COMPLETED
        self._cancel_timer()
        self._forget()
        self._layer.client_settled()
        self._layer.transmit(self.flow, ack)
        if self.flow.reliable:
            self.terminate()
        else:
            self._data = ack
            self._layer.linger_completed.add(self)
        if callback is not None:
            callback(response)

    def set_ack(self, remote_tag: str, flow: Flow, ack: bytes) -> None:
        """Answer repetitions of the 2xx with that To tag by sending `ack` again, without asking (RFC 3261 §13.2.2.4)."""
        if self.state is _ACCEPTED:
            self._acks[remote_tag] = (flow, ack)

    def supersede(self, on_response: Callable[[Response], None]) -> None:
        """Another server gets the request: repeat it no more, but let somebody see what may still come until 64*T1 are over."""
        if self.state is _CALLING:
            self._data = b""
            self._on_response = on_response
            self._on_failure = None
            self.end_at(self._deadline)

    def end_at(self, when: float) -> None:
        """End without a word if there is no final response by then."""
        if self.is_pending:
            self._cancel_timer()
            self._timer = self._layer.scheduler.call_at(when, self.terminate)

    def hand_over(self, on_response: Callable[[Response], None]) -> None:
        """Let somebody else have the 2xx of further forks; the call itself need not live as long as the transaction."""
        if self.state is _ACCEPTED:
            self._on_response = on_response


def create_ack(request: Request, response: Response) -> Request:
    """The ACK for a 300-699 to `request`: same branch, same Request-URI, same Route (RFC 3261 §17.1.1.3)."""
    source = request.headers
    fields = [("Via", source.get_all("Via")[0]), ("Max-Forwards", "70")]
    fields += [("Route", line) for line in source.get_lines("Route")]
    fields += [
        ("From", source.get("From") or ""),
        ("To", response.headers.get("To") or source.get("To") or ""),
        ("Call-ID", source.get("Call-ID") or ""),
        ("CSeq", f"{request.cseq.number} ACK"),
    ]
    # What was received has been checked, and may hold escaped controls that none of ours may.
    return Request("ACK", request.uri, Headers.from_wire(fields))


def _ignore_response(response: Response) -> None:
    """What becomes of the responses to an abandoned request."""
