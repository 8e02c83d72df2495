"""See what goes over the wire: the trace, ladders for people, pcap files for tools. Secrets are masked.

Names are imported when they are first used: a phone that traces nothing loads no drawing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.observe.drawing import ladder_svg
    from flexosip.observe.ladder import Ladder, Lanes
    from flexosip.observe.masking import mask, mask_keys
    from flexosip.observe.pcap import PcapWriter, write_pcap
    from flexosip.observe.story import Chapter, Mark, MediaPhase, Note, media_story
    from flexosip.observe.trace import Address, Trace, WireMessage

__all__ = [
    "Address",
    "Chapter",
    "Ladder",
    "Lanes",
    "Mark",
    "MediaPhase",
    "Note",
    "PcapWriter",
    "Trace",
    "WireMessage",
    "ladder_svg",
    "mask",
    "mask_keys",
    "media_story",
    "write_pcap",
]

_HOMES = {
    "ladder": ("Ladder", "Lanes"),
    "drawing": ("ladder_svg",),
    "masking": ("mask", "mask_keys"),
    "pcap": ("PcapWriter", "write_pcap"),
    "story": ("Chapter", "Mark", "MediaPhase", "Note", "media_story"),
    "trace": ("Address", "Trace", "WireMessage"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'flexosip.observe' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flexosip.observe.{module}"), name)
    globals()[name] = value
    return value
