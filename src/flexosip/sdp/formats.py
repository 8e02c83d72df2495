"""Audio formats: what a payload type number means, and which of two lists go together.

RFC 3551 §6 (static payload types), RFC 3264 §5.1 and §6.1, RFC 4733 §2 (telephone-event).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["STATIC_FORMATS", "TELEPHONE_EVENT", "AudioFormat", "FormatPlan", "answer_plan", "offer_plan"]

TELEPHONE_EVENT = "telephone-event"
EVENT_RANGE = "0-15"
"""The events that we send and understand: the digits 0-9, *, #, A-D (RFC 4733 §3.2)."""

FIRST_EVENT_PAYLOAD_TYPE = 101
"""Not a rule but the habit of nearly all phones for 8000 Hz; some old ones understand no other."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One encoding with the number that stands for it in RTP packets.

    Attributes:
        payload_type: 0 to 127; from 96 on the meaning is agreed per session.
        name: encoding name as in `a=rtpmap` ("PCMA"); letter case does not matter.
        clock_rate: RTP timestamp units a second. G722 says 8000 although it carries 16 kHz (RFC 3551 §4.5.2).
        channels: audio channels; opus always says 2 (RFC 7587 §7).
        fmtp: the format's parameters as text, or None.
    """

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes two formats the same whatever their numbers: name, clock, channels, with the peers' bad habits evened out."""
        return format_key(self.name, self.clock_rate, self.channels)

    @property
    def is_event(self) -> bool:
        """True for telephone-event: digits, no sound."""
        return self.name.lower() == TELEPHONE_EVENT

    def rtpmap(self) -> str:
        """The value of `a=rtpmap`, as "8 PCMA/8000"."""
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.payload_type} {self.name}/{self.clock_rate}{channels}"


def format_key(name: str, clock_rate: int, channels: int) -> tuple[str, int, int]:
    """Comparable form of an encoding (RFC 8866 §6.6: names are case-insensitive)."""
    upper = name.upper()
    if upper == "PCM":
        upper = "L16"  # Dahua door stations answer an offered L16 with this name
    elif upper == "OPUS":
        channels = 2  # Grandstream leaves the /2 out
    elif upper == "G722" and clock_rate == 16000:
        clock_rate = 8000  # some phones write the audio rate, which RFC 3551 §4.5.2 forbids
    return upper, clock_rate, channels


STATIC_FORMATS: Mapping[int, AudioFormat] = {
    item.payload_type: item
    for item in (
        AudioFormat(0, "PCMU", 8000),
        AudioFormat(3, "GSM", 8000),
        AudioFormat(4, "G723", 8000),
        AudioFormat(5, "DVI4", 8000),
        AudioFormat(6, "DVI4", 16000),
        AudioFormat(7, "LPC", 8000),
        AudioFormat(8, "PCMA", 8000),
        AudioFormat(9, "G722", 8000),
        AudioFormat(10, "L16", 44100, 2),
        AudioFormat(11, "L16", 44100, 1),
        AudioFormat(12, "QCELP", 8000),
        AudioFormat(13, "CN", 8000),
        AudioFormat(14, "MPA", 90000),
        AudioFormat(15, "G728", 8000),
        AudioFormat(16, "DVI4", 11025),
        AudioFormat(17, "DVI4", 22050),
        AudioFormat(18, "G729", 8000),
    )
}
"""The audio payload types that need no `a=rtpmap` (RFC 3551 table 4)."""


@dataclass(frozen=True, slots=True)
class FormatPlan:
    """The formats of one m= line that we send, ready to write, shared by all calls with the same formats.

    Attributes:
        receive: our format by the number that the peer puts into his packets.
        events: telephone-event payload type by clock rate.
        offered: for an answer, the peer's format of each of ours, in his order of preference; empty for an offer.
        payload_types: the end of the m= line, "8 0 101".
        attributes: the `a=rtpmap` and `a=fmtp` lines with their line ends.
    """

    receive: Mapping[int, AudioFormat]
    events: Mapping[int, int]
    offered: tuple[AudioFormat, ...]
    payload_types: str
    attributes: str


def _write(formats: Sequence[AudioFormat], offered: tuple[AudioFormat, ...]) -> FormatPlan:
    lines = []
    for item in formats:
        lines.append(f"a=rtpmap:{item.rtpmap()}\r\n")
        if item.fmtp:
            lines.append(f"a=fmtp:{item.payload_type} {item.fmtp}\r\n")
    return FormatPlan(
        receive={item.payload_type: item for item in formats if not item.is_event},
        events={item.clock_rate: item.payload_type for item in formats if item.is_event},
        offered=offered,
        payload_types=" ".join(str(item.payload_type) for item in formats),
        attributes="".join(lines),
    )


@lru_cache(maxsize=256)
def offer_plan(formats: tuple[AudioFormat, ...], dtmf: bool, used: tuple[AudioFormat, ...] = ()) -> FormatPlan:
    """Number `formats` for an offer and add one telephone-event per clock rate (RFC 4733 §2.1).

    Args:
        formats: ours, best first.
        dtmf: offer telephone-event.
        used: formats that had a number in this session before. The number keeps its meaning for the life of the session
            (RFC 3264 §8.3.2), so a known format gets its old number and a new one none of the old.
    """
    known = {item.key: item.payload_type for item in used}
    taken = set(known.values())
    numbered: list[AudioFormat] = []

    def number(item: AudioFormat) -> None:
        payload_type = known.get(item.key)
        if payload_type is None:
            payload_type = item.payload_type
            if payload_type in taken:
                payload_type = next(free for free in (*range(96, 128), *range(35, 64)) if free not in taken)
            taken.add(payload_type)
        numbered.append(
            item if payload_type == item.payload_type else AudioFormat(payload_type, item.name, item.clock_rate, item.channels, item.fmtp)
        )

    for item in formats:
        number(item)
    if dtmf:
        for clock_rate in sorted(dict.fromkeys(item.clock_rate for item in formats), key=lambda rate: rate != 8000):
            number(AudioFormat(FIRST_EVENT_PAYLOAD_TYPE, TELEPHONE_EVENT, clock_rate, fmtp=EVENT_RANGE))
    return _write(numbered, ())


def answer_plan(formats: tuple[AudioFormat, ...], dtmf: bool, offered: tuple[AudioFormat, ...]) -> FormatPlan | None:
    """What of an offer we take: the common formats in the offerer's order and under his numbers, or None when there are none.

    Telephone-event goes along where its clock rate is that of a codec that was taken (RFC 4733 §2.1).
    """
    # A phone offers the same formats in every call; but nobody may fill the cache with long texts.
    if len(offered) > 24 or any(item.fmtp is not None and len(item.fmtp) > 256 for item in offered):
        return _answer_plan(formats, dtmf, offered)
    return _cached_answer_plan(formats, dtmf, offered)


def _answer_plan(formats: tuple[AudioFormat, ...], dtmf: bool, offered: tuple[AudioFormat, ...]) -> FormatPlan | None:
    ours = {item.key: item for item in formats}
    taken: list[AudioFormat] = []
    theirs: list[AudioFormat] = []
    for item in offered:
        mine = ours.pop(item.key, None)
        if mine is not None:
            # His number, and our parameters: fmtp tells what the one who writes it can receive.
            taken.append(AudioFormat(item.payload_type, mine.name, mine.clock_rate, mine.channels, mine.fmtp))
            theirs.append(AudioFormat(item.payload_type, mine.name, mine.clock_rate, mine.channels, item.fmtp))
    if not taken:
        return None
    if dtmf:
        clock_rates = {item.clock_rate for item in taken}
        for item in offered:
            if item.is_event and item.clock_rate in clock_rates:
                clock_rates.discard(item.clock_rate)
                taken.append(AudioFormat(item.payload_type, TELEPHONE_EVENT, item.clock_rate, fmtp=EVENT_RANGE))
    return _write(taken, tuple(theirs))


_cached_answer_plan = lru_cache(maxsize=256)(_answer_plan)
