"""Dialog: the state that two user agents share, and the requests made from it.

It knows tags, sequence numbers, the route set and the remote target; it sends nothing. What goes on in a dialog (a call, a
subscription) is a usage of it (RFC 5057) and lives elsewhere.

RFC 3261 §12
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flexosip.errors import RemoteProtocolError
from flexosip.sip.headers import Headers, is_loose_route
from flexosip.sip.message import Request
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flexosip.sip.headers import NameAddr
    from flexosip.sip.message import Message, Response

__all__ = ["Dialog", "DialogId", "dialog_id_of"]

DialogId = tuple[str, str, str]
"""(Call-ID, local tag, remote tag); a tag is empty when a peer of RFC 2543 gave none."""

# 2**31 - 1 is the largest CSeq; leaving some room keeps a hostile first number from ending the dialog at once (RFC 3261 §8.1.1.5).
_LARGEST_CSEQ = 2**31 - 1


def dialog_id_of(request: Request) -> DialogId:
    """The id of the dialog that a received request belongs to: its To-tag is ours (RFC 3261 §12.2.2)."""
    return (request.call_id, request.to.tag or "", request.from_.tag or "")


class Dialog:
    """One dialog, early or confirmed. Made by `from_response` or `from_request`.

    Args:
        local: our address with our tag.
        remote: the peer's address with its tag.
        remote_target: where requests go in the end: the peer's Contact.
        route_set: the proxies in between, the nearest first.
    """

    __slots__ = (
        "_from_line", "_to_line", "call_id", "early", "local", "local_cseq", "local_tag", "remote", "remote_cseq", "remote_tag",
        "remote_target", "route_set",
    )  # fmt: skip

    def __init__(
        self,
        *,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        local_tag: str,
        remote_tag: str,
        local_cseq: int,
        remote_cseq: int | None,
        remote_target: SipUri,
        route_set: tuple[NameAddr, ...],
        early: bool,
        from_line: str | None = None,
        to_line: str | None = None,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_cseq = local_cseq
        """CSeq of our last request in the dialog."""
        self.remote_cseq = remote_cseq
        """CSeq of the peer's last request, None before the first."""
        self.remote_target = remote_target
        self.route_set = route_set
        self.early = early
        """True until a 2xx to the INVITE."""
        # From and To of our requests never change: they are written once, in the peer's own spelling.
        self._from_line = from_line or str(local)
        self._to_line = to_line or str(remote)

    def update_remote(self, request: Request) -> None:
        """Somebody else speaks for the peer from now on: our To follows the changed From (RFC 4916 §4.4). The tags stay."""
        self.remote = request.from_
        self._to_line = request.headers.get("From") or str(self.remote)

    @classmethod
    def from_response(cls, request: Request, response: Response) -> Dialog:
        """The dialog that a 101 to 2xx response to our `request` makes (RFC 3261 §12.1.2).

        Raises:
            RemoteProtocolError: there is no SIP URI to send anything to.
        """
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            local_tag=request.from_.tag or "",
            remote_tag=response.to.tag or "",
            local_cseq=request.cseq.number,
            remote_cseq=None,
            # Some gateways leave the Contact out, mostly of 18x: the Request-URI then serves, a call is better than none.
            remote_target=_target(response, request.uri),
            route_set=tuple(reversed(response.record_routes)),
            early=response.status < 200,
            from_line=request.headers.get("From"),
            to_line=response.headers.get("To"),
        )

    @classmethod
    def from_request(cls, request: Request, local_tag: str) -> Dialog:
        """The early dialog of our side when `request` came (RFC 3261 §12.1.1).

        Raises:
            RemoteProtocolError: there is neither a Contact nor a From with a SIP URI.
        """
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            local_tag=local_tag,
            remote_tag=request.from_.tag or "",
            # RFC 3261 §12.1.1: empty. 0 means that the first request of ours gets 1.
            local_cseq=0,
            remote_cseq=request.cseq.number,
            # RFC 2543 user agents may leave the Contact out: their From serves then.
            remote_target=_target(request, request.from_.uri),
            route_set=tuple(request.record_routes),
            early=True,
            to_line=request.headers.get("From"),
        )

    @property
    def id(self) -> DialogId:
        """What finds the dialog of a request."""
        return (self.call_id, self.local_tag, self.remote_tag)

    @property
    def next_hop(self) -> SipUri:
        """Where the next request goes: the first route, or the remote target (RFC 3261 §8.1.2)."""
        if self.route_set:
            uri = self.route_set[0].uri
            if isinstance(uri, SipUri):
                return uri
        return self.remote_target

    def create_request(
        self,
        method: str,
        *,
        contact: NameAddr | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        cseq: int | None = None,
    ) -> Request:
        """A request in the dialog with the next CSeq (RFC 3261 §12.2.1.1); the Via is the transaction's.

        Args:
            cseq: the number to use instead: for the ACK that of its INVITE.

        Raises:
            ValueError: a control character is in a header.
        """
        if cseq is None:
            self.local_cseq = cseq = self.local_cseq + 1 if self.local_cseq < _LARGEST_CSEQ else 1
        uri, routes = self._route()
        fields = [("Max-Forwards", "70")]
        fields += [("Route", str(route)) for route in routes]
        fields += [("From", self._from_line), ("To", self._to_line), ("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}")]
        # All of these have been checked: they were received, or they are ours.
        request = Request(method, uri, Headers.from_wire(fields), body)
        if contact is not None:
            request.headers.add("Contact", str(contact))
        for name, value in headers:
            request.headers.add(name, value)
        if content_type is not None and body:
            request.headers.add("Content-Type", content_type)
        return request

    def _route(self) -> tuple[SipUri, list[str]]:
        """(Request-URI, Route values): loose routing, or strict for a first proxy without `lr` (RFC 3261 §12.2.1.1)."""
        route_set = self.route_set
        if not route_set:
            return self.remote_target, []
        first = route_set[0]
        if is_loose_route(first) or not isinstance(first.uri, SipUri):
            return self.remote_target, [str(route) for route in route_set]
        return _as_request_uri(first.uri), [*(str(route) for route in route_set[1:]), f"<{self.remote_target}>"]

    def receive_request(self, request: Request) -> bool:
        """Note a request of the peer other than ACK and CANCEL; False if its CSeq is not above the last one (RFC 3261 §12.2.2)."""
        number = request.cseq.number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def update_target(self, message: Message) -> None:
        """Take the Contact of a target refresh (re-INVITE, UPDATE) or of its 2xx, if it has one (RFC 3261 §12.2)."""
        self.remote_target = _target(message, self.remote_target)

    def confirm(self, response: Response) -> None:
        """The 2xx came to an early dialog of ours: it fixes target and route set for good (RFC 3261 §13.2.2.4)."""
        self.early = False
        self.update_target(response)
        self.route_set = tuple(reversed(response.record_routes))

    def __repr__(self) -> str:
        return f"<Dialog {'early' if self.early else 'confirmed'} {self.call_id[:12]} to {self.remote_target!r}>"


def _target(message: Message, otherwise: object) -> SipUri:
    contact = message.contact
    uri = contact.uri if contact is not None else otherwise
    if not isinstance(uri, SipUri):
        uri = otherwise
    if isinstance(uri, SipUri):
        return _as_request_uri(uri)
    raise RemoteProtocolError("No Contact with a SIP URI", status_hint=400)


def _as_request_uri(uri: SipUri) -> SipUri:
    """`uri` without what a Request-URI may not hold: headers and a method (RFC 3261 §19.1.1 table 1)."""
    if uri.headers is None and (not uri.parameters or not uri.has_parameter("method")):
        return uri
    return replace(uri, headers=None).without_parameters("method")
