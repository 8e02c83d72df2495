"""Where a call is to be reached, and what changes when our address does.

RFC 3261 §12.2.1, §14.1; RFC 3264 §8.3.1; RFC 3581
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.net.address import is_loopback

if TYPE_CHECKING:
    from flexosip.phone.session import CallSession
    from flexosip.phone.signalling import Signalling
    from flexosip.sip.flow import Flow

__all__ = ["place_call", "sound_hosts"]


def sound_hosts(signalling: Signalling, flow: Flow, theirs: str) -> tuple[str, str]:
    """(address to which our sound is bound, the same as the other side is told) for a call whose signalling takes `flow`.

    The address of the signalling serves the sound too, unless the sound of the other side, at `theirs`, is of the other address family.
    """
    host = flow.local[0]
    if (":" in theirs) != (":" in host):
        own = signalling.address_towards(theirs)
        if own is not None:
            return own, own
    advertised = signalling.phone.reach.advertised
    if advertised is not None and not is_loopback(flow.remote[0]):
        return host, advertised[0]
    public = signalling.public_address.of_signalling(flow) if signalling.public_address is not None else None
    return host, (flow.advertised or public or flow.local)[0]


def place_call(session: CallSession, flow: Flow) -> None:
    """From now on the signalling of `session` takes `flow`, and its sound the same address; the next offer tells the other side.

    Raises:
        NetworkError: there are no ports at the new address.
    """
    usage, media = session.require_usage(), session.require_media()
    signalling = session.phone.signalling
    agreement = media.negotiation.agreement
    theirs = agreement.remote_address if agreement is not None and signalling.is_numeric(agreement.remote_address) else flow.remote[0]
    media.move(*sound_hosts(signalling, flow, theirs))
    usage.flow = flow
    usage.local_contact = signalling.call_contact(session, flow)
