"""The receiving half of a stream: datagrams in, sound and digits out.

    datagram -> RTP header -> source guard -> SSRC -> statistics -> telephone event | jitter buffer
    tick     -> jitter buffer -> decoder -> PCM of exactly one packet time, lost packets concealed

RFC 3550 §8 (SSRC changes), A.1; RFC 3551; RFC 4733 (events by any agreed payload type).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from flexosip import codecs
from flexosip.audio.pcm import to_mono
from flexosip.codecs import Codec
from flexosip.errors import CodecError
from flexosip.media.concealment import Concealment
from flexosip.media.events import DigitBegan, DigitReceived, MediaStarted, SourceLearned
from flexosip.media.play_queue import Emit
from flexosip.media.settings import MediaFormat, StreamSettings
from flexosip.media.source_guard import SourceGuard, Verdict
from flexosip.rtp.jitter_buffer import JitterBuffer
from flexosip.rtp.packet import is_rtcp, parse_header
from flexosip.rtp.statistics import ReceiveStatistics
from flexosip.rtp.telephone_event import Digit, TelephoneEventReceiver

__all__ = ["Receiver"]

_unpack = struct.Struct("!BBHII").unpack_from
_COMFORT_NOISE = (13, 19)
"""Static payload types of comfort noise (RFC 3389; 19 in old devices): silence, not a fault."""
_NEW_SSRC_RUN = 3
"""Packets of a new SSRC, none of the present one between them, until it is followed."""
_MAX_EVENT_PACKETS = 100
_SSRC_SILENCE = 0.1
"""Seconds of silence of the present SSRC after which a new one is followed at once."""


class Receiver:
    """Receives one stream.

    Args:
        emit: takes the events.
        learned: called when the source guard has settled on another address than the SDP's.
    """

    __slots__ = (
        "_as_events", "_candidate", "_candidate_packets", "_candidate_run", "_codec", "_codecs", "_concealment", "_draining", "_emit",
        "_event_types", "_events", "_learned", "_owed", "_payload_type", "_rest", "_started", "concealed", "decode_errors", "digits",
        "discarded_by_source", "earlier", "formats", "garbage", "guard", "jitter", "last_packet", "late", "may_receive", "sample_rate",
        "ssrc", "statistics", "unknown_payload",
    )  # fmt: skip

    def __init__(self, emit: Emit, learned: Callable[[tuple[str, int]], None]) -> None:
        self._emit = emit
        self._learned = learned
        self.guard = SourceGuard()
        self.formats: dict[int, MediaFormat] = {}
        self.may_receive = False
        self.ssrc = -1
        """Of the stream we follow; -1 until one came."""
        self.statistics = ReceiveStatistics()
        self.earlier = (0, 0, 0, 0)
        """Packets, octets, expected and duplicates of SSRCs before the present one."""
        self.jitter: JitterBuffer | None = None
        self.sample_rate = 8000
        """Of what `playout` returns."""
        self.last_packet: float | None = None
        self.digits = 0
        self.discarded_by_source = 0
        self.unknown_payload = 0
        self.garbage = 0
        self.decode_errors = 0
        self.concealed = 0
        self.late = 0
        """Of jitter buffers before the present one."""
        self._codec: Codec | None = None
        self._codecs: dict[MediaFormat, Codec] = {}
        self._payload_type = -1
        self._event_types: frozenset[int] = frozenset()
        self._events: TelephoneEventReceiver | None = None
        self._as_events = 0
        """Packets that were events: the jitter buffer misses them, and they are no loss."""
        self._draining: tuple[JitterBuffer, Codec] | None = None
        self._concealment = Concealment()
        self._candidate = -1
        self._candidate_packets = 0
        self._candidate_run = 0
        self._owed = 0
        self._rest = b""
        self._started = False

    def configure(self, settings: StreamSettings, now: float) -> None:
        """Begin to receive, or go on otherwise.

        Raises:
            CodecError: a payload type's codec is not supported.
        """
        for media_format in settings.receive_formats.values():
            if media_format not in self._codecs:
                self._codecs[media_format] = codecs.create(media_format.name, media_format.clock_rate, media_format.channels)
        self.formats = settings.receive_formats
        self._event_types = settings.receive_event_payload_types
        if self.may_receive and not settings.may_receive and self.jitter is not None:
            self.jitter.reset()
        self.may_receive = settings.may_receive
        self.guard.expect(settings.remote, now)
        if self._payload_type not in self.formats or self._codecs[self.formats[self._payload_type]] is not self._codec:
            self._payload_type = -1
            if self.jitter is None or self._codec not in [self._codecs[known] for known in self.formats.values()]:
                # Until the first packet tells otherwise, the codec that the other side names first.
                first = next(iter(self.formats.items()), None)
                if first is not None:
                    self._follow_payload_type(first[0])

    # -- packets --------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, address: Any, now: float) -> None:
        """A datagram has come to the RTP socket, of `MAX_PACKET` octets at most."""
        # The common case by itself: the settled source, stream and codec, and nothing but the fixed header.
        if address == self.guard.settled and len(data) > 12 and data[0] == 0x80:
            _, second, sequence, timestamp, ssrc = _unpack(data)
            if ssrc == self.ssrc and second & 0x7F == self._payload_type:
                self.statistics.update(sequence, timestamp, now, len(data) - 12)
                self.last_packet = now
                if self.may_receive:
                    self.jitter.put(sequence, timestamp, data[12:], second >> 7, now)  # type: ignore[union-attr]
                return
        self._receive_uncommon(data, address, now)

    def _receive_uncommon(self, data: bytes, address: Any, now: float) -> None:
        header = parse_header(data)
        if header is None:
            self.garbage += 1
            return
        payload_type, marker, sequence, timestamp, ssrc, start, end = header
        if address != self.guard.settled or ssrc != self.ssrc:
            if is_rtcp(data):
                # Nobody agreed to RTP and RTCP on one port (RFC 5761).
                self.garbage += 1
                return
            if not self._accept(address, header, now):
                return
        # It tells duplicates and jumps that are not believed yet, but the jitter buffer has rules of its own for both.
        self.statistics.update(sequence, timestamp, now, end - start)
        self.last_packet = now
        if payload_type == self._payload_type:
            if self.may_receive:
                self.jitter.put(sequence, timestamp, data[start:end], marker, now)  # type: ignore[union-attr]
            return
        self._receive_other(header, data, now)

    def _receive_other(self, header: tuple[int, ...], data: bytes, now: float) -> None:
        """A payload type other than the present one: an event, comfort noise, a change of codec, or something unknown."""
        payload_type, marker, sequence, timestamp, ssrc, start, end = header
        if payload_type in self.formats and payload_type not in self._event_types:
            self._follow_payload_type(payload_type)
            if self.may_receive and self.jitter is not None:
                self.jitter.put(sequence, timestamp, data[start:end], marker, now)
        elif payload_type in self._event_types or self._looks_like_event(payload_type, data[start:end]):
            if self._events is None:
                self._events = TelephoneEventReceiver(self.statistics.clock_rate)
            if payload_type not in self._event_types:
                self.unknown_payload += 1
            self._as_events = min(self._as_events + 1, _MAX_EVENT_PACKETS)
            held = self._events.active
            digits = self._events.receive(sequence, timestamp, data[start:end], marker, now, ssrc)
            for digit in digits:
                self._tell(digit)
            if (begun := self._events.active) and (digits or not held):
                self._emit(DigitBegan(begun))
        elif payload_type not in _COMFORT_NOISE:
            self.unknown_payload += 1

    @staticmethod
    def _looks_like_event(payload_type: int, payload: bytes) -> bool:
        """An event under a payload type that was not agreed: some phones take the one they offered themselves.

        Four octets under a dynamic payload type, a known event, the reserved bit not set, and a duration.
        """
        return payload_type >= 96 and len(payload) == 4 and payload[0] <= 16 and not payload[1] & 0x40 and payload[2:] != b"\0\0"

    def _accept(self, address: Any, header: tuple[int, ...], now: float) -> bool:
        """Whether a packet from a new source or of a new SSRC counts."""
        payload_type, _, sequence, _, ssrc = header[:5]
        guard = self.guard
        if address != guard.settled:
            plausible = payload_type in self.formats or payload_type in self._event_types
            known = (self.ssrc, self.statistics.extended_highest & 0xFFFF) if self.ssrc >= 0 else None
            verdict = Verdict.DROP
            if plausible or address[:2] == guard.expected:
                verdict = guard.judge(address, (ssrc, sequence, payload_type), now, self.last_packet, known)
            if verdict is Verdict.DROP:
                self.discarded_by_source += 1
                return False
            if verdict is Verdict.LEARNED:
                self._learned(guard.target)
                self._emit(SourceLearned(guard.expected, guard.target))
            elif self.ssrc >= 0:
                self._learned(guard.target)
            if ssrc != self.ssrc:
                self._follow_ssrc(ssrc)
        elif not self._may_follow(ssrc, now):
            return False
        if not self._started:
            self._started = True
            self._emit(MediaStarted(address[:2], payload_type))
        return True

    def _may_follow(self, ssrc: int, now: float) -> bool:
        """A new SSRC from the right address: followed after a few packets without one of the present SSRC between them."""
        packets = self.statistics.packets
        if ssrc == self._candidate and packets == self._candidate_packets:
            self._candidate_run += 1
        else:
            self._candidate = ssrc
            self._candidate_packets = packets
            self._candidate_run = 1
        if self._candidate_run < _NEW_SSRC_RUN and self.last_packet is not None and now - self.last_packet < _SSRC_SILENCE:
            return False
        self._follow_ssrc(ssrc)
        return True

    def _follow_ssrc(self, ssrc: int) -> None:
        statistics = self.statistics
        before = self.earlier
        self.earlier = (
            before[0] + statistics.packets,
            before[1] + statistics.octets,
            before[2] + statistics.expected,
            before[3] + statistics.duplicates,
        )
        self.ssrc = ssrc
        self._candidate = -1
        self.statistics = ReceiveStatistics(statistics.clock_rate)
        if self.jitter is not None:
            self.jitter.reset()

    def _follow_payload_type(self, payload_type: int) -> None:
        """The other side has changed its codec: what waits is played with the old decoder first."""
        self._payload_type = payload_type
        codec = self._codecs[self.formats[payload_type]]
        if codec is self._codec:
            return
        if self.jitter is not None:
            self.late += self.jitter.late
        if self.jitter is not None and self._codec is not None and self.jitter.depth and self._codec.sample_rate == codec.sample_rate:
            self._draining = (self.jitter, self._codec)
        self._codec = codec
        self.sample_rate = codec.sample_rate
        self.jitter = JitterBuffer(codec.clock_rate, codec.samples)
        self.statistics.set_clock_rate(codec.clock_rate)
        self._events = None
        self._rest = b""
        self._owed = 0

    # -- digits ---------------------------------------------------------------------------------------------------

    def _tell(self, digit: Digit) -> None:
        self.digits += 1
        self._emit(DigitReceived(digit.digit, digit.duration))

    @property
    def awaits_digit_end(self) -> bool:
        """True while a key is held: `check_digit` is to be called."""
        return self._events is not None and self._events.next_timeout() is not None

    def check_digit(self, now: float) -> None:
        """Tell the press whose end was lost."""
        if self._events is not None:
            for digit in self._events.handle_timeout(now):
                self._tell(digit)

    # -- sound ----------------------------------------------------------------------------------------------------

    def playout(self, seconds_ms: int, wanted: bool) -> bytes | None:
        """The next `seconds_ms` milliseconds of sound as PCM at `sample_rate`; None for silence, or when not `wanted`."""
        jitter = self.jitter
        codec = self._codec
        if jitter is None or codec is None or not self.may_receive:
            return None
        clock_rate = codec.clock_rate
        need = clock_rate * seconds_ms // 1000
        draining = self._draining
        if draining is None and not self._owed and not self._rest:
            payload = jitter.get()
            if payload is not None and jitter.ticks == need:
                # The common case by itself: one packet, one packet time.
                return self._decode(codec, payload) if wanted else None
            if payload is None and jitter.ticks == need and jitter.reason in ("empty", "buffering"):
                return None
            return self._playout_unequal(jitter, codec, need, wanted, payload, True)
        return self._playout_unequal(jitter, codec, need, wanted, None, False)

    def _playout_unequal(
        self, jitter: JitterBuffer, codec: Codec, need: int, wanted: bool, payload: bytes | None, taken: bool
    ) -> bytes | None:
        """Packets that are missing, or last longer or shorter than our packet time; `_owed` is what was played ahead of it."""
        parts = [self._rest] if self._rest else []
        self._owed -= need
        sounding = bool(parts)
        while self._owed < 0 or taken:
            source, decoder = jitter, codec
            if not taken:
                payload, source, decoder = self._next(jitter, codec)
            taken = False
            ticks = source.ticks
            self._owed += ticks
            missing = payload is None and source.reason in ("lost", "late")
            if missing and self._as_events:
                self._as_events -= 1
                missing = False
            if missing:
                self.concealed += 1
                if wanted:
                    parts.append(self._concealment.conceal(ticks * decoder.sample_rate // decoder.clock_rate))
                    sounding = True
            elif wanted:
                size = 2 * ticks * decoder.sample_rate // decoder.clock_rate
                pcm = bytes(size) if payload is None else self._decode(decoder, payload)
                sounding = sounding or payload is not None
                parts.append(pcm)
        if not wanted:
            self._rest = b""
            return None
        pcm = b"".join(parts)
        size = 2 * need * codec.sample_rate // codec.clock_rate
        self._rest = pcm[size:]
        if len(pcm) < size:
            pcm += bytes(size - len(pcm))
        return pcm[:size] if sounding else None

    def _next(self, jitter: JitterBuffer, codec: Codec) -> tuple[bytes | None, JitterBuffer, Codec]:
        draining = self._draining
        if draining is not None:
            if draining[0].depth:
                return draining[0].get(), draining[0], draining[1]
            self._draining = None
        return jitter.get(), jitter, codec

    def _decode(self, codec: Codec, payload: bytes) -> bytes:
        try:
            pcm = codec.decode(payload)
        except CodecError:
            self.decode_errors += 1
            return bytes(2 * (self.jitter.ticks if self.jitter is not None else 0) * codec.sample_rate // codec.clock_rate)
        if codec.channels == 2:
            pcm = to_mono(pcm, 2)
        self._concealment.last = pcm
        return pcm
