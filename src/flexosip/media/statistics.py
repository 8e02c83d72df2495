"""Figures of one media stream and of the engine, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EngineStatistics", "MediaStatistics"]


@dataclass(frozen=True, slots=True)
class MediaStatistics:
    """Figures of one stream since it was opened. Times are seconds, sizes octets of RTP payload (RFC 3550 §6.4)."""

    codec: str | None = None
    """Name of the codec we send, None before the stream is configured."""
    packets_sent: int = 0
    octets_sent: int = 0
    packets_received: int = 0
    octets_received: int = 0
    lost: int = 0
    """Packets of the other side that never came (RFC 3550 A.3); duplicates can make it negative there, here 0 is the least."""
    fraction_lost: float = 0.0
    """`lost` as a share of all that were expected, 0 to 1."""
    jitter: float = 0.0
    """Interarrival jitter of what we receive (RFC 3550 A.8). Sockets are read once a packet time, so it is that coarse."""
    round_trip: float | None = None
    """From the latest RTCP report; None until one came."""
    remote_lost: int = 0
    """Packets of ours that the other side reports as lost."""
    remote_jitter: float = 0.0
    late: int = 0
    """Packets that came after their moment to be played."""
    duplicates: int = 0
    concealed: int = 0
    """Packet times in which nothing was there to be heard and a substitute was made, while the other side was sending."""
    discarded_by_source: int = 0
    """Packets from an address that is not the other side's."""
    unknown_payload: int = 0
    """Packets with a payload type that was not negotiated."""
    garbage: int = 0
    """Datagrams that are no RTP or RTCP."""
    decode_errors: int = 0
    send_errors: int = 0
    digits_received: int = 0
    digits_sent: int = 0
    skipped: int = 0
    """Packet times in which nothing was sent because the process was stopped or overloaded."""
    rtcp_sent: int = 0
    rtcp_received: int = 0


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Figures of an engine since it was made."""

    streams: int = 0
    opened: int = 0
    closed: int = 0
    groups: int = 0
    """Groups of streams that leave at one moment; one wake-up a packet time for each."""
    ticks: int = 0
    late_ticks: int = 0
    """Ticks that began more than 5 ms after their deadline."""
    worst_lateness: float = 0.0
    skipped_ticks: int = 0
    """Ticks given up since the process was stopped or overloaded for longer than could be caught up."""
    failures: int = 0
    """Faults inside the engine, caught in the stream they hit."""
