"""Calls that want to be answered at once, as intercoms and announcements do: asked for by the standard, and by older customs.

RFC 5373 (Answer-Mode, Priv-Answer-Mode), RFC 7462 (Alert-Info URNs); `Call-Info: <...>;answer-after=0` and
`Alert-Info: <...>;info=alert-autoanswer` are customs of desk phones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import SipParseError, parse_parameters

if TYPE_CHECKING:
    from flexosip.sip.headers import Headers

__all__ = ["OPTION_TAG", "AnswerRequest", "alert_header", "auto_answer_headers", "requested_answer"]

OPTION_TAG: Final = "answermode"
_LONGEST_DELAY = 3600.0
_ANSWER_AFTER = re.compile(r";[ \t]*answer-after[ \t]*=[ \t]*\"?([0-9]{1,4}(?:\.[0-9]{1,3})?)\"?[ \t]*(?=[;,]|$)", re.IGNORECASE)
_ALERT = re.compile(
    r"info[ \t]*=[ \t]*\"?(?:alert-autoanswer|auto-?answer|ring-?answer|intercom)\"?[ \t]*(?=[;,]|$)|^\"?(?:auto|ring)[ -]?answer\"?$",
    re.IGNORECASE,
)
_DELAY = re.compile(r";[ \t]*delay[ \t]*=[ \t]*\"?([0-9]{1,4}(?:\.[0-9]{1,3})?)\"?[ \t]*(?=[;,]|$)", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"\x7f]+")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """How a caller wants its call to be answered."""

    automatic: bool
    """False: by a person, whatever the phone is set to (`Answer-Mode: Manual`)."""
    seconds: float = 0.0
    """After how long."""
    required: bool = False
    """True: rather not at all than another way."""
    privileged: bool = False
    """True: also against do-not-disturb (Priv-Answer-Mode)."""
    standard: bool = False
    """True: asked for by RFC 5373, so that the answer tells what was done."""


def requested_answer(headers: Headers) -> AnswerRequest | None:
    """What an INVITE asks for; None if it asks for nothing. Priv-Answer-Mode is heard before Answer-Mode, and both before customs."""
    customary = _customary(headers)
    for name, privileged in (("Priv-Answer-Mode", True), ("Answer-Mode", False)):
        mode = _mode(headers.get(name))
        if mode is not None:
            automatic, required = mode
            seconds = customary if automatic and customary is not None else 0.0
            return AnswerRequest(automatic, seconds, required, privileged, True)
    return AnswerRequest(True, customary) if customary is not None else None


def _mode(value: str | None) -> tuple[bool, bool] | None:
    """(automatic, required) of a header's value; None if there is none, or a word that nobody knows (RFC 5373 §4.1)."""
    word, semicolon, rest = (value or "").partition(";")
    word = word.strip().lower()
    if word not in ("auto", "manual"):
        return None
    try:
        parameters = parse_parameters(semicolon + rest)
    except SipParseError:
        parameters = ()
    return word == "auto", any(name.lower() == "require" for name, _ in parameters)


def _customary(headers: Headers) -> float | None:
    """Seconds after which desk phones would answer; None if nothing asks them to."""
    for name in ("Call-Info", "Alert-Info"):
        for line in headers.get_lines(name):
            found = _ANSWER_AFTER.search(line)
            if found is not None:
                return min(float(found[1]), _LONGEST_DELAY)
    for line in headers.get_lines("Alert-Info"):
        if _ALERT.search(line) is not None:
            delay = _DELAY.search(line)
            return float(delay[1]) if delay is not None else 0.0
    return None


def auto_answer_headers(host: str, seconds: float) -> tuple[tuple[str, str], ...]:
    """Headers that ask for an answer after `seconds`, for phones of all ages. `host`: the domain that is called."""
    after = f"{seconds:g}"
    return (
        ("Answer-Mode", "Auto"),
        ("Call-Info", f"<sip:{host}>;answer-after={after}"),
        ("Alert-Info", f"<http://127.0.0.1>;info=alert-autoanswer;delay={after}"),
    )


def alert_header(alert: str) -> tuple[str, str]:
    """Alert-Info for a URN or URL (RFC 7462, RFC 3261 §20.4), or for a plain word, as desk phones map it to their melodies.

    Raises:
        ValueError: neither.
    """
    if _URI.fullmatch(alert):
        return "Alert-Info", f"<{alert}>"
    if not _LABEL.fullmatch(alert):
        raise ValueError(f"alert={alert!r} is neither a URI such as urn:alert:source:internal nor a word such as doorbell.")
    return "Alert-Info", f"<http://127.0.0.1/{alert}>;info={alert}"
