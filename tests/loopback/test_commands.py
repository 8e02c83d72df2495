"""The commands as users start them: processes, signals, pipes, real SIP and RTP on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0


class Process:
    """A running command whose events are read from its JSON lines."""

    def __init__(self, folder: Path, *words: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder),
        }
        environment.pop("FLEXOSIP_PASSWORD", None)
        self._errors = folder / f"errors-{time.monotonic_ns()}.txt"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flexosip", *words, "--json"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.events: list[dict[str, Any]] = []

    def wait_for(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name:
                return self.events[-1]
        raise AssertionError(f"no {name!r} in {[event['event'] for event in self.events]}; it said: {self._errors.read_text()}")

    def finish(self) -> int:
        """The exit code; what it still told is in `events`."""
        assert self.process.stdout is not None
        self.events += [json.loads(line) for line in self.process.stdout]
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in self._errors.read_text()
        return code

    def press_return(self) -> None:
        """On its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self, name: str) -> list[dict[str, Any]]:
        """Events of a name."""
        return [event for event in self.events if event["event"] == name]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts commands and ends those that still run."""
    with contextlib.ExitStack() as stack:

        def begin(*words: str) -> Process:
            running = Process(tmp_path, *words)

            def end() -> None:
                if running.process.poll() is None:
                    running.process.kill()
                running.process.wait(PATIENCE)
                for stream in (running.process.stdin, running.process.stdout):
                    if stream is not None:
                        with contextlib.suppress(BrokenPipeError):
                            stream.close()

            stack.callback(end)
            return running

        yield begin


@pytest.fixture
def exchange(start: Any, tmp_path: Path) -> str:
    """The address of a PBX with the users bell and house, whose passwords are in files of these names."""
    for user in ("bell", "house"):
        (tmp_path / user).write_text(f"secret-{user}\n")
    (tmp_path / "users").write_text("bell:secret-bell\nhouse:secret-house\n")
    pbx = start("pbx", "--listen", "127.0.0.1:0", "--users-file", "users")
    address: str = pbx.wait_for("listening")["address"]
    return address


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_register_once_and_with_a_wrong_password(start: Any, exchange: str, tmp_path: Path, transport: str) -> None:
    words = ("register", "--once", "--account", f"sip:bell@{exchange}", "--transport", transport, "--password-file")
    good = start(*words, "bell")
    assert good.finish() == 0
    assert [event["event"] for event in good.events if event["event"] != "listening"] == ["registered", "unregistered"]
    bad = start(*words, "house")
    assert bad.finish() == 5
    assert "secret-house" not in json.dumps(bad.events)


def test_call_and_answer_through_the_pbx(start: Any, exchange: str, tmp_path: Path) -> None:
    answer = start(
        "answer",
        "--account",
        f"sip:house@{exchange}",
        "--password-file",
        "house",
        "--listen",
        "127.0.0.1:0",
        "--tone",
        "440",
        "--calls",
        "1",
    )
    answer.wait_for("registered")
    call = start(
        "call", "house", "--account", f"sip:bell@{exchange}", "--password-file", "bell", "--tone", "1000", "--digits", "12#",
        "--record", "call.wav", "--duration", "2",
    )  # fmt: skip
    assert call.finish() == 0
    assert answer.finish() == 0
    assert [event["digit"] for event in answer.told("digit")] == ["1", "2", "#"]
    assert call.told("ended")[0]["duration"] == pytest.approx(2.0, abs=0.1)
    assert (tmp_path / "call.wav").stat().st_size > 2 * 8000 * 4 * 0.8


def test_the_bell_from_first_call_to_alert_and_its_leaving_within_two_seconds(start: Any, exchange: str, tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text(
        f'[account]\naor = "sip:bell@{exchange}"\npassword_file = "bell"\n[[destination]]\ntarget = "**9"\nduration = 30\n'
        '[[trigger]]\nkind = "stdin"\n'
    )
    bell = start("bell")
    bell.wait_for("registered")
    account = ("--account", f"sip:house@{exchange}", "--password-file", "house")
    assert start("call", "bell", *account, "--duration", "1").finish() == 0
    assert bell.wait_for("mode")["mode"] == "once"
    bell.wait_for("ended")
    house = start("answer", *account, "--listen", "127.0.0.1:0", "--calls", "1")
    house.wait_for("registered")
    bell.press_return()
    assert bell.wait_for("triggered")["source"] == "stdin"
    assert bell.wait_for("mode")["mode"] == "off"
    assert bell.wait_for("rang")["outcome"] == "answered"
    assert house.finish() == 0
    # the end of standard input is not the end of the bell
    bell.process.stdin.close()
    assert start("call", "bell", *account, "--duration", "0.5").finish() == 0
    bell.wait_for("ended")
    began = time.monotonic()
    bell.process.send_signal(signal.SIGTERM)
    assert bell.finish() == 130
    assert time.monotonic() - began < 2.0
    assert bell.told("unregistered")


class RawPhone:
    """A socket that answers by hand."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)
        self.target = f"sip:raw@127.0.0.1:{self.socket.getsockname()[1]}"

    def receive(self, method: str) -> tuple[str, tuple[str, int]]:
        """The next request of that method."""
        while True:
            data, source = self.socket.recvfrom(65_535)
            if data.startswith(method.encode() + b" "):
                return data.decode(), source

    def respond(self, request: str, source: tuple[str, int], status: str) -> None:
        """Answer a request."""
        kept = [line for line in request.split("\r\n") if line.split(":")[0] in ("Via", "From", "Call-ID", "CSeq")]
        to = next(line for line in request.split("\r\n") if line.startswith("To:"))
        lines = [f"SIP/2.0 {status}", *kept, to if "tag=" in to else f"{to};tag=raw", "Content-Length: 0", "", ""]
        self.socket.sendto("\r\n".join(lines).encode(), source)


@pytest.fixture
def raw() -> Iterator[RawPhone]:
    """A raw phone."""
    phone = RawPhone()
    yield phone
    phone.socket.close()


def test_an_interrupted_ring_sends_cancel(start: Any, raw: RawPhone) -> None:
    ring = start("ring", raw.target, "--duration", "0")
    invite, source = raw.receive("INVITE")
    raw.respond(invite, source, "180 Ringing")
    ring.wait_for("ringing")
    ring.process.send_signal(signal.SIGINT)
    cancel, _ = raw.receive("CANCEL")
    raw.respond(cancel, source, "200 OK")
    raw.respond(invite, source, "487 Request Terminated")
    raw.receive("ACK")
    assert ring.finish() == 130


def test_a_ring_that_nobody_replies_to_leaves_within_two_seconds_and_a_bit(start: Any, raw: RawPhone) -> None:
    ring = start("ring", raw.target, "--duration", "0")
    raw.receive("INVITE")
    began = time.monotonic()
    ring.process.send_signal(signal.SIGINT)
    assert ring.finish() == 130
    assert time.monotonic() - began < 2.8


def test_a_taken_port_is_told(start: Any, exchange: str) -> None:
    assert start("answer", "--listen", exchange).finish() == 6
