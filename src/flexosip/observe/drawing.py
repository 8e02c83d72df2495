"""The ladder as an SVG that a person enjoys reading: who said what to whom, when, and what it meant.

Rows follow in order of time, evenly spaced (a long silence is one row that says how long it was). Sound is a soft band between the two
parties that hear it. What only machines care about (100 Trying, the first try before a digest challenge) is small and grey. Hovering over
an arrow shows the whole message, without its secrets. No script, no outside font, no outside picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flexosip.observe.ladder import Lanes
from flexosip.observe.story import Chapter, Mark, MediaPhase, Note, media_story
from flexosip.observe.svg_style import ICONS, Theme, icon_of, style_sheet, text_width
from flexosip.observe.trace import Address, WireMessage
from flexosip.observe.wording import Arrow, Kind, arrows

__all__ = ["ladder_svg"]

_TIME_COLUMN = 74.0
_LANE_WIDTH = 268.0
_MARGIN = 122.0
_HEAD = 74.0
_CARD = 54.0
_SILENCE = 1.5
"""Seconds without anything after which the silence gets a row of its own."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 §2.2 cannot hold."""

_LEGEND: tuple[tuple[Kind, str], ...] = (
    ("register", "registering"),
    ("setup", "setting up a call"),
    ("success", "good news"),
    ("failure", "bad news"),
    ("goodbye", "ending"),
    ("message", "other messages"),
    ("quiet", "small talk of machines"),
)


@dataclass(frozen=True, slots=True)
class _Silence:
    """A row for a stretch of time in which nothing happens."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Edge:
    """The row where a media phase begins or ends."""

    at: float
    phase: MediaPhase
    begins: bool


_Item = Arrow | Note | Chapter | Mark | _Silence | _Edge


def ladder_svg(
    messages: Iterable[WireMessage],
    *,
    names: Mapping[Address | str, str] | None = None,
    order: Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
    notes: Iterable[Note | Chapter] = (),
    phases: Iterable[MediaPhase] | None = None,
    marks: Iterable[Mark] = (),
    start: float | None = None,
    theme: Theme = "auto",
) -> str:
    """The drawing, as text of an SVG file.

    Args:
        messages: the trace; messages recorded at both ends are drawn once. RTP packets in it become bands and key presses.
        names: participant by (host, port) or by host; addresses without a name are shown as such.
        order: participants from left to right.
        notes: annotations and chapter headings.
        phases: when sound flowed; None: as the RTP packets in `messages` tell.
        marks: key presses and spoken words; those in the RTP packets are added when `phases` is None.
        start: the time that counts as 0; None: that of the first thing drawn.
        theme: `auto` follows the reader's colour scheme.
    """
    trace = sorted(messages, key=lambda message: message.at)
    told_phases, told_marks = list(phases or ()), list(marks)
    if phases is None:
        told_phases, found = media_story(trace)
        told_marks += found
    lanes = Lanes(names, order)
    drawing = _Drawing(lanes, arrows(trace), list(notes), told_phases, told_marks, start)
    return drawing.render(title, subtitle, theme)


class _Drawing:
    """Lays the rows out and draws them."""

    def __init__(
        self,
        lanes: Lanes,
        messages: list[Arrow],
        notes: list[Note | Chapter],
        phases: list[MediaPhase],
        marks: list[Mark],
        start: float | None,
    ) -> None:
        self._lanes = lanes
        self._addresses: dict[str, Address] = {}
        for arrow in messages:
            for address in (arrow.message.source, arrow.message.destination):
                self._addresses.setdefault(lanes.name(address), address)
        for phase in phases:
            for party in phase.between:
                self._name(party)
        for note in notes:
            if isinstance(note, Note) and note.lane is not None:
                lanes.add(note.lane, note.lane)
        items: list[tuple[float, int, _Item]] = [(arrow.message.at, 2, arrow) for arrow in messages]
        items += [(note.at, 0 if isinstance(note, Chapter) else 3, note) for note in notes]
        items += [(mark.at, 4, mark) for mark in marks]
        for phase in phases:
            items += [(phase.start, 3, _Edge(phase.start, phase, True)), (phase.end, 5, _Edge(phase.end, phase, False))]
        items.sort(key=lambda item: item[:2])
        self._start = start if start is not None else (items[0][0] if items else 0.0)
        self._items = _with_silences([item for _, _, item in items])
        self.width = _TIME_COLUMN + 2 * _MARGIN + max(1, len(lanes.order) - 1) * _LANE_WIDTH
        self._last_time = ""
        self._bands: dict[int, float] = {}

    # ---- places

    def _name(self, party: Address | str) -> str:
        if isinstance(party, str):
            self._lanes.add(party, party)
            return party
        return self._lanes.name(party)

    def _x(self, party: Address | str) -> float:
        return self._lane_x(self._lanes.order.index(self._name(party)))

    def _lane_x(self, index: int) -> float:
        return _TIME_COLUMN + _MARGIN + index * _LANE_WIDTH

    # ---- the whole

    def render(self, title: str, subtitle: str, theme: Theme) -> str:
        head = _HEAD if title or subtitle else 20.0
        y = head + _CARD + 20
        below: list[str] = []
        rows: list[str] = []
        for item in self._items:
            height = self._row_height(item)
            rows += self._time(item, y + height / 2)
            if isinstance(item, _Edge):
                below += self._edge(item, y, height)
            rows += self._row(item, y, height)
            y += height
        bottom = y + 14
        lanes = []
        for index, name in enumerate(self._lanes.order):
            x = self._lane_x(index)
            lanes.append(f'<line class="lane" x1="{x:.0f}" y1="{head + _CARD:.0f}" x2="{x:.0f}" y2="{bottom:.0f}"/>')
            rows += self._card(name, x, head)
        legend, height = self._legend(bottom + 30)
        text = title or "SIP ladder"
        size = f'viewBox="0 0 {self.width:.0f} {height:.0f}" width="{self.width:.0f}" height="{height:.0f}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">',
                f'<title id="t">{_escape(text)}</title>',
                f'<desc id="d">{_escape(subtitle or "Messages between " + ", ".join(self._lanes.order))}</desc>',
                f"<style>{style_sheet(theme)}</style>",
                f"<defs>{''.join(_arrow_head(kind) for kind in (*(kind for kind, _ in _LEGEND), 'voice'))}</defs>",
                '<rect class="paper" width="100%" height="100%"/>',
                *([f'<text class="title" x="24" y="36">{_escape(title)}</text>'] if title else []),
                *([f'<text class="subtitle muted" x="24" y="57">{_escape(subtitle)}</text>'] if subtitle else []),
                *below,
                *lanes,
                *rows,
                *legend,
                "</svg>",
                "",
            ]
        )

    def _card(self, name: str, x: float, y: float) -> list[str]:
        address = self._addresses.get(name)
        where = "" if address is None else f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        if where == name:
            where = ""
        width = max(132.0, text_width(name, 14.5) * 1.1 + 62, text_width(where, 10.5) + 62)
        left = x - width / 2
        text_x = left + 42
        return [
            f'<rect class="card" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_CARD - 6:.0f}" rx="10"/>',
            f'<path class="icon" transform="translate({left + 14:.1f} {y + 14:.1f})" d="{ICONS[icon_of(name)]}"/>',
            f'<text class="name" x="{text_x:.1f}" y="{y + (21 if where else 29):.1f}">{_escape(name)}</text>',
            *([f'<text class="address muted" x="{text_x:.1f}" y="{y + 36:.1f}">{_escape(where)}</text>'] if where else []),
        ]

    def _legend(self, y: float) -> tuple[list[str], float]:
        used = {item.kind for item in self._items if isinstance(item, Arrow)}
        entries: list[tuple[str, str]] = [(kind, words) for kind, words in _LEGEND if kind in used]
        if any(isinstance(item, _Edge) for item in self._items):
            entries.append(("voice", "voice (RTP)"))
        if any(isinstance(item, Mark) and item.kind == "digit" for item in self._items):
            entries.append(("key", "a key is pressed"))
        parts = []
        x = 24.0
        for kind, words in entries:
            width = 34 + text_width(words, 11.5) + 20
            if x + width > self.width - 10 and x > 24:
                x, y = 24.0, y + 24
            if kind == "voice":
                parts.append(f'<rect class="band" x="{x:.0f}" y="{y - 9:.0f}" width="26" height="12" rx="4"/>')
            elif kind == "key":
                parts.append(f'<rect class="keycap" x="{x + 6:.0f}" y="{y - 10:.0f}" width="14" height="14" rx="4"/>')
            else:
                parts.append(f'<path class="wire {kind}" d="M{x:.0f} {y - 3:.0f}h20" marker-end="url(#{kind})"/>')
            parts.append(f'<text class="muted" style="font-size:11.5px" x="{x + 34:.0f}" y="{y + 1:.0f}">{words}</text>')
            x += width
        return parts, y + 24

    # ---- rows

    def _row_height(self, item: _Item) -> float:
        if isinstance(item, Arrow):
            return 28.0 if item.kind == "quiet" else 48.0
        if isinstance(item, Chapter):
            return 50.0
        if isinstance(item, _Edge):
            return 34.0 if item.begins else 16.0
        if isinstance(item, Mark):
            return 38.0
        return 42.0 if isinstance(item, Note) else 30.0

    def _time(self, item: _Item, y: float) -> list[str]:
        if isinstance(item, _Silence | Chapter) or (isinstance(item, _Edge) and not item.begins):
            return []
        at = item.message.at if isinstance(item, Arrow) else item.at
        text = f"{at - self._start:.2f} s"
        if text == self._last_time:
            return []
        self._last_time = text
        return [f'<text class="time muted end" x="{_TIME_COLUMN - 8:.0f}" y="{y + 4:.1f}">{text}</text>']

    def _row(self, item: _Item, y: float, height: float) -> list[str]:
        if isinstance(item, Arrow):
            return self._arrow(item, y, height)
        if isinstance(item, Note):
            return self._note(item, y, height)
        if isinstance(item, Chapter):
            return [
                f'<rect class="chapter" x="14" y="{y + 12:.1f}" width="{self.width - 28:.0f}" height="28" rx="8"/>',
                f'<text class="chapter-text" x="28" y="{y + 31:.1f}">{_escape(item.text)}</text>',
            ]
        if isinstance(item, Mark):
            return self._mark(item, y, height)
        if isinstance(item, _Silence):
            x = _TIME_COLUMN - 14
            return [
                f'<line class="gap" x1="{x:.0f}" y1="{y + 3:.0f}" x2="{x:.0f}" y2="{y + height - 3:.0f}"/>',
                f'<text class="time caption muted end" x="{x - 8:.0f}" y="{y + height / 2 + 4:.1f}">+{item.seconds:.1f} s</text>',
            ]
        return []

    def _arrow(self, arrow: Arrow, y: float, height: float) -> list[str]:
        quiet = arrow.kind == "quiet"
        source, destination = self._x(arrow.message.source), self._x(arrow.message.destination)
        line_y = y + height * (0.72 if quiet else 0.54)
        label = arrow.label + (" (again)" if arrow.repeated else "")
        size = "label small" if quiet else "label"
        if source == destination:
            wire = f"M{source:.0f} {line_y - 8:.1f}h22q8 0 8 8t-8 8h-14"
            text = f'<text class="{size} {arrow.kind}-ink" x="{source + 38:.0f}" y="{line_y + 4:.1f}">{_escape(label)}</text>'
            words = ""
        else:
            sign = 1 if destination > source else -1
            wire = f"M{source + 4 * sign:.0f} {line_y:.1f}H{destination - 9 * sign:.0f}"
            # in the first field next to the sender: in the middle of a long arrow another lane would cross it
            middle = source + sign * _LANE_WIDTH / 2
            text = f'<text class="{size} middle halo {arrow.kind}-ink" x="{middle:.0f}" y="{line_y - 6:.1f}">{_escape(label)}</text>'
            place = f'x="{middle:.0f}" y="{line_y + 15:.1f}"'
            words = "" if quiet else f'<text class="caption middle muted" {place}>{_escape(arrow.caption)}</text>'
        whole = arrow.message.masked[:6000].decode("utf-8", "replace").replace("\r\n", "\n")
        path = f'<path class="wire {arrow.kind}" d="{wire}" marker-end="url(#{arrow.kind})"/>'
        return [f'<g class="message"><title>{_escape(whole)}</title>{path}{text}{words}</g>']

    def _note(self, note: Note, y: float, height: float) -> list[str]:
        width = text_width(note.text, 12.5) + 28
        if note.lane is None:
            middle = (self._lane_x(0) + self._lane_x(len(self._lanes.order) - 1)) / 2
        else:
            middle = self._x(note.lane)
        middle = min(max(middle, _TIME_COLUMN + width / 2), self.width - width / 2 - 12)
        top = y + (height - 27) / 2
        return [
            f'<rect class="note" x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="27" rx="13.5"/>',
            f'<text class="note-text middle" style="font-size:12.5px" x="{middle:.1f}" y="{top + 18:.1f}">{_escape(note.text)}</text>',
        ]

    def _mark(self, mark: Mark, y: float, height: float) -> list[str]:
        source, destination = self._x(mark.source), self._x(mark.destination)
        sign = 1 if destination >= source else -1
        line_y = y + height / 2
        middle = source + sign * _LANE_WIDTH / 2
        parts = [f'<path class="sound" d="M{source + 8 * sign:.0f} {line_y:.1f}H{destination - 11 * sign:.0f}" marker-end="url(#voice)"/>']
        if mark.kind == "digit":
            parts += [
                f'<rect class="keycap" stroke-width="1.5" x="{middle - 13:.1f}" y="{line_y - 13:.1f}" width="26" height="26" rx="7"/>',
                f'<text class="key middle voice" x="{middle:.1f}" y="{line_y + 5:.1f}">{_escape(mark.text)}</text>',
            ]
        else:
            place = f'style="font-size:12.5px" x="{middle:.1f}" y="{line_y - 6:.1f}"'
            parts.append(f'<text class="middle voice" {place}>♪ {_escape(mark.text)}</text>')
        return parts

    # ---- sound

    def _edge(self, edge: _Edge, y: float, height: float) -> list[str]:
        """A band is drawn when its lower end is known."""
        if edge.begins:
            self._bands[id(edge.phase)] = y + 3
            return []
        top, bottom = self._bands.pop(id(edge.phase)), y + height - 4
        left, right = sorted(self._x(party) for party in edge.phase.between)
        wave = f"M{left + 14:.0f} {top + 17:.1f}" + "q2.5 -7 5 0t5 0" * 2
        return [
            f'<rect class="band" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" rx="10"/>',
            f'<path class="wave" d="{wave}"/>',
            f'<text class="voice" style="font-size:11.5px" x="{left + 42:.1f}" y="{top + 21:.1f}">{_escape(edge.phase.label)}</text>',
        ]


def _with_silences(items: list[_Item]) -> list[_Item]:
    """The rows, with one more for each long time in which nothing happens."""
    result: list[_Item] = []
    before: float | None = None
    for item in items:
        at = item.message.at if isinstance(item, Arrow) else item.at
        if before is not None and at - before >= _SILENCE:
            result.append(_Silence(before, at - before))
        result.append(item)
        before = at
    return result


def _arrow_head(kind: str) -> str:
    fill = "voice" if kind == "voice" else f"{kind}-ink"
    size = 'viewBox="0 0 10 10" refX="3" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse"'
    return f'<marker id="{kind}" {size} orient="auto"><path class="{fill}" d="M0 0.500L10 5L0 9.500L2.500 5z"/></marker>'


def _escape(text: str) -> str:
    """For XML: markup escaped, control characters (which XML forbids) replaced."""
    clean = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
