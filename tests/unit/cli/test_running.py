"""Signals, logging."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flexosip.cli.running import run_until_signal, set_up_logging

PROGRAM = """
import asyncio, sys
from flexosip.cli.running import run_until_signal
async def command():
    try:
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()
    finally:
        {cleanup}
        print("closed", flush=True)
sys.exit(run_until_signal(command))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_command_clean_up_and_gives_130(number: signal.Signals) -> None:
    assert _interrupted("await asyncio.sleep(0.1)", [number]) == (130, "closed\n")


def test_a_second_signal_ends_at_once() -> None:
    assert _interrupted('print("cleaning", flush=True); await asyncio.sleep(60)', [signal.SIGINT, signal.SIGINT]) == (130, "")


def _interrupted(cleanup: str, numbers: list[signal.Signals]) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(cleanup=cleanup)], stdout=subprocess.PIPE, text=True, env=environment)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(numbers[0])
        if len(numbers) > 1:
            assert process.stdout.readline() == "cleaning\n"
            process.send_signal(numbers[1])
        rest = process.stdout.read()
        return process.wait(10), rest


def test_the_command_s_code_and_errors_come_through() -> None:
    async def done() -> int:
        return 4

    async def fail() -> int:
        raise ZeroDivisionError

    assert run_until_signal(done) == 4
    with pytest.raises(ZeroDivisionError):
        run_until_signal(fail)


def test_v_logs_what_happens_and_vv_everything(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, shown in ((0, ["w"]), (1, ["w", "i"]), (2, ["w", "i", "d"])):
        set_up_logging(verbose)
        logger = logging.getLogger("flexosip.something")
        logger.warning("<w>")
        logger.info("<i>")
        logger.debug("<d>")
        err = capsys.readouterr().err
        assert [letter for letter in "wid" if f"<{letter}>" in err] == shown
        assert err.count("\n") == len(shown)
