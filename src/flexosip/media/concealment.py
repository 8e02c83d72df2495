"""Sound in place of a lost packet: the last one once more, fading, so that a loss is no click and no hole.

The idea of ITU-T G.711 Appendix I without its pitch search: the last packet backwards and forwards in turn, so that there is no
step at the seams, its level falling to nothing within three packet times.
"""

from __future__ import annotations

from array import array

__all__ = ["Concealment"]

_PACKETS = 3


class Concealment:
    """What one stream hears while packets are missing."""

    __slots__ = ("_lost", "_place", "_source", "last")

    def __init__(self) -> None:
        self.last = b""
        """PCM of the latest packet that was decoded; the stream sets it."""
        self._source = array("h")
        self._place = 0
        self._lost = 0

    def conceal(self, samples: int) -> bytes:
        """PCM for `samples` samples that are missing."""
        if self.last:
            # Something was heard since the last loss.
            self._source = array("h", self.last)
            self.last = b""
            self._place = 0
            self._lost = 0
        source = self._source
        length = len(source)
        if self._lost >= _PACKETS or not length or not samples:
            return bytes(2 * samples)
        level = 1.0 - self._lost / _PACKETS
        fall = 1.0 / _PACKETS / samples
        self._lost += 1
        place = self._place
        faded = array("h", bytes(2 * samples))
        for index in range(samples):
            sample = source[length - 1 - place] if place < length else source[place - length]
            faded[index] = int(sample * level)
            level -= fall
            place = (place + 1) % (2 * length)
        self._place = place
        return faded.tobytes()
