"""INFO packages (RFC 6086), told by a peer that writes every line."""

from __future__ import annotations

from typing import Any

from flexosip import Phone
from tests.network.stage import RawPeer, World, sdp


def answering(phone: Phone, calls: list[Any]) -> None:
    @phone.on_call
    async def answer(call: Any) -> None:
        calls.append(call)
        await call.answer()
        await call.wait_ended()


def test_recv_info_names_the_packages_in_the_2xx_and_the_invite() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone, [])
        phone.info_packages = {"b.two", "a.one"}
        response = await peer.call()
        assert response.headers.get_all("Recv-Info") == ["a.one", "b.two"]
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")
        call = await phone.dial("sip:peer@10.0.0.9")
        invite = await peer.request("INVITE")
        assert invite.headers.get_all("Recv-Info") == ["a.one", "b.two"]
        peer.answer(invite, 486)
        await peer.request("ACK")
        await call.wait_ended()

    World().run_with_peer(story)


def test_a_phone_without_packages_sends_no_recv_info() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone, [])
        response = await peer.call()
        assert "Recv-Info" not in response.headers
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")

    World().run_with_peer(story)


def test_an_info_of_a_package_that_was_not_offered_is_469_with_those_that_were() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls: list[Any] = []
        answering(phone, calls)
        phone.info_packages = {"known"}
        response = await peer.call()
        got: list[Any] = []
        calls[0].on_info(got.append)
        peer.within(response, "INFO", "x", cseq=2, headers=(("Info-Package", "strange"),), content_type="text/plain")
        refusal = await peer.response(469, "INFO")
        assert refusal.headers.get("Recv-Info") == "known"
        peer.within(response, "INFO", "x", cseq=3, headers=(("Info-Package", "known;p=1"),), content_type="text/plain")
        await peer.response(200, "INFO")
        assert [info.package for info in got] == ["known"]
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")

    World().run_with_peer(story)


def test_digits_and_unknown_types_without_a_package_are_as_before() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls: list[Any] = []
        answering(phone, calls)
        response = await peer.call(sdp())
        peer.within(response, "INFO", "Signal=5\r\nDuration=160", cseq=2, content_type="application/dtmf-relay")
        await peer.response(200, "INFO")
        assert await calls[0].wait_digit(1) == "5"
        peer.within(response, "INFO", "x", cseq=3, content_type="application/strange")
        await peer.response(415, "INFO")
        calls[0].on_info(lambda info: 1 / 0)
        peer.within(response, "INFO", "x", cseq=4, content_type="application/strange")
        await peer.response(500, "INFO")
        peer.within(response, "BYE", cseq=9)
        await peer.response(200, "BYE")

    World().run_with_peer(story)
