"""What the parent tells the engine of one stream: the outcome of offer and answer, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from flexosip.errors import ConfigurationError

__all__ = ["MediaFormat", "StreamSettings"]

DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """A codec by its SDP name (any case), RTP clock rate in Hz and channels (RFC 8866 §6.6)."""

    name: str
    clock_rate: int = 8000
    channels: int = 1


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream sends and receives. Configuring again changes it without restarting SSRC, sequence or timestamp.

    Raises:
        ConfigurationError: a direction, packet time or payload type outside its range.
    """

    remote: tuple[str, int]
    """Numeric address and port the other side named for RTP; port 0 or address 0.0.0.0 means: do not send."""
    send_format: MediaFormat
    send_payload_type: int
    receive_formats: dict[int, MediaFormat]
    """Payload types we may receive, each with its codec."""
    rtcp: tuple[str, int] | None = None
    """Where RTCP goes; None is the RTP port plus one (RFC 3550 §11)."""
    send_event_payload_type: int | None = None
    receive_event_payload_types: frozenset[int] = field(default_factory=frozenset)
    direction: str = "sendrecv"
    """Ours: "sendrecv", "sendonly", "recvonly" or "inactive"."""
    ptime_ms: int = 20
    cname: str = "flexosip"
    """RTCP canonical name, the same for all streams of one endpoint (RFC 3550 §6.5.1)."""
    media_timeout: float | None = 30.0
    """Seconds without RTP and RTCP until `MediaTimeout`; None never. While we may not receive it never comes."""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ConfigurationError(f"The media direction {self.direction!r} is none of {', '.join(sorted(DIRECTIONS))}.")
        if not 5 <= self.ptime_ms <= 200:
            raise ConfigurationError(f"The packet time {self.ptime_ms} ms is not between 5 and 200 ms.")
        types = [self.send_payload_type, *self.receive_formats, *self.receive_event_payload_types]
        if self.send_event_payload_type is not None:
            types.append(self.send_event_payload_type)
        for payload_type in types:
            if not 0 <= payload_type <= 127:
                raise ConfigurationError(f"The RTP payload type {payload_type} is not between 0 and 127.")

    @property
    def may_send(self) -> bool:
        """True if we send sound now."""
        return self.direction in ("sendrecv", "sendonly") and self.remote[1] != 0 and self.remote[0] not in ("0.0.0.0", "::", "")

    @property
    def may_receive(self) -> bool:
        """True if the other side may send sound now."""
        return self.direction in ("sendrecv", "recvonly")
