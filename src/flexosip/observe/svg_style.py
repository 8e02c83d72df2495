"""How the SVG ladder looks: colours by day and by night, fonts of the system, shapes of arrow heads and of the participants' signs."""

from __future__ import annotations

from typing import Literal

__all__ = ["ICONS", "Theme", "icon_of", "style_sheet", "text_width"]

Theme = Literal["auto", "light", "dark"]

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

_LIGHT = {
    "paper": "#fdfdfb", "ink": "#1c2530", "muted": "#66727f", "lane": "#c7ced6", "card": "#ffffff", "edge": "#d5dbe1",
    "band": "#8b5cf6", "band-edge": "#8b5cf6", "band-ink": "#6d3fd4",
    "note": "#fff6d8", "note-edge": "#ecd48a", "note-ink": "#5c4706", "chapter": "#eef2f6",
    "register": "#0e7490", "setup": "#2458d3", "success": "#15803d",
    "failure": "#c2261f", "goodbye": "#b45309", "message": "#a21caf", "quiet": "#97a3af",
}  # fmt: skip
_DARK = {
    "paper": "#10151c", "ink": "#e6edf3", "muted": "#8e9aa7", "lane": "#37424f", "card": "#18202a", "edge": "#2f3b48",
    "band": "#a78bfa", "band-edge": "#a78bfa", "band-ink": "#bda7fb",
    "note": "#2d2710", "note-edge": "#63541b", "note-ink": "#f3dd97", "chapter": "#19222c",
    "register": "#35c2d8", "setup": "#79abff", "success": "#4fd67c",
    "failure": "#ff8178", "goodbye": "#f2ac57", "message": "#e58cf0", "quiet": "#62707e",
}  # fmt: skip
_KINDS = ("register", "setup", "success", "failure", "goodbye", "message", "quiet")


def style_sheet(theme: Theme) -> str:
    """The CSS of the drawing. `auto` follows the reader's colour scheme; a renderer without media queries shows it light."""
    sheet = _colours(_DARK if theme == "dark" else _LIGHT)
    if theme == "auto":
        sheet += "\n@media (prefers-color-scheme: dark) {\n" + _colours(_DARK) + "\n}"
    return _SHAPES + "\n" + sheet


_SHAPES = f"""\
text {{ font-family: {_FONT}; font-size: 13px }}
.title {{ font-size: 21px; font-weight: 650 }}
.subtitle {{ font-size: 13px }}
.name {{ font-size: 14.5px; font-weight: 650 }}
.address {{ font-size: 10.5px }}
.time {{ font-size: 10.5px; font-variant-numeric: tabular-nums }}
.label {{ font-size: 13px; font-weight: 600 }}
.caption {{ font-size: 11.5px; font-style: italic }}
.small {{ font-size: 10.5px; font-weight: 400 }}
.chapter-text {{ font-size: 13.5px; font-weight: 650 }}
.key {{ font-size: 13px; font-weight: 700 }}
.middle {{ text-anchor: middle }}
.end {{ text-anchor: end }}
.lane {{ stroke-width: 1.5 }}
.wire {{ stroke-width: 1.9; fill: none }}
.wire.quiet {{ stroke-width: 1.1; stroke-dasharray: 4 3 }}
.sound {{ stroke-width: 1.5; stroke-dasharray: 1.5 4; stroke-linecap: round; fill: none }}
.band {{ fill-opacity: .11; stroke-opacity: .28; stroke-width: 1 }}
.wave {{ fill: none; stroke-width: 1.3; stroke-opacity: .5; stroke-linecap: round }}
.icon {{ fill: none; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round }}
.gap {{ stroke-width: 1.5; stroke-dasharray: 1.5 5; stroke-linecap: round }}
.message:hover .wire {{ stroke-width: 3.2 }}"""


def _colours(palette: dict[str, str]) -> str:
    rules = [
        f".paper {{ fill: {palette['paper']} }}",
        f"text, .ink {{ fill: {palette['ink']} }}",
        f".halo {{ paint-order: stroke; stroke: {palette['paper']}; stroke-width: 4px; stroke-linejoin: round }}",
        f".muted {{ fill: {palette['muted']} }}",
        f".lane, .gap {{ stroke: {palette['lane']} }}",
        f".card {{ fill: {palette['card']}; stroke: {palette['edge']} }}",
        f".icon {{ stroke: {palette['muted']} }}",
        f".band {{ fill: {palette['band']}; stroke: {palette['band-edge']} }}",
        f".wave, .sound {{ stroke: {palette['band-ink']} }}",
        f".voice {{ fill: {palette['band-ink']} }}",
        f".keycap {{ fill: {palette['card']}; stroke: {palette['band-ink']} }}",
        f".note {{ fill: {palette['note']}; stroke: {palette['note-edge']} }}",
        f".note-text {{ fill: {palette['note-ink']} }}",
        f".chapter {{ fill: {palette['chapter']} }}",
    ]
    rules += [f".{kind}-ink {{ fill: {palette[kind]} }} .wire.{kind} {{ stroke: {palette[kind]} }}" for kind in _KINDS]
    return "\n".join(rules)


ICONS = {
    # each in a box of 20 by 20
    "bell": "M10 3a5 5 0 0 0-5 5c0 4.5-1.7 5.5-1.7 6.500h13.400c0-1-1.700-2-1.700-6.500a5 5 0 0 0-5-5zM8.300 17a1.800 1.800 0 0 0 3.400 0",
    "pbx": "M3 4h14v5h-14zM3 11.500h14v5h-14zM6 6.500h.01M9 6.500h.01M6 14h.01M9 14h.01M13 6.500h2M13 14h2",
    "phone": "M5 2.500l2.700 0 1.300 3.600-1.900 1.500c.8 2 2.300 3.500 4.300 4.300l1.500-1.900 3.600 1.300"
    "v2.700c0 1.500-1.200 2.500-2.500 2.500-6.200-.5-11-5.300-11.500-11.500 0-1.300 1-2.500 2.500-2.500z",
}


_WORDS = {"bell": ("bell", "klingel", "door"), "pbx": ("pbx", "box", "registrar", "proxy", "server", "kamailio", "asterisk")}


def icon_of(name: str) -> str:
    """The sign that fits a participant's name."""
    lowered = name.lower()
    for icon, words in _WORDS.items():
        if any(word in lowered for word in words):
            return icon
    return "phone"


_NARROW = frozenset("iljtfrI.,:;|!'()[]·1 ")
_WIDE = frozenset("mwMWQO@%—→←")


def text_width(text: str, size: float = 13.0) -> float:
    """About how wide a text will be, in pixels: fonts differ, so this is on the generous side."""
    return size * sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    """In parts of the font size; ideographs are full squares."""
    if character in _NARROW:
        return 0.34
    if character in _WIDE or character >= "\u2e80":
        return 0.95
    return 0.58
