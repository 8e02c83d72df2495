"""Taking over calls: an INVITE with Replaces that comes, and naming the call that one of ours shall take over.

Whoever knows Call-ID and both tags could tear a call away from its peer, so a new caller must also come from where our peer or our
server is, or have proved who it is, unless the program trusts the names alone (`accept_replaces`). RFC 3891
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import CallReplaced, ConfigurationError, FlexosipError, InvalidState
from flexosip.phone.events import CallEnd, Replaced
from flexosip.phone.transfer.transfer_values import ReplaceRequest, referred_by
from flexosip.phone.transfer.transfers import decide
from flexosip.sip.grammar import SipParseError
from flexosip.sip.replaces import Replaces, ReplacesRefused, find_replaced

if TYPE_CHECKING:
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession
    from flexosip.sip.invite import InviteUsage

__all__ = ["receive_replacing", "replaces_headers"]

logger = logging.getLogger(__name__)

_DECISION = 10.0


def replaces_headers(replaces: Call | Replaces | str) -> tuple[tuple[str, str], ...]:
    """Headers of an INVITE that shall take over `replaces`: a call of ours, for its peer, or the dialog as its owner knows it.

    Raises:
        InvalidState: the call has no dialog. ConfigurationError: it names none.
    """
    if isinstance(replaces, str):
        try:
            replaces = Replaces.parse(replaces)
        except SipParseError as error:
            raise ConfigurationError(f"replaces={replaces!r}: {error}. Write call-id;to-tag=...;from-tag=...") from error
    elif not isinstance(replaces, Replaces):
        usage = replaces._session.require_usage()
        if usage.dialog is None or usage.dialog.early:
            raise InvalidState("replaces: only a call that is answered can be taken over by another.")
        replaces = Replaces.for_peer(usage.dialog)
    return (("Replaces", str(replaces)), ("Require", "replaces"))


def receive_replacing(phone: Phone, usage: InviteUsage, session: CallSession) -> bool:
    """Take care of an INVITE with Replaces; False when there is none, or the phone does not do that: then it is a call like any other.

    Args:
        usage: the INVITE.
        session: the new call, known to nobody yet.
    """
    transfers = phone.transfers
    if "Replaces" not in usage.request.headers or transfers.accept_replaces is False:
        return False
    try:
        replaces = Replaces.of(usage.request)
        assert replaces is not None
        found = find_replaced(replaces, phone.core.dialogs, transfers.ended)
        old = next((known for known in phone._sessions if known.usage is found), None)
        if old is None:
            raise ReplacesRefused(481)
    except SipParseError as error:
        usage.reject(error.status_hint, error.reason)
    except ReplacesRefused as refusal:
        usage.reject(refusal.status, refusal.reason)
    else:
        if not phone._incoming.wanted:
            # Nobody would talk to the new caller: the call that is there is worth more.
            usage.reject(480)
        else:
            _Takeover(phone, old, session, usage).begin()
    return True


class _Takeover:
    """One call that takes the place of another."""

    def __init__(self, phone: Phone, old: CallSession, new: CallSession, usage: InviteUsage) -> None:
        self._phone = phone
        self._old = old
        self._new = new
        self._usage = usage

    def begin(self) -> None:
        """Decide, at once where it can be."""
        phone, old, usage = self._phone, self._old, self._usage
        assert usage.flow is not None
        policy = phone.transfers.accept_replaces
        # Known to the phone from here on: closing ends it.
        call = phone.call_class(self._new)
        phone._sessions[self._new] = self._new.call = call
        if isinstance(policy, (bool, str)):
            proved = self._new.authenticated_as is not None
            self._decided(policy is True or proved or phone.transfers.comes_from(old, usage.flow))
            return
        question = ReplaceRequest(old.call, usage.request.from_, referred_by(usage.request), usage.flow.remote[0])
        phone.signalling.run(self._ask(policy, question))

    async def _ask(self, policy: object, question: ReplaceRequest) -> None:
        self._decided(bool(await decide(policy, question, _DECISION)))

    def _decided(self, allowed: bool) -> None:
        old, new, usage = self._old, self._new, self._usage
        if new.end is not None:
            return
        if not allowed:
            logger.warning("%s: an INVITE that would replace it is refused", old.label)
            usage.reject(403)
        elif old.end is not None:
            usage.reject(603)
        else:
            self._accept()

    def _accept(self) -> None:
        old, new = self._old, self._new
        new.transfer.replaces = old.call
        try:
            new.accept(())
        except FlexosipError as error:
            # RFC 3891 §3: the call that is there stays as it is.
            logger.info("%s: cannot be replaced: %s", old.label, error)
            return
        self._phone.signalling.run(self._take_over())

    async def _take_over(self) -> None:
        """With the ACK the new call is up, and the old one goes (RFC 3891 §3)."""
        old, new = self._old, self._new
        while new.answered_at is None and new.end is None:
            await new.changed()
        if new.end is not None:
            return
        self._phone._incoming.put(new.call)
        if old.end is not None:
            return
        old.transfer.replaced_by = new.call
        if old.answered_at is None:
            old.failure = CallReplaced(new.call)
        old.emit(Replaced(old.loop.time(), new.call))
        old.end_as(CallEnd("local", 200, "Replaced"))
