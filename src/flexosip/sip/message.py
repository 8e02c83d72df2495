"""SIP requests and responses.

A received message is split once; a header is parsed when somebody asks for it, and the result is kept until the headers change.
Nothing here decides whether a message is acceptable: that is `flexosip.sip.parser.check_message`.

RFC 3261 §7, §8.1.1, §8.2.6
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flexosip.sip.grammar import SipParseError, format_parameters, has_control, is_token
from flexosip.sip.headers import CSeq, Headers, NameAddr, Via
from flexosip.sip.status import reason_phrase
from flexosip.sip.uri import Uri

__all__ = ["Message", "Request", "Response", "new_request", "reason_phrase"]

_T = TypeVar("_T")
_M = TypeVar("_M", bound="Message")

# Methods whose 101 to 2xx responses can create a dialog: they carry the Record-Route back (RFC 3261 §12.1.1, RFC 6665, RFC 3515).
_DIALOG_CREATING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


class Message:
    """What requests and responses have in common: headers and a body.

    The typed properties raise `SipParseError` when the header is malformed, and when a header is missing that must be there.
    """

    __slots__ = ("body", "headers", "raw")

    def __init__(self, headers: Headers | Iterable[tuple[str, str]] | None = None, body: bytes = b"") -> None:
        self.headers = headers if isinstance(headers, Headers) else Headers(headers or ())
        self.body = body
        self.raw: bytes | None = None
        """The octets as received, or None for a message of our own making."""

    @property
    def start_line(self) -> str:
        """The first line without its line break."""
        raise NotImplementedError

    def _parsed(self, key: str, parse: Callable[[str], _T], missing: str) -> _T:
        headers = self.headers
        value: _T | None = headers._cache.get(key)
        if value is None:
            lines = headers._lookup().get(key)
            if lines is None:
                raise SipParseError(missing)
            headers._cache[key] = value = parse(lines[0])
        return value

    def _number(self, key: str, largest: int) -> int | None:
        cache = self.headers._cache
        if key not in cache:
            lines = self.headers._lookup().get(key)
            cache[key] = None if lines is None else parse_scalar(lines[0], largest)
        value: int | None = cache[key]
        return value

    def _list(self, name: str, parse: Callable[[str], _T]) -> list[_T]:
        cache = self.headers._cache
        values: list[_T] | None = cache.get(name)
        if values is None:
            cache[name] = values = [parse(value) for value in self.headers.get_all(name)]
        return values

    def _tokens(self, name: str, fold: Callable[[str], str]) -> set[str]:
        # Tokens know no quotes, so nothing can be wrong with the list itself; what is no token is one that nobody knows.
        return {fold(value) for line in self.headers.get_lines(name) for part in line.split(",") if (value := part.strip(" \t"))}

    @property
    def via(self) -> Via:
        """The topmost Via: the hop the message came from."""
        headers = self.headers
        via: Via | None = headers._cache.get("via")
        if via is None:
            line = headers.get("Via")
            if line is None:
                raise SipParseError("Missing Via")
            headers._cache["via"] = via = Via.parse(line)
        return via

    @property
    def vias(self) -> list[Via]:
        """All hops, the nearest first."""
        return list(self._list("Via", Via.parse))

    @property
    def from_(self) -> NameAddr:
        """Who sent the request of this transaction."""
        return self._parsed("from", NameAddr.parse, "Missing From")

    @property
    def to(self) -> NameAddr:
        """Whom it was sent to."""
        return self._parsed("to", NameAddr.parse, "Missing To")

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        lines = self.headers._lookup().get("call-id")
        if lines is None or not lines[0]:
            raise SipParseError("Missing Call-ID")
        return lines[0]

    @property
    def cseq(self) -> CSeq:
        """Sequence number and method."""
        return self._parsed("cseq", CSeq.parse, "Missing CSeq")

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact address, or None when there is none or it is `*`."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def contacts(self) -> list[NameAddr]:
        """All Contact addresses; empty for `Contact: *`."""
        return [] if self.contact_star else list(self._list("Contact", NameAddr.parse))

    @property
    def contact_star(self) -> bool:
        """True for `Contact: *`, which means all bindings (RFC 3261 §10.2.2)."""
        return self.headers._lookup().get("contact") == ["*"]

    @property
    def routes(self) -> list[NameAddr]:
        """The Route addresses, the next first."""
        return list(self._list("Route", NameAddr.parse))

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route addresses in the order of the message."""
        return list(self._list("Record-Route", NameAddr.parse))

    @property
    def max_forwards(self) -> int | None:
        """Hops left, 0 to 255, or None."""
        return self._number("max-forwards", 255)

    @property
    def expires(self) -> int | None:
        """Seconds, 0 to 2**32 - 1, or None when absent."""
        return self._number("expires", 2**32 - 1)

    @property
    def content_type(self) -> str | None:
        """Media type of the body in lower case without parameters, or None."""
        value = self.headers.get("Content-Type")
        if not value:
            return None
        return "".join(value.partition(";")[0].split()).lower()

    @property
    def require(self) -> set[str]:
        """Option tags of Require in lower case."""
        return self._tokens("Require", str.lower)

    @property
    def supported(self) -> set[str]:
        """Option tags of Supported in lower case."""
        return self._tokens("Supported", str.lower)

    @property
    def allow(self) -> set[str]:
        """Methods of Allow in upper case."""
        return self._tokens("Allow", str.upper)

    def _copied(self: _M, copied: _M) -> _M:
        copied.headers = self.headers.copy()
        copied.body = self.body
        copied.raw = None
        return copied

    def __bytes__(self) -> bytes:
        lines = [self.start_line]
        lines += [f"{name}: {value}" for name, value in self.headers._fields if name != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A request.

    Raises:
        ValueError: the method is no token.
    """

    __slots__ = ("method", "uri")

    def __init__(
        self, method: str, uri: Uri, headers: Headers | Iterable[tuple[str, str]] | None = None, body: bytes = b""
    ) -> None:
        if not is_token(method):
            raise ValueError("A method is a token.")
        super().__init__(headers, body)
        self.method = method
        self.uri = uri
        """The Request-URI."""

    @property
    def start_line(self) -> str:
        """The request line."""
        return f"{self.method} {self.uri} SIP/2.0"

    def copy(self) -> Request:
        """An independent copy, for a retry with other headers."""
        return self._copied(Request(self.method, self.uri))

    def create_response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Headers | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """The response to this request (RFC 3261 §8.2.6.2).

        Args:
            status: 100 to 699.
            reason: reason phrase; by default that of the status.
            to_tag: added to To unless that has a tag already or the status is 100.
            headers: further headers.
            body: the body.
            content_type: its media type.

        Raises:
            ValueError: the status is none, or a control character is in a value.
        """
        fields: list[tuple[str, str]] = []
        routed = 100 < status < 300 and self.method in _DIALOG_CREATING
        # The lines are copied as they came; they have been checked once and must not change.
        for field in self.headers._fields:
            name = field[0]
            if name == "To":
                fields.append(("To", self._tagged(field[1], to_tag)) if to_tag and status != 100 else field)
            elif (
                name in ("Via", "From", "Call-ID", "CSeq")
                or (routed and name == "Record-Route")
                or (status == 100 and name == "Timestamp")
            ):
                fields.append(field)
        response = Response(status, reason, Headers.from_wire(fields), body)
        for name, value in headers:
            response.headers.add(name, value)
        if content_type is not None:
            response.headers.set("Content-Type", content_type)
        return response

    def _tagged(self, line: str, tag: str) -> str:
        if not is_token(tag):
            raise ValueError("A tag is a token.")
        try:
            if self.to.tag is not None:
                return line
        except SipParseError:
            # A malformed To is sent back as it came: the peer finds its request by Via, Call-ID and CSeq.
            return line
        return line + format_parameters((("tag", tag),))

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri!r}>"


class Response(Message):
    """A response.

    Raises:
        ValueError: the status is not 100 to 699, or a control character is in the reason.
    """

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: Headers | Iterable[tuple[str, str]] | None = None,
        body: bytes = b"",
    ) -> None:
        if not 100 <= status <= 699:
            raise ValueError("A status is 100 to 699.")
        if reason is None:
            reason = reason_phrase(status)
        elif has_control(reason):
            raise ValueError("A reason phrase cannot hold a line break or another control character.")
        super().__init__(headers, body)
        self.status = status
        self.reason = reason

    @property
    def start_line(self) -> str:
        """The status line."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def copy(self) -> Response:
        """An independent copy."""
        return self._copied(Response(self.status, self.reason))

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"


def parse_scalar(text: str, largest: int) -> int:
    """A decimal number from 0 to `largest`, which has at most ten digits.

    Raises:
        SipParseError: anything else, signs and leading spaces included.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 10 or (number := int(text)) > largest:
        raise SipParseError("Malformed number in a header")
    return number


def seconds_of(text: str | None) -> int | None:
    """A number of seconds, without parameters and comment (RFC 3261 §20.33); None if there is none or it cannot be read."""
    try:
        return parse_scalar(text.partition(";")[0].partition("(")[0].strip(), 2**32 - 1) if text else None
    except SipParseError:
        return None


def new_request(
    method: str,
    uri: Uri,
    *,
    from_: NameAddr,
    to: NameAddr,
    call_id: str,
    cseq: int,
    contact: NameAddr | None = None,
    max_forwards: int = 70,
    routes: Iterable[NameAddr] = (),
    headers: Headers | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> Request:
    """A request with everything of RFC 3261 §8.1.1 but the Via, which the transaction adds.

    Raises:
        ValueError: a control character is in a value, or the CSeq is out of range.
    """
    fields: list[tuple[str, Any]] = [("Max-Forwards", max_forwards)]
    fields += [("Route", route) for route in routes]
    fields += [("From", from_), ("To", to), ("Call-ID", call_id), ("CSeq", CSeq(cseq, method))]
    if contact is not None:
        fields.append(("Contact", contact))
    request = Request(method, uri, [(name, str(value)) for name, value in fields], body)
    for name, value in headers:
        request.headers.add(name, value)
    if content_type is not None:
        request.headers.set("Content-Type", content_type)
    return request
