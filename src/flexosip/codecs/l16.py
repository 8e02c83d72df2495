"""L16: linear PCM in network octet order. RFC 3551 §4.5.11."""

from __future__ import annotations

from array import array

from flexosip.errors import CodecError

__all__ = ["L16"]


class L16:
    """L16 at any rate; stateless.

    Args:
        rate: samples a second, also the RTP clock.
        channels: interleaved channels; payload types 10 and 11 are 44100 Hz with two and one.
    """

    __slots__ = ("channels", "clock_rate", "payload_type", "sample_rate")
    name = "L16"

    def __init__(self, rate: int = 16000, channels: int = 1) -> None:
        self.clock_rate = rate
        self.sample_rate = rate
        self.channels = channels
        self.payload_type: int | None = {1: 11, 2: 10}.get(channels) if rate == 44100 else None

    def encode(self, pcm: bytes) -> bytes:
        """Swap the octets of every sample."""
        return self._swapped(pcm)

    def decode(self, payload: bytes) -> bytes:
        """Swap the octets of every sample."""
        return self._swapped(payload)

    def _swapped(self, data: bytes) -> bytes:
        if len(data) % (2 * self.channels):
            raise CodecError(f"L16 of {len(data)} octets is not a whole number of samples for {self.channels} channel(s).")
        samples = array("h", data)
        samples.byteswap()
        return samples.tobytes()

    def silence(self, samples: int) -> bytes:
        """Zeros."""
        return bytes(2 * self.channels * samples)

    def samples(self, payload: bytes) -> int:
        """Two octets a channel."""
        return len(payload) // (2 * self.channels)
