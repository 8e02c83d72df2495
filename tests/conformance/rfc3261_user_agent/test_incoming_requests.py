"""RFC 3261 §8.2 and §11: what a request outside of dialogs is answered, check by check and in their order."""

from __future__ import annotations

import pytest

from flexosip.sip.message import Request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.uri import SipUri
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request, udp_flow


def test_options_is_answered_with_what_is_implemented() -> None:
    agent = Agent()
    agent.receive(request("OPTIONS"))
    response = agent.wire.take_response(200)
    assert response.allow == {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "OPTIONS", "PRACK", "UPDATE"}
    assert response.headers.get("Accept") == "application/sdp"
    assert response.headers.get("Accept-Encoding") == "identity"
    assert "Accept-Language" in response.headers and "Supported" not in response.headers
    assert str(response.contact) == "<sip:us@192.0.2.1:5060>" and response.to.tag


def test_options_is_answered_as_an_invite_would_be() -> None:
    agent = Agent()
    agent.core.options_status = lambda request, flow: 486
    agent.receive(request("OPTIONS"))
    response = agent.wire.take_response(486)
    assert "INVITE" in response.allow and response.contact is None


def test_max_forwards_0_does_not_matter_to_a_user_agent() -> None:
    agent = Agent()
    agent.receive(request("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    assert agent.wire.lines() == ["200"]


def test_supported_names_the_extensions_that_are_implemented() -> None:
    agent = Agent()
    agent.core.supported = frozenset({"timer", "replaces"})
    agent.receive(request("OPTIONS"))
    assert agent.wire.take_response(200).supported == {"timer", "replaces"}
    agent.receive(request("OPTIONS", branch="z9hG4bK2", call_id="2", headers=(("Require", "timer"),)))
    assert agent.wire.lines() == ["200"]


@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "MESSAGE"])
def test_a_method_that_is_not_implemented_gets_405_with_allow(method: str) -> None:
    agent = Agent()
    agent.receive(request(method))
    assert agent.wire.take_response(405).allow == {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "OPTIONS", "PRACK", "UPDATE"}


@pytest.mark.parametrize("method", ["NEWMETHOD", "RE%47IST%45R", "options"])
def test_a_method_that_nobody_knows_gets_501(method: str) -> None:
    agent = Agent()
    agent.receive(request(method))
    assert agent.wire.lines() == ["501"]


@pytest.mark.parametrize("method", ["BYE", "INFO"])
def test_a_request_that_needs_a_dialog_gets_481_without_one(method: str) -> None:
    agent = Agent()
    agent.receive(request(method))
    assert agent.wire.lines() == ["481"]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "INFO"])
def test_a_to_tag_that_we_never_gave_gets_481(method: str) -> None:
    agent = Agent()
    agent.receive(request(method, to_tag="of-a-former-life"))
    assert agent.wire.lines() == ["481"]


@pytest.mark.parametrize("uri", ["nobody:knows", "soap.beep://192.0.2.103:3002", "tel:+4930123"])
def test_an_unknown_uri_scheme_gets_416(uri: str) -> None:
    agent = Agent()
    agent.receive(request("OPTIONS", uri=uri))
    assert agent.wire.lines() == ["416"]


def test_a_foreign_request_uri_gets_404() -> None:
    agent = Agent()
    agent.core.is_local_uri = lambda uri: isinstance(uri, SipUri) and uri.user == "us"
    agent.receive(request("OPTIONS", uri="sip:else@192.0.2.1"))
    agent.receive(request("OPTIONS", branch="z9hG4bK2", cseq=2))
    assert agent.wire.lines() == ["404", "200"]


def test_unknown_extensions_in_require_get_420_with_exactly_those() -> None:
    agent = Agent()
    agent.core.supported = frozenset({"replaces"})
    headers = (("Require", "nothingSupportsThis, replaces"), ("Require", "norThis"), ("Proxy-Require", "proxyOnly"))
    agent.receive(request("OPTIONS", headers=headers))
    assert agent.wire.take_response(420).headers.get_all("Unsupported") == ["nothingSupportsThis", "norThis"]


def test_proxy_require_is_not_for_us() -> None:
    agent = Agent()
    agent.receive(request("OPTIONS", headers=(("Proxy-Require", "proxyOnly"),)))
    assert agent.wire.lines() == ["200"]


@pytest.mark.parametrize(
    ("headers", "status", "name", "value"),
    [
        ((("Content-Type", "application/unknown"),), 415, "Accept", "application/sdp"),
        ((("Content-Type", "application/sdp"), ("Content-Encoding", "gzip")), 415, "Accept-Encoding", "identity"),
        ((("Accept", "text/nobodyKnowsThis"),), 406, None, None),
        ((("Accept", ""),), 406, None, None),
        ((("Accept", "text/plain, Application/SDP;q=0.3"),), 100, None, None),
        ((("Accept", "*/*"),), 100, None, None),
        ((("Content-Type", "application/unknown"), ("Content-Disposition", "render;handling=optional")), 100, None, None),
        ((("Content-Encoding", "identity"),), 100, None, None),
    ],
)
def test_a_body_that_is_not_understood_gets_415_and_an_answer_nobody_wants_406(
    headers: tuple[tuple[str, str], ...], status: int, name: str | None, value: str | None
) -> None:
    agent = Agent()
    if not any(key == "Content-Type" for key, _ in headers):
        headers = (("Content-Type", "application/sdp"), *headers)
    agent.receive(request("INVITE", body=OFFER.decode(), headers=headers))
    response = agent.wire.take_response(status)
    assert name is None or response.headers.get(name) == value
    assert bool(agent.usages) == (status == 100)


def test_the_checks_come_in_the_order_of_the_rfc() -> None:
    agent = Agent()
    agent.core.is_local_uri = lambda uri: isinstance(uri, SipUri) and uri.user == "us"
    wrong = {"headers": (("Require", "x"), ("Content-Type", "a/b")), "body": "x"}
    agent.receive(request("PUBLISH", uri="sip:else@host", branch="z9hG4bK1", call_id="1", **wrong))  # type: ignore[arg-type]
    agent.receive(request("INVITE", uri="beep:x", branch="z9hG4bK2", call_id="2", **wrong))  # type: ignore[arg-type]
    agent.receive(request("INVITE", uri="sip:else@host", branch="z9hG4bK3", call_id="3", **wrong))  # type: ignore[arg-type]
    agent.receive(request("INVITE", branch="z9hG4bK4", call_id="4", **wrong))  # type: ignore[arg-type]
    agent.receive(request("INVITE", branch="z9hG4bK5", call_id="4", **wrong))  # type: ignore[arg-type]
    agent.receive(request("INVITE", branch="z9hG4bK6", call_id="6", headers=wrong["headers"][1:], body="x"))  # type: ignore[arg-type,index]
    assert agent.wire.lines() == ["405", "416", "404", "420", "482", "415"]


def test_a_call_without_an_application_gets_480() -> None:
    agent = Agent()
    agent.core.on_invite = None
    agent.receive(request("INVITE"))
    assert agent.wire.lines() == ["480"]


def test_a_message_goes_to_the_application_and_message_is_then_allowed() -> None:
    agent = Agent()
    texts: list[bytes] = []

    def on_message(request: Request, transaction: ServerTransaction) -> None:
        texts.append(request.body)
        transaction.respond(request.create_response(200))

    agent.core.on_message = on_message
    agent.receive(request("MESSAGE", body="hello", headers=(("Content-Type", "text/plain"),)))
    assert texts == [b"hello"] and agent.wire.take_response(200).to.tag
    assert "MESSAGE" in agent.core.allow
    agent.receive(request("MESSAGE", branch="z9hG4bK2", cseq=2, body="x", headers=(("Content-Type", "multipart/mixed;boundary=b"),)))
    assert agent.wire.take_response(415).headers.get("Accept") == "text/plain"


def test_a_registrar_above_takes_register_and_may_leave_the_rest() -> None:
    agent = Agent()

    def on_other(request: Request, transaction: ServerTransaction) -> bool:
        if request.method != "REGISTER":
            return False
        transaction.respond(request.create_response(200))
        return True

    agent.core.on_other = on_other
    agent.receive(request("REGISTER"))
    agent.receive(request("PUBLISH", branch="z9hG4bK2", cseq=2))
    assert agent.wire.lines() == ["200", "405"]


# -- silence for strangers ------------------------------------------------------------------------------------------------


def test_strangers_meet_silence_whatever_they_send() -> None:
    agent = Agent()
    agent.core.accept = lambda request, flow: False
    for number, data in enumerate(
        (
            request("OPTIONS"),
            request("INVITE", body=OFFER.decode()),
            request("BYE", to_tag="x"),
            request("CANCEL", branch="z9hG4bKc"),
            request("NONSENSE"),
            request("OPTIONS", cseq_method="INVITE"),
            request("OPTIONS", uri="beep:x", call_id="beep"),
        )
    ):
        agent.receive(data.replace(b"z9hG4bKpeer1", f"z9hG4bK{number}".encode()))
    agent.wire.advance(60)
    assert agent.wire.lines() == []
    assert agent.core.statistics().stack.ignored == 7


def test_what_belongs_to_a_call_is_answered_also_to_strangers() -> None:
    agent = Agent()
    usage = agent.called()
    agent.core.accept = lambda request, flow: False
    usage.accept(ANSWER)
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.receive(agent.in_dialog(usage, "INFO", 2))
    agent.receive(agent.in_dialog(usage, "BYE", 3))
    assert agent.wire.lines() == ["200", "200", "200"]


def test_the_cancel_of_an_accepted_invite_is_answered_whoever_sends_it() -> None:
    agent = Agent()
    agent.called()
    agent.core.accept = lambda request, flow: False
    agent.receive(request("CANCEL"))
    assert agent.wire.lines() == ["200", "487"]


def test_a_flood_is_answered_503_beyond_the_limit_and_a_call_within_it_goes_on() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.wire.take()
    agent.core.stack.max_pending = 20
    agent.handler.do.clear()
    for number in range(100):
        agent.receive(request("INVITE", branch=f"z9hG4bKf{number}", call_id=f"flood{number}"))
    answers = agent.wire.lines()
    assert answers.count("100") == 20 and answers.count("503") == 80
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    assert agent.wire.lines() == ["200"]


def test_the_user_agent_header_is_only_sent_when_asked_for_and_only_in_requests() -> None:
    agent = Agent()
    agent.core.product = "bell/1"
    agent.receive(request("OPTIONS"))
    response = agent.wire.take_response(200)
    assert "Server" not in response.headers and "User-Agent" not in response.headers
    agent.call()
    assert agent.wire.take_request("INVITE").headers.get("User-Agent") == "bell/1"


def test_closing_drops_everything_without_a_word() -> None:
    agent = Agent()
    agent.called()
    agent.call()
    agent.wire.take()
    agent.core.close()
    assert agent.left_behind() == (0, 0, 0)
    assert agent.wire.lines() == []


def test_answers_take_the_contact_of_the_flow_the_request_came_over() -> None:
    agent = Agent(udp_flow())
    agent.flow.local = ("198.51.100.1", 5099)
    agent.receive(request("OPTIONS"))
    assert str(agent.wire.take_response(200).contact) == "<sip:us@198.51.100.1:5099>"
