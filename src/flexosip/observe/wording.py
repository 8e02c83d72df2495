"""What a SIP message says, in a few words for a reader who has never seen one: kind, label and caption of its arrow.

Reads tolerantly and never raises: a ladder must show above all the messages that are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from flexosip.observe.trace import WireMessage

__all__ = ["Arrow", "Kind", "Reader", "Summary", "arrows", "summarize"]

Kind = Literal["register", "setup", "success", "failure", "goodbye", "message", "quiet"]
"""How an arrow is drawn: registering, setting up a call, good news, bad news, ending, others, and what only machines care about."""

_COMPACT = {"f": "from", "t": "to", "i": "call-id", "m": "contact", "v": "via", "c": "content-type", "s": "subject", "l": "content-length"}
_USER = re.compile(r"(?i)\b(?:sips?|tel):([^@;>\s?]*)(?:@([^;>\s?]*))?")
_TOKEN_USER = re.compile(r"[0-9a-f]{16,}")
_STATUS_WORDS = {
    100: "one moment",
    180: "it rings",
    181: "forwarded to another phone",
    182: "queued",
    183: "listen: sound before the answer",
    202: "accepted",
    302: "try another address",
    400: "I do not understand that",
    403: "forbidden",
    404: "nobody of that name here",
    408: "no reply in time",
    415: "I cannot read that kind of body",
    420: "I lack that extension",
    423: "register for longer, please",
    480: "not reachable now",
    481: "I know of no such call",
    482: "that message comes round in a circle",
    486: "busy here",
    487: "given up before the answer",
    488: "no codec in common",
    491: "both changed the call at once",
    500: "something broke here",
    501: "I do not know that method",
    503: "not available now",
    600: "busy everywhere",
    603: "declined",
}
_SUCCESS_WORDS = {
    "REGISTER": "noted",
    "INVITE": "picked up",
    "BYE": "goodbye",
    "CANCEL": "cancelled",
    "OPTIONS": "I am here",
    "MESSAGE": "read it",
}
_REQUEST_WORDS = {
    "ACK": "got it",
    "BYE": "hangs up",
    "CANCEL": "stop ringing",
    "OPTIONS": "are you there?",
    "MESSAGE": "a text message",
    "INFO": "a note within the call",
    "REFER": "please call somebody else",
    "UPDATE": "changes the call",
    "PRACK": "got the provisional answer",
    "SUBSCRIBE": "tell me when it changes",
    "NOTIFY": "it has changed",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The few facts of a message that a ladder needs; what is missing is empty."""

    method: str
    """Of a response: the method of its CSeq."""
    status: int
    """0 for a request."""
    reason: str
    target: str
    """User part of the Request-URI, or its host when it has none; empty for a response."""
    call_id: str
    cseq: str
    """The number, as text."""
    to_tag: bool
    authorized: bool
    """It carries credentials."""
    expires_zero: bool
    answered_elsewhere: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """One line of a ladder."""

    message: WireMessage
    kind: Kind
    label: str
    """`INVITE **9`, `180 Ringing`."""
    caption: str
    """The same in plain words: `calls **9`, `it rings`."""
    repeated: bool
    """The very same bytes went the same way before: a retransmission."""


def summarize(data: bytes) -> Summary:
    """The facts of a SIP message, read tolerantly; of anything else a Summary of empty fields."""
    lines = data[:65_536].split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    headers: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        if colon:
            name = key.strip().lower()
            name = _COMPACT.get(name, name)
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    start = lines[0].split(" ", 2)
    number, _, cseq_method = headers.get("cseq", "").partition(" ")
    status, reason, target, method = 0, "", "", start[0][:20]
    if start[0].upper().startswith("SIP/") and len(start) > 1 and start[1].isascii() and start[1].isdigit():
        status, reason, method = int(start[1][:3]), (start[2] if len(start) > 2 else "")[:60], cseq_method.strip()[:20]
    elif len(start) > 1:
        found = _USER.search(start[1])
        # a URI without a user is all host: sip:fritz.box
        target = found.group(1)[:40] if found else ""
        if _TOKEN_USER.fullmatch(target) and (called := _USER.search(headers.get("to", ""))):
            # A Contact's random user says nothing to a person; whom the caller meant does.
            target = called.group(1)[:40]
    expires = headers.get("expires", "").strip() == "0" or bool(re.search(r";\s*expires\s*=\s*0\b", headers.get("contact", "")))
    return Summary(
        method=method,
        status=status,
        reason=_clean(reason),
        target=_clean(target.replace("%23", "#")),
        call_id=headers.get("call-id", ""),
        cseq=number.strip(),
        to_tag=bool(re.search(r"(?i);\s*tag\s*=", headers.get("to", ""))),
        authorized="authorization" in headers or "proxy-authorization" in headers,
        expires_zero=expires,
        answered_elsewhere=bool(re.search(r"(?i)cause\s*=\s*200\b", headers.get("reason", ""))),
    )


def _clean(text: str) -> str:
    """No control characters of strangers in a label."""
    return "".join(character for character in text if character.isprintable())


def arrows(messages: Iterable[WireMessage]) -> list[Arrow]:
    """The arrows of a recorded trace, in order: each message once, though sender and receiver may both have recorded it.

    With the whole trace known, the first try of a request that is then challenged is quiet, like the challenge itself.
    """
    seen = _Seen()
    single = [(message, summarize(message.masked)) for message in messages if message.kind == "sip" and seen.first_sight(message)]
    challenged = {(summary.call_id, summary.cseq) for _, summary in single if summary.status in (401, 407)}
    refused = {(summary.call_id, summary.cseq) for _, summary in single if summary.status >= 300 and summary.method == "INVITE"}
    again = _Repeats()
    result = []
    for message, summary in single:
        kind, label, caption = _words(summary)
        exchange = (summary.call_id, summary.cseq)
        if (summary.method != "CANCEL" and exchange in challenged) or (summary.method == "ACK" and exchange in refused):
            kind = "quiet"
        result.append(Arrow(message, kind, label, caption, again.repeated(message)))
    return result


_REMEMBERED = 4_096
"""How many messages are kept in mind to tell doubles and repeats: a live ladder may run for weeks."""


def _way(message: WireMessage) -> tuple[object, object, bytes]:
    return (message.source, message.destination, message.data)


class _Seen:
    """Tells whether a message was met before from its other end."""

    def __init__(self) -> None:
        self._sent: dict[tuple[object, object, bytes], int] = {}

    def first_sight(self, message: WireMessage) -> bool:
        way = _way(message)
        count = self._sent.pop(way, 0)
        if message.direction == "out":
            self._sent[way] = count + 1
            if len(self._sent) > _REMEMBERED:
                del self._sent[next(iter(self._sent))]
            return True
        if count > 1:
            self._sent[way] = count - 1
        return count == 0


class _Repeats:
    """Tells retransmissions: the same bytes the same way once more."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, object, bytes], None] = {}

    def repeated(self, message: WireMessage) -> bool:
        way = _way(message)
        if way in self._known:
            return True
        self._known[way] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return False


class Reader:
    """Turns messages into arrows one by one, as they happen; for a ladder that is printed live."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._again = _Repeats()
        self._refused: dict[tuple[str, str], None] = {}

    def arrow(self, message: WireMessage) -> Arrow | None:
        """The arrow of a message, None when it is no SIP or was met before from its other end."""
        if message.kind != "sip" or not self._seen.first_sight(message):
            return None
        summary = summarize(message.masked)
        kind, label, caption = _words(summary)
        if summary.status >= 300 and summary.method == "INVITE":
            self._refused[summary.call_id, summary.cseq] = None
            if len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]
        if summary.method == "ACK" and (summary.call_id, summary.cseq) in self._refused:
            kind = "quiet"
        return Arrow(message, kind, label, caption, self._again.repeated(message))


def _words(summary: Summary) -> tuple[Kind, str, str]:
    """Kind, label and caption of a message by itself."""
    return _response_words(summary) if summary.status else _request_words(summary)


def _response_words(summary: Summary) -> tuple[Kind, str, str]:
    status, method = summary.status, summary.method
    label = f"{status} {summary.reason}".strip()
    if status in (401, 407):
        return "quiet", label, "prove who you are"
    if status < 200:
        return ("quiet" if status == 100 else "setup"), label, _STATUS_WORDS.get(status, "")
    if status < 300:
        caption = _STATUS_WORDS.get(status) or _SUCCESS_WORDS.get(method, "fine")
        kind: Kind = {"BYE": "goodbye", "CANCEL": "goodbye", "REGISTER": "register"}.get(method, "success")  # type: ignore[assignment]
        return kind, label, caption
    if status == 487:
        return "goodbye", label, _STATUS_WORDS[status]
    return "failure", label, _STATUS_WORDS.get(status, "refused" if status >= 400 else "elsewhere")


def _request_words(summary: Summary) -> tuple[Kind, str, str]:
    method, target = summary.method, summary.target
    if method == "REGISTER":
        proof = ", and this proves it" if summary.authorized else ""
        return "register", "REGISTER", ("I leave" if summary.expires_zero else "here I am") + proof
    if method == "INVITE":
        if summary.to_tag:
            return "setup", "INVITE", "changes the call"
        return "setup", f"INVITE {target}".strip(), f"calls {target}" if target else "calls"
    if method == "CANCEL" and summary.answered_elsewhere:
        return "goodbye", method, "stop ringing: answered elsewhere"
    if method in ("BYE", "CANCEL"):
        return "goodbye", method, _REQUEST_WORDS[method]
    if method == "ACK":
        return "success", method, _REQUEST_WORDS[method]
    return "message", _clean(method), _REQUEST_WORDS.get(method, "")
