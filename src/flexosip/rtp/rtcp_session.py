"""RTCP of one call's audio: when to report, what to report, and what the peer's reports tell. RFC 3550 §6.2, §6.3, §6.4.

Two parties: the interval is the minimum of five seconds, each time anew between half and one and a half of it, the first one half
as long (§6.2, §6.3.1). A sender report if anything was sent within the last two intervals, else a receiver report (§6.4).
"""

from __future__ import annotations

from random import Random

from flexosip.errors import RemoteProtocolError
from flexosip.rtp.rtcp import (
    CNAME,
    Bye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from flexosip.rtp.statistics import ReceiveStatistics

__all__ = ["RtcpSession"]

INTERVAL = 5.0
_NTP_EPOCH = 2208988800
_MAX_ROUND_TRIP = 60 << 16
_MAX_CNAME = 255


class RtcpSession:
    """The RTCP side of one RTP stream pair.

    Args:
        ssrc: of what we send.
        cname: our canonical name, the same for all streams of a call, without personal data (RFC 7022).
        received: counts of what comes in; its report is asked for with every report of ours.
        random: for the intervals.
        now: the driver's time, seconds.
        wall_offset: to be added to the driver's time to give Unix time; 0 if no wall clock is known (§6.4.1 allows that).
    """

    __slots__ = (
        "_cname", "_last_sender_report", "_last_sender_report_at", "_next", "_prior_packets", "_random", "_wall_offset", "bye_received",
        "damaged", "octets_sent", "packets_sent", "received", "remote_cname", "remote_fraction_lost", "remote_jitter_ticks", "remote_lost",
        "remote_ssrc", "reports_received", "round_trip", "ssrc",
    )  # fmt: skip

    def __init__(self, ssrc: int, cname: str, received: ReceiveStatistics, *, random: Random, now: float, wall_offset: float = 0.0) -> None:
        self.ssrc = ssrc
        self._cname = cname.encode()[:_MAX_CNAME]
        self.received = received
        self._random = random
        self._wall_offset = wall_offset
        self._next = now + self._interval() / 2
        self.packets_sent = 0
        """RTP packets sent; the sender counts here."""
        self.octets_sent = 0
        """Payload octets sent; the sender counts here."""
        # Packets counted at the last report and the one before.
        self._prior_packets = (0, 0)
        self.remote_ssrc: int | None = None
        """SSRC of the RTP packets that come; the receiver sets it. Report blocks need it."""
        self._last_sender_report = 0
        self._last_sender_report_at = 0.0
        self.remote_cname = ""
        self.round_trip: float | None = None
        """Seconds, from the last report block about us; None until one has come."""
        self.remote_fraction_lost: float | None = None
        """Share of our packets that the peer missed within its last interval."""
        self.remote_lost: int | None = None
        self.remote_jitter_ticks: int | None = None
        self.reports_received = 0
        self.bye_received = False
        """The peer's source has said BYE. The call goes on until its signalling ends it."""
        self.damaged = 0
        """Datagrams that were no valid RTCP."""

    def _interval(self) -> float:
        return INTERVAL * (0.5 + self._random.random())

    def next_timeout(self) -> float:
        """When the next report is due."""
        return self._next

    def poll_report(self, now: float, rtp_timestamp: int) -> bytes | None:
        """The compound packet to send now, None when none is due.

        Args:
            rtp_timestamp: what the clock of the stream that we send shows now.
        """
        if now < self._next:
            return None
        self._next = now + self._interval()
        return self.create_report(now, rtp_timestamp)

    def create_report(self, now: float, rtp_timestamp: int) -> bytes:
        """SR or RR, and SDES with our CNAME (§6.1)."""
        report = self._report(now, rtp_timestamp)
        self._prior_packets = (self._prior_packets[1], self.packets_sent)
        return build_compound((report, SourceDescription(((self.ssrc, ((CNAME, self._cname),)),))))

    def create_bye(self, now: float, rtp_timestamp: int, reason: str = "") -> bytes:
        """The last compound packet of the stream (§6.6)."""
        description = SourceDescription(((self.ssrc, ((CNAME, self._cname),)),))
        return build_compound((self._report(now, rtp_timestamp), description, Bye((self.ssrc,), reason)))

    def _report(self, now: float, rtp_timestamp: int) -> SenderReport | ReceiverReport:
        blocks = self._blocks(now)
        if self.packets_sent > self._prior_packets[0]:
            return SenderReport(self.ssrc, self._ntp_time(now), rtp_timestamp & 0xFFFFFFFF, self.packets_sent, self.octets_sent, blocks)
        return ReceiverReport(self.ssrc, blocks)

    def _blocks(self, now: float) -> tuple[ReportBlock, ...]:
        if self.remote_ssrc is None:
            return ()
        report = self.received.report()
        if report is None:
            return ()
        delay = 0
        if self._last_sender_report:
            delay = min(round((now - self._last_sender_report_at) * 65536), 0xFFFFFFFF)
        return (ReportBlock(self.remote_ssrc, *report, self._last_sender_report, delay),)

    def _ntp_time(self, now: float) -> int:
        return int((now + self._wall_offset + _NTP_EPOCH) * 4294967296) & 0xFFFFFFFFFFFFFFFF

    def receive(self, data: bytes, now: float) -> bool:
        """A datagram has come from the peer's RTCP address.

        Returns:
            False if it was damaged: then it has changed nothing.
        """
        try:
            packets = parse_compound(data)
        except RemoteProtocolError:
            self.damaged += 1
            return False
        for packet in packets:
            if isinstance(packet, SenderReport):
                if self.remote_ssrc is None or packet.ssrc == self.remote_ssrc:
                    self._last_sender_report = packet.ntp_time >> 16 & 0xFFFFFFFF
                    self._last_sender_report_at = now
                self._read_blocks(packet.blocks, now)
            elif isinstance(packet, ReceiverReport):
                self._read_blocks(packet.blocks, now)
            elif isinstance(packet, SourceDescription):
                for ssrc, _ in packet.chunks:
                    if self.remote_ssrc is None or ssrc == self.remote_ssrc:
                        self.remote_cname = packet.cname(ssrc) or self.remote_cname
            elif isinstance(packet, Bye):
                self.bye_received = self.bye_received or self.remote_ssrc in packet.ssrcs
        return True

    def _read_blocks(self, blocks: tuple[ReportBlock, ...], now: float) -> None:
        self.reports_received += 1
        for block in blocks:
            if block.ssrc != self.ssrc:
                continue
            self.remote_fraction_lost = block.fraction_lost / 256
            self.remote_lost = block.lost
            self.remote_jitter_ticks = block.jitter
            if block.last_sender_report:
                self._measure_round_trip(block, now)

    def _measure_round_trip(self, block: ReportBlock, now: float) -> None:
        """§6.4.1, figure 2. A figure that cannot be is passed over: the fields are the peer's word."""
        elapsed = ((self._ntp_time(now) >> 16) - block.last_sender_report - block.delay_since) & 0xFFFFFFFF
        if elapsed >= 0x80000000:
            # Rounding of the peer's delay on a fast link: a little below zero is zero.
            if 0x100000000 - elapsed > 655:
                return
            elapsed = 0
        if elapsed <= _MAX_ROUND_TRIP:
            self.round_trip = elapsed / 65536
