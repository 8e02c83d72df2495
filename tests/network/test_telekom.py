"""Deutsche Telekom, as far as it was seen on the wire: no address for the domain, guests by line, 423, the Contacts of all devices, SNI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import AuthenticationError, CallFailed, Credentials, Phone, Reach, RegistrationFailed
from flexosip.testing import FakeTelekom, Stage
from tests.certificates import Authority

SERVER, LINE, NUMBER = "198.51.100.10", "203.0.113.20", "+4930123456"


class Provider:
    """The provider's switch, its records, and phones at lines of it."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(limit=2000)
        self.authority = Authority(folder)

    @contextlib.asynccontextmanager
    async def open(self, *transports: str, names: tuple[str, ...] = ("tel.t-online.de",), **settings: Any) -> AsyncIterator[FakeTelekom]:
        """The switch by these transports, with a certificate for `names`."""
        settings = {"lines": {NUMBER: LINE}, "transports": transports or ("udp",), **settings}
        if "tls" in transports:
            settings["tls"] = self.authority.server(*names)
        network = self.stage.network
        async with await FakeTelekom.open(self.stage.host("switch", SERVER), **settings) as server:
            server.publish(network.dns, network.name)
            yield server

    def phone(self, password: str | Credentials | None = None, *, ip: str = LINE, **settings: Any) -> Phone:
        """A phone made by the profile."""
        settings = {"tls_ca": self.authority.certificate, "listen": f"{ip}:5060", **settings}
        return Phone.telekom(NUMBER, password, clock=self.stage.clock, network=self.stage.host("phone", ip), **settings)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_a_domain_without_address_is_found_by_the_srv_of_the_transport(provider: Provider, transport: str) -> None:
    async def story() -> None:
        async with provider.open("udp", "tls") as server, provider.phone(transport=transport) as phone:
            assert NUMBER in server.contacts
            assert {item.flow.transport for item in server.received} == {transport}
            assert phone.accounts[0].registered
            assert {kind for _, kind in provider.stage.network.dns.queries} == {"SRV"}

    provider.stage.play(story())


def test_without_a_transport_naptr_tells_the_way_and_tls_is_taken_when_it_is_asked_for(provider: Provider) -> None:
    async def story() -> None:
        host = provider.stage.host("phone", LINE)
        settings: Any = {"auth_user": "anonymous@t-online.de", "password": "", "tls_ca": provider.authority.certificate}
        async with provider.open("udp", "tls") as server:
            async with Phone(f"sip:{NUMBER}@tel.t-online.de", **settings, clock=provider.stage.clock, network=host):
                assert {item.flow.transport for item in server.received} == {"udp"}
                assert ("tel.t-online.de", "NAPTR") in provider.stage.network.dns.queries

    provider.stage.play(story())


def test_by_tls_the_server_name_is_the_service_domain_and_not_the_host_of_srv(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open("tls") as server, provider.phone(transport="tls"):
            assert server.server_names == ["tel.t-online.de"]

    provider.stage.play(story())


def test_a_certificate_for_the_edge_alone_is_no_proof(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open("tls", names=("edge1.edns.t-ipnet.de",)) as server:
            with pytest.raises(Exception, match=r"tel\.t-online\.de"):
                await provider.phone(transport="tls").start(timeout=10)
            assert not server.requests("REGISTER")

    provider.stage.play(story())


def test_the_guest_of_the_line_registers_without_a_password(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open() as server, provider.phone():
            credentials = server.credentials(server.requests("REGISTER")[-1])
            assert credentials is not None
            assert credentials["username"] == "anonymous@t-online.de"

    provider.stage.play(story())


def test_a_guest_of_another_line_is_refused(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open():
            with pytest.raises(AuthenticationError):
                await provider.phone(ip="203.0.113.99").start()

    provider.stage.play(story())


def test_a_registration_that_is_too_short_is_asked_for_again_as_long_as_the_423_says(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open() as server, provider.phone(expires=300):
            statuses = [message.data.split()[1] for message in provider.stage.messages if message.data.startswith(b"SIP/2.0")]
            assert b"423" in statuses
            assert NUMBER in server.contacts
            lengths = [int(request.contacts[0].parameter("expires") or request.expires or 0) for request in server.requests("REGISTER")]
            assert (lengths[0], lengths[-1]) == (300, 600)

    provider.stage.play(story())


def test_of_the_contacts_in_the_200_our_own_tells_how_long_it_lasts(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open() as server, provider.phone() as phone:
            registration = phone.accounts[0].registration
            assert registration is not None
            before = len(server.requests("REGISTER"))
            # Others last 30 s and two hours; ours 660 s.
            await asyncio.sleep(300)
            assert len(server.requests("REGISTER")) == before
            await asyncio.sleep(400)
            assert len(server.requests("REGISTER")) > before

    provider.stage.play(story())


def test_a_call_shows_the_number_as_p_preferred_identity_and_keeps_the_from(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open() as server, provider.phone(caller_id="030 123 457") as phone:
            async with phone.call("0301234567") as call:
                await asyncio.sleep(1)
                assert call.codec == "PCMA"
            invite = server.requests("INVITE")[-1]
            assert str(invite.from_.uri) == f"sip:{NUMBER}@tel.t-online.de"
            assert invite.headers.get("P-Preferred-Identity") == "<sip:+4930123457@tel.t-online.de>"
            assert invite.start_line.startswith("INVITE sip:0301234567@tel.t-online.de ")

    provider.stage.play(story())


def test_a_number_of_somebody_else_is_refused_with_403(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open(), provider.phone() as phone:
            with pytest.raises(CallFailed) as refused:
                phone.accounts[0].identity_policy = type(phone.accounts[0].identity_policy)()
                await phone.call("0301234567", caller_id="+4989999999")
            assert refused.value.status == 403

    provider.stage.play(story())


def test_outbound_parameters_are_answered_with_400_and_the_profile_sends_none(provider: Provider) -> None:
    async def story() -> None:
        async with provider.open() as server:
            with pytest.raises(RegistrationFailed) as refused:
                await provider.phone(reach=Reach(outbound=True)).start()
            assert refused.value.status == 400
            assert not server.contacts

    provider.stage.play(story())
