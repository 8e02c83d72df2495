"""Being transferred: whether a REFER is followed, the call that it asks for, and telling how that goes.

Nobody may send us anywhere unless the program allows it: a REFER makes this phone call, at its owner's cost, whomever a stranger names.
RFC 3515, RFC 3892, RFC 5589; what is told of it goes over `flexosip.sip.refer_subscription`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallBarred, ConfigurationError, FlexosipError, RemoteProtocolError
from flexosip.phone.events import TransferRequested
from flexosip.phone.session_requests import RECEIVED
from flexosip.phone.transfer.transfer_values import ReplaceHandler, TransferHandler, TransferRequest, referred_by
from flexosip.sip.dialog import Dialog
from flexosip.sip.grammar import SipParseError
from flexosip.sip.next_hop import SECURE_TRANSPORTS
from flexosip.sip.refer import ReferTo, wants_subscription
from flexosip.sip.refer_subscription import DialogReferrals, ReferNotifier
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import DialogId
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["Transfers", "decide"]

logger = logging.getLogger(__name__)

_DECISION = 10.0
"""Seconds that a program may think about a REFER; its sender waits 32 s for an answer (Timer F)."""
_RING = 180.0
"""Seconds that the new call may ring."""
_LEAVE = 4.0
"""Seconds that the one who transferred us has to say BYE after the target has answered; then we do."""
_MOST_IN_A_ROW = 5
"""Transfers that lead from one to the next; more is a circle."""
_ENDED_KEPT = 64
"""Calls that have ended and are remembered, so that who would replace one is told 603 (RFC 3891 §3)."""


class Transfers:
    """What a phone does when others transfer.

    Args:
        phone: the phone.
        accept_transfers: False, True (any transfer of a call of ours), or a function that decides.
        accept_replaces: `auto`, False, True, or a function that decides; see `Phone`.

    Raises:
        ConfigurationError: something else.
    """

    def __init__(self, phone: Phone, accept_transfers: bool | TransferHandler, accept_replaces: bool | str | ReplaceHandler) -> None:
        if not isinstance(accept_transfers, bool) and not callable(accept_transfers):
            raise ConfigurationError(f"accept_transfers={accept_transfers!r}: allowed are True, False and a function.")
        if accept_replaces != "auto" and not isinstance(accept_replaces, bool) and not callable(accept_replaces):
            raise ConfigurationError(f"accept_replaces={accept_replaces!r}: allowed are 'auto', True, False and a function.")
        self._phone = phone
        self._accept = accept_transfers
        self.accept_replaces = accept_replaces
        self.handler: TransferHandler | None = None
        """That of `Phone.on_refer`."""
        self.ended: deque[DialogId] = deque(maxlen=_ENDED_KEPT)
        self._core: UserAgentCore | None = None

    def attach(self, core: UserAgentCore) -> None:
        """Tell `core` what is understood."""
        self._core = core
        # NOTIFYs come for the REFERs that we send, whatever we think of those of others.
        core.extra_methods |= {"NOTIFY"}
        if self.accept_replaces is not False:
            core.supported |= {"replaces"}
        if self._accept is not False or self.handler is not None:
            self.announce()

    def announce(self) -> None:
        """From now on REFER is in Allow; nothing is announced that is never done."""
        self._phone.requests.handle("REFER", self.receive_outside)
        if self._core is not None:
            self._core.extra_methods |= {"REFER"}
            self._core.supported |= {"norefersub", "nosub"}

    def note_end(self, session: CallSession) -> None:
        """A call is over."""
        dialog = session.usage.dialog if session.usage is not None else None
        if dialog is not None and not dialog.early:
            self.ended.append(dialog.id)

    # -- REFER comes --------------------------------------------------------------------------------------------------

    def receive_within(self, session: CallSession, request: Request, transaction: ServerTransaction) -> None:
        """A REFER in the dialog of a call."""
        usage = session.usage
        assert usage is not None
        if not self.comes_from(session, transaction.flow):
            logger.warning("%s: a REFER came from elsewhere and is refused", session.label)
            transaction.respond(request.create_response(403))
        elif session.answered_at is None or usage.dialog is None or session.transfer.referred:
            # Not answered yet, or the last one is still under way.
            transaction.respond(request.create_response(491))
        elif session.transfer.depth >= _MOST_IN_A_ROW:
            logger.warning("%s: transferred %d times in a row, now refused", session.label, session.transfer.depth)
            transaction.respond(request.create_response(482))
        else:
            self._receive(session, session.account, DialogReferrals.of(usage), request, transaction)

    def comes_from(self, session: CallSession, flow: Flow) -> bool:
        """Whether `flow` leads to the peer of that call or to a server of ours; what began encrypted does not go on in the clear."""
        way = session.usage.flow if session.usage is not None else None
        if way is not None and way.remote[0] == flow.remote[0]:
            return way.transport not in SECURE_TRANSPORTS or flow.transport in SECURE_TRANSPORTS
        return any(account.trusts(flow) for account in self._phone.accounts)

    def receive_outside(self, request: Request, transaction: ServerTransaction) -> None:
        """A REFER from outside of any dialog (click-to-dial)."""
        core, flow = self._phone.core, transaction.flow
        dialog = Dialog.from_request(request, transaction.to_tag)
        dialog.early = False
        account = self._phone.account_called(request, flow)
        auth = account.digest if account is not None and account.trusts(flow) else None
        referrals = DialogReferrals(core, dialog, flow=flow, auth=auth, contact=core.contact_value(flow, request))
        self._receive(None, account, referrals, request, transaction)

    def _receive(
        self,
        session: CallSession | None,
        account: Account | None,
        referrals: DialogReferrals,
        request: Request,
        transaction: ServerTransaction,
    ) -> None:
        try:
            refer_to = ReferTo.of(request)
            claimed = referred_by(request)
            if refer_to.replaces is not None and refer_to.replaces.names(referrals.dialog.id):
                # Some phones name the very call in which they send it: it would end itself.
                raise SipParseError("Replaces names this very call")
            target = self._phone.target_uri(str(refer_to.uri), account)
        except ConfigurationError as error:
            logger.info("a REFER to something that cannot be called: %s", error)
            transaction.respond(request.create_response(416))
            return
        except RemoteProtocolError as error:
            reason = error.reason if isinstance(error, SipParseError) else None
            transaction.respond(request.create_response(error.status_hint, reason))
            return
        if refer_to.ignored:
            logger.info("a Refer-To wants headers that are not allowed: %s", ", ".join(sorted(set(refer_to.ignored)))[:200])
        headers = refer_to.invite_headers
        if claimed is not None:
            headers = (("Referred-By", str(claimed)), *headers)
        order = TransferRequest(
            str(refer_to.uri),
            session.call if session is not None else None,
            claimed,
            refer_to.replaces is not None,
            transaction.flow.remote[0],
        )
        work = _Referral(self._phone, session, account, target, referrals, request, transaction, order, headers)
        if session is not None:
            session.transfer.referred = True
        self._phone.signalling.run(work.run(self._decision(session)))

    def _decision(self, session: CallSession | None) -> bool | TransferHandler:
        """Who decides: the call's own function, that of the phone, else the setting, which does not cover strangers' wishes."""
        if session is not None and session.transfer.on_transfer is not None:
            return session.transfer.on_transfer
        if self.handler is not None:
            return self.handler
        return False if session is None and self._accept is True else self._accept


class _Referral:
    """One REFER that came, from the decision to the last NOTIFY."""

    def __init__(
        self,
        phone: Phone,
        session: CallSession | None,
        account: Account | None,
        target: SipUri,
        referrals: DialogReferrals,
        request: Request,
        transaction: ServerTransaction,
        order: TransferRequest,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        self._phone = phone
        self._session = session
        self._account = account
        self._target = target
        self._referrals = referrals
        self._request = request
        self._transaction = transaction
        self._order = order
        self._headers = headers

    async def run(self, decision: bool | TransferHandler) -> None:
        """Ask the program, then do it."""
        session = self._session
        try:
            allowed: Any = decision if isinstance(decision, bool) else await decide(decision, self._order, _DECISION)
            if not allowed or (session is not None and session.end is not None):
                self._transaction.respond(self._request.create_response(603))
                return
            notifier = self._accept()
            await self._follow(allowed if self._is_call(allowed) else None, notifier)
        finally:
            if session is not None:
                session.transfer.referred = False
            if self._transaction.is_pending:
                # The phone closes.
                self._transaction.respond(self._request.create_response(503))

    @staticmethod
    def _is_call(result: Any) -> bool:
        from flexosip.phone.call import Call

        return isinstance(result, Call)

    def _accept(self) -> ReferNotifier | None:
        """202, and NOTIFY 100 at once (RFC 3515 §2.4.4) unless no subscription is wanted (RFC 4488 §4)."""
        request, transaction = self._request, self._transaction
        wanted = wants_subscription(request)
        contact = self._phone.core.contact_value(transaction.flow, request)
        headers = [("Contact", str(contact))] if contact is not None else []
        if not wanted and "Refer-Sub" in request.headers:
            headers.append(("Refer-Sub", "false"))
        transaction.respond(request.create_response(202, headers=headers))
        if not wanted:
            return None
        notifier = self._referrals.notifier(request)
        notifier.notify(100)
        return notifier

    async def _follow(self, call: Call | None, notifier: ReferNotifier | None) -> None:
        """Call the target, and tell how it goes."""
        old = self._session
        try:
            if call is None:
                call = self._phone.call(self._target, account=self._account)
            new = call._session
            new.transfer.headers = self._headers
            if old is not None:
                new.transfer.depth = old.transfer.depth + 1
            call._start()
        except FlexosipError as error:
            logger.warning("a REFER cannot be followed: %s", error)
            if notifier is not None:
                notifier.finish(403 if isinstance(error, CallBarred) else 503)
            return
        if old is not None:
            old.transfer.transferred_to = call
            if old.end is None:
                by = str(self._order.referred_by.uri) if self._order.referred_by is not None else None
                old.emit(TransferRequested(old.loop.time(), self._order.target, by, call))
        await self._watch(new, notifier)
        if old is not None and new.answered_at is not None:
            await asyncio.wait((old.over,), timeout=_LEAVE)
            old.hangup()

    async def _watch(self, new: CallSession, notifier: ReferNotifier | None) -> None:
        told = 100
        deadline = new.loop.time() + _RING
        while new.answered_at is None and new.end is None:
            try:
                async with asyncio.timeout_at(deadline):
                    await new.changed()
            except TimeoutError:
                new.hangup()
                deadline = new.loop.time() + _RING
                continue
            response = new.response
            if notifier is not None and response is not None and told != response.status and 100 < response.status < 200:
                told = response.status
                notifier.notify(told, response.reason)
        if notifier is None:
            return
        if new.answered_at is not None:
            notifier.finish(200)
        elif new.end is not None:
            status = new.end.status
            notifier.finish(status if 300 <= status <= 699 else 503, new.end.reason or None)


async def decide(handler: Any, question: Any, seconds: float) -> Any:
    """What a function of the program says, sync or async; False when it fails or takes longer."""
    try:
        answer = handler(question)
        if inspect.isawaitable(answer) and not hasattr(answer, "_session"):
            return await _within(answer, seconds)
        return answer
    except TimeoutError:
        logger.warning("the decision about a transfer took longer than %g s: refused", seconds)
    except Exception:
        logger.exception("the decision about a transfer failed: refused")
    return False


async def _within(answer: Awaitable[Any], seconds: float) -> Any:
    async with asyncio.timeout(seconds):
        return await answer


def _receive_refer(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    session.phone.transfers.receive_within(session, request, transaction)


def _receive_notify(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    usage = session.usage
    assert usage is not None
    if usage.dialog is None:
        transaction.respond(request.create_response(481))
    else:
        DialogReferrals.of(usage).receive_request(request, transaction)


_subscribe_otherwise = RECEIVED.get("SUBSCRIBE")


def _receive_subscribe(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    """A subscription that a REFER made is refreshed where it was made; any other is not ours."""
    companion = session.usage.companion if session.usage is not None else None
    package = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
    if package == "refer" and companion is not None:
        companion.receive_request(request, transaction)
    elif _subscribe_otherwise is not None:
        _subscribe_otherwise(session, request, transaction)
    else:
        transaction.respond(request.create_response(489))


RECEIVED["REFER"] = _receive_refer
RECEIVED["SUBSCRIBE"] = _receive_subscribe
RECEIVED["NOTIFY"] = _receive_notify
