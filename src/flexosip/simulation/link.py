"""The way between two addresses: delay, jitter, loss, duplicates and reordering, drawn from a seed of its own.

Each direction of each pair of addresses has its own random sequence, so what happens to one pair does not depend on what others send.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Link", "LinkSettings", "Packet"]

_HEADERS = 28
"""Octets of IP and UDP about each datagram."""

_FIRST_RETRANSMISSION = 0.2
"""Seconds after which a stream sends a lost segment again (Linux's least RTO); doubled each time."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What a link does to packets; probabilities from 0 to 1, times in seconds."""

    loss: float = 0.0
    """Probability that a datagram vanishes. 1.0 cuts the link, for streams too."""
    duplicate: float = 0.0
    """Probability that a datagram arrives twice."""
    reorder: float = 0.0
    """Probability that a datagram is held back so that later ones overtake it."""
    delay: float = 0.01
    """Least time of a packet on its way, one way."""
    jitter: float = 0.0
    """Largest further delay, evenly distributed; it does not change the order by itself."""
    reorder_by: float = 0.04
    """How long a held-back datagram stays behind: half to one and a half of this."""
    largest: int = 65507
    """Datagrams of more octets vanish, as behind a firewall that drops fragments."""
    burst: float = 0.0
    """Probability that a burst of losses begins with a datagram (Gilbert's model: a line that is good or bad, besides `loss`)."""
    burst_length: float = 5.0
    """Datagrams that a burst takes on the average."""
    burst_loss: float = 1.0
    """Probability that a datagram within a burst vanishes; below 1 it is Elliott's model."""
    bandwidth: float = 0.0
    """Bits a second that the link carries, headers of IP and UDP included; 0: without limit. What is too much waits in a queue."""
    queue: float = 0.2
    """Seconds that a datagram may wait in that queue; who would wait longer vanishes. Streams wait as long as it takes."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "burst", "burst_loss"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability from 0 to 1, not {getattr(self, name)!r}")
        for name in ("delay", "jitter", "reorder_by", "queue"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} is a time in seconds and cannot be negative")
        if self.burst_length < 1.0:
            raise ValueError(f"burst_length is a number of packets, 1 or more, not {self.burst_length!r}")
        if self.bandwidth < 0.0:
            raise ValueError("bandwidth is a number of bits a second and cannot be negative")


@dataclass(frozen=True, slots=True)
class Packet:
    """A datagram or a piece of a stream on the virtual network, as an observer sees it."""

    at: float
    """when it was sent"""
    transport: str
    """`udp` or `tcp`"""
    source: tuple[str, int]
    destination: tuple[str, int]
    data: bytes
    arrivals: tuple[float, ...]
    """when it arrives: none if it is lost, two if it is duplicated"""


class Link:
    """One direction between two addresses."""

    __slots__ = ("_bad", "_busy_until", "_last", "_plain", "_random", "severed", "settings")

    def __init__(self, settings: LinkSettings, seed: str) -> None:
        self._random = random.Random(seed)
        self._last = 0.0
        self._bad = False
        self._busy_until = 0.0
        self.severed = False
        """True while a partition lies between its ends."""
        self.settings = settings
        self._plain = False
        self.change(settings)

    def change(self, settings: LinkSettings) -> None:
        """Go on with other settings."""
        self.settings = settings
        varied = settings.loss or settings.duplicate or settings.reorder or settings.jitter
        self._plain = not (varied or settings.burst or settings.bandwidth)
        self._bad = self._bad and settings.burst > 0

    @property
    def cut(self) -> bool:
        """True if nothing gets through."""
        return self.severed or self.settings.loss >= 1.0

    def arrivals(self, now: float, size: int) -> tuple[float, ...]:
        """When a datagram of `size` octets sent `now` arrives: never, once or twice."""
        settings = self.settings
        if size > settings.largest or self.severed:
            return ()
        if self._plain:
            when = now + settings.delay
            if when < self._last:  # the delay was just made smaller: nothing overtakes
                when = self._last
            self._last = when
            return (when,)
        draw = self._random.random
        if settings.burst and self._in_burst() and draw() < settings.burst_loss:
            return ()
        if settings.loss and draw() < settings.loss:
            return ()
        if settings.bandwidth:
            begin = max(now, self._busy_until)
            if begin - now > settings.queue:
                return ()
            now = self._busy_until = begin + (size + _HEADERS) * 8 / settings.bandwidth
        when = now + settings.delay + (draw() * settings.jitter if settings.jitter else 0.0)
        if settings.reorder and draw() < settings.reorder:
            when += settings.reorder_by * (0.5 + draw())
        else:
            when = self._last = max(self._last, when)
        if settings.duplicate and draw() < settings.duplicate:
            return (when, when + settings.delay * draw())
        return (when,)

    def _in_burst(self) -> bool:
        """The next state of the line."""
        settings, draw = self.settings, self._random.random()
        self._bad = draw >= 1.0 / settings.burst_length if self._bad else draw < settings.burst
        return self._bad

    def segment_arrival(self, now: float, size: int = 0) -> float | None:
        """When a piece of a stream of `size` octets sent `now` arrives, lost ones sent again; None while the link is cut."""
        settings = self.settings
        if self.cut:
            return None
        draw = self._random.random
        if settings.bandwidth:
            now = self._busy_until = max(now, self._busy_until) + (size + _HEADERS) * 8 / settings.bandwidth
        when = now + settings.delay + (draw() * settings.jitter if settings.jitter else 0.0)
        pause = _FIRST_RETRANSMISSION
        while (settings.loss and draw() < settings.loss) or (settings.burst and self._in_burst() and draw() < settings.burst_loss):
            when += pause
            pause = min(pause * 2, 60.0)
        return when
