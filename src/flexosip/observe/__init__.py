"""See what goes over the wire: the trace, ladders for people, pcap files for tools. Secrets are masked."""

from __future__ import annotations

from flexosip.observe.ladder import Ladder, Lanes
from flexosip.observe.ladder_svg import ladder_svg
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
