"""Show the main job with nothing else installed or running: a PBX, a bell and a house phone on this machine, with real SIP and RTP.

The house phone calls the bell, hears that it is on now, presses 5, hears the confirmation and hangs up. Then something moves, all
phones ring and the house phone is answered. Leaves demo.wav (what the house phone heard), ladder.svg and demo.pcap.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from flexosip.cli.exit_codes import DONE
from flexosip.cli.options import UsageError
from flexosip.cli.output import Output
from flexosip.cli.running import run_until_signal

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("--out", metavar="DIR", default="flexosip-demo", help="folder for the three files (flexosip-demo)")
    parser.add_argument("--port", metavar="N", type=int, default=0, help="port of the PBX (any free one)")
    parser.add_argument("--language", choices=("en", "de"), default="en", help="of the bell")


def run(options: argparse.Namespace, output: Output) -> int:
    """Play the demo."""
    if not 0 <= options.port <= 65535:
        raise UsageError(f"--port {options.port}: a port is 1 to 65535, or 0 for any free one.", advice="See: flexosip demo --help")
    folder = Path(options.out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder}: the folder cannot be made: {error.strerror or error}.", advice="Choose another one.") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--out {folder}: the folder cannot be written to.", advice="Choose another one.")
    people = sys.stderr if output.json_lines else sys.stdout
    colour = people.isatty() and "NO_COLOR" not in os.environ

    async def command() -> int:
        from flexosip.demo import Demo

        def report(event: str, **fields: Any) -> None:
            plain = {name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value for name, value in fields.items()}  # type: ignore[arg-type]
            output.event(event, **plain)

        def say(line: str) -> None:
            if colour and "\x1b" in line:
                print(line, file=people, flush=True)
            else:
                output.text(line)

        result = await Demo(folder, port=options.port, report=report, say=say, colour=colour, language=options.language).run()
        output.event("files", wav=str(result.wav), svg=str(result.svg), pcap=str(result.pcap))
        return DONE

    return run_until_signal(command)
