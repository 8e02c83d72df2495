"""Who is at the other end of a call: the caller, or who has answered, also when that changes while it lasts (RFC 4916)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.phone.events import IdentityChanged
from flexosip.sip.identity import Identity, number_of, read_identity

if TYPE_CHECKING:
    from flexosip.phone.session import CallSession
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Message, Request

__all__ = ["call_identity", "identity_in_request", "identity_in_response", "is_trusted"]

_TOLD_BY = ("P-Asserted-Identity", "Remote-Party-ID")


def is_trusted(session: CallSession, flow: Flow | None) -> bool:
    """Whether what comes by `flow` is believed."""
    phone = session.phone
    return flow is not None and (phone.trusts(flow) or flow.remote[0] in phone.trusted_peers)


def call_identity(session: CallSession) -> Identity | None:
    """The other side as it is known now; None before a call is dialled. It is read when it is first asked for."""
    known = session.identity
    if known is None and session.usage is not None:
        usage = session.usage
        if session.direction == "incoming":
            known = read_identity(usage.request, trusted=is_trusted(session, usage.flow))
        else:
            dialled = usage.request.to.without_parameters()
            known = Identity(dialled.uri, number_of(dialled.uri), dialled.display_name, "To", claimed=dialled)
        session.identity = known
    return known


def identity_in_response(session: CallSession, message: Message) -> None:
    """A response to our INVITE may tell who it is that rings or has answered."""
    if session.usage is None:
        return
    tag = message.to.tag
    if not any(name in message.headers for name in _TOLD_BY) and session.identity_of in (None, tag):
        # It says nothing, and no other fork has rung under a name that would not be that of who answers now.
        return
    session.identity_of = tag
    dialled = session.usage.request.to.without_parameters()
    _changed(session, read_identity(message, trusted=is_trusted(session, session.usage.flow), party="called", dialled=dialled))


def identity_in_request(session: CallSession, request: Request, flow: Flow | None) -> None:
    """A re-INVITE or UPDATE may tell that somebody else is connected now, by a changed From (RFC 4916) or by an assertion."""
    usage = session.usage
    dialog = usage.dialog if usage is not None else None
    if dialog is None:
        return
    other = request.from_.uri != dialog.remote.uri
    if not other and not any(name in request.headers for name in _TOLD_BY):
        return
    if other:
        dialog.update_remote(request)
    party = "calling" if session.direction == "incoming" else "called"
    _changed(session, read_identity(request, trusted=is_trusted(session, flow), party=party))


def _changed(session: CallSession, identity: Identity) -> None:
    before = call_identity(session)
    assert before is not None
    facts = (identity.uri, identity.number, identity.display_name, identity.asserted, identity.anonymous)
    if facts == (before.uri, before.number, before.display_name, before.asserted, before.anonymous):
        return
    session.identity = identity
    session.emit(IdentityChanged(session.loop.time(), identity))
