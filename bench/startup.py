"""What starting costs: `import flexosip` over `import asyncio`, its first `Phone`, and the command `flexosip`.

Every figure is the median of interleaved runs of a new interpreter, milliseconds of wall time, with the quickest and the slowest.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from processes import ENVIRONMENT, flexosip, report, say

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import_asyncio": [sys.executable, "-c", "import asyncio"],
    "import_flexosip": [sys.executable, "-c", "import flexosip"],
    "import_asyncio_and_flexosip": [sys.executable, "-c", "import asyncio, flexosip"],
    "import_phone": [sys.executable, "-c", "import asyncio; from flexosip import Phone"],
    "flexosip_help": flexosip("--help"),
    "flexosip_call_help": flexosip("call", "--help"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats: int = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            if turn:  # the first turn writes the byte code
                times[name].append((time.perf_counter() - started) * 1000)
    figures = {
        name: {"median_ms": round(statistics.median(values), 1), "min_ms": round(min(values), 1), "max_ms": round(max(values), 1)}
        for name, values in times.items()
    }
    for name, values in figures.items():
        say(f"  {name}: {values}")
    base = figures["import_asyncio"]["median_ms"]
    report(
        "startup",
        import_flexosip_over_asyncio_ms=round(figures["import_asyncio_and_flexosip"]["median_ms"] - base, 1),
        import_phone_over_asyncio_ms=round(figures["import_phone"]["median_ms"] - base, 1),
        processes=figures,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
