"""The ladder for the terminal: one line a message, printed as it happens.

       house phone              pbx                 bell
0.00        │── INVITE bell ─────▶│                   │       calls bell
0.01        │                     │── INVITE bell ───▶│       calls bell
0.02        │                     │◀── 180 Ringing ───│       it rings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flexosip.observe.trace import Address, WireMessage
from flexosip.observe.wording import Arrow, Kind, Reader

__all__ = ["Ladder", "Lanes"]

_COLOURS: dict[Kind, str] = {
    "register": "36",
    "setup": "34;1",
    "success": "32;1",
    "failure": "31;1",
    "goodbye": "33",
    "message": "35",
    "quiet": "2",
}


class Lanes:
    """Which lane an address belongs to.

    Args:
        names: participant by (host, port), or by host alone; several addresses may belong to one participant.
        order: participants from left to right; others follow as they appear.
    """

    def __init__(self, names: Mapping[Address | str, str] | None = None, order: Sequence[str] = ()) -> None:
        self._names = dict(names or {})
        self.order: list[str] = list(dict.fromkeys(order))

    def name(self, address: Address) -> str:
        """The participant at `address`; an unknown one is called by its address."""
        host, port = address
        known = self._names.get((host, port)) or self._names.get(host)
        if known is None:
            known = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if known not in self.order:
            self.order.append(known)
        return known

    def add(self, address: Address | str, name: str) -> None:
        """From now on `address` (or every port of a host) belongs to `name`."""
        self._names[address] = name
        if name not in self.order:
            self.order.append(name)

    def index(self, address: Address) -> int:
        """Lane number from the left."""
        return self.order.index(self.name(address))


class Ladder:
    """Draws messages line by line.

    Args:
        names: participants by address, see `Lanes`.
        order: participants from left to right.
        colour: use ANSI colours.
        width: characters between two lanes.
        start: the time that counts as 0; None: that of the first message.
    """

    def __init__(
        self,
        names: Mapping[Address | str, str] | None = None,
        *,
        order: Sequence[str] = (),
        colour: bool = False,
        width: int = 24,
        start: float | None = None,
    ) -> None:
        self.lanes = Lanes(names, order)
        self._colour = colour
        self._width = max(12, width)
        self._start = start
        self._reader = Reader()
        self._drawn_lanes = 0

    def line(self, message: WireMessage) -> str | None:
        """The line of a message; with a heading above when a lane is new. None: nothing to draw (no SIP, or drawn already)."""
        arrow = self._reader.arrow(message)
        if arrow is None:
            return None
        if self._start is None:
            self._start = message.at
        source, destination = self.lanes.index(message.source), self.lanes.index(message.destination)
        heading = ""
        if len(self.lanes.order) != self._drawn_lanes:
            heading = self.heading() + "\n"
        return heading + self._draw(arrow, source, destination)

    def heading(self) -> str:
        """The names above their lanes."""
        self._drawn_lanes = len(self.lanes.order)
        row = " " * 9
        for index, name in enumerate(self.lanes.order):
            middle = 9 + self._width // 2 + index * self._width
            name = name if len(name) < self._width else name[: self._width - 2] + "…"
            row = row[: middle - len(name) // 2].ljust(middle - len(name) // 2) + name
        return self._paint(row, "1")

    def note(self, at: float, text: str) -> str:
        """A line in words between the messages."""
        return f"{self._time(at)}  {self._paint('· ' + text, '3')}"

    def _time(self, at: float) -> str:
        return f"{at - (at if self._start is None else self._start):8.2f}"

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _draw(self, arrow: Arrow, source: int, destination: int) -> str:
        width, quiet = self._width, arrow.kind == "quiet"
        dash = "┄" if quiet else "─"
        left, right = min(source, destination), max(source, destination)
        label = arrow.label + (" (again)" if arrow.repeated else "")
        span = max(1, right - left) * width - 1
        if source == destination:
            body = f"⟲ {label}"[: width - 1].ljust(width - 1)
        else:
            label = label if len(label) <= span - 6 else label[: span - 7] + "…"
            filled = f"{dash}{dash} {label} "
            # a label reads better next to its sender
            body = filled.ljust(span - 1, dash) + "▶" if source < destination else "◀" + f" {label} {dash}{dash}".rjust(span - 1, dash)
        cells = [" " * (width // 2)]
        column = 0
        while column < len(self.lanes.order):
            cells.append("│")
            if column == left:
                cells.append(self._paint(body, _COLOURS[arrow.kind]))
                column = max(right, left + 1) if source != destination else column + 1
                continue
            column += 1
            cells.append(" " * (width - 1 if column < len(self.lanes.order) else 2))
        caption = arrow.caption
        return f"{self._time(arrow.message.at)} {''.join(cells)} {self._paint(caption, '2')}".rstrip()
