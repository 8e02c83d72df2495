"""Whose RTP we accept: symmetric RTP with guarded learning. RFC 4961, RFC 7362 §4; against RTP bleed (CVE-2017-14099).

The address of the SDP is always right. Behind a NAT packets come from another one; it is taken over only when
the right one has been silent since the offer/answer, within the first seconds, and after several packets that are one stream.
Once a source is settled, a stranger gets nowhere: what he sends is counted and dropped, and nothing is ever sent to him.
After a new offer/answer one more learning is possible, again only if the settled source is silent.
A NAT that rebinds in the middle of a call is followed when the known stream itself (SSRC and sequence) goes on elsewhere.
"""

from __future__ import annotations

import enum

__all__ = ["SourceGuard", "Verdict"]

Address = tuple[str, int]

LEARN_SECONDS = 5.0
CONSISTENT_PACKETS = 5
REBIND_SILENCE = 2.0
REBIND_SEQUENCES = 3000
"""How far the sequence may have run while the rebinding NAT swallowed packets: a minute at 50 packets a second."""
_CLOSE_SEQUENCES = 10


class Verdict(enum.Enum):
    """What to do with a packet that does not come from the settled source."""

    DROP = "drop"
    EXPECTED = "expected"
    """From the SDP's address: take it, it is settled now."""
    LEARNED = "learned"
    """The last of several consistent packets: take it, the source is settled now."""


def plain_address(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Host and port only, the host without an IPv6 zone, in lower case as sockets tell it."""
    host = address[0]
    return (host.partition("%")[0].lower() if ":" in host else host, address[1])


class SourceGuard:
    """Judges packets from elsewhere than the settled source; the receiver's fast path compares `settled` itself."""

    __slots__ = ("_candidate", "_count", "_opened", "_payload_type", "_sequence", "_ssrc", "expected", "learned", "settled")

    def __init__(self) -> None:
        self.expected: Address = ("", 0)
        """What the SDP names."""
        self.settled: tuple[str, int] | tuple[str, int, int, int] | None = None
        """The source in use, exactly as the socket tells it; None until a packet came."""
        self.learned = False
        """True while the settled source is not the SDP's."""
        self._opened = 0.0
        self._forget_candidate()

    def _forget_candidate(self) -> None:
        self._candidate: object = None
        self._count = 0
        self._ssrc = self._sequence = self._payload_type = -1

    def expect(self, address: Address, now: float) -> None:
        """An offer/answer named `address`; it may be the same as before."""
        address = plain_address(address)
        if address != self.expected:
            self.expected = address
            self.settled = None
            self.learned = False
        self._opened = now
        self._forget_candidate()

    @property
    def target(self) -> Address:
        """Where RTP is to be sent."""
        if self.learned and self.settled is not None:
            return (self.settled[0], self.settled[1])
        return self.expected

    def judge(
        self,
        address: tuple[str, int] | tuple[str, int, int, int],
        header: tuple[int, int, int],
        now: float,
        last_packet: float | None,
        known: tuple[int, int] | None,
    ) -> Verdict:
        """Judge a well-formed packet with a negotiated payload type.

        Args:
            address: its source, not equal to `settled`.
            header: its SSRC, sequence and payload type.
            now: time of its arrival.
            last_packet: when the last accepted packet came, None if none came yet.
            known: SSRC and last sequence of the accepted stream, None if there is none.
        """
        if plain_address(address) == self.expected:
            self.settled = address
            self.learned = False
            self._forget_candidate()
            return Verdict.EXPECTED
        if not self._may_learn(header, now, last_packet, known) or not self._is_consistent(address, header):
            return Verdict.DROP
        self.settled = address
        self.learned = True
        self._forget_candidate()
        return Verdict.LEARNED

    def _may_learn(self, header: tuple[int, int, int], now: float, last_packet: float | None, known: tuple[int, int] | None) -> bool:
        if last_packet is None or last_packet < self._opened:
            if now - self._opened <= LEARN_SECONDS:
                return True
            if last_packet is None:
                return False
        if known is None or now - last_packet < REBIND_SILENCE:
            return False
        return header[0] == known[0] and 0 < (header[1] - known[1] & 0xFFFF) <= REBIND_SEQUENCES

    def _is_consistent(self, address: object, header: tuple[int, int, int]) -> bool:
        ssrc, sequence, payload_type = header
        if (
            address == self._candidate
            and ssrc == self._ssrc
            and payload_type == self._payload_type
            and 0 < (sequence - self._sequence & 0xFFFF) <= _CLOSE_SEQUENCES
        ):
            self._count += 1
        else:
            self._candidate = address
            self._ssrc = ssrc
            self._payload_type = payload_type
            self._count = 1
        self._sequence = sequence
        return self._count >= CONSISTENT_PACKETS
