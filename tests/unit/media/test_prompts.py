"""Prompts: prepared once, shared, checked at once, known by what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import tone_pcm
from flexosip.audio.wav import WavWriter
from flexosip.codecs import create
from flexosip.errors import ConfigurationError, MediaError
from flexosip.media import prompts
from flexosip.media.prompts import PromptCache
from flexosip.media.sending_format import SendingFormat
from tests.unit.media.stage import L16, PCMA, PCMU

A_LAW = SendingFormat(PCMA)


def wav(path: Path, hz: float = 440, seconds: float = 0.5, rate: int = 8000) -> Path:
    writer = WavWriter(path, rate, 1)
    writer.write(tone_pcm(Tone(hz, duration=seconds), rate))
    writer.close()
    return path


def test_a_file_is_prepared_once_for_all_who_play_it(tmp_path: Path) -> None:
    cache = PromptCache(in_line=True)
    path = wav(tmp_path / "a.wav")
    first = cache.prepare(path, A_LAW)
    assert cache.prepare(str(path), A_LAW) is first
    assert cache.prepare(tmp_path / "." / "a.wav", SendingFormat(PCMA)) is first
    assert cache.prepare(path, SendingFormat(PCMU)) is not first
    assert first.complete
    assert first.data == create("PCMA", 8000).encode(tone_pcm(Tone(440, duration=0.5), 8000))


def test_a_file_that_has_changed_is_prepared_anew(tmp_path: Path) -> None:
    cache = PromptCache(in_line=True)
    path = wav(tmp_path / "a.wav")
    first = cache.prepare(path, A_LAW)
    wav(path, hz=880, seconds=0.7)
    second = cache.prepare(path, A_LAW)
    assert second is not first
    assert len(second.data) == 5600
    os.utime(path, ns=(1, 1))
    assert cache.prepare(path, A_LAW) is not second


def test_bytes_pcm_and_tones_are_known_by_their_content(tmp_path: Path) -> None:
    cache = PromptCache(in_line=True)
    data = wav(tmp_path / "a.wav").read_bytes()
    assert cache.prepare(data, A_LAW) is cache.prepare(bytes(bytearray(data)), A_LAW)
    assert cache.prepare(Pcm(b"\1\2" * 80, 8000), A_LAW) is cache.prepare(Pcm(b"\1\2" * 80, 8000), A_LAW)
    assert cache.prepare(Pcm(b"\1\2" * 80, 8000), A_LAW) is not cache.prepare(Pcm(b"\1\2" * 80, 16000), A_LAW)
    assert cache.prepare(Tone(440), A_LAW) is cache.prepare(Tone(440), A_LAW)


def test_another_rate_becomes_the_codecs(tmp_path: Path) -> None:
    cache = PromptCache(in_line=True)
    path = wav(tmp_path / "a.wav", rate=44100, seconds=1.0)
    assert len(cache.prepare(path, A_LAW).data) == pytest.approx(8000, abs=100)
    assert len(cache.prepare(path, SendingFormat(L16)).data) == pytest.approx(32000, abs=400)


def test_what_is_wrong_is_told_at_once_and_not_remembered(tmp_path: Path) -> None:
    cache = PromptCache(in_line=True)
    with pytest.raises(MediaError, match=r"no\.wav"):
        cache.prepare(tmp_path / "no.wav", A_LAW)
    with pytest.raises(MediaError):
        cache.prepare(tmp_path, A_LAW)
    (tmp_path / "bad.wav").write_bytes(b"RIFF\x10\0\0\0WAVEfmt nonsense")
    with pytest.raises(MediaError):
        cache.prepare(tmp_path / "bad.wav", A_LAW)
    with pytest.raises(MediaError):
        cache.prepare(None, A_LAW)
    with pytest.raises(ConfigurationError):
        cache.prepare(Tone(6000), A_LAW)
    assert cache.prepare(wav(tmp_path / "bad.wav"), A_LAW).error is None


def test_a_file_that_fails_on_the_way_ends_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> object:
        yield b"\0\0" * 80
        raise MediaError("The disk has gone.")

    monkeypatch.setattr(prompts, "read_mono", failing)
    cache = PromptCache(in_line=True)
    path = wav(tmp_path / "a.wav")
    prompt = cache.prepare(path, A_LAW)
    assert prompt.complete
    assert prompt.error == "The disk has gone."
    assert len(prompt.data) == 80
    monkeypatch.undo()
    assert cache.prepare(path, A_LAW).error is None


def test_what_is_kept_is_bounded_and_the_least_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "CACHE_OCTETS", 10_000)
    cache = PromptCache(in_line=True)
    sounds = [Pcm(bytes((index, 0)) * 3000, 8000) for index in range(5)]
    first = cache.prepare(sounds[0], A_LAW)
    cache.prepare(sounds[1], A_LAW)
    assert cache.prepare(sounds[0], A_LAW) is first
    for sound in sounds[2:]:
        cache.prepare(sound, A_LAW)
        cache.prepare(sounds[0], A_LAW)
    assert cache.prepare(sounds[0], A_LAW) is first
    assert sum(len(prompt.data) for prompt in cache._prompts.values()) <= 16_000


def test_the_worker_prepares_while_others_run_and_ends(tmp_path: Path) -> None:
    cache = PromptCache()
    path = wav(tmp_path / "a.wav", rate=16000, seconds=20.0)
    prompt = cache.prepare(path, A_LAW)
    assert cache.prepare(path, A_LAW) is prompt
    assert cache.join(30.0)
    assert prompt.complete
    assert prompt.error is None
    assert len(prompt.data) == pytest.approx(160_000, abs=200)


def test_a_dismissed_worker_gives_up_and_what_it_left_is_prepared_anew() -> None:
    cache = PromptCache()
    long = Tone(440.0, duration=3600.0)
    prompt = cache.prepare(long, A_LAW)
    cache.dismiss()
    assert cache.join(2.0)
    assert prompt.complete
    assert prompt.error == "the preparation was given up"
    again = cache.prepare(long, A_LAW)
    assert again is not prompt
    assert again.error is None
    cache.dismiss()
    assert cache.join(2.0)
