"""Send a text message, which is - to read it from standard input. Exit code 0 when it is delivered or stored for delivery."""

from __future__ import annotations

import argparse
import sys

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DONE
from flexosip.cli.options import UsageError
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal

__all__ = ["add_arguments", "run"]

_LARGEST = 65536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("target", metavar="TARGET", help="a SIP or tel URI, user@host, or a number of the account's domain")
    parser.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    parser.add_argument("--type", metavar="TYPE", default="text/plain", help="media type of the text, text/plain unless told")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Send it."""
    account = resolve_account(options)
    text: str = sys.stdin.read(_LARGEST + 1) if options.text == "-" else options.text
    if len(text) > _LARGEST:
        raise UsageError(f"The message is longer than {_LARGEST} characters.", advice="Send it in parts.")

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            response = await phone.message(options.target, text, content_type=options.type)
            stored = " for later" if response.status == 202 else ""
            output.event("message_sent", f"Delivered{stored} to {options.target}.", target=options.target, status=response.status)
        finally:
            await phone.close()
        return DONE

    return run_until_signal(command)
