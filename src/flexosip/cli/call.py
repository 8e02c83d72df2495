"""Call a phone. Sound files are played in order; digits are pressed from the answer on, beside the playing.

Hangs up when playing and digits are over; exactly at --duration if it is given; with nothing to play or send, when the other side does.
With --transfer it does not hang up then, but connects the other side to somebody else; with nothing else to do, at once.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DONE, exit_code
from flexosip.cli.options import digits, seconds
from flexosip.cli.output import Output
from flexosip.cli.policy import add_calling_options
from flexosip.cli.running import observe_wire, run_until_signal
from flexosip.cli.sounds import add_sound_options, check_recording, check_sounds, play_all
from flexosip.errors import CallEnded, CallFailed

if TYPE_CHECKING:
    from flexosip import Call, Playback
    from flexosip.cli.reports import PhoneReporter

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("target", metavar="TARGET", help="a SIP or tel URI, user@host, or a number of the account's domain")
    add_sound_options(parser)
    parser.add_argument("--digits", metavar="12#", type=digits, help="keys to press; w waits half a second")
    parser.add_argument("--ring-timeout", metavar="S", type=seconds, help="give up after so many seconds without an answer")
    parser.add_argument("--duration", metavar="S", type=seconds, help="hang up so many seconds after the answer")
    parser.add_argument("--auto-answer", action="store_true", help="ask the other phone to answer by itself, as an intercom does")
    parser.add_argument("--alert", metavar="WORD", help="how it shall ring: a word such as doorbell, or a URN")
    parser.add_argument("--anonymous", action="store_true", help="do not show who calls")
    parser.add_argument("--transfer", metavar="TARGET", help="then let the other side talk to TARGET instead of hanging up")
    add_account_options(parser)
    add_calling_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Call."""
    check_sounds(options.play)
    check_recording(options.record)
    account = resolve_account(options)

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            call = await phone.dial(options.target, auto_answer=options.auto_answer, alert=options.alert, anonymous=options.anonymous)
            reporter.calling(options.target, call)
            return await _converse(call, options, reporter, output)
        finally:
            await phone.close()

    return run_until_signal(command)


async def _converse(call: Call, options: argparse.Namespace, reporter: PhoneReporter, output: Output) -> int:
    """From dialling to hanging up; the exit code.

    Raises:
        MediaError: the recording was cut short.
    """
    recording = None
    try:
        await call.wait_answered(options.ring_timeout)
        if options.record is not None:
            recording = call.record(options.record)
        await _talk(call, options)
        if options.transfer is not None:
            await call.transfer(options.transfer)
        await call.hangup()
    except CallEnded:
        pass
    except CallFailed as error:
        output.error(error)
        return exit_code(error, end=call.end, rang=reporter.has_rung(call))
    if recording is not None:
        await recording
    return DONE


async def _talk(call: Call, options: argparse.Namespace) -> None:
    """From the answer until it is time to hang up."""
    loop = asyncio.get_running_loop()
    answered_at = call.answered_at if call.answered_at is not None else loop.time()
    playbacks = play_all(call, options.play, options.tone)
    try:
        async with asyncio.timeout_at(None if options.duration is None else answered_at + options.duration):
            await _play_and_press(call, playbacks, options.digits)
            if options.duration is not None or not (playbacks or options.digits or options.transfer):
                await call.wait_ended()
    except TimeoutError:
        pass


async def _play_and_press(call: Call, playbacks: Sequence[Playback], keys: str | None) -> None:
    """Both beside each other, until both are over or the call ends."""

    async def press() -> None:
        if keys is not None:
            await call.send_digits(keys)

    async def play() -> None:
        for playback in playbacks:
            await playback

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(press())
            group.create_task(play())
    except ExceptionGroup as failed:
        # the other side's hanging up ends both; a fault of one is the command's
        raise failed.exceptions[0] from None
