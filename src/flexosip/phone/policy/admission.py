"""The door of a phone: what is read at all, what is let in, what is answered, and how much may be sent to whom.

In the order in which a message meets them: dropped unread while its source brings too much; then, for a new request, the rates,
the policy (`CallerPolicy`), the limit of dialogs; and on the way out no more octets to a UDP address than came from it, until it
has shown that it gets what we send. Addresses of datagrams can be forged: who is flooded with answers never asked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.phone.policy.caller_auth import CallerAuth
from flexosip.phone.policy.callers import Judgement
from flexosip.phone.policy.rates import SourceRate, SourceRates, TokenBucket
from flexosip.sip.next_hop import SECURE_TRANSPORTS

if TYPE_CHECKING:
    from flexosip.phone.phone import Phone
    from flexosip.phone.policy.limits import Limits
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request

__all__ = ["Admission", "AdmissionStatistics"]

logger = logging.getLogger(__name__)

_LOAN_RATE = 16_384.0
"""Octets a second at which what was lent to unproven addresses comes back."""
_ROOM_FOR_FINAL = 600
"""Octets kept for the final answer to an INVITE when it is about a 100."""
_COMPLAIN_EVERY = 60.0
_RETRY_AFTER = "10"
_OF_CALLS = frozenset((b"ACK", b"BYE", b"CAN", b"INF", b"PRA", b"UPD", b"NOT"))
"""Beginnings of requests that mostly belong to calls; a flood of them is bounded too, but later."""
_NEEDED = {
    b"via": b"v", b"from": b"f", b"to": b"t", b"call-id": b"i", b"cseq": b"CSeq", b"www-authenticate": b"WWW-Authenticate",
    b"retry-after": b"Retry-After",
}  # fmt: skip
"""Headers without which an answer would be none, and their short names; the rest is left out where it would be too long for a stranger."""
_SHORT = {
    b"via": b"v", b"from": b"f", b"to": b"t", b"call-id": b"i", b"contact": b"m", b"supported": b"k", b"content-type": b"c",
    b"content-length": b"l",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """Counters since the start of the phone, and what is there now."""

    admitted: int
    """New requests that were let in."""
    silent: int
    """New requests of strangers that met silence."""
    denied: int
    """New requests refused with 403 because of who called."""
    challenged: int
    """New requests answered with a challenge."""
    over_limit: int
    """New requests above a rate or the limit of dialogs; 503 or silence."""
    unread: int
    """Messages dropped unread because their source, or all together, brought too much."""
    withheld: int
    """Answers not sent because more would have gone to an unproven UDP address than came from it."""
    shortened: int
    """Answers sent without their optional headers for the same reason."""
    sources: int
    """Source addresses that are remembered."""


class Admission:
    """The door of a started phone.

    Args:
        phone: whose callers, accounts and limits count.
        core: the user agent behind the door.
    """

    def __init__(self, phone: Phone, core: UserAgentCore) -> None:
        self.limits: Limits = phone.limits
        self._phone = phone
        self._core = core
        self._scheduler = core.scheduler
        limits, now = self.limits, core.scheduler.now
        self._sources = SourceRates(limits.source_rate, limits.source_burst, limits.sources) if limits.source_rate is not None else None
        self._total = SourceRate(limits.total_rate, limits.total_burst, now) if limits.total_rate is not None else None
        self._loan = TokenBucket(_LOAN_RATE, limits.total_loan, now)
        self._auth = self._caller_auth()
        self._complained = now - _COMPLAIN_EVERY
        self._admitted = self._silent = self._denied = self._challenged = 0
        self._over_limit = self._unread = self._withheld = self._shortened = 0
        stack = core.stack
        stack.max_transactions, stack.max_pending = limits.transactions, limits.pending
        stack.on_proven = self._proven
        core.accept = self.admits
        core.unproven = self._is_unproven
        core.same_way = self._same_way

    # -- before it is read ------------------------------------------------------------------------------------------

    def reads(self, data: bytes, flow: Flow) -> bool:
        """Whether a message is worth being read; False drops it."""
        if not flow.proven and not flow.reliable:
            flow.credit += len(data)
        sources, total = self._sources, self._total
        source = sources.find(flow.remote[0]) if sources is not None else None
        if source is None and (total is None or flow.proven):
            return True
        now = self._scheduler.now
        if source is not None and source.closed_until > now:
            closed = source
        elif total is not None and total.closed_until > now and not flow.proven and not self._phone.trusts(flow):
            closed = total
        else:
            return True
        if data.startswith(b"SIP/2.0 ") or (data[:3] in _OF_CALLS and (flow.proven or closed.within.take(now))):
            return True
        self._unread += 1
        return False

    # -- a new request ----------------------------------------------------------------------------------------------

    def admits(self, request: Request, flow: Flow) -> bool:
        """Whether a new request outside of dialogs goes on; if not, it has been answered or meets silence."""
        phone = self._phone
        judgement = phone._callers.judge(request, flow, phone.accounts)
        silent = judgement is Judgement.SILENCE
        if not phone.trusts(flow) and not self._within_rates(
            request, flow, aloud=(not silent or self._auth is not None) and self.limits.excess == "503"
        ):
            self._over_limit += 1
            self._complain(flow)
            return False
        if self._auth is not None and judgement in (Judgement.SILENCE, Judgement.STRANGER):
            return self._proves_itself(self._auth, request, flow)
        if silent:
            self._silent += 1
            return False
        if judgement is Judgement.DENY:
            self._denied += 1
            self._core.stack.refuse(request, flow, 403)
            return False
        return self._has_room(request, flow)

    def _has_room(self, request: Request, flow: Flow) -> bool:
        if request.method == "INVITE" and len(self._core.dialogs) >= self.limits.dialogs:
            self._over_limit += 1
            self._complain(flow)
            self._refuse_for_now(request, flow)
            return False
        self._admitted += 1
        return True

    def _caller_auth(self) -> CallerAuth | None:
        phone = self._phone
        callers = phone._callers.callers
        if callers.require_auth is None:
            return None
        realm = phone.accounts[0].aor.host if phone.accounts else "flexosip"
        return CallerAuth(callers, realm, scheduler=self._scheduler, random=phone.random)

    def _proves_itself(self, auth: CallerAuth, request: Request, flow: Flow) -> bool:
        """Whether a stranger has proved who he is; if not, he is challenged."""
        if request.method == "CANCEL":
            # It cannot be challenged (RFC 3261 §22.1), and cancels nothing of ours.
            self._silent += 1
            return False
        challenge = auth.check(request)
        if challenge is None:
            self._core.stack.prove(flow)
            return self._has_room(request, flow)
        self._challenged += 1
        if auth.guessed(request) and self._sources is not None:
            # Guessing passwords is ten times as slow as asking.
            self._sources.get(flow.remote[0], self._scheduler.now).admitted.drain(9)
        self._core.stack.refuse(request, flow, 401, headers=challenge)
        return False

    def user_of(self, request: Request) -> str | None:
        """Who has proved to be the sender of a request that was just let in; None where nobody had to."""
        return self._auth.user_of(request) if self._auth is not None else None

    def _within_rates(self, request: Request, flow: Flow, *, aloud: bool) -> bool:
        """Count a request; one too many is answered 503 if `aloud`, and while those are too many too, nothing more is read."""
        now = self._scheduler.now
        sources = self._sources
        exceeded = None
        if sources is not None and not (source := sources.get(flow.remote[0], now)).admit(now):
            exceeded = source
        elif self._total is not None and not flow.proven and not self._total.admit(now):
            exceeded = self._total
        if exceeded is None:
            return True
        if exceeded.refuse(now, aloud):
            self._refuse_for_now(request, flow)
        return False

    def _refuse_for_now(self, request: Request, flow: Flow) -> None:
        self._core.stack.refuse(request, flow, 503, headers=(("Retry-After", _RETRY_AFTER),))

    def _complain(self, flow: Flow) -> None:
        """A log line now and then: an attack must not fill the log."""
        now = self._scheduler.now
        if now - self._complained >= _COMPLAIN_EVERY:
            self._complained = now
            logger.warning(
                "too many requests, the latest from %s:%s: %d refused and %d dropped unread so far",
                *flow.remote,
                self._over_limit,
                self._unread,
            )

    # -- on the way out ---------------------------------------------------------------------------------------------

    def fits(self, flow: Flow, data: bytes) -> bytes | None:
        """What of a datagram may be sent to an address that is not proven: all, an answer without its optional headers, or nothing."""
        payer = flow.payer or flow
        if not self.limits.bound_answers or (payer.proven and payer.remote[0] == flow.remote[0]):
            return data
        if not data.startswith(b"SIP/2.0 "):
            # A request of ours goes where our user wants; only a BYE may go to somebody who has never been heard of again, and a NOTIFY to
            # whomever a stranger's SUBSCRIBE names.
            wanted = payer.credit >= 0 and not data.startswith(b"NOTIFY ")
            return data if wanted or self._lend(payer, len(data)) else self._withhold()
        if data.startswith(b"SIP/2.0 100"):
            # Without it the INVITE is repeated, which pays for the answer that matters.
            return self._spend(payer, data) if len(data) + _ROOM_FOR_FINAL <= payer.credit else self._withhold()
        if len(data) <= payer.credit:
            return self._spend(payer, data)
        invited = b" INVITE\r\n" in data
        if (invited and data[8:9] in b"12") or (payer.ringing and (invited or b" CANCEL\r\n" in data)):
            if not self._lend(payer, len(data)):
                return self._withhold()
            # What has begun to ring must be able to end: a refusal is lent as well.
            payer.ringing = True
            return data
        whole = _by_short_names(data)
        if len(whole) <= payer.credit:
            return self._spend(payer, whole)
        short = _without_options(data)
        if len(short) <= payer.credit:
            self._shortened += 1
            return self._spend(payer, short)
        return self._withhold()

    def _spend(self, payer: Flow, data: bytes) -> bytes:
        payer.credit -= len(data)
        if data[8:10] == b"18":
            payer.ringing = True
        return data

    def _withhold(self) -> bytes | None:
        self._withheld += 1
        return None

    def _lend(self, payer: Flow, size: int) -> bool:
        """Let a call or subscription that was taken go on although more goes out than came: what is lost has to be repeated."""
        missing = size - max(0, payer.credit)
        if payer.credit - size < -self.limits.source_loan or not self._loan.take(self._scheduler.now, missing):
            return False
        payer.credit -= size
        return True

    def _proven(self, flow: Flow) -> None:
        if flow.credit < 0:
            self._loan.give(-flow.credit)
        flow.credit = 0
        flow.ringing = False

    @staticmethod
    def _is_unproven(flow: Flow) -> bool:
        return not flow.reliable and not flow.proven

    def _same_way(self, established: Flow, flow: Flow) -> bool:
        """Whether a request within a dialog that was made over `established` may come over `flow`.

        Over UDP and TCP it may: the way changes with NAT and mobile phones, and the tags are what nobody can guess. What was set up
        over TLS needs TLS from the same address, and over our connection to our server that server's connection (RFC 5626 §5.3).
        """
        if established.transport not in SECURE_TRANSPORTS or flow is established:
            return True
        accounts = [account for account in self._phone.accounts if account.trusts(established)]
        if accounts:
            return any(account.trusts(flow) for account in accounts)
        return flow.transport in SECURE_TRANSPORTS and flow.remote[0] == established.remote[0]

    def statistics(self) -> AdmissionStatistics:
        """What was let in and what was not."""
        return AdmissionStatistics(
            admitted=self._admitted,
            silent=self._silent,
            denied=self._denied,
            challenged=self._challenged,
            over_limit=self._over_limit,
            unread=self._unread,
            withheld=self._withheld,
            shortened=self._shortened,
            sources=len(self._sources) if self._sources is not None else 0,
        )


def _by_short_names(data: bytes) -> bytes:
    """The whole response, its headers by their short names (RFC 3261 §7.3.3): an asker who told as much about itself gets it all."""
    head, end, body = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    kept = [start]
    for line in lines:
        name, colon, value = line.partition(b":")
        kept.append(_SHORT.get(name.lower(), name) + colon + value)
    return b"\r\n".join(kept) + end + body


def _without_options(data: bytes) -> bytes:
    """A response without body and without the headers that it can do without, the others by their short names (RFC 3261 §7.3.3)."""
    start, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    kept = [start]
    for line in lines:
        name, colon, value = line.partition(b":")
        short = _NEEDED.get(name.lower())
        if short is not None:
            kept.append(short + colon + value)
    return b"\r\n".join([*kept, b"l: 0", b"", b""])
