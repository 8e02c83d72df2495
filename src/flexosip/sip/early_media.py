"""P-Early-Media: what the network lets be heard before the answer.

RFC 5009
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError

if TYPE_CHECKING:
    from flexosip.sip.message import Message

__all__ = ["authorised_direction", "early_media_of"]

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


def early_media_of(message: Message) -> str | None:
    """The direction that the first P-Early-Media value of `message` authorises, seen from the sender of the header; None when the
    header is absent or says nothing about a direction (`supported`, `gated`, an unknown word).

    One value stands for each media line; ours is the first that is sound, and few calls have another.
    """
    try:
        values = message.headers.get_all("P-Early-Media")
    except SipParseError:
        return None
    for value in values:
        word = value.partition(";")[0].strip().lower()
        if word in _DIRECTIONS:
            return word
    return None


def authorised_direction(agreed: str, early: str) -> str:
    """What is left of our agreed direction when the network authorises `early`, which is seen from the other side."""
    sends = agreed in ("sendrecv", "sendonly") and early in ("sendrecv", "recvonly")
    receives = agreed in ("sendrecv", "recvonly") and early in ("sendrecv", "sendonly")
    return ("sendrecv" if receives else "sendonly") if sends else "recvonly" if receives else "inactive"
