"""Be a small PBX: registrar and call router for a LAN, for tests and for door stations. `**9` rings all phones but the caller's."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from flexosip.apps.settings import read_settings_text
from flexosip.cli.exit_codes import DONE
from flexosip.cli.options import UsageError
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal
from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip.pbx import PbxEvent

__all__ = ["add_arguments", "read_users", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument(
        "--listen",
        metavar="[T:]HOST:PORT",
        action="append",
        default=[],
        help="127.0.0.1:5060 unless told, for UDP and TCP; tls:HOST:PORT, ws:, wss: for these; may be repeated",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate for tls: and wss:, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, if that is not in the same file")
    parser.add_argument("--tls-ca", metavar="FILE", help="authority of the phones' certificates, with --tls-verify-client")
    parser.add_argument(
        "--tls-verify-client", choices=("off", "optional", "required"), default="off", help="whether phones must show a certificate"
    )
    parser.add_argument("--users-file", metavar="F", help="file with NAME:PASSWORD lines")
    parser.add_argument(
        "--user", metavar="NAME:PASSWORD", action="append", default=[], help="a user; may be repeated (others may see it in ps)"
    )


def run(options: argparse.Namespace, output: Output) -> int:
    """Be a PBX."""
    users = read_users(Path(options.users_file).expanduser()) if options.users_file is not None else {}
    for text in options.user:
        name, colon, password = text.partition(":")
        if not colon or not name or not password:
            raise UsageError("--user: write it as NAME:PASSWORD.", advice="See: flexosip pbx --help")
        users[name] = password
    if not users:
        raise UsageError("A PBX needs users: give --user NAME:PASSWORD or --users-file F.", advice="See: flexosip pbx --help")

    async def command() -> int:
        from flexosip.cli.reports import tell_addresses
        from flexosip.net.tls import TlsSettings
        from flexosip.pbx import Pbx

        tls = TlsSettings(options.tls_ca, options.tls_cert, options.tls_key, verify_client=options.tls_verify_client)
        pbx = Pbx(users, listen=tuple(options.listen) or ("127.0.0.1:5060",), tls=tls)
        observe_wire(pbx, options.verbose)

        @pbx.on_event
        def tell(event: PbxEvent) -> None:
            fields: dict[str, object] = {"user": event.user, "detail": event.detail}
            if event.kind in ("registered", "unregistered"):
                _, _, address = pbx.addresses[0].partition(":")
                fields["aor"] = f"sip:{event.user}@{address}"
            if event.kind == "registered":
                fields["expires"] = round(max((binding.expires_at for binding in pbx.bindings(event.user)), default=event.at) - event.at)
            output.event(event.kind, f"{event.user}: {event.kind.replace('_', ' ')} {event.detail}".rstrip(), **fields)

        async with pbx:
            tell_addresses(output, pbx.addresses, for_people=True)
            await asyncio.get_running_loop().create_future()
        return DONE

    return run_until_signal(command)


def read_users(path: Path) -> dict[str, str]:
    """Users and passwords of a file: `NAME:PASSWORD` a line; empty lines and lines that begin with # are passed over.

    Raises:
        ConfigurationError: with file and line; never with the password.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(read_settings_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not colon or not name.strip() or not password:
            raise ConfigurationError(f"{path}:{number}: must be NAME:PASSWORD.")
        if name.strip() in users:
            raise ConfigurationError(f"{path}:{number}: the user {name.strip()!r} is there twice.")
        users[name.strip()] = password
    return users
