"""G.711 as RTP payloads: PCMA and PCMU. RFC 3551 §4.5.14; the companding itself is `flexosip.audio.companding`."""

from __future__ import annotations

from flexosip.audio.companding import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw

__all__ = ["Pcma", "Pcmu"]


class _G711:
    """What A-law and µ-law share. Without memory: one object may serve any number of streams."""

    __slots__ = ()
    clock_rate = 8000
    sample_rate = 8000
    channels = 1

    @staticmethod
    def samples(payload: bytes) -> int:
        """One octet, one tick."""
        return len(payload)


class Pcma(_G711):
    """PCMA: G.711 A-law, payload type 8."""

    __slots__ = ()
    name = "PCMA"
    payload_type: int | None = 8
    encode = staticmethod(encode_alaw)
    decode = staticmethod(decode_alaw)

    @staticmethod
    def silence(samples: int) -> bytes:
        """The code of +0."""
        return b"\xd5" * samples


class Pcmu(_G711):
    """PCMU: G.711 µ-law, payload type 0."""

    __slots__ = ()
    name = "PCMU"
    payload_type: int | None = 0
    encode = staticmethod(encode_ulaw)
    decode = staticmethod(decode_ulaw)

    @staticmethod
    def silence(samples: int) -> bytes:
        """The code of +0."""
        return b"\xff" * samples
