"""SDP and offer/answer: what both sides of a call agree on for the sound.

No sockets, no clock. `Negotiation` is the one machine for INVITE, re-INVITE, UPDATE and PRACK; `SessionDescription` is the plain text form.

RFC 8866 (SDP), RFC 3264 (offer/answer), RFC 3551 (static payload types), RFC 3605 (`a=rtcp`), RFC 4733 (telephone-event), RFC 6337.
"""

from flexosip.sdp.agreement import MediaAgreement, plain_address
from flexosip.sdp.formats import STATIC_FORMATS, AudioFormat
from flexosip.sdp.negotiation import Negotiation
from flexosip.sdp.refusal import refusal
from flexosip.sdp.session import Connection, MediaDescription, Origin, SdpError, SessionDescription

__all__ = [
    "STATIC_FORMATS",
    "AudioFormat",
    "Connection",
    "MediaAgreement",
    "MediaDescription",
    "Negotiation",
    "Origin",
    "SdpError",
    "SessionDescription",
    "plain_address",
    "refusal",
]
