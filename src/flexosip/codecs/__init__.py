"""Codecs: PCM to payload and back, made by SDP name. RFC 3551 §6 names the static ones."""

from __future__ import annotations

from flexosip.codecs.base import Codec
from flexosip.codecs.g711 import Pcma, Pcmu
from flexosip.codecs.l16 import L16
from flexosip.errors import CodecError

__all__ = ["L16", "Codec", "Pcma", "Pcmu", "create", "supported"]

_PCMA = Pcma()
_PCMU = Pcmu()

MAX_L16_RATE = 48000


def create(name: str, clock_rate: int, channels: int = 1) -> Codec:
    """A codec by its rtpmap: encoding name (in any case), RTP clock rate in Hz, channels.

    Raises:
        CodecError: not supported.
    """
    encoding = name.upper()
    if clock_rate == 8000 and channels == 1:
        if encoding == "PCMA":
            return _PCMA
        if encoding == "PCMU":
            return _PCMU
    # "PCM" is what Dahua door stations write for L16.
    if encoding in ("L16", "PCM") and 8000 <= clock_rate <= MAX_L16_RATE and channels in (1, 2):
        return L16(clock_rate, channels)
    raise CodecError(
        f"The codec {name}/{clock_rate}/{channels} is not supported.",
        advice="Supported are " + ", ".join(f"{known}/{rate}" for known, rate, _ in supported()) + ".",
    )


def supported() -> list[tuple[str, int, int | None]]:
    """Name, RTP clock rate and static payload type of each codec, the ones that all phones know first."""
    return [("PCMA", 8000, 8), ("PCMU", 8000, 0), ("L16", 16000, None), ("L16", 8000, None), ("L16", 44100, 11)]
