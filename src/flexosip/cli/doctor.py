"""Say why an account does not work, and what to do: one finding a line, one remedy a finding.

ok, warning or problem, the finding's id, what was found, what it means, what to do. The exit code is that of the first problem: 6 network,
server or certificate, 5 credentials, 7 sound, 8 refused, 2 a part or setting is missing; 0 without one. A wrong password is shown at most
twice, so that nothing here can lock an account.
"""

from __future__ import annotations

import argparse

from flexosip.cli.accounts import add_account_options, phone_settings, resolve_account
from flexosip.cli.exit_codes import CREDENTIALS, DONE, MEDIA, NETWORK, REJECTED, USAGE
from flexosip.cli.options import UsageError, seconds
from flexosip.cli.output import Output
from flexosip.cli.running import run_until_signal

__all__ = ["add_arguments", "run"]

_CODES = {"usage": USAGE, "network": NETWORK, "credentials": CREDENTIALS, "media": MEDIA, "rejected": REJECTED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("--call", metavar="TARGET", help="call it for some seconds too: is there sound both ways?")
    parser.add_argument("--no-register", action="store_true", help="do not ask the registrar; no password is used then")
    parser.add_argument("--patience", metavar="S", type=seconds, default=4.0, help="seconds to wait for one answer (default 4)")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Examine."""
    account = resolve_account(options)
    if account.aor is None:
        raise UsageError("Which account? Give --account sip:user@host, or its name in config.toml.", advice="See: flexosip doctor --help")

    async def command() -> int:
        from flexosip import doctor

        def tell(finding: doctor.Finding) -> None:
            output.event(
                "finding",
                str(finding),
                level=finding.level,
                id=finding.id,
                found=finding.found,
                cause=finding.cause,
                remedy=finding.remedy,
                part=finding.part,
                details=finding.details,
            )

        settings = phone_settings(account)
        findings = await doctor.examine(
            settings.pop("aor"), call=options.call, register=not options.no_register, patience=options.patience, on_finding=tell, **settings
        )
        problems = [finding for finding in findings if finding.level == "problem"]
        warnings = sum(finding.level == "warning" for finding in findings)
        verdict = f"{len(problems)} problem{'s' * (len(problems) != 1)}, {warnings} warning{'s' * (warnings != 1)}"
        begin = f"; begin with {problems[0].id}" if len(problems) > 1 else ""
        output.event("examined", f"{verdict}{begin}.", problems=len(problems), warnings=warnings, findings=len(findings))
        return _CODES[problems[0].part] if problems else DONE

    return run_until_signal(command)
