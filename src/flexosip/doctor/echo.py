"""What a server repeats of our requests: what comes back changed was changed on the way, by a router that means well (SIP ALG).

A response carries the Via, From, To, Call-ID and CSeq of its request as they were (RFC 3261 §8.2.6.2), a 200 to REGISTER our Contact
(§10.3). The server adds `received`, `rport` and the tag of To, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.doctor.patient import Patient
    from flexosip.observe.trace import WireMessage
    from flexosip.sip.headers import NameAddr

__all__ = ["check_echo", "response_to"]

_LENGTH = re.compile(rb"(?im)^(?:Content-Length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$")


def response_to(sent: WireMessage, seen: WireMessage) -> Response | None:
    """The response in `seen` if it is one to `sent`, however it was changed; else None."""
    request = _request(sent)
    if request is None or not seen.data.startswith(b"SIP/2.0 "):
        return None
    try:
        response = parse_message(seen.data)
        cseq = response.cseq
        echoed = (response.call_id, response.via.branch, response.from_.tag)
    except SipParseError:
        return None
    if not isinstance(response, Response) or cseq != request.cseq:
        return None
    asked = (request.call_id, request.via.branch, request.from_.tag)
    return response if any(ours == theirs for ours, theirs in zip(asked, echoed, strict=True)) else None


def check_echo(patient: Patient, sent: WireMessage, seen: tuple[WireMessage, ...]) -> None:
    """Add a finding for each sign of a SIP ALG, each kind once."""
    request = _request(sent)
    if request is None:
        return
    findings = patient.findings
    for message in seen:
        for name, found in _signs(sent, request, message):
            if not findings.has(name):
                findings.add(name, found)


def _signs(sent: WireMessage, request: Request, seen: WireMessage) -> Iterator[tuple[str, str]]:
    if not seen.data.startswith(b"SIP/2.0 "):
        return
    length = _LENGTH.search(seen.data.partition(b"\r\n\r\n")[0])
    present = len(seen.data.partition(b"\r\n\r\n")[2])
    if length is not None and seen.transport == "udp" and int(length[1]) != present:
        yield "alg.length", f"An answer says that its body has {int(length[1])} octets and has {present}."
    response = response_to(sent, seen)
    if response is None:
        return
    if seen.transport == "udp" and seen.remote != sent.remote:
        yield "alg.source", f"The answer came from {_place(*seen.remote)}, the question went to {_place(*sent.remote)}."
    ours, theirs = request.via, response.via
    if (theirs.host, theirs.port or 5060) != (ours.host, ours.port or 5060):
        yield "alg.via", f"Our Via said {_place(ours.host, ours.port)} and came back as {_place(theirs.host, theirs.port)}."
    elif theirs.branch != ours.branch:
        yield "alg.via", f"Our Via had the branch {ours.branch} and came back with {theirs.branch}."
    if response.call_id != request.call_id:
        yield "alg.call-id", f"Our Call-ID {request.call_id} came back as {response.call_id}."
    if _identity(response.from_) != _identity(request.from_) or response.from_.tag != request.from_.tag:
        yield "alg.from", f"Our From <{request.from_.uri}> came back as <{response.from_.uri}>."
    yield from _contact_signs(request, response)


def _contact_signs(request: Request, response: Response) -> Iterator[tuple[str, str]]:
    if request.method != "REGISTER":
        return
    try:
        ours, theirs = request.contacts, response.contacts
    except SipParseError:
        return
    own = [contact.uri for contact in ours if isinstance(contact.uri, SipUri)]
    known = {(uri.user, uri.host_port) for uri in own}
    echoed = [contact.uri for contact in theirs if isinstance(contact.uri, SipUri)]
    for uri in echoed:
        # with an old Contact that is taken away there are two of ours in one request
        mine = next((each for each in own if each.user == uri.user), None)
        if mine is not None and (uri.user, uri.host_port) not in known:
            yield "alg.contact", f"Our Contact {mine.host_port} stands at the registrar as {uri.host_port}."


def _request(sent: WireMessage) -> Request | None:
    message = parse_message(sent.data)
    return message if isinstance(message, Request) else None


def _identity(address: NameAddr) -> tuple[object, ...]:
    uri = address.uri
    return (uri.user, uri.host, uri.port) if isinstance(uri, SipUri) else (str(uri),)


def _place(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
