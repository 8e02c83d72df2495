"""The bell at rest: memory and wake-ups a second of a registered `flexosip bell` that waits for a trigger.

It is registered at a `flexosip pbx` of its own. A wake-up is a voluntary context switch of any of its threads, counted over ten seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import LOOPBACK, cpu_seconds, flexosip, free_port, listens, report, running, say, status_field, wait_until, wake_ups

CONFIGURATION = """
[account]
aor = "sip:bell@{address}"
password = "secret"
[[destination]]
target = "**9"
duration = 10
[[trigger]]
kind = "stdin"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port(2)
        configuration, pbx_log, bell_log = folder / "bell.toml", folder / "pbx.log", folder / "bell.log"
        configuration.write_text(CONFIGURATION.format(address=f"{LOOPBACK}:{port}"))
        pbx_command = flexosip("pbx", "--listen", f"{LOOPBACK}:{port}", "--user", "bell:secret")
        bell_command = flexosip("bell", "--json", "--config", str(configuration))
        with running(pbx_command, log=pbx_log) as pbx:
            wait_until(lambda: listens(port), pbx, pbx_log, "the PBX listens")
            with running(bell_command, log=bell_log, stdin=subprocess.PIPE, XDG_STATE_HOME=name, HOME=name) as bell:
                wait_until(lambda: b'"registered"' in bell_log.read_bytes(), bell, bell_log, "the bell is registered")
                time.sleep(3)
                switches, cpu = wake_ups(bell.pid), cpu_seconds(bell.pid)
                time.sleep(seconds)
                switches, cpu = wake_ups(bell.pid) - switches, cpu_seconds(bell.pid) - cpu
                resident = status_field(bell.pid, "VmRSS") / 1024
                threads = status_field(bell.pid, "Threads")
    say(f"  {resident:.1f} MB, {switches / seconds:.1f} wake-ups a second, {threads} threads")
    report(
        "idle",
        rss_mb=round(resident, 1),
        wake_ups_per_second=round(switches / seconds, 2),
        cpu_percent=round(cpu / seconds * 100, 2),
        threads=threads,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
