"""From the octets of a datagram, or of one framed message of a stream, to a request or a response.

`parse_message` splits and judges the form: start line, header lines, Content-Length. `check_message` judges the content: what must be
there, what may be there once, which numbers and addresses are impossible. Both take time linear in the size of the message, and both
raise `SipParseError` and nothing else; its `message` is the request as far as it was understood, when that is enough to answer it.
A malformed response has no answer: it is dropped.

RFC 3261 §7, §8.1.1, §18.3; verdicts as in RFC 4475 and RFC 5118
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from flexosip.sip.grammar import SipParseError, is_token
from flexosip.sip.headers import SPELLINGS, CSeq, Headers, NameAddr, Via, header_names
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.uri import OtherUri, SipUri, Uri, parse_uri

__all__ = ["KNOWN_METHODS", "SipParseError", "check_message", "parse_message"]

MAX_HEAD: Final = 65536
"""Octets of start line and headers. A datagram cannot be longer anyway."""
MAX_LINE: Final = 8192
"""Characters of one unfolded line: as much as Apache and nginx take."""
MAX_HEADERS: Final = 256
"""Header lines; RFC 3665 and RFC 5359 flows stay under 30."""
MAX_VIAS: Final = 70
"""Hops: a request starts with Max-Forwards 70 (RFC 3261 §8.1.1.6)."""
MAX_NAMES_KEPT: Final = 1024

KNOWN_METHODS: Final = frozenset(
    {
        "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE",
        "UPDATE",
    }
)  # fmt: skip
"""Methods of the IANA registry "Methods and Response Codes"."""

# Controls that no header may hold, but in a quoted pair; CR and LF are counted instead.
_CONTROLS: Final = bytes([*range(9), 11, 12, *range(14, 32), 127])
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_QUOTED_PAIR = re.compile(r"\\.")
_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")
_VERSION = re.compile(r"[sS][iI][pP]/[0-9]{1,5}\.[0-9]{1,5}")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)

# Headers that mean something to us and may stand only once. Others that come twice (Server, Date) harm nobody.
_ONCE: Final = frozenset(
    {
        "call-id", "content-length", "content-type", "cseq", "event", "expires", "from", "max-forwards", "min-expires", "min-se", "rack",
        "refer-to", "referred-by", "replaces", "rseq", "session-expires", "subscription-state", "to",
    }
)  # fmt: skip
# A trunk of Twilio sends Content-Type and Content-Length twice with equal values.
_TWICE_IF_EQUAL: Final = frozenset({"content-length", "content-type"})

_unusual_names: dict[str, tuple[str, str]] = {}


def parse_message(data: bytes) -> Request | Response:
    """Split one message; octets behind the announced length of the body are ignored (RFC 3261 §18.3).

    Raises:
        SipParseError: the octets are no SIP message, or one that breaks the form.
    """
    if data[:1] in (b"\r", b"\n"):
        # Line breaks before the start line are to be ignored (RFC 3261 §7.5).
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    problem: SipParseError | None = None
    if end < 0:
        end = len(data)
        problem = SipParseError("Missing empty line after the headers")
        head = data[:-2] if data[-2:] == b"\r\n" else data
    else:
        head = data[:end]
    if len(head) > MAX_HEAD:
        raise SipParseError("Headers too large", status_hint=513)
    text = head.decode("utf-8", "surrogateescape")
    breaks = head.count(b"\r\n")
    if problem is None and not breaks == head.count(b"\n") == head.count(b"\r"):
        problem = SipParseError("Line break that is not CRLF")
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    lines = text.split("\r\n", MAX_HEADERS + 1)
    if len(lines) > MAX_HEADERS + 1:
        del lines[-1]
        problem = problem or SipParseError("Too many headers")
    if len(text) > MAX_LINE and max(map(len, lines)) > MAX_LINE:
        raise SipParseError("Line too long", status_hint=513)
    if len(head.translate(None, _CONTROLS)) != len(head):
        problem = problem or _find_control(lines)
    fields, index, bad_field = _split_fields(lines)
    headers = Headers.from_wire(fields, index)
    message, bad_start = _parse_start_line(lines[0], headers)
    problem = bad_start or problem or bad_field
    message.raw = data
    message.body = body = data[end + 4 :]
    if problem is None and "content-length" in index:
        length, problem = _content_length(index["content-length"])
        if length < len(body):
            message.body = body[:length]
        elif length > len(body):
            problem = SipParseError("Content-Length exceeds the message")
    if problem is not None:
        raise _answerable(problem, message)
    return message


def _split_fields(lines: list[str]) -> tuple[list[tuple[str, str]], dict[str, list[str]], SipParseError | None]:
    fields: list[tuple[str, str]] = []
    index: dict[str, list[str]] = {}
    problem: SipParseError | None = None
    spellings = SPELLINGS
    skip_first = iter(lines)
    next(skip_first)
    for line in skip_first:
        name, colon, value = line.partition(":")
        known = spellings.get(name) or _unusual_names.get(name) or _unusual_name(name)
        if known is None or not colon:
            problem = SipParseError("Malformed header line")
            continue
        name, key = known
        value = value.strip(" \t")
        fields.append((name, value))
        if key in index:
            index[key].append(value)
        else:
            index[key] = [value]
    return fields, index, problem


def _unusual_name(name: str) -> tuple[str, str] | None:
    # White space may stand before the colon (RFC 3261 §7.3.1): "From :" is From, or headers could be hidden by it.
    try:
        known = header_names(name.rstrip(" \t"))
    except ValueError:
        return None
    # A peer repeats its own odd names with each message; a stranger's thousand names must not stay in memory.
    if len(name) <= 64 and len(_unusual_names) < MAX_NAMES_KEPT:
        _unusual_names[name] = known
    return known


def _find_control(lines: list[str]) -> SipParseError | None:
    for line in lines:
        if _CONTROL.search(line) is None:
            continue
        # RFC 4475 §3.1.1.2: "\" NUL in a quoted string is legal. Anywhere else it is not.
        bare = _QUOTED.sub(lambda match: _QUOTED_PAIR.sub("", match[0]), line)
        if _CONTROL.search(bare) is not None:
            return SipParseError("Control character in a header")
    return None


def _parse_start_line(line: str, headers: Headers) -> tuple[Request | Response, SipParseError | None]:
    if line[:4] in ("SIP/", "sip/"):
        return _parse_status_line(line, headers), None
    parts = line.split(" ")
    method = parts[0]
    version = parts[-1] or line.rstrip(" \t").rpartition(" ")[2]
    if len(parts) < 3 or _VERSION.fullmatch(version) is None:
        raise SipParseError("Not a SIP message")
    if method not in KNOWN_METHODS and not is_token(method):
        raise SipParseError("Malformed method")
    problem: SipParseError | None = None
    uri: Uri = _UNKNOWN_URI
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        problem = SipParseError("SIP version is not 2.0", status_hint=505)
    elif len(parts) != 3:
        problem = SipParseError("Malformed request line")
    else:
        try:
            uri = parse_uri(parts[1])
        except SipParseError:
            problem = SipParseError("Malformed Request-URI")
    request = Request.__new__(Request)
    request.method = method
    request.uri = uri
    request.headers = headers
    return request, problem


_UNKNOWN_URI: Final = OtherUri("unknown", "malformed")


def _parse_status_line(line: str, headers: Headers) -> Response:
    # "SIP/2.0 200" without the space before an empty phrase is seen from doorbells; it is clear enough.
    status = line[8:11]
    if line[:8].upper() != "SIP/2.0 " or line[11:12] not in ("", " ") or not (status.isascii() and status.isdigit()):
        raise SipParseError("Malformed status line")
    code = int(status)
    if len(status) != 3 or not 100 <= code <= 699:
        raise SipParseError("Status code out of range")
    response = Response.__new__(Response)
    response.status = code
    response.reason = line[12:]
    response.headers = headers
    return response


def content_length(values: list[str]) -> int:
    """The number of a Content-Length that may stand there several times with one value.

    Raises:
        SipParseError: it is no plain decimal number of at most ten digits, or there are two different.
    """
    value = values[0]
    if not (value.isascii() and value.isdigit()) or len(value) > 10:
        raise SipParseError("Malformed Content-Length")
    if len(values) > 1 and any(other != value for other in values):
        raise SipParseError("Different values of Content-Length")
    return int(value)


def _content_length(values: list[str]) -> tuple[int, SipParseError | None]:
    try:
        return content_length(values), None
    except SipParseError as error:
        return 0, error


def _answerable(error: SipParseError, message: Message) -> SipParseError:
    """Attach the request to the error if its answer would find the way back."""
    if isinstance(message, Request):
        try:
            _ = message.via
        except SipParseError:
            pass
        else:
            error.message = message
    return error


def check_message(message: Request | Response, works_on: Callable[[str], bool] | None = None) -> None:
    """Refuse what no user agent can work with; afterwards none of the typed properties raises.

    What old or sloppy peers leave out and nobody needs is tolerated: Max-Forwards, the From tag and the branch of RFC 2543 user agents.

    Args:
        works_on: tells which methods are worked on at all; None: every one. Of a request with another method only that is judged which
            its refusal needs, since the method comes first (RFC 3261 §8.2.1).

    Raises:
        SipParseError: with the status that RFC 4475 and RFC 5118 ask for.
    """
    try:
        _check(message, works_on)
    except SipParseError as error:
        raise _answerable(error, message) from None


def _check(message: Request | Response, works_on: Callable[[str], bool] | None) -> None:
    headers = message.headers
    index = headers._lookup()
    if len(headers) != len(index):
        for key, lines in index.items():
            if len(lines) > 1 and key in _ONCE and (key not in _TWICE_IF_EQUAL or any(line != lines[0] for line in lines)):
                raise SipParseError("Header that may stand once stands several times")
    call_id = message.call_id
    if " " in call_id or "\t" in call_id:
        raise SipParseError("Malformed Call-ID")
    cseq = message.cseq
    if isinstance(message, Request):
        _check_request_line(message, cseq)
    _check_vias(message, index)
    _ = message.from_, message.to
    if isinstance(message, Request):
        if works_on is None or works_on(message.method):
            _check_request(message, index)
    elif cseq.method != "REGISTER":
        # A registrar lists the bindings of all devices of the user; one that is malformed is not ours and must not hide ours.
        _check_addresses(message, index)


def _check_request_line(request: Request, cseq: CSeq) -> None:
    method = request.method
    if cseq.method != method:
        # RFC 4475 §3.1.2.18: an unknown method is the more useful thing to say.
        raise SipParseError("CSeq method does not match the request", status_hint=400 if method in KNOWN_METHODS else 501)
    uri = request.uri
    if isinstance(uri, SipUri):
        if uri.headers is not None:
            raise SipParseError("Headers in the Request-URI")
    elif isinstance(uri, OtherUri):
        raise SipParseError("Unsupported URI scheme", status_hint=416)


def _check_vias(message: Message, index: dict[str, list[str]]) -> None:
    lines = index.get("via")
    if lines is None:
        raise SipParseError("Missing Via")
    if len(lines) == 1 and "," not in lines[0]:
        _ = message.via
        return
    if len(message.headers.get_all("Via")) > MAX_VIAS:
        raise SipParseError("Too many Via")
    _ = message.via, message._list("Via", Via.parse)


def _check_addresses(message: Message, index: dict[str, list[str]]) -> None:
    if "contact" in index and not message.contact_star:
        message._list("Contact", NameAddr.parse)
    if "record-route" in index:
        message._list("Record-Route", NameAddr.parse)


def _check_request(request: Request, index: dict[str, list[str]]) -> None:
    _check_addresses(request, index)
    if "route" in index:
        request._list("Route", NameAddr.parse)
    if "max-forwards" in index:
        _ = request.max_forwards
    if "expires" in index:
        _ = request.expires
    # In a response a wrong date is passed over: nobody here reads it, and the call would fail by it.
    if "date" in index and _DATE.fullmatch(index["date"][0]) is None:
        raise SipParseError("Malformed Date")
