"""Changing a call that is up: hold and resume, and the other side's re-INVITEs.

RFC 3261 §14, RFC 3264 §8
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallFailed, FlexosipError, InvalidState, MediaError, call_failure
from flexosip.phone.events import Held, Resumed
from flexosip.phone.moving import place_call
from flexosip.sdp import SdpError

if TYPE_CHECKING:
    from flexosip.phone.session import CallSession
    from flexosip.sip.flow import Flow
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["SessionChanges"]

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
        self.on_hold_by_us = False
        self.awaiting_answer = False
        """True while an offer of ours in a 2xx waits for the answer in the ACK."""
        self._changing = asyncio.Lock()

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session: hold, resume, another address or codec (RFC 3261 §14.2)."""
        media = self._session.media
        if media is None:
            usage.answer_reinvite(transaction, 488)
            return
        try:
            if request.body:
                body = media.negotiation.receive_offer(request.body, direction=self._our_direction())
                self.apply()
            else:
                body = media.negotiation.create_offer(self._our_direction(), all_formats=True)
                self.awaiting_answer = True
        except SdpError as error:
            logger.info("%s: change of the session refused: %s", self._session.label, error)
            usage.answer_reinvite(transaction, error.status_hint)
            return
        usage.answer_reinvite(transaction, 200, body)

    def _our_direction(self) -> str:
        return "sendonly" if self.on_hold_by_us else "sendrecv"

    def apply(self) -> None:
        """Bring the sound in line with what was agreed, and tell of hold and resume."""
        media = self._session.media
        assert media is not None
        media.apply()
        agreement = media.negotiation.agreement
        held = agreement is not None and agreement.held
        if held != self.held:
            self.held = held
            if self._session.answered_at is not None:
                self._session.emit(Held(self._session.loop.time()) if held else Resumed(self._session.loop.time()))

    async def hold(self, on_hold: bool) -> None:
        """Offer to hold the other side or to go on (RFC 3264 §8.4), one change at a time; nothing when it is so already.

        Cancelling the wait does not take the offer back: it is on its way, and its answer will count.

        Raises:
            CallFailed: the other side refused; the session is as it was.
        """
        await self._changing.acquire()
        try:
            done = self._offer_direction(on_hold)
        except BaseException:
            self._changing.release()
            raise
        done.add_done_callback(lambda _: self._changing.release())
        try:
            await self._session.until(done)
        except CallFailed:
            # At the end of the call a change that is on its way fails first.
            self._session.check_not_ended()
            raise

    async def move(self, flow: Flow) -> None:
        """Our address has changed: tell the other side by a re-INVITE with our new Contact and the new address of our sound.

        Args:
            flow: from our new address to the next hop.

        Raises:
            CallFailed: the other side refused. NetworkError: there are no ports at the new address.
        """
        session = self._session
        async with self._changing:
            usage, media = session.require_usage(), session.require_media()
            place_call(session, flow)
            negotiation = media.negotiation
            done: asyncio.Future[None] = session.loop.create_future()

            def on_result(result: Any) -> None:
                error = self._direction_answered(result, self.on_hold_by_us)
                if done.done():
                    return
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
                    done.exception()  # marked as seen: who waited may have been cancelled

            usage.reinvite(lambda: negotiation.create_offer(self._our_direction()), on_result, on_glare=negotiation.rollback)
            await session.until(done)

    def _offer_direction(self, on_hold: bool) -> asyncio.Future[None]:
        usage = self._session.require_usage()
        if self._session.answered_at is None:
            raise InvalidState("hold() and resume(): the call is not answered yet.", advice="Await the call first.")
        negotiation = self._session.require_media().negotiation
        done: asyncio.Future[None] = self._session.loop.create_future()
        if on_hold == self.on_hold_by_us:
            done.set_result(None)
            return done

        def on_result(result: Any) -> None:
            error = self._direction_answered(result, on_hold)
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # marked as seen: who waited may have been cancelled

        direction = "sendonly" if on_hold else "sendrecv"
        usage.reinvite(lambda: negotiation.create_offer(direction), on_result, on_glare=negotiation.rollback)
        return done

    def _direction_answered(self, result: Any, on_hold: bool) -> FlexosipError | None:
        """Take the answer to our re-INVITE, whoever still waits for it; what went wrong."""
        media = self._session.media
        assert media is not None
        negotiation = media.negotiation
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
        self.on_hold_by_us = on_hold
        self.apply()
        return None
