"""RFC 5626: the identity of a device, keeping flows alive, and registering anew when one has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flexosip import Phone
from flexosip.errors import ConfigurationError
from flexosip.phone.connectivity.reach import Reach
from flexosip.sip.message import Request
from tests.network.stage import World
from tests.network.test_failover import Server
from tests.network.test_pbx import House

SERVER = "198.51.100.7"
AOR = f"sip:bell@{SERVER}"
URN = "urn:uuid:00000000-0000-4000-8000-000a95a0e128"


class OutboundServer(Server):
    """Answers REGISTER with `headers`; `refuses_outbound` is a first hop that does not do it."""

    domain = SERVER
    headers: tuple[tuple[str, str], ...] = ()
    refuses_outbound = False
    pings = 0
    stun: list[bytes]

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        if data == b"\r\n\r\n":
            self.pings += 1
        elif data[0] < 4:
            self.stun = [*getattr(self, "stun", []), data]
            self.answer_stun(data, remote)
        else:
            super()._on_datagram(data, remote, local_host)

    def answer_stun(self, data: bytes, remote: tuple[str, int]) -> None:
        from flexosip.net.stun import answer_to

        answer = answer_to(data, remote)
        if answer is not None and not self.silent:
            self.send(answer, remote)

    def _respond(self, request: Request, status: int, remote: tuple[str, int], body: str = "", headers: Any = ()) -> None:
        if request.method == "REGISTER":
            if self.refuses_outbound and "outbound" in request.headers.get_all("Supported"):
                status, headers = 439, ()
            headers = (*headers, *self.headers)
        super()._respond(request, status, remote, body, headers)


def run(story: Callable[[World, OutboundServer, Phone], Awaitable[None]], *, ip: str = "203.0.113.5", **settings: Any) -> None:
    """Run `story` with a server and a phone that is not started."""
    world = World()

    async def main() -> None:
        server = await OutboundServer.open(world.network, SERVER)
        assert isinstance(server, OutboundServer)
        phone = world.phone(ip, aor=AOR, password="secret", **settings)
        try:
            await story(world, server, phone)
        finally:
            await phone.close()
            server.close()

    world.run_alone(main)


def first_contact(request: Request) -> str:
    return request.headers.get_all("Contact")[0]


def test_by_default_a_registration_is_minimal() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        register = server.requests("REGISTER")[0]
        assert "instance" not in first_contact(register) and "reg-id" not in first_contact(register)
        assert register.headers.get("Supported") == "path"

    run(story)


def test_asked_for_the_contact_has_the_instance_and_a_reg_id_and_outbound_is_supported() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        register = server.requests("REGISTER")[0]
        assert f';+sip.instance="<{URN}>";reg-id=1' in first_contact(register)
        assert register.headers.get_all("Supported") == ["path", "outbound"]

    run(story, reach=Reach(outbound=True, instance_id=URN))


@pytest.mark.parametrize(("host", "asks"), [("198.51.100.7", True), ("192.168.178.1", False)])
def test_auto_asks_public_servers_only(host: str, asks: bool) -> None:
    world = World()

    async def main() -> None:
        server = await OutboundServer.open(world.network, host)
        async with world.phone("203.0.113.5", aor=f"sip:bell@{host}", reach=Reach(outbound="auto")):
            assert isinstance(server, OutboundServer)
            assert ("reg-id" in first_contact(server.requests("REGISTER")[0])) is asks
        server.close()

    world.run_alone(main)


def test_439_is_answered_by_a_registration_without_outbound() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        server.refuses_outbound = True
        await phone.start()
        asked, plain = server.requests("REGISTER")
        assert "reg-id" in first_contact(asked) and "reg-id" not in first_contact(plain)
        assert plain.cseq.number == asked.cseq.number + 1
        assert world.clock.time() < 1

    run(story, reach=Reach(outbound=True))


def test_the_instance_is_kept_over_restarts_in_the_state_folder(tmp_path: Path) -> None:
    seen = []

    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        seen.append(first_contact(server.requests("REGISTER")[0]).split(";expires")[0])

    for _ in range(2):
        run(story, reach=Reach(outbound=True, state=tmp_path / "state"))
    assert (tmp_path / "state" / "instance").read_text().startswith("urn:uuid:")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert seen[0] == seen[1]


def test_a_damaged_or_unwritable_state_folder_costs_a_warning_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "instance").write_text("nonsense\n")
    (tmp_path / "file").write_text("")

    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()

    run(story, reach=Reach(outbound=True, state=tmp_path))
    assert "a new identity is made" in caplog.text
    assert (tmp_path / "instance").read_text().startswith("urn:uuid:")
    run(story, reach=Reach(outbound=True, state=tmp_path / "file"))
    assert "cannot be" in caplog.text


def test_a_restarted_phone_takes_the_place_of_the_one_that_was_killed(tmp_path: Path) -> None:
    """F18: kill -9 and start again; the registrar has one binding, not two."""
    house = House()

    async def story() -> None:
        reach = Reach(outbound=True, state=tmp_path)
        killed = house.phone("bell", reach=reach)
        await killed.start()
        killed._network.plugged = False  # it cannot say goodbye
        await killed.close()
        before = house.pbx.bindings("bell")
        async with house.phone("bell", reach=reach):
            after = house.pbx.bindings("bell")
            assert len(before) == len(after) == 1
            assert after[0].flow is not before[0].flow

    house.run(story)


def test_without_outbound_a_known_state_folder_makes_the_contact_the_same_after_a_restart(tmp_path: Path) -> None:
    seen = []

    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        seen.append(first_contact(server.requests("REGISTER")[0]))

    run(story, reach=Reach(state=tmp_path))
    run(story, reach=Reach(state=tmp_path))
    run(story)
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance_id": "urn:uuid:nonsense"}, {"instance_id": "x\r\nEvil: 1"}, {"outbound": "yes"}, {"keep_alive": "ping"},
        {"keep_alive_interval": 1}, {"media_dscp": 64}, {"advertise": "0.0.0.0"}, {"advertise": "a b"}, {"stun_server": "\r\n"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Reach(**wrong)


# -- keep-alive (§4.4) --------------------------------------------------------------------------------------------------------


def test_a_public_server_gets_two_line_breaks_every_20_to_25_seconds() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        await asyncio.sleep(300)
        assert 12 <= server.pings <= 15
        assert len(server.requests("REGISTER")) == 1

    run(story)


@pytest.mark.parametrize("setting", ["auto", "none"])
def test_a_server_in_the_house_gets_none(setting: str) -> None:
    world = World()

    async def main() -> None:
        server = await OutboundServer.open(world.network, "192.168.178.1")
        assert isinstance(server, OutboundServer)
        async with world.phone("192.168.178.20", aor="sip:bell@192.168.178.1", reach=Reach(keep_alive=setting)):
            await asyncio.sleep(300)
            assert server.pings == 0
        server.close()

    world.run_alone(main)


def test_a_server_that_wants_to_hear_more_often_is_heard_more_often() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        server.headers = (("Flow-Timer", "10"),)
        await phone.start()
        await asyncio.sleep(100)
        assert 10 <= server.pings <= 13

    run(story)


def test_where_outbound_is_in_use_stun_keeps_the_flow_alive() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        server.headers = (("Require", "outbound"),)
        await phone.start()
        await asyncio.sleep(200)
        assert len(server.stun) >= 8
        assert server.pings == 0
        assert len(server.requests("REGISTER")) == 1

    run(story, reach=Reach(outbound=True))


def test_a_flow_that_answers_no_stun_is_dead_and_it_registers_anew() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        server.headers = (("Require", "outbound"),)
        await phone.start()
        server.answer_stun = lambda data, remote: None  # type: ignore[method-assign]
        await asyncio.sleep(50)
        assert len(server.requests("REGISTER")) == 2

    run(story, reach=Reach(outbound=True))


def test_a_new_mapping_of_the_nat_is_seen_by_stun_and_registered() -> None:
    world = World()

    async def main() -> None:
        server = await OutboundServer.open(world.network, SERVER)
        assert isinstance(server, OutboundServer)
        server.headers = (("Require", "outbound"),)
        nat = world.network.nat("203.0.113.1")
        host = world.network.host("192.168.1.2", nat=nat)
        phone = Phone(AOR, clock=world.clock, network=host, listen=("0.0.0.0:5060",), reach=Reach(outbound=True))
        async with phone:
            await asyncio.sleep(60)
            count = len(server.requests("REGISTER"))
            nat.rebind()
            await asyncio.sleep(60)
            assert len(server.requests("REGISTER")) == count + 1
        server.close()

    world.run_alone(main)


def test_options_find_a_server_that_is_gone() -> None:
    async def story(world: World, server: OutboundServer, phone: Phone) -> None:
        await phone.start()
        await asyncio.sleep(100)
        assert len(server.requests("OPTIONS")) >= 4
        assert len(server.requests("REGISTER")) == 1
        server.silent = True
        await asyncio.sleep(70)
        server.silent = False
        assert len(server.requests("REGISTER")) >= 2

    run(story, reach=Reach(keep_alive="options"))


def test_a_pbx_of_ours_and_a_phone_of_ours_work_by_it() -> None:
    house = House()

    async def story() -> None:
        async with house.phone("bell", reach=Reach(outbound=True)) as bell:
            registration = bell.accounts[0].registration
            assert registration is not None and registration.uses_outbound
            await asyncio.sleep(200)
            assert bell.signalling.keep_alives[bell.accounts[0]].sent >= 8
            assert registration.status == 200 and len(house.pbx.bindings("bell")) == 1

    house.run(story)


@pytest.mark.parametrize("transport", ["tcp"])
def test_a_connection_that_breaks_is_followed_by_a_new_registration_within_three_seconds(transport: str) -> None:
    """F9, F12: the registrar restarts, or somebody resets the connection in between."""
    house = House()

    async def story() -> None:
        async with house.phone("bell", transport=transport), house.phone("kitchen", transport=transport) as kitchen:
            for _ in range(3):
                house.network.reset_streams()
                await asyncio.sleep(3)
                assert len(house.pbx.bindings("bell")) == 1
            assert kitchen.accounts[0].registered

    house.run(story)
