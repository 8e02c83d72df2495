"""WAV files: read in any usual format, in pieces and bounded against crafted headers; written so that they are valid at any moment.

    RIFF size WAVE { chunk-id size data [pad] }...      fmt : format, channels, rate, octets/s, block, bits   data: the samples

Read are PCM of 8, 16, 24 and 32 bits, float of 32 and 64, A-law and µ-law, also as WAVE_FORMAT_EXTENSIBLE. Multimedia Programming
Interface and Data Specifications 1.0 (1991); RFC 2361.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
from array import array
from collections.abc import Callable
from typing import BinaryIO

from flexosip.audio.companding import decode_alaw, decode_ulaw
from flexosip.audio.pcm import from_samples
from flexosip.audio.resample import MAX_RATE, MIN_RATE
from flexosip.errors import MediaError

__all__ = ["MAX_CHANNELS", "UnreadWavFormat", "WavReader", "WavWriter", "is_wav"]

MAX_CHANNELS = 16
_MAX_CHUNKS = 64
_MAX_FORMAT = 4096
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
# The tail that all sub-formats with a classic number share.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF)


def is_wav(head: bytes) -> bool:
    """True if the first 12 octets of a file are those of a WAV file."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def _from_8(data: bytes) -> bytes:
    pcm = bytearray(2 * len(data))
    pcm[1::2] = data.translate(_FLIP)
    return bytes(pcm)


def _from_wide(width: int) -> Callable[[bytes], bytes]:
    """The two upper octets of samples of `width` octets."""

    def convert(data: bytes) -> bytes:
        pcm = bytearray(2 * (len(data) // width))
        pcm[0::2] = data[width - 2 :: width]
        pcm[1::2] = data[width - 1 :: width]
        return bytes(pcm)

    return convert


def _from_float(code: str, width: int) -> Callable[[bytes], bytes]:
    def convert(data: bytes) -> bytes:
        values = struct.unpack(f"<{len(data) // width}{code}", data)
        # A value that is no number is silence, one beyond full scale is clipped.
        return from_samples(array("h", [round(max(-32768.0, min(32767.0, 32768.0 * x))) if math.isfinite(x) else 0 for x in values]))

    return convert


_FLIP = bytes(octet ^ 0x80 for octet in range(256))
_CONVERSIONS: dict[tuple[int, int], Callable[[bytes], bytes]] = {
    (_PCM, 8): _from_8,
    (_PCM, 16): bytes,
    (_PCM, 24): _from_wide(3),
    (_PCM, 32): _from_wide(4),
    (_FLOAT, 32): _from_float("f", 4),
    (_FLOAT, 64): _from_float("d", 8),
    (_ALAW, 8): decode_alaw,
    (_ULAW, 8): decode_ulaw,
}


class UnreadWavFormat(MediaError):
    """A WAV file whose samples are coded in a way that is not read here (ADPCM, GSM, MP3)."""

    def __init__(self, name: str, code: int, bits: int) -> None:
        self.coding = f"format {code} with {bits} bits"
        super().__init__(f"{name} is a WAV file of {self.coding}, which is not read.", advice="Convert it to 16-bit PCM.")


class WavReader:
    """The sound of one WAV file as int16, piece by piece. Also a context manager that closes the file.

    Args:
        file: opened for reading in binary mode, at its begin; it need not be seekable.
        name: how errors call it.

    Raises:
        MediaError: it is no WAV file or damaged. UnreadWavFormat: its samples are coded in a way that is not read here.
    """

    def __init__(self, file: BinaryIO, name: str = "the sound") -> None:
        self._file = file
        self._name = name
        self.rate = 0
        """Samples a second of each channel."""
        self.channels = 0
        self._width = 0
        self._convert: Callable[[bytes], bytes] = bytes
        try:
            self._left: int | None = self._open()
        except OSError as error:
            raise MediaError(f"{name} cannot be read: {error.strerror or error}.") from error
        self.frames: int | None = None if self._left is None else self._left // (self._width * self.channels)
        """How many the header promises; None if it does not know (a recording that is still going on)."""

    def _damaged(self, what: str) -> MediaError:
        return MediaError(f"{self._name} is no WAV file that can be played: {what}.")

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise self._damaged("it ends within its header")
        return data

    def _open(self) -> int | None:
        """Read up to the samples; how many octets they have, None if unknown."""
        head = self._exactly(12)
        if not is_wav(head):
            raise self._damaged("it does not begin as one")
        endless = int.from_bytes(head[4:8], "little") in _UNKNOWN_SIZES
        for _ in range(_MAX_CHUNKS):
            header = self._file.read(8)
            if len(header) < 8:
                raise self._damaged("it has no samples")
            kind, size = header[:4], int.from_bytes(header[4:], "little")
            if kind == b"data":
                if not self._width:
                    raise self._damaged("the format comes after the samples")
                # Written into a pipe: the size could not be put in afterwards.
                return None if size in _UNKNOWN_SIZES and (size or endless) else size
            if kind == b"fmt ":
                if not 16 <= size <= _MAX_FORMAT:
                    raise self._damaged(f"its format has {size} octets")
                self._read_format(self._exactly(size + size % 2)[:size])
            else:
                self._skip(size + size % 2)
        raise self._damaged(f"more than {_MAX_CHUNKS} chunks come before its samples")

    def _skip(self, size: int) -> None:
        """Pass over a chunk, with no more in memory than a piece."""
        if self._file.seekable():
            # Beyond the end nothing is read any more, and that is noticed.
            self._file.seek(size, io.SEEK_CUR)
            return
        while size > 0:
            size -= len(self._exactly(min(size, 65536)))

    def _read_format(self, chunk: bytes) -> None:
        code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
        if code == _EXTENSIBLE:
            if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
                raise self._damaged("its extended format is unknown")
            code = int.from_bytes(chunk[24:26], "little")
        if not 1 <= channels <= MAX_CHANNELS:
            raise self._damaged(f"it has {channels} channels")
        if not MIN_RATE <= rate <= MAX_RATE:
            raise self._damaged(f"it has {rate} samples a second")
        # Some writers tell the bits that count (12, 20) instead of those that are stored; the block knows better.
        stored = 8 * (block // channels) if code == _PCM and block % channels == 0 and bits <= 8 * (block // channels) else bits
        convert = _CONVERSIONS.get((code, stored))
        if convert is None or stored // 8 * channels != block:
            raise UnreadWavFormat(self._name, code, bits)
        self.rate, self.channels, self._width, self._convert = rate, channels, stored // 8, convert

    def read(self, frames: int) -> bytes:
        """Up to `frames` frames, interleaved int16 little-endian; fewer only at the end, empty behind it.

        Raises:
            MediaError: the file system failed.
        """
        block = self._width * self.channels
        wanted = block * frames
        if self._left is not None:
            wanted = min(wanted, self._left - self._left % block)
        if wanted <= 0:
            return b""
        try:
            data = self._file.read(wanted)
            while 0 < len(data) < wanted:
                more = self._file.read(wanted - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise MediaError(f"{self._name} cannot be read: {error.strerror or error}.") from error
        # The header may promise more than there is (a broken download): what there is, is played.
        if self._left is not None:
            self._left = self._left - len(data) if len(data) == wanted else 0
        return self._convert(data[: len(data) - len(data) % block])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> WavReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WavWriter:
    """A 16-bit WAV file that grows; its header is right after every `write`, so a crash loses nothing that was written.

    Args:
        path: created, or overwritten.
        rate: samples a second; `channels`: interleaved.

    Raises:
        OSError: the file cannot be created or written: no place, no permission. What has been written before stays playable.
    """

    _HEADER = 44
    _MAX_DATA = 0xFFFFFFFF - 44

    def __init__(self, path: str | os.PathLike[str], rate: int, channels: int = 1) -> None:
        if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
            raise MediaError(f"A WAV file of {channels} channels at {rate} samples a second is not written.")
        self.path = path
        self.rate = rate
        self.channels = channels
        self._size = 0
        # Unbuffered: when write() returns, the system has the sound, and a full disk is told at once.
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (close() closes it)
        try:
            self._write_all(self._header())
        except OSError:
            self._file.close()
            raise

    def _header(self) -> bytes:
        block = 2 * self.channels
        form = struct.pack("<HHIIHH", _PCM, self.channels, self.rate, self.rate * block, block, 16)
        return struct.pack("<4sI4s4sI16s4sI", b"RIFF", 36 + self._size, b"WAVE", b"fmt ", 16, form, b"data", self._size)

    def _write_all(self, data: bytes) -> int:
        """Write everything; on failure OSError, after as much as went."""
        view = memoryview(data)
        while view:
            count = self._file.write(view)
            if not count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self.path))
            view = view[count:]
        return len(data)

    @property
    def frames(self) -> int:
        """How many are in the file."""
        return self._size // (2 * self.channels)

    @property
    def duration(self) -> float:
        """Seconds in the file."""
        return self.frames / self.rate

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._file.closed

    def write(self, pcm: bytes) -> None:
        """Append interleaved int16 little-endian frames.

        Raises:
            OSError: disk full or file too long (4 GiB); the file then holds what was written before, with a right header.
            ValueError: not a whole number of frames, or closed.
        """
        if len(pcm) % (2 * self.channels):
            raise ValueError(f"{len(pcm)} octets are not a whole number of frames of {self.channels} channel(s).")
        if self._file.closed:
            raise ValueError("The WAV file is closed.")
        if not pcm:
            return
        if self._size + len(pcm) > self._MAX_DATA:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(self.path))
        end = self._HEADER + self._size
        self._file.seek(end)
        try:
            self._write_all(pcm)
        except OSError:
            # The header does not count the torn piece; cut it off, so that not even a lenient reader plays it.
            self._file.truncate(end)
            raise
        self._size += len(pcm)
        # First the sound, then the header that counts it: in between the file is valid, only shorter.
        self._file.seek(4)
        self._write_all(struct.pack("<I", 36 + self._size))
        self._file.seek(40)
        self._write_all(struct.pack("<I", self._size))

    def close(self) -> None:
        """Close the file. Harmless when it is closed."""
        self._file.close()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
