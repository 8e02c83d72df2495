"""What an offer and its answer come to, seen from our side.

RFC 3264 §6.1 (direction), §8.4 (hold).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flexosip.sdp.formats import AudioFormat

__all__ = ["DIRECTIONS", "Direction", "MediaAgreement", "direction_of", "meet", "plain_address"]

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

# (we send, we receive)
DIRECTIONS: dict[str, tuple[bool, bool]] = {
    "sendrecv": (True, True),
    "sendonly": (True, False),
    "recvonly": (False, True),
    "inactive": (False, False),
}


def direction_of(send: bool, receive: bool) -> Direction:
    """The SDP word for a pair of permissions."""
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def meet(ours: str, theirs: str) -> Direction:
    """Our direction when we want `ours` and the peer wrote `theirs`: we send what he receives, and the other way round."""
    send, receive = DIRECTIONS[ours]
    he_sends, he_receives = DIRECTIONS[theirs]
    return direction_of(send and he_receives, receive and he_sends)


def plain_address(address: str) -> str:
    """The IPv4 address in an IPv4-mapped IPv6 one (`::ffff:192.0.2.2`), which no IPv6 packet reaches; any other as it is."""
    if ":" not in address:
        return address
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped is not None else address


@dataclass(frozen=True, slots=True)
class MediaAgreement:
    """The sound of a call as agreed: where to send what, and what will come.

    Attributes:
        remote_address: where the peer listens; an IP address, or seldom a host name (RFC 8866 §5.7). "0.0.0.0" when he holds the old way.
        remote_port: his RTP port.
        remote_rtcp: his RTCP address and port: `a=rtcp`, else the next port (RFC 3605).
        send_format: what we send, with the payload type that he wants to see in it.
        receive_formats: what may come, by payload type. To be read only: calls share it.
        send_event_payload_type: payload type of the digits we send, at the clock rate of `send_format`; None: he takes none.
        receive_event_payload_types: payload types that carry digits to us.
        direction: of our side.
        ptime_ms: duration of the packets we send, a multiple of 10, from 10 to 120.
        held: the peer holds us: he does not want to hear us, although we would speak.
        receive_event_clock_rates: clock rate by payload type of `receive_event_payload_types`. To be read only.
    """

    remote_address: str
    remote_port: int
    remote_rtcp: tuple[str, int]
    send_format: AudioFormat
    receive_formats: Mapping[int, AudioFormat]
    send_event_payload_type: int | None
    receive_event_payload_types: frozenset[int]
    direction: Direction
    ptime_ms: int = 20
    held: bool = False
    receive_event_clock_rates: Mapping[int, int] = field(default_factory=dict)

    @property
    def may_send(self) -> bool:
        """True when the peer wants sound from us."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def may_receive(self) -> bool:
        """True when the peer may send sound to us."""
        return self.direction in ("sendrecv", "recvonly")
