"""From the command line to a command and back to an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

import flexosip
from flexosip.apps.settings import nearest
from flexosip.cli.exit_codes import BUG, DONE, INTERRUPTED, USAGE, exit_code
from flexosip.cli.options import ArgumentParser, UsageError, add_common_options
from flexosip.cli.output import Output
from flexosip.errors import FlexosipError

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "demo": "see it work: a PBX, a bell and a house phone on this machine",
    "call": "call a phone; play, press keys, record",
    "answer": "take calls; play, echo, record",
    "register": "register an account",
    "ring": "let a phone ring, like a door bell",
    "message": "send a text message",
    "options": "ask whether a phone or server is there, and what it can do",
    "watch": "follow the state of a line, a mailbox or somebody's presence",
    "bell": "be a bell: something moves and phones ring; call it to control it",
    "pbx": "be a small PBX: registrar and call router",
    "setup": "set an account up, step by step: flexosip setup fritzbox",
    "doctor": "say why an account does not work, and what to do",
}
"""Each is a module of this package (or named in `_MODULES`) with `add_arguments(parser)` and `run(options, output) -> int`."""

_MODULES = {"options": "options_query"}

_COMMON = {"--json", "-v", "-vv", "-vvv", "--verbose"}


def run(arguments: Sequence[str] | None = None) -> int:
    """See `flexosip.cli.main`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(json_lines="--json" in words)
    try:
        return _run(words, output)
    except UsageError as error:
        output.error(error)
        return USAGE
    except FlexosipError as error:
        output.error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        logging.getLogger("flexosip").exception("this is the place")
        output.error(f"This is a bug of flexosip, not of yours: {type(error).__name__}: {error}")
        return BUG


def _run(words: list[str], output: Output) -> int:
    leading: list[str] = []
    while words and words[0] in _COMMON:
        leading.append(words.pop(0))
    if not words or words[0] in ("-h", "--help", "help"):
        _print_help()
        return DONE if words else USAGE
    if words[0] == "--version":
        print(f"flexosip {flexosip.__version__}")
        return DONE
    name = words.pop(0)
    if name not in COMMANDS:
        if name.startswith("-"):
            raise UsageError(
                f"There is no flag {name!r} before the command; the flags of a command stand behind it.", advice="See: flexosip --help"
            )
        raise UsageError(
            f"There is no command {name!r}. The nearest command is {nearest(name, COMMANDS)!r}; commands are {', '.join(COMMANDS)}.",
            advice="See: flexosip --help",
        )
    command: Any = importlib.import_module(f"flexosip.cli.{_MODULES.get(name, name)}")
    parser = ArgumentParser(prog=f"flexosip {name}", description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    add_common_options(parser)
    try:
        options = parser.parse_args([*leading, *words])
    except SystemExit as leaving:  # --help
        return leaving.code if isinstance(leaving.code, int) else DONE
    from flexosip.cli.running import set_up_logging

    set_up_logging(options.verbose)
    code: int = command.run(options, output)
    return code


def _print_help() -> None:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {summary}" for name, summary in COMMANDS.items()]
    print("usage: flexosip COMMAND [...]\n\nTelephony from the command line.\n\n" + "\n".join(lines))
    print("\nflexosip COMMAND --help tells the flags of a command; flexosip --version the version.")
    print(
        "\nexit codes: 0 done, 1 a bug of ours, 2 usage or configuration, 3 no answer, 4 busy or declined, 5 credentials refused,\n"
        "6 network, server or certificate, 7 media, 8 rejected for another reason, 130 interrupted"
    )
