"""The sending half of a stream: one packet a tick, its timestamp counted by samples. RFC 3550 §5.1, RFC 3551 §4.1.

    digits (audio suspended)  >  play queue  >  live sources  >  loopback  >  silence

SSRC, sequence number and timestamp begin at random and never restart, whatever is agreed anew. The timestamp runs on while
nothing may be sent; the first packet after such a gap carries the marker.
"""

from __future__ import annotations

from random import Random
from typing import Any

from flexosip.errors import MediaError
from flexosip.media.events import DigitsSent
from flexosip.media.play_queue import Emit, PlayQueue, PreparedSound
from flexosip.media.ports import DatagramSocket
from flexosip.media.sending_format import SendingFormat
from flexosip.media.settings import StreamSettings
from flexosip.rtp.packet import pack_header
from flexosip.rtp.telephone_event import TelephoneEventSender

__all__ = ["Sender"]

_HUSH_TICKS = 5
"""Packet times without sound after a digit when another one follows: the gap between two digits stays silent."""

_KEEP_ALIVE_SECONDS = 15
"""Seconds without a packet of ours after which one is sent all the same (RFC 6263 §7: Tr)."""


class Sender:
    """Sends what the stream plays.

    Args:
        socket: for RTP, shared with the receiving half.
        random: first values of SSRC, sequence number and timestamp.
        emit: takes the events.
    """

    __slots__ = (
        "_emit", "_events", "_hush", "_octets", "_second", "_sendto", "_silence", "_ticks", "_unknown_payload_type", "_unsent",
        "digits_sent", "errors", "format", "last_error", "may_send", "muted", "octets_sent", "packets_sent", "payload_type", "queue",
        "sent", "sequence", "skipped", "ssrc", "target", "timestamp",
    )  # fmt: skip

    def __init__(self, socket: DatagramSocket, random: Random, sending_format: SendingFormat, emit: Emit) -> None:
        self._sendto: Any = socket.sendto
        self._emit = emit
        self.ssrc = random.getrandbits(32)
        # Below 2^15, so that no wrap falls into the first minutes, where SRTP would be hurt by a lost packet (RFC 3711 §3.3.1).
        self.sequence = random.getrandbits(15)
        self.timestamp = random.getrandbits(32)
        self.target: tuple[str, int] = ("", 0)
        self.may_send = False
        self.muted = False
        self.format = sending_format
        self.queue = PlayQueue(sending_format, emit)
        self.sent: bytes | bytearray | None = None
        """What left in this tick, in the form of the queue; None: nothing, or a digit."""
        self.packets_sent = 0
        self.octets_sent = 0
        self.digits_sent = 0
        self.skipped = 0
        self.errors = 0
        self.last_error: str | None = None
        self.payload_type = -1
        self._second = 0
        self._octets = 0
        self._ticks = 0
        self._unsent = 0
        self._unknown_payload_type = 127
        self._silence = b""
        self._events: TelephoneEventSender | None = None
        self._hush = 0

    def use_socket(self, socket: DatagramSocket) -> None:
        """Send from another socket from now on."""
        self._sendto = socket.sendto

    def configure(self, settings: StreamSettings, sending_format: SendingFormat, sounds: dict[int, PreparedSound]) -> None:
        """Begin to send, or go on otherwise. `sounds`: what is being played, prepared in the new form."""
        old = self.format
        if sending_format.key != old.key:
            self.queue.change_format(sending_format, sounds, lambda data: _converted(data, old, sending_format))
        self.format = sending_format
        samples = sending_format.sample_rate * settings.ptime_ms // 1000
        self._ticks = sending_format.clock_rate * settings.ptime_ms // 1000
        self._octets = samples * sending_format.unit
        self._silence = sending_format.silence(self._octets)
        # A change of codec begins a new stretch of sound for the receiver too.
        gap = not self.may_send or self.payload_type != settings.send_payload_type
        self.payload_type = settings.send_payload_type
        self.may_send = settings.may_send
        self._unsent = 0
        known = {*settings.receive_formats, *settings.receive_event_payload_types, self.payload_type, settings.send_event_payload_type}
        self._unknown_payload_type = next(number for number in range(127, 95, -1) if number not in known or number == 96)
        if gap or self._second & 0x80:
            self._second = 0x80 | self.payload_type
        self._configure_events(settings, sending_format.clock_rate)

    def _configure_events(self, settings: StreamSettings, clock_rate: int) -> None:
        payload_type = settings.send_event_payload_type
        events = self._events
        if events is not None and events.busy:
            if events.payload_type == payload_type:
                return
            # What was not sent cannot be sent any more as it was agreed; who waits for it must not wait for ever.
            self._emit(DigitsSent())
        self._events = None if payload_type is None else TelephoneEventSender(payload_type, clock_rate, packet_ticks=self._ticks)

    def send_digits(self, digits: str, duration: float | None = None, gap: float | None = None) -> None:
        """Send key presses, each held for `duration` seconds, after those that are on their way; seconds of `gap` between them.

        Raises:
            MediaError: the other side has not agreed to telephone events.
        """
        events = self._events
        if events is None:
            raise MediaError("Digits cannot be sent as RTP: the other side has not agreed to telephone events.")
        if gap is not None and not events.busy:
            self._events = events = TelephoneEventSender(events.payload_type, self.format.clock_rate, packet_ticks=self._ticks, gap=gap)
        events.send(digits, duration=duration)
        self.digits_sent += sum(character not in "wW" for character in digits)

    def stop_digits(self) -> None:
        """Forget the digits that have not begun."""
        events = self._events
        if events is not None:
            was_busy = events.busy
            events.clear()
            if was_busy and not events.busy:
                self._emit(DigitsSent())

    @property
    def packet_ticks(self) -> int:
        """Timestamp ticks of one packet time."""
        return self._ticks

    def skip(self, packet_times: int) -> None:
        """The process was stopped: the time has passed, and nothing was sent in it."""
        self.timestamp = (self.timestamp + packet_times * self._ticks) & 0xFFFFFFFF
        self.skipped += packet_times
        self._second |= 0x80

    def tick(self, echo: bytes | None) -> None:
        """Send what is due. `echo`: PCM at our sample rate, one packet time, to be sent when there is nothing to play."""
        timestamp = self.timestamp
        self.timestamp = (timestamp + self._ticks) & 0xFFFFFFFF
        self.sent = None
        if not self.may_send:
            self._second |= 0x80
            self._unsent += self._ticks
            if self._unsent >= _KEEP_ALIVE_SECONDS * self.format.clock_rate:
                self._keep_alive(timestamp)
            return
        events = self._events
        if events is not None and events.busy and self._send_event(events, timestamp):
            return
        sending_format = self.format
        data = self.queue.take(self._octets)
        if data is None:
            data = self._silence if echo is None else sending_format.codec.encode(echo) if sending_format.is_payload else echo
        if self.muted:
            data = self._silence
        self._transmit(self._second, timestamp, data if sending_format.is_payload else sending_format.codec.encode(bytes(data)))
        self._second = self.payload_type
        self.sent = data

    def _keep_alive(self, timestamp: int) -> None:
        """On hold: keep the way through a NAT open with an empty packet of a type that was not agreed (RFC 6263 §4.6)."""
        self._unsent = 0
        if self.target[1] and self.target[0] not in ("0.0.0.0", "::", ""):
            self._transmit(self._unknown_payload_type, timestamp, b"")

    def _transmit(self, second: int, timestamp: int, payload: bytes | bytearray) -> None:
        """Send one packet; `second` is the marker bit and the payload type."""
        sequence = self.sequence
        self.sequence = (sequence + 1) & 0xFFFF
        try:
            self._sendto(pack_header(0x80, second, sequence, timestamp, self.ssrc) + payload, self.target)
        except OSError as error:
            # A full send buffer, no route, or the ICMP error of an earlier packet: this one is lost, the next may get through.
            self.errors += 1
            self.last_error = str(error)
            return
        self.packets_sent += 1
        self.octets_sent += len(payload)

    def _send_event(self, events: TelephoneEventSender, timestamp: int) -> bool:
        """Send the packets of a digit in place of the sound; False if sound may be sent."""
        packets = events.tick(timestamp)
        for marker, event_timestamp, payload in packets:
            self._transmit(marker << 7 | events.payload_type, event_timestamp, payload)
        if not events.busy:
            self._emit(DigitsSent())
        if packets:
            self._hush = _HUSH_TICKS
            return True
        if self._hush and events.busy:
            self._hush -= 1
            self._transmit(self.payload_type, timestamp, self.format.payload(self._silence))
            self.sent = self._silence
            return True
        return False


def _converted(data: bytes, old: SendingFormat, new: SendingFormat) -> bytes:
    """Fed sound that waits, in another codec."""
    from flexosip.audio.resample import Resampler

    pcm = old.pcm(data)
    if old.sample_rate != new.sample_rate:
        resampler = Resampler(old.sample_rate, new.sample_rate)
        pcm = resampler.process(pcm) + resampler.flush()
    return new.prepare(pcm)
