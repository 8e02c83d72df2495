"""Bad phones that are bad at writing: lower-case and compact headers, folded ones, bare line feeds, wrong lengths, private addresses."""

from __future__ import annotations

import re

from flexosip.testing.bad_phones.plain import Expected, PlainPhone
from flexosip.testing.peer import sdp

__all__: list[str] = []

_COMPACT = {
    b"Via": b"v", b"From": b"f", b"To": b"t", b"Call-ID": b"i", b"Contact": b"m", b"Content-Type": b"c", b"Content-Length": b"l",
    b"Subject": b"s", b"Supported": b"k",
}  # fmt: skip


class LowerCase(PlainPhone):
    """Writes all header names in lower case, and no space after the colon."""

    name = "lower-case-headers"
    good = "reads them as any others (RFC 3261 §7.3.1)"

    def wire(self, data: bytes) -> bytes | None:
        head, end, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        changed = [name.lower() + b":" + value.lstrip() for name, _, value in (line.partition(b":") for line in lines)]
        return b"\r\n".join([first, *changed]) + end + body


class Compact(PlainPhone):
    """Writes every header that has one in its compact form."""

    name = "compact-headers"
    good = "reads them as their long forms (RFC 3261 §7.3.3)"

    def wire(self, data: bytes) -> bytes | None:
        head, end, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        changed = [_COMPACT.get(name, name) + b" : " + value.lstrip() for name, _, value in (line.partition(b":") for line in lines)]
        return b"\r\n".join([first, *changed]) + end + body


class Folded(PlainPhone):
    """Folds its headers over several lines, with tabs."""

    name = "folded-headers"
    good = "joins the lines (RFC 3261 §7.3.1)"

    def wire(self, data: bytes) -> bytes | None:
        head, end, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        return b"\r\n".join([first, *(line.replace(b": ", b":\r\n\t ", 1).replace(b";", b"\r\n ;") for line in lines)]) + end + body


class BareLineFeeds(PlainPhone):
    """Ends its lines with LF alone."""

    name = "bare-line-feeds"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = Expected("none", heard=False, speaks=False, ended_by="")
    good = "takes them for no messages: a line ends with CRLF (RFC 3261 §7)"

    def wire(self, data: bytes) -> bytes | None:
        head, _, body = data.partition(b"\r\n\r\n")
        return head.replace(b"\r\n", b"\n") + b"\n\n" + body


class TooLong(PlainPhone):
    """Tells a Content-Length beyond the end of its datagrams."""

    name = "content-length-too-long"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = Expected("none", heard=False, speaks=False, ended_by="")
    good = "drops the response, answers 400 to the request (RFC 3261 §18.3)"

    def wire(self, data: bytes) -> bytes | None:
        return re.sub(rb"Content-Length: \d+", b"Content-Length: 5000", data)


class TooShort(PlainPhone):
    """Tells a Content-Length of ten octets less than there are; what is behind it is cut off by who reads it."""

    name = "content-length-too-short"
    good = "takes so many octets and no more; the rest of an SDP may still serve"

    def wire(self, data: bytes) -> bytes | None:
        body = data.partition(b"\r\n\r\n")[2]
        # The last line of its SDP is a=sendrecv, twelve octets with the line end.
        return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (len(body) - 12), data) if len(body) > 12 else data


class Rubbish(PlainPhone):
    """Sends things that are no SIP between its messages: noise, half messages, a request of 60,000 octets."""

    name = "rubbish-between"
    good = "drops them"

    def wire(self, data: bytes) -> bytes | None:
        send = self.peer.endpoint.send
        half = b"INFO sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.250;bra"
        for rubbish in (b"\x00\xff" * 40, half, b"INVITE sip:x SIP/2.0\r\n" + b"X: " + b"a" * 60000, b"SIP/2.0\r\n\r\n"):
            send(rubbish, self.peer.remote)
        return data


class PrivateAddresses(PlainPhone):
    """Stands behind a router that it does not know of: a private address in Via, Contact and SDP, the true one in the packets alone."""

    name = "private-addresses"
    private = "192.168.178.20"
    when_called = Expected()
    when_calling = Expected(ended_by="remote")
    good = "answers to where the packets came from (RFC 3581), and sends its sound to where sound came from (RFC 4961)"

    def wire(self, data: bytes) -> bytes | None:
        head, end, body = data.partition(b"\r\n\r\n")
        own, private = self.peer.ip.encode(), self.private.encode()
        lines = [
            line.replace(own, private) if line.startswith(b"Contact:") or (b"SIP/2.0/UDP " + own in line) else line
            for line in head.split(b"\r\n")
        ]
        return b"\r\n".join(lines) + end + body

    def description(self, **options: object) -> str:
        return sdp(7000, host=self.private)
