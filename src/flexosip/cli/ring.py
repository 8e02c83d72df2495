"""Let phones ring, all at once, and hang up when one is answered, all have declined or the time is up; then the next ones (--then).
Exit code 0 answered, 4 declined, 3 rang out.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DECLINED, DONE, NO_ANSWER
from flexosip.cli.options import seconds_or_zero
from flexosip.cli.output import Output
from flexosip.cli.policy import add_calling_options
from flexosip.cli.running import observe_wire, run_until_signal
from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip import Confirmation
    from flexosip.phone.dialling.ringing import RingAttempt

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    what = "a SIP or tel URI, user@host, or a number of the account's domain; several ring at once, the first who answers has the call"
    parser.add_argument("target", metavar="TARGET", nargs="+", help=what)
    parser.add_argument(
        "--then", metavar="TARGET", nargs="+", action="append", default=[], help="who rings when nobody has answered; may be repeated"
    )
    parser.add_argument("--confirm", metavar="KEY", help="whoever answers has to press this key: no mailbox takes the call")
    parser.add_argument("--confirm-prompt", metavar="F", help="what is played until then; two beeps unless told")
    parser.add_argument("--anonymous", action="store_true", help="do not show who calls")
    duration = "seconds to ring, for each list of targets; 20 unless told; 0: for ever"
    parser.add_argument("--duration", metavar="S", type=seconds_or_zero, default=20.0, help=duration)
    add_account_options(parser)
    add_calling_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Ring."""
    account = resolve_account(options)
    confirm = _confirmation(options)

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            for target in options.target:
                reporter.calling(target)
            target = options.target if len(options.target) > 1 else options.target[0]
            result = await phone.ring(target, options.duration, then=options.then, confirm=confirm, anonymous=options.anonymous)
        finally:
            await phone.close()
        if len(result.attempts) > 1 or confirm is not None:
            for attempt in result.attempts:
                output.event("rang", _words(attempt), target=attempt.target, outcome=str(attempt.outcome), status=attempt.status)
        if result.answered:
            return DONE
        if result.declined:
            output.text(f"Declined ({result.status}).")
            return DECLINED
        output.text("Nobody answered.")
        return NO_ANSWER

    return run_until_signal(command)


def _confirmation(options: argparse.Namespace) -> Confirmation | None:
    from flexosip import Confirmation
    from flexosip.cli.sounds import check_sounds

    if options.confirm is None:
        if options.confirm_prompt is not None:
            raise ConfigurationError("--confirm-prompt needs --confirm KEY.")
        return None
    if options.confirm_prompt is not None:
        check_sounds([options.confirm_prompt])
    return Confirmation(options.confirm, options.confirm_prompt)


def _words(attempt: RingAttempt) -> str:
    outcome = str(attempt.outcome).replace("_", " ")
    return f"{attempt.target}: {outcome}" + (f" ({attempt.status} {attempt.reason})" if outcome in ("declined", "failed") else "")
