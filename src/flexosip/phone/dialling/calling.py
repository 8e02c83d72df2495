"""Placing a call: which way it takes, who we say we are, and the INVITE (RFC 3261 §8.1, §13.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError, InvalidState
from flexosip.phone.call_rules import check_max_duration
from flexosip.phone.connectivity.contacts import secured
from flexosip.phone.dialling.caller_id import caller_address, outgoing_identity
from flexosip.phone.dialling.endings import own_headers
from flexosip.phone.dialling.redirects import Redirects, Target
from flexosip.phone.events import CallState
from flexosip.phone.session import CallSession
from flexosip.phone.transfer.replacing import replaces_headers
from flexosip.phone.values import checked_text
from flexosip.sip.answer_mode import alert_header, auto_answer_headers
from flexosip.sip.headers import NameAddr
from flexosip.sip.identity import ANONYMOUS
from flexosip.sip.message import new_request
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.dialling.endings import HeaderArgument
    from flexosip.phone.phone import Phone
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.replaces import Replaces
    from flexosip.sip.user_to_user import UserToUser

__all__ = ["CallOptions", "create_call", "identity_towards", "next_hop", "place", "place_again"]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What `Phone.call` was told besides the target."""

    ring_timeout: float | None = None
    headers: HeaderArgument = None
    subject: str | None = None
    account: Account | str | None = None
    anonymous: bool = False
    caller_id: str | SipUri | None = None
    auto_answer: bool | float = False
    alert: str | None = None
    uui: bytes | str | UserToUser | None = None
    replaces: Call | Replaces | str | None = None
    offer: bool = True
    max_duration: float | None = None


def create_call(phone: Phone, target: str | SipUri, options: CallOptions) -> Call:
    """A call that is dialled when it is awaited.

    Raises:
        ConfigurationError: the target or an option cannot be used.
    """
    timeout = options.ring_timeout
    if timeout is not None and timeout <= 0:
        raise ConfigurationError(f"ring_timeout={timeout}: give seconds above 0, or None to ring without limit.")
    account = phone.find_account(options.account)
    uri = phone.target_uri(target, account)
    pairs = _invite_headers(uri, options)
    if options.caller_id is not None:
        # A caller id that means nothing is told now, not when it rings.
        caller_address(options.caller_id, account, account.identity if account is not None else ANONYMOUS)
    check_max_duration(options.max_duration)
    longest = options.max_duration if options.max_duration is not None else phone.rules.max_duration
    session = CallSession(phone, account, "outgoing", late_offer=not options.offer, max_duration=longest)
    call = phone.call_class(session, lambda: place(phone, call, uri, pairs, options), timeout)
    return call


def _invite_headers(uri: SipUri, options: CallOptions) -> tuple[tuple[str, str], ...]:
    pairs = own_headers(options.headers, options.uui)
    if options.alert is not None:
        checked_text(options.alert, "alert")
        try:
            pairs = (alert_header(options.alert), *pairs)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
    if options.auto_answer is not False:
        seconds = 0.0 if options.auto_answer is True else options.auto_answer
        if not 0 <= seconds <= 3600:
            raise ConfigurationError(f"auto_answer={seconds}: give True, or seconds from 0 to 3600.")
        pairs = (*auto_answer_headers(uri.host_port, seconds), *pairs)
    if options.subject is not None:
        pairs = (("Subject", checked_text(options.subject, "The subject")), *pairs)
    if options.replaces is not None:
        pairs = (*replaces_headers(options.replaces), *pairs)
    return pairs


def place(phone: Phone, call: Call, uri: SipUri, pairs: tuple[tuple[str, str], ...], options: CallOptions) -> None:
    """Send the INVITE of `call` to `uri`, with the headers `pairs`.

    Raises:
        InvalidState: the phone is being closed, or all its lines are in use.
        CallBarred: the call policy does not let it out.
    """
    session = call._session
    if phone._closing is not None:
        raise InvalidState("The phone is being closed.")
    signalling = phone.signalling
    account = session.account
    hop, ours = next_hop(phone, uri, account)
    if phone.max_calls is not None and len(phone._sessions) >= phone.max_calls:
        raise InvalidState(f"All {phone.max_calls} lines of this phone are in use.")
    if account is not None and account.busy(phone._sessions):
        raise InvalidState(f"All {account.max_calls} lines of {account.aor} are in use.")
    phone.check_outgoing(uri)
    own = account.identity if account is not None else phone.identity_towards(uri)
    identity = outgoing_identity(account, own, options.caller_id, options.anonymous, ours=ours)
    if identity.prefix and account is not None:
        uri = replace(uri, user=f"{account.server_rules.target(identity.prefix, account).user}{uri.user or ''}")
    request = new_request(
        "INVITE",
        uri.without_parameters("method"),
        from_=identity.from_.with_tag(signalling.core.stack.new_tag()),
        to=NameAddr(uri),
        call_id=signalling.core.stack.new_call_id(),
        cseq=phone.random.randrange(1, 10000),
        routes=account.route if account is not None and ours else (),
        headers=(*phone.standard_headers, *identity.headers, *session.transfer.headers, *pairs),
    )
    phone._fuse.watch(session, uri, phone.loop)
    phone._sessions[session] = session.call = call
    session.state = CallState.CALLING
    session.started_at = phone.loop.time()
    # Where our own server hides us, the From has our name: nobody may send the call past that server.
    hidden_by_server = options.anonymous and identity.from_ != ANONYMOUS
    if phone.rules.follow_redirects and not hidden_by_server:
        session.redirects = Redirects(session, uri, lambda target: place_again(phone, session, target))
    _invite(phone, session, request, hop, ours)


def _invite(phone: Phone, session: CallSession, request: Request, hop: SipUri, ours: bool) -> None:
    account = session.account
    session.usage = phone.core.invite(
        request,
        hop,
        auth=account.digest if account is not None and ours else None,
        handler=session,
        contact=_contact(phone, account, secure=request.uri.scheme == "sips"),
        body=session.offers.offer,
        preferred=account.flow if account is not None and ours else None,
    )


def place_again(phone: Phone, session: CallSession, target: Target) -> None:
    """Send the INVITE of a redirected call to its next target: same Call-ID, From and To, the next CSeq (RFC 3261 §8.1.3.4)."""
    usage, account = session.usage, session.account
    assert usage is not None
    routes: tuple[NameAddr, ...] = ()
    if target.proxy is not None:
        hop, routes = target.proxy, (NameAddr(target.proxy.with_parameter("lr")),)
        # A proxy that a stranger named sees no credentials, unless it is our own server, and that is found our way: an maddr beside its
        # name would lead anywhere.
        ours = account is not None and (hop.host, hop.port) == (account.server.host, account.server.port) and not hop.has_parameter("maddr")
        if account is not None and ours:
            hop = account.server_for(target.uri)
    else:
        hop, ours = next_hop(phone, target.uri, account)
        if account is not None and ours:
            routes = account.route
    request = usage.request.copy()
    request.uri = target.uri
    headers = request.headers
    number = request.cseq.number
    for name in ("Via", "Route", "Authorization", "Proxy-Authorization"):
        headers.remove(name)
    if not ours:
        # What our own server may know of us (RFC 3325 §5) is no business of a stranger's.
        for name in ("P-Preferred-Identity", "P-Asserted-Identity", "Remote-Party-ID"):
            headers.remove(name)
    for route in routes:
        headers.add("Route", str(route))
    headers.set("CSeq", f"{number + 1} INVITE")
    _invite(phone, session, request, hop, ours)


def next_hop(phone: Phone, uri: SipUri, account: Account | None) -> tuple[SipUri, bool]:
    """(next hop, whether that is the account's own server, which may see credentials)."""
    if account is not None and (account.proxy is not None or account.owns(uri)):
        return account.server_for(uri), True
    hop = uri
    if account is None and phone._direct_proxy is not None:
        hop = phone._direct_proxy
        if uri.scheme == "sips":
            hop = replace(hop, scheme="sips")
    transport = account.transport if account is not None else phone.transport
    if transport is not None and hop.transport is None:
        hop = hop.with_parameter("transport", transport)
    return hop, False


def _contact(phone: Phone, account: Account | None, *, secure: bool) -> Callable[[Flow], NameAddr]:
    """Our Contact once the flow is known; a sips address for a call to one (RFC 3261 §8.1.1.8)."""
    plain = account.contact if account is not None else phone.contact
    return (lambda flow: secured(plain(flow))) if secure else plain


def identity_towards(phone: Phone, uri: SipUri) -> NameAddr:
    """The From of a phone without account: the address at which it can be called back."""
    host, port = phone.signalling.own_address(uri.host)
    return NameAddr(SipUri(uri.scheme, "flexosip", host, port), phone.display_name or "")
