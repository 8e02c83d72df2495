"""The first offer and answer of a call, whichever message brings them: INVITE, any 1xx, PRACK, 2xx or ACK.

Each early dialog of a forked INVITE has an agreement of its own; the sound follows the one that answered last, the 2xx decides.
A description in a reliable 1xx is final: what later responses of that dialog describe is not looked at (RFC 6337 §2.1).

RFC 3261 §13, RFC 3262 §5, RFC 3264, RFC 3960, RFC 6228
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import InvalidState, MediaError
from flexosip.phone.events import EarlyMedia
from flexosip.sdp import SdpError, refusal
from flexosip.sip.early_media import early_media_of
from flexosip.sip.invite_server import IncomingInvite
from flexosip.sip.reliable import reliable_sequence

if TYPE_CHECKING:
    from flexosip.phone.session import CallSession
    from flexosip.sdp import Negotiation
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.flow import Flow
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Message, Request, Response

__all__ = ["SessionOffers"]

logger = logging.getLogger(__name__)

_SDP = "application/sdp"


class SessionOffers:
    """The first offer/answer exchange of one call.

    Args:
        session: the call.
        late: outgoing: the INVITE makes no offer, the other side does (RFC 3264 §4).
    """

    def __init__(self, session: CallSession, *, late: bool = False) -> None:
        self._session = session
        self._late = late
        self._offered: Negotiation | None = None
        self._host = ""
        self._body = b""
        self._body_sent = False
        self._told: str | None = None
        """The direction of early sound that was told last."""
        self.by_fork: dict[str, Negotiation] = {}
        """Outgoing: the agreements of the early dialogs by remote tag, the latest last."""
        self._settled: set[str] = set()
        self.refused: MediaError | None = None
        """Outgoing: why the call was ended in the moment of its answer."""

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def offer(self, flow: Flow) -> bytes | None:
        """The offer of our INVITE; `flow` tells the local address (RFC 3264 §5)."""
        session = self._session
        if self._late:
            return None
        if session.media is not None and flow.local[0] != self._host:
            # Another target is reached from another of our addresses.
            session.media.close()
            session.media = None
        if session.media is None:
            session.media = media = session.phone.create_media(session, flow)
            self._host = flow.local[0]
            self._offered = media.negotiation
            self._body = media.negotiation.create_offer()
        return self._body

    def next_target(self) -> None:
        """The same call goes to somebody else: what the forks said early is void."""
        self.by_fork.clear()
        self._settled.clear()

    def provisional(self, response: Response, dialog: Dialog | None) -> bytes | None:
        """A 1xx; the answer that its PRACK carries when it brought the offer."""
        tag = dialog.remote_tag if dialog is not None else ""
        if response.status == 199:
            self._fork_ended(tag)
            return None
        if not describes(response) or tag in self._settled:
            self._authorise(response, tag)
            return None
        reliable = reliable_sequence(response) is not None
        if self._late:
            return self._late_offer(response, tag) if reliable else None
        if self._session.media is not None and self._offered is not None:
            self._early_answer(response, tag, reliable=reliable)
        return None

    def _early_answer(self, response: Response, tag: str, *, reliable: bool) -> None:
        assert self._offered is not None
        negotiation = self._offered.fork()
        try:
            negotiation.receive_answer(response.body)
        except SdpError as error:
            logger.warning("%s: early media not understood: %s", self._session.label, error)
            return
        if reliable:
            self._settled.add(tag)
        self._follow(tag, negotiation, response)

    def _late_offer(self, response: Response, tag: str) -> bytes | None:
        """The offer comes in a reliable 1xx: the PRACK answers it (RFC 3262 §5)."""
        try:
            negotiation, answer = self._answer_late(response)
        except SdpError as error:
            logger.warning("%s: early media not understood: %s", self._session.label, error)
            return refusal(response.body)
        self._settled.add(tag)
        self._follow(tag, negotiation, response)
        return answer

    def _answer_late(self, response: Response) -> tuple[Negotiation, bytes]:
        session = self._session
        usage = session.usage
        assert usage is not None and usage.flow is not None
        if session.media is None:
            session.media = session.phone.create_media(session, usage.flow, response.body)
            self._offered = session.media.negotiation
        assert self._offered is not None
        negotiation = self._offered.fork()
        return negotiation, negotiation.receive_offer(response.body)

    def _follow(self, tag: str, negotiation: Negotiation, message: Message | None = None) -> None:
        media = self._session.media
        assert media is not None
        direction = early_media_of(message) if message is not None else None
        if direction is not None or tag not in self.by_fork:
            media.early_direction = direction
        self.by_fork.pop(tag, None)
        self.by_fork[tag] = negotiation
        media.negotiation = negotiation
        media.apply()
        self._tell_early()

    def _authorise(self, response: Response, tag: str) -> None:
        """A later 1xx, without a description of its own, may open or close the gate for the sound that is agreed (RFC 5009 §8)."""
        media, direction = self._session.media, early_media_of(response)
        if direction is None or media is None or not media.configured or media.negotiation is not self.by_fork.get(tag):
            return
        media.early_direction = direction
        media.apply()
        self._tell_early()

    def _tell_early(self) -> None:
        """Sound before the answer: once, and again when the network authorises something else."""
        media = self._session.media
        assert media is not None
        direction = media.early_direction or "sendrecv"
        if direction != self._told:
            self._told = direction
            self._session.emit(EarlyMedia(self._session.loop.time(), media.codec_name, direction))

    def _fork_ended(self, tag: str) -> None:
        """199: that phone has refused; the sound goes back to the fork that answered before it (RFC 6228)."""
        media = self._session.media
        gone = self.by_fork.pop(tag, None)
        self._settled.discard(tag)
        if media is not None and gone is not None and media.negotiation is gone and self.by_fork:
            media.negotiation = next(reversed(self.by_fork.values()))
            media.apply()

    def accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        """The 2xx to our INVITE; the body of the ACK. When its media cannot be used, the call is over (RFC 3261 §13.2.2.4)."""
        session = self._session
        if not self._late and (session.media is None or self._offered is None):
            return self._refuse(usage, "The call was answered although it was given up.", None)
        to = response.to
        tag = to.tag or "" if to is not None else ""
        negotiation, ack = self.by_fork.get(tag), None
        try:
            if tag in self._settled:
                pass
            elif describes(response):
                negotiation, ack = self._last_description(response)
            elif negotiation is None:
                raise SdpError("the answer to the call brought no media description")
        except SdpError as error:
            body = refusal(response.body) if self._late and describes(response) else None
            return self._refuse(usage, f"The call was answered with media that we cannot use: {error}", body)
        assert session.media is not None and negotiation is not None
        session.media.negotiation = negotiation
        session.media.early_direction = None
        session.changes.apply()
        self.by_fork.clear()
        session.answered()
        return ack

    def _last_description(self, response: Response) -> tuple[Negotiation, bytes | None]:
        if self._late:
            return self._answer_late(response)
        assert self._offered is not None
        negotiation = self._offered.fork()
        negotiation.receive_answer(response.body)
        return negotiation, None

    def _refuse(self, usage: InviteUsage, why: str, body: bytes | None) -> bytes | None:
        self.refused = MediaError(why)
        usage.hangup()
        return body

    # -- changes before the answer ------------------------------------------------------------------------------------

    def early_negotiation(self, tag: str) -> Negotiation | None:
        """The agreement of an early dialog that may be changed by UPDATE; None while its offer has no reliable answer (RFC 3311 §5)."""
        session = self._session
        if session.direction == "incoming":
            settled = self._body_sent and session.media is not None and not session.changes.awaiting_answer
            return session.media.negotiation if settled and session.media is not None else None
        return self.by_fork.get(tag) if tag in self._settled else None

    def changeable_fork(self) -> str | None:
        """The early dialog that the sound follows, if it may be changed: its remote tag."""
        session = self._session
        usage = session.usage
        if session.direction == "incoming":
            if isinstance(usage, IncomingInvite) and usage.description_unacknowledged:
                return None
            dialog = usage.dialog if usage is not None else None
            tag = dialog.remote_tag if dialog is not None else ""
        else:
            tag = next(reversed(self.by_fork), "")
        negotiation = self.early_negotiation(tag)
        return tag if negotiation is not None and usage is not None and usage.peer_allows("UPDATE") else None

    # -- incoming -----------------------------------------------------------------------------------------------------

    def ringing_body(self, usage: InviteUsage) -> bytes | None:
        """What a 180 carries: the first reliable response makes the offer that the INVITE did not (RFC 3261 §13.2.1)."""
        if is_reliable(usage) and not usage.request.body and self._session.media is None:
            return self._take_reliable(usage)
        return None

    def progress_body(self, usage: InviteUsage) -> bytes | None:
        """What a 183 carries: our answer, or our offer where a PRACK can answer it.

        Raises:
            InvalidState: the caller made no offer, and takes none yet.
        """
        if is_reliable(usage):
            return None if self._body_sent else self._take_reliable(usage)
        if not usage.request.body:
            raise InvalidState("progress(): the caller made no offer; answer the call instead.")
        return self._local(usage)

    def final_body(self, usage: InviteUsage) -> bytes | None:
        """What the 200 carries: nothing when a reliable 1xx has said it."""
        return None if self._body_sent else self._local(usage)

    def _take_reliable(self, usage: InviteUsage) -> bytes:
        body = self._local(usage)
        self._body_sent = True
        return body

    def _local(self, usage: InviteUsage) -> bytes:
        session = self._session
        if session.media is not None:
            return self._body
        assert usage.flow is not None
        request = usage.request
        session.media = media = session.phone.create_media(session, usage.flow, request.body)
        if not request.body:
            self._body = media.negotiation.create_offer()
            session.changes.awaiting_answer = True
            return self._body
        try:
            self._body = media.negotiation.receive_offer(request.body)
        except SdpError as error:
            usage.reject(error.status_hint)
            raise MediaError(f"The caller offers no sound that we understand: {error}", advice="Allow more codecs.") from error
        media.apply()
        return self._body

    def opened(self) -> None:
        """Our early sound is open."""
        session = self._session
        if session.media is not None and session.media.configured:
            self._tell_early()

    def acknowledged(self, usage: InviteUsage, prack: Request) -> tuple[int, bytes | None]:
        """A PRACK: the answer to our offer, or a new offer (RFC 3262 §5); status and body of its response."""
        session = self._session
        media = session.media
        if media is None:
            return 200, None
        negotiation = media.negotiation
        try:
            if session.changes.awaiting_answer:
                session.changes.awaiting_answer = False
                if not describes(prack):
                    raise SdpError("the PRACK brought no answer")
                negotiation.receive_answer(prack.body)
                session.changes.apply()
                self.opened()
            elif describes(prack):
                body = negotiation.receive_offer(prack.body, direction=session.changes.direction)
                session.changes.apply()
                return 200, body
        except SdpError as error:
            logger.warning("%s: %s", session.label, error)
            if negotiation.pending_offer:
                negotiation.rollback()
                usage.reject(488)
                return 200, None
            return error.status_hint, None
        return 200, None


def describes(message: Message) -> bool:
    """True if `message` carries a session description."""
    return bool(message.body) and message.content_type == _SDP


def is_reliable(usage: InviteUsage) -> bool:
    """True if our 1xx to an incoming call are acknowledged."""
    return isinstance(usage, IncomingInvite) and usage.reliable
