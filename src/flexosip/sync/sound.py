"""What is played, recorded and streamed in a call, for threads: the handles of `flexosip.phone.media.playback` without `await`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flexosip.sync.portal import Portal

if TYPE_CHECKING:
    from flexosip.phone.media.audio_stream import AudioStream as AsyncAudioStream
    from flexosip.phone.media.playback import Playback as AsyncPlayback
    from flexosip.phone.media.playback import Recording as AsyncRecording

__all__ = ["AudioStream", "Playback", "Recording"]


class Playback:
    """One sound in the play queue; see `flexosip.phone.media.playback.Playback`."""

    def __init__(self, portal: Portal, playback: AsyncPlayback) -> None:
        self._portal = portal
        self._playback = playback

    def __repr__(self) -> str:
        return repr(self._playback)

    @property
    def source(self) -> str:
        """What is played, for people."""
        return self._playback.source

    @property
    def position(self) -> float:
        """Seconds that have really been sent."""
        return self._playback.position

    @property
    def done(self) -> bool:
        """True when its last packet has left or it was stopped."""
        return self._playback.done

    @property
    def completed(self) -> bool:
        """True when it was played to its end."""
        return self._playback.completed

    def stop(self) -> Playback:
        """Stop within one packet."""
        if not self._playback.done:
            self._portal.call(self._playback.stop)
        return self

    def wait(self) -> Playback:
        """Wait for the last packet.

        Raises:
            CallEnded: the call ended before. MediaError: the file broke off.
        """
        if self._playback.done:
            self._playback._done.result()
        else:
            self._portal.run(self._playback)
        return self


class Recording:
    """A recording in progress; see `flexosip.phone.media.playback.Recording`."""

    def __init__(self, portal: Portal, recording: AsyncRecording) -> None:
        self._portal = portal
        self._recording = recording

    @property
    def path(self) -> str:
        """The file."""
        return self._recording.path

    @property
    def seconds(self) -> float:
        """Length, known when it is done."""
        return self._recording.seconds

    @property
    def done(self) -> bool:
        """True when the file is closed."""
        return self._recording.done

    def stop(self) -> Recording:
        """Close the file; `wait` to know that it is closed."""
        if not self._recording.done:
            self._portal.call(self._recording.stop)
        return self

    def wait(self) -> Recording:
        """Wait until the file is closed.

        Raises:
            MediaError: it was cut short.
        """
        if self._recording.done:
            self._recording._done.result()
        else:
            self._portal.run(self._recording)
        return self


class AudioStream:
    """The duplex sound of a call: iterate for 20 ms frames of int16 mono, `write` to send."""

    def __init__(self, portal: Portal, stream: AsyncAudioStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._stream.rate

    @property
    def dropped_frames(self) -> int:
        """Received frames that the reader came too late for."""
        return self._stream.dropped_frames

    def __iter__(self) -> Iterator[bytes]:
        return self._portal.iterate(self._stream)

    def write(self, pcm: bytes) -> None:
        """Send `pcm` after what was written before."""
        self._portal.run(self._stream.write(pcm))

    def clear(self) -> float:
        """Forget what was not sent yet; the seconds really sent since the last `clear`."""
        return self._portal.call(self._stream.clear)

    def mark(self, name: str) -> float:
        """Wait until all that was written so far has been sent; the position in seconds.

        Raises:
            concurrent.futures.CancelledError: `clear` threw it away.
        """

        async def work() -> float:
            return await self._stream.mark(name)

        return self._portal.run(work())

    def close(self) -> None:
        """End both directions; the call goes on."""
        if not self._portal.closed:
            self._portal.call(self._stream.close)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
