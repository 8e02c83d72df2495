"""Run all benchmarks, or those named, one after the other, and merge their figures into one JSON object.

    python bench/run.py [NAME ...] [--out bench/results/NAME.json]

A benchmark is a script in this folder that prints one JSON object with the key "benchmark" as the last line of standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from processes import ENVIRONMENT

FOLDER = Path(__file__).parent
NOT_A_BENCHMARK = {"run", "processes"}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "cpu": model,
        "load": os.getloadavg()[0],
    }


def is_benchmark(path: Path) -> bool:
    return path.stem not in NOT_A_BENCHMARK and "__main__" in path.read_text()


def run(path: Path) -> dict[str, Any]:
    """The figures of one benchmark, or the error that kept it from having any."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(path)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    figures: dict[str, Any] = {"benchmark": path.stem}
    try:
        figures |= json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:
        figures["error"] = f"no JSON in the last line: {lines[-1][:200]}"
    if done.returncode:
        figures["error"] = f"exit status {done.returncode}"
    return {**figures, "took_seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--out", type=Path, help="write the JSON there, too")
    arguments = parser.parse_args()
    known = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if is_benchmark(path)}
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    results: dict[str, Any] = {"machine": machine(), "benchmarks": {}}
    for name in arguments.names or known:
        print(name, file=sys.stderr, flush=True)
        results["benchmarks"][name] = run(known[name])
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    return 1 if any("error" in figures for figures in results["benchmarks"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
