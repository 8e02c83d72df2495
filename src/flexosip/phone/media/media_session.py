"""One call's sound: its ports, its stream in the engine, and what is played, recorded and heard on it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from flexosip import codecs
from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import dtmf_tone
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media import events as media_events
from flexosip.media.feeding import LiveFeed
from flexosip.media.settings import MediaFormat, StreamSettings
from flexosip.phone.events import CallEnd, DigitHeld, PlaybackFinished, PlaybackStarted, RecordingFinished
from flexosip.phone.media.live_source import LiveSource
from flexosip.phone.media.playback import Playback, Recording
from flexosip.phone.session_requests import send_request
from flexosip.sdp import AudioFormat, Negotiation
from flexosip.sip.early_media import authorised_direction

if TYPE_CHECKING:
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.connectivity.public_address import ReadyPair
    from flexosip.phone.session import CallSession
    from flexosip.phone.signalling import Signalling

__all__ = ["FrameReader", "MediaSession", "parse_codecs"]

logger = logging.getLogger(__name__)

DEFAULT_CODECS = ("PCMA", "PCMU")
_WAIT_KEY = 0.5
"""Seconds of a `w` or a comma among the digits."""
_FLASH = "16"
"""The hook flash in an INFO: the number of its event (RFC 4733 §7, table 7), as PBXs read it."""


def parse_codecs(names: Sequence[str] | None) -> tuple[AudioFormat, ...]:
    """Audio formats for codec names such as `PCMA`, `PCMU`, `L16/16000`, in order of preference.

    Raises:
        ConfigurationError: an unknown name, or none at all.
    """
    if names is None:
        names = DEFAULT_CODECS
    if isinstance(names, str):
        names = (names,)
    supported = codecs.supported()
    formats: list[AudioFormat] = []
    dynamic = 96
    for name in names:
        wanted, _, rate = name.partition("/")
        found = [item for item in supported if item[0].lower() == wanted.lower() and rate in ("", str(item[1]))]
        if not found:
            allowed = ", ".join(dict.fromkeys(f"{item[0]}/{item[1]}" for item in supported))
            raise ConfigurationError(f"The codec {name!r} is unknown; there are {allowed}.")
        codec, clock_rate, payload_type = found[0]
        if payload_type is None:
            payload_type, dynamic = dynamic, dynamic + 1
        formats.append(AudioFormat(payload_type, codec, clock_rate))
    if not formats:
        raise ConfigurationError("The list of codecs is empty.")
    return tuple(formats)


class FrameReader(Protocol):
    """Who gets each frame that is heard: an `AudioStream`, or one's own (`MediaSession.attach_audio`)."""

    def _received(self, pcm: bytes, rate: int) -> None:
        """One packet time, int16 mono at `rate` samples a second; silence where nothing arrived."""

    def _call_ended(self, end: CallEnd) -> None:
        """No more frames."""


class MediaSession:
    """Ports, stream and negotiation of one call. Made when the local address is known.

    Args:
        signalling: the phone's machinery.
        session: the call.
        bind_host: our numeric address, where packets arrive. advertised_host: the same as others see it.
        formats: what we speak, best first.
        ready: sockets whose public addresses are known.
    """

    def __init__(
        self,
        signalling: Signalling,
        session: CallSession,
        bind_host: str,
        advertised_host: str,
        formats: Sequence[AudioFormat],
        ready: ReadyPair | None = None,
    ) -> None:
        self.loop = signalling.loop
        self._signalling = signalling
        self._session = session
        self.bind_host = bind_host
        self._pair = ready.pair if ready is not None else signalling.ports.allocate(bind_host)
        self.stream = signalling.engine.open_stream(self._pair.rtp, self._pair.rtcp, self._on_event, loop=self.loop)
        self.negotiation = Negotiation(formats, address=advertised_host, port=self._pair.port, session_id=signalling.random.getrandbits(60))
        if ready is not None:
            self.negotiation.set_address(*ready.rtp, ready.rtcp[1])
        self.configured = False
        self.codec_name = ""
        self._applied: Any = None
        self.early_direction: str | None = None
        """What the network lets pass before the answer, seen from the other side (RFC 5009); None: all that is agreed."""
        self._applied_early: str | None = None
        self._next_id = 0
        self._playbacks: dict[int, Playback] = {}
        self._recordings: dict[int, Recording] = {}
        self._feeds: dict[int, LiveSource] = {}
        self._audio: list[FrameReader] = []
        self._digits_sent: asyncio.Future[None] | None = None
        self._digits_lock = asyncio.Lock()
        self._closed = False

    # -- what was agreed ----------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Bring the stream in line with the negotiation's agreement."""
        agreement = self.negotiation.agreement
        early = self.early_direction
        if agreement is None or (agreement == self._applied and early == self._applied_early) or self._closed:
            return
        self._applied, self._applied_early = agreement, early
        sending = agreement.send_format
        self.codec_name = sending.name.upper()
        settings = StreamSettings(
            remote=(agreement.remote_address, agreement.remote_port),
            send_format=MediaFormat(sending.name, sending.clock_rate, sending.channels),
            send_payload_type=sending.payload_type,
            receive_formats={
                number: MediaFormat(item.name, item.clock_rate, item.channels) for number, item in agreement.receive_formats.items()
            },
            rtcp=agreement.remote_rtcp,
            send_event_payload_type=agreement.send_event_payload_type,
            receive_event_payload_types=agreement.receive_event_payload_types,
            direction=agreement.direction if early is None else authorised_direction(agreement.direction, early),
            ptime_ms=agreement.ptime_ms,
            cname=self._signalling.cname,
            media_timeout=self._signalling.phone.media_timeout,
        )
        self.configured = True
        if self._signalling.is_numeric(agreement.remote_address):
            self.stream.configure(settings)
        else:
            # Until its host is known nothing is sent; what is played meanwhile waits in the queue.
            self.stream.configure(replace(settings, remote=("", 0), rtcp=("", 0)))
            self._signalling.run(self._configure_later(settings, agreement))

    def move(self, bind_host: str, advertised_host: str) -> None:
        """Our address has changed: go on with new ports there; the next offer tells it.

        Raises:
            NetworkError: no ports are to be had at that address.
        """
        if self._closed:
            return
        if bind_host != self.bind_host:
            old, self._pair = self._pair, self._signalling.ports.allocate(bind_host)
            self.stream.move(self._pair.rtp, self._pair.rtcp)
            # The engine closes the old sockets within a packet time; a released pair rests longer than that.
            self._signalling.ports.release(old.port)
            self.bind_host = bind_host
        self.negotiation.set_address(advertised_host, self._pair.port)

    def watch_again(self) -> None:
        """Count the silence of the other side from now on."""
        if not self._closed and self.stream.settings is not None:
            self.stream.configure(self.stream.settings)

    async def _configure_later(self, settings: StreamSettings, agreement: Any) -> None:
        """The c= line names a host (RFC 8866 §5.7)."""
        address = await self._signalling.resolve_media_host(settings.remote[0])
        if address is not None and self._applied is agreement and not self._closed:
            rtcp = settings.rtcp
            self.stream.configure(
                replace(settings, remote=(address, settings.remote[1]), rtcp=(address, rtcp[1]) if rtcp is not None else None)
            )

    # -- playing ------------------------------------------------------------------------------------------------------

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def play(self, source: Any, *, delay: float, loop: bool) -> Playback:
        """Queue a sound; see `Call.play`."""
        playback_id = self._new_id()
        playback = Playback(self, playback_id, describe(source))
        if isinstance(source, (str, bytes, bytearray, os.PathLike, Pcm, Tone)):
            self.stream.play(playback_id, source, delay=delay, loop=loop)
        elif isinstance(source, Iterable):
            if loop:
                raise ConfigurationError("play(loop=True): an iterable can be played once only.")
            self.stream.play(playback_id, iter(source), delay=delay)
        else:
            raise MediaError(
                f"play() cannot play a {type(source).__name__}.", advice="Give a path, bytes, Pcm, Tone or an iterable of frames."
            )
        self._playbacks[playback_id] = playback
        return playback

    def stop_playback(self, playback_id: int) -> None:
        """Stop one sound."""
        self.stream.stop(playback_id)

    def stop_playing(self) -> asyncio.Future[float]:
        """Stop the whole queue; see `Call.stop_playing`."""
        result: asyncio.Future[float] = self.loop.create_future()
        playbacks = list(self._playbacks.values())
        self.stream.stop(None)
        if not playbacks:
            result.set_result(0.0)
            return result
        waiting = len(playbacks)

        def ended(_: Any) -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0 and not result.done():
                result.set_result(sum(playback.position for playback in playbacks))

        for playback in playbacks:
            playback._done.add_done_callback(ended)
        return result

    # -- digits -------------------------------------------------------------------------------------------------------

    async def send_digits(self, digits: str, duration: float, gap: float, via: str) -> None:
        """Send keys one way or another; see `Call.send_digits`."""
        account = self._session.account
        if via == "auto" and account is not None:
            via = account.server_rules.digits
        if via == "auto":
            via = self._usual_way()
        if via == "inband" and "!" in digits:
            raise MediaError("A hook flash has no tone.", advice="Use via='info', where the other side takes that.")
        if via == "rfc4733" and self._applied.send_event_payload_type is None:
            raise MediaError("The other side does not take digits by RFC 4733.", advice="Use via='info' or via='inband'.")
        async with self._digits_lock:
            for group in _split_waits(digits):
                self._session.check_not_ended()
                if group in ("W", ",", "P"):
                    await self._session.sleep(_WAIT_KEY)
                elif via == "rfc4733":
                    await self._send_events(group, duration, gap)
                elif via == "inband":
                    for digit in group:
                        await self.play(dtmf_tone(digit, duration=duration), delay=gap, loop=False)
                else:
                    await self._send_info(group, duration, gap, via)

    def _usual_way(self) -> str:
        """RFC 4733 where it is agreed, else INFO unless the other side says that it takes none, else tones."""
        if self._applied.send_event_payload_type is not None:
            return "rfc4733"
        usage = self._session.usage
        return "inband" if usage is not None and usage.peer_refuses("INFO") else "info"

    def warn_of_digits(self) -> None:
        """The call is up: say now, and not at the first key, when keys will go another way than usual."""
        if self._applied.send_event_payload_type is None and logger.isEnabledFor(logging.WARNING):
            way = self._usual_way()
            logger.warning(
                "%s: the other side has not agreed to keys by RFC 4733 (telephone-event): ours go by %s, its own are heard by INFO only. "
                "If keys get lost, allow telephone-event in the settings of the other phone or PBX",
                self._session.label,
                "INFO" if way == "info" else "tones, for it takes no INFO either",
            )

    async def _send_events(self, digits: str, duration: float, gap: float) -> None:
        while self._digits_sent is not None:
            # Of a call that was cancelled: its last key still has to end.
            await self._session.until(self._digits_sent)
        self._digits_sent = done = self.loop.create_future()
        self.stream.send_digits(digits, duration=duration, gap=gap)
        try:
            await self._session.until(done)
        except asyncio.CancelledError:
            self.stream.stop_digits()
            raise

    async def _send_info(self, digits: str, duration: float, gap: float, via: str) -> None:
        for digit in digits:
            signal = _FLASH if digit == "!" else digit
            if via == "info-dtmf":
                await send_request(self._session, "INFO", signal.encode("ascii"), "application/dtmf")
            else:
                body = f"Signal={signal}\r\nDuration={duration * 1000:.0f}\r\n"
                await send_request(self._session, "INFO", body.encode("ascii"), "application/dtmf-relay")
            await self._session.sleep(duration + gap)

    # -- recording and raw sound --------------------------------------------------------------------------------------

    def record(self, path: str, side: str, mix: bool, max_seconds: float | None, silence: float | None) -> Recording:
        """Start a recording; see `Call.record`."""
        recording_id = self._new_id()
        recording = Recording(self, recording_id, path)
        self.stream.record(recording_id, path, side=side, mix=mix, max_seconds=max_seconds, silence=silence)
        self._recordings[recording_id] = recording
        return recording

    def stop_recording(self, recording_id: int) -> None:
        """End a recording."""
        self.stream.stop_recording(recording_id)

    def open_live(self, rate: int, on_room: Callable[[], None]) -> LiveSource:
        """A live source at `rate` samples a second."""
        return LiveSource(self, rate, on_room)

    def start_feed(self, source: LiveSource, rate: int) -> int:
        """Give a live source a place in the stream."""
        feed_id = self._new_id()
        self._feeds[feed_id] = source
        self.stream.play(feed_id, LiveFeed(rate))
        return feed_id

    def position(self, playback_id: int) -> float | None:
        """Seconds of a playback that were sent so far; None before it is known and after its end."""
        return self.stream.position(playback_id)

    def attach_audio(self, audio: FrameReader) -> None:
        """Give `audio` every frame that is heard."""
        self._audio.append(audio)
        if len(self._audio) == 1:
            self.stream.capture(True)

    def detach_audio(self, audio: FrameReader) -> None:
        """No more frames for `audio`."""
        if audio in self._audio:
            self._audio.remove(audio)
            if not self._audio and not self._closed:
                self.stream.capture(False)

    def statistics(self) -> MediaStatistics:
        """Figures so far."""
        return self.stream.statistics()

    # -- events of the engine -----------------------------------------------------------------------------------------

    def _on_event(self, event: media_events.MediaEvent) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _frame_captured(self, event: media_events.FrameCaptured) -> None:
        for audio in self._audio:
            audio._received(event.pcm, event.rate)

    def _digit_received(self, event: media_events.DigitReceived) -> None:
        if not self._closed:
            self._session.received_digit(event.digit, "rfc4733", event.duration)

    def _digit_began(self, event: media_events.DigitBegan) -> None:
        if not self._closed:
            self._session.emit(DigitHeld(self.loop.time(), event.digit))

    def _playback_started(self, event: media_events.PlaybackStarted) -> None:
        playback = self._playbacks.get(event.id)
        if playback is not None:
            self._session.emit(PlaybackStarted(self.loop.time(), playback.source))

    def _playback_ended(self, event: media_events.PlaybackEnded) -> None:
        feed = self._feeds.pop(event.id, None)
        if feed is not None:
            return
        playback = self._playbacks.pop(event.id, None)
        if playback is None:
            return
        if event.error is not None:
            playback._position = event.position
            playback._failed(f"{playback.source}: {event.error}")
        elif self._session.end is not None:
            playback._call_ended(self._session.end, event.position)
        else:
            playback._ended(event.position, event.completed)
        if self._session.end is None:
            self._session.emit(PlaybackFinished(self.loop.time(), playback.source, event.position, event.completed))

    def _recording_ended(self, event: media_events.RecordingEnded) -> None:
        recording = self._recordings.pop(event.id, None)
        if recording is not None:
            recording._ended(event.seconds, event.error)
            if self._session.end is None:
                # Ended is the last event of a call; a recording that ends with it can be awaited.
                self._session.emit(RecordingFinished(self.loop.time(), recording.path, event.seconds, event.error))
            if event.error is not None:
                logger.error("the recording %s was cut short after %.1f s: %s", recording.path, event.seconds, event.error)

    def _feed_low(self, event: media_events.FeedLow) -> None:
        feed = self._feeds.get(event.id)
        if feed is not None:
            feed.low()

    def _mark_reached(self, event: media_events.MarkReached) -> None:
        feed = self._feeds.get(event.id)
        if feed is not None:
            feed.marked(event.name, event.position)

    def _all_digits_sent(self, event: media_events.DigitsSent) -> None:
        done, self._digits_sent = self._digits_sent, None
        if done is not None and not done.done():
            done.set_result(None)

    def _media_timeout(self, event: media_events.MediaTimeout) -> None:
        self._session.silent(event.seconds)

    def _source_learned(self, event: media_events.SourceLearned) -> None:
        logger.info("%s: sound comes from %s instead of %s", self._session.label, event.learned, event.expected)

    def _stream_failed(self, event: media_events.StreamFailed) -> None:
        logger.error("%s: a fault in the audio engine: %s", self._session.label, event.error)

    def _stream_closed(self, event: media_events.StreamClosed) -> None:
        self._signalling.ports.release(self._pair.port)
        self._signalling.stream_closed(self)

    # -- the end ------------------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """Stop sending and playing at once: the call is being ended (RFC 3261 §15.1.1)."""
        if not self._closed and self.configured:
            self.stream.mute(True)

    def finish(self, end: CallEnd) -> MediaStatistics:
        """The call is over: close everything, tell all who wait; the final figures."""
        statistics = self.stream.statistics()
        self.close()
        for playback in list(self._playbacks.values()):
            playback._call_ended(end, playback.position)
        for audio in list(self._audio):
            audio._call_ended(end)
        self._audio.clear()
        return statistics

    def close(self) -> None:
        """Free ports and stream."""
        if not self._closed:
            self._closed = True
            self._signalling.stream_closing(self)
            self.stream.close()


_HANDLERS: dict[type, Callable[[MediaSession, Any], None]] = {
    media_events.FrameCaptured: MediaSession._frame_captured,
    media_events.DigitBegan: MediaSession._digit_began,
    media_events.DigitReceived: MediaSession._digit_received,
    media_events.PlaybackStarted: MediaSession._playback_started,
    media_events.PlaybackEnded: MediaSession._playback_ended,
    media_events.RecordingEnded: MediaSession._recording_ended,
    media_events.FeedLow: MediaSession._feed_low,
    media_events.MarkReached: MediaSession._mark_reached,
    media_events.DigitsSent: MediaSession._all_digits_sent,
    media_events.MediaTimeout: MediaSession._media_timeout,
    media_events.SourceLearned: MediaSession._source_learned,
    media_events.StreamFailed: MediaSession._stream_failed,
    media_events.StreamClosed: MediaSession._stream_closed,
}


def _split_waits(digits: str) -> Iterator[str]:
    group = ""
    for character in digits:
        if character in "W,P":
            if group:
                yield group
            group = ""
            yield character
        else:
            group += character
    if group:
        yield group


def _describe_tone(tone: Tone) -> str:
    """`tone 440 Hz`, `tone 697+1209 Hz`, `tones 950, 1400 Hz`; pauses are told."""
    steps = ["+".join(f"{hz:g}" for hz in frequencies) for frequencies, _ in tone.steps]
    heard = list(dict.fromkeys(step for step in steps if step))
    words = f"tone{'s' if len(heard) > 1 else ''} {', '.join(heard)} Hz"
    return words if all(steps) else f"{words} with pauses"


def describe(source: Any) -> str:
    """A sound in words, for events and logs."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, Tone):
        return _describe_tone(source)
    if isinstance(source, Pcm):
        return f"{source.duration:.1f} s of PCM"
    if isinstance(source, (bytes, bytearray)):
        return f"{len(source)} bytes of sound"
    return "a stream of frames"
