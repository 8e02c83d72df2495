"""Register an account and stay registered; with --once unregister and exit."""

from __future__ import annotations

import argparse
import asyncio

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DONE
from flexosip.cli.options import UsageError
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("--once", action="store_true", help="unregister and exit as soon as it is registered")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Register."""
    account = resolve_account(options)
    if account.aor is None:
        raise UsageError("Which account? Give --account sip:user@host, or its name in config.toml.", advice="See: flexosip register --help")

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        if not phone.accounts[0].register:
            raise UsageError(f"{phone.accounts[0].aor} does not register: it calls, and is called, from a fixed address.")
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            if not options.once:
                await asyncio.get_running_loop().create_future()
        finally:
            await phone.close()
        return DONE

    return run_until_signal(command)
