"""Telephone events: key presses as RTP payloads, sent exactly and received robustly. RFC 4733.

    |     event     |E|R|  volume   |          duration             |

One press is one timestamp: that of its start. Every packet repeats the whole event with the duration so far; the last is sent three
times with the E bit. A duration beyond 65535 ticks starts a new segment with its own timestamp (§2.5.1.3).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from flexosip.errors import ConfigurationError

__all__ = ["DIGITS", "Digit", "TelephoneEventReceiver", "TelephoneEventSender"]

DIGITS = "0123456789*#ABCD!"
"""Characters by event code (RFC 4733 §3.2); `!` is the hook flash, event 16."""

_MAX_DURATION = 0xFFFF
_END = 0x80
_FINAL_PACKETS = 3


class TelephoneEventSender:
    """Turns digits into the event packets of one stream.

    Args:
        payload_type: agreed by SDP, as the peer wants it.
        clock_rate: of the stream's timestamps, the same as the codec's (RFC 4733 §2.1).
        packet_ticks: ticks between two calls of `tick`: the packet time.
        duration: how long a key is held, seconds; not shorter than 40 ms (ITU-T Q.24).
        gap: from the end of a key to the begin of the next, seconds; not shorter than 40 ms.
        volume: power of the tone, -dBm0, 0 to 63.
    """

    __slots__ = (
        "_begin", "_clock_rate", "_elapsed", "_event", "_finals", "_gap", "_hold", "_packet_ticks", "_queue", "_volume", "_wait",
        "payload_type",
    )  # fmt: skip

    def __init__(
        self,
        payload_type: int,
        clock_rate: int = 8000,
        *,
        packet_ticks: int | None = None,
        duration: float = 0.1,
        gap: float = 0.06,
        volume: int = 10,
    ) -> None:
        if duration < 0.04 or gap < 0.04:
            raise ConfigurationError("Keys and the gaps between them last at least 40 ms.")
        if not 0 <= volume <= 63:
            raise ConfigurationError("The volume of an event is 0 to 63 (-dBm0).")
        self.payload_type = payload_type
        self._clock_rate = clock_rate
        self._packet_ticks = packet_ticks or clock_rate // 50
        self._hold = round(duration * clock_rate)
        self._gap = round(gap * clock_rate)
        self._volume = volume
        self._queue: deque[tuple[int, int]] = deque()
        self._event = -1
        self._begin = 0
        self._elapsed = 0
        self._finals = 0
        self._wait = 0

    @property
    def busy(self) -> bool:
        """True while there is something to send or to wait for: call `tick` at every packet time."""
        return bool(self._queue) or self._event >= 0 or self._finals > 0 or self._wait > 0

    @property
    def pending(self) -> int:
        """Keys that have not begun."""
        return sum(1 for event, _ in self._queue if event >= 0)

    def send(self, digits: str, *, duration: float | None = None) -> None:
        """Queue keys: `0-9 * # A-D`, `!` for a hook flash, `w` for half a second of waiting.

        Args:
            duration: how long each of them is held, seconds; the sender's own if None.

        Raises:
            ConfigurationError: another character, or a duration under 40 ms; nothing is queued then.
        """
        if duration is not None and duration < 0.04:
            raise ConfigurationError("A key is held for at least 40 ms.")
        hold = self._hold if duration is None else round(duration * self._clock_rate)
        steps: list[tuple[int, int]] = []
        for character in digits.upper():
            if character == "W":
                steps.append((-1, self._clock_rate // 2))
            elif character in DIGITS:
                steps.append((DIGITS.index(character), hold))
            else:
                raise ConfigurationError(f"{character!r} is no key: allowed are 0-9, *, #, A-D, ! (hook flash) and w (wait half a second).")
        self._queue.extend(steps)

    def clear(self) -> None:
        """Forget the keys that have not begun; the present one ends as it should."""
        self._queue.clear()

    def tick(self, timestamp: int) -> list[tuple[int, int, bytes]]:
        """What to send in this packet time.

        Args:
            timestamp: that of the sound packet whose place this is.

        Returns:
            `(marker, timestamp, payload)` of each packet. While the list is not empty, they go in place of the sound; the
            sequence number rises with each. Empty: sound may be sent.
        """
        if self._finals:
            return self._repeat_final()
        if self._event < 0:
            if self._wait > 0:
                self._wait -= self._packet_ticks
            if self._wait > 0 or not self._next(timestamp):
                return []
        return self._continue()

    def _next(self, timestamp: int) -> bool:
        """Begin what is next in the queue; True if it is a key."""
        while self._queue:
            event, length = self._queue.popleft()
            if event >= 0:
                self._event = event
                self._begin = timestamp
                self._elapsed = 0
                # The length left counts down in _wait, so that a press needs no other state.
                self._wait = length
                return True
            self._wait += length
            if self._wait > 0:
                return False
        return False

    def _continue(self) -> list[tuple[int, int, bytes]]:
        packets: list[tuple[int, int, bytes]] = []
        marker = int(self._elapsed == 0)
        step = min(self._packet_ticks, self._wait)
        self._wait -= step
        self._elapsed += step
        if self._elapsed > _MAX_DURATION:
            packets.append((0, self._begin, self._payload(_MAX_DURATION, 0)))
            self._begin = (self._begin + _MAX_DURATION) & 0xFFFFFFFF
            self._elapsed -= _MAX_DURATION
        if self._wait > 0:
            packets.append((marker, self._begin, self._payload(self._elapsed, 0)))
            return packets
        packets.append((marker, self._begin, self._payload(self._elapsed, _END)))
        self._finals = _FINAL_PACKETS - 1
        # The first final packet's place is sound time of the key itself; the repeats already lie in the gap.
        self._wait = self._gap + self._packet_ticks
        return packets

    def _repeat_final(self) -> list[tuple[int, int, bytes]]:
        packet = (0, self._begin, self._payload(self._elapsed, _END))
        self._finals -= 1
        self._wait -= self._packet_ticks
        if not self._finals:
            self._event = -1
        return [packet]

    def _payload(self, duration: int, flags: int) -> bytes:
        return bytes((self._event, flags | self._volume, duration >> 8, duration & 0xFF))


@dataclass(frozen=True, slots=True)
class Digit:
    """One press of a key."""

    digit: str
    """`0-9 * # A-D`, or `!` for a hook flash."""
    duration: float
    """How long it was held, seconds, as far as it is known."""
    started: float
    """When its first packet came, in the driver's time."""


class TelephoneEventReceiver:
    """Makes one `Digit` of each press, whatever the network did to its packets.

    A press is given when its end is seen, when the next one begins, or, with all ends lost, when nothing more has come for a
    while (`handle_timeout`). Packets are recognised by SSRC, timestamp and event (RFC 4733 §2.5.2).

    Args:
        clock_rate: of the timestamps, Hz.
    """

    __slots__ = (
        "_base", "_clock_rate", "_done", "_duration", "_event", "_gap", "_last", "_ssrc", "_started", "_timestamp", "ignored",
    )  # fmt: skip

    def __init__(self, clock_rate: int = 8000) -> None:
        self._clock_rate = clock_rate
        self._event = -1
        self._ssrc = 0
        self._timestamp = 0
        self._base = 0
        self._duration = 0
        self._started = 0.0
        self._last = 0.0
        self._gap = 0.0
        self._done: deque[tuple[int, int, int]] = deque(maxlen=16)
        self.ignored = 0
        """Packets that were damaged, of an unknown event or of a stranger's SSRC."""

    def receive(self, sequence: int, timestamp: int, payload: bytes, marker: int, now: float, ssrc: int = 0) -> list[Digit]:
        """An event packet has come.

        Returns:
            The presses that are complete with it: mostly none, rarely two.
        """
        if len(payload) < 4 or payload[0] >= len(DIGITS):
            self.ignored += 1
            return []
        event = payload[0]
        ended = payload[1] & _END
        duration = payload[2] << 8 | payload[3]
        key = (ssrc, timestamp, event)
        if key in self._done:
            return []
        digits: list[Digit] = []
        if self._event >= 0:
            if ssrc != self._ssrc:
                # Stay with the stream that began the press until it is silent (handle_timeout).
                self.ignored += 1
                return []
            if event != self._event or timestamp != self._timestamp:
                ahead = (timestamp - self._timestamp) & 0xFFFFFFFF
                if ahead >= 0x80000000:
                    # A whole press that was overtaken by this one; its end, if there is one, tells its length.
                    if not ended:
                        return []
                    self._done.append(key)
                    return [Digit(DIGITS[event], duration / self._clock_rate, now)]
                if event == self._event and not marker and self._is_next_segment(ahead):
                    self._done.append((self._ssrc, self._timestamp, self._event))
                    self._base += ahead
                    self._duration = 0
                    self._timestamp = timestamp
                else:
                    digits.append(self._finish())
        if self._event < 0:
            self._event, self._ssrc, self._timestamp = event, ssrc, timestamp
            self._base = self._duration = 0
            self._started = self._last = now
            self._gap = 0.0
        self._gap = max(self._gap, now - self._last)
        self._last = now
        self._duration = max(self._duration, duration)
        if ended:
            digits.append(self._finish())
        return digits

    def _is_next_segment(self, ahead: int) -> bool:
        """Whether a timestamp `ahead` of the present one goes on with the same press (RFC 4733 §2.5.1.3)."""
        return 0 < ahead <= _MAX_DURATION and (ahead == self._duration or ahead >= _MAX_DURATION - self._clock_rate // 10)

    def _finish(self) -> Digit:
        digit = Digit(DIGITS[self._event], (self._base + self._duration) / self._clock_rate, self._started)
        self._done.append((self._ssrc, self._timestamp, self._event))
        self._event = -1
        return digit

    @property
    def active(self) -> str:
        """The key that is held now, or ""."""
        return DIGITS[self._event] if self._event >= 0 else ""

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; None while no key is held."""
        if self._event < 0:
            return None
        return self._last + min(max(0.15, 3 * self._gap), 1.0)

    def handle_timeout(self, now: float) -> list[Digit]:
        """The press whose end never came; harmless when early."""
        deadline = self.next_timeout()
        return [self._finish()] if deadline is not None and now >= deadline else []
