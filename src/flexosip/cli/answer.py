"""Take calls, on port 5060 unless --listen says otherwise. A call lasts until the caller hangs up, or for --duration seconds."""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import TYPE_CHECKING

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DONE, exit_code
from flexosip.cli.options import seconds, whole
from flexosip.cli.output import Output
from flexosip.cli.policy import add_caller_options, limit_settings
from flexosip.cli.running import observe_wire, run_until_signal
from flexosip.cli.sounds import add_sound_options, check_recording, check_sounds, numbered, play_all
from flexosip.errors import CallEnded, FlexosipError

if TYPE_CHECKING:
    from flexosip import Call

__all__ = ["add_arguments", "run"]

PORT = 5060


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    add_sound_options(parser)
    parser.add_argument("--echo", action="store_true", help="send back what is heard")
    parser.add_argument("--calls", metavar="N", type=whole, help="exit after N calls")
    parser.add_argument("--duration", metavar="S", type=seconds, help="hang up so many seconds after the answer")
    parser.add_argument("--messages", action="store_true", help="take text messages, too, and tell them")
    parser.add_argument("--tell-state", action="store_true", help="let others watch this line: idle, early, confirmed, and with whom")
    parser.add_argument("--accept-transfers", action="store_true", help="call whom the other side of a call transfers us to")
    add_account_options(parser)
    add_caller_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Take calls."""
    check_sounds(options.play)
    check_recording(options.record)
    account = resolve_account(options)

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        settings = {"accept_transfers": True} if options.accept_transfers else {}
        phone = create_phone(account, listen=_all_addresses(PORT), **limit_settings(options), **settings)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        desk = _Desk(options, output)
        if options.messages:
            phone.on_message(reporter.message)
        if options.tell_state:
            phone.notifier("dialog")

        @phone.on_call
        async def take(call: Call) -> None:
            reporter.incoming(call)
            await desk.take(call)

        try:
            await reporter.start(for_callers=True)
            await desk.closed.wait()
        finally:
            await phone.close()
        return desk.code

    return run_until_signal(command)


def _all_addresses(port: int) -> tuple[str, ...]:
    """All of IPv4, and of IPv6 where this machine has it."""
    addresses = [f"0.0.0.0:{port}"]
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return tuple(addresses)
    return (*addresses, f"[::]:{port}")


class _Desk:
    """Takes the calls and counts them."""

    def __init__(self, options: argparse.Namespace, output: Output) -> None:
        self._options = options
        self._output = output
        self._taken = 0
        self._over = 0
        self.code = DONE
        """That of the latest call in which something failed."""
        self.closed = asyncio.Event()

    async def take(self, call: Call) -> None:
        """One call, from INVITE to end."""
        options = self._options
        if options.calls is not None and self._taken >= options.calls:
            await call.reject(486)
            return
        self._taken += 1
        number = self._taken
        try:
            await call.answer()
            await self._talk(call, number)
            await _follow(call)
        except CallEnded:
            pass
        except FlexosipError as error:
            self._output.error(error)
            self.code = exit_code(error)
        finally:
            # the phone ends a call whose handler returns
            self._over += 1
            if options.calls is not None and self._over >= options.calls:
                self.closed.set()

    async def _talk(self, call: Call, number: int) -> None:
        options = self._options
        recording = call.record(numbered(options.record, number)) if options.record is not None else None
        play_all(call, options.play, options.tone)
        deadline = None
        if options.duration is not None and call.answered_at is not None:
            deadline = call.answered_at + options.duration
        try:
            async with asyncio.timeout_at(deadline):
                if options.echo:
                    await _echo(call)
                await call.wait_ended()
        except TimeoutError:
            await call.hangup()
        except CallEnded:
            pass
        if recording is not None:
            await recording


async def _follow(call: Call) -> None:
    """Stay in the calls to which the other side transferred this one, until they end."""
    following = call.transferred_to
    while following is not None:
        await following.wait_ended()
        following = following.transferred_to


async def _echo(call: Call) -> None:
    """Send back every frame until the call ends."""
    async with call.audio(rate=8000) as stream:
        async for frame in stream:
            await stream.write(frame)
