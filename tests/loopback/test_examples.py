"""Every example runs as it stands, and is judged by what the other side hears."""

from __future__ import annotations

import configparser
import os
import re
import signal
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import Tone
from flexosip.audio.levels import find_sounds
from flexosip.audio.tones import tone_pcm
from flexosip.sync import Call, Phone
from tests.hearing import hear
from tests.house import ROOT, House, Program, house, taken_by, within

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture
def other() -> Iterator[Phone]:
    """The phone that calls an example or is called by it."""
    with Phone(listen=("127.0.0.1:0",)) as phone:
        yield phone


def example(name: str, *words: str, folder: Path) -> Program:
    """An example that runs in `folder`; one that is a test by pytest, without the settings of this project."""
    if name.startswith("test_"):
        plugins = ("-p", "flexosip.testing.plugin", "-p", "no:cacheprovider", "-p", "no:asyncio")
        return Program("-m", "pytest", "-c", os.devnull, "-q", *plugins, str(EXAMPLES / name), *words, folder=folder)
    return Program("-W", "error", str(EXAMPLES / name), *words, folder=folder)


def address(phone: Phone) -> str:
    """What to call to reach `phone`."""
    return "sip:other@" + phone.addresses[0].split(":", 1)[1]


def listening(program: Program) -> str:
    """What to call to reach an example that prints where it listens."""
    port = re.search(r"udp:\S+:(\d+)", program.wait_for("listening on"))
    assert port
    return f"sip:example@127.0.0.1:{port[1]}"


def leave(program: Program) -> None:
    """Ctrl-C: it ends in two seconds without a word."""
    began = time.monotonic()
    program.process.send_signal(signal.SIGINT)
    assert program.finish(5) == 0
    assert time.monotonic() - began < 2.5
    assert program.errors == ""


def tone_file(path: Path, hz: float, seconds: float) -> str:
    """A WAV file with a tone; its name."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(tone_pcm(Tone(hz, duration=seconds), 16000))
    return path.name


# -- what holds for all -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_is_short_and_tells_how_it_is_started(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= (60 if path.name == "demo.py" else 40)
    start = f"python -m pytest examples/{path.name}\n" if path.stem.startswith("test_") else f"python examples/{path.name} "
    assert start in text.split('"""')[1]


def test_every_example_is_run_here_and_named_in_the_readme() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    own = Path(__file__).read_text(encoding="utf-8")
    for path in PROGRAMS:
        assert readme.count(f"]({path.name})") == 1
        assert f'example("{path.name}"' in own
    assert {path.stem for path in PROGRAMS} >= {
        "answer_and_play", "demo", "digit_menu", "echo", "lamp", "raw_audio", "record", "ring", "several_accounts", "switchboard",
        "test_doorbell", "tls_account",
    }  # fmt: skip


# -- one by one -------------------------------------------------------------------------------------------------------------


def test_ring(other: Phone, tmp_path: Path) -> None:
    def wait(call: Call) -> int:
        call.ring()
        return call.wait_ended().status

    results = taken_by(other, wait)
    with example("ring.py", address(other), "0.7", folder=tmp_path) as program:
        assert program.finish() == 0
        assert program.lines == ["rang_out"]
    assert results.get(timeout=5) == 487
    taken_by(other, lambda call: call.reject(603))
    with example("ring.py", address(other), folder=tmp_path) as program:
        assert program.finish() == 0
        assert program.lines == ["declined"]


def test_answer_and_play(other: Phone, tmp_path: Path) -> None:
    name = tone_file(tmp_path / "hello.wav", 700, 1.0)
    with example("answer_and_play.py", "0", name, folder=tmp_path) as program:
        target = listening(program)
        for number in range(2):
            with other.call(target, ring_timeout=5) as call:
                call.record(tmp_path / f"{number}.wav", side="in")
                assert call.wait_ended().by == "remote"
            program.wait_for("answered <sip:flexosip@127.0.0.1")
        leave(program)
    for number in range(2):
        heard = hear(tmp_path / f"{number}.wav")
        sounds = find_sounds(heard.left, heard.rate)
        assert len(sounds) == 1 and sounds[0].duration == pytest.approx(1.0, abs=0.1)
        assert heard.tone(700, sounds[0].start, sounds[0].end) > -15


def test_record(other: Phone, tmp_path: Path) -> None:
    def play(call: Call) -> str:
        call.answer()
        call.play(Tone(1500, duration=10), wait=False)
        return call.wait_ended().by

    results = taken_by(other, play)
    with example("record.py", address(other), "call.wav", "0.5", folder=tmp_path) as program:
        assert program.finish() == 0
        assert re.fullmatch(r"1\.[4-7] s in call\.wav", program.lines[0])
    assert results.get(timeout=5) == "remote"
    heard = hear(tmp_path / "call.wav")
    assert len(heard.tracks) == 2 and heard.seconds == pytest.approx(1.5, abs=0.2)
    assert heard.tone(1500, 0.3, 0.8, track=0) > -15 and heard.tone(440, 0.3, 0.8, track=1) > -15
    assert heard.tone(440, 0.3, 0.8, track=0) < -50 and heard.tone(1500, 0.3, 0.8, track=1) < -50


def test_echo(other: Phone, tmp_path: Path) -> None:
    with example("echo.py", "0", folder=tmp_path) as program:
        with other.call(listening(program), ring_timeout=5) as call:
            recording = call.record(tmp_path / "heard.wav", side="in")
            for hz in (440, 1234):
                call.play(Tone(hz, duration=0.6))
            time.sleep(0.6)
            recording.stop().wait()
        program.wait_for("echoed 2 seconds")
        leave(program)
    heard = hear(tmp_path / "heard.wav")
    sounds = find_sounds(heard.left, heard.rate)
    assert sounds[-1].end - sounds[0].start == pytest.approx(1.2, abs=0.1)
    begin = sounds[0].start
    assert heard.tone(440, begin + 0.1, begin + 0.5) > -16 and heard.tone(1234, begin + 0.7, begin + 1.1) > -16


def test_digit_menu(other: Phone, tmp_path: Path) -> None:
    name = tone_file(tmp_path / "menu.wav", 600, 5.0)
    with example("digit_menu.py", "0", name, folder=tmp_path) as program:
        target = listening(program)
        for key, hz in (("1", 880), ("7", 440)):
            with other.call(target, ring_timeout=5) as call:
                call.record(tmp_path / f"{key}.wav", side="in")
                time.sleep(0.5)
                call.send_digits(key)
                assert call.wait_ended().by == "remote"
            assert program.wait_for("pressed").startswith(f"pressed {key!r} ")
            heard = hear(tmp_path / f"{key}.wav")
            assert heard.tone(600, 0.1, 0.4) > -15
            # the key ends the prompt, and the answer follows
            assert heard.tone(600, heard.seconds - 0.3, heard.seconds - 0.05) < -40
            assert heard.tone(hz, heard.seconds - 0.3, heard.seconds - 0.05) > -16
        leave(program)


def test_raw_audio(other: Phone, tmp_path: Path) -> None:
    def play(call: Call) -> str:
        call.answer()
        call.record(tmp_path / "heard.wav", side="in")
        call.play(Tone(500, level=-6.0, duration=10), wait=False)
        return call.wait_ended().by

    results = taken_by(other, play)
    with example("raw_audio.py", address(other), "1.5", folder=tmp_path) as program:
        assert program.finish() == 0
        loudest = int(program.lines[0].removeprefix("loudest sample "))
    assert results.get(timeout=5) == "remote"
    # a sine at -6 dBFS by its RMS has a peak of -3 dBFS
    assert loudest == pytest.approx(32768 * 10 ** (-3 / 20), rel=0.1)
    heard = hear(tmp_path / "heard.wav")
    assert heard.tone(1000, 0.3, 1.2) == pytest.approx(-15.2, abs=1.0)


def test_several_accounts(tmp_path: Path) -> None:
    with house("door", "garage", "guest") as home, home.phone("guest") as guest:
        words = [home.host_port, "door", "secret-door", "garage", "secret-garage"]
        with example("several_accounts.py", *words, folder=tmp_path) as program:
            assert program.wait_for("registered") == f"registered {home.aor('door')} {home.aor('garage')}"
            for user, hz in (("door", 400), ("garage", 800)):
                with guest.call(user, ring_timeout=5) as call:
                    call.record(tmp_path / f"{user}.wav", side="in")
                    assert call.wait_ended().by == "remote"
                assert home.aor(user) in program.wait_for("called as")
                heard = hear(tmp_path / f"{user}.wav")
                assert heard.tone(hz, 0.2, 0.8) > -15
            leave(program)
        assert within(2, lambda: all(home.told("unregistered", user) == 1 for user in ("door", "garage")))


def test_switchboard(other: Phone, tmp_path: Path) -> None:
    def talk(call: Call) -> str:
        call.answer()
        return call.wait_ended().by

    results = taken_by(other, talk)
    with example("switchboard.py", "0", "sip:nobody@127.0.0.1:1", address(other), folder=tmp_path) as program:
        target = listening(program)
        with Phone(listen=("127.0.0.1:0",), accept_transfers=True) as caller:
            with caller.call(target, ring_timeout=5) as call:
                call.send_digits("1")
                program.wait_for("not connected: ")
                call.hangup()
            with caller.call(target, ring_timeout=5) as call:
                call.send_digits("2")
                assert program.wait_for("connected") == f"connected with {address(other)}"
                assert call.wait_ended().by == "remote"
                assert call.transferred_to is not None
                call.transferred_to.hangup()
        leave(program)
    assert results.get(timeout=5) == "remote"


def test_lamp(tmp_path: Path) -> None:
    with house("desk", "line", "guest") as home, home.phone("line") as line, home.phone("guest") as guest:
        line.notifier("dialog")
        taken_by(line, lambda call: (call.ring(), time.sleep(0.3), call.answer(), call.wait_ended()))
        with example("lamp.py", home.aor("desk"), "secret-desk", "line", folder=tmp_path) as program:
            assert program.wait_for("line").strip() == "line idle"
            with guest.call("line", ring_timeout=5):
                assert program.wait_for("line early").endswith(home.aor("guest"))
                program.wait_for("line confirmed")
            assert program.wait_for("line idle").strip() == "line idle"
            leave(program)


def test_tls_account(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from tests.certificates import Authority

    authority = Authority(tmp_path / "authority")
    listen = ("127.0.0.1:0", "tls:127.0.0.1:0")
    with house("bell", "620", listen=listen, tls=authority.server("example.org")) as home:
        server = next(text.removeprefix("tls:") for text in home.addresses if text.startswith("tls:"))
        settings = {"proxy": server, "transport": "tls", "tls_ca": str(authority.certificate)}
        with Phone("sip:620@example.org", password="secret-620", listen=("127.0.0.1:0",), **settings) as phone:
            taken_by(phone, lambda call: call.reject(603))
            words = ["sip:bell@example.org", "secret-bell", "620", server]
            with example("tls_account.py", *words, str(authority.certificate), folder=tmp_path) as program:
                assert program.finish() == 0
                assert program.lines[0].startswith("registered at sip:127.0.0.1") and program.lines[1] == "declined"
            with example("tls_account.py", *words, folder=tmp_path) as program:
                assert program.finish() == 1
                assert "not trusted here" in program.errors and "tls_ca" in program.errors and "Traceback" not in program.errors


def test_doorbell(tmp_path: Path) -> None:
    with example("test_doorbell.py", folder=tmp_path) as program:
        assert program.finish(60) == 0
        assert "2 passed" in program.lines[-1]


# -- the nine steps -----------------------------------------------------------------------------------------------------------


def settings_for(home: House, folder: Path) -> str:
    """examples/demo.ini with the addresses and files of a test; the name of the copy."""
    settings = configparser.ConfigParser()
    settings.read(EXAMPLES / "demo.ini")
    settings["registration"].update(uri=home.aor("demo"), registrar=f"sip:{home.host_port}", password="secret-demo")
    settings["network"]["port"] = "0"
    settings["media"].update(hello=tone_file(folder / "hello.wav", 440, 0.5), menu=tone_file(folder / "menu.wav", 1000, 4.0))
    with (folder / "demo.ini").open("w") as file:
        settings.write(file)
    return "demo.ini"


def test_the_files_that_demo_ini_names_are_there() -> None:
    settings = configparser.ConfigParser()
    settings.read(EXAMPLES / "demo.ini")
    assert set(settings["registration"]) == {"uri", "registrar", "login", "password"}
    assert set(settings["alert"]) == {"destination", "name"}
    for file in settings["media"].values():
        assert hear(ROOT / file).seconds > 0.5


def test_demo_calls_all_phones_plays_two_messages_and_sends_digits_back(tmp_path: Path) -> None:
    def listen(call: Call) -> tuple[Any, ...]:
        call.ring()
        call.progress()
        recording = call.record(tmp_path / "heard.wav", side="in")
        call.answer()
        time.sleep(1.8)
        call.send_digits("3")
        back = call.wait_digit(5)
        time.sleep(0.3)
        recording.stop().wait()
        return back, call.headers.get("Subject") if call.headers is not None else None

    with house("demo", "house") as home, home.phone("house") as resident:
        results = taken_by(resident, listen)
        with example("demo.py", settings_for(home, tmp_path), folder=tmp_path) as program:
            assert results.get(timeout=10) == ("3", "Demo")
            assert program.finish() == 0
            assert program.lines[:2] == ["answered", "pressed 3"] and program.lines[2].startswith("ended:")
            assert program.errors == ""
        assert within(2, lambda: home.told("unregistered", "demo") == 1)
    heard = hear(tmp_path / "heard.wav")
    hello, menu = find_sounds(heard.left, heard.rate)[:2]
    assert hello.duration == pytest.approx(0.5, abs=0.03) and heard.tone(440, hello.start, hello.end) > -15
    assert menu.start - hello.end == pytest.approx(0.5, abs=0.03) and heard.tone(1000, menu.start, menu.start + 0.5) > -15
    # the key stops what is played: 1.8 s after the answer, of 4 s
    assert 0.7 < menu.duration < 1.3
