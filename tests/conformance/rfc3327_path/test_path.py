"""RFC 3327: proxies between a phone and its registrar stay on the way of calls to the phone."""

from __future__ import annotations

import asyncio

from flexosip.sip.message import Request
from tests.network.stage import RawPeer
from tests.network.test_pbx import House

EDGE = "10.0.0.50"


class Edge(RawPeer):
    """An edge proxy: it registers a phone behind it by hand."""

    async def register(self, *paths: str, expires: int = 600) -> int:
        """The status of the final response to a REGISTER of `kitchen` with these Path values."""
        from flexosip.sip.digest import DigestClient
        from flexosip.sip.headers import NameAddr
        from flexosip.sip.message import new_request
        from flexosip.sip.uri import SipUri

        aor = NameAddr(SipUri.parse("sip:kitchen@10.0.0.1"))
        request = new_request(
            "REGISTER",
            SipUri.parse("sip:10.0.0.1"),
            from_=aor.with_tag("edge"),
            to=aor,
            call_id=f"edge-{self.sent}",
            cseq=1,
            headers=[
                ("Contact", f"<sip:kitchen@192.0.2.99:5062>;expires={expires}"),
                *(("Path", path) for path in paths),
                ("Supported", "path"),
            ],
        )
        auth = DigestClient("kitchen", "secret-kitchen", random=self.host.random)
        for attempt in range(2):
            self.sent += 1
            request.headers.prepend("Via", f"SIP/2.0/UDP {EDGE}:5060;branch=z9hG4bKedge{self.sent};rport")
            self.send(bytes(request), ("10.0.0.1", 5060))
            self.last = await self._next(lambda message: not isinstance(message, Request), "response", 5.0)
            if attempt == 0:
                assert auth.challenged(self.last, request)  # type: ignore[arg-type]
                request = request.copy()
                request.headers.remove_first_value("Via")
                request.headers.set("CSeq", "2 REGISTER")
                auth.authorize(request)
        return int(self.last.status)  # type: ignore[union-attr]


def test_a_registrar_stores_the_path_tells_it_and_calls_go_along_it() -> None:
    house = House()

    async def story() -> None:
        edge = await Edge.open(house.network, EDGE)
        assert isinstance(edge, Edge)
        first, second = f"<sip:edge@{EDGE};lr>", "<sip:inner@192.0.2.50;lr>"
        assert await edge.register(first, second) == 200
        assert edge.last.headers.get_all("Path") == [first, second]
        async with house.phone("bell") as bell:
            call = await bell.dial("kitchen")
            invite = await edge.request("INVITE")
            assert invite.headers.get_all("Route") == [first, second]
            assert str(invite.uri) == "sip:kitchen@192.0.2.99:5062"
            edge.answer(invite, 486)
            await asyncio.sleep(1)
            assert call.end is not None
        edge.close()

    house.run(story)


def test_a_path_of_too_many_proxies_is_refused() -> None:
    house = House()

    async def story() -> None:
        edge = await Edge.open(house.network, EDGE)
        assert isinstance(edge, Edge)
        assert await edge.register(*(f"<sip:p{number}.test;lr>" for number in range(9))) == 403
        edge.close()

    house.run(story)


def test_a_phone_says_that_it_knows_path_and_remembers_what_the_registrar_tells() -> None:
    from tests.conformance.rfc5626_outbound.test_outbound import OutboundServer, run

    async def story(world: object, server: OutboundServer, phone: object) -> None:
        server.headers = (("Path", "<sip:edge.test;lr>"), ("Service-Route", "<sip:edge.test;lr>"))
        await phone.start()  # type: ignore[attr-defined]
        assert server.requests("REGISTER")[0].headers.get("Supported") == "path"
        assert phone.accounts[0].registration.path == ("<sip:edge.test;lr>",)  # type: ignore[attr-defined]
        async with phone.call(f"sip:1@{server.ip}"):  # type: ignore[attr-defined]
            assert server.requests("INVITE")[0].headers.get_all("Route") == ["<sip:edge.test;lr>"]

    run(story)
