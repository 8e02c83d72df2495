"""The engine's side of one stream: its sockets, its sending and receiving halves, RTCP, recordings and capture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flexosip.media.events import FrameCaptured, MediaTimeout, StreamClosed, StreamFailed
from flexosip.media.play_queue import Emit, FeedItem, PreparedSound, SoundItem
from flexosip.media.ports import DatagramSocket
from flexosip.media.receiver import Receiver
from flexosip.media.recorder import Recording
from flexosip.media.reports import Reports
from flexosip.media.sender import Sender
from flexosip.media.sending_format import SendingFormat
from flexosip.media.settings import StreamSettings
from flexosip.media.statistics import MediaStatistics

if TYPE_CHECKING:
    from flexosip.audio.resample import Resampler
    from flexosip.media.core import EngineCore
    from flexosip.media.groups import Group

__all__ = ["Channel"]

logger = logging.getLogger(__name__)

RECEIVE_OCTETS = 4096
_CARE_SECONDS = 0.5
_TELL_FAILURE_SECONDS = 1.0


class Channel:
    """One stream.

    Args:
        core: the engine.
        stream_id: its number there.
        rtp_socket, rtcp_socket: bound and non-blocking; closed by `close`.
        emit: takes the events.
    """

    __slots__ = (
        "_capturing", "_care_at", "_core", "_echo_resampler", "_emit", "_failure_told", "_last_sign", "_loopback", "_recvfrom",
        "_timed_out", "_wanted", "closed", "group", "id", "ptime_ms", "receiver", "recordings", "reports", "rtcp_socket", "rtp_socket",
        "sender", "settings",
    )  # fmt: skip

    def __init__(self, core: EngineCore, stream_id: int, rtp_socket: DatagramSocket, rtcp_socket: DatagramSocket, emit: Emit) -> None:
        self.id = stream_id
        self.rtp_socket = rtp_socket
        self.rtcp_socket = rtcp_socket
        self.group: Group | None = None
        self.ptime_ms = 20
        self.settings: StreamSettings | None = None
        self.sender: Sender | None = None
        self.receiver = Receiver(emit, self._source_learned)
        self.reports: Reports | None = None
        self.recordings: dict[int, Recording] = {}
        self.closed = False
        self._core = core
        self._emit = emit
        self._recvfrom: Callable[[int], tuple[bytes, Any]] = rtp_socket.recvfrom
        self._capturing = False
        self._loopback = False
        self._wanted = False
        self._echo_resampler: tuple[int, int, Resampler] | None = None
        self._care_at = 0.0
        self._last_sign = 0.0
        self._timed_out = False
        self._failure_told = float("-inf")

    # -- commands -------------------------------------------------------------------------------------------------

    def configure(self, now: float, settings: StreamSettings, sending_format: SendingFormat, sounds: dict[int, PreparedSound]) -> None:
        """The outcome of an offer/answer, the first or a later one."""
        self.settings = settings
        self.ptime_ms = settings.ptime_ms
        sender = self.sender
        if sender is None:
            self.sender = sender = Sender(self.rtp_socket, self._core.random, sending_format, self._emit)
        sender.configure(settings, sending_format, sounds)
        self.receiver.configure(settings, now)
        sender.target = self.receiver.guard.target
        if self.reports is None:
            self.reports = Reports(self._core, sender, self.receiver, self.rtcp_socket)
        self.reports.configure(settings, now)
        self._last_sign = now
        self._timed_out = False
        self._care_at = now + _CARE_SECONDS

    def move(self, rtp_socket: DatagramSocket, rtcp_socket: DatagramSocket) -> None:
        """Go on with other sockets: our address has changed. The old ones are closed; nothing of the stream begins anew."""
        old = (self.rtp_socket, self.rtcp_socket)
        self.rtp_socket, self.rtcp_socket = rtp_socket, rtcp_socket
        self._recvfrom = rtp_socket.recvfrom
        if self.sender is not None:
            self.sender.use_socket(rtp_socket)
        if self.reports is not None:
            self.reports.use_socket(rtcp_socket)
        for socket in old:
            socket.close()

    def _source_learned(self, target: tuple[str, int]) -> None:
        if self.sender is not None:
            self.sender.target = target
        if self.reports is not None:
            self.reports.source_learned(target)

    def _octets(self, seconds: float) -> int:
        sending_format = self._configured().format
        return int(seconds * sending_format.sample_rate) * sending_format.unit

    def _configured(self) -> Sender:
        if self.sender is None:
            raise RuntimeError("the stream has not been configured")
        return self.sender

    def play(self, playback_id: int, sound: PreparedSound, delay: float, loop: bool) -> None:
        """Append a prepared sound to the queue."""
        self._configured().queue.add(SoundItem(playback_id, sound, self._octets(delay), loop))

    def play_feed(self, playback_id: int, delay: float, low: float, live: bool) -> None:
        """Append a sound that is fed, or set it beside the queue (`live`)."""
        self._configured().queue.add(FeedItem(playback_id, self._octets(delay), self._octets(low)), live=live)

    def feed(self, playback_id: int, key: tuple[str, int], data: bytes) -> None:
        """More of a fed sound; `key` is the form it was prepared in."""
        sender = self._configured()
        feed = sender.queue.find_feed(playback_id)
        # What was prepared before a change of codec and arrives after it is a packet or two: left out.
        if feed is not None and key == sender.format.key:
            feed.write(data)

    def end_feed(self, playback_id: int, error: str | None) -> None:
        """No more will be fed."""
        feed = self._configured().queue.find_feed(playback_id)
        if feed is not None:
            feed.closed = True
            feed.error = error

    def clear_feed(self, playback_id: int) -> None:
        """Forget what was fed and not sent."""
        feed = self._configured().queue.find_feed(playback_id)
        if feed is not None:
            feed.clear()

    def mark(self, playback_id: int, name: str) -> None:
        """Tell when all that was fed so far has been sent."""
        feed = self._configured().queue.find_feed(playback_id)
        if feed is not None:
            feed.mark(name)

    def stop(self, playback_id: int | None) -> None:
        """End one playback, or with None the queue."""
        if self.sender is not None:
            self.sender.queue.stop(playback_id)

    def send_digits(self, digits: str, duration: float | None, gap: float | None) -> None:
        """Send key presses."""
        self._configured().send_digits(digits, duration, gap)

    def stop_digits(self) -> None:
        """Forget the presses that have not begun."""
        self._configured().stop_digits()

    def record(self, recording: Recording) -> None:
        """Begin a recording."""
        self.recordings[recording.id] = recording
        self._update_wanted()

    def stop_recording(self, recording_id: int, reason: str = "stopped") -> None:
        """End a recording; its event comes when the file is closed."""
        recording = self.recordings.get(recording_id)
        if recording is not None:
            recording.stop(self._core.writer, reason)

    def recording_ended(self, recording_id: int, event: Any) -> None:
        """The writer has closed the file."""
        if self.recordings.pop(recording_id, None) is not None:
            self._emit(event)
        self._update_wanted()

    def capture(self, enabled: bool) -> None:
        """Begin or cease to tell what is heard."""
        self._capturing = enabled
        self._update_wanted()

    def mute(self, enabled: bool) -> None:
        """Send silence in place of everything that plays."""
        self._configured().muted = enabled

    def loopback(self, enabled: bool) -> None:
        """Send back what is heard while nothing plays."""
        self._loopback = enabled
        self._update_wanted()

    def _update_wanted(self) -> None:
        self._wanted = self._capturing or self._loopback or bool(self.recordings)

    # -- sockets --------------------------------------------------------------------------------------------------

    def receive_rtp(self, now: float) -> bool:
        """Read one datagram of the RTP socket; False when there is none."""
        try:
            data, address = self._recvfrom(RECEIVE_OCTETS)
        except BlockingIOError:
            return False
        except OSError:
            # An ICMP error of an earlier packet: it takes a place in the queue like a datagram.
            return True
        try:
            self.receiver.receive(data, address, now)
        except Exception as error:
            self._core.failed(self, error, now)
        return True

    def receive_rtcp(self, now: float) -> bool:
        """Read one datagram of the RTCP socket; False when there is none."""
        try:
            return self.reports is not None and self.reports.receive(now)
        except Exception as error:
            self._core.failed(self, error, now)
            return True

    # -- the tick -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Play out, send, record: one packet time."""
        sender = self.sender
        if sender is None:
            return
        receiver = self.receiver
        if not self._wanted:
            receiver.playout(self.ptime_ms, False)
            sender.tick(None)
        else:
            heard = receiver.playout(self.ptime_ms, True)
            sender.tick(self._echo(heard, sender) if self._loopback else None)
            self._use(heard, sender)
        if now >= self._care_at:
            self._care(now)

    def _echo(self, heard: bytes | None, sender: Sender) -> bytes | None:
        rates = (self.receiver.sample_rate, sender.format.sample_rate)
        if heard is None or rates[0] == rates[1]:
            return heard
        if self._echo_resampler is None or self._echo_resampler[:2] != rates:
            from flexosip.audio.resample import Resampler

            self._echo_resampler = (*rates, Resampler(*rates))
        size = 2 * rates[1] * self.ptime_ms // 1000
        pcm = self._echo_resampler[2].process(heard)[:size]
        return pcm + bytes(size - len(pcm))

    def _use(self, heard: bytes | None, sender: Sender) -> None:
        rate = self.receiver.sample_rate
        if self._capturing:
            self._emit(FrameCaptured(heard if heard is not None else bytes(2 * rate * self.ptime_ms // 1000), rate))
        if self.recordings:
            for recording in self.recordings.values():
                recording.add(self._core.writer, heard, rate, sender.sent, sender.format, self.ptime_ms)

    def skip(self, packet_times: int) -> None:
        """The process was stopped or overloaded for so many packet times: they are silent, and nothing is made up for."""
        if self.sender is not None:
            self.sender.skip(packet_times)
        for recording in self.recordings.values():
            recording.skip(packet_times * self.ptime_ms)

    def _care(self, now: float) -> None:
        """What is not due at every tick."""
        receiver = self.receiver
        reports = self.reports
        settings = self.settings
        if settings is None or reports is None:
            return
        reports.handle_timeout(now)
        receiver.check_digit(now)
        self._check_silence(settings, now)
        soon = min(now + _CARE_SECONDS, reports.next_timeout())
        self._care_at = min(soon, now + 0.05) if receiver.awaits_digit_end else soon

    def _check_silence(self, settings: StreamSettings, now: float) -> None:
        sign = max(self._last_sign, self.receiver.last_packet or 0.0, self.reports.last_packet if self.reports is not None else 0.0)
        if settings.media_timeout is None or not settings.may_receive:
            # On hold nobody needs to send; the time counts from the moment he may again.
            self._last_sign = now
        elif now - sign < settings.media_timeout:
            self._timed_out = False
        elif not self._timed_out:
            self._timed_out = True
            self._emit(MediaTimeout(now - sign))

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self, now: float) -> None:
        """Say BYE, end what plays, close the sockets."""
        self.closed = True
        if self.sender is not None:
            self.sender.queue.stop_everything()
        for recording_id in list(self.recordings):
            self.stop_recording(recording_id, "closed")
        try:
            if self.reports is not None:
                self.reports.close(now)
        finally:
            self.rtp_socket.close()
            self.rtcp_socket.close()

    def tell_closed(self) -> None:
        """The last event."""
        self._emit(StreamClosed(self.statistics()))

    def fail(self, error: Exception, now: float) -> None:
        """A fault of ours hit this stream: log and tell it, not more often than once a second."""
        if now - self._failure_told >= _TELL_FAILURE_SECONDS:
            self._failure_told = now
            logger.error("media stream %d: %s", self.id, error, exc_info=error)
            self._emit(StreamFailed(f"{type(error).__name__}: {error}"))

    def statistics(self) -> MediaStatistics:
        """Figures so far."""
        receiver = self.receiver
        sender = self.sender
        reports = self.reports
        reception = receiver.statistics.snapshot()
        packets, octets, expected, duplicates = receiver.earlier
        packets += reception.packets
        expected += reception.expected
        duplicates += reception.duplicates
        lost = max(expected - (packets - duplicates), 0)
        jitter_buffer = receiver.jitter
        return MediaStatistics(
            codec=sender.format.codec.name if sender is not None else None,
            packets_sent=sender.packets_sent if sender is not None else 0,
            octets_sent=sender.octets_sent if sender is not None else 0,
            packets_received=packets,
            octets_received=octets + reception.octets,
            lost=lost,
            fraction_lost=lost / expected if expected > 0 else 0.0,
            jitter=reception.jitter,
            round_trip=reports.round_trip if reports is not None else None,
            remote_lost=reports.remote_lost if reports is not None else 0,
            remote_jitter=reports.remote_jitter if reports is not None else 0.0,
            late=receiver.late + (jitter_buffer.late if jitter_buffer is not None else 0),
            duplicates=duplicates,
            concealed=receiver.concealed,
            discarded_by_source=receiver.discarded_by_source + (reports.discarded_by_source if reports is not None else 0),
            unknown_payload=receiver.unknown_payload,
            garbage=receiver.garbage + (reports.garbage if reports is not None else 0),
            decode_errors=receiver.decode_errors,
            send_errors=sender.errors if sender is not None else 0,
            digits_received=receiver.digits,
            digits_sent=sender.digits_sent if sender is not None else 0,
            skipped=sender.skipped if sender is not None else 0,
            rtcp_sent=reports.sent if reports is not None else 0,
            rtcp_received=reports.received if reports is not None else 0,
        )
