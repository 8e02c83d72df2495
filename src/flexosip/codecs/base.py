"""What every codec offers: PCM in and out, payload bytes on the wire, and how long a payload lasts."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Codec"]


class Codec(Protocol):
    """One direction of one stream; a codec with memory (none of the base has) must not be shared between streams.

    PCM is int16, little-endian, `channels` interleaved, at `sample_rate`.
    """

    @property
    def name(self) -> str:
        """Encoding name as in SDP's rtpmap, upper-case (RFC 3551 §6)."""

    @property
    def clock_rate(self) -> int:
        """Rate of the RTP timestamps in Hz. Not always the rate of the sound: G.722 counts 8000 (RFC 3551 §4.5.2)."""

    @property
    def sample_rate(self) -> int:
        """Rate of the PCM in Hz."""

    @property
    def channels(self) -> int:
        """Number of channels in PCM and payload."""

    @property
    def payload_type(self) -> int | None:
        """The static payload type (RFC 3551 §6), None when it is agreed by SDP only."""

    def encode(self, pcm: bytes) -> bytes:
        """PCM to a payload.

        Raises:
            CodecError: not a whole number of samples.
        """

    def decode(self, payload: bytes) -> bytes:
        """A payload to PCM.

        Raises:
            CodecError: the payload is damaged.
        """

    def silence(self, samples: int) -> bytes:
        """The payload of `samples` samples (at `sample_rate`) of silence."""

    def samples(self, payload: bytes) -> int:
        """How long a payload lasts, in RTP clock ticks."""
