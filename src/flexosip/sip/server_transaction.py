"""The server side of a transaction: it sends our responses, repeats them as the RFC asks, and absorbs repeated requests.

It owns no socket and no clock. The stack makes one for each new request and hands it up together with the request.

    INVITE             PROCEEDING --2xx-----> ACCEPTED --L--> TERMINATED
                          |                   (absorbs the INVITE; the INVITE usage repeats the 2xx)
                          +-------300-699---> COMPLETED --ACK--> CONFIRMED --I--> TERMINATED
                                              timers G, H
    other requests     TRYING --100--> PROCEEDING --200-699--> COMPLETED --J--> TERMINATED

RFC 3261 §17.2, RFC 6026 §7.1, RFC 4320 §4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import LocalProtocolError
from flexosip.sip.transaction import TransactionFailure, TransactionState, contains_tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request, Response
    from flexosip.sip.transaction import TransactionLayer

__all__ = ["InviteServerTransaction", "NonInviteServerTransaction", "ServerKey", "ServerTransaction"]

ServerKey = tuple[str, ...]
"""(branch, sent-by, method), or the values that RFC 2543 compares (RFC 3261 §17.2.3)."""

_TRYING = TransactionState.TRYING
_PROCEEDING = TransactionState.PROCEEDING
_COMPLETED = TransactionState.COMPLETED
_ACCEPTED = TransactionState.ACCEPTED
_CONFIRMED = TransactionState.CONFIRMED
_TERMINATED = TransactionState.TERMINATED


class ServerTransaction:
    """Answer one request. Made by `SipStack`.

    Args:
        layer: the stack.
        request: the request, with received and rport noted in its Via.
        flow: what it came over.
        answer_flow: where responses go.
        key: what the stack knows the transaction by.
    """

    __slots__ = (
        "_answer_flow", "_data", "_deadline", "_interval", "_layer", "_own_tag", "_request", "_tag", "_timer", "expires", "flow", "key",
        "merge_key", "on_failure", "state",
    )  # fmt: skip

    def __init__(
        self,
        layer: TransactionLayer,
        request: Request,
        flow: Flow,
        answer_flow: Flow,
        key: ServerKey,
    ) -> None:
        self._layer = layer
        self._request: Request | None = request
        self.flow = flow
        self._answer_flow = answer_flow
        self.key = key
        self.merge_key: tuple[str, str, str] | None = None
        """What finds a merged request: Call-ID, From tag and CSeq (RFC 3261 §8.2.2.2). Kept by the stack."""
        self.state = _TRYING
        self.on_failure: Callable[[TransactionFailure], None] | None = None
        """Called when the response cannot be delivered: transport error, or no ACK to a failure response."""
        self._data = b""
        self._tag: str | None = None
        self._own_tag = False
        self._timer: Timer | None = None
        self._interval = 0.0
        self._deadline = 0.0
        self.expires = 0.0

    @property
    def request(self) -> Request:
        """The request.

        Raises:
            LocalProtocolError: it was answered and only retransmissions are absorbed now.
        """
        if self._request is None:
            raise LocalProtocolError("The request has been answered and is not kept any longer.")
        return self._request

    @property
    def kept_request(self) -> Request | None:
        """The request, or None when only retransmissions are absorbed now."""
        return self._request

    @property
    def is_pending(self) -> bool:
        """True until a final response was sent."""
        return self.state is _TRYING or self.state is _PROCEEDING

    @property
    def to_tag(self) -> str:
        """The tag of our responses (RFC 3261 §8.2.6.2): that of the request's To, or one of our own."""
        tag = self._tag
        if tag is None:
            request = self._request
            tag = request.to.tag if request is not None and contains_tag(request.headers.get("To") or "") else None
            if not tag:
                tag, self._own_tag = self._layer.new_tag(), True
            self._tag = tag
        return tag

    def has_tag(self, tag: str | None) -> bool:
        """Whether `tag` is the one that our responses told, not one that the request itself brought."""
        return self._own_tag and tag is not None and tag == self._tag

    def respond(self, response: Response) -> bool:
        """Send a response; a To-tag is added when it needs one.

        Returns:
            False if nothing was sent because a final response went out before, or the transaction has ended.
        """
        raise NotImplementedError

    def receive_retransmission(self) -> None:
        """The same request came again."""
        if self._data:
            self._layer.transmit(self._answer_flow, self._data)

    def _serialise(self, response: Response) -> bytes:
        # Before any state changes: what cannot be sent must leave the transaction as it was.
        if response.status != 100:
            value = response.headers.get("To") or ""
            if not contains_tag(value) or response.to.tag is None:
                response.headers.extend("To", f";tag={self.to_tag}")
        return bytes(response)

    def _send(self, data: bytes) -> None:
        self._data = data
        self._layer.transmit(self._answer_flow, data)

    def answer_over(self, flow: Flow) -> None:
        """Responses take another flow from now on; what was sent into the lost one and is still of use is sent again."""
        if self.state is _TERMINATED:
            return
        self.flow = self._answer_flow = flow
        if self._data and self.state in (_ACCEPTED, _COMPLETED):
            self._layer.transmit(flow, self._data)

    def fail(self, failure: TransactionFailure) -> None:
        """End because responses cannot be delivered (RFC 3261 §17.2.4)."""
        callback = self.on_failure
        self.terminate()
        if callback is not None:
            callback(failure)

    def terminate(self) -> None:
        """End now without telling anybody; harmless when ended already."""
        if self.state is _TERMINATED:
            return
        was_pending = self.is_pending
        self.state = _TERMINATED
        self._cancel_timer()
        self._forget()
        self._data = b""
        if was_pending:
            self._layer.server_settled()
        self._layer.remove_server(self)

    def _forget(self) -> None:
        self._request = None
        self.on_failure = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class NonInviteServerTransaction(ServerTransaction):
    """RFC 3261 §17.2.2 and RFC 4320."""

    __slots__ = ()

    def respond(self, response: Response) -> bool:
        """Send a response.

        Raises:
            LocalProtocolError: a provisional response other than 100, or 408 (RFC 4320 §4).
        """
        status = response.status
        if status == 408 or 100 < status < 200:
            raise LocalProtocolError(f"A request other than INVITE is not answered with {status} (RFC 4320).")
        if self.state is not _TRYING and self.state is not _PROCEEDING:
            return False
        data = self._serialise(response)
        if status == 100:
            self.state = _PROCEEDING
            self._send(data)
            return True
        self.state = _COMPLETED
        self._cancel_timer()
        self._send(data)
        self._layer.server_settled()
        self._forget()
        if self._answer_flow.reliable:
            self.terminate()
        elif self.state is _COMPLETED:
            self._layer.linger_long.add(self)
        return True

    def defer(self) -> None:
        """The user answers later: say 100 when the client's Timer E has reached T2, and give up when it cannot listen any more."""
        if self.state is _TRYING:
            layer = self._layer
            self._deadline = layer.scheduler.now + layer.timers.long
            self._timer = layer.scheduler.call_later(layer.timers.trying_after, self._still_unanswered)

    def _still_unanswered(self) -> None:
        if self._layer.scheduler.now >= self._deadline:
            # RFC 4320 §4.2: no 408; the client's own Timer F tells it.
            self.terminate()
            return
        if self.state is _TRYING:
            self.respond(self.request.create_response(100))
        self._timer = self._layer.scheduler.call_at(self._deadline, self._still_unanswered)


class InviteServerTransaction(ServerTransaction):
    """RFC 3261 §17.2.1 with the Accepted state of RFC 6026."""

    __slots__ = ("on_cancel",)

    def __init__(
        self,
        layer: TransactionLayer,
        request: Request,
        flow: Flow,
        answer_flow: Flow,
        key: ServerKey,
    ) -> None:
        super().__init__(layer, request, flow, answer_flow, key)
        self.state = _PROCEEDING
        self.on_cancel: Callable[[Request], None] | None = None
        """Called with a CANCEL that came before our final response; it must answer the INVITE (487)."""

    def respond(self, response: Response) -> bool:
        """Send a response; a 2xx may be sent again with `repeat` until its ACK has come."""
        if self.state is not _PROCEEDING:
            return False
        status = response.status
        data = self._serialise(response)
        if status < 200:
            self._send(data)
            return True
        layer = self._layer
        self.on_cancel = None
        if status < 300:
            self.state = _ACCEPTED
            self._send(data)
            layer.server_settled()
            layer.linger_long.add(self)
            return True
        self.state = _COMPLETED
        self._send(data)
        layer.server_settled()
        self._request = None
        self._deadline = layer.scheduler.now + layer.timers.long
        if self._answer_flow.reliable:
            self._timer = layer.scheduler.call_at(self._deadline, self._repeat_failure)
        else:
            self._interval = layer.timers.t1
            self._timer = layer.scheduler.call_later(self._interval, self._repeat_failure)
        return True

    def send_trying(self) -> None:
        """Send 100 if nothing was sent yet (RFC 3261 §17.2.1)."""
        if self.state is _PROCEEDING and not self._data:
            self._send(bytes(self.request.create_response(100)))

    def repeat(self) -> None:
        """Send the last response again: the 2xx until its ACK, or a provisional one each minute (RFC 3261 §13.3.1)."""
        if self._data and (self.state is _ACCEPTED or self.state is _PROCEEDING):
            self._layer.transmit(self._answer_flow, self._data)

    def settle(self) -> None:
        """The 2xx was acknowledged: what remains only absorbs repetitions of the INVITE (RFC 6026 §7.1)."""
        if self.state is _ACCEPTED:
            self._data = b""
            self._forget()
            self._layer.forget_merged(self)

    def _repeat_failure(self) -> None:
        """Timers G (repeat) and H (give up) in one."""
        layer = self._layer
        now = layer.scheduler.now
        if now >= self._deadline:
            self.fail(TransactionFailure(408, "No ACK"))
            return
        layer.transmit(self._answer_flow, self._data)
        self._interval = min(2 * self._interval, layer.timers.t2)
        self._timer = layer.scheduler.call_at(min(now + self._interval, self._deadline), self._repeat_failure)

    def receive_retransmission(self) -> None:
        """The INVITE came again: repeat the last response, but never a 2xx (RFC 6026 §7.1)."""
        if self._data and (self.state is _PROCEEDING or self.state is _COMPLETED):
            self._layer.transmit(self._answer_flow, self._data)

    def receive_ack(self) -> bool:
        """An ACK with this branch came.

        Returns:
            True if it was for a failure response; one for a 2xx is the user's.
        """
        if self.state is _COMPLETED:
            self.state = _CONFIRMED
            self._cancel_timer()
            self._data = b""
            self._forget()
            if self._answer_flow.reliable:
                self.terminate()
            else:
                self._layer.linger_short.add(self)
        return self.state is not _ACCEPTED

    def _forget(self) -> None:
        super()._forget()
        self.on_cancel = None
