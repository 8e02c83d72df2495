"""Recordings: both directions on one timeline, written by a thread of their own so that no disk holds up the tick.

    engine: Recording.add at every tick  ->  batches  ->  RecordingWriter  ->  RecordingFile  ->  ("recording_ended", ...) back

Every tick adds one packet time of either side, silence where nothing was; time in which the process stood still is silence too.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from flexosip.audio.levels import level
from flexosip.audio.pcm import interleave, mix
from flexosip.audio.resample import Resampler
from flexosip.audio.wav import WavWriter
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media.events import RecordingEnded
from flexosip.media.sending_format import SendingFormat
from flexosip.media.threads import start_thread

__all__ = ["InlineWriter", "Recording", "RecordingFile", "RecordingWriter", "ThreadWriter"]

logger = logging.getLogger(__name__)

BATCH_MS = 240
"""What the engine gathers before it hands over: long enough to be cheap, short enough for a file that is followed as it grows."""
SILENCE_DBFS = -45.0
_LINGER_SECONDS = 1.0
_SILENCE_STEP_SECONDS = 0.02

Frame = tuple[bytes | None, int, bytes | bytearray | None, SendingFormat | None, int]
"""(heard PCM, its rate, what was sent in the form of the queue, that form, milliseconds)."""


class RecordingFile:
    """The file of one recording. Made by the user's thread, so that a path that cannot be written raises there.

    Args:
        path: of the WAV file; an existing one is replaced.
        rate: samples a second of the file.
        side: "both", "in" (what we hear) or "out" (what we send).
        mix_sides: both sides in mono, not left and right.
        max_seconds: full at this length.
        silence: full when the recorded sides were silent for so long.

    Raises:
        MediaError: the file cannot be written. ConfigurationError: an argument is out of range.
    """

    def __init__(self, path: str, rate: int, side: str, mix_sides: bool, max_seconds: float | None, silence: float | None) -> None:
        if side not in ("both", "in", "out"):
            raise ConfigurationError(f"record(side={side!r}): allowed are 'both', 'in' and 'out'.")
        if max_seconds is not None and max_seconds <= 0:
            raise ConfigurationError(f"record(max_seconds={max_seconds}): it must be more than zero.")
        if silence is not None and silence <= 0:
            raise ConfigurationError(f"record(silence={silence}): it must be more than zero.")
        self.path = path
        self.rate = rate
        self._side = side
        self._mix = mix_sides
        self._stereo = side == "both" and not mix_sides
        self._octets = 4 if self._stereo else 2
        self._left_octets = None if max_seconds is None else max(round(max_seconds * rate), 1) * self._octets
        self._silence = silence
        self._silent_for = 0.0
        self._resamplers: dict[tuple[int, int], Resampler] = {}
        self._rests = [b"", b""]
        try:
            self._file = WavWriter(path, rate, 2 if self._stereo else 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MediaError(
                f"The recording {path} cannot be written: {reason}.", advice="Check the folder, the permissions and the disk."
            ) from error

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._file.duration

    def write(self, frames: list[Frame]) -> str | None:
        """Append a batch.

        Returns:
            Why the recording is to end ("max_seconds", "silence"), or None.

        Raises:
            OSError: the disk does not take it.
        """
        heard = self._side_pcm(frames, 0) if self._side != "out" else b""
        sent = self._side_pcm(frames, 1) if self._side != "in" else b""
        if self._stereo:
            data = interleave(heard, sent)
        elif self._side == "both":
            data = mix(heard, sent)
        else:
            data = heard or sent
        reason = None
        if self._left_octets is not None:
            if len(data) >= self._left_octets:
                data = data[: self._left_octets]
                reason = "max_seconds"
            self._left_octets -= len(data)
        self._file.write(data)
        if reason is None and self._silence is not None and self._is_silent_long(data):
            reason = "silence"
        return reason

    def _is_silent_long(self, data: bytes) -> bool:
        assert self._silence is not None
        step = int(_SILENCE_STEP_SECONDS * self.rate) * self._octets
        for start in range(0, len(data), step):
            part = data[start : start + step]
            self._silent_for = self._silent_for + len(part) / self._octets / self.rate if level(part) < SILENCE_DBFS else 0.0
            if self._silent_for >= self._silence:
                return True
        return False

    def _side_pcm(self, frames: list[Frame], side: int) -> bytes:
        """One side of a batch at the file's rate, exactly as long as the batch."""
        parts = []
        for heard, heard_rate, sent, form, milliseconds in frames:
            size = 2 * self.rate * milliseconds // 1000
            if side == 0:
                pcm, rate = heard, heard_rate
            else:
                pcm, rate = (form.pcm(bytes(sent)), form.sample_rate) if sent is not None and form is not None else (None, self.rate)
            if pcm is None:
                parts.append(bytes(size))
                continue
            parts.append(pcm if rate == self.rate else self._resampled(side, rate, pcm, size))
        return b"".join(parts)

    def _resampled(self, side: int, rate: int, pcm: bytes, size: int) -> bytes:
        """Exactly `size` octets at the file's rate: a resampler gives its samples in steps of its own."""
        rest = self._rests[side] + self._resampler(side, rate).process(pcm)
        if len(rest) < size:
            rest = bytes(size - len(rest)) + rest
        self._rests[side] = rest[size:]
        return rest[:size]

    def _resampler(self, side: int, rate: int) -> Resampler:
        found = self._resamplers.get((side, rate))
        if found is None:
            found = self._resamplers[side, rate] = Resampler(rate, self.rate)
        return found

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: the disk does not take it.
        """
        self._file.close()


class Recording:
    """The engine's side of one recording.

    Args:
        recording_id: the user's number for it.
        stream_id: the stream.
        file: where it goes.
        post: takes the command that tells its end.
    """

    __slots__ = ("_batch", "_closed", "_file", "_gathered", "_post", "_stopping", "id", "stream_id")

    def __init__(self, recording_id: int, stream_id: int, file: RecordingFile, post: Callable[[tuple[Any, ...]], None]) -> None:
        self.id = recording_id
        self.stream_id = stream_id
        self._file = file
        self._post = post
        self._batch: list[Frame] = []
        self._gathered = 0
        self._stopping = False
        self._closed = False

    def add(
        self,
        writer: RecordingWriter,
        heard: bytes | None,
        rate: int,
        sent: bytes | bytearray | None,
        sending_format: SendingFormat,
        milliseconds: int,
    ) -> None:
        """One packet time of both sides."""
        if self._stopping:
            return
        self._batch.append((heard, rate, sent, sending_format, milliseconds))
        self._gathered += milliseconds
        if self._gathered >= BATCH_MS:
            batch, self._batch, self._gathered = self._batch, [], 0
            writer.submit(self, batch, None)

    def skip(self, milliseconds: int) -> None:
        """Time in which nothing happened."""
        if not self._stopping:
            self._batch.append((None, 8000, None, None, milliseconds))

    def stop(self, writer: RecordingWriter, reason: str) -> None:
        """Write what is left and close."""
        if not self._stopping:
            self._stopping = True
            batch, self._batch = self._batch, []
            writer.submit(self, batch, reason)

    # Called by the writer, on its thread.

    def write(self, batch: list[Frame], reason: str | None) -> None:
        """Write a batch; close if there is a `reason`, or when the recording or the disk is full."""
        if self._closed:
            return  # Full before it was stopped.
        error: str | None = None
        try:
            reason = self._file.write(batch) or reason
        except OSError as failure:
            reason, error = "error", failure.strerror or str(failure)
        except Exception as failure:
            logger.exception("recording to %s failed", self._file.path)
            reason, error = "error", f"{type(failure).__name__}: {failure}"
        if reason is None:
            return
        self._closed = self._stopping = True
        try:
            self._file.close()
        except OSError as failure:
            reason, error = "error", error or failure.strerror or str(failure)
        event = RecordingEnded(self.id, self._file.path, self._file.seconds, error, reason)
        self._post(("recording_ended", self.stream_id, self.id, event))


class RecordingWriter(Protocol):
    """Carries batches to their files."""

    def submit(self, recording: Recording, batch: list[Frame], reason: str | None) -> None:
        """Write `batch` of a recording soon; with a `reason` close it then."""


class InlineWriter:
    """Writes at once, for the virtual clock."""

    def submit(self, recording: Recording, batch: list[Frame], reason: str | None) -> None:
        """Write."""
        recording.write(batch, reason)


class ThreadWriter:
    """Writes on a thread that exists only while there is something to write."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Recording, list[Frame], str | None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, recording: Recording, batch: list[Frame], reason: str | None) -> None:
        """Hand over."""
        with self._lock:
            self._tasks.put((recording, batch, reason))
            if self._thread is None:
                self._thread = start_thread(self._run, "flexosip-recorder")

    def _run(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_LINGER_SECONDS)
            except queue.Empty:
                task = None
            if task is not None:
                task[0].write(task[1], task[2])
                continue
            with self._lock:
                if self._tasks.empty():
                    self._thread = None
                    return

    def dismiss(self) -> None:
        """Let the thread end as soon as all is written."""
        with self._lock:
            if self._thread is not None:
                self._tasks.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; False if it has not."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None
