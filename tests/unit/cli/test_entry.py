"""From words to a command: help, mistakes, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flexosip import errors
from flexosip.cli import main
from flexosip.cli.entry import COMMANDS
from flexosip.cli.exit_codes import exit_code
from flexosip.phone.events import CallEnd


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert f"  {name} " in out
    assert "3 no answer" in out
    assert run(capsys)[0] == 2


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_tells_its_flags(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"usage: flexosip {name}" in out
    assert "--json" in out
    assert "--verbose" in out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from flexosip import __version__

    assert run(capsys, "--version") == (0, f"flexosip {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cal",), "There is no command 'cal'. The nearest command is 'call'"),
        (("--bogus",), "There is no flag '--bogus'"),
        (("call",), "The following arguments are required: TARGET."),
        (("call", "a", "b"), "Unrecognized arguments: b."),
        (("call", "a@b", "--tone", "5000"), "'5000' is not a frequency in Hz from 20 to 3900"),
        (("call", "a@b", "--tone", "nan"), "'nan' is not a frequency"),
        (("call", "a@b", "--duration", "0"), "'0' is not a number of seconds above 0"),
        (("call", "a@b", "--digits", "12x"), "'12x' is not a row of keys: 'x' is none. Allowed are 0-9 * # A-D"),
        (("call", "a@b", "--digits", ""), "there are no keys in it"),
        (("call", "a@b", "--transport", "sctp"), "invalid choice: 'sctp'"),
        (("answer", "--calls", "0"), "'0' is not a whole number above 0"),
        (("answer", "--calls", "²"), "'²' is not a whole number"),
        (("ring", "a@b", "--duration", "-1"), "'-1' is not a number of seconds, 0 or more"),
        (("register",), "Which account?"),
        (("pbx",), "A PBX needs users"),
        (("pbx", "--user", "anna"), "--user: write it as NAME:PASSWORD."),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    code, out, err = run(capsys, *words, "--json")
    assert code == 2
    (line,) = out.splitlines()
    assert json.loads(line)["event"] == "error"
    assert sentence in json.loads(line)["message"]


def test_a_missing_sound_file_is_told_before_anybody_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "call", "a@127.0.0.1:9", "--play", "nope.wav")
    assert (code, out) == (7, "")
    assert "nope.wav cannot be opened: No such file" in err


def test_a_prompt_that_is_no_sound_is_told_before_the_bell_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    (tmp_path / "bell.toml").write_text(
        '[[destination]]\ntarget = "a@127.0.0.1:9"\n[[trigger]]\nkind = "stdin"\n[prompts]\nwelcome = "mine.wav"\n'
    )
    code, out, err = run(capsys, "bell", "--config", str(tmp_path / "bell.toml"))
    assert (code, out) == (7, "")
    assert "mine.wav is no WAV file that can be played" in err


def test_an_impossible_recording_is_told_before_anybody_is_called(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in ("/no/such/folder/x.wav", str(tmp_path)):
        code, _, err = run(capsys, "call", "a@127.0.0.1:9", "--record", path)
        assert code == 7
        assert "cannot be written" in err


def test_flags_for_all_may_stand_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--json", "-v", "register")
    assert code == 2
    assert json.loads(out)["event"] == "error"


def test_a_crash_of_ours_is_exit_code_1_and_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("flexosip.cli.ring.run", crash)
    code, out, err = run(capsys, "ring", "a@b", "--json")
    assert code == 1
    assert json.loads(out)["message"] == "This is a bug of flexosip, not of yours: ZeroDivisionError: oops"
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.MissingExtra("audio", "x"), 2),
        (errors.NoAnswer("x"), 3),
        (errors.Busy("x", status=486), 4),
        (errors.Declined("x", status=603), 4),
        (errors.AuthenticationError("x"), 5),
        (errors.NetworkError("x"), 6),
        (errors.ServerUnreachable("x"), 6),
        (errors.CertificateError("x"), 6),
        (errors.RegistrationFailed("x", status=503), 6),
        (errors.RegistrationFailed("x", status=408), 6),
        (errors.MediaError("x"), 7),
        (errors.CodecError("x"), 7),
        (errors.CallFailed("x", status=488), 7),
        (errors.NotFound("x", status=404), 8),
        (errors.CallFailed("x", status=420), 8),
        (errors.RegistrationFailed("x", status=423), 8),
        (errors.RemoteProtocolError("x"), 8),
        (errors.Unavailable("x", status=480), 3),
        (errors.Unavailable("x", status=503), 6),
        (errors.InvalidState("x"), 1),
        (errors.LocalProtocolError("x"), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_no_reply_at_all_is_a_network_error_and_a_call_that_rang_was_not_answered() -> None:
    assert exit_code(errors.Unavailable("x", status=408), end=CallEnd("timeout", 408, "")) == 6
    assert exit_code(errors.Unavailable("x", status=408), end=CallEnd("remote", 408, "")) == 3
    assert exit_code(errors.CallFailed("x", status=487), end=CallEnd("remote", 487, ""), rang=True) == 3
    assert exit_code(errors.CallFailed("x", status=487), end=CallEnd("remote", 487, "")) == 8


def test_the_command_starts_without_the_phone() -> None:
    """--help of a command must not pay for sockets, codecs and asyncio."""
    code = (
        "import sys\nfrom flexosip.cli import main\nmain(['call', '--help'])\n"
        "print([name for name in ('asyncio', 'flexosip.phone', 'flexosip.sip') if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True)
    assert "'flexosip.phone'" not in result.stderr
    assert "'flexosip.sip'" not in result.stderr


def test_python_m_flexosip_runs_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    result = subprocess.run(
        [sys.executable, "-m", "flexosip", "cal"], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert result.returncode == 2
    assert "The nearest command is 'call'" in result.stderr
