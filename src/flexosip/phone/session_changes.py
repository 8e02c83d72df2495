"""Changing a call: hold and resume, refreshes, and the other side's re-INVITEs and UPDATEs.

RFC 3261 §14, RFC 3264 §8, RFC 3311, RFC 4028
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallFailed, FlexosipError, InvalidState, MediaError, call_failure
from flexosip.phone.connectivity.moving import place_call
from flexosip.phone.events import Held, Resumed
from flexosip.sdp import SdpError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from flexosip.phone.session import CallSession
    from flexosip.sdp import Negotiation
    from flexosip.sip.flow import Flow
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["SessionChanges", "receive_update"]

logger = logging.getLogger(__name__)


class SessionChanges:
    """The offers and answers of one call after the first.

    Args:
        session: the call.
    """

    def __init__(self, session: CallSession) -> None:
        self._session = session
        self.held = False
        """True while the other side holds us."""
        self.direction = "sendrecv"
        """What we want: `sendrecv`, or `sendonly` or `inactive` while we hold the other side."""
        self.awaiting_answer = False
        """True while an offer of ours in a response waits for the answer in the ACK or PRACK."""
        self._changing: asyncio.Future[None] | None = None

    @property
    def on_hold_by_us(self) -> bool:
        """True while we hold the other side."""
        return self.direction != "sendrecv"

    # -- theirs -------------------------------------------------------------------------------------------------------

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session: hold, resume, another address or codec (RFC 3261 §14.2)."""
        media = self._session.media
        if media is None:
            usage.answer_reinvite(transaction, 488)
            return
        negotiation = media.negotiation
        try:
            if request.body:
                body = negotiation.receive_offer(request.body, direction=self.direction)
                self.apply()
            elif negotiation.pending_offer:
                # It asks for an offer while one of ours, in an UPDATE, is on its way.
                raise SdpError("An offer of ours has no answer yet.", status_hint=491)
            else:
                body = negotiation.create_offer(self.direction, all_formats=True)
                self.awaiting_answer = True
        except SdpError as error:
            logger.info("%s: change of the session refused: %s", self._session.label, error)
            usage.answer_reinvite(transaction, error.status_hint)
            return
        usage.answer_reinvite(transaction, 200, body)

    def on_update(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes or only refreshes the session by UPDATE (RFC 3311 §5.2)."""
        if not request.body:
            usage.answer_update(transaction, 200)
            return
        tag = request.from_.tag or ""
        media = self._session.media
        negotiation = self._negotiation(tag)
        if negotiation is None or media is None:
            self._refuse_early_update(usage, transaction)
            return
        try:
            body = negotiation.receive_offer(request.body, direction=self.direction)
        except SdpError as error:
            logger.info("%s: change of the session refused: %s", self._session.label, error)
            usage.answer_update(transaction, error.status_hint)
            return
        if media.negotiation is negotiation:
            self.apply()
        usage.answer_update(transaction, 200, body)

    def _negotiation(self, tag: str) -> Negotiation | None:
        session = self._session
        if session.answered_at is None and not session.accepted:
            return session.offers.early_negotiation(tag)
        return session.media.negotiation if session.media is not None else None

    def _refuse_early_update(self, usage: InviteUsage, transaction: ServerTransaction) -> None:
        """The first offer has no answer yet: 491 if it is ours, 500 with a time if it is theirs."""
        ours = self._session.direction == "outgoing" or self.awaiting_answer
        if ours:
            usage.answer_update(transaction, 491)
        else:
            seconds = int(self._session.phone.random.uniform(0, 10))
            usage.answer_update(transaction, 500, headers=(("Retry-After", str(seconds)),))

    def apply(self) -> None:
        """Bring the sound in line with what was agreed, and tell of hold and resume."""
        session = self._session
        media = session.media
        assert media is not None
        media.apply()
        agreement = media.negotiation.agreement
        held = agreement is not None and agreement.held
        if held != self.held:
            self.held = held
            if session.answered_at is not None:
                session.emit(Held(session.loop.time()) if held else Resumed(session.loop.time()))

    # -- ours ---------------------------------------------------------------------------------------------------------

    async def hold(self, direction: str) -> None:
        """Offer to hold the other side (`sendonly`, `inactive`) or to go on (`sendrecv`), one change at a time; RFC 3264 §8.4.

        Nothing happens when it is so already. Cancelling the wait does not take the offer back: it is on its way, and its answer
        will count.

        Raises:
            CallFailed: the other side refused; the session is as it was.
        """
        session = self._session
        while self._changing is not None:
            await session.settled(self._changing)
        done = self._offer_direction(direction)
        if done is None:
            return
        try:
            await session.until(done)
        except CallFailed:
            # At the end of the call a change that is on its way fails first.
            session.check_not_ended()
            raise

    async def move(self, flow: Flow) -> None:
        """Our address has changed: tell the other side by a re-INVITE with our new Contact and the new address of our sound.

        Args:
            flow: from our new address to the next hop.

        Raises:
            CallFailed: the other side refused. NetworkError: there are no ports at the new address.
        """
        session = self._session
        while self._changing is not None:
            await session.settled(self._changing)
        usage, media = session.require_usage(), session.require_media()
        place_call(session, flow)
        negotiation = media.negotiation
        await session.until(self._offer(usage, negotiation, lambda: negotiation.create_offer(self.direction), self.direction))

    def _offer_direction(self, direction: str) -> asyncio.Future[None] | None:
        session = self._session
        usage = session.require_usage()
        fork: str | None = None
        if session.answered_at is None:
            fork = session.offers.changeable_fork()
            if fork is None:
                raise InvalidState("hold() and resume(): the call is not answered yet.", advice="Await the call first.")
        negotiation = session.require_media().negotiation
        if direction == self.direction:
            return None
        return self._offer(usage, negotiation, lambda: negotiation.create_offer(direction), direction, fork)

    def refresh(self, usage: InviteUsage) -> None:
        """Send the present session again, unchanged, because the session timer wants it (RFC 4028 §7.4)."""
        media = self._session.media
        if media is not None and self._changing is None:
            self._offer(usage, media.negotiation, media.negotiation.repeat_offer, self.direction)

    def _offer(
        self, usage: InviteUsage, negotiation: Negotiation, offer: Callable[[], bytes], direction: str, fork: str | None = None
    ) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._session.loop.create_future()

        def on_result(result: Any) -> None:
            self._changing = None
            error = self._answered(negotiation, result, direction)
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # marked as seen: who waited may have been cancelled

        def on_glare() -> None:
            if negotiation.pending_offer:
                negotiation.rollback()

        self._changing = done
        try:
            if fork is None:
                usage.reinvite(offer, on_result, on_glare=on_glare)
            else:
                usage.update(offer, on_result, on_glare=on_glare, remote_tag=fork)
        except BaseException:
            self._changing = None
            raise
        return done

    def _answered(self, negotiation: Negotiation, result: Any, direction: str) -> FlexosipError | None:
        """Take the answer to our offer, whoever still waits for it; what went wrong."""
        if not 200 <= result.status < 300:
            # Not pending: the offer was never sent, or was taken back when both sides collided.
            if negotiation.pending_offer:
                negotiation.rollback()
            return call_failure(result.status, result.reason)
        try:
            negotiation.receive_answer(result.body)
        except SdpError as error:
            negotiation.rollback()
            return MediaError(f"The answer to the change of the call cannot be used: {error}")
        self.direction = direction
        media = self._session.media
        if media is not None and media.negotiation is negotiation:
            self.apply()
        return None


def receive_update(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    """An UPDATE within the call, from the table of requests."""
    if session.usage is not None:
        session.changes.on_update(session.usage, request, transaction)
