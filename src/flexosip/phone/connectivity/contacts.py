"""Our Contact as the peer of a flow can use it (RFC 3261 §8.1.1.8, RFC 5630 §3.3, RFC 7118 §5.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.sip.headers import NameAddr
from flexosip.sip.next_hop import WEB_TRANSPORTS
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.signalling import Signalling
    from flexosip.sip.flow import Flow

__all__ = ["contact_through", "secured"]


def contact_through(signalling: Signalling, flow: Flow, user: str, *, secure: bool = False) -> NameAddr:
    """A Contact for `user` that reaches us through `flow`.

    Over a connection that we opened and where we do not listen, it is that connection's own address: requests come back over it.

    Args:
        secure: a sips address, for those who called or registered one.
    """
    host: str
    port: int | None
    if flow.host_name is not None:
        host, port = flow.host_name, None
    else:
        public = signalling.public_address.of_signalling(flow) if signalling.public_address is not None else None
        host, port = flow.advertised or public or signalling.contact_address(flow)
        if signalling.phone.reach.advertised is not None and flow.via_address is not None:
            host, port = flow.via_address  # the user knows better than what the server sees
    contact = NameAddr(SipUri("sip", user, host, port))
    if flow.transport in WEB_TRANSPORTS:
        # Both kinds of WebSocket are "ws" in a URI.
        contact = NameAddr(SipUri("sip", user, host, port, (("transport", "ws"),)))
    elif flow.transport != "udp":
        contact = NameAddr(SipUri("sip", user, host, port, (("transport", flow.transport),)))
    return secured(contact) if secure else contact


def secured(contact: NameAddr) -> NameAddr:
    """The sips address of a Contact: transport=tls goes without saying then (RFC 5630 §3.1.4)."""
    uri = contact.uri
    if not isinstance(uri, SipUri) or uri.scheme == "sips":
        return contact
    if uri.transport == "tls":
        uri = uri.without_parameters("transport")
    return NameAddr(SipUri("sips", uri.user, uri.host, uri.port, uri.parameters), contact.display_name, contact.parameters)
