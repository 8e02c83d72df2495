"""Opening sound files of any kind."""

from __future__ import annotations

import io
import math
import sys
from array import array
from pathlib import Path

import pytest

from flexosip.audio.files import open_audio, read_mono
from flexosip.audio.levels import dominant_frequency, find_gaps, tone_level
from flexosip.audio.wav import WavWriter
from flexosip.errors import MediaError, MissingExtra


def sine(hz: float, rate: int, seconds: float, channels: int = 1) -> bytes:
    values = (round(10000 * math.sin(2 * math.pi * hz * n / rate)) for n in range(round(rate * seconds)))
    return array("h", [value for value in values for _ in range(channels)]).tobytes()


def write(path: Path, rate: int, channels: int = 1) -> Path:
    with WavWriter(path, rate, channels) as writer:
        writer.write(sine(440, rate, 1.0, channels))
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 2), (48000, 1)])
def test_any_wav_becomes_telephone_sound(tmp_path: Path, rate: int, channels: int) -> None:
    reader = open_audio(write(tmp_path / "a.wav", rate, channels))
    assert (reader.rate, reader.channels, reader.frames) == (rate, channels, rate)
    pieces = list(read_mono(reader, 8000))
    reader.close()
    assert len(pieces) >= 5
    pcm = b"".join(pieces)
    assert len(pcm) == 16000
    assert dominant_frequency(pcm, 8000) == pytest.approx(440, rel=1e-3)
    assert tone_level(pcm[1600:-1600], 8000, 440) == pytest.approx(20 * math.log10(10000 / math.sqrt(2) / 32768), abs=0.1)
    assert find_gaps(pcm, 8000) == []


def test_octets_in_memory_and_opened_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 8000)
    expected = path.read_bytes()[44:]
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes()), io.BytesIO(path.read_bytes())):
        reader = open_audio(source)
        assert reader.read(10_000) == expected
        reader.close()


def test_what_cannot_be_opened_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    for name in ("missing.wav", "empty.wav", "broken.wav", "."):
        with pytest.raises(MediaError, match=r"empty|broken|missing|" + tmp_path.name):
            open_audio(tmp_path / name)
    with pytest.raises(MediaError):
        open_audio(b"")
    with pytest.raises(MediaError):
        open_audio("a\x00b.wav")


def test_other_formats_name_the_extra_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra) as caught:
        open_audio(b"fLaC" + bytes(100))
    assert "pip install 'flexosip[audio]'" in caught.value.explain()


FORMATS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_24"), ("MP3", "MPEG_LAYER_III"), ("WAV", "IMA_ADPCM")]


def write_with_library(folder: Path, form: str, subtype: str, channels: int = 2) -> Path:
    """A second of 440 Hz at 44.1 kHz."""
    soundfile = pytest.importorskip("soundfile")
    numpy = pytest.importorskip("numpy")
    path = folder / f"a.{form.lower()}"
    samples = numpy.frombuffer(sine(440, 44100, 1.0, channels), "<i2").reshape(-1, channels)
    try:
        soundfile.write(path, samples, 44100, format=form, subtype=subtype)
    except (soundfile.SoundFileError, ValueError) as error:  # an old libsndfile does not know MP3
        pytest.skip(f"this libsndfile does not write {form}: {error}")
    return path


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_other_formats_are_read_with_the_extra(tmp_path: Path, form: str, subtype: str) -> None:
    reader = open_audio(write_with_library(tmp_path, form, subtype))
    assert (reader.rate, reader.channels) == (44100, 2)
    pcm = b"".join(read_mono(reader, 8000))
    reader.close()
    assert dominant_frequency(pcm, 8000) == pytest.approx(440, rel=2e-3)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_reading_in_pieces_gives_the_same_sound_as_reading_at_once(tmp_path: Path, form: str, subtype: str) -> None:
    path = write_with_library(tmp_path, form, subtype, channels=1)
    whole = open_audio(path)
    at_once = whole.read(100_000)
    whole.close()
    reader = open_audio(path)
    in_pieces = b"".join(iter(lambda: reader.read(1000), b""))
    reader.close()
    assert in_pieces == at_once
    assert len(at_once) == pytest.approx(2 * 44100, rel=0.1)


def test_a_wav_that_the_base_does_not_read_names_the_extra_when_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_with_library(tmp_path, "WAV", "IMA_ADPCM")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match="format 17 with 4 bits") as caught:
        open_audio(path)
    assert "pip install 'flexosip[audio]'" in caught.value.explain()


def test_what_no_library_reads_is_a_media_error() -> None:
    pytest.importorskip("soundfile")
    with pytest.raises(MediaError):
        open_audio(b"this is no sound at all, it is text")
