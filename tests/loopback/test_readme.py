"""The programs in README.md and in the docstrings that users see first run as they stand; only host and password are those of the test."""

from __future__ import annotations

import asyncio
import contextlib
import re
import textwrap
import time
import wave
from pathlib import Path
from typing import Any

import pytest

import flexosip
import flexosip.sync
from flexosip import Phone, Tone
from flexosip.audio.tones import tone_pcm
from flexosip.errors import CallEnded
from flexosip.sync import Call
from tests.hearing import hear
from tests.house import ROOT, House, Program, house, taken_by

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def example_of(module: Any) -> str:
    """The indented program of a module's docstring."""
    lines = [line for line in str(module.__doc__).splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


def localised(code: str, home: House) -> str:
    """The same program at home."""
    assert code.count("fritz.box") == code.count("SECRET") == 1
    return code.replace("fritz.box", home.host_port).replace("SECRET", "secret-bell")


def tone_file(path: Path, hz: float, seconds: float) -> None:
    """A WAV file with a tone."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
        file.writeframes(tone_pcm(Tone(hz, duration=seconds), 44100))


def test_the_readme_has_the_programs_that_are_run_here() -> None:
    assert len(BLOCKS) == 2


def native(code: str) -> str:
    """What stands within a coroutine as a whole program."""
    if "asyncio.run" in code:
        return code
    begin, block = code.split("\nasync with", 1)
    return f"import asyncio\n{begin}\nasync def main():\n" + textwrap.indent("async with" + block, "    ") + "\nasyncio.run(main())\n"


@pytest.mark.parametrize(
    ("code", "digits"),
    [(BLOCKS[0], True), (native(example_of(flexosip)), False), (example_of(flexosip.sync), False)],
    ids=["README", "flexosip", "flexosip.sync"],
)
def test_the_phone_in_five_lines(code: str, digits: bool, tmp_path: Path) -> None:
    tone_file(tmp_path / "hello.wav", 440, 0.5)
    tone_file(tmp_path / "menu.wav", 1000, 3.0)

    def listen(call: Call) -> str:
        call.answer()
        recording = call.record(tmp_path / "heard.wav", side="in")
        if digits:
            time.sleep(1.2)
            with contextlib.suppress(CallEnded):  # it hangs up while the key is still down
                call.send_digits("7")
        end = call.wait_ended()
        recording.wait()
        return end.by

    with house("bell", "house") as home, home.phone("house") as resident:
        results = taken_by(resident, listen)
        (tmp_path / "program.py").write_text(localised(code, home))
        with Program("-W", "error", "program.py", folder=tmp_path) as program:
            assert program.finish() == 0, program.errors
            assert program.lines == (["pressed: 7"] if digits else [])
            assert program.errors == ""
        assert results.get(timeout=5) == "remote"
    heard = hear(tmp_path / "heard.wav")
    assert heard.tone(440, 0.1, 0.4) > -15
    if digits:
        assert heard.tone(1000, 0.7, 1.0) > -15


async def test_the_handler_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone_file(tmp_path / "welcome.wav", 440, 0.4)
    tone_file(tmp_path / "press-one.wav", 1000, 3.0)
    monkeypatch.chdir(tmp_path)
    async with Phone(listen=("127.0.0.1:0",)) as phone, Phone(listen=("127.0.0.1:0",)) as other:
        assert "max_seconds=60" in BLOCKS[1]
        exec(compile(BLOCKS[1].replace("max_seconds=60", "max_seconds=1"), "README.md", "exec"), {"phone": phone})
        async with other.call("sip:readme@" + phone.addresses[0].split(":", 1)[1]) as call:
            await asyncio.sleep(0.6)
            await call.send_digits("1")
            await call.play(Tone(700, duration=2))
            raise AssertionError("the handler is over after one second of recording")
        assert call.end is not None and call.end.by == "remote"
    heard = hear(tmp_path / "message.wav")
    assert heard.seconds == pytest.approx(1.0, abs=0.05)
    assert heard.tone(700, 0.3, 0.9) > -15
