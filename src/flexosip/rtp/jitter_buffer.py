"""The jitter buffer: packets come in as the network brings them, payloads go out in order and on the caller's clock.

Playout follows the timestamps. The buffer knows the timestamp that is due (`_due`) and how much sound the caller had to make up
since (`_stalled`). The first packet that is there decides; the gap is the difference of its timestamp and the due one:

    gap > stalled   something is missing before it: the caller conceals one more packet ("lost")
    gap <= stalled  play it. If gap < stalled, it was late and the delay has grown by the difference: so it adapts up

Loss, late packets, silence suppression, events sent instead of sound and a changed packet time are so one case. It adapts down by
the packet that came last of all within two seconds: if even that one had to wait for others, one is left out, a quiet one if possible.
RFC 3550 appendix A.1 for sequence numbers that jump.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["JitterBuffer"]

_CAPACITY = 128
"""Packets; a power of two, so that a sequence number finds its place by a mask also across its wrap."""
_MASK = _CAPACITY - 1
_MAX_DROPOUT = 3000
_RESYNC_RUN = 3
_WINDOW_SECONDS = 2
_PAUSE_SECONDS = 0.2
_LATE_PER_WINDOW = 2
_QUIET_CODES = 24
_SHRINK_PATIENCE = 50
_OVERFULL = -1


class JitterBuffer:
    """Packets of one SSRC in order of playout.

    Args:
        clock_rate: of the timestamps, Hz.
        samples: how many ticks a payload lasts: the codec's `samples`.
        delay: seconds of sound that are gathered before the first one is played.
        min_delay, max_delay: bounds within which the delay adapts to the network, seconds.

    Call `get` whenever more sound is needed: once a tick when a packet lasts as long as a tick. `ticks` then tells how much
    sound that was, whether real or to be made up.
    """

    __slots__ = (
        "_buffering", "_clock_rate", "_count", "_due", "_fresh", "_head", "_late_in_window", "_limit", "_low", "_max_delay", "_min_delay",
        "_payload_size", "_probe", "_probe_run", "_ring", "_samples", "_shrink", "_stalled", "_started", "_target", "_times", "_waited",
        "_window", "_window_size", "discarded", "duplicates", "late", "lost", "played", "reason", "resyncs", "ticks", "underruns",
    )  # fmt: skip

    def __init__(
        self,
        clock_rate: int = 8000,
        samples: Callable[[bytes], int] = len,
        *,
        delay: float = 0.04,
        min_delay: float = 0.02,
        max_delay: float = 0.12,
    ) -> None:
        self._ring: list[bytes | None] = [None] * _CAPACITY
        self._times = [-1] * _CAPACITY
        self._clock_rate = clock_rate
        self._samples = samples
        self._min_delay = round(min_delay * clock_rate)
        self._max_delay = round(max_delay * clock_rate)
        self._target = round(delay * clock_rate)
        self.ticks = clock_rate // 50
        """Length of what the last `get` stands for, in clock ticks."""
        self.reason = "empty"
        """Why the last `get` gave None: "empty" (no stream yet, or it pauses: silence), "buffering" (silence while the delay
        builds up), "lost" (conceal one packet), "late" (the next packet has not come in time: conceal one packet)."""
        self.played = 0
        self.lost = 0
        """Packets that were concealed although later ones were there."""
        self.late = 0
        """Packets that came after their time."""
        self.duplicates = 0
        self.discarded = 0
        """Packets left out to reduce the delay."""
        self.underruns = 0
        """Times that the delay grew because packets were late."""
        self.resyncs = 0
        """Jumps of sequence number or timestamp that were followed."""
        self._payload_size = 0
        self._restart()

    def _restart(self) -> None:
        """Nothing is due: the next packet starts a new stretch."""
        self._count = 0
        self._head = 0
        self._due = 0
        self._stalled = 0
        self._started = False
        self._fresh = True
        self._buffering = True
        self._waited = 0
        self._probe = -1
        self._probe_run = 0
        self._new_packet_time()

    def reset(self) -> None:
        """Forget the stream: the SSRC has changed (RFC 3550 §8). Counters and the learned delay stay."""
        self._ring = [None] * _CAPACITY
        self._times = [-1] * _CAPACITY
        self._restart()

    def _new_packet_time(self) -> None:
        self._limit = min(max(self._max_delay // self.ticks + 2, 3), _CAPACITY - 1)
        self._window_size = max(round(self._clock_rate / self.ticks * _WINDOW_SECONDS), 4)
        self._new_window()
        self._shrink = 0

    def _new_window(self) -> None:
        self._window = self._window_size
        self._low = _CAPACITY
        self._late_in_window = 0

    @property
    def depth(self) -> int:
        """Packets in the buffer."""
        return self._count

    @property
    def delay(self) -> float:
        """Seconds of sound in the buffer."""
        return self._count * self.ticks / self._clock_rate

    @property
    def target_delay(self) -> float:
        """Seconds of sound that are gathered before a stretch of sound starts."""
        return self._target / self._clock_rate

    # --- packets in ---

    def put(self, sequence: int, timestamp: int, payload: bytes, marker: int = 0, now: float = 0.0) -> bool:
        """A packet has come. Its fields as in the header; an empty payload is passed over. `now` is not needed at present.

        Returns:
            True if it waits for its playout now; False if it was late, a duplicate, empty or out of order beyond repair.
        """
        ahead = (sequence - self._head) & 0xFFFF
        if ahead < _CAPACITY and self._started:
            slot = sequence & _MASK
            if self._ring[slot] is None and payload:
                self._ring[slot] = payload
                self._times[slot] = timestamp
                if ahead < self._low:
                    self._low = ahead
                self._count = count = self._count + 1
                if count > self._limit:
                    self._drop_first()
                    self._shrink = _OVERFULL
                elif marker and count == 1 and self._stalled > self._target:
                    # A talk spurt begins: the moment to build up the delay anew without tearing a word apart.
                    self._buffering = True
                    self._waited = 0
                return True
            if payload:
                self.duplicates += 1
            return False
        return bool(payload) and self._put_out_of_range(sequence, timestamp, payload)

    def _put_out_of_range(self, sequence: int, timestamp: int, payload: bytes) -> bool:
        """The first packet, a late one, or one whose sequence number jumps (RFC 3550 A.1)."""
        if not self._started:
            self._begin(sequence, timestamp, payload)
            return True
        ahead = (sequence - self._head) & 0xFFFF
        behind = 0x10000 - ahead
        if self._fresh and self._latest_offset() + behind < _CAPACITY:
            # The first packet has overtaken this one: nothing has been played yet, so begin earlier.
            self._head = sequence
            return self.put(sequence, timestamp, payload)
        if ahead < _MAX_DROPOUT:
            self._jump(sequence, timestamp, payload)
            return True
        if behind <= _CAPACITY and self._times[sequence & _MASK] == timestamp:
            self.duplicates += 1
            return False
        self._probe_run = self._probe_run + 1 if sequence == self._probe else 1
        self._probe = (sequence + 1) & 0xFFFF
        # Just behind are late packets. That they come in a row while nothing else does means that the sender has restarted.
        far = behind > _MAX_DROPOUT
        if self._probe_run >= (2 if far else _RESYNC_RUN) and (far or not self._count):
            self._jump(sequence, timestamp, payload)
            return True
        self.late += 1
        self._late_in_window += 1
        if self._late_in_window >= _LATE_PER_WINDOW and not far and self._target < self._max_delay:
            # One packet of made-up sound before the next one: then the delay is longer.
            self._due = (self._due - self.ticks) & 0xFFFFFFFF
            self._grow()
        return False

    def _latest_offset(self) -> int:
        """How far the newest packet is ahead of the head."""
        ring, head = self._ring, self._head
        return max((offset for offset in range(_CAPACITY) if ring[(head + offset) & _MASK] is not None), default=0)

    def _begin(self, sequence: int, timestamp: int, payload: bytes) -> None:
        self._started = True
        self._head = sequence
        slot = sequence & _MASK
        self._ring[slot] = payload
        self._times[slot] = timestamp
        self._count = 1
        self._learn_packet_time(payload)

    def _jump(self, sequence: int, timestamp: int, payload: bytes) -> None:
        self.resyncs += 1
        self.discarded += self._count
        self.reset()
        self._begin(sequence, timestamp, payload)

    def _learn_packet_time(self, payload: bytes) -> None:
        self._payload_size = len(payload)
        ticks = self._samples(payload)
        if ticks > 0 and ticks != self.ticks:
            self.ticks = ticks
            self._new_packet_time()

    # --- payloads out ---

    def get(self) -> bytes | None:
        """The payload that is due, or None: see `reason`, and make up `ticks` of sound."""
        head = self._head
        slot = head & _MASK
        payload = self._ring[slot]
        if payload is None or self._buffering or self._times[slot] != self._due or self._stalled or self._shrink:
            return self._get_irregular()
        self._ring[slot] = None
        self._head = (head + 1) & 0xFFFF
        self._count -= 1
        if len(payload) != self._payload_size:
            self._learn_packet_time(payload)
        self._due = (self._due + self.ticks) & 0xFFFFFFFF
        self._window -= 1
        if not self._window:
            self._adapt()
        self.played += 1
        return payload

    def _get_irregular(self) -> bytes | None:
        if self._buffering:
            if not self._is_filled():
                return None
            self._buffering = self._fresh = False
            self._due = self._times[self._first() & _MASK]
            self._stalled = 0
            # What came while nothing was played tells nothing about the delay.
            self._new_window()
        if not self._count:
            self._stall()
            return None
        if self._shrink:
            self._shorten()
        first = self._first()
        timestamp = self._times[first & _MASK]
        gap = (timestamp - self._due + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        missing = (first - self._head) & 0xFFFF
        short = gap - self._stalled
        # Less than half a packet is a sender that rounds, or a payload that is a sample short: no reason to make up a packet.
        tolerance = self.ticks >> 1
        if tolerance < short <= self._max_delay + missing * self.ticks:
            # The head stays: what is missing may still come until what follows is played.
            self._stalled += self.ticks
            self.lost += missing > 0
            self.reason = "lost"
            return None
        if short > tolerance or gap < -tolerance:
            self.resyncs += 1
        elif short < -tolerance:
            self._grow()
        return self._play(first, timestamp)

    def _play(self, first: int, timestamp: int) -> bytes:
        """Take the packet at `first`, whatever was due."""
        slot = first & _MASK
        payload = self._ring[slot]
        assert payload is not None  # _first() has found it
        self._ring[slot] = None
        self._head = (first + 1) & 0xFFFF
        self._count -= 1
        if len(payload) != self._payload_size:
            self._learn_packet_time(payload)
        self._due = (timestamp + self.ticks) & 0xFFFFFFFF
        self._stalled = 0
        self._window -= 1
        if self._window <= 0:
            self._adapt()
        self.played += 1
        return payload

    def _first(self) -> int:
        """Sequence number of the first packet that is there. `_count` is not zero."""
        ring, first = self._ring, self._head
        while ring[first & _MASK] is None:
            first += 1
        return first & 0xFFFF

    def _drop_first(self) -> None:
        """Leave out the first packet that is there; the next one follows without a gap."""
        first = self._first()
        self._ring[first & _MASK] = None
        self._head = (first + 1) & 0xFFFF
        self._count -= 1
        self.discarded += 1
        if self._count:
            self._due = self._times[self._first() & _MASK]
            self._stalled = 0

    def _stall(self) -> None:
        """Nothing is there: wait, and count how much sound was made up meanwhile."""
        self._stalled += self.ticks
        if self._stalled >= _PAUSE_SECONDS * self._clock_rate:
            # A pause, not a late packet. Gather the delay anew when it is over.
            self._buffering = True
            self._waited = 0
            self.reason = "empty"
        else:
            self.reason = "late"

    def _is_filled(self) -> bool:
        """Whether enough has gathered, or what there is has waited long enough."""
        if not self._count:
            self.reason = "empty"
            return False
        if self._count * self.ticks >= self._target or self._waited >= self._target:
            return True
        self._waited += self.ticks
        self.reason = "buffering"
        return False

    # --- adaptation ---

    def _grow(self) -> None:
        """Packets were late: the delay has become longer, and the next stretch of sound starts with more of it."""
        self.underruns += 1
        self._target = min(self._target + self.ticks, self._max_delay)
        self._new_window()
        self._shrink = 0

    def _adapt(self) -> None:
        """A window is over: was every packet there so early that it waited for others?"""
        if 1 < self._low < _CAPACITY and self._low * self.ticks > self._min_delay:
            self._shrink = _SHRINK_PATIENCE
        self._new_window()

    def _shorten(self) -> None:
        """Leave packets out: all that is too much after a burst, else one when it is quiet or we have waited long for that."""
        if self._shrink == _OVERFULL:
            keep = max(self._target // self.ticks, 1)
            while self._count > keep:
                self._drop_first()
            self._shrink = 0
            return
        self._shrink -= 1
        payload = self._ring[self._first() & _MASK]
        if self._count > 1 and payload is not None and (not self._shrink or len(set(payload)) <= _QUIET_CODES):
            self._shrink = 0
            self._target = max(self._target - self.ticks, self._min_delay)
            self._drop_first()
