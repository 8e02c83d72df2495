"""Follow the state of a line (idle, trying, early, confirmed), of a mailbox or of somebody's presence, until it is interrupted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from flexosip.cli.accounts import add_account_options, create_phone, resolve_account
from flexosip.cli.exit_codes import DONE
from flexosip.cli.output import Output
from flexosip.cli.running import observe_wire, run_until_signal

if TYPE_CHECKING:
    from flexosip import Phone
    from flexosip.phone.messaging.subscriptions import Notification
    from flexosip.phone.messaging.watching import LineState
    from flexosip.sip.message_summary import MessageSummary

__all__ = ["add_arguments", "run"]

EVENTS = {"line": "dialog", "mailbox": "message-summary", "presence": "presence"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    parser.add_argument("target", metavar="TARGET", help="a SIP URI, user@host, or a number of the account's domain")
    parser.add_argument("--what", choices=sorted(EVENTS), default="line", help="what to follow; a line unless told")
    parser.add_argument("--once", action="store_true", help="tell the present state and exit")
    add_account_options(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """Follow it."""
    account = resolve_account(options)
    target: str = options.target

    async def command() -> int:
        from flexosip.cli.reports import PhoneReporter

        phone = create_phone(account)
        reporter = PhoneReporter(phone, output)
        observe_wire(phone, options.verbose)
        try:
            await reporter.start()
            async with _source(phone, options.what, target) as source:
                async for state in source:
                    text, fields = _told(options.what, state)
                    if text is None:
                        continue
                    output.event("state", f"{target}: {text}", target=target, what=options.what, **fields)
                    if options.once:
                        break
        finally:
            await phone.close()
        return DONE

    return run_until_signal(command)


def _source(phone: Phone, what: str, target: str) -> Any:
    if what == "line":
        return phone.watch(target)
    if what == "mailbox":
        return phone.message_waiting(target)
    return phone.subscribe(target, EVENTS[what])


def _told(what: str, state: Any) -> tuple[str | None, dict[str, Any]]:
    """(text for people, fields of the event); no text when nothing is said."""
    if what == "line":
        return _line(state)
    if what == "mailbox":
        return _mailbox(state)
    return _presence(state)


def _line(line: LineState) -> tuple[str, dict[str, Any]]:
    calls = [
        {"state": dialog.state, "direction": dialog.direction, "remote": dialog.remote_uri, "name": dialog.remote_name}
        for dialog in line.dialogs
    ]
    others = ", ".join(dialog.remote_name or dialog.remote_uri or "?" for dialog in line.dialogs)
    return f"{line.state} ({others})" if others else line.state, {"state": line.state, "calls": calls}


def _mailbox(summary: MessageSummary) -> tuple[str, dict[str, Any]]:
    state = "waiting" if summary.waiting else "empty"
    fields = {"state": state, "voice_new": summary.voice_new, "voice_old": summary.voice_old, "urgent": summary.urgent}
    return f"{'messages wait' if summary.waiting else 'no new messages'}, voice {summary.voice_new} new {summary.voice_old} old", fields


def _presence(notification: Notification) -> tuple[str | None, dict[str, Any]]:
    presence = notification.parsed
    if presence is None:
        return None, {}
    text = presence.state if presence.note is None else f"{presence.state}: {presence.note}"
    return text, {"state": presence.state, "open": presence.open, "note": presence.note, "activities": list(presence.activities)}
