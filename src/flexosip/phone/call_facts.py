"""What is known of a call: who, when, where it stands, and what the other side has sent along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.phone.identity import call_identity
from flexosip.sip.user_to_user import UserToUser, parse_user_to_user

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.events import CallEnd, CallState
    from flexosip.phone.session import CallSession
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.identity import Identity

__all__ = ["CallFacts"]


class CallFacts:
    """The part of `Call` that only tells.

    Args:
        session: the call.
    """

    def __init__(self, session: CallSession) -> None:
        self._session = session

    @property
    def id(self) -> str:
        """The Call-ID; "" before it is dialled."""
        usage = self._session.usage
        return usage.request.call_id if usage is not None else ""

    @property
    def state(self) -> CallState:
        """`new`, `calling`, `ringing`, `answered` or `ended`."""
        return self._session.state

    @property
    def direction(self) -> str:
        """`outgoing` or `incoming`."""
        return self._session.direction

    @property
    def remote(self) -> NameAddr | None:
        """The other side: `.uri`, `.display_name`. What it claims; see the transport for what is proved."""
        usage = self._session.usage
        if usage is None:
            return None
        return usage.request.to if self.direction == "outgoing" else usage.request.from_

    @property
    def identity(self) -> Identity | None:
        """Who is at the other end: number, name, by whom the call was diverted, and what of it a trusted server vouches for.

        None before the call is dialled. It can change while the call lasts (`IdentityChanged`).
        """
        return call_identity(self._session)

    @property
    def authenticated_as(self) -> str | None:
        """The user whose password the caller has proved to know (`Callers.require_auth`); None for all other calls."""
        return self._session.authenticated_as

    @property
    def local(self) -> NameAddr | None:
        """Our side of the call."""
        usage = self._session.usage
        if usage is None:
            return None
        return usage.request.from_ if self.direction == "outgoing" else usage.request.to

    @property
    def account(self) -> Account | None:
        """The account that calls or is called."""
        return self._session.account

    @property
    def headers(self) -> Headers | None:
        """Headers of the other side: the INVITE of an incoming call, the latest response to an outgoing one."""
        usage = self._session.usage
        if self.direction == "incoming":
            return usage.request.headers if usage is not None else None
        response = self._session.response
        return response.headers if response is not None else None

    @property
    def response_headers(self) -> Headers | None:
        """Headers of the final response to a call that we made, 200 or a refusal; None before it has come."""
        response = self._session.response
        return response.headers if response is not None and response.status >= 200 else None

    @property
    def user_to_user(self) -> tuple[UserToUser, ...]:
        """What the other side's program has sent along: with its INVITE or its response, then with its BYE (RFC 7433)."""
        return parse_user_to_user(self.headers) + parse_user_to_user(self._session.end_headers)

    @property
    def auto_answer(self) -> float | None:
        """Of a call that came in: seconds after which the phone answers it by itself, because the caller asks for it and may
        (`Phone(auto_answer=)`); None for all others.
        """
        return self._session.auto_answer

    @property
    def codec(self) -> str | None:
        """Name of the codec we send with, for example `PCMA`; None before sound is agreed."""
        media = self._session.media
        return media.codec_name if media is not None and media.configured else None

    @property
    def started_at(self) -> float | None:
        """When it was dialled or came in: seconds of the loop's clock."""
        return self._session.started_at

    @property
    def answered_at(self) -> float | None:
        """When it was answered: seconds of the loop's clock."""
        return self._session.answered_at

    @property
    def ended_at(self) -> float | None:
        """When it ended: seconds of the loop's clock."""
        return self._session.ended_at

    @property
    def duration(self) -> float:
        """Seconds since the answer, up to the end."""
        session = self._session
        if session.answered_at is None:
            return 0.0
        return (session.ended_at if session.ended_at is not None else session.loop.time()) - session.answered_at

    @property
    def end(self) -> CallEnd | None:
        """Who ended it and why; None while it lasts."""
        return self._session.end

    @property
    def held(self) -> bool:
        """True while the other side holds us."""
        return self._session.changes.held

    def __repr__(self) -> str:
        other = self.remote
        return f"<Call {self.direction} {other.uri if other is not None else '?'} {self.state}>"
