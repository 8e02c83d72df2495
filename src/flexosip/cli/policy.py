"""Flags that say who may call, and whom we may call; they win over `[policy]` of config.toml, flag by flag."""

from __future__ import annotations

import argparse
from typing import Any

from flexosip.cli.options import seconds, whole

__all__ = ["add_caller_options", "add_calling_options", "limit_settings", "policy_flags"]

_FLAGS = {
    "accept_from": "accept_from", "allow": "allow_callers", "deny": "deny_callers", "emergency": "emergency", "country": "country",
    "allow_prefix": "allowed_prefixes", "deny_prefix": "denied_prefixes", "max_calls_per_hour": "max_calls_per_hour",
    "max_duration": "max_duration",
}  # fmt: skip
"""Names of the flags, and the keys of `flexosip.apps.policy_settings` that they stand for."""


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
    """`--emergency`, `--country`, `--allow-prefix`, `--deny-prefix`, `--max-calls-per-hour`, `--max-duration`."""
    group = parser.add_argument_group("call policy")
    group.add_argument("--emergency", choices=("refuse", "allow"), help="whether emergency numbers may be called")
    group.add_argument("--country", metavar="DE", help="whose emergency numbers count; without it those of many countries")
    group.add_argument(
        "--allow-prefix", metavar="P", action="append", help="call only numbers that begin so; may be repeated"
    )
    group.add_argument("--deny-prefix", metavar="P", action="append", help="do not call numbers that begin so; may be repeated")
    group.add_argument("--max-calls-per-hour", metavar="N", type=whole, help="place no more calls than that within 60 minutes")
    group.add_argument("--max-duration", metavar="S", type=seconds, help="end each call of ours so many seconds after its answer")


def policy_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags of the command stand for, see `policy_to_phone`; those that are not given are left out."""
    given: dict[str, Any] = {key: getattr(options, flag, None) for flag, key in _FLAGS.items()}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items() if value not in (None, [])}


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests a second, 0 or more")
    return rate


def limit_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Phone` that `--max-rate` stands for."""
    from flexosip import Limits

    settings: dict[str, Any] = {}
    if options.max_rate is not None:
        rate = options.max_rate
        settings["limits"] = Limits(source_rate=None, total_rate=None)
        if rate:
            burst = max(1, round(2 * rate))
            settings["limits"] = Limits(source_rate=rate, source_burst=burst, total_rate=max(200.0, 2 * rate), total_burst=max(400, burst))
    return settings
