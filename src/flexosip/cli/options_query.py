"""Ask whether a phone or server is there and what it can do (OPTIONS); nothing rings. Exit code 0 when it is there and takes calls.

With --every it is asked again and again until it is interrupted, and the changes are told.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DECLINED, DONE
from flexosip.cli.options import seconds
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal

if TYPE_CHECKING:
    from flexosip import Phone
    from flexosip.phone.dialling.options_query import OptionsResult, PeerState

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument(
        "target", metavar="TARGET", help="a SIP URI, user@host, or a number of the account's domain; sip:HOST asks the server itself"
    )
    parser.add_argument("--timeout", metavar="S", type=seconds, help="wait so long for an answer; 10 seconds unless told, 3 with --every")
    parser.add_argument("--every", metavar="S", type=seconds, help="ask again after so many seconds, at least 1, and tell the changes")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Ask."""
    account = resolve_account(options)
    target: str = options.target

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            if options.every is not None:
                await _watch(phone, output, target, options.every, options.timeout or 3.0)
                return DONE
            result = await phone.options(target, timeout=options.timeout or 10.0)
            _tell(output, target, result)
        finally:
            await phone.close()
        return DONE if result.available else DECLINED

    return run_until_signal(command)


async def _watch(phone: Phone, output: Output, target: str, every: float, timeout: float) -> None:
    async with phone.qualify(target, every, timeout=timeout) as peer:
        async for state in peer:
            _tell_state(output, target, state)


def _tell_state(output: Output, target: str, state: PeerState) -> None:
    why = f": {state.error}" if state.error is not None else ""
    output.event(
        "reachable" if state.reachable else "unreachable",
        f"{target} is {state}{_milliseconds(state.round_trip)}{why}",
        target=target,
        status=state.status,
        reason=state.reason,
        round_trip=_rounded(state.round_trip),
    )


def _tell(output: Output, target: str, result: OptionsResult) -> None:
    said = f"{target} answers {result.status} {result.reason}".rstrip() + _milliseconds(result.round_trip)
    known = (("it is", (result.server,) if result.server else ()), ("methods", result.allow), ("extensions", result.supported))
    lines = [said, *(f"  {name}: {', '.join(values)}" for name, values in (*known, ("media types", result.accept)) if values)]
    output.event(
        "options",
        "\n".join(lines),
        target=target,
        status=result.status,
        reason=result.reason,
        round_trip=_rounded(result.round_trip),
        available=result.available,
        allow=list(result.allow),
        supported=list(result.supported),
        accept=list(result.accept),
        server=result.server,
        contact=[str(contact) for contact in result.contact],
    )


def _milliseconds(round_trip: float | None) -> str:
    return f" ({round_trip * 1000:.1f} ms)" if round_trip is not None else ""


def _rounded(round_trip: float | None) -> float | None:
    return round(round_trip, 6) if round_trip is not None else None
