"""Transferring a call of ours: REFER, what is told of it, and who hangs up (RFC 3515, RFC 5589).

    blind       REFER to the peer: call the target.
    attended    REFER to the peer: call the target and take over the call that we have with it (Replaces).

The call is kept until the target has answered, and goes on as before when it does not.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallEnded, CallFailed, ConfigurationError, FlexosipError, InvalidState, TransferRefused, TransferTimeout
from flexosip.errors import call_failure as failure_of
from flexosip.phone.events import TransferProgress, Transferred
from flexosip.phone.transfer.transfer_values import TransferResult
from flexosip.sip.headers import NameAddr
from flexosip.sip.refer import refer_to_value
from flexosip.sip.refer_subscription import DialogReferrals, ReferKnowledge, ReferOutcome, ReferSubscription
from flexosip.sip.replaces import Replaces
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd
    from flexosip.phone.session import CallSession
    from flexosip.sip.dialog import Dialog

__all__ = ["transfer"]

logger = logging.getLogger(__name__)

_LEAVE = 1.5
"""Seconds that the other sides have to say BYE after a successful transfer; then we do."""


async def transfer(
    session: CallSession, target: str | SipUri | CallSession, *, hold: bool | None, timeout: float, report: bool
) -> TransferResult:
    """Transfer `session`; see `Call.transfer`. It goes on when the wait is cancelled: a REFER cannot be taken back."""
    if timeout <= 0:
        raise ConfigurationError(f"transfer(timeout={timeout}): give seconds above 0.")
    transferor = _Transferor(session, target, hold, timeout, report)
    done: asyncio.Future[TransferResult] = session.loop.create_future()
    session.transfer.transferring = True
    session.phone.signalling.run(transferor.run(done))
    return await asyncio.shield(done)


class _Transferor:
    """One transfer.

    Raises:
        InvalidState: it is not possible now. ConfigurationError: the target means nothing.
    """

    def __init__(
        self, session: CallSession, target: str | SipUri | CallSession, hold: bool | None, timeout: float, report: bool
    ) -> None:
        self._session = session
        self._dialog = _answered_dialog(session, "transfer()")
        if session.transfer.transferring:
            raise InvalidState("transfer(): this call is being transferred already.", advice="Wait for the result of the first.")
        self._other: CallSession | None = None
        if isinstance(target, (str, SipUri)):
            uri = session.phone.target_uri(target, session.account)
            self._refer_to = refer_to_value(uri)
        else:
            self._other = target
            uri, replaces = _attended(session, self._dialog, target)
            self._refer_to = refer_to_value(uri, replaces)
        self._target = str(uri)
        self._hold = hold if hold is not None else self._other is not None
        self._timeout = timeout
        self._report = report
        self._held: list[CallSession] = []
        self._told = False
        self._subscription: ReferSubscription | None = None

    async def run(self, done: asyncio.Future[TransferResult]) -> None:
        """Carry it out; `done` gets the result or what went wrong."""
        session = self._session
        try:
            result = await self._transfer()
        except Exception as error:
            if not isinstance(error, FlexosipError):
                logger.exception("%s: a transfer failed", session.label)
            _settle(done, error)
        except asyncio.CancelledError:
            # The phone closes.
            _settle(done, CallEnded(session.end) if session.end is not None else InvalidState("The phone is being closed."))
            raise
        else:
            if not done.done():
                done.set_result(result)
        finally:
            session.transfer.transferring = False
            session.transfer.at_end = None

    async def _transfer(self) -> TransferResult:
        try:
            if self._hold:
                await self._hold_all()
            outcome = await self._refer()
            result = self._judge(outcome)
            if self._other is not None and not result.confirmed:
                await self._see_taken_over(self._other, outcome)
        except FlexosipError:
            await self._restore()
            raise
        if not self._told and self._session.end is None:
            self._tell(result)
        await self._leave()
        return result

    # -- hold ---------------------------------------------------------------------------------------------------------

    async def _hold_all(self) -> None:
        """Both parties wait while they are brought together (RFC 5589 §7); one that does not take the hold is transferred all the same."""
        for session in (self._session, self._other):
            if session is None or session.changes.on_hold_by_us:
                continue
            try:
                await session.changes.hold("sendonly")
                self._held.append(session)
            except CallFailed as error:
                logger.info("%s: transferred without hold: %s", session.label, error)

    async def _restore(self) -> None:
        for session in self._held:
            if session.end is None:
                try:
                    await session.changes.hold("sendrecv")
                except FlexosipError as error:
                    logger.warning("%s: stays on hold after a failed transfer: %s", session.label, error)

    # -- REFER --------------------------------------------------------------------------------------------------------

    async def _refer(self) -> ReferOutcome:
        session = self._session
        usage = session.require_usage()
        outcome: asyncio.Future[ReferOutcome] = session.loop.create_future()

        def known(told: ReferOutcome) -> None:
            if told.knowledge is ReferKnowledge.TOLD and told.status < 300 and session.end is None:
                # At once: the BYE may be right behind it.
                self._tell(TransferResult(self._target, told.status, told.reason, True))
            if not outcome.done():
                outcome.set_result(told)

        headers = [("Refer-To", self._refer_to), ("Referred-By", str(NameAddr(self._dialog.local.uri)))]
        if not self._report:
            headers += [("Refer-Sub", "false"), ("Supported", "norefersub")]
        session.transfer.at_end = self._call_ends
        self._subscription = DialogReferrals.of(usage).refer(
            (*headers, *session.phone.standard_headers),
            patience=self._timeout,
            on_progress=self._progress,
            on_done=known,
        )
        await asyncio.wait((outcome, session.over), return_when=asyncio.FIRST_COMPLETED)
        if not outcome.done() and session.end is not None and session.end.by != "remote":
            raise CallEnded(session.end)
        return await outcome

    def _progress(self, status: int, reason: str) -> None:
        if self._session.end is None:
            self._session.emit(TransferProgress(self._session.loop.time(), status, reason))

    def _call_ends(self, end: CallEnd) -> None:
        """BYE of the other side before a final NOTIFY: most likely it talks to the target now."""
        subscription = self._subscription
        if self._other is not None and self._other.end is None:
            return  # Nobody has taken that one over, so far.
        if subscription is not None and end.by == "remote" and end.status == 200 and subscription.accepted and not subscription.done:
            self._tell(TransferResult(self._target, 202, "Accepted", False))

    def _tell(self, result: TransferResult) -> None:
        self._told = True
        self._session.emit(Transferred(self._session.loop.time(), self._target, result.status, result.confirmed))

    def _judge(self, outcome: ReferOutcome) -> TransferResult:
        """The result, or the error that tells the truth."""
        session = self._session
        status, reason = outcome.status, outcome.reason
        knowledge = outcome.knowledge
        if knowledge is ReferKnowledge.REFUSED:
            session.check_not_ended()
            text = f"{status} {reason}".strip()
            raise TransferRefused(f"The other side does not take the transfer to {self._target}: {text}.", status=status, reason=reason)
        if knowledge is ReferKnowledge.TOLD:
            if status < 300:
                return TransferResult(self._target, status, reason, True)
            kind = type(failure_of(status, reason))
            kind = kind if issubclass(kind, CallFailed) else CallFailed
            raise kind(f"The transfer to {self._target} failed: {status} {reason}".rstrip() + ".", status=status, reason=reason)
        if knowledge is ReferKnowledge.UNTOLD or (knowledge is ReferKnowledge.ENDED and outcome.accepted):
            return TransferResult(self._target, 202, "Accepted", False)
        session.check_not_ended()
        what = "stopped telling how it goes" if knowledge is ReferKnowledge.LOST else f"told nothing final within {self._timeout:g} seconds"
        raise TransferTimeout(f"The transfer to {self._target}: the other side {what}.", status=408, reason="Request Timeout")

    async def _see_taken_over(self, other: CallSession, outcome: ReferOutcome) -> None:
        """Nothing was told, but the target ends our call with it when somebody takes its place: else nobody did."""
        session = self._session
        if other.end is None:
            seconds = _LEAVE if outcome.knowledge is ReferKnowledge.ENDED else self._timeout
            await asyncio.wait((other.over,), timeout=seconds)
        if other.end is None:
            session.check_not_ended()
            raise TransferTimeout("The transfer: nobody has taken the other call over.", status=408, reason="Request Timeout")

    # -- the end of the calls -----------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        """The other sides hang up, or we do."""
        sessions = [session for session in (self._session, self._other) if session is not None and session.end is None]
        if sessions:
            await asyncio.wait([session.over for session in sessions], timeout=_LEAVE)
        for session in sessions:
            session.hangup()


def _settle(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # marked as seen: who waited may have been cancelled


def _answered_dialog(session: CallSession, what: str) -> Dialog:
    usage = session.require_usage()
    if session.answered_at is None or usage.dialog is None:
        raise InvalidState(f"{what}: the call is not answered yet.", advice="Await the call first.")
    return usage.dialog


def _attended(session: CallSession, dialog: Dialog, other: CallSession) -> tuple[SipUri, Replaces]:
    """Where the peer of `session` has to call, and what it shall take over there: our call `other` (RFC 5589 §7).

    Raises:
        InvalidState: `other` is the same call, or cannot be taken over.
    """
    if other is session:
        raise InvalidState("transfer(): a call cannot be transferred to itself.", advice="Give the other call.")
    theirs = _answered_dialog(other, "transfer() to a call that is not answered")
    if theirs.call_id == dialog.call_id:
        # Both ends of one call: the peer would be told to replace the very call that it is in.
        raise InvalidState("transfer(): both are ends of the same call.", advice="Give a call with somebody else.")
    try:
        replaces = Replaces.for_peer(theirs)
    except ValueError as error:
        raise InvalidState("transfer(): the other call has no tags by which it could be named (RFC 2543).") from error
    # At our own server the target has a name; anybody else is only sure to be reached at the address that it gave itself.
    remote, account = theirs.remote.uri, other.account
    named = account is not None and isinstance(remote, SipUri) and remote.user is not None and account.owns(remote)
    return (remote if named and isinstance(remote, SipUri) else theirs.remote_target), replaces
