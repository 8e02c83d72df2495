"""What the benchmarks share: processes of flexosip and SIPp on loopback, pinned to a core, and their figures in /proc."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCENARIOS = ROOT / "tests" / "interop" / "sipp" / "scenarios"
LOOPBACK = "127.0.0.1"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
TICKS = os.sysconf("SC_CLK_TCK")


def flexosip(*arguments: str) -> list[str]:
    """The command line of `flexosip ARGUMENTS` from this checkout."""
    return [sys.executable, "-m", "flexosip", *arguments]


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """`command` on one core; as it is where taskset is missing or there is one core alone."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def free_port(count: int = 1) -> int:
    """The first of `count` free loopback UDP ports, below those that media and the kernel take."""
    while True:
        base = random.randrange(10_000, 16_000)
        try:
            for port in range(base, base + count):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind((LOOPBACK, port))
            return base
        except OSError:
            continue


@contextlib.contextmanager
def running(command: Sequence[str], *, log: Path, stdin: int = subprocess.DEVNULL, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, what it prints in `log`; ended when the block is left."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=stdin, stdout=output, stderr=output, env={**ENVIRONMENT, **variables}, start_new_session=True
        )
    try:
        yield child
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
        if child.stdin is not None:
            child.stdin.close()


def wait_until(condition: Callable[[], object], child: subprocess.Popen[bytes], log: Path, what: str, timeout: float = 15.0) -> None:
    """Poll until `condition` holds; a RuntimeError with the tail of the log if it does not, or if the process ends."""
    deadline = time.monotonic() + timeout
    while not condition():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not reached\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """True if a UDP socket of this machine is bound to `port`."""
    lines = [line for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def status_field(pid: int, name: str) -> int:
    """A number of /proc/PID/status, for example VmRSS (KiB)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def wake_ups(pid: int) -> int:
    """Voluntary context switches of all threads so far: each is a sleep that ended or will end in a wake-up."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    total += int(line.split()[1])
    return total


@dataclass(frozen=True, slots=True)
class SippRun:
    """What SIPp counted."""

    exit_status: int
    succeeded: int
    failed: int
    retransmissions: int
    seconds: float
    """From the first to the last call."""


def sipp_command(scenario: str, target: str, *, calls: int, rate: float, stay: float = 0.0, limit: int | None = None) -> list[str]:
    """SIPp as a caller with one of the scenarios of the interop tests; `stay` is the time of its open pause, seconds."""
    port = free_port(6)
    command = ["sipp", target, "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", LOOPBACK, "-p", str(port), "-mi", LOOPBACK]
    command += ["-mp", str(port + 2), "-s", "bench", "-key", "user", "sipp", "-key", "domain", LOOPBACK, "-m", str(calls)]
    return [*command, "-r", f"{rate:g}", "-l", str(limit or calls), "-d", str(round(stay * 1000)), "-nostdin"]


def run_sipp(command: Sequence[str], folder: Path, *, core: int = 1, timeout: float = 120.0) -> SippRun:
    """Run SIPp to its end and read its statistics."""
    statistics = Path(tempfile.mkstemp(suffix=".csv", dir=folder)[1])
    full = pinned(core, [*command, "-trace_stat", "-stf", str(statistics), "-fd", "1"])
    with (folder / "sipp.log").open("wb") as log:
        status = subprocess.run(full, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=timeout, check=False).returncode
    with statistics.open() as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    if not rows:
        raise RuntimeError(f"SIPp wrote no statistics:\n{(folder / 'sipp.log').read_text(errors='replace')[-2000:]}")
    last = rows[-1]
    hours, minutes, seconds = last["ElapsedTime(C)"].split(":")[:3]
    return SippRun(
        exit_status=status,
        succeeded=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        seconds=int(hours) * 3600 + int(minutes) * 60 + float(seconds),
    )


def report(benchmark: str, **figures: Any) -> None:
    """Print a benchmark's figures: one JSON object on a line of standard output, the only one there."""
    print(json.dumps({"benchmark": benchmark, **figures}), flush=True)


def say(text: str) -> None:
    """Progress, for people, on standard error."""
    print(text, file=sys.stderr, flush=True)
