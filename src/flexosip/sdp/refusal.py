"""The answer that declines everything.

RFC 3264 §6
"""

from __future__ import annotations

from flexosip.sdp.parser import parse_description
from flexosip.sdp.session import MediaDescription, SdpError

__all__ = ["refusal", "refused_line"]


def refusal(offer: bytes | str) -> bytes | None:
    """A valid answer that refuses every stream of `offer`; None when the offer cannot be read.

    For an offer that comes in a response: it cannot be refused by a status any more (RFC 3261 §13.2.2.4).
    """
    try:
        media = parse_description(offer).media
    except SdpError:
        return None
    lines = "".join([refused_line(item) for item in media])
    return f"v=0\r\no=- 0 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n{lines}".encode("utf-8", "surrogateescape")


def refused_line(media: MediaDescription) -> str:
    """The m= line that declines a stream: same kind, transport and formats, port 0 (RFC 3264 §6)."""
    return f"m={media.media} 0 {media.protocol} {' '.join(media.formats) or '0'}\r\n"
