"""Whether a call may ring now, and for how long: do-not-disturb, call waiting, lines, and calls that want to be answered at once.

RFC 3261 §21.4.18 (480), §21.4.24 (486), §21.6.1 (600); RFC 5373 (Answer-Mode)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError, FlexosipError
from flexosip.phone.events import CallEnd
from flexosip.phone.identity import is_trusted
from flexosip.phone.session import CallSession
from flexosip.phone.settings import given_or_default
from flexosip.phone.values import checked_text
from flexosip.sip.answer_mode import AnswerRequest, requested_answer

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone
    from flexosip.sip.invite import InviteUsage

__all__ = ["Availability", "answer_mode_headers", "availability_of", "receive_call"]

logger = logging.getLogger(__name__)

_AUTO_ANSWER = ("off", "trusted", "any")
_NOBODY = "Nobody answered"


@dataclass(frozen=True, slots=True)
class Availability:
    """What callers meet.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    do_not_disturb: bool | int = False
    """True: no call rings, callers get 480; or the status for them: 480, 486, 600 or 603. `Phone.do_not_disturb` switches it."""
    call_waiting: bool = True
    """False: 486 for who calls while there is another call."""
    busy_reason: str | None = None
    """The phrase of such a 486, and of that for too many calls, for people."""
    ring_timeout: float | None = 180.0
    """Seconds after which a call that came in and was neither answered nor refused gets 480; None: never."""
    auto_answer: str = "off"
    """Which calls that ask for it (Answer-Mode, Call-Info, Alert-Info) are answered by the phone itself: `off`; `trusted`: from our servers
    and `trusted_peers`; `any`."""

    def __post_init__(self) -> None:
        if self.auto_answer not in _AUTO_ANSWER:
            raise ConfigurationError(f"auto_answer={self.auto_answer!r}: allowed are {', '.join(_AUTO_ANSWER)}.")
        if self.ring_timeout is not None and not 1 <= self.ring_timeout <= 86400:
            raise ConfigurationError(f"ring_timeout={self.ring_timeout}: give 1 to 86400 seconds, or None for no limit.")
        if self.do_not_disturb not in (True, False, 480, 486, 600, 603):
            raise ConfigurationError(
                f"do_not_disturb={self.do_not_disturb!r}: give True, False, or the status for callers: 480, 486, 600 or 603."
            )
        if self.busy_reason is not None:
            checked_text(self.busy_reason, "busy_reason")

    def refusal(self, phone: Phone, account: Account | None, request: AnswerRequest | None = None) -> tuple[int, str | None] | None:
        """(status, phrase) that a call to `account` gets now; None if it may ring.

        Args:
            request: what the caller wants, if that is granted: with privilege it gets through do-not-disturb (RFC 5373 §4.2).
        """
        if self.do_not_disturb is not False and not (request is not None and request.automatic and request.privileged):
            return (480 if self.do_not_disturb is True else int(self.do_not_disturb)), "Do Not Disturb"
        calls = len(phone._sessions)
        if not calls:
            return (486, self.busy_reason) if phone.max_calls == 0 else None
        if not self.call_waiting or (phone.max_calls is not None and calls >= phone.max_calls):
            return 486, self.busy_reason
        if account is not None and account.busy(phone._sessions):
            return 486, self.busy_reason
        return None

    def grants(self, session: CallSession) -> bool:
        """Whether the caller may have its call answered by the phone itself."""
        usage = session.usage
        return self.auto_answer == "any" or (self.auto_answer == "trusted" and usage is not None and is_trusted(session, usage.flow))


def availability_of(given: Availability | None, auto_answer: str | None) -> Availability:
    """What `Phone` was told, as one value.

    Raises:
        ConfigurationError: a value is out of its range.
    """
    availability = given_or_default(given, Availability, "availability")
    return availability if auto_answer is None else replace(availability, auto_answer=auto_answer)


def receive_call(phone: Phone, usage: InviteUsage, session: CallSession) -> None:
    """Let a call ring, answer it by itself if it asks for that and may, or refuse it."""
    availability = phone.availability
    request = requested_answer(usage.request.headers)
    granted = request is not None and request.automatic and availability.grants(session)
    if not phone._incoming.wanted:
        usage.reject(480)
        return
    if request is not None and request.automatic and request.required and not granted:
        usage.reject(403, "Automatic Answering Refused")
        return
    refusal = availability.refusal(phone, session.account, request if granted else None)
    if refusal is not None:
        usage.reject(*refusal)
        return
    call = phone.call_class(session)
    phone._sessions[session] = session.call = call
    session.answer_request = request
    phone._incoming.put(call)
    if granted and request is not None:
        session.auto_answer = request.seconds
        session.call_later(request.seconds, lambda: _answer(session))
    if availability.ring_timeout is not None:
        session.call_later(availability.ring_timeout, lambda: _ring_out(session))


def _answer(session: CallSession) -> None:
    """Nobody has taken or refused the call meanwhile: the phone answers it."""
    if session.end is not None or session.accepted:
        return
    session.answered_itself = True
    try:
        session.accept(answer_mode_headers(session))
    except FlexosipError as error:
        logger.warning("%s: cannot be answered automatically: %s", session.label, error.explain())


def _ring_out(session: CallSession) -> None:
    """Whoever should answer has forgotten it, and the caller may have crashed: a call does not ring for ever."""
    usage = session.usage
    if session.end is None and not session.accepted and usage is not None:
        session.own_end = CallEnd("timeout", 480, _NOBODY)
        usage.reject(480, _NOBODY)


def answer_mode_headers(session: CallSession) -> tuple[tuple[str, str], ...]:
    """What the 200 tells a caller that asked by the standard: how it was answered (RFC 5373 §4.4)."""
    request = session.answer_request
    if request is None or not request.standard:
        return ()
    name = "Priv-Answer-Mode" if request.privileged else "Answer-Mode"
    return ((name, "Auto" if session.answered_itself else "Manual"),)
