"""The user's side of one stream: every method only puts a command into the engine's queue; nothing here waits for the engine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flexosip import codecs
from flexosip.errors import InvalidState, MediaError
from flexosip.media.events import FeedLow, MediaEvent, PlaybackEnded, StreamClosed
from flexosip.media.feeding import FrameFeeder, LiveFeed
from flexosip.media.prompts import PromptCache
from flexosip.media.recorder import Recording, RecordingFile
from flexosip.media.sending_format import SendingFormat
from flexosip.media.settings import MediaFormat, StreamSettings
from flexosip.media.statistics import MediaStatistics
from flexosip.rtp.telephone_event import TelephoneEventSender

if TYPE_CHECKING:
    from flexosip.media.core import EngineCore
    from flexosip.media.play_queue import PreparedSound
    from flexosip.media.ports import DatagramSocket

__all__ = ["MediaStream"]

MAX_FED_SECONDS = 30.0
"""What may wait in one fed playback."""

_memoryless: dict[MediaFormat, SendingFormat] = {}


def _sending_format(media_format: MediaFormat) -> SendingFormat:
    """What it takes to send in this format: shared by all streams for codecs without memory, else each its own."""
    found = _memoryless.get(media_format)
    if found is None:
        found = SendingFormat(media_format)
        if found.is_payload and len(_memoryless) < 64:
            _memoryless[media_format] = found
    return found


class MediaStream:
    """One RTP stream, both directions. Made by `MediaEngine.open_stream`.

    Events come to `on_event` on the loop that opened the stream, in order; `StreamClosed` is the last.
    """

    __slots__ = (
        "_core", "_feeders", "_format", "_on_event", "_post", "_prompts", "_sources", "closed", "final_statistics", "id",
        "loop", "settings",
    )  # fmt: skip

    def __init__(
        self,
        stream_id: int,
        core: EngineCore,
        prompts: PromptCache,
        post: Callable[[tuple[Any, ...]], None],
        on_event: Callable[[MediaEvent], None],
        loop: Any,
    ) -> None:
        self.id = stream_id
        self.loop = loop
        self.settings: StreamSettings | None = None
        self.closed = False
        """True as soon as `close` was called."""
        self.final_statistics: MediaStatistics | None = None
        self._core = core
        self._prompts = prompts
        self._post = post
        self._on_event = on_event
        self._format: SendingFormat | None = None
        self._sources: dict[int, Any] = {}
        self._feeders: dict[int, FrameFeeder] = {}

    # -- offer and answer -----------------------------------------------------------------------------------------

    def configure(self, settings: StreamSettings) -> None:
        """Begin to send and receive, or go on as agreed anew: no SSRC, sequence number or timestamp restarts, and what plays goes on.

        Raises:
            CodecError: a codec is not supported; nothing has changed then.
        """
        self._check_open()
        sending_format = _sending_format(settings.send_format)
        for media_format in settings.receive_formats.values():
            _checked_codec(media_format)
        sounds: dict[int, PreparedSound] = {}
        if self._format is not None and self._format.key != sending_format.key:
            sounds = {playback_id: self._prompts.prepare(source, sending_format) for playback_id, source in self._sources.items()}
        self.settings = settings
        self._format = sending_format
        for feeder in self._feeders.values():
            feeder.change_format(sending_format)
        self._post(("configure", self.id, settings, sending_format, sounds))

    def move(self, rtp_socket: DatagramSocket, rtcp_socket: DatagramSocket) -> None:
        """Go on with other bound, non-blocking sockets, because our address has changed; the engine closes the old ones.

        SSRC, sequence numbers and what plays go on as if nothing had been.
        """
        self._check_open()
        self._post(("move", self.id, rtp_socket, rtcp_socket))

    def _check_open(self) -> None:
        if self.closed:
            raise InvalidState("The media stream is closed.")

    def _configured(self) -> SendingFormat:
        self._check_open()
        if self._format is None:
            raise InvalidState("The media stream has no codec yet.", advice="Play, record or send digits after the call is answered.")
        return self._format

    # -- playing --------------------------------------------------------------------------------------------------

    def play(self, playback_id: int, source: Any, delay: float = 0.0, loop: bool = False) -> None:
        """Append a sound to the queue: a path, encoded bytes, `Pcm`, `Tone`, or an iterable of frames.

        Frames are `Pcm`, or bytes: int16 mono at the codec's sample rate. A `LiveFeed` is not queued but set beside the queue.

        Args:
            delay: seconds of silence before it.
            loop: play it until it is stopped.

        Raises:
            MediaError: the source is missing or unreadable; nothing is queued then.
        """
        sending_format = self._configured()
        if isinstance(source, LiveFeed):
            self._open_feed(playback_id, FrameFeeder(source.rate, sending_format), delay, source.low_watermark, live=True)
        elif isinstance(source, Iterable) and not isinstance(source, (str, bytes, bytearray)):
            feeder = FrameFeeder(None, sending_format, frames=iter(source))
            self._open_feed(playback_id, feeder, delay, 0.2, live=False)
            self._pull(playback_id, feeder, 0.0)
        else:
            sound = self._prompts.prepare(source, sending_format)
            self._sources[playback_id] = source
            self._post(("play", self.id, playback_id, sound, delay, loop))

    def _open_feed(self, playback_id: int, feeder: FrameFeeder, delay: float, low: float, *, live: bool) -> None:
        self._feeders[playback_id] = feeder
        self._post(("play_feed", self.id, playback_id, delay, low, live))

    def _pull(self, playback_id: int, feeder: FrameFeeder, buffered: float) -> None:
        """Take frames of an iterator until a comfortable supply waits."""
        error: str | None = None
        data = b""
        try:
            data = feeder.pull(buffered)
        except Exception as failure:
            # The user's iterator failed: that ends its playback, with the reason, and nothing else.
            error = f"{type(failure).__name__}: {failure}"
            feeder.exhausted = True
        sending_format = feeder.format
        if data:
            self._post(("feed", self.id, playback_id, sending_format.key, data))
        if feeder.exhausted:
            self._post(("end_feed", self.id, playback_id, error))

    def feed(self, playback_id: int, pcm: bytes) -> None:
        """More sound for a `LiveFeed`: int16 mono at its rate.

        Raises:
            MediaError: more than 30 s wait already, or it is no whole number of samples.
            InvalidState: there is no such live source any more.
        """
        self._check_open()
        feeder = self._feeder(playback_id)
        if self.buffered(playback_id) > MAX_FED_SECONDS:
            raise MediaError(f"More than {MAX_FED_SECONDS:.0f} s of sound wait to be sent.", advice="Write only as fast as it is sent.")
        data = feeder.convert(pcm)
        if data:
            self._post(("feed", self.id, playback_id, feeder.format.key, data))

    def end_feed(self, playback_id: int) -> None:
        """No more will be fed: it ends when all is sent."""
        feeder = self._feeder(playback_id)
        rest = feeder.flush()
        if rest:
            self._post(("feed", self.id, playback_id, feeder.format.key, rest))
        self._post(("end_feed", self.id, playback_id, None))

    def clear_feed(self, playback_id: int) -> None:
        """Forget what was fed and not sent, and its marks."""
        self._feeder(playback_id).reset()
        self._post(("clear_feed", self.id, playback_id))

    def mark(self, playback_id: int, name: str) -> None:
        """Ask for `MarkReached` when all that was fed so far has been sent."""
        self._feeder(playback_id)
        self._post(("mark", self.id, playback_id, name))

    def _feeder(self, playback_id: int) -> FrameFeeder:
        feeder = self._feeders.get(playback_id)
        if feeder is None:
            raise InvalidState(f"There is no live source {playback_id}, or it has ended.")
        return feeder

    def buffered(self, playback_id: int) -> float:
        """Seconds of a fed playback that wait to be sent, as far as the engine knows by now."""
        return self._core.fed(self.id, playback_id)

    def position(self, playback_id: int) -> float | None:
        """Seconds of a playback that were sent so far; None before the engine knows it and after it has ended."""
        return self._core.position(self.id, playback_id)

    def stop(self, playback_id: int | None = None) -> None:
        """Stop one playback within one packet, or the whole queue (live sources stay)."""
        if not self.closed:
            self._post(("stop", self.id, playback_id))

    def mute(self, enabled: bool = True) -> None:
        """Send silence in place of everything; what plays goes on unheard."""
        self._configured()
        self._post(("mute", self.id, enabled))

    def loopback(self, enabled: bool = True) -> None:
        """Send back what is heard, decoded and encoded again, while nothing plays."""
        self._check_open()
        self._post(("loopback", self.id, enabled))

    # -- digits ---------------------------------------------------------------------------------------------------

    @property
    def sample_rate(self) -> int:
        """Samples a second of the codec we send."""
        return self._configured().sample_rate

    def send_digits(self, digits: str, duration: float | None = None, gap: float | None = None) -> None:
        """Send key presses as telephone events (RFC 4733): `0-9 * # A-D`, `!` hook flash, `w` waits half a second.

        Args:
            duration: how long each key is held, seconds; 0.1 if None.
            gap: seconds between two keys; 0.06 if None.

        Raises:
            ConfigurationError: another character, or a duration or gap under 40 ms.
            MediaError: the other side has not agreed to telephone events.
        """
        self._configured()
        if self.settings is None or self.settings.send_event_payload_type is None:
            raise MediaError("Digits cannot be sent as RTP: the other side has not agreed to telephone events.")
        # The sender's own rule, applied where the user still stands.
        TelephoneEventSender(96, gap=0.06 if gap is None else gap).send(digits, duration=duration)
        self._post(("send_digits", self.id, digits, duration, gap))

    def stop_digits(self) -> None:
        """Forget the presses that have not begun."""
        if not self.closed:
            self._post(("stop_digits", self.id))

    # -- recording and capture ------------------------------------------------------------------------------------

    def record(
        self,
        recording_id: int,
        path: str | os.PathLike[str],
        side: str = "both",
        mix: bool = False,
        max_seconds: float | None = None,
        silence: float | None = None,
    ) -> None:
        """Record to a WAV file at the codec's rate.

        Args:
            side: "both" (stereo: left what we hear, right what we send), "in" or "out".
            mix: both sides in mono.
            max_seconds: end after so many seconds.
            silence: end when the recorded sides were silent for so many seconds.

        Raises:
            MediaError: the file cannot be written.
            ConfigurationError: an argument is out of range.
        """
        sending_format = self._configured()
        file = RecordingFile(os.fspath(path), sending_format.sample_rate, side, mix, max_seconds, silence)
        self._post(("record", self.id, Recording(recording_id, self.id, file, self._post)))

    def stop_recording(self, recording_id: int) -> None:
        """End a recording; `RecordingEnded` tells when its file is complete."""
        if not self.closed:
            self._post(("stop_recording", self.id, recording_id))

    def capture(self, enabled: bool = True) -> None:
        """Tell what is heard as `FrameCaptured`, one a packet time."""
        self._check_open()
        self._post(("capture", self.id, enabled))

    # -- figures and the end --------------------------------------------------------------------------------------

    def statistics(self) -> MediaStatistics:
        """Figures so far, at once; after the end the final ones."""
        if self.final_statistics is not None:
            return self.final_statistics
        return self._core.stream_statistics(self.id)

    def close(self) -> None:
        """End everything: RTCP BYE, sockets closed by the engine, then `StreamClosed`. Harmless when repeated."""
        if not self.closed:
            self.closed = True
            self._post(("close", self.id))

    def deliver(self, event: MediaEvent) -> None:
        """Called by the engine on the stream's loop."""
        if isinstance(event, FeedLow):
            feeder = self._feeders.get(event.id)
            if feeder is not None and feeder.frames is not None:
                if not self.closed:
                    self._pull(event.id, feeder, event.buffered)
                return
        elif isinstance(event, PlaybackEnded):
            self._sources.pop(event.id, None)
            self._feeders.pop(event.id, None)
        elif isinstance(event, StreamClosed):
            self.closed = True
            self.final_statistics = event.statistics
        self._on_event(event)


@lru_cache(maxsize=64)
def _checked_codec(media_format: MediaFormat) -> None:
    codecs.create(media_format.name, media_format.clock_rate, media_format.channels)


_ids = itertools.count(1)


def next_stream_id() -> int:
    """A number that no other stream of this process has."""
    return next(_ids)
