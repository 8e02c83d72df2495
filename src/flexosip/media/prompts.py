"""Prompts: a sound is decoded, resampled and encoded once per codec, and shared by all calls that play it.

`prepare` checks the source where the user stands (a missing file raises there); the work is done on a thread of its own in small
pieces, and a stream may begin to play while it goes on. Files are known by path, time of change and size.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from typing import Any, ClassVar

from flexosip.audio.files import AudioReader, open_audio, read_mono
from flexosip.audio.resample import Resampler
from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import ToneGenerator
from flexosip.errors import FlexosipError, MediaError
from flexosip.media.sending_format import SendingFormat
from flexosip.media.threads import start_thread

__all__ = ["Prompt", "PromptCache"]

logger = logging.getLogger(__name__)

CACHE_OCTETS = 32 << 20
"""Prepared sound that is kept: more than an hour of G.711."""
_PIECE_SECONDS = 0.04
_LINGER_SECONDS = 1.0
_BREATH_SECONDS = 0.0005
"""Pause of the worker between two pieces: whoever waits for the interpreter gets it."""
_AT_ONCE_OCTETS = 64000
"""PCM of up to two seconds of telephone sound is prepared at once: quicker than waking a thread."""


class Prompt:
    """One sound in one form; grows until it is `complete`."""

    __slots__ = ("complete", "data", "error", "repeat_from")

    def __init__(self) -> None:
        self.data: bytes | bytearray = bytearray()
        self.complete = False
        self.error: str | None = None
        self.repeat_from: int | None = None

    def finish(self, error: str | None = None) -> None:
        """No more will come."""
        self.data = bytes(self.data)
        self.error = error
        self.complete = True


class PromptCache:
    """The prompts of one process.

    Args:
        in_line: prepare everything at once, without a thread: for the virtual clock.
    """

    _shared: ClassVar[PromptCache | None] = None

    def __init__(self, *, in_line: bool = False) -> None:
        self._in_line = in_line
        self._prompts: OrderedDict[object, Prompt] = OrderedDict()
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Prompt, Iterator[bytes]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dismissed = False

    @classmethod
    def shared(cls) -> PromptCache:
        """The cache of this process."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def prepare(self, source: Any, sending_format: SendingFormat) -> Prompt:
        """The sound of a path, encoded bytes, `Pcm` or `Tone` in the form of a play queue.

        Raises:
            MediaError: missing, unreadable, or no sound. MissingExtra: its format needs one.
            ConfigurationError: a tone that the codec's rate cannot carry.
        """
        key = (_identity(source), sending_format.key)
        with self._lock:
            prompt = self._prompts.get(key)
            if prompt is not None and prompt.error is None:
                self._prompts.move_to_end(key)
                return prompt
        prompt = Prompt()
        pieces = _pieces(source, sending_format, prompt)
        with self._lock:
            self._prompts[key] = prompt
            self._forget()
        if self._in_line or _is_short(source):
            for _ in _carry_out(prompt, pieces):
                pass
        else:
            self._hand_over(prompt, pieces)
        return prompt

    def _forget(self) -> None:
        """Drop the least used; who plays one keeps it alive himself."""
        total = sum(len(prompt.data) for prompt in self._prompts.values())
        while total > CACHE_OCTETS and len(self._prompts) > 1:
            _, dropped = self._prompts.popitem(last=False)
            total -= len(dropped.data)

    def _hand_over(self, prompt: Prompt, pieces: Iterator[bytes]) -> None:
        with self._lock:
            self._dismissed = False
            self._work.put((prompt, pieces))
            if self._thread is None:
                self._thread = start_thread(self._run, "flexosip-prompts")

    def _run(self) -> None:
        while True:
            try:
                task = self._work.get(timeout=_LINGER_SECONDS)
            except queue.Empty:
                task = None
            if task is not None:
                with contextlib.closing(_carry_out(*task)) as steps:
                    for _ in steps:
                        if self._dismissed:
                            break
                        time.sleep(_BREATH_SECONDS)
                continue
            with self._lock:
                if self._work.empty():
                    self._thread = None
                    return

    def dismiss(self) -> None:
        """Nobody plays any more: let the thread give up its work and end. What is not complete is prepared anew when it is asked for."""
        with self._lock:
            self._dismissed = True
            if self._thread is not None:
                self._work.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; False if it has not."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None


def _identity(source: Any) -> object:
    """What makes two sources the same sound."""
    if isinstance(source, (str, os.PathLike)):
        path = os.path.realpath(source)
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            name = os.fspath(source)
            raise MediaError(
                f"The sound file {name!s} cannot be opened: {reason}.", advice="Check the path and the permissions."
            ) from error
        return ("file", path, status.st_mtime_ns, status.st_size)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return ("octets", bytes(source))
    if isinstance(source, (Pcm, Tone)):
        return source
    raise MediaError(f"{type(source).__name__} is nothing that can be played.", advice="Give a path, bytes, Pcm, Tone or frames.")


def _is_short(source: Any) -> bool:
    return isinstance(source, Pcm) and len(source.data) <= _AT_ONCE_OCTETS


def _pieces(source: Any, sending_format: SendingFormat, prompt: Prompt) -> Iterator[bytes]:
    """The sound piece by piece in the form of the queue. What can be wrong with the source is found before the first piece."""
    rate = sending_format.sample_rate
    if isinstance(source, Pcm):
        return (sending_format.prepare(pcm) for pcm in _pcm_pieces(source, rate))
    if isinstance(source, Tone):
        return _tone_pieces(ToneGenerator(source, rate), source, sending_format, prompt)
    reader = open_audio(source)
    return _file_pieces(reader, sending_format)


def _pcm_pieces(source: Pcm, rate: int) -> Iterator[bytes]:
    step = max(round(_PIECE_SECONDS * source.rate), 1) * 2
    resampler = None if source.rate == rate else Resampler(source.rate, rate)
    for start in range(0, len(source.data), step):
        piece = source.data[start : start + step]
        yield piece if resampler is None else resampler.process(piece)
    if resampler is not None:
        yield resampler.flush()


def _tone_pieces(generator: ToneGenerator, tone: Tone, sending_format: SendingFormat, prompt: Prompt) -> Iterator[bytes]:
    rate = sending_format.sample_rate
    step = max(round(_PIECE_SECONDS * rate), 1)
    if tone.duration is not None:
        while pcm := generator.read(step):
            yield sending_format.prepare(pcm)
        return
    # For ever: a first round, which begins softly, and a second one, which joins on to itself.
    round_samples = round(_round_seconds(tone) * rate)
    for repeat in range(2):
        if repeat:
            prompt.repeat_from = round_samples * sending_format.unit
        for start in range(0, round_samples, step):
            yield sending_format.prepare(generator.read(min(step, round_samples - start)))


def _round_seconds(tone: Tone) -> float:
    """After how many seconds an endless tone is where it began: its cadence, or whole periods of all its frequencies."""
    steps = tone.steps
    if not tone.steady:
        return math.fsum(seconds for _, seconds in steps)
    return 1.0 if all(float(hz).is_integer() for hz in steps[0][0]) else 10.0


def _file_pieces(reader: AudioReader, sending_format: SendingFormat) -> Iterator[bytes]:
    try:
        for pcm in read_mono(reader, sending_format.sample_rate, piece=_PIECE_SECONDS):
            yield sending_format.prepare(pcm)
    finally:
        reader.close()


def _carry_out(prompt: Prompt, pieces: Iterator[bytes]) -> Generator[None, None, None]:
    """Prepare piece by piece; yields between them."""
    error: str | None = "the preparation was given up"
    try:
        for piece in pieces:
            prompt.data += piece
            yield
        error = None
    except FlexosipError as failure:
        error = str(failure)
    except Exception as failure:
        logger.exception("a sound could not be prepared")
        error = f"{type(failure).__name__}: {failure}"
    finally:
        prompt.finish(error)
