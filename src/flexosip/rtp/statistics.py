"""What RTP receivers count: loss, jitter, duplicates, and what goes into a report block. RFC 3550 §6.4, A.1, A.3, A.8."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReceiveStatistics", "ReceptionSnapshot"]

_MAX_DROPOUT = 3000
_MAX_MISORDER = 100
_RECENT = 64


@dataclass(frozen=True, slots=True)
class ReceptionSnapshot:
    """The counts of one received stream at one moment."""

    packets: int
    """Packets that came, duplicates included (as the RFC counts)."""
    octets: int
    expected: int
    lost: int
    """Expected less received; negative when there were more duplicates than losses."""
    duplicates: int
    reordered: int
    jitter: float
    """Interarrival jitter, seconds (§6.4.1)."""
    highest_sequence: int
    """Extended highest sequence number: cycles in the upper bits."""


class ReceiveStatistics:
    """Counts of the packets of one source.

    Args:
        clock_rate: of the timestamps, Hz.
    """

    __slots__ = (
        "_bad", "_base", "_clock_rate", "_cycles", "_expected_prior", "_highest", "_jitter", "_previous", "_received_prior", "_recent",
        "_started", "_transit", "duplicates", "octets", "packets", "reordered",
    )  # fmt: skip

    def __init__(self, clock_rate: int = 8000) -> None:
        self._clock_rate = clock_rate
        self.octets = 0
        """Payload octets; the caller may add them itself."""
        self._start(0)
        self._started = False

    def _start(self, sequence: int) -> None:
        """RFC 3550 A.1 `init_seq`."""
        self._base = self._highest = sequence
        self._cycles = 0
        self._bad = -1
        self.packets = 0
        self.duplicates = 0
        self.reordered = 0
        self._expected_prior = 0
        self._received_prior = 0
        self._transit = 0
        self._previous = -1
        self._jitter = 0
        # One bit a packet, bit 0 the highest: tells a duplicate from a packet that was overtaken.
        self._recent = 0
        self._started = True

    @property
    def clock_rate(self) -> int:
        """Of the timestamps, Hz."""
        return self._clock_rate

    def set_clock_rate(self, clock_rate: int) -> None:
        """The stream goes on with another codec; the jitter is taken over in seconds."""
        if clock_rate != self._clock_rate:
            self._jitter = self._jitter * clock_rate // self._clock_rate
            self._clock_rate = clock_rate
            self._previous = -1

    def update(self, sequence: int, timestamp: int, arrival: float, size: int = 0) -> bool:
        """Count one packet.

        Args:
            arrival: when it came, seconds of any steady clock.
            size: octets of payload.

        Returns:
            False for a duplicate and for a sequence number that jumped too far to be believed at once (A.1); the next packet
            in sequence then starts the count anew.
        """
        step = (sequence - self._highest) & 0xFFFF
        if step == 1 and self._started:
            if sequence == 0:
                self._cycles += 0x10000
            self._highest = sequence
            self._recent = (self._recent << 1 | 1) & 0xFFFFFFFFFFFFFFFF
        elif not self._update_irregular(sequence, step):
            return False
        self.packets += 1
        self.octets += size
        # Repeats of one timestamp (events, fragments) say nothing about the network's jitter.
        if timestamp != self._previous:
            transit = int(arrival * self._clock_rate) - timestamp
            if self._previous >= 0:
                difference = (transit - self._transit + 0x80000000 & 0xFFFFFFFF) - 0x80000000
                if difference < 0:
                    difference = -difference
                # A jump of the sender's clock is not jitter: no network holds a packet for seconds.
                if difference < self._clock_rate << 1:
                    self._jitter += difference - (self._jitter + 8 >> 4)
            self._transit = transit
            self._previous = timestamp
        return True

    def _update_irregular(self, sequence: int, step: int) -> bool:
        if not self._started:
            self._start(sequence)
            self._recent = 1
            return True
        if 1 < step < _MAX_DROPOUT:
            if sequence < self._highest:
                self._cycles += 0x10000
            self._highest = sequence
            self._recent = (self._recent << min(step, _RECENT) | 1) & 0xFFFFFFFFFFFFFFFF
            return True
        behind = (-step) & 0xFFFF
        if behind < _MAX_MISORDER:
            if behind < _RECENT:
                if self._recent >> behind & 1:
                    self.duplicates += 1
                    self.packets += 1
                    return False
                self._recent |= 1 << behind
            self.reordered += 1
            return True
        if sequence == self._bad:
            # Two in sequence: the sender has restarted (A.1).
            self._start(sequence)
            self._recent = 1
            return True
        self._bad = (sequence + 1) & 0xFFFF
        return False

    @property
    def jitter_ticks(self) -> int:
        """Interarrival jitter in clock ticks, as reported (A.8)."""
        return self._jitter >> 4

    @property
    def jitter(self) -> float:
        """Interarrival jitter, seconds."""
        return (self._jitter >> 4) / self._clock_rate

    @property
    def extended_highest(self) -> int:
        """Cycles and highest sequence number."""
        return self._cycles + self._highest

    @property
    def expected(self) -> int:
        """Packets that the sequence numbers promise (A.3)."""
        return self.extended_highest - self._base + 1 if self._started else 0

    @property
    def lost(self) -> int:
        """Expected less received (A.3), within 24 bits with sign."""
        return max(-0x800000, min(self.expected - self.packets, 0x7FFFFF))

    def report(self) -> tuple[int, int, int, int] | None:
        """What a report block says since the last one: `(fraction_lost, cumulative_lost, extended_highest, jitter_ticks)`.

        `fraction_lost` is in 1/256 (A.3). None when nothing has come since: then there is no block for this source (§6.4).
        """
        if not self._started or self.packets == self._received_prior:
            return None
        expected = self.expected
        expected_interval = expected - self._expected_prior
        lost_interval = expected_interval - (self.packets - self._received_prior)
        self._expected_prior = expected
        self._received_prior = self.packets
        fraction = 0 if expected_interval <= 0 or lost_interval <= 0 else min((lost_interval << 8) // expected_interval, 255)
        return fraction, self.lost, self.extended_highest & 0xFFFFFFFF, self.jitter_ticks

    def snapshot(self) -> ReceptionSnapshot:
        """The present counts."""
        return ReceptionSnapshot(
            self.packets, self.octets, self.expected, self.lost, self.duplicates, self.reordered, self.jitter, self.extended_highest
        )
