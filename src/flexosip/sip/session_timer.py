"""Session timers: a call that nobody refreshes any more is ended, so that no dead peer keeps it for ever.

One `SessionTimer` a call serves both roles: it writes and reads Session-Expires and Min-SE, refreshes at half the interval when that
is ours to do, and ends the call shortly before the interval is over when no refresh came.

    OFF --2xx with Session-Expires--> RUNNING --each 2xx to INVITE or UPDATE, ours or theirs--> RUNNING
                                         |  half the interval: refresh by UPDATE or re-INVITE (the refresher only)
                                         `--min(32 s, 1/3) before the end--> BYE

RFC 4028
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError, find_parameter, parse_parameters
from flexosip.sip.message import parse_scalar

if TYPE_CHECKING:
    from flexosip.sansio import Timer
    from flexosip.sip.invite_changes import ChangingUsage
    from flexosip.sip.message import Message, Request, Response
    from flexosip.sip.outgoing_request import Result

__all__ = ["LEAST_MIN_SE", "OPTION_TAG", "SessionExpires", "SessionTimer", "SessionTimerSettings", "too_small"]

logger = logging.getLogger(__name__)

OPTION_TAG = "timer"
LEAST_MIN_SE = 90
"""Seconds; no Min-SE is smaller (RFC 4028 §5)."""
_LARGEST = 2**32 - 1
_SHORTEST = 10
"""Seconds; below the 90 of the RFC some peers answer with less, but refreshing faster than this would be a flood."""
_MOST_RAISES = 3
"""422s that one call answers with a larger interval: one proxy after the other may have its own minimum."""
_BYE_BEFORE = 32.0
_LOOK_AGAIN = 1.0
"""Seconds after which a refresh that found another change in progress is tried again."""


@dataclass(frozen=True, slots=True)
class SessionTimerSettings:
    """What we ask for.

    Args:
        expires: seconds of the interval that we ask for; None: we ask for none, and take part if the other side does.
        min_se: the shortest interval that we accept, seconds, 90 at least.
    """

    expires: int | None = 1800
    min_se: int = LEAST_MIN_SE


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """The value of a Session-Expires header (RFC 4028 §4)."""

    seconds: int
    refresher: str | None = None
    """`uac` or `uas`: the side of the transaction that the header is in."""

    @classmethod
    def of(cls, message: Message) -> SessionExpires | None:
        """The header of `message`; None when there is none.

        Raises:
            SipParseError: it is malformed.
        """
        value = message.headers.get("Session-Expires")
        if value is None:
            return None
        number, semicolon, rest = value.partition(";")
        seconds = parse_scalar(number.strip(), _LARGEST)
        refresher = (find_parameter(parse_parameters(semicolon + rest), "refresher") or ("", None))[1]
        return cls(seconds, refresher.lower() if refresher is not None and refresher.lower() in ("uac", "uas") else None)

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher is not None else str(self.seconds)


def minimum_of(message: Message) -> int:
    """Min-SE of a message, 90 when it has none (RFC 4028 §5).

    Raises:
        SipParseError: it is malformed.
    """
    value = message.headers.get("Min-SE")
    if value is None:
        return LEAST_MIN_SE
    return max(LEAST_MIN_SE, parse_scalar(value.partition(";")[0].strip(), _LARGEST))


def too_small(request: Request, min_se: int) -> bool:
    """True if `request` asks for an interval shorter than `min_se` seconds and understands a 422 (RFC 4028 §9).

    Raises:
        SipParseError: Session-Expires or Min-SE is malformed.
    """
    if "Session-Expires" not in request.headers and "Min-SE" not in request.headers:
        return False
    asked = SessionExpires.of(request)
    minimum_of(request)
    return asked is not None and asked.seconds < min_se and OPTION_TAG in request.supported


class SessionTimer:
    """The session timer of one call.

    Args:
        usage: the call.
        settings: what we ask for.
    """

    __slots__ = ("_deadline", "_end", "_expires", "_min_se", "_raises", "_refresh", "_update_refused", "_usage", "interval", "ours")

    def __init__(self, usage: ChangingUsage, settings: SessionTimerSettings) -> None:
        self._usage = usage
        self._expires = settings.expires
        self._min_se = settings.min_se
        self._raises = 0
        self._update_refused = False
        self._deadline = 0.0
        self._refresh: Timer | None = None
        self._end: Timer | None = None
        self.interval: int | None = None
        """Seconds; None while no timer runs."""
        self.ours = False
        """True if refreshing is ours to do."""

    @property
    def min_se(self) -> int:
        """The shortest interval that we accept, seconds."""
        return self._min_se

    # -- what we write ------------------------------------------------------------------------------------------------

    def invite_headers(self) -> list[tuple[str, str]]:
        """For the INVITE that starts a call; who refreshes is left to the other side (RFC 4028 §7.1)."""
        if self._expires is None and not self._raises:
            return self._min_se_header()
        return [("Session-Expires", str(max(self._expires or 0, self._min_se))), *self._min_se_header()]

    def change_headers(self) -> list[tuple[str, str]]:
        """For a re-INVITE or UPDATE of ours: it refreshes too, and the refresher stays the same (RFC 4028 §7.4)."""
        if self.interval is None:
            return []
        value = SessionExpires(max(self.interval, self._min_se), "uac" if self.ours else "uas")
        return [("Session-Expires", str(value)), *self._min_se_header()]

    def _min_se_header(self) -> list[tuple[str, str]]:
        return [("Min-SE", str(self._min_se))] if self._min_se > LEAST_MIN_SE else []

    # -- the other side asks ------------------------------------------------------------------------------------------

    def accept(self, request: Request) -> list[tuple[str, str]]:
        """Headers of our 2xx to an INVITE or UPDATE; from now on the timer runs as they say, or not at all (RFC 4028 §9)."""
        asked = SessionExpires.of(request)
        supports = OPTION_TAG in request.supported or OPTION_TAG in request.require
        seconds = self._accepted_interval(request, asked, supports)
        if seconds is None:
            self.stop()
            return []
        refresher = asked.refresher if asked is not None and supports else None
        if refresher is None:
            # Who dares to refresh itself depends on nobody; but what was agreed before stays.
            refresher = "uac" if supports and self.interval is not None and not self.ours else "uas"
        self._start(seconds, refresher == "uas")
        headers = [("Session-Expires", str(SessionExpires(seconds, refresher)))]
        if supports:
            headers.append(("Require", OPTION_TAG))
        return headers

    def _accepted_interval(self, request: Request, asked: SessionExpires | None, supports: bool) -> int | None:
        least = max(minimum_of(request), self._min_se)
        if asked is not None:
            # Below the minimum without understanding 422: a proxy asked, and got it wrong.
            return min(asked.seconds, max(self._expires or asked.seconds, least)) if asked.seconds >= LEAST_MIN_SE else None
        if self._expires is not None and (supports or self.interval is not None):
            return max(self._expires, least)
        return None

    # -- the other side answers ---------------------------------------------------------------------------------------

    def answered(self, response: Response) -> None:
        """A 2xx to our INVITE or UPDATE: its Session-Expires holds, its absence turns the timer off (RFC 4028 §7.2)."""
        try:
            agreed = SessionExpires.of(response)
        except SipParseError as error:
            logger.info("a Session-Expires is ignored: %s", error)
            agreed = None
        if agreed is None:
            self.stop()
        else:
            # Without the parameter that the RFC wants: whoever asked does the work.
            self._start(max(agreed.seconds, _SHORTEST), agreed.refresher != "uas")

    def raise_minimum(self, response: Response) -> bool:
        """True if a 422 leads to another try with a larger interval (RFC 4028 §7.3)."""
        if response.status != 422 or self._raises >= _MOST_RAISES:
            return False
        try:
            least = minimum_of(response)
        except SipParseError as error:
            logger.info("a 422 without a usable Min-SE: %s", error)
            return False
        asked = max(self._expires or 0, self.interval or 0, self._min_se)
        if least <= asked and self._raises:
            return False
        self._raises += 1
        self._min_se = max(self._min_se, least)
        if self.interval is not None:
            self.interval = max(self.interval, self._min_se)
        return True

    def failed(self, result: Result, *, by_update: bool) -> None:
        """A change of ours was refused: if it was the refresh, try again while there is time (RFC 4028 §10)."""
        if self.interval is None or not self.ours or (self._refresh is not None and self._refresh.active):
            return
        scheduler = self._usage.core.scheduler
        if by_update and result.status in (405, 415, 420, 501) and not self._update_refused:
            self._update_refused = True
            self._refresh_due()
            return
        delay = (self._deadline - scheduler.now) / 2
        if delay >= _LOOK_AGAIN:
            self._refresh = scheduler.call_later(delay, self._refresh_due)

    # -- the timer itself ---------------------------------------------------------------------------------------------

    def _start(self, seconds: int, ours: bool) -> None:
        self.stop()
        self.interval = seconds
        self.ours = ours
        scheduler = self._usage.core.scheduler
        self._deadline = scheduler.now + seconds - min(_BYE_BEFORE, seconds / 3)
        self._end = scheduler.call_at(self._deadline, self._expired)
        if ours:
            self._refresh = scheduler.call_later(seconds / 2, self._refresh_due)

    def stop(self) -> None:
        """Turn it off."""
        self.interval = None
        for timer in (self._refresh, self._end):
            if timer is not None:
                timer.cancel()
        self._refresh = self._end = None

    def _refresh_due(self) -> None:
        usage = self._usage
        if usage.may_refresh:
            if usage.peer_allows("UPDATE") and not self._update_refused:
                usage.update(None, lambda result: None)
            else:
                usage.refresh_by_reinvite()
            if not usage.may_refresh or usage.ended:
                return
        # Another change is in progress; it may well do instead.
        self._refresh = usage.core.scheduler.call_later(_LOOK_AGAIN, self._refresh_due)

    def _expired(self) -> None:
        if self.ours:
            logger.info("the session could not be refreshed in time")
        self._usage.session_expired()
