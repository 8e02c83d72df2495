"""The engine as a machine: `tick(now)` over all streams. It knows sockets, but no clock, no thread and no event loop.

    commands (tuples)  ->  EngineCore.tick(now)  ->  outbox of (stream id, event)
    sockets            <->

Who drives it is exchangeable: a thread (`engine.py`) or the virtual clock (`virtual.py`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from flexosip.media.channel import Channel
from flexosip.media.events import MediaEvent
from flexosip.media.groups import Group, GroupTable
from flexosip.media.ports import DatagramSocket
from flexosip.media.recorder import RecordingWriter
from flexosip.media.statistics import EngineStatistics, MediaStatistics

__all__ = ["EngineCore"]

logger = logging.getLogger(__name__)

LATE_SECONDS = 0.005
CHANNEL_VERBS = frozenset(
    (
        "play", "play_feed", "feed", "end_feed", "clear_feed", "mark", "stop", "send_digits", "stop_digits",
        "record", "stop_recording", "capture", "mute", "loopback",
    )
)  # fmt: skip
"""Commands that a channel carries out by the method of the same name."""


class EngineCore:
    """All streams of one engine.

    Args:
        wall_clock: seconds since 1970, for RTCP sender reports only.
        random: SSRC, first sequence number and timestamp, RTCP intervals.
        writer: writes recordings to their files.
        virtual: the sockets have no descriptors.
    """

    def __init__(self, *, wall_clock: Callable[[], float], random: Random, writer: RecordingWriter, virtual: bool = False) -> None:
        self.commands: deque[tuple[Any, ...]] = deque()
        """What the parent asks for: (verb, stream id, arguments...). Appending is all that other threads may do."""
        self.outbox: list[tuple[int, MediaEvent]] = []
        """Events for the parent; the driver takes them away after each tick."""
        self.channels: dict[int, Channel] = {}
        self.wall_clock = wall_clock
        self.random = random
        self.writer = writer
        self._virtual = virtual
        self._groups = GroupTable(virtual=virtual)
        self._opened = 0
        self._ticks = 0
        self._late_ticks = 0
        self._worst_lateness = 0.0
        self._skipped_ticks = 0
        self._failures = 0

    # -- time -----------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` must be called at the latest; None while there is nothing to do until a command comes."""
        return self._groups.next_deadline()

    def tick(self, now: float) -> None:
        """Carry out commands, then do what is due at `now`."""
        if self.commands:
            self.handle_commands(now)
        for group in self._groups.due(now):
            self._tick_group(group, now)

    def _tick_group(self, group: Group, now: float) -> None:
        lateness = now - group.deadline
        self._ticks += 1
        if lateness > LATE_SECONDS:
            self._late_ticks += 1
            self._worst_lateness = max(self._worst_lateness, lateness)
        skipped = group.begin_tick(now)
        if skipped:
            self._skipped_ticks += skipped
            for channel in group.channels:
                channel.skip(skipped)
        group.reader.drain(now)
        for channel in group.channels:
            try:
                channel.tick(now)
            except Exception as error:
                self.failed(channel, error, now)

    # -- commands -------------------------------------------------------------------------------------------------

    def handle_commands(self, now: float) -> None:
        """Carry out what the parent has asked for."""
        commands = self.commands
        while commands:
            verb, stream_id, *arguments = commands.popleft()
            if verb == "open":
                self._open(stream_id, *arguments)
                continue
            channel = self.channels.get(stream_id)
            if channel is None:
                continue  # Closed meanwhile: a command that has crossed the end of its stream.
            try:
                if verb in CHANNEL_VERBS:
                    getattr(channel, verb)(*arguments)
                else:
                    getattr(self, "_do_" + verb)(channel, now, *arguments)
            except Exception as error:
                self.failed(channel, error, now)

    def _open(self, stream_id: int, rtp: DatagramSocket, rtcp: DatagramSocket) -> None:
        self._opened += 1

        def emit(event: MediaEvent) -> None:
            self.outbox.append((stream_id, event))

        self.channels[stream_id] = Channel(self, stream_id, rtp, rtcp, emit)

    def _do_configure(self, channel: Channel, now: float, *arguments: Any) -> None:
        channel.configure(now, *arguments)
        group = channel.group
        ptime_ms = channel.ptime_ms
        if group is None or group.ptime_ms != ptime_ms:
            if group is not None:
                self._leave(channel, group)
            channel.group = group = self._groups.join(channel, ptime_ms, now)
            group.reader.add(channel.rtp_socket, channel.receive_rtp)
            group.reader.add(channel.rtcp_socket, channel.receive_rtcp)

    def _do_move(self, channel: Channel, now: float, rtp: DatagramSocket, rtcp: DatagramSocket) -> None:
        group = channel.group
        if group is not None:
            group.reader.remove(channel.rtp_socket)
            group.reader.remove(channel.rtcp_socket)
        channel.move(rtp, rtcp)
        if group is not None:
            group.reader.add(rtp, channel.receive_rtp)
            group.reader.add(rtcp, channel.receive_rtcp)

    def _do_close(self, channel: Channel, now: float) -> None:
        if channel.group is not None:
            self._leave(channel, channel.group)
            channel.group = None
        channel.close(now)
        self._finish_if_done(channel)

    def _do_recording_ended(self, channel: Channel, now: float, *arguments: Any) -> None:
        channel.recording_ended(*arguments)
        self._finish_if_done(channel)

    def _finish_if_done(self, channel: Channel) -> None:
        """StreamClosed is the last event: after the last recording is on disk."""
        if channel.closed and not channel.recordings:
            channel.tell_closed()
            del self.channels[channel.id]

    def _leave(self, channel: Channel, group: Group) -> None:
        group.reader.remove(channel.rtp_socket)
        group.reader.remove(channel.rtcp_socket)
        self._groups.leave(channel, group)

    # -- faults and figures ---------------------------------------------------------------------------------------

    def failed(self, channel: Channel, error: Exception, now: float) -> None:
        """A fault of ours stays with the stream that it hit: counted, logged and told."""
        self._failures += 1
        channel.fail(error, now)

    def statistics(self) -> EngineStatistics:
        """Figures so far."""
        return EngineStatistics(
            streams=len(self.channels),
            opened=self._opened,
            closed=self._opened - len(self.channels),
            groups=len(self._groups),
            ticks=self._ticks,
            late_ticks=self._late_ticks,
            worst_lateness=self._worst_lateness,
            skipped_ticks=self._skipped_ticks,
            failures=self._failures,
        )

    def stream_statistics(self, stream_id: int) -> MediaStatistics:
        """Figures of one stream; zeros before it is opened. Read from another thread it is a snapshot to within a packet."""
        channel = self.channels.get(stream_id)
        return channel.statistics() if channel is not None else MediaStatistics()

    def position(self, stream_id: int, playback_id: int) -> float | None:
        """Seconds of a playback sent so far; None when it is not, or no longer, in the queue."""
        channel = self.channels.get(stream_id)
        if channel is None or channel.sender is None:
            return None
        return channel.sender.queue.played(playback_id)

    def fed(self, stream_id: int, playback_id: int) -> float:
        """Seconds that wait in a fed playback."""
        channel = self.channels.get(stream_id)
        if channel is None or channel.sender is None:
            return 0.0
        feed = channel.sender.queue.find_feed(playback_id)
        return feed.buffered / channel.sender.format.octets_per_second if feed is not None else 0.0
