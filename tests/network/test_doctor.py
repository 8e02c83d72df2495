"""What the doctor finds of each illness that a network, a router, a server or an account can have (rows 44 and 145)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, ConfigurationError, Phone, Reach, Tone
from flexosip.advice.findings import FINDINGS
from flexosip.doctor import Finding, Machine, examine
from flexosip.net.stun import answer_to
from flexosip.pbx import Pbx
from flexosip.phone.profiles.profile import phone_arguments
from flexosip.testing import FakeFritzBox, Handset, Stage
from tests.certificates import Authority
from tests.network.doctor_stage import HERE, NOW, SERVER, Examination, ids
from tests.network.stage import World, sdp

PUBLIC, NAT, INSIDE = "198.51.100.7", "203.0.113.1", "192.168.1.2"


def one(findings: list[Finding], name: str) -> Finding:
    """The finding of that id, which has a remedy unless it is ok."""
    (found,) = [finding for finding in findings if finding.id == name]
    assert found.level == "ok" or found.remedy
    return found


# -- health ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_healthy_account() -> None:
    findings = Examination().run(pbx={"listen": (f"{SERVER}:5060",)}, password="right")
    assert ids(findings) == []
    assert {"parts", "dns", "route", "port", "rtp", "server", "server.tcp", "nat", "large", "register"} <= set(ids(findings, "ok"))
    assert one(findings, "register").details["expires"] == 3600


def test_it_leaves_no_registration_behind() -> None:
    examination = Examination()
    examination.run(server={}, password="right")
    assert examination.server is not None
    requests = examination.server.asked("REGISTER")
    assert requests[-1].headers.get("Expires") == "0"


def test_findings_are_told_as_they_come() -> None:
    told: list[Finding] = []
    assert Examination().run(server={}, password="right", on_finding=told.append) == told != []


def test_without_registering_no_password_leaves() -> None:
    examination = Examination()
    findings = examination.run(server={"challenges": True}, password="right", register=False)
    assert examination.server is not None and examination.server.asked("REGISTER") == [] and ids(findings) == []


def test_a_setting_that_cannot_be_used_is_an_error_and_no_finding() -> None:
    with pytest.raises(ConfigurationError):
        Examination().run("nonsense", server={})
    with pytest.raises(ConfigurationError):
        Examination().run(server={}, patience=0)


# -- machine, names, way --------------------------------------------------------------------------------------------------


def test_a_websocket_account_without_its_part() -> None:
    findings = Examination().run(server={}, proxy=f"wss://{SERVER}/ws")
    assert ids(findings)[0] == "parts.web"


def test_a_clock_that_was_never_set() -> None:
    assert "clock.unset" in ids(Examination().run(server={}, password="right", machine=Machine(now=lambda: 86400.0)))


@pytest.mark.parametrize("apart", [-3600.0, 90.0])
def test_a_clock_that_differs_from_the_servers(apart: float) -> None:
    finding = one(Examination().run(server={"date": NOW - apart}, password="right"), "clock.wrong")
    assert finding.details["seconds"] == pytest.approx(apart) and ("ahead" in finding.found) == (apart > 0)


def test_a_nonsensical_date_is_no_finding() -> None:
    assert "clock.wrong" not in ids(Examination().run(server={"date": None, "headers": (("Date", "soon"),)}, password="right"))


def test_a_name_that_nobody_knows() -> None:
    findings = Examination().run("sip:bell@fritz.bix", server={})
    assert ids(findings) == ["dns.unknown"] and "fritz.bix" in findings[-1].found


def down(world: World) -> None:
    world.network.dns.down = True


def test_no_name_server() -> None:
    assert ids(Examination().run("sip:bell@fritz.box", server={}, prepare=down)) == ["dns.no-server"]


def named(name: str = "provider.test", **changes: Any) -> Any:
    def prepare(world: World) -> None:
        world.network.name(name, SERVER)
        for key, value in changes.items():
            setattr(world.network, key, value)

    return prepare


def test_slow_names() -> None:
    findings = Examination().run("sip:bell@fritz.box", server={}, password="x", prepare=named("fritz.box", lookup_delay=1.5))
    assert one(findings, "dns.slow").details["seconds"] > 1


def test_service_records_that_nobody_answers() -> None:
    def prepare(world: World) -> None:
        named()(world)
        world.network.dns.silent = {"SRV", "NAPTR"}

    assert "dns.services-silent" in ids(Examination().run("sip:bell@provider.test", server={}, password="x", prepare=prepare))


def test_a_service_record_that_leads_nowhere() -> None:
    def prepare(world: World) -> None:
        named()(world)
        world.network.dns.srv("_sip._udp.provider.test", 10, 1, 5060, "gone.provider.test")
        world.network.dns.srv("_sip._udp.provider.test", 20, 1, 5060, "provider.test")

    findings = Examination().run("sip:bell@provider.test", server={}, password="x", prepare=prepare)
    assert "gone.provider.test" in one(findings, "dns.no-target").found


def test_service_records_are_followed() -> None:
    def prepare(world: World) -> None:
        world.network.name("a.provider.test", SERVER)
        world.network.dns.naptr("provider.test", 10, 10, "SIP+D2U", "_sip._udp.provider.test")
        world.network.dns.srv("_sip._udp.provider.test", 10, 1, 5060, "a.provider.test")

    findings = Examination().run("sip:bell@provider.test", server={}, password="x", prepare=prepare)
    assert "a.provider.test" in one(findings, "dns").found and one(findings, "register")


def test_no_way_to_the_server() -> None:
    assert ids(Examination().run("sip:bell@[2001:db8::7]", server={})) == ["route.none"]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (Machine(now=lambda: NOW, interfaces={HERE: "wg0"}), "route.vpn"),
        (Machine(now=lambda: NOW, surroundings="container"), "route.container"),
        (Machine(now=lambda: NOW, surroundings="wsl"), "route.wsl"),
        (Machine(now=lambda: NOW, interfaces={HERE: "docker0"}), "route.bridge"),
    ],
)
def test_a_way_through_something_between(machine: Machine, name: str) -> None:
    assert ids(Examination().run(server={}, password="x", machine=machine)) == [name]


def test_a_container_that_talks_to_itself_needs_no_ports_mapped() -> None:
    examination = Examination()
    machine = Machine(now=lambda: NOW, surroundings="container")
    host = examination.world.network.host("127.0.0.1")
    assert "route.container" not in ids(examination.run(server={}, password="x", machine=machine, host=host))


def test_a_box_in_another_house() -> None:
    examination = Examination()
    findings = examination.run(server={}, password="x", host=examination.world.network.host("192.168.178.20"))
    assert "route.other-net" in ids(findings)


def test_several_interfaces_are_told() -> None:
    machine = Machine(now=lambda: NOW, interfaces={HERE: "eth0", "192.168.7.2": "wlan0", "127.0.0.1": "lo"})
    found = one(Examination().run(server={}, password="x", machine=machine), "route").found
    assert "eth0" in found and "192.168.7.2 (wlan0)" in found and "127" not in found


def test_another_program_has_the_sip_port() -> None:
    examination = Examination()
    host = examination.world.network.host(HERE)

    async def busy() -> list[Any]:
        return [await host.open_datagram(HERE, 5060, lambda data, remote, local: None)]

    machine = Machine(now=lambda: NOW, owner=lambda transport, port: f"linphone ({port})")
    findings = examination.run(server={}, password="x", host=host, machine=machine, prepare=lambda world: busy())
    assert "UDP by linphone (5060)" in one(findings, "port.busy").found and ids(findings) == ["port.busy"]


@pytest.mark.parametrize(("taken", "name"), [(16, "rtp.none"), (12, "rtp.scarce")])
def test_ports_for_sound_are_taken(taken: int, name: str) -> None:
    examination = Examination()
    host = examination.world.network.host(HERE)

    async def busy() -> list[Any]:
        return [host.bind_media(HERE, 20000 + 2 * number) for number in range(taken)]

    findings = examination.run(server={}, password="x", host=host, media_ports=(20000, 20032), prepare=lambda world: busy())
    assert ids(findings) == [name]


# -- the server -----------------------------------------------------------------------------------------------------------


def test_a_silent_server() -> None:
    findings = Examination().run(password="x")
    assert ids(findings)[:2] == ["server.silent", "register.silent-box"]


def test_a_server_that_leaves_options_unanswered_is_well() -> None:
    findings = Examination().run(server={"silent_to": ("OPTIONS",)}, password="x")
    assert ids(findings) == ["server.no-options"] and one(findings, "register").level == "ok"
    assert [finding.id for finding in findings][-2:] == ["server.no-options", "register"]


def test_a_machine_without_a_server() -> None:
    examination = Examination(icmp=True)
    findings = examination.run(password="x", prepare=lambda world: world.network.host(SERVER) and None)
    assert "server.refused" in ids(findings) and "5060" in one(findings, "server.refused").found


def test_a_server_that_takes_no_tcp() -> None:
    findings = Examination().run(f"sip:bell@{PUBLIC}", server={"silent_to": ("OPTIONS",)}, ip=PUBLIC, transport="tcp", password="x")
    assert ids(findings)[:2] == ["server.refused", "register.network"] and "TCP" in one(findings, "server.refused").found
    assert one(findings, "register.variant").remedy == "Write it so: --transport udp."


def test_another_transport_works() -> None:
    findings = Examination().run(pbx={"listen": (f"tcp:{SERVER}:5060",)}, password="right")
    assert "--transport tcp" in one(findings, "server.other-transport").remedy
    assert one(findings, "register.variant").remedy == "Write it so: --transport tcp."


def test_a_line_that_loses_packets() -> None:
    examination = Examination()
    examination.world.network.drop("OPTIONS", 1)
    assert ids(examination.run(server={}, password="x")) == ["server.lossy"]


def test_a_slow_server() -> None:
    assert "server.slow" in ids(Examination(delay=0.6).run(pbx={"listen": (f"tcp:{SERVER}:5060",)}, transport="tcp", password="right"))


def test_fragments_that_are_dropped() -> None:
    finding = one(Examination().run(server={"largest": 1472}, password="x"), "large.lost")
    assert finding.details["octets"] > 1500


@pytest.mark.parametrize(
    ("issued", "domain", "words"),
    [({"ends": -0.5}, "example.org", "expired"), ({}, "other.test", "other.test"), ({"self_signed": True}, "example.org", "self-signed")],
)
def test_a_certificate_that_is_refused(issued: dict[str, Any], domain: str, words: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    findings = tls(authority, authority.server(domain, **issued))
    finding = one(findings, "certificate.refused")
    assert words in finding.found and finding.part == "network"
    assert not any(name.startswith("register") for name in ids(findings))


def tls(authority: Authority, server: Any) -> list[Finding]:
    import time

    def prepare(world: World) -> None:
        world.network.name("example.org", SERVER)

    return Examination().run(
        "sip:bell@example.org", pbx={"listen": (f"tls:{SERVER}:5061",), "tls": server}, transport="tls", tls_ca=authority.certificate,
        password="right", machine=Machine(now=time.time), prepare=prepare,
    )  # fmt: skip


def test_a_certificate_that_expires_soon_and_one_that_does_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert one(tls(authority, authority.server("example.org", ends=5 * 24)), "certificate.soon").details["days"] == 4
    findings = tls(authority, authority.server("example.org", ends=90 * 24))
    assert one(findings, "certificate").details["days"] == 89 and ids(findings) == []


def test_an_account_reached_by_tls_sends_nothing_in_the_clear() -> None:
    examination = Examination()
    findings = examination.run(server={}, transport="tls", password="right")
    assert "server.refused" in ids(findings) and "register.network" in ids(findings)
    assert examination.server is not None and examination.server.seen == []


# -- address translation --------------------------------------------------------------------------------------------------


def behind(examination: Examination, public: str = NAT, **settings: Any) -> Any:
    return examination.world.network.host(INSIDE, nat=examination.world.network.nat(public, lifetime=120, **settings))


def translated(
    server: dict[str, Any] | None = None, public: str = NAT, prepare: Any = None, nat: Any = None, **settings: Any
) -> list[Finding]:
    examination = Examination()
    host = behind(examination, public, **(nat or {}))
    aor = f"sip:bell@{PUBLIC}"
    return examination.run(aor, server=server or {}, ip=PUBLIC, host=host, password="x", prepare=prepare, **settings)


def test_a_translation_is_told_and_no_fault() -> None:
    findings = translated()
    assert NAT in one(findings, "nat").found and ids(findings) == []


def test_a_server_that_does_not_tell_how_it_sees_us() -> None:
    assert "nat.no-rport" in ids(translated({"own_view": False}))


def test_an_address_that_providers_share() -> None:
    assert ids(translated(public="100.64.3.4")) == ["nat.carrier"]


def test_a_translation_within_the_house() -> None:
    examination = Examination()
    host = examination.world.network.host("172.17.0.2", nat=examination.world.network.nat("10.0.0.5"))
    assert "nat.inner" in ids(examination.run(server={}, host=host, password="x"))


@pytest.mark.parametrize("reach", [Reach(keep_alive="none"), Reach(keep_alive_interval=600)])
def test_nothing_keeps_the_way_open(reach: Reach) -> None:
    assert ids(translated(reach=reach)) == ["nat.keep-alive"]


STUN = "198.51.100.8"


def stun(answers: bool = True, seen_at: str | None = None) -> Any:
    def prepare(world: World) -> Any:
        async def open_server() -> list[Any]:
            def receive(data: bytes, remote: tuple[str, int], local: str) -> None:
                answer = answer_to(data, (seen_at or remote[0], remote[1]))
                if answer is not None and answers:
                    endpoint.send(answer, remote)

            endpoint = await world.network.host(STUN).open_datagram(STUN, 3478, receive)
            return [endpoint]

        return open_server()

    return prepare


def test_a_translation_that_keeps_its_port() -> None:
    findings = translated(prepare=stun(), reach=Reach(stun_server=STUN), nat={"filtering": False})
    assert one(findings, "nat.mapping").level == "ok" and ids(findings) == []


def test_a_translation_with_a_port_for_each_destination() -> None:
    findings = translated(prepare=stun(), reach=Reach(stun_server=STUN), nat={"kind": "symmetric"})
    assert "nat.symmetric" in ids(findings)


def test_a_stun_server_that_is_silent() -> None:
    assert "nat.stun-silent" in ids(translated(prepare=stun(answers=False), reach=Reach(stun_server=STUN)))


def test_two_ways_out() -> None:
    assert "nat.two-ways" in ids(translated(prepare=stun(seen_at="203.0.113.77"), reach=Reach(stun_server=STUN)))


def test_a_firewall_that_changes_the_port_only() -> None:
    def other_port(data: bytes) -> bytes:
        return re.sub(rb"rport=\d+", b"rport=4444", data)

    assert "nat.port" in ids(Examination().run(server={"altered": other_port}, password="x"))


# -- routers that rewrite SIP (row 44) ------------------------------------------------------------------------------------


def replaced(pattern: bytes, by: bytes) -> Any:
    return lambda data: re.sub(pattern, by, data)


@pytest.mark.parametrize(
    ("name", "altered"),
    [
        ("alg.via", replaced(rb"Via: SIP/2.0/UDP 10\.0\.0\.1:\d+", b"Via: SIP/2.0/UDP 203.0.113.1:61000")),
        ("alg.via", replaced(rb"branch=z9hG4bK", b"branch=z9hG4bKalg")),
        ("alg.call-id", replaced(rb"Call-ID: ", b"Call-ID: alg-")),
        ("alg.from", replaced(rb"(From: [^\r]*)@10\.0\.0\.9", rb"\1@203.0.113.1")),
        ("alg.contact", replaced(rb"(Contact: <sip:[0-9a-f]+)@10\.0\.0\.1:\d+", rb"\1@203.0.113.1:61000")),
        ("alg.length", replaced(rb"Content-Length: 0", b"Content-Length: 33")),
    ],
)
def test_a_router_that_rewrites(name: str, altered: Any) -> None:
    findings = Examination().run(server={"altered": altered}, password="x", patience=1.0)
    assert ids(findings).count(name) == 1
    assert "ALG" in one(findings, name).cause


def test_an_answer_from_elsewhere() -> None:
    examination = Examination()

    async def elsewhere() -> list[Any]:
        other = await examination.world.network.host("10.0.0.77").open_datagram("10.0.0.77", 5060, lambda data, remote, local: None)
        assert examination.server is not None
        examination.server.reply_from = other
        return [other]

    findings = examination.run(server={}, password="x", prepare=lambda world: elsewhere())
    assert "10.0.0.77:5060" in one(findings, "alg.source").found


def test_no_sign_where_nobody_rewrites() -> None:
    assert not any(name.startswith("alg") for name in ids(translated()))


# -- registering ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_shown_at_most_twice() -> None:
    examination = Examination()
    findings = examination.run(
        "sip:Bell@10.0.0.9", server={"challenges": True, "user": "nobody"}, password="wrong", auth_user="4711", registrar=f"{SERVER}:5060"
    )
    assert examination.server is not None and examination.server.passwords_shown == 2
    assert ids(findings) == ["register.credentials", "register.stopped"]
    assert one(findings, "register.credentials").part == "credentials"


def test_the_user_name_for_the_password_is_another() -> None:
    examination = Examination()
    findings = examination.run(server={"challenges": True, "known_auth_user": f"bell@{SERVER}"}, password="right")
    assert one(findings, "register.variant").remedy == f"Write it so: --auth-user bell@{SERVER}."
    assert examination.server is not None and examination.server.passwords_shown == 2


def test_the_account_is_named_after_its_sip_id() -> None:
    findings = Examination().run(
        server={"altered": lambda data: None if b"From: <sip:bell@" in data else data}, auth_user="4711", password="right"
    )
    assert "--account sip:4711@" in one(findings, "register.variant").remedy


def test_no_password_where_one_is_wanted() -> None:
    findings = Examination().run(server={"challenges": True})
    assert ids(findings) == ["register.no-password"]
    assert "--password-file" in findings[-1].remedy and findings[-1].part == "credentials"


def test_a_registrar_that_refuses_before_it_has_seen_a_password() -> None:
    findings = Examination().run(server={"register_status": 403}, password="x")
    assert one(findings, "register.unwanted").details["status"] == 403


@pytest.mark.parametrize(("status", "name"), [(404, "register.refused"), (405, "register.refused"), (500, "register.server")])
def test_a_registrar_that_refuses(status: int, name: str) -> None:
    finding = one(Examination().run(server={"register_status": status}, password="x"), name)
    assert finding.details["status"] == status and str(status) in finding.found


def test_a_provider_that_drops_registrations() -> None:
    findings = Examination().run(f"sip:bell@{PUBLIC}", server={"silent_to": ("REGISTER",)}, ip=PUBLIC, password="x")
    assert "register.silent" in ids(findings) and one(findings, "server").level == "ok"


def test_a_registration_for_some_seconds_only() -> None:
    assert ids(Examination().run(server={"expires": 30}, password="x")) == ["register.short"]


def test_outbound_that_the_registrar_does_not_stand() -> None:
    def drop_outbound(world: World) -> None:
        world.network.filters.append(lambda packet: packet.data.startswith(b"REGISTER") and b"+sip.instance" in packet.data)

    findings = Examination().run(server={}, password="x", reach=Reach(outbound=True), prepare=drop_outbound)
    assert one(findings, "register.variant").remedy == "Write it so: outbound = no."


# -- a FRITZ!Box ----------------------------------------------------------------------------------------------------------


def at_a_box(user: str = "bell", password: str = "secret", **settings: Any) -> tuple[list[Finding], FakeFritzBox]:
    """The findings about a telephone of a FRITZ!Box, and the box."""
    stage = Stage()
    stage.network.name("fritz.box", "192.168.178.1")

    async def story() -> tuple[list[Finding], FakeFritzBox]:
        handsets = [Handset("610", answers=1.0)]
        async with await FakeFritzBox.open(stage.host("box", "192.168.178.1"), users={"bell": "secret"}, handsets=handsets) as box:
            arguments = phone_arguments("fritzbox", user, password, **settings)
            host, machine = stage.host("bell", "192.168.178.20"), Machine(now=lambda: NOW)
            return await examine(arguments.pop("aor"), network=host, clock=stage.clock, machine=machine, **arguments), box

    return stage.play(story())


def test_a_telephone_of_a_box_is_well_but_for_large_requests() -> None:
    findings, box = at_a_box(call="**610")
    assert ids(findings) == ["large.lost", "call.no-sound"]  # the handsets of this box have no microphone
    assert not box.locked_out("192.168.178.20") and box.stray == 0


def test_a_user_name_that_the_box_does_not_know() -> None:
    findings, box = at_a_box("ball")
    problems = ids(findings, "problem")
    assert problems and all(name.startswith("register") for name in problems)
    found = next(finding for finding in findings if finding.id == problems[0])
    assert "user name" in found.cause + found.remedy
    assert not box.locked_out("192.168.178.20")


def test_a_register_with_more_than_the_box_wants() -> None:
    findings, _ = at_a_box(reach=Reach(outbound=True))
    assert one(findings, "register.variant").remedy == "Write it so: outbound = no."


def test_plain_digits_are_no_number_of_the_house() -> None:
    findings, _ = at_a_box(call="610")
    assert "**" in one(findings, "call.refused").remedy


# -- sound ----------------------------------------------------------------------------------------------------------------


def test_no_codec_in_common() -> None:
    body = sdp(formats="18").replace("m=audio", "m=audio")
    findings = Examination().run(server={"body": body}, password="x", codecs=("PCMA",))
    assert one(findings, "codecs.none").details["theirs"] == ["G729"]


def test_codecs_in_common() -> None:
    findings = Examination().run(server={"body": sdp(formats="8 0 101")}, password="x", codecs=("PCMA",))
    assert one(findings, "codecs").details["theirs"] == ["PCMA", "PCMU"] and ids(findings) == []


def called(answer: Any, **settings: Any) -> list[Finding]:
    """The findings when `test` is called and answers by `answer(call)`."""
    examination = Examination()
    parts: list[Any] = []

    def prepare(world: World) -> Any:
        async def callee() -> list[Any]:
            phone = Phone(f"sip:test@{SERVER}", password="test", clock=world.clock, network=world.network.host("10.0.0.2"), **settings)
            phone.on_call(answer)
            parts.append(phone)
            await phone.start()
            return []

        return callee()

    async def close() -> None:
        await parts[0].close()

    original = Pbx.close

    async def closing(self: Pbx) -> None:
        await close()
        await original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pbx, "close", closing)
        patch.setattr("tests.network.doctor_stage.Pbx", lambda users, **more: Pbx({**users, "test": "test"}, **more))
        return examination.run(pbx={"listen": (f"{SERVER}:5060",)}, password="right", call="test", prepare=prepare)


async def announce(call: Call) -> None:
    await call.answer()
    await call.play(Tone(1000.0, duration=20))


async def say_nothing(call: Call) -> None:
    await call.answer()
    await call.wait_ended()


def test_sound_both_ways() -> None:
    findings = called(announce)
    assert ids(findings) == []
    assert one(findings, "call").details["level"] > -20 and "RFC 4733" in one(findings, "dtmf").found


def test_a_call_that_is_silent() -> None:
    assert ids(called(say_nothing)) == ["call.silence"]


def test_nobody_answers() -> None:
    async def ring(call: Call) -> None:
        await call.ring()
        await call.wait_ended()

    assert ids(called(ring)) == ["call.no-answer"]


@pytest.mark.parametrize(("status", "name"), [(486, "call.refused"), (488, "call.media")])
def test_a_call_that_is_refused(status: int, name: str) -> None:
    async def refuse(call: Call) -> None:
        await call.reject(status)

    finding = one(called(refuse), name)
    assert finding.details["status"] == status


def test_no_sound_comes_back_and_keys_have_no_way() -> None:
    findings = Examination().run(server={}, password="x", call="test")
    assert "call.no-sound" in ids(findings)


def test_keys_have_no_way_and_the_sound_shall_go_to_a_private_address() -> None:
    body = sdp(host="192.168.99.9", formats="8")
    examination = Examination()

    class Answering:
        """Answers calls with that description."""

        @staticmethod
        def reply(server: Any) -> Any:
            usual = server.reply

            def reply(request: Any) -> Any:
                if request.method == "INVITE":
                    return 200, (("Contact", f"<{server.uri}>"),), body, "application/sdp"
                return usual(request)

            return reply

    def prepare(world: World) -> None:
        assert examination.server is not None
        examination.server.reply = Answering.reply(examination.server)  # type: ignore[method-assign]

    findings = examination.run(f"sip:bell@{PUBLIC}", server={}, ip=PUBLIC, password="x", call="test", prepare=prepare)
    assert {"dtmf.none", "call.private-address"} <= set(ids(findings))


def test_sound_that_is_lost() -> None:
    async def lossy(call: Call) -> None:
        await announce(call)

    original = Examination.__init__

    def worse(self: Examination, **line: Any) -> None:
        original(self, **line)
        count = iter(range(10**6))
        self.world.network.filters.append(lambda packet: packet.data[:1] == b"\x80" and next(count) % 4 == 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Examination, "__init__", worse)
        assert {"call.loss", "call.far-loss"} & set(ids(called(lossy)))


def test_calls_want_other_credentials() -> None:
    def reply(request: Any) -> Any:
        if request.method == "INVITE":
            return 407, (("Proxy-Authenticate", 'Digest realm="trunk", nonce="n", algorithm=MD5'),), "", None
        return 200, (("Contact", request.headers.get("Contact") or ""),) if request.method == "REGISTER" else (), "", None

    finding = one(Examination().run(server={"reply": reply}, password="x", call="test"), "call.credentials")
    assert finding.details["status"] == 407 and finding.part == "credentials"


def test_a_call_that_gets_no_answer_at_all() -> None:
    assert ids(Examination().run(server={"silent_to": ("INVITE",)}, password="x", call="test")) == ["call.failed"]


# -- the catalogue --------------------------------------------------------------------------------------------------------


def test_every_finding_of_the_catalogue_is_provoked_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8").partition("# -- the catalogue")[0]
    assert [name for name in FINDINGS if f'"{name}"' not in text] == []
