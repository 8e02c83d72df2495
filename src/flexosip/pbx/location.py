"""Where users are now: the bindings that REGISTER requests made, and the rules for changing them.

RFC 3261 §10.3, RFC 3327 §5.3, RFC 5626 §6
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flexosip.errors import RemoteProtocolError
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.uri import SipUri

__all__ = ["Binding", "LocationTable", "TooBrief", "registration_headers"]

MAX_BINDINGS = 10
"""Contacts a user: enough for everybody's phones, too few to make one call a flood."""
MAX_PATH = 8
"""Proxies between a phone and us."""
_LONGEST = 2**32 - 1


class TooBrief(RemoteProtocolError):
    """The asked time is shorter than the registrar allows; the answer is 423 with Min-Expires."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone of a user."""

    contact: NameAddr
    flow: Flow
    """The path that the REGISTER came over: the way back through NAT and for connections."""
    call_id: str
    cseq: int
    expires_at: float
    """Seconds of the registrar's clock."""
    path: tuple[str, ...] = ()
    """Route to the phone, as the proxies before us have noted it (RFC 3327)."""
    device: tuple[str, str] | None = None
    """Instance and reg-id of a phone that works by RFC 5626: a new registration of the two takes the place of the old one."""

    @property
    def uri(self) -> SipUri:
        """The Contact URI."""
        uri = self.contact.uri
        assert isinstance(uri, SipUri)
        return uri


class LocationTable:
    """Bindings by user name.

    Args:
        min_expires, default_expires, max_expires: seconds.
    """

    def __init__(self, *, min_expires: float = 30, default_expires: float = 3600, max_expires: float = 7200) -> None:
        self.min_expires = min_expires
        self.default_expires = default_expires
        self.max_expires = max_expires
        self._bindings: dict[str, list[Binding]] = {}

    def bindings(self, user: str, now: float) -> list[Binding]:
        """The valid bindings of a user, the newest first."""
        return [binding for binding in self._bindings.get(user, ()) if binding.expires_at > now]

    def users(self, now: float) -> list[str]:
        """Users with at least one valid binding."""
        return [user for user in self._bindings if self.bindings(user, now)]

    def update(self, user: str, request: Request, flow: Flow, now: float) -> list[Binding]:
        """Apply a REGISTER that is authenticated already, all of it or nothing; the bindings afterwards.

        Raises:
            TooBrief: 423. RemoteProtocolError: 400 for a request that makes no sense, 403 for too many contacts at once, 500 out of order.
        """
        known = self.bindings(user, now)
        contacts = request.contacts
        if request.contact_star:
            if request.expires != 0 or len(request.headers.get_all("Contact")) != 1:
                raise RemoteProtocolError("Contact: * needs Expires: 0 and no other Contact", status_hint=400)
            self._check_order(known, request)
            self._bindings.pop(user, None)
            return []
        if len(request.headers.get_all("Path")) > MAX_PATH:
            raise RemoteProtocolError("Path Too Long", status_hint=403)
        if len(contacts) > MAX_BINDINGS:
            raise RemoteProtocolError("Too many contacts", status_hint=403)
        for contact in contacts:
            known = self._apply(known, contact, request, flow, now)
        # Newest first: phones that left without a word must not keep out the one that is here.
        known = known[:MAX_BINDINGS]
        if known:
            self._bindings[user] = known
        else:
            self._bindings.pop(user, None)
        return known

    def _apply(self, known: list[Binding], contact: NameAddr, request: Request, flow: Flow, now: float) -> list[Binding]:
        uri = contact.uri
        if not isinstance(uri, SipUri):
            raise RemoteProtocolError("A Contact must be a SIP address", status_hint=400)
        instance, reg_id = contact.parameter("+sip.instance"), contact.parameter("reg-id")
        device = (instance, reg_id) if instance and reg_id else None
        same = [binding for binding in known if binding.uri.matches(uri) or (device is not None and binding.device == device)]
        self._check_order(same, request)
        seconds = self._lifetime(contact, request)
        others = [binding for binding in known if binding not in same]
        if seconds == 0:
            return others
        if seconds < self.min_expires:
            raise TooBrief("Interval Too Brief", status_hint=423)
        lifetime = min(seconds, self.max_expires)
        plain = NameAddr(uri, contact.display_name, tuple(item for item in contact.parameters if item[0].lower() != "expires"))
        path = tuple(request.headers.get_all("Path"))
        return [Binding(plain, flow, request.call_id, request.cseq.number, now + lifetime, path, device), *others]

    def _lifetime(self, contact: NameAddr, request: Request) -> float:
        own = contact.parameter("expires")
        if own is not None:
            # §20.10: a malformed value is taken as 3600.
            return float(min(int(own), _LONGEST)) if own.isascii() and own.isdigit() and len(own) <= 10 else 3600.0
        return float(request.expires) if request.expires is not None else self.default_expires

    @staticmethod
    def _check_order(bindings: Iterable[Binding], request: Request) -> None:
        for binding in bindings:
            # §10.3 step 7: an old REGISTER that was overtaken must not undo a newer one.
            if binding.call_id == request.call_id and request.cseq.number <= binding.cseq:
                raise RemoteProtocolError("REGISTER out of order", status_hint=500)

    def contact_values(self, user: str, now: float) -> list[tuple[str, str]]:
        """Contact headers of the 200: all valid bindings with the seconds they have left."""
        return [
            ("Contact", str(binding.contact.with_parameter("expires", str(max(1, round(binding.expires_at - now))))))
            for binding in self.bindings(user, now)
        ]

    def knows_flow(self, flow: Flow) -> bool:
        """Whether some phone registered over `flow`."""
        return any(binding.flow is flow for bindings in self._bindings.values() for binding in bindings)

    def remove_flow(self, flow: Flow) -> list[str]:
        """Forget the bindings of a connection that is lost; the users concerned."""
        concerned = []
        for user, bindings in list(self._bindings.items()):
            left = [binding for binding in bindings if binding.flow is not flow]
            if len(left) != len(bindings):
                concerned.append(user)
                if left:
                    self._bindings[user] = left
                else:
                    del self._bindings[user]
        return concerned


def registration_headers(request: Request, bindings: Iterable[Binding]) -> list[tuple[str, str]]:
    """What else the 200 says: the Path that was stored (RFC 3327 §5.3), and whether calls take the way of this REGISTER (RFC 5626 §6)."""
    headers = [("Path", value) for value in request.headers.get_all("Path")]
    supported = {tag.lower() for tag in request.headers.get_all("Supported")}
    own = any(binding.device is not None and binding.call_id == request.call_id for binding in bindings)
    if own and "outbound" in supported and not headers:
        headers.append(("Require", "outbound"))
    return headers
