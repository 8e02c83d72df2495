"""Be a bell. A trigger (GPIO, or Return on standard input) rings phones while the bell is on; call it to hear and to change its mode:
0 off, 1 once, 5 five minutes, 9 for ever. Settings: bell.toml, or the cowbell.ini of the original as it is.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from flexosip.cli.exit_codes import DONE
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal
from flexosip.cli.sounds import check_sounds

__all__ = ["add_arguments", "run"]

_MODES = {"off": "off", "once": "on for one ring", "5min": "on for five minutes", "forever": "on until it is switched off"}
_REASONS = {"once": "it came before the bell was switched on", "ringing": "it rings already", "cool_down": "the last alert is not long ago"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("--config", metavar="FILE", help="settings; searched for unless given")
    parser.add_argument("--print-unit", action="store_true", help="print a systemd unit that runs this bell, and exit")


def run(options: argparse.Namespace, output: Output) -> int:
    """Be a bell."""
    if options.print_unit:
        print(_unit(options), end="")
        return DONE
    from flexosip.apps.bell import find_config, load_config

    path = Path(options.config).expanduser() if options.config is not None else find_config()
    config = load_config(path)
    check_sounds([str(prompt) for prompt in config.prompts.values()])

    async def command() -> int:
        from flexosip.apps.bell import Bell
        from flexosip.cli.reports import PhoneReporter

        def report(event: str, /, **fields: Any) -> None:
            if event == "error":
                output.error(fields["message"], fields["explain"])
            else:
                output.event(event, _words(event, fields), **fields)

        bell = Bell(config, report=report)
        PhoneReporter(bell.phone, output, hides_digits=bell.hides_digits)
        observe_wire(bell.phone, options.verbose, hide_keys=config.pin is not None)
        output.text(f"Settings: {path}")
        async with bell:
            output.text(f"The bell is {_MODES[bell.mode]}.")
            await asyncio.get_running_loop().create_future()
        return DONE

    return run_until_signal(command)


def _words(event: str, fields: dict[str, Any]) -> str:
    """The event for people."""
    if event == "mode":
        return f"The bell is {_MODES[fields['mode']]} ({fields['by']})"
    if event == "listening":
        return f"Listening on {fields['address']} ({fields['transport']})"
    if event == "incoming":
        return f"Call from {fields['from']}"
    if event == "triggered":
        return f"Triggered by {fields['source']}"
    if event == "swallowed":
        return f"Trigger {fields['source']} rings nobody: {_REASONS[fields['reason']]}"
    if event == "pending":
        return f"Trigger {fields['source']}, but the bell is off"
    if event == "calling":
        return f"Ringing {fields['target']}"
    if event == "rang":
        return f"{fields['target']}: {fields['outcome'].replace('_', ' ')}"
    if event == "refused":
        return "Call refused: " + ("the caller is not on the list" if fields["reason"] == "caller" else "locked after wrong PINs")
    if event == "locked":
        return f"Wrong PIN; nobody gets in for {fields['seconds']} s"
    return event


def _unit(options: argparse.Namespace) -> str:
    """The unit for this machine, as far as it can be known."""
    from flexosip.apps.bell.unit import unit_text
    from flexosip.apps.settings import read_toml

    path = Path(options.config).expanduser() if options.config is not None else None
    credentials: list[Path] = []
    if path is not None and path.suffix == ".toml" and path.is_file():
        account = read_toml(path).table("account")
        name = account.text("password_file") if account is not None else None
        if name is not None:
            credentials.append((path.absolute().parent / Path(name).expanduser()).absolute())
    return unit_text(path, groups=_gpio_groups(), credentials=credentials)


def _gpio_groups() -> list[str]:
    """The group that may use GPIO, where there is one."""
    try:
        import grp

        return [grp.getgrnam("gpio").gr_name]
    except (ImportError, KeyError):
        return []
