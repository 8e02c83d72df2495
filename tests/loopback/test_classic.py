"""The nine steps of FlexoSIP as users write them, against the embedded PBX and a house phone that listens."""

from __future__ import annotations

import contextlib
import inspect
import logging
import queue
import signal
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import Tone
from flexosip.audio.levels import find_gaps, find_sounds
from flexosip.audio.tones import tone_pcm
from flexosip.classic import FlexoSIP
from flexosip.errors import Busy, CallEnded, ConfigurationError, Declined, InvalidState, MediaError, NetworkError, NoAnswer
from flexosip.sync import Call, Phone
from tests.hearing import hear
from tests.house import House, Program, house, taken_by, within

# Word for word the program of the contract; only the port is a free one and the four settings come from the command line.
NINE_STEPS = """
import sys
uri, registrar, login, password, destination = sys.argv[1:]
from flexosip.classic import FlexoSIP

class Demo(FlexoSIP):                         # override an event to take part, like FlexoSIP's weak symbols
    def event_answered(self, call):  self.play("hello.wav"); self.play_after_delay(500, "menu.wav")   # milliseconds, as in the original
    def event_dtmf(self, digit):     print("pressed", digit); self.send_dtmf(digit)
    def event_terminated(self, call): self.quit()

phone = Demo()
phone.listen(port=0)                          # 1 networking: listen(transport="udp", port=5060, host="0.0.0.0")
phone.register(uri, registrar, login, password)   # 2
phone.wait_registered()                       # 3
phone.call(uri, destination, "Door bell")     # 4
while phone.running:
    phone.handle_event()                      # 5; the callbacks 6-9 arrive in here
"""

BEFORE = signal.getsignal(signal.SIGINT)
"""What the test program does with Ctrl-C: a shell's background job ignores it."""


def tone_file(path: Path, hz: float, seconds: float) -> None:
    """A WAV file with a tone."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(tone_pcm(Tone(hz, duration=seconds), 8000))


@pytest.fixture
def home() -> Iterator[House]:
    """A PBX with a bell and a house phone."""
    with house("bell", "house") as running:
        yield running


@pytest.fixture
def resident(home: House) -> Iterator[Phone]:
    """The house phone, registered."""
    with home.phone("house") as phone:
        yield phone


def settings(home: House) -> tuple[str, str, str, str]:
    """uri, registrar, login, password of the bell."""
    return home.aor("bell"), f"sip:{home.host_port}", "bell", "secret-bell"


def test_the_ports_default_is_that_of_sip() -> None:
    defaults = [(item.name, item.default) for item in inspect.signature(FlexoSIP.listen).parameters.values()][1:]
    assert defaults[:3] == [("transport", "udp"), ("port", 5060), ("host", "0.0.0.0")]
    assert dict(defaults[3:]) == dict.fromkeys(("tls_ca", "tls_certificate", "tls_key", "tls"))


def test_the_nine_steps_as_written(home: House, resident: Phone, tmp_path: Path) -> None:
    tone_file(tmp_path / "hello.wav", 440, 0.5)
    tone_file(tmp_path / "menu.wav", 1000, 0.5)

    def listen(call: Call) -> tuple[str, str]:
        subject = call.headers.get("Subject") if call.headers is not None else None
        recording = call.record(tmp_path / "heard.wav", side="in")
        call.answer()
        time.sleep(2.0)
        call.send_digits("5")
        echoed = call.wait_digit(5)
        recording.stop().wait()
        return str(subject), echoed

    def take(call: Call) -> Any:
        call.progress()  # opens the sound, so that the recording has it from its very begin
        return listen(call)

    results = taken_by(resident, take)
    with Program("-c", NINE_STEPS, *settings(home), "house", folder=tmp_path) as program:
        program.wait_for("pressed 5")
        assert results.get(timeout=10) == ("Door bell", "5")
        assert program.finish() == 0
        assert "Traceback" not in program.errors
    assert within(2, lambda: home.told("unregistered", "bell") == 1)
    heard = hear(tmp_path / "heard.wav")
    hello, menu = find_sounds(heard.left, heard.rate)[:2]
    assert hello.duration == pytest.approx(0.5, abs=0.03) and menu.duration == pytest.approx(0.5, abs=0.03)
    assert menu.start - hello.end == pytest.approx(0.5, abs=0.03)
    assert heard.tone(440, hello.start, hello.end) > -20 > -40 > heard.tone(1000, hello.start, hello.end)
    assert heard.tone(1000, menu.start, menu.end) > -20 > -40 > heard.tone(440, menu.start, menu.end)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ringing", [True, False], ids=["while it rings", "in the call"])
def test_a_signal_hangs_up_and_unregisters(home: House, resident: Phone, tmp_path: Path, number: signal.Signals, ringing: bool) -> None:
    tone_file(tmp_path / "hello.wav", 440, 30)
    tone_file(tmp_path / "menu.wav", 1000, 1)
    there = threading.Event()

    def take(call: Call) -> int:
        call.ring() if ringing else call.answer()
        there.set()
        return call.wait_ended().status

    results = taken_by(resident, take)
    with Program("-c", NINE_STEPS, *settings(home), "house", folder=tmp_path) as program:
        assert there.wait(10)
        time.sleep(0.2)
        began = time.monotonic()
        program.process.send_signal(number)
        assert results.get(timeout=5) == (487 if ringing else 200)
        assert program.finish(5) == 128 + number
        assert time.monotonic() - began < 2.5
        assert "Traceback" not in program.errors
    assert within(2, lambda: home.told("unregistered", "bell") == 1)


# -- in this process ------------------------------------------------------------------------------------------------------


class Station(FlexoSIP):
    """Notes what happens and reacts as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.invite: Callable[[Call], int] | None = None
        self.answered: Callable[[Call], Any] = lambda call: None
        self.pressed: Callable[[str], Any] = lambda digit: None

    def event_invite(self, call: Call) -> int:
        self.seen.append("invite")
        return super().event_invite(call) if self.invite is None else self.invite(call)

    def event_answered(self, call: Call) -> None:
        self.seen.append("answered")
        super().event_answered(call)
        self.answered(call)

    def event_dtmf(self, digit: str) -> None:
        self.seen.append(digit)
        super().event_dtmf(digit)
        self.pressed(digit)

    def event_terminated(self, call: Call) -> None:
        assert call.end is not None
        self.seen.append(call.end.status)
        super().event_terminated(call)

    def event_registered(self) -> None:
        self.seen.append("registered")
        super().event_registered()

    def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> None:
        """Run the loop until something is the case."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.seen
            self.handle_event()


@pytest.fixture
def station() -> Iterator[Station]:
    """A classic phone that listens."""
    phone = Station()
    phone.listen(port=0, host="127.0.0.1")
    yield phone
    phone.quit()


@pytest.fixture
def caller() -> Iterator[Phone]:
    """A phone that calls it."""
    with Phone(listen=("127.0.0.1:0",)) as phone:
        yield phone


def address(station: Station) -> str:
    """What to call to reach it."""
    assert station._phone is not None
    return "sip:classic@" + station._phone.addresses[0].split(":", 1)[1]


class Attempt(threading.Thread):
    """Something blocking that goes on beside the loop."""

    def __init__(self, verb: Callable[[], Any]) -> None:
        super().__init__()
        self.verb = verb
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.verb()
        except Exception as error:
            self.result = error


def test_a_call_rings_by_default_and_is_taken_later_from_the_loop(station: Station, caller: Phone) -> None:
    call = caller.dial(address(station))
    station.until(lambda: call.state == "ringing")
    assert station.seen == ["invite"]
    station.until(lambda: not station.handle_event())
    station.answer()
    call.wait_answered(5)
    station.until(lambda: "answered" in station.seen)
    call.send_digits("7")
    station.until(lambda: "7" in station.seen)
    call.hangup()
    station.until(lambda: station.seen[-1] == 200)
    assert station.seen == ["invite", "answered", "7", 200]
    with pytest.raises(InvalidState, match="no call"):
        station.answer()


def test_200_answers_at_once_and_486_declines(station: Station, caller: Phone) -> None:
    station.invite = lambda call: 200
    attempt = Attempt(lambda: caller.call(address(station)))
    station.until(lambda: not attempt.is_alive() and "answered" in station.seen)
    assert isinstance(attempt.result, Call)
    station.terminate()
    station.until(lambda: 200 in station.seen)
    for status, error in ((486, Busy), (603, Declined)):
        station.invite = lambda call, status=status: status  # type: ignore[misc]
        attempt = Attempt(lambda: caller.call(address(station)))
        station.until(lambda attempt=attempt: not attempt.is_alive())  # type: ignore[misc]
        assert isinstance(attempt.result, error)


def test_a_caller_who_gives_up_is_told_as_terminated(station: Station, caller: Phone) -> None:
    attempt = Attempt(lambda: caller.call(address(station), ring_timeout=0.3))
    station.until(lambda: 487 in station.seen)
    assert station.seen == ["invite", 487]
    attempt.join(5)
    assert isinstance(attempt.result, NoAnswer)


def test_callbacks_may_call_the_library(station: Station, caller: Phone, tmp_path: Path) -> None:
    def invite(call: Call) -> int:
        station.ringback()
        station.answer()
        return 180  # it is answered already

    def pressed(digit: str) -> None:
        if digit == "1":
            station.stop_playing()
            station.play(Tone(1000, duration=0.3)).wait()
            station.send_dtmf("9")
        elif digit == "2":
            station.play_after_delay(100, Tone(440))
            station.terminate()

    station.invite = invite
    station.answered = lambda call: station.play(Tone(440))
    station.pressed = pressed

    def talk() -> str:
        with caller.call(address(station)) as call:
            recording = call.record(tmp_path / "heard.wav", side="in")
            time.sleep(0.5)
            call.send_digits("1")
            echoed = call.wait_digit(5)
            recording.stop().wait()
            with contextlib.suppress(CallEnded):  # it ends while the key is still down
                call.send_digits("2")
            assert call.wait_ended().by == "remote"
            return echoed

    attempt = Attempt(talk)
    station.until(lambda: not attempt.is_alive())
    assert attempt.result == "9"
    station.until(lambda: 200 in station.seen)
    assert station.seen == ["invite", "answered", "1", "2", 200]
    heard = hear(tmp_path / "heard.wav")
    assert heard.tone(440, 0.1, 0.4) > -20
    assert any(heard.tone(1000, at / 10, at / 10 + 0.1) > -20 for at in range(4, int(heard.seconds * 10)))


def test_a_callback_that_raises_ends_only_its_own_call(station: Station, caller: Phone, caplog: pytest.LogCaptureFixture) -> None:
    station.invite = lambda call: 200
    good = Attempt(lambda: caller.call(address(station)))
    station.until(lambda: not good.is_alive() and "answered" in station.seen)

    def fail(call: Call) -> None:
        station.play("missing.wav")

    station.answered = fail
    bad = Attempt(lambda: caller.call(address(station)).wait_ended())
    station.until(lambda: not bad.is_alive())
    assert bad.result.by == "remote"
    assert good.result.end is None
    assert [record for record in caplog.records if record.levelno == logging.ERROR and "missing.wav" in record.message]
    with pytest.raises(MediaError):
        station.play("missing.wav")


def test_a_slow_loop_body_does_not_make_audio_stutter(station: Station, caller: Phone, tmp_path: Path) -> None:
    station.invite = lambda call: 200
    station.answered = lambda call: station.play(Tone(440, duration=3.0))

    def listen() -> None:
        with caller.call(address(station)) as call:
            recording = call.record(tmp_path / "heard.wav", side="in")
            time.sleep(3.6)
            recording.stop().wait()

    attempt = Attempt(listen)
    while attempt.is_alive():
        station.handle_event()
        time.sleep(1.0)
    assert attempt.result is None
    heard = hear(tmp_path / "heard.wav")
    sounds = find_sounds(heard.left, heard.rate)
    assert find_gaps(heard.left, heard.rate) == [] and len(sounds) == 1
    assert sounds[0].duration == pytest.approx(3.0, abs=0.05)
    for at in range(10, 25):
        moment = sounds[0].start + at / 10
        assert heard.tone(440, moment, moment + 0.1) > -14.5


def test_register_unregister_and_an_account_in_another_spelling(station: Station, home: House, resident: Phone) -> None:
    results: queue.Queue[Any] = taken_by(resident, lambda call: (call.answer(), call.wait_ended(), call.remote)[2])
    uri, registrar, login, password = settings(home)
    station.register(uri, registrar, login, password)
    station.wait_registered()
    station.until(lambda: "registered" in station.seen)
    with pytest.raises(ConfigurationError, match="no account"):
        station.call("sip:nobody@127.0.0.1", "house")
    spelled = "SIP:%62ell@" + uri.split("@")[1]
    call = station.call(spelled, "house", "Door bell")
    station.until(lambda: "answered" in station.seen)
    station.terminate(call)
    assert str(results.get(timeout=5).uri) == home.aor("bell")
    station.unregister()
    assert within(2, lambda: home.told("unregistered", "bell") == 1)


def test_a_call_that_fails_is_told_as_terminated(station: Station) -> None:
    station.call(None, "sip:nobody@127.0.0.1:9", None)
    station.until(lambda: len(station.seen) == 1)
    assert station.seen[0] in (408, 503)


def test_misuse_is_told_clearly(station: Station) -> None:
    with pytest.raises(InvalidState, match="called already"):
        station.listen()
    other = Station()
    for verb in (other.wait_registered, other.unregister, lambda: other.call(None, "sip:a@127.0.0.1")):
        with pytest.raises(InvalidState, match="does not listen"):
            verb()
    with pytest.raises(ConfigurationError):
        other.listen(port=70000)
    with pytest.raises(ConfigurationError):
        other.listen(transport="carrier pigeon")
    assert station._phone is not None
    with pytest.raises(NetworkError):
        other.listen(port=int(station._phone.addresses[0].rsplit(":", 1)[1]), host="127.0.0.1")
    other.listen(port=0, host="127.0.0.1")
    assert other.running
    other.quit()
    assert not other.running
    other.quit()
    assert signal.getsignal(signal.SIGTERM) == station._signalled


def test_quit_in_a_callback_ends_the_queue(station: Station, caller: Phone) -> None:
    station.invite = lambda call: 200
    station.pressed = lambda digit: station.quit()
    call = Attempt(lambda: caller.call(address(station)))
    station.until(lambda: not call.is_alive() and "answered" in station.seen)
    call.result.send_digits("12")
    time.sleep(0.3)
    while station.running:
        station.handle_event()
    assert station.seen == ["invite", "answered", "1"]
    assert signal.getsignal(signal.SIGINT) == BEFORE
