"""RFC 4475: what comes of the odd messages after their first answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import Phone
from flexosip.pbx import Pbx
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.simulation.host import VirtualHost
from flexosip.sip.message import Request
from flexosip.sip.parser import parse_message
from tests.conformance.torture_on_the_wire.renderings import RENDERINGS, SDP, invite
from tests.conformance.torture_on_the_wire.torture import ROLES, Sender, address_of, authorized, make
from tests.sip_agent import Agent
from tests.sip_wire import answer as answer_to

ODD_NAME = '"bell:\\\x07 nul:\\\x00"'
Story = Callable[[Any, VirtualHost], Awaitable[None]]


def stage(role: str, story: Story) -> None:
    """Play a story between a phone or registrar and a host at 10.0.0.2."""
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=3)

    async def main() -> None:
        async with make(role, network.host("10.0.0.1"), host="10.0.0.1", clock=clock) as server:
            await story(server, network.host("10.0.0.2"))

    clock.run(main())


def requests(sender: Sender, method: str) -> list[Request]:
    """The different requests of that method that came."""
    distinct = dict.fromkeys(data for data in sender.received if data.startswith(method.encode() + b" "))
    return [message for message in map(parse_message, distinct) if isinstance(message, Request)]


@pytest.mark.parametrize("role", ROLES)
def test_a_stream_that_never_brings_the_rest_is_closed_after_ten_seconds_without_an_answer(role: str) -> None:
    async def story(server: Phone | Pbx, here: VirtualHost) -> None:
        async with Sender(here, "tcp", address_of(server), host="10.0.0.2") as sender:
            sender.send(RENDERINGS["clerr"])
            await asyncio.sleep(9)
            before = sender.closed
            await asyncio.sleep(2)
            assert (before, sender.closed, sender.received) == (False, True, [])

    stage(role, story)


def test_the_tortuous_invite_is_a_call_like_any_other_without_its_to_tag() -> None:
    async def story(phone: Phone, here: VirtualHost) -> None:
        data = RENDERINGS["wsinv"].replace(b" ;   tag   = e7d", b"")
        async with Sender(here, "udp", address_of(phone), host="10.0.0.2") as sender:
            sender.send(data)
            await sender.until(lambda: bool(sender.finals()))
            [answer] = sender.finals()
            assert answer.status == 200
            assert await sender.finish_call(data, answer) == 200

    stage("phone", story)


def test_sound_over_an_ipv4_mapped_address_is_a_call_over_ipv4() -> None:
    async def story(phone: Phone, here: VirtualHost) -> None:
        data = invite(body=SDP.replace("IP4 127.0.0.9", "IP6 ::ffff:10.0.0.2"))
        async with Sender(here, "udp", address_of(phone), host="10.0.0.2") as sender:
            sender.send(data)
            await sender.until(lambda: bool(sender.finals()))
            [answer] = sender.finals()
            assert answer.status == 200
            assert b"c=IN IP4 10.0.0.1\r\n" in answer.body
            assert await sender.finish_call(data, answer) == 200

    stage("phone", story)


def test_a_caller_with_escaped_controls_in_his_name_is_answered_and_hung_up_on() -> None:
    async def story(phone: Phone, here: VirtualHost) -> None:
        @phone.on_call
        async def answer(call: Any) -> None:
            await call.answer()

        caller = f"{ODD_NAME} <sip:alice@example.org>;tag=a1"
        async with Sender(here, "udp", address_of(phone), host="10.0.0.2") as sender:
            contact = f"Contact: <sip:alice@10.0.0.2:{sender.port}>"
            data = invite(contact, without="Contact", From=caller, To=f"{ODD_NAME} <sip:bob@example.com>")
            sender.send(data)
            await sender.until(lambda: bool(sender.finals()))
            [accepted] = sender.finals()
            assert (accepted.status, accepted.headers.get("From")) == (200, caller)
            sender.acknowledge(data, accepted)
            await sender.until(lambda: bool(requests(sender, "BYE")))
            [bye] = requests(sender, "BYE")
            assert bye.headers.get("To") == caller
            assert bye.from_.tag == accepted.to.tag
            sender.write(bytes(bye.create_response(200)))

    stage("phone", story)


def test_a_refusal_with_escaped_controls_in_its_to_is_acknowledged_as_it_came() -> None:
    agent = Agent()
    agent.call()
    request = agent.wire.take_request("INVITE")
    refusal = answer_to(request, 486).replace(b"To: <sip:peer@example.com>", f"To: {ODD_NAME} <sip:peer@example.com>".encode())
    agent.receive(refusal)
    ack = agent.wire.take_request("ACK")
    assert ack.headers.get("To") == f"{ODD_NAME} <sip:peer@example.com>;tag=remote"
    assert agent.handler.rejection == (486, 486)


def test_a_binding_with_an_escaped_route_is_called_without_it_and_cancelled() -> None:
    # RFC 3261 §19.1.1: no headers in a Request-URI. Following the Route would let a user send other people's calls anywhere.
    async def story(pbx: Pbx, here: VirtualHost) -> None:
        async with (
            Sender(here, "udp", address_of(pbx), host="10.0.0.2") as device,
            Sender(here, "udp", address_of(pbx), host="10.0.0.2") as caller,
        ):
            contact = f"sip:user@10.0.0.2:{device.port}"
            binding = RENDERINGS["regescrt"].replace(b"sip:user@example.com?", f"{contact}?".encode())
            device.send(binding)
            await device.until(lambda: len(device.finals()) == 1)
            device.send(authorized(binding, device.finals()[0]))
            await device.until(lambda: len(device.finals()) == 2)
            assert device.finals()[1].status == 200

            odd = f"{ODD_NAME} <sip:watson@example.com>;tag=w"
            data = invite(uri="sip:user@example.com", From=odd, body=SDP)
            caller.send(data)
            await caller.until(lambda: len(caller.finals()) == 1)
            challenge = caller.finals()[0]
            assert challenge.status == 407
            credentials = authorized(data, challenge)
            branch = caller.send(credentials)
            await device.until(lambda: bool(requests(device, "INVITE")))
            [call] = requests(device, "INVITE")
            assert str(call.uri) == contact
            assert "Route" not in call.headers
            assert call.headers.get("From") == odd
            device.write(bytes(call.create_response(180, to_tag="d")))
            await asyncio.sleep(0.5)
            cancel = (
                f"CANCEL sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP alice.example.org:{caller.port};branch=z9hG4bK-{branch}\r\n"
                f"From: {odd}\r\nTo: <sip:bob@example.com>\r\nCall-ID: rendering@alice.example.org\r\nCSeq: 42 CANCEL\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            caller.write(cancel.encode())
            await device.until(lambda: bool(requests(device, "CANCEL")))
            [cancelled] = requests(device, "CANCEL")
            assert cancelled.headers.get("From") == odd
            device.write(bytes(cancelled.create_response(200)))
            device.write(bytes(call.create_response(487, to_tag="d")))
            await caller.until(lambda: caller.finals()[-1].status == 487)

    stage("registrar", story)
