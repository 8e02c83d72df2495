"""Flags that commands share, and a parser that says what is wrong in one sentence."""

from __future__ import annotations

import argparse
import math
from typing import NoReturn

from flexosip.errors import ConfigurationError

__all__ = ["ArgumentParser", "UsageError", "add_common_options", "digits", "frequency", "seconds", "seconds_or_zero", "whole"]


class UsageError(ConfigurationError):
    """The command line cannot be understood."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with an error that is raised instead of printed."""

    def error(self, message: str) -> NoReturn:
        sentence = message[:1].upper() + message[1:]
        raise UsageError(sentence if sentence.endswith((".", "?")) else sentence + ".", advice=f"See: {self.prog} --help")


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """`--json`, `-v`."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="events as one JSON object a line on standard output; text goes to standard error"
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="log what happens; -vv adds SIP messages, with secrets masked")


def _number(text: str, what: str, minimum: float, maximum: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def seconds(text: str) -> float:
    """A time above 0."""
    return _number(text, "a number of seconds above 0", 1e-9, 86_400 * 366)


def seconds_or_zero(text: str) -> float:
    """A time, or 0 for ever."""
    return _number(text, "a number of seconds, 0 or more", 0, 86_400 * 366)


def frequency(text: str) -> float:
    """A tone that a telephone can carry."""
    return _number(text, "a frequency in Hz from 20 to 3900", 20, 3900)


def whole(text: str) -> int:
    """A count of at least 1."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def digits(text: str) -> str:
    """Keys of a telephone."""
    wrong = next((character for character in text if character not in "0123456789*#ABCDabcdwW, "), None)
    if wrong is not None or not text.strip():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a row of keys: {wrong!r} is none. Allowed are 0-9 * # A-D, and w for half a second's wait"
            if wrong is not None
            else "there are no keys in it. Allowed are 0-9 * # A-D, and w for half a second's wait"
        )
    return text
