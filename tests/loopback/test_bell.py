"""`flexosip bell` as a device: a process with the original's cowbell.ini, a pipe for its button, a PBX, and a house phone that listens."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip.audio.levels import find_sounds
from flexosip.errors import CallEnded, Unavailable
from flexosip.sync import Call, Phone
from tests.hearing import Heard, hear
from tests.house import ROOT, House, Program, taken_by, within

PROMPTS = ROOT / "src" / "flexosip" / "apps" / "bell" / "prompts" / "en"
SAMPLE = (Path(__file__).parent / "cowbell.ini").read_text(encoding="utf-8")
SAME = 0.95


@pytest.fixture
def home() -> Iterator[House]:
    """A PBX that knows the bell of the sample and a house phone."""
    running = House({"cow-bell": "SECRET", "house": "secret-house"})
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def resident(home: House) -> Iterator[Phone]:
    """The house phone, registered."""
    with home.phone("house") as phone:
        yield phone


class Device:
    """The bell as a process; `event` reads what it tells."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def event(self, name: str, seconds: float = 15.0) -> dict[str, Any]:
        """The next event of that name."""
        told: dict[str, Any] = json.loads(self.program.wait_for(f'{{"event": "{name}"', seconds))
        return told

    def told(self, name: str) -> list[dict[str, Any]]:
        """Those read so far."""
        return [event for event in map(json.loads, self.program.lines) if event["event"] == name]

    def press(self) -> None:
        """Return on its standard input."""
        self.program.write("\n")

    def leave(self) -> None:
        """SIGTERM; it is gone within two seconds, registered no longer."""
        began = time.monotonic()
        self.program.process.send_signal(signal.SIGTERM)
        assert self.program.finish(5) == 130
        assert time.monotonic() - began < 2.0
        assert self.told("unregistered")
        assert "Traceback" not in self.program.errors


Start = Callable[..., Device]


@pytest.fixture
def start(home: House, tmp_path: Path) -> Iterator[Start]:
    """Starts the bell in a folder with the sample, in which nothing but the host is replaced; or with the bell.toml given."""
    with contextlib.ExitStack() as stack:

        def begin(toml: str | None = None, **environment: str) -> Device:
            if toml is None:
                (tmp_path / "cowbell.ini").write_text(SAMPLE.replace("fritz.box", home.host_port), encoding="utf-8")
            else:
                (tmp_path / "bell.toml").write_text(toml, encoding="utf-8")
            places = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
            program = Program("-m", "flexosip", "bell", "--json", folder=tmp_path, environment={**places, **environment})
            device = Device(stack.enter_context(program))
            device.event("registered")
            return device

        yield begin


def settings(home: House, more: str = "") -> str:
    """A bell.toml."""
    return (
        f'[account]\naor = "{home.aor("cow-bell")}"\npassword = "SECRET"\n[[destination]]\ntarget = "**9"\nduration = 10\n'
        f'[[trigger]]\nkind = "stdin"\n{more}'
    )


def prompt(name: str) -> Heard:
    """What the bell says."""
    return hear(PROMPTS / f"{name}.wav")


def places(heard: Heard, *names: str) -> list[float]:
    """Where these prompts are heard, each after the one before."""
    found: list[float] = []
    after = 0.0
    for name in names:
        place = heard.find(prompt(name), after)
        assert place.likeness > SAME, (name, place)
        found.append(place.start)
        after = place.start + prompt(name).seconds
    return found


def switch_on(device: Device, resident: Phone, keys: str = "") -> None:
    """Call the bell and press keys."""
    with resident.call("cow-bell", ring_timeout=5) as call:
        device.event("answered")
        if keys:
            call.send_digits(keys)
            device.event("digit")
    device.event("ended")


# -- the call in ------------------------------------------------------------------------------------------------------------


def test_a_caller_hears_and_sets_the_mode(start: Start, resident: Phone, tmp_path: Path) -> None:
    device = start()
    with resident.call("cow-bell", ring_timeout=5) as call:
        recording = call.record(tmp_path / "first.wav", side="in")
        assert device.event("mode")["mode"] == "once"
        time.sleep(0.5 + prompt("welcome").seconds + 0.2 + prompt("on").seconds + 0.3)
        for key, mode in (("5", "5min"), ("0", "off"), ("9", "forever"), ("1", "once")):
            call.send_digits(key)
            assert device.event("mode") | {"mode": mode, "by": "digit"} == json.loads(device.program.lines[-1])
            time.sleep(0.3 + prompt(mode).seconds + 0.3)
        recording.stop().wait()
    heard = hear(tmp_path / "first.wav")
    welcome, on, *_ = places(heard, "welcome", "on", "5min", "off", "forever", "once")
    assert welcome == pytest.approx(0.5, abs=0.1)
    assert on - welcome - prompt("welcome").seconds == pytest.approx(0.2, abs=0.01)
    device.event("ended")
    # The next call hears the present mode, and neither changes it nor hears that the bell has been switched on.
    with resident.call("cow-bell", ring_timeout=5) as call:
        recording = call.record(tmp_path / "second.wav", side="in")
        time.sleep(0.5 + prompt("welcome").seconds + 0.2 + prompt("once").seconds + 0.3)
        recording.stop().wait()
    heard = hear(tmp_path / "second.wav")
    places(heard, "welcome", "once")
    assert heard.find(prompt("on")).likeness < 0.7
    device.event("ended")
    assert [event["mode"] for event in device.told("mode")] == ["once", "5min", "off", "forever", "once"]
    device.leave()


def test_a_key_ends_what_is_said_and_keys_without_meaning_say_nothing(start: Start, resident: Phone, tmp_path: Path) -> None:
    device = start()
    with resident.call("cow-bell", ring_timeout=5) as call:
        recording = call.record(tmp_path / "heard.wav", side="in")
        time.sleep(1.2)
        call.send_digits("3")  # in the middle of the welcome
        time.sleep(1.0)
        call.send_digits("9")
        time.sleep(0.3 + prompt("forever").seconds + 0.3)
        recording.stop().wait()
    heard = hear(tmp_path / "heard.wav")
    sounds = find_sounds(heard.left, heard.rate)
    (forever,) = places(heard, "forever")
    assert heard.find(prompt("welcome")).likeness < SAME and heard.find(prompt("on")).likeness < 0.7
    assert max(sound.end for sound in sounds if sound.end < forever) < 1.4
    device.event("ended")
    assert [event["mode"] for event in device.told("mode")] == ["once", "forever"]


# -- the alert ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("react", ["answer", "decline"])
def test_once_rings_all_phones_once(start: Start, resident: Phone, react: str) -> None:
    device = start()
    switch_on(device, resident)

    def take(call: Call) -> tuple[str, str | None, str]:
        assert call.remote is not None and call.headers is not None
        about = (call.remote.display_name, call.headers.get("Subject"))
        if react == "decline":
            call.reject(603)
        else:
            call.answer()
        return (*about, call.wait_ended().by)

    results = taken_by(resident, take)
    device.press()
    assert device.event("triggered")["source"] == "stdin"
    assert device.event("mode") | {"mode": "off", "by": "trigger"} == device.told("mode")[-1]
    assert results.get(timeout=5) == ("Door bell", "Door bell", "remote" if react == "answer" else "local")
    assert device.event("rang")["outcome"] == ("answered" if react == "answer" else "declined")
    device.press()  # it is off again: nobody is rung
    assert device.event("pending")["source"] == "stdin"
    time.sleep(0.3)
    assert results.empty()


@pytest.mark.slow
def test_nobody_takes_it_for_ten_seconds(start: Start, resident: Phone) -> None:
    device = start()
    switch_on(device, resident)

    def wait(call: Call) -> tuple[int, float]:
        began = time.monotonic()
        call.ring()
        return call.wait_ended().status, time.monotonic() - began

    results = taken_by(resident, wait)
    device.press()
    status, seconds = results.get(timeout=15)
    assert status == 487 and seconds == pytest.approx(10.0, abs=0.2)
    assert device.event("rang")["outcome"] == "rang_out"


def test_a_trigger_before_the_bell_is_switched_on_is_swallowed(start: Start, resident: Phone) -> None:
    device = start()
    results = taken_by(resident, lambda call: call.reject(603))
    device.press()
    device.event("pending")
    with resident.call("cow-bell", ring_timeout=5):
        assert device.event("swallowed")["reason"] == "once"
    device.event("ended")
    time.sleep(0.5)
    assert results.empty()
    # with 5 and 9 it rings at once, as it did in the original
    switch_on(device, resident, "0")
    device.press()
    device.event("pending")
    with resident.call("cow-bell", ring_timeout=5) as call:
        device.event("swallowed")
        call.send_digits("0")
        assert device.event("mode")["mode"] == "off"
        device.press()
        device.event("pending")
        call.send_digits("9")
        assert device.event("triggered")["source"] == "stdin"
    assert results.get(timeout=5) is None


def test_forever_rings_again_but_not_while_it_rings(start: Start, resident: Phone) -> None:
    device = start()
    switch_on(device, resident, "9")

    def wait(call: Call) -> None:
        call.ring()
        time.sleep(0.6)
        call.reject(486)

    results = taken_by(resident, wait)
    for _ in range(2):
        device.press()
        device.event("triggered")
        time.sleep(0.2)
        device.press()
        assert device.event("swallowed")["reason"] == "ringing"
        assert device.event("rang")["outcome"] == "declined"
        assert results.get(timeout=5) is None
    assert device.told("mode")[-1]["mode"] == "forever"


def test_a_pin_that_is_not_there_is_one_warning(start: Start, resident: Phone) -> None:
    device = start(GPIOZERO_PIN_FACTORY="there-is-none")
    warnings = [line for line in device.program.errors.splitlines() if "gpio17" in line]
    assert len(warnings) == 1
    switch_on(device, resident)
    device.press()
    device.event("triggered")


def test_with_the_pin_there_is_no_warning(start: Start) -> None:
    pytest.importorskip("gpiozero")
    device = start(GPIOZERO_PIN_FACTORY="mock")
    assert "gpio17" not in device.program.errors
    device.leave()


# -- its end ------------------------------------------------------------------------------------------------------------------


def test_the_mode_survives_a_restart(start: Start, home: House, resident: Phone) -> None:
    device = start()
    switch_on(device, resident, "9")
    device.leave()
    assert within(2, lambda: home.told("unregistered", "cow-bell") == 1)
    results = taken_by(resident, lambda call: call.reject(603))
    device = start()
    assert [(event["mode"], event["by"]) for event in device.told("mode")] == [("forever", "restart")]
    device.press()
    device.event("triggered")
    assert results.get(timeout=5) is None
    device.event("rang")
    switch_on(device, resident, "0")
    device.leave()
    device = start()
    device.press()
    device.event("pending")
    device.leave()


def test_sigterm_hangs_up_in_a_call(start: Start, resident: Phone) -> None:
    device = start()
    with resident.call("cow-bell", ring_timeout=5) as call:
        device.event("answered")
        device.leave()
        assert call.wait_ended().by == "remote"


def test_sigterm_gives_up_ringing(start: Start, resident: Phone) -> None:
    device = start()
    switch_on(device, resident)

    def wait(call: Call) -> int:
        call.ring()
        return call.wait_ended().status

    results = taken_by(resident, wait)
    device.press()
    device.event("calling")
    time.sleep(0.3)
    device.leave()
    assert results.get(timeout=5) == 487


def test_the_end_of_standard_input_does_not_end_the_bell(start: Start, resident: Phone) -> None:
    device = start()
    assert device.program.process.stdin is not None
    device.program.process.stdin.close()
    switch_on(device, resident, "5")
    assert device.told("mode")[-1]["mode"] == "5min"
    device.leave()


# -- who may control it -------------------------------------------------------------------------------------------------------


def test_before_the_pin_nothing_is_said_or_changed(start: Start, home: House, resident: Phone, tmp_path: Path) -> None:
    device = start(settings(home, '[access]\npin = "2468"\n'))
    with resident.call("cow-bell", ring_timeout=5) as call:
        recording = call.record(tmp_path / "heard.wav", side="in")
        call.send_digits("9w1111#")  # a key that would change the mode, and a wrong PIN
        time.sleep(0.7)
        silent_until = 2.5
        assert device.told("mode") == []
        time.sleep(0.3)
        call.send_digits("2468#")
        assert device.event("mode") | {"mode": "once", "by": "call"} == device.told("mode")[-1]
        time.sleep(0.5 + prompt("welcome").seconds + 0.2 + prompt("on").seconds + 0.3)
        call.send_digits("9")
        assert device.event("mode")["mode"] == "forever"
        recording.stop().wait()
    heard = hear(tmp_path / "heard.wav")
    assert heard.level(0.0, silent_until) < -60
    places(heard, "welcome", "on")
    device.event("ended")
    # the keys of the PIN are nobody's business
    assert [event["digit"] for event in device.told("digit")] == ["9"]
    assert "2468" not in "".join(device.program.lines) + device.program.errors


def test_three_wrong_pins_hang_up_and_lock(start: Start, home: House, resident: Phone) -> None:
    device = start(settings(home, '[access]\npin = "2468"\n'))
    with resident.call("cow-bell", ring_timeout=5) as call:
        with contextlib.suppress(CallEnded):
            call.send_digits("1#2#3#")
        assert call.wait_ended().by == "remote"
    assert device.event("locked")["seconds"] == 60
    with pytest.raises(Unavailable):
        resident.call("cow-bell", ring_timeout=5)
    assert device.event("refused")["reason"] == "locked"
    # the lock survives a restart: pulling the plug does not help
    device.leave()
    device = start(settings(home, '[access]\npin = "2468"\n'))
    with pytest.raises(Unavailable):
        resident.call("cow-bell", ring_timeout=5)
    assert device.told("mode") == []
