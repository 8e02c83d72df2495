"""FakeTelekom: a provider that is found by NAPTR and SRV alone, knows its guests by their line, and wants SNI to be its domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexosip.simulation.names import VirtualDns
from flexosip.sip.flow import Flow
from flexosip.sip.message import Request
from flexosip.testing.providers.server import FakeCall, FakeServer

__all__ = ["FakeTelekom"]

DOMAIN = "tel.t-online.de"
GUEST = "anonymous@t-online.de"


class FakeTelekom(FakeServer):
    """The registrar and switch of tel.t-online.de.

    Args:
        lines: the addresses from which numbers (`+49...`) are registered: who knows the line needs no password.
        shortest: seconds of a registration; less gets 423. granted: what it gives at most.
        others: Contacts of other devices of the number, which stand in each 200.
    """

    product = "Telekom SBC"

    def __init__(
        self, network: Any = None, ip: str | None = None, *, lines: Mapping[str, str], shortest: int = 600, granted: int = 660,
        others: tuple[str, ...] = ("<sip:other@192.0.2.77:5060>;expires=30", "<sip:third@192.0.2.78:5060>;expires=7200"), **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(network, ip, **settings)
        self.lines = dict(lines)
        self.shortest, self.granted, self.others = shortest, granted, others
        self.contacts: dict[str, str] = {}
        """Contacts that phones have registered, by number."""
        self.server_names: list[str | None] = []
        """What each TLS client told as server name."""
        self.edge = "edge1.edns.t-ipnet.de"

    async def start(self) -> None:
        """Open the sockets."""
        await super().start()
        if "tls" in self._transports:
            self.driver._streams.contexts.server().sni_callback = self._named

    def _named(self, connection: Any, name: str | None, context: Any) -> None:
        self.server_names.append(name)

    def publish(self, dns: VirtualDns, name: Any) -> None:
        """Put it into the domain name system of a virtual network: NAPTR and SRV records, an address for the edge alone.

        Args:
            name: `VirtualNetwork.name`.
        """
        ways = (("tls", "SIPS+D2T", "_sips._tcp"), ("tcp", "SIP+D2T", "_sip._tcp"), ("udp", "SIP+D2U", "_sip._udp"))
        for order, (transport, service, prefix) in enumerate(ways, 1):
            if transport in self._transports:
                dns.naptr(DOMAIN, 10 * order, 10, service, f"{prefix}.{DOMAIN}")
                dns.srv(f"{prefix}.{DOMAIN}", 10, 10, self.port + (transport == "tls" and "udp" in self._transports), self.edge)
        name(self.edge, self.ip)

    def listens_to(self, data: bytes, flow: Flow) -> bool:
        """By TLS it takes no word of a client that named another host."""
        return not flow.secure or bool(self.server_names and self.server_names[-1] == DOMAIN)

    def on_request(self, request: Request, flow: Flow, size: int) -> None:
        if request.method == "REGISTER":
            self._register(request, flow)
        elif request.method == "INVITE" and not request.to.tag:
            self._invite(request, flow)
        elif not self.within_call(request, flow):
            self.answer(request, flow, 481)

    def _register(self, request: Request, flow: Flow) -> None:
        number = getattr(request.to.uri, "user", None) or ""
        if "outbound" in request.headers.get_all("Supported") or "+sip.instance" in (request.headers.get("Contact") or ""):
            self.answer(request, flow, 400)
            return
        asked = request.expires if request.expires is not None else 3600
        for contact in request.contacts:
            told = contact.parameter("expires")
            asked = int(told) if told and told.isdigit() else asked
        if 0 < asked < self.shortest:
            self.answer(request, flow, 423, headers=(("Min-Expires", str(self.shortest)),))
            return
        if not self._is_known(request, flow, number):
            return
        if asked == 0:
            self.contacts.pop(number, None)
            self.answer(request, flow, 200, headers=tuple(("Contact", other) for other in self.others))
            return
        own = str(request.contacts[0].uri)
        self.contacts[number] = own
        first, *rest = self.others or ("",)
        bindings = [first, f"<{own}>;expires={min(asked, self.granted)}", *rest]
        self.answer(request, flow, 200, headers=tuple(("Contact", binding) for binding in bindings if binding))

    def _is_known(self, request: Request, flow: Flow, number: str) -> bool:
        """The guest with an empty password, from the line that the number belongs to."""
        values = self.credentials(request)
        right = (
            values is not None
            and values.get("username") == GUEST
            and self.is_right(values, "", request.method)
            and self.lines.get(number) == flow.remote[0]
        )
        if not right and values is not None:
            self.answer(request, flow, 403)
        elif not right:
            challenge = f'Digest realm="{DOMAIN}", nonce="{self.new_tag()}", algorithm=MD5, qop="auth"'
            self.answer(request, flow, 401, headers=(("WWW-Authenticate", challenge),))
        return right

    def _invite(self, request: Request, flow: Flow) -> None:
        number = getattr(request.from_.uri, "user", None) or ""
        if number not in self.lines:
            self.answer(request, flow, 403, reason="From is no number of the line")
            return
        if not self._is_known(request, flow, number):
            return
        self.answer(request, flow, 100, tag=None)
        call = self.new_call(request, flow)
        self.answer(request, flow, 180, tag=call.tag, headers=(self.contact(flow),))
        self.accept(call, self.description(call))

    def description(self, call: FakeCall) -> str:
        """Its SDP: PCMA and digits."""
        port = call.sound_port
        return (
            f"v=0\r\no=- 1 1 IN {self.address_type} {self.ip}\r\ns=-\r\nc=IN {self.address_type} {self.ip}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
        )
