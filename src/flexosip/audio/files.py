"""Open a sound file, whatever it is: WAV by ourselves, everything else through the extra `audio` (FLAC, Ogg, MP3, ADPCM in WAV, ...)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from flexosip.audio.pcm import to_mono
from flexosip.audio.resample import Resampler
from flexosip.audio.wav import MAX_CHANNELS, UnreadWavFormat, WavReader, is_wav
from flexosip.errors import MediaError
from flexosip.extras import require

__all__ = ["AudioReader", "open_audio", "read_mono"]


class AudioReader(Protocol):
    """A sound that is read in pieces."""

    rate: int
    channels: int
    frames: int | None
    """How many there are; None if that is not known before the end."""

    def read(self, frames: int) -> bytes:
        """Up to `frames` frames, interleaved int16 little-endian; empty at the end. MediaError if the file fails."""

    def close(self) -> None:
        """Close the file."""


class _SoundfileReader:
    """A file that libsndfile reads."""

    def __init__(self, soundfile: Any, file: BinaryIO, name: str) -> None:
        self._name = name
        self._raw = file
        self._error: type[Exception] = soundfile.SoundFileError
        try:
            self._file = soundfile.SoundFile(file)
        except (self._error, OSError, ValueError, TypeError) as error:
            # libsndfile puts the repr of what it was given before its reason.
            reason = str(getattr(error, "error_string", error)).rstrip(".")
            raise MediaError(f"{name} is no sound file that can be played: {reason}.") from error
        # The library seeks after each read, to where it is anyway; in MP3 that loses what the next frames need: each piece began broken.
        self._file.seekable = lambda: False
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int | None = self._file.frames if 0 <= self._file.frames < 1 << 40 else None
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise MediaError(f"{name} has {self.channels} channels.")

    def read(self, frames: int) -> bytes:
        try:
            data: bytes = self._file.read(frames, dtype="int16").astype("<i2", copy=False).tobytes()
        except (self._error, OSError) as error:
            raise MediaError(f"{self._name} cannot be read: {error}.") from error
        return data

    def close(self) -> None:
        self._file.close()
        self._raw.close()


def open_audio(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> AudioReader:
    """Open a sound file by path, as encoded octets in memory, or as an opened binary file.

    Raises:
        MediaError: missing, unreadable, or no sound file.
        MissingExtra: its format needs the extra `audio`.
    """
    file: BinaryIO
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        try:
            file = open(source, "rb")  # noqa: SIM115 (the reader closes it)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise MediaError(f"The sound file {name} cannot be opened: {reason}.", advice="Check the path and the permissions.") from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        name, file = "the sound in memory", io.BytesIO(bytes(source))
    else:
        name, file = str(getattr(source, "name", "the sound")), source
    try:
        return _reader(file, name)
    except BaseException:
        file.close()
        raise


def _reader(file: BinaryIO, name: str) -> AudioReader:
    try:
        head = file.read(12)
        file.seek(0)
    except (OSError, ValueError) as error:
        raise MediaError(f"The sound file {name} cannot be read: {error}.") from error
    if not head:
        raise MediaError(f"The sound file {name} is empty.")
    what = "is no WAV file"
    if is_wav(head):
        try:
            return WavReader(file, name)
        except UnreadWavFormat as error:
            what = f"is a WAV file of {error.coding}"
        file.seek(0)
    return _SoundfileReader(require("audio", "soundfile", f"Playing {name}, which {what},"), file, name)


def read_mono(reader: AudioReader, rate: int, *, piece: float = 0.2) -> Iterator[bytes]:
    """The sound of `reader` as mono PCM at `rate`, in pieces of about `piece` seconds, each cheap enough to yield between them.

    Raises:
        MediaError: the file fails on the way.
    """
    frames = max(round(piece * reader.rate), 1)
    if reader.rate == rate:
        while data := reader.read(frames):
            yield to_mono(data, reader.channels)
        return
    resampler = Resampler(reader.rate, rate)
    # The filter's delay is taken off at the begin and what it adds at the end: the sound keeps its length and its place.
    skip = 2 * round(resampler.delay * rate)
    taken = given = 0
    while data := reader.read(frames):
        mono = to_mono(data, reader.channels)
        taken += len(mono) // 2
        out = resampler.process(mono)
        skipped = min(skip, len(out))
        skip -= skipped
        if len(out) > skipped:
            given += len(out) - skipped
            yield out[skipped:]
    rest = resampler.flush()[skip:]
    missing = 2 * round(taken * rate / reader.rate) - given
    if missing > 0:
        yield rest[:missing]
