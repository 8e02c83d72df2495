"""In which form sound waits to be sent: as payload where a codec works sample by sample, else as PCM.

So a prompt in G.711 or L16 is encoded once and shared; slicing it anywhere is a correct packet. A codec with memory is
encoded packet by packet in the stream that sends it.
"""

from __future__ import annotations

from flexosip import codecs
from flexosip.errors import CodecError
from flexosip.media.settings import MediaFormat

__all__ = ["SendingFormat"]

_OCTETS_PER_SAMPLE = {"PCMA": 1, "PCMU": 1, "L16": 2}
"""The codecs without memory."""


class SendingFormat:
    """A codec seen from the play queue.

    Raises:
        CodecError: the codec is not supported, or not mono.
    """

    __slots__ = ("clock_rate", "codec", "is_payload", "key", "sample_rate", "unit")

    def __init__(self, media_format: MediaFormat) -> None:
        if media_format.channels != 1:
            raise CodecError(f"{media_format.name} with {media_format.channels} channels is not supported.", advice="Agree on mono sound.")
        self.codec = codecs.create(media_format.name, media_format.clock_rate)
        self.sample_rate = self.codec.sample_rate
        self.clock_rate = self.codec.clock_rate
        octets = _OCTETS_PER_SAMPLE.get(self.codec.name)
        self.is_payload = octets is not None
        """True: what waits is payload; False: PCM."""
        self.unit = octets if octets is not None else 2
        """Octets a sample of what waits."""
        self.key = (self.codec.name if self.is_payload else "PCM", self.sample_rate)
        """Sounds prepared for equal keys are interchangeable."""

    @property
    def octets_per_second(self) -> int:
        """Of what waits."""
        return self.sample_rate * self.unit

    def prepare(self, pcm: bytes) -> bytes:
        """PCM at `sample_rate` to what waits in the queue."""
        return self.codec.encode(pcm) if self.is_payload else pcm

    def pcm(self, waiting: bytes) -> bytes:
        """What waits in the queue back to PCM."""
        return self.codec.decode(waiting) if self.is_payload else waiting

    def payload(self, waiting: bytes) -> bytes:
        """What leaves for one packet time of `waiting`."""
        return waiting if self.is_payload else self.codec.encode(waiting)

    def silence(self, octets: int) -> bytes:
        """Silence of that many octets, in the form of the queue."""
        return self.codec.silence(octets // self.unit) if self.is_payload else bytes(octets)
