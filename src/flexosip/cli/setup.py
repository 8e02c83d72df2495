"""Set an account up at the FRITZ!Box of the house, step by step: find it, make a telephone in it, try it, write the settings, let it ring.

With --box-user and --box-password-file the telephone is made in the box, which may want the change confirmed on the spot. Without them the
clicks are told, and the account is taken as --user and --password-file say. Nothing that is there is overwritten without --force, and then
a copy is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flexosip.cli.accounts import config_places, read_password
from flexosip.cli.exit_codes import DONE, USAGE
from flexosip.cli.options import UsageError, whole
from flexosip.cli.output import Output
from flexosip.cli.running import run_until_signal

if TYPE_CHECKING:
    from flexosip.provisioning import Box

__all__ = ["add_arguments", "run"]

_RING = 3.0
"""Seconds: long enough to be heard, too short to be answered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("what", metavar="fritzbox", choices=("fritzbox",), help="what to set up: fritzbox")
    parser.add_argument("--host", metavar="HOST[:PORT]", help="the box, if it is not found by itself; the port is that of SIP")
    parser.add_argument("--tr064-port", metavar="N", type=whole, default=49000, help="port of the box's settings (default 49000)")
    parser.add_argument("--box-user", metavar="U", help="user of the box who may change settings; then the telephone is made in the box")
    parser.add_argument("--box-password-file", metavar="F", help="file whose first line is that user's password")
    parser.add_argument("--user", metavar="NAME", help="user name of the telephone, 8 characters at least (default flexosip-phone)")
    parser.add_argument("--password-file", metavar="F", help="file whose first line is the telephone's password; made up where it is made")
    parser.add_argument("--phone-name", metavar="TEXT", default="flexosip", help="name of the telephone on the box's pages")
    parser.add_argument("--name", metavar="ACCOUNT", default="fritzbox", help="name of the account in config.toml (default fritzbox)")
    parser.add_argument("--bell", action="store_true", help="write a bell.toml for flexosip bell too")
    parser.add_argument("--ring", metavar="TARGET", nargs="?", const="**9", help="let the target ring for 3 seconds at the end (**9: all)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing, here or in the box")
    parser.add_argument("--force", action="store_true", help="overwrite an account of that name; copies of the files are kept")


def run(options: argparse.Namespace, output: Output) -> int:
    """Set it up."""
    if (options.box_user is None) != (options.box_password_file is None):
        raise UsageError("--box-user and --box-password-file belong together.", advice="See: flexosip setup --help")

    async def command() -> int:
        return await _fritzbox(options, output)

    return run_until_signal(command)


async def _fritzbox(options: argparse.Namespace, output: Output) -> int:
    from flexosip.provisioning import find_box

    host = options.host.rpartition(":")[0] if options.host is not None and options.host.count(":") == 1 else options.host
    box = await asyncio.to_thread(
        find_box,
        host,
        port=options.tr064_port,
        on_try=lambda place: output.event("looking", f"Looking for the box at {place}.", host=place),
    )
    output.event(
        "box_found", f"Found: {box.model}, FRITZ!OS {box.version}, at {box.host}.", host=box.host, model=box.model, version=box.version
    )
    sip_host = options.host or box.host
    user = options.user or "flexosip-phone"
    password = _password(options)
    if options.dry_run:
        _tell_plan(options, output, user)
        return DONE
    if options.box_user is not None:
        password = await _make(options, output, box, user, password)
    elif password is None or options.user is None:
        from flexosip.provisioning import CLICKS

        for number, click in enumerate(CLICKS, 1):
            text = click.format(host=box.host)
            output.event("to_do", f"{number}. {text}", step=number, text=text)
        return USAGE
    return await _finish(options, output, sip_host, user, password)


def _password(options: argparse.Namespace) -> str | None:
    if options.password_file is not None:
        return _first_line(options.password_file)
    return os.environ.get("FLEXOSIP_PASSWORD") or None


def _first_line(name: str) -> str:
    return read_password(Path(name).expanduser())


async def _make(options: argparse.Namespace, output: Output, box: Box, user: str, password: str | None) -> str:
    from flexosip.provisioning import create_ip_phone, new_password

    def confirm(ways: str) -> None:
        output.event("confirm", f"The box wants you to confirm: {ways}.", ways=ways)

    chosen = password or new_password()
    made = await asyncio.to_thread(
        create_ip_phone,
        box,
        user,
        chosen,
        box_user=options.box_user,
        box_password=_first_line(options.box_password_file),
        name=options.phone_name,
        replace=options.force,
        on_confirm=confirm,
    )
    output.event("phone_made", f"Made the telephone {user}, number **{made.number}.", user=user, number=made.number)
    return chosen


async def _finish(options: argparse.Namespace, output: Output, host: str, user: str, password: str) -> int:
    """Register, write, ring."""
    from flexosip import Phone
    from flexosip.provisioning import write_account, write_bell

    phone = Phone.fritzbox(user, password, host=host)
    try:
        await phone.start()
        output.event("registered", f"Registered as {phone.accounts[0].aor}: the account works.", aor=str(phone.accounts[0].aor))
        folder = config_places()[-1].parent
        files = write_account(folder, options.name, user, password, host=host, force=options.force)
        if options.bell:
            files += write_bell(folder, user, files[1].name, host=host, force=options.force)
        for file in files:
            output.event("written", f"Wrote {file}.", path=str(file))
        if options.ring is not None:
            result = await phone.ring(options.ring, _RING)
            output.event("rang", f"{options.ring}: {result.outcome.value}.", target=options.ring, outcome=result.outcome.value)
    finally:
        await phone.close()
    output.event("set_up", f"Done. Try: flexosip call --account {options.name} '**9'", account=options.name)
    return DONE


def _tell_plan(options: argparse.Namespace, output: Output, user: str) -> None:
    make = f"make the telephone {user!r} in the box" if options.box_user is not None else "tell which clicks make a telephone in the box"
    folder = config_places()[-1].parent
    bell = ", write bell.toml" if options.bell else ""
    ring = f", let {options.ring} ring" if options.ring is not None else ""
    plan = f"Would {make}, register, write the account {options.name!r} into {folder / 'config.toml'}{bell}{ring}."
    output.event("plan", plan, user=user, account=options.name)
