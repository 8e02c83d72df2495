"""Flags that say who may call, and whom we may call."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_caller_options", "add_calling_options", "caller_settings", "calling_settings"]


def add_caller_options(parser: argparse.ArgumentParser) -> None:
    """`--accept-from`, `--allow`, `--deny`, `--max-rate`."""
    group = parser.add_argument_group("callers")
    group.add_argument(
        "--accept-from",
        metavar="WHO",
        action="append",
        default=[],
        help="auto, registrar, any, an address, a network or a host name; may be repeated; others meet silence",
    )
    group.add_argument("--allow", metavar="CALLER", action="append", default=[], help="who may call, a pattern with *; may be repeated")
    group.add_argument("--deny", metavar="CALLER", action="append", default=[], help="who may not call, a pattern with *; may be repeated")
    group.add_argument("--max-rate", metavar="N", type=_rate, help="new requests a second from one address (default 20); 0: any number")


def add_calling_options(parser: argparse.ArgumentParser) -> None:
    """`--emergency`, `--allow-prefix`, `--deny-prefix`."""
    group = parser.add_argument_group("call policy")
    group.add_argument("--emergency", choices=("refuse", "allow"), default="refuse", help="whether emergency numbers may be called")
    group.add_argument("--country", metavar="DE", help="whose emergency numbers count; without it those of many countries")
    group.add_argument(
        "--allow-prefix", metavar="P", action="append", default=None, help="call only numbers that begin so; may be repeated"
    )
    group.add_argument("--deny-prefix", metavar="P", action="append", default=[], help="do not call numbers that begin so; may be repeated")


def calling_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Phone` that the flags stand for."""
    from flexosip import CallPolicy

    policy = CallPolicy(
        emergency=options.emergency, country=options.country, allowed_prefixes=options.allow_prefix, denied_prefixes=options.deny_prefix
    )
    return {"call_policy": policy}


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests a second, 0 or more")
    return rate


def caller_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Phone` that the flags stand for."""
    from flexosip import Callers, Limits

    settings: dict[str, Any] = {}
    if options.accept_from:
        settings["accept_from"] = tuple(options.accept_from)
    if options.allow or options.deny:
        settings["callers"] = Callers(allow=tuple(options.allow) or None, deny=tuple(options.deny))
    if options.max_rate is not None:
        rate = options.max_rate
        settings["limits"] = Limits(source_rate=None, total_rate=None)
        if rate:
            burst = max(1, round(2 * rate))
            settings["limits"] = Limits(source_rate=rate, source_burst=burst, total_rate=max(200.0, 2 * rate), total_burst=max(400, burst))
    return settings
