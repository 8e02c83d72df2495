"""Pacing beside a busy event loop: Python code occupies it in blocks of 30 ms, 60 % of the time, while 100 calls talk both ways.

Once with the interpreter's switch interval of 5 ms, once with the 0.5 ms that `MediaEngine.set_switch_interval` gives (it is
process-wide, so a program has to ask for it). `off_share` is the share of packets more than 5 ms off the receiver's best-fit grid.

    python bench/busy_loop.py [--calls 100] [--seconds 8]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import ENVIRONMENT, report

KEPT = ("calls", "off_share", "off_p99_ms", "audio_integrity", "cpu_us_per_call_frame", "generator_late_share", "void")


def measure(calls: int, seconds: float, *extra: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("media_calls.py"))
    command = [sys.executable, script, "--busy", "--calls", str(calls), "--seconds", str(seconds)]
    done = subprocess.run([*command, *extra], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.strip().splitlines()[-1])["runs"][0]
    return {name: figures[name] for name in KEPT if name in figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    usual = measure(arguments.calls, arguments.seconds)
    short = measure(arguments.calls, arguments.seconds, "--switch-interval", "0.0005")
    report("busy_loop", switch_interval_5_ms=usual, switch_interval_half_ms=short)
    return 0


if __name__ == "__main__":
    sys.exit(main())
