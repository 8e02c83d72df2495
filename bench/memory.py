"""Memory per call: the slope of the resident size of `flexosip answer` between two numbers of standing calls.

The calls are made by SIPp and send nothing; the callee sends each of them a tone, so that its media are at work.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from processes import LOOPBACK, flexosip, free_port, listens, pinned, report, running, say, sipp_command, status_field, wait_until


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--many", type=int, default=250)
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        report("memory", skipped="SIPp is not installed (apt-get install sip-tester)")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port(2)
        target, log = f"{LOOPBACK}:{port}", folder / "callee.log"
        with running(pinned(0, flexosip("answer", "--listen", target, "--max-rate", "0", "--tone", "440", "--json")), log=log) as callee:
            wait_until(lambda: listens(port), callee, log, "flexosip answer listens")
            idle = status_field(callee.pid, "VmRSS")

            def resident(calls: int) -> int:
                wait_until(lambda: log.read_bytes().count(b'"answered"') >= calls, callee, log, f"{calls} calls stand", 60)
                time.sleep(3)
                return status_field(callee.pid, "VmRSS")

            first = sipp_command("uac_stay", target, calls=arguments.few, rate=50, stay=90)
            second = sipp_command("uac_stay", target, calls=arguments.many - arguments.few, rate=50, stay=90)
            with running(pinned(1, first), log=folder / "first.log"):
                few = resident(arguments.few)
                with running(pinned(1, second), log=folder / "second.log"):
                    many = resident(arguments.many)
    per_call = (many - few) / (arguments.many - arguments.few)
    say(f"  {idle / 1024:.1f} MB idle, {few / 1024:.1f} MB with {arguments.few} calls, {many / 1024:.1f} MB with {arguments.many}")
    say(f"  {per_call:.1f} KiB a call")
    report(
        "memory", kib_per_call=round(per_call, 1), idle_mb=round(idle / 1024, 1), calls=[arguments.few, arguments.many], rss_kib=[few, many]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
