"""Placing a call: which way it takes, who we say we are, and the INVITE (RFC 3261 §8.1, §13.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import InvalidState
from flexosip.phone.events import CallState
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import new_request
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone

__all__ = ["identity_towards", "next_hop", "place"]


def place(phone: Phone, call: Call, uri: SipUri, pairs: tuple[tuple[str, str], ...]) -> None:
    """Send the INVITE of `call` to `uri`, with the headers `pairs`.

    Raises:
        InvalidState: the phone is being closed, or all its lines are in use.
    """
    session = call._session
    if phone._closing is not None:
        raise InvalidState("The phone is being closed.")
    signalling = phone.signalling
    account = session.account
    hop, ours = next_hop(phone, uri, account)
    if phone.max_calls is not None and len(phone._sessions) >= phone.max_calls:
        raise InvalidState(f"All {phone.max_calls} lines of this phone are in use.")
    identity = account.identity if account is not None else phone.identity_towards(uri)
    request = new_request(
        "INVITE",
        uri.without_parameters("method"),
        from_=identity.with_tag(signalling.core.stack.new_tag()),
        to=NameAddr(uri),
        call_id=signalling.core.stack.new_call_id(),
        cseq=phone.random.randrange(1, 10000),
        routes=account.service_route if account is not None and ours else (),
        headers=(*phone.standard_headers, *pairs),
    )
    phone._sessions[session] = session.call = call
    session.state = CallState.CALLING
    session.started_at = phone.loop.time()
    session.usage = signalling.core.invite(
        request,
        hop,
        auth=account.digest if account is not None and ours else None,
        handler=session,
        contact=account.contact if account is not None else phone.contact,
        body=session.offer,
    )


def next_hop(phone: Phone, uri: SipUri, account: Account | None) -> tuple[SipUri, bool]:
    """(next hop, whether that is the account's own server, which may see credentials)."""
    if account is not None and (account.proxy is not None or account.owns(uri)):
        return account.server, True
    hop = uri
    if account is None and phone._direct_proxy is not None:
        hop = phone._direct_proxy
    transport = account.transport if account is not None else phone.transport
    if transport is not None and hop.transport is None:
        hop = hop.with_parameter("transport", transport)
    return hop, False


def identity_towards(phone: Phone, uri: SipUri) -> NameAddr:
    """The From of a phone without account: the address at which it can be called back."""
    host, port = phone.signalling.own_address(uri.host)
    return NameAddr(SipUri("sip", "flexosip", host, port), phone.display_name or "")
