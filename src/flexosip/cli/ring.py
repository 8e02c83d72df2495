"""Let a phone ring and hang up when it is answered, declined or the time is up. Exit code 0 answered, 4 declined, 3 rang out."""

from __future__ import annotations

import argparse

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DECLINED, DONE, NO_ANSWER
from flexosip.cli.options import seconds_or_zero
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("target", metavar="TARGET", help="a SIP or tel URI, user@host, or a number of the account's domain")
    parser.add_argument("--duration", metavar="S", type=seconds_or_zero, default=20.0, help="seconds to ring, 20 unless told; 0: for ever")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Ring."""
    account = resolve_account(options)

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            reporter.calling(options.target)
            result = await phone.ring(options.target, options.duration)
        finally:
            await phone.close()
        if result.answered:
            return DONE
        if result.declined:
            output.text(f"Declined ({result.status}).")
            return DECLINED
        output.text("Nobody answered.")
        return NO_ANSWER

    return run_until_signal(command)
