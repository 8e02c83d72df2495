"""The phone's own calls as dialog state, for those who watch it (RFC 4235)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.phone.events import CallState
from flexosip.sip.dialog_info import DialogInfo, WatchedDialog
from flexosip.sip.xml_body import xml_text

if TYPE_CHECKING:
    from flexosip.phone.messaging.notifiers import IncomingSubscription
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession

__all__ = ["own_dialogs"]

_STATES = {CallState.NEW: "trying", CallState.CALLING: "trying", CallState.RINGING: "early", CallState.ANSWERED: "confirmed"}


def own_dialogs(phone: Phone, subscription: IncomingSubscription, version: int) -> bytes:
    """A full document of the calls that have not ended."""
    account = phone.accounts[0] if phone.accounts else None
    entity = xml_text(str(account.aor) if account is not None else str(subscription.target))
    dialogs = tuple(_watched(session) for session in phone._sessions if session.usage is not None and session.end is None)
    return bytes(DialogInfo(entity, version, True, dialogs))


def _watched(session: CallSession) -> WatchedDialog:
    usage = session.usage
    assert usage is not None
    request, dialog = usage.request, usage.dialog
    if dialog is None and usage.early_dialogs:
        dialog = next(iter(usage.early_dialogs.values()))
    outgoing = session.direction == "outgoing"
    ours, theirs = (request.from_, request.to) if outgoing else (request.to, request.from_)
    return WatchedDialog(
        id=xml_text(request.call_id),
        state=_STATES.get(session.state, "trying"),
        direction="initiator" if outgoing else "recipient",
        call_id=xml_text(request.call_id),
        local_tag=dialog.local_tag if dialog is not None else ours.tag,
        remote_tag=dialog.remote_tag if dialog is not None else theirs.tag,
        local_uri=xml_text(str(ours.uri)),
        remote_uri=xml_text(str(theirs.uri)),
        remote_name=xml_text(theirs.display_name) or None,
        remote_target=xml_text(str(dialog.remote_target)) if dialog is not None else None,
    )
