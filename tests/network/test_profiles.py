"""Each profile of the library registers and calls at a server: an embedded PBX in the place of the provider's or one's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, CertificateError, Phone
from flexosip.pbx import Pbx
from flexosip.phone.profiles.server_rules import ServerRules
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.sip.message import Request, Response
from flexosip.testing import FakeFritzBox, FakeServer, Handset
from tests.certificates import Authority
from tests.network.stage import RawPeer, sdp, settle

SERVER = "10.0.0.1"
PLACES = {
    "sipgate": ("sipgate.de", "1234567e0", {"caller_id": "0211 123456"}),
    "easybell": ("voip.easybell.de", "0049211123456", {}),
    "one_and_one": ("sip.1und1.de", "49211123456", {}),
    "telnyx_trunk": ("sip.telnyx.com", "acme", {}),
    "asterisk": ("pbx.example.com", "alice", {}),
    "freeswitch": ("pbx.example.com", "1000", {}),
    "threecx": ("pbx.example.com", "100", {"auth_user": "100"}),
    "fritzbox": ("fritz.box", "bell", {}),
}


def requests(wire: list[bytes], method: str) -> list[str]:
    return [data.decode() for data in wire if data.startswith(method.encode() + b" ")]


@pytest.mark.parametrize("name", PLACES)
def test_it_registers_calls_and_is_called(name: str, clock: VirtualClock, network: VirtualNetwork, tmp_path: Path) -> None:
    domain, user, settings = PLACES[name]
    authority = Authority(tmp_path)
    wire: list[bytes] = []

    async def story() -> None:
        network.name(domain, SERVER)
        listen = (f"{SERVER}:5060", f"tls:{SERVER}:5061")
        pbx = Pbx(
            {user: "secret", "+4930123456": "other"}, listen=listen, realm=domain, algorithms=("MD5",), tls=authority.server(domain),
            clock=clock, network=network.host(SERVER),
        )  # fmt: skip
        common: dict[str, Any] = {"clock": clock, "tls_ca": authority.certificate}
        profiled = Phone.profile(name, user, "secret", host=domain, network=network.host("10.0.0.2"), **common, **settings)
        other = Phone(f"sip:+4930123456@{domain}", password="other", network=network.host("10.0.0.3"), **common)
        profiled.on_wire(lambda message: wire.append(message.data))
        async with pbx, profiled, other:

            async def answer(call: Call) -> None:
                await call.answer()
                await call.wait_ended()

            other.on_call(answer)
            profiled.on_call(answer)
            async with profiled.call("+4930123456"):
                await asyncio.sleep(1)
            async with other.call(user):
                await asyncio.sleep(1)
            await settle(profiled, other)
        assert not network.open_sockets

    clock.run(story())
    register, invite = requests(wire, "REGISTER")[-1], requests(wire, "INVITE")[1]
    assert register.startswith(f"REGISTER sip:{domain} ")
    assert "+sip.instance" not in register
    assert f"From: <sip:{user}@{domain}>" in invite
    if name == "sipgate":
        assert f"P-Preferred-Identity: <sip:49211123456@{domain}>" in invite
    if name == "one_and_one":
        assert f"Contact: <sip:{user}@10.0.0.2:" in register


def test_a_contact_that_is_the_users_name_lets_no_stranger_in(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        network.name("sip.1und1.de", SERVER)
        pbx = Pbx({"49211123456": "secret"}, listen=(f"{SERVER}:5060",), realm="sip.1und1.de", clock=clock, network=network.host(SERVER))
        phone = Phone.one_and_one("49211123456", "secret", clock=clock, network=network.host("10.0.0.2"), listen="10.0.0.2:5060")
        async with pbx, phone:
            stranger = await RawPeer.open(network, "10.0.0.66")
            try:
                stranger.remote = ("10.0.0.2", 5060)
                stranger.ask("INVITE", sdp(host="10.0.0.66"), uri="sip:49211123456@10.0.0.2:5060")
                await stranger.expect_nothing(5)
                assert not phone.calls
            finally:
                stranger.close()

    clock.run(story())


@pytest.mark.parametrize("told", [True, False])
def test_the_certificate_names_the_service_domain_where_that_is_not_the_accounts(
    told: bool, clock: VirtualClock, network: VirtualNetwork, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)

    async def story() -> None:
        network.name("example.org", SERVER)
        place: dict[str, Any] = {"listen": (f"tls:{SERVER}:5061",), "network": network.host(SERVER), "clock": clock}
        pbx = Pbx({"alice": "secret"}, realm="example.org", tls=authority.server("sbc.service.example"), **place)
        rules = ServerRules(service_domain="sbc.service.example" if told else None)
        settings: dict[str, Any] = {"transport": "tls", "tls_ca": authority.certificate, "server_rules": rules, "password": "secret"}
        async with pbx:
            phone = Phone("sip:alice@example.org", clock=clock, network=network.host("10.0.0.2"), **settings)
            if told:
                async with phone:
                    assert pbx.bindings("alice")
            else:
                with pytest.raises(CertificateError, match=r"example\.org"):
                    await phone.start()

    clock.run(story())


def test_a_pickup_code_of_the_profile_is_dialled_before_the_extension(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        async with await FakeFritzBox.open(network.host(SERVER), users={"bell": "secret"}, handsets=[Handset("610", answers=1)]) as box:
            settings: dict[str, Any] = {"host": SERVER, "clock": clock, "network": network.host("10.0.0.2")}
            async with Phone.fritzbox("bell", "secret", server_rules=ServerRules(pickup_code="**"), **settings) as phone:
                async with phone.pickup("610"):
                    assert box.handsets["610"].rang

    clock.run(story())


class ThreeCx(FakeServer):
    """Challenges REGISTER with 407 and a realm that is no host; wants the authentication ID."""

    def on_request(self, request: Request, flow: Any, size: int) -> None:
        values = self.credentials(request)
        if values is None or values.get("username") != "Xy7Zq" or not self.is_right(values, "secret", request.method):
            challenge = f'Digest nonce="414d535c079daad234:{self.new_tag()}",algorithm=MD5,realm="3CXPhoneSystem"'
            self.answer(request, flow, 407, headers=(("Proxy-Authenticate", challenge),))
        else:
            self.answer(request, flow, 200, headers=(("Contact", f"<{request.contacts[0].uri}>;expires=120"),) if request.contacts else ())


def test_a_3cx_asks_with_407_for_the_authentication_id(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        network.name("pbx.example.com", SERVER)
        async with await ThreeCx.open(network.host(SERVER)) as server:
            settings: dict[str, Any] = {"host": "pbx.example.com", "auth_user": "Xy7Zq", "clock": clock}
            async with Phone.threecx("100", "secret", network=network.host("10.0.0.2"), **settings):
                first, second = server.requests("REGISTER")
                assert first.call_id == second.call_id
                credentials = server.credentials(second)
                assert credentials is not None
                assert credentials["realm"] == "3CXPhoneSystem"
                assert str(second.to.uri) == "sip:100@pbx.example.com"
                assert not [item for item in server.received if isinstance(item.message, Response)]

    clock.run(story())
