"""What it means and what to do now: the one table of causes and remedies.

The errors' `.explain()`, the findings of `flexosip doctor` and the page about them take their words from here. An entry has a key:

    status 403 REGISTER    a SIP status, perhaps of a certain request or in a certain situation
    network refused        what the operating system said
    certificate expired    why a TLS server is not believed
    error NoAnswer         an error of the library that stands for itself
    box second factor      what a router said when it was set up
    finding nat.symmetric  what an examination has found
"""

from __future__ import annotations

import re
from typing import Any

from flexosip.advice.entry import Advice
from flexosip.advice.errors import ERRORS
from flexosip.advice.networks import CERTIFICATES, NETWORKS
from flexosip.advice.statuses import STATUSES

__all__ = ["Advice", "advice_for", "all_advice", "finding_advice", "network_advice", "status_advice"]

_LONGEST_WORDS = 200
_WARNING = re.compile(r'^\s*\d{3}\s+\S+\s+"((?:[^"\\]|\\.)*)"')
_Q850 = re.compile(r"(?i)\bQ\.850\b[^,]*?;\s*cause\s*=\s*(\d{1,3})\b")
_TEXT = re.compile(r'(?i);\s*text\s*=\s*"((?:[^"\\]|\\.)*)"')
_HOUSE = re.compile(
    r"(?i)(^|\.)(box|lan|local|home|internal)$|^10\.|^192\.168\.|^172\.(1[6-9]|2\d|3[01])\.|^127\.|^fe80:|^f[cd][0-9a-f]{2}:"
)
_PLAIN_DIGITS = re.compile(r"^\+?\d+$")
_INTERNAL = re.compile(r"^\d{1,5}$")

_OF_Q850 = {1: "404", 17: "486", 18: "480", 19: "480", 20: "480", 21: "603", 27: "502", 28: "484", 34: "503", 38: "503", 42: "503"}
"""Which status says the same as a cause of the telephone network."""


def advice_for(key: str, **words: object) -> Advice:
    """The entry of that key, `words` put in for its `{names}`.

    Raises:
        KeyError: there is none.
    """
    kind, _, name = key.partition(" ")
    if kind == "finding":
        return finding_advice(name, **words)
    if kind == "box":
        from flexosip.advice.boxes import BOXES

        return BOXES[name].filled(words)
    return {"status": STATUSES, "network": NETWORKS, "certificate": CERTIFICATES, "error": ERRORS}[kind][name].filled(words)


def network_advice(name: str, **words: object) -> str:
    """Cause and remedy of what the operating system said."""
    return str(NETWORKS[name].filled(words))


def finding_advice(name: str, **words: object) -> Advice:
    """The entry of a finding; an id of a status (`register.403`, `call.486`) has the advice of that status.

    Raises:
        KeyError: there is none.
    """
    # Loaded by the first examination: no phone needs them.
    from flexosip.advice.findings import FINDINGS

    return FINDINGS[name].advice.filled(words)


def all_advice() -> dict[str, Advice]:
    """Everything, by key."""
    from flexosip.advice.boxes import BOXES
    from flexosip.advice.findings import FINDINGS

    table = {f"status {name}": advice for name, advice in STATUSES.items()}
    table |= {f"network {name}": advice for name, advice in NETWORKS.items()}
    table |= {f"certificate {name}": advice for name, advice in CERTIFICATES.items()}
    table |= {f"error {name}": advice for name, advice in ERRORS.items()}
    table |= {f"box {name}": advice for name, advice in BOXES.items()}
    return table | {f"finding {name}": known.advice for name, known in FINDINGS.items()}


def status_advice(
    status: int,
    *,
    request: str = "",
    server: str = "",
    target: str = "",
    headers: Any = None,
    credentials: bool = True,
    account: bool = True,
) -> Advice | None:
    """What a final status means, as exactly as the circumstances tell; None for a status that is no failure, or none at all.

    Args:
        request: the method that was refused. server: the host that was asked. target: who was called, as it was typed.
        headers: of the response: Retry-After, Warning and Reason are looked at.
        credentials: whether a password was there to be shown. account: whether an account was.
    """
    if status < 300:
        return None
    lacking = "account" if not account else "password" if not credentials else ""
    advice = STATUSES[_key(status, request, server, target, headers, lacking)]
    seconds = _first(headers, "Retry-After").strip().partition(";")[0].partition("(")[0].strip()
    if seconds.isascii() and seconds.isdigit() and len(seconds) <= 6:
        advice = STATUSES["503 Retry-After"] if status == 503 else advice
        advice = advice.filled({"seconds": int(seconds)})
    told = _told(headers)
    return Advice(f"{advice.cause} The other side says: {told}.", advice.remedy) if told else advice


def _key(status: int, request: str, server: str, target: str, headers: Any, lacking: str) -> str:
    number = str(status)
    user = target.removeprefix("sips:").removeprefix("sip:").partition("@")[0]
    circumstances: list[str] = []
    if lacking and status in (401, 407):
        circumstances.append(f"without {lacking}")
    if _HOUSE.search(server.partition("%")[0]) is not None:
        if _INTERNAL.match(user) is not None:
            circumstances.append("digits in the house")
        circumstances.append("in the house")
    if _PLAIN_DIGITS.match(user) is not None:
        circumstances.append("digits")
    circumstances.append(request)
    cause = _Q850.search(_first(headers, "Reason"))
    if cause is not None and status in (480, 500, 502, 503) and (meant := _OF_Q850.get(int(cause[1]))) is not None:
        return meant
    for circumstance in circumstances:
        if (key := f"{number} {circumstance}") in STATUSES:
            return key
    if number in STATUSES:
        return number
    return f"{number[0]}xx"


def _told(headers: Any) -> str:
    """The words of a Warning or Reason, which are a stranger's: cut, and without what could steer a terminal."""
    warning = _WARNING.match(_first(headers, "Warning"))
    found = warning or _TEXT.search(_first(headers, "Reason"))
    if found is None:
        return ""
    words = found[1].replace('\\"', '"').replace("\\\\", "\\")
    return "".join(character if character.isprintable() else "?" for character in words)[:_LONGEST_WORDS].strip().rstrip(".")


def _first(headers: Any, name: str) -> str:
    if headers is None:
        return ""
    return headers.get(name) or ""
