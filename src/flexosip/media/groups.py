"""Groups of streams that leave at one moment, and how streams are spread over them.

All groups lie on one grid of 2 ms: a group's deadlines are `origin + phase + n * period`, absolute, so nothing drifts.
A few calls share one group and cost one wake-up a packet time; more calls open more groups, evenly spread, so that packets
leave evenly and a slow moment delays only a part of them. A stream stays in its group as long as its packet time stays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flexosip.media.polling import SocketReader, new_reader

if TYPE_CHECKING:
    from flexosip.media.channel import Channel

__all__ = ["Group", "GroupTable"]

GRID_MS = 2
_HAIR = 1e-6
"""Seconds by which a deadline may be early: rounding, so that a timer of the clock that fires a hair early does not spin."""
FULL = 24
"""Streams in a group before the next one is opened."""
MAX_CATCH_UP = 3
"""Packet times that are made good at once after a delay; of a longer one all but the last are given up."""


class Group:
    """Streams with one packet time and phase."""

    __slots__ = ("_count", "_origin", "channels", "period", "phase", "ptime_ms", "reader")

    def __init__(self, ptime_ms: int, phase: int, origin: float, now: float, virtual: bool) -> None:
        self.ptime_ms = ptime_ms
        self.phase = phase
        """Place on the grid, in steps of `GRID_MS`."""
        self.period = ptime_ms / 1000
        self.channels: list[Channel] = []
        self.reader: SocketReader = new_reader(virtual)
        self._origin = origin + phase * GRID_MS / 1000
        self._count = max(0, math.ceil((now - self._origin) / self.period - _HAIR))

    @property
    def deadline(self) -> float:
        """When its next packets leave."""
        return self._origin + self._count * self.period

    def begin_tick(self, now: float) -> int:
        """Advance the deadline past one that is due; returns the number of packet times given up since it is too long ago."""
        behind = int((now - self.deadline) / self.period + _HAIR)
        skipped = behind if behind > MAX_CATCH_UP else 0
        self._count += 1 + skipped
        return skipped


class GroupTable:
    """All groups of an engine. `virtual` groups have sockets without descriptors."""

    def __init__(self, *, virtual: bool) -> None:
        self._virtual = virtual
        self._groups: dict[int, list[Group]] = {}
        self._origin = 0.0

    def __len__(self) -> int:
        return sum(len(groups) for groups in self._groups.values())

    def join(self, channel: Channel, ptime_ms: int, now: float) -> Group:
        """Find the group for a stream and put it in. The first stream of an idle engine leaves at once."""
        if not self._groups:
            self._origin = now
        groups = self._groups.setdefault(ptime_ms, [])
        group = next((known for known in groups if len(known.channels) < FULL), None)
        if group is None:
            group = self._open(groups, ptime_ms, now) or min(groups, key=lambda known: len(known.channels))
        group.channels.append(channel)
        return group

    def _open(self, groups: list[Group], ptime_ms: int, now: float) -> Group | None:
        taken = {group.phase for group in groups}
        places = max(ptime_ms // GRID_MS, 1)
        if len(taken) >= places:
            return None

        def distance(place: int) -> int:
            """To the nearest taken place, around the circle of one packet time."""
            return min((min(abs(place - other), places - abs(place - other)) for other in taken), default=0)

        phase = 0 if not taken else max((place for place in range(places) if place not in taken), key=distance)
        group = Group(ptime_ms, phase, self._origin, now, self._virtual)
        groups.append(group)
        return group

    def leave(self, channel: Channel, group: Group) -> None:
        """Take a stream out; an empty group ends."""
        group.channels.remove(channel)
        if not group.channels:
            group.reader.close()
            groups = self._groups[group.ptime_ms]
            groups.remove(group)
            if not groups:
                del self._groups[group.ptime_ms]

    def due(self, now: float) -> list[Group]:
        """The groups whose deadline has come, the earliest first."""
        found = [group for groups in self._groups.values() for group in groups if group.deadline <= now + _HAIR]
        if len(found) > 1:
            found.sort(key=lambda group: group.deadline)
        return found

    def next_deadline(self) -> float | None:
        """The earliest deadline of all; None when there is no stream."""
        return min((group.deadline for groups in self._groups.values() for group in groups), default=None)
