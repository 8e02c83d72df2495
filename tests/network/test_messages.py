"""Text messages and INFO between two phones, and with a raw peer, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, CallFailed, ConfigurationError, InvalidState, MessageFailed, NetworkError, Phone
from flexosip.phone.events import InfoReceived
from flexosip.phone.messaging.info_packages import Info
from flexosip.phone.messaging.messages import Message
from tests.network.stage import RawPeer, World, sdp


def test_a_message_arrives_with_its_text_and_sender() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        got: list[Message] = []

        @b.on_message
        def take(message: Message) -> None:
            got.append(message)

        response = await a.message(target, "Grüße & <tags>\r\nsecond line")
        assert response.status == 200
        (message,) = got
        assert message.text == "Grüße & <tags>\r\nsecond line"
        assert (message.content_type, message.call) == ("text/plain", None)
        assert str(message.from_.uri).startswith("sip:flexosip@10.0.0.1")
        assert message.headers.get("Content-Type") == "text/plain;charset=UTF-8"

    World().run(story)


def test_an_async_handler_works_on_while_the_sender_has_its_answer() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        done: list[str] = []

        @b.on_message
        async def take(message: Message) -> None:
            await asyncio.sleep(40)
            done.append(message.text)

        started = b.loop.time()
        await a.message(target, "slow")
        assert b.loop.time() - started < 0.5 and not done
        await asyncio.sleep(41)
        assert done == ["slow"]

    World().run(story)


def test_a_handler_chooses_the_status_and_its_faults_are_500() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        def decide(message: Message) -> int:
            if message.text == "bug":
                raise RuntimeError("a bug of the program")
            return int(message.text)

        b.on_message(decide)
        assert (await a.message(target, "202")).status == 202
        with pytest.raises(MessageFailed) as failure:
            await a.message(target, "403")
        assert failure.value.status == 403
        with pytest.raises(MessageFailed) as failure:
            await a.message(target, "bug")
        assert failure.value.status == 500

    World().run(story)


def test_without_a_handler_messages_are_405_and_not_announced() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        assert "MESSAGE" not in b.core.allow
        with pytest.raises(MessageFailed) as failure:
            await a.message(target, "hello")
        assert failure.value.status == 405 and "MESSAGE" not in (failure.value.headers.get("Allow") or "")

    World().run(story)


def test_types_that_nobody_asked_for_are_415_with_what_is_taken() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        got: list[Message] = []
        b.on_message(types=("text/plain", "application/json"))(lambda message: got.append(message))
        await a.message(target, '{"door": "open"}', content_type="application/json")
        assert got[0].text == '{"door": "open"}'
        typing = b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>'
        with pytest.raises(MessageFailed) as failure:
            await a.message(target, typing, content_type="application/im-iscomposing+xml")
        assert failure.value.status == 415
        assert failure.value.headers.get_all("Accept") == ["application/json", "text/plain"]
        b.on_message(types=("*/*",))(lambda message: got.append(message))
        await a.message(target, b"\xff\x00", content_type="image/x")
        assert (got[-1].body, got[-1].text) == (b"\xff\x00", "")

    World().run(story)


def test_the_handler_lasts_over_a_restart_of_the_phone() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        got: list[Message] = []
        b.on_message(types=("application/json",))(lambda message: got.append(message))
        await b.close()
        await b.start()
        await a.message(target, "{}", content_type="application/json")
        assert len(got) == 1

    World().run(story)


def test_a_message_beyond_1300_octets_needs_a_reliable_transport() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        got: list[Message] = []
        b.on_message(lambda message: got.append(message))
        with pytest.raises(ConfigurationError, match="1300"):
            await a.message(target, "x" * 1300)
        await a.message(f"{target};transport=tcp", "x" * 3000)
        assert len(got[0].text) == 3000

    World().run(story)


@pytest.mark.parametrize(
    "arguments",
    [
        {"content_type": "text/plain\r\nX-Evil: 1"},
        {"content_type": "plain"},
        {"content_type": "text/"},
        {"headers": {"X-A": "b\r\nX-Evil: 1"}},
        {"headers": {"From": "<sip:me>"}},
        {"text": "\ud800"},
        {"target": "sip:b@10.0.0.2\r\nX: y"},
        {"target": ""},
        {"account": "nobody"},
    ],
)
def test_arguments_that_would_break_a_message_are_refused(arguments: dict[str, Any]) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(ConfigurationError):
            await a.message(arguments.pop("target", target), arguments.pop("text", "hello"), **arguments)

    World().run(story)


def test_nobody_there_is_a_network_error_after_the_time_out() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        with pytest.raises(NetworkError):
            await a.message("sip:x@10.0.0.9", "hello")
        assert peer.count("MESSAGE") > 5

    World().run_with_peer(story)


def test_a_challenge_is_answered_with_the_accounts_credentials_and_refused_ones_are_told() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        sending = asyncio.ensure_future(a.message("100", "hello"))
        first = await peer.request("MESSAGE")
        challenge = (("Proxy-Authenticate", 'Digest realm="pbx", nonce="1"'),)
        peer.answer(first, 407, headers=challenge)
        second = await peer.request("MESSAGE")
        assert second.headers.get("Proxy-Authorization") and second.cseq.number == first.cseq.number + 1
        assert second.contact is None
        peer.answer(second, 202)
        assert (await sending).status == 202
        sending = asyncio.ensure_future(a.message("100", "hello"))
        for _ in range(2):
            peer.answer(await peer.request("MESSAGE"), 407, headers=(("Proxy-Authenticate", 'Digest realm="pbx", nonce="2"'),))
        with pytest.raises(AuthenticationError):
            await sending

    World().run_with_peer(story, aor="sip:bell@10.0.0.9", password="secret", register=False)


def test_a_strangers_message_meets_silence_when_there_is_an_account() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        got: list[Message] = []
        a.on_message(lambda message: got.append(message))
        peer.ask("MESSAGE", "spam", content_type="text/plain")
        await asyncio.sleep(2)
        assert not got and not peer.seen

    World().run_with_peer(story, aor="sip:bell@10.0.0.7", register=False)


def test_cancelling_the_wait_leaves_nothing_behind() -> None:
    async def story(a: Phone, peer: RawPeer) -> None:
        sending = asyncio.ensure_future(a.message("sip:x@10.0.0.9", "hello"))
        request = await peer.request("MESSAGE")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        peer.answer(request, 200)
        await asyncio.sleep(40)
        assert not a.core.statistics().stack.client_transactions

    World().run_with_peer(story)


def test_a_message_within_a_call_reaches_the_handler_with_its_call() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        got: list[Message] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            with pytest.raises(MessageFailed) as failure:
                await call.message("nobody listens")
            assert failure.value.status == 405
            b.on_message(lambda message: got.append(message))
            assert (await call.message("hello")).status == 200
            assert got[0].text == "hello" and got[0].call is b.calls[0]
            with pytest.raises(MessageFailed) as failure:
                await call.message("<x/>", content_type="application/xml")
            assert failure.value.status == 415
            assert call.state == "answered"

    World().run(story)


def test_an_info_of_a_package_that_both_know_is_an_event() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        b.info_packages = {"camera"}
        got: list[Info] = []
        events: list[InfoReceived] = []

        @b.on_call
        async def answer(call: Any) -> None:
            call.on_info(lambda info: got.append(info))
            await call.answer()
            async for event in call.events():
                if isinstance(event, InfoReceived):
                    events.append(event)

        async with a.call(target) as call:
            assert (await call.send_info(b"zoom", "application/camera", package="camera")).status == 200
            assert (got[0].package, got[0].body, got[0].content_type) == ("camera", b"zoom", "application/camera")
            assert got[0].headers.get("Content-Disposition") == "Info-Package"
            with pytest.raises(InvalidState, match="camera"):
                await call.send_info(b"x", "text/plain", package="other")
            # What names no package goes to the handler too.
            await call.send_info(b"<x/>", "application/media_control+xml")
            await asyncio.sleep(0.1)
            assert [(event.package, event.body) for event in events] == [("camera", b"zoom"), (None, b"<x/>")]
            with pytest.raises(ConfigurationError):
                await call.send_info(b"x", None)
            with pytest.raises(ConfigurationError):
                await call.send_info(b"x", "text/plain", package="a\r\nb")

    World().run(story)


def test_a_request_of_any_method_can_be_sent_within_a_call_and_refused() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            with pytest.raises(CallFailed) as failure:
                await call.request("FOO", b"x", "text/plain")
            assert failure.value.status == 501
            assert call.state == "answered"

    World().run(story)


def multipart(*extra: str) -> str:
    parts = [f"Content-Type: application/sdp\r\n\r\n{sdp()}", *extra]
    return "".join(f"--b1\r\n{part}\r\n" for part in parts) + "--b1--\r\n"


def test_a_call_with_sdp_in_a_multipart_body_is_answered() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        location = "Content-Type: application/pidf+xml\r\nContent-Disposition: x;handling=optional\r\n\r\n<x/>"
        response = await peer.call(multipart(location), content_type='multipart/mixed;boundary="b1"')
        assert b"m=audio" in response.body
        peer.within(response, "BYE", cseq=3)
        await peer.response(200, "BYE")

    World().run_with_peer(story)


def test_a_multipart_invite_that_is_malformed_is_400_and_one_without_sdp_415() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        peer.ask("INVITE", "--b1\r\n" * 5000, content_type="multipart/mixed;boundary=b1")
        await peer.response(400, "INVITE")
        peer.ask("INVITE", "--b1\r\n\r\nhello\r\n--b1--", content_type="multipart/mixed;boundary=b1", call_id="raw-2")
        response = await peer.response(415, "INVITE")
        assert response.headers.get("Accept") == "application/sdp"

    World().run_with_peer(story)


def test_an_answer_in_a_multipart_2xx_is_understood() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calling = asyncio.ensure_future(phone.call("sip:peer@10.0.0.9").__aenter__())
        invite = await peer.request("INVITE")
        body = multipart("Content-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\nxx")
        data = invite.create_response(
            200,
            to_tag="peer",
            headers=(("Contact", "<sip:peer@10.0.0.9:5060>"),),
            body=body.encode(),
            content_type="multipart/mixed;boundary=b1",
        )
        peer.send(bytes(data))
        await peer.request("ACK")
        call = await calling
        assert call.codec == "PCMA"
        ending = asyncio.ensure_future(call.hangup())
        peer.answer(await peer.request("BYE"), 200)
        await ending

    World().run_with_peer(story)
