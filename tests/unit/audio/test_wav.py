"""WAV files: every format that is read, headers made to harm, and files that are valid at any moment of their writing."""

from __future__ import annotations

import errno
import io
import math
import os
import struct
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flexosip.audio.companding import encode_alaw, encode_ulaw
from flexosip.audio.levels import dominant_frequency, tone_level
from flexosip.audio.wav import WavReader, WavWriter
from flexosip.errors import MediaError

TAIL = bytes.fromhex("000000001000800000aa00389b71")
SINE = [0.5 * math.sin(2 * math.pi * 500 * n / 8000) for n in range(4000)]


def chunk(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(data) if size is None else size) + data + b"\x00" * (len(data) % 2)


def wav(
    code: int, bits: int, data: bytes, *, channels: int = 1, rate: int = 8000, extra: bytes = b"", size: int | None = None, riff: int = 0
) -> bytes:
    form = struct.pack("<HHIIHH", code, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = chunk(b"fmt ", form + extra) + chunk(b"data", data, size)
    return b"RIFF" + struct.pack("<I", riff or 4 + len(body)) + b"WAVE" + body


def encoded(code: int, bits: int) -> bytes:
    pcm = array("h", [round(32768 * x) for x in SINE]).tobytes()
    if code == 6:
        return encode_alaw(pcm)
    if code == 7:
        return encode_ulaw(pcm)
    if code == 3:
        return struct.pack(f"<{len(SINE)}{'f' if bits == 32 else 'd'}", *SINE)
    if bits == 8:
        return bytes(round(128 + 127.5 * x) for x in SINE)
    return b"".join(round(x * 2 ** (bits - 1)).to_bytes(bits // 8, "little", signed=True) for x in SINE)


def read_all(data: bytes) -> tuple[bytes, WavReader]:
    reader = WavReader(io.BytesIO(data))
    return b"".join(iter(lambda: reader.read(333), b"")), reader


@pytest.mark.parametrize(("code", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)])
@pytest.mark.parametrize("extensible", [False, True])
def test_every_format_gives_the_same_sound(code: int, bits: int, extensible: bool) -> None:
    extra = struct.pack("<HHIH", 22, bits, 4, code) + TAIL if extensible else b""
    pcm, reader = read_all(wav(0xFFFE if extensible else code, bits, encoded(code, bits), extra=extra))
    assert (reader.rate, reader.channels, reader.frames) == (8000, 1, 4000)
    assert len(pcm) == 8000
    assert dominant_frequency(pcm, 8000) == pytest.approx(500, rel=1e-3)
    assert tone_level(pcm, 8000, 500) == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.1)


def test_channels_stay_interleaved_and_any_rate_is_told() -> None:
    pcm, reader = read_all(wav(1, 16, array("h", [1, 2, 3, 4, 5, 6]).tobytes(), channels=3, rate=44100))
    assert (reader.rate, reader.channels, reader.frames) == (44100, 3, 2)
    assert list(array("h", pcm)) == [1, 2, 3, 4, 5, 6]


def test_chunks_before_and_behind_the_samples_are_passed_over() -> None:
    plain = wav(1, 16, b"\x01\x00\x02\x00")
    odd = plain[:12] + chunk(b"LIST", b"abc") + plain[12:36] + chunk(b"fact", b"1234") + plain[36:] + chunk(b"id3 ", b"noise!")
    assert read_all(odd)[0] == b"\x01\x00\x02\x00"


def test_a_file_cut_short_gives_what_is_there_in_whole_frames() -> None:
    data = wav(1, 16, bytes(range(200)), channels=2)
    pcm, reader = read_all(data[: 44 + 101])
    assert pcm == bytes(range(100))
    assert reader.read(10) == b""


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_file_written_into_a_pipe_is_read_to_its_end(size: int) -> None:
    pcm, reader = read_all(wav(1, 16, bytes(range(200)), size=size))
    assert pcm == bytes(range(200))
    assert reader.frames is None
    assert read_all(wav(1, 16, bytes(range(200)), size=0, riff=0xFFFFFFFF))[0] == bytes(range(200))


def test_an_empty_sound_is_empty_whatever_follows() -> None:
    assert read_all(wav(1, 16, b"") + chunk(b"LIST", bytes(range(100))))[0] == b""


def test_no_number_is_silence_and_too_loud_is_full_scale() -> None:
    data = struct.pack("<5f", math.nan, math.inf, 2.0, -2.0, 0.5)
    assert list(array("h", read_all(wav(3, 32, data))[0])) == [0, 0, 32767, -32768, 16384]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFX" + wav(1, 16, bytes(4))[4:],
        wav(1, 16, bytes(4))[:30],
        wav(1, 16, bytes(4))[:36],
        b"RIFF\x04\x00\x00\x00WAVE" + chunk(b"data", bytes(4)),
        b"RIFF\x04\x00\x00\x00WAVE" + chunk(b"LIST", bytes(4), 0xFFFFFFFF),
        b"RIFF\x04\x00\x00\x00WAVE" + chunk(b"fmt ", bytes(16), 0xFFFFFFFE),
        b"RIFF\x04\x00\x00\x00WAVE" + chunk(b"fmt ", bytes(15)),
        b"RIFF\x04\x00\x00\x00WAVE" + chunk(b"junk", b"") * 100_000,
        wav(1, 16, bytes(4), channels=0),
        wav(1, 16, bytes(4), channels=17),
        wav(1, 16, bytes(4), rate=0),
        wav(1, 16, bytes(4), rate=0xFFFFFF),
        wav(1, 64, bytes(8)),
        wav(1, 0, bytes(8)),
        wav(2, 4, bytes(8)),
        wav(85, 16, bytes(8)),
        wav(3, 16, bytes(8)),
        wav(0xFFFE, 16, bytes(8)),
        wav(0xFFFE, 16, bytes(8), extra=struct.pack("<HHIH", 22, 16, 4, 1) + b"not the tail.."),
    ],
)
def test_a_header_made_to_harm_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MediaError):
        WavReader(io.BytesIO(data))


@settings(max_examples=300)
@given(st.integers(0, 120), st.binary(min_size=1, max_size=8), st.sampled_from([(1, 16), (1, 24), (3, 32), (6, 8)]))
@example(22, b"\x00\x00", (1, 16))
def test_any_changed_header_gives_bounded_sound_or_a_media_error(at: int, change: bytes, form: tuple[int, int]) -> None:
    data = bytearray(wav(*form, encoded(*form)[:600], extra=b"\x00\x00"))
    data[at : at + len(change)] = change
    try:
        reader = WavReader(io.BytesIO(bytes(data)))
        total = 0
        while piece := reader.read(160):
            total += len(piece)
    except MediaError:
        return
    assert total <= 2 * len(data)


class Pipe(io.RawIOBase):
    """A file that cannot seek and gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self._data.read(min(len(buffer), 7))
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_pipe_is_read_as_a_file() -> None:
    data = wav(1, 16, bytes(range(200)))
    data = data[:12] + chunk(b"LIST", bytes(1000)) + data[12:]
    reader = WavReader(io.BufferedReader(Pipe(data)))
    assert b"".join(iter(lambda: reader.read(13), b"")) == bytes(range(200))


class FailingFile(io.BytesIO):
    """A disk that fails behind the header."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 44:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_a_failing_disk_is_a_media_error() -> None:
    reader = WavReader(FailingFile(wav(1, 16, bytes(8))), "greeting.wav")
    with pytest.raises(MediaError, match=r"greeting\.wav"):
        reader.read(1)


# --- writing ---


def by_the_standard_library(path: Path) -> tuple[int, int, bytes]:
    with wave.open(str(path)) as file:
        return file.getframerate(), file.getnchannels(), file.readframes(1 << 30)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_file_is_valid_after_every_write_and_without_close(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "r.wav"
    writer = WavWriter(path, 8000, channels)
    written = b""
    assert by_the_standard_library(path) == (8000, channels, b"")
    for index in range(20):
        piece = bytes([index] * 4 * index)
        writer.write(piece)
        written += piece
        assert by_the_standard_library(path) == (8000, channels, written)
        with WavReader(path.open("rb")) as reader:
            assert reader.read(10_000) == written
    assert writer.frames == len(written) // 2 // channels
    assert writer.duration == pytest.approx(len(written) / 2 / channels / 8000)
    writer.close()
    writer.close()
    assert path.stat().st_size == 44 + len(written)


def test_at_every_moment_between_two_writes_to_the_disk_the_file_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    writer = WavWriter(path, 8000)
    file, lengths = writer._file, []

    class Watched:
        """Looks at the file after every call of the system, as a crash would leave it."""

        def __getattr__(self, name: str) -> object:
            def call(*arguments: object) -> object:
                result = getattr(file, name)(*arguments)
                lengths.append(len(by_the_standard_library(path)[2]))
                return result

            return call if callable(getattr(file, name)) else getattr(file, name)

    writer._file = Watched()  # type: ignore[assignment]
    for _ in range(5):
        writer.write(bytes(320))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 1600
    writer.close()


def test_a_full_disk_at_the_begin_is_an_os_error() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as caught:
        WavWriter("/dev/full", 8000)
    assert caught.value.errno == errno.ENOSPC


def test_a_disk_that_fills_up_is_an_os_error_and_the_file_stays_playable(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "r.wav"
    writer = WavWriter(path, 8000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The limit makes the system refuse in the middle of a write, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError):
            for _ in range(100):
                writer.write(bytes(320))
        with pytest.raises(OSError):
            writer.write(bytes(320))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = (10_000 - 44) // 320 * 160
    assert writer.frames == kept
    assert by_the_standard_library(path) == (8000, 1, bytes(2 * kept))
    assert path.stat().st_size == 44 + 2 * kept
    writer.write(bytes(320))
    writer.close()
    assert len(by_the_standard_library(path)[2]) == 2 * kept + 320


def test_a_file_that_would_be_too_long_for_its_header_is_an_os_error(tmp_path: Path) -> None:
    writer = WavWriter(tmp_path / "r.wav", 8000)
    writer._size = 0xFFFFFFFF - 44 - 100
    with pytest.raises(OSError) as caught:
        writer.write(bytes(102))
    assert caught.value.errno == errno.EFBIG
    writer.close()


def test_mistakes_of_the_caller_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WavWriter(tmp_path / "no" / "r.wav", 8000)
    with pytest.raises(MediaError):
        WavWriter(tmp_path / "r.wav", 0)
    with WavWriter(tmp_path / "r.wav", 8000, 2) as writer:
        with pytest.raises(ValueError, match="whole number"):
            writer.write(b"\x00\x00")
    assert writer.closed
    with pytest.raises(ValueError, match="closed"):
        writer.write(bytes(4))
