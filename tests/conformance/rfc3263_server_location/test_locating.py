"""RFC 3263 §4.1 and §4.2: from a URI to servers, by NAPTR, SRV and addresses."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable

import pytest

from flexosip.errors import NetworkError
from flexosip.net.server_location import Target
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.sip.uri import SipUri
from tests.unit.net.sip_peer import SipPeer

Story = Callable[[SipPeer], Awaitable[None]]


def run(clock: VirtualClock, network: VirtualNetwork, story: Story) -> None:
    """Run `story` with a driver on a machine with both address families."""

    async def main() -> None:
        peer = SipPeer(network.host("10.0.0.1", "fd00::1"))
        await peer.driver.listen(["0.0.0.0:5060", "[::]:5060"])
        try:
            await story(peer)
        finally:
            await peer.driver.close()

    clock.run(main())


async def targets(peer: SipPeer, uri: str, transports: tuple[str, ...] = ("udp", "tcp")) -> list[tuple[str, int, str]]:
    """(host, port, transport) of the servers, best first."""
    found = await peer.driver._locator._location.find(SipUri.parse(uri), transports)
    assert all(isinstance(target, Target) and target.service_domain == SipUri.parse(uri).host for target in found)
    return [(target.host, target.port, target.transport) for target in found]


def telekom(network: VirtualNetwork) -> None:
    """A provider whose domain has no address at all."""
    dns = network.dns
    dns.naptr("tel.t-online.test", 10, 10, "SIPS+D2T", "_sips._tcp.tel.t-online.test")
    dns.naptr("tel.t-online.test", 20, 10, "SIP+D2T", "_sip._tcp.tel.t-online.test")
    dns.naptr("tel.t-online.test", 30, 10, "SIP+D2U", "_sip._udp.tel.t-online.test")
    for transport in ("tcp", "udp"):
        dns.srv(f"_sip._{transport}.tel.t-online.test", 10, 0, 5060, "a.edns.test")
        dns.srv(f"_sip._{transport}.tel.t-online.test", 20, 0, 5060, "b.edns.test")
    network.name("a.edns.test", "10.0.1.1")
    network.name("b.edns.test", "10.0.1.2")


def test_a_domain_without_any_address_is_found_by_naptr_and_srv(clock: VirtualClock, network: VirtualNetwork) -> None:
    telekom(network)

    async def story(peer: SipPeer) -> None:
        assert await targets(peer, "sip:tel.t-online.test") == [("a.edns.test", 5060, "tcp"), ("b.edns.test", 5060, "tcp")]

    run(clock, network, story)


def test_of_naptr_the_lowest_order_and_preference_whose_service_we_have_counts(clock: VirtualClock, network: VirtualNetwork) -> None:
    telekom(network)

    async def story(peer: SipPeer) -> None:
        assert {target[2] for target in await targets(peer, "sip:tel.t-online.test", ("udp",))} == {"udp"}

    run(clock, network, story)


def test_naptr_with_the_flag_a_leads_to_addresses_at_once(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.dns.naptr("provider.test", 10, 10, "SIP+D2U", "edge.provider.test", flags="a")
    network.name("edge.provider.test", "10.0.1.1")

    async def story(peer: SipPeer) -> None:
        assert (await peer.locate("sip:provider.test")).remote == ("10.0.1.1", 5060)

    run(clock, network, story)


def test_naptr_that_leads_nowhere_is_passed_over(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.dns.naptr("provider.test", 1, 1, "SIP+D2U", "_sip._udp.nowhere.test")
    network.dns.naptr("provider.test", 2, 1, "E2U+SIP", "")
    network.dns.naptr("provider.test", 3, 1, "SIP+D2U", "", flags="u")
    network.dns.srv("_sip._udp.provider.test", 1, 1, 5070, "edge.provider.test")

    async def story(peer: SipPeer) -> None:
        assert await targets(peer, "sip:provider.test") == [("edge.provider.test", 5070, "udp")]

    run(clock, network, story)


def test_without_naptr_the_srv_records_of_each_transport_are_asked_udp_first(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.dns.srv("_sip._tcp.provider.test", 1, 1, 5061, "tcp.provider.test")

    async def story(peer: SipPeer) -> None:
        assert await targets(peer, "sip:provider.test") == [("tcp.provider.test", 5061, "tcp")]
        network.dns.srv("_sip._udp.other.test", 1, 1, 5062, "udp.other.test")
        network.dns.srv("_sip._tcp.other.test", 1, 1, 5061, "tcp.other.test")
        assert await targets(peer, "sip:other.test") == [("udp.other.test", 5062, "udp")]

    run(clock, network, story)


def test_without_naptr_and_srv_the_address_of_the_domain_serves_at_port_5060_by_udp(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("plain.test", "10.0.1.7")

    async def story(peer: SipPeer) -> None:
        assert await targets(peer, "sip:plain.test") == [("plain.test", 5060, "udp")]
        assert (await peer.locate("sip:plain.test")).remote == ("10.0.1.7", 5060)

    run(clock, network, story)


def test_an_explicit_transport_suppresses_naptr(clock: VirtualClock, network: VirtualNetwork) -> None:
    telekom(network)

    async def story(peer: SipPeer) -> None:
        assert {target[2] for target in await targets(peer, "sip:tel.t-online.test;transport=udp", ("udp",))} == {"udp"}
        assert {kind for _, kind in network.dns.queries} == {"SRV"}

    run(clock, network, story)


def test_an_explicit_port_suppresses_naptr_and_srv(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.dns.srv("_sip._udp.provider.test", 1, 1, 5070, "edge.provider.test")
    network.name("provider.test", "10.0.1.9")

    async def story(peer: SipPeer) -> None:
        flow = await peer.locate("sip:provider.test:5065")
        assert (flow.remote, flow.transport) == (("10.0.1.9", 5065), "udp")
        assert network.dns.queries == []

    run(clock, network, story)


@pytest.mark.parametrize("host", ["10.0.1.1", "[fd00::7]"])
def test_a_numeric_host_is_asked_of_nobody(clock: VirtualClock, network: VirtualNetwork, host: str) -> None:
    async def story(peer: SipPeer) -> None:
        await peer.locate(f"sip:{host}")
        assert network.dns.queries == []

    run(clock, network, story)


def test_maddr_takes_the_place_of_the_host(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.dns.srv("_sip._udp.edge.test", 1, 1, 5070, "a.edge.test")
    network.name("a.edge.test", "10.0.1.3")

    async def story(peer: SipPeer) -> None:
        assert (await peer.locate("sip:provider.test;maddr=edge.test")).remote == ("10.0.1.3", 5070)

    run(clock, network, story)


def test_lower_priorities_come_first(clock: VirtualClock, network: VirtualNetwork) -> None:
    for priority in (30, 10, 20):
        network.dns.srv("_sip._udp.provider.test", priority, 1, 5060, f"p{priority}.test")

    async def story(peer: SipPeer) -> None:
        assert [host for host, _, _ in await targets(peer, "sip:provider.test")] == ["p10.test", "p20.test", "p30.test"]

    run(clock, network, story)


def test_among_equal_priorities_each_server_is_first_as_often_as_its_weight_says(clock: VirtualClock, network: VirtualNetwork) -> None:
    for number in range(600):
        network.dns.srv(f"_sip._udp.d{number}.test", 1, 75, 5060, "heavy.test")
        network.dns.srv(f"_sip._udp.d{number}.test", 1, 25, 5060, "light.test")
        network.dns.srv(f"_sip._udp.d{number}.test", 1, 0, 5060, "idle.test")
    first: collections.Counter[str] = collections.Counter()

    async def story(peer: SipPeer) -> None:
        for number in range(600):
            found = await targets(peer, f"sip:d{number}.test")
            assert len(found) == 3
            first[found[0][0]] += 1

    run(clock, network, story)
    assert 390 < first["heavy.test"] < 510
    assert first["idle.test"] < 10


def test_the_draw_by_weight_holds_when_the_records_are_asked_again_unchanged(clock: VirtualClock, network: VirtualNetwork) -> None:
    for number in range(8):
        network.dns.srv("_sip._udp.provider.test", 1, 10, 5060, f"s{number}.test", ttl=20)

    async def story(peer: SipPeer) -> None:
        first = await targets(peer, "sip:provider.test")
        for _ in range(5):
            await asyncio.sleep(21)
            assert await targets(peer, "sip:provider.test") == first
        assert network.dns.queries.count(("_sip._udp.provider.test", "SRV")) == 6

    run(clock, network, story)


def test_a_target_of_the_root_alone_says_that_the_service_is_not_offered(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("provider.test", "10.0.1.1")
    network.dns.srv("_sip._udp.provider.test", 0, 0, 0, ".")

    async def story(peer: SipPeer) -> None:
        assert await targets(peer, "sip:provider.test") == [("provider.test", 5060, "tcp")]
        with pytest.raises(NetworkError, match="offers no SIP by udp"):
            await peer.locate("sip:provider.test;transport=udp")

    run(clock, network, story)


def test_no_more_than_twenty_servers_of_a_domain_are_believed(clock: VirtualClock, network: VirtualNetwork) -> None:
    for number in range(200):
        network.dns.srv("_sip._udp.many.test", 1, 1, 5060, f"s{number}.test")

    async def story(peer: SipPeer) -> None:
        assert len(await targets(peer, "sip:many.test")) == 20

    run(clock, network, story)


@pytest.mark.parametrize("host", ["fritz", "bell.local", "localhost", "sip.invalid"])
def test_names_of_the_house_are_not_asked_for_services(clock: VirtualClock, network: VirtualNetwork, host: str) -> None:
    network.name(host, "10.0.0.9")
    network.dns.down = False

    async def story(peer: SipPeer) -> None:
        assert (await peer.locate(f"sip:{host}")).remote == ("10.0.0.9", 5060)
        assert network.dns.queries == []

    run(clock, network, story)


def test_a_router_that_answers_nothing_about_services_costs_one_second_once(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("fritz.box", "192.168.178.1")
    network.dns.silent = {"SRV", "NAPTR"}

    async def story(peer: SipPeer) -> None:
        assert (await peer.locate("sip:fritz.box")).remote == ("192.168.178.1", 5060)
        assert clock.time() == pytest.approx(1.0, abs=0.01)
        for _ in range(10):
            before = clock.time()
            await peer.locate("sip:fritz.box")
            assert clock.time() - before < 0.001
            await asyncio.sleep(50)

    run(clock, network, story)


def test_a_router_that_knows_no_services_costs_nothing(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("fritz.box", "192.168.178.1")
    network.lookup_delay = 0.005

    async def story(peer: SipPeer) -> None:
        await peer.locate("sip:fritz.box")
        assert clock.time() == pytest.approx(0.005, abs=0.001)

    run(clock, network, story)


# -- what name servers do wrong (F11) -------------------------------------------------------------------------------------


def provider(network: VirtualNetwork, ttl: float = 60.0) -> None:
    network.dns.srv("_sip._udp.provider.test", 1, 1, 5060, "edge.provider.test", ttl=ttl)
    network.name("edge.provider.test", "10.0.1.1")


def test_when_name_servers_fall_silent_the_last_good_servers_are_used(clock: VirtualClock, network: VirtualNetwork) -> None:
    provider(network)

    async def story(peer: SipPeer) -> None:
        await peer.locate("sip:provider.test")
        network.dns.down = True
        for _ in range(20):
            await asyncio.sleep(61)
            assert (await peer.locate("sip:provider.test")).remote == ("10.0.1.1", 5060)

    run(clock, network, story)


def test_when_a_name_is_gone_after_it_was_there_the_last_good_servers_are_used(clock: VirtualClock, network: VirtualNetwork) -> None:
    provider(network)

    async def story(peer: SipPeer) -> None:
        await peer.locate("sip:provider.test")
        network.dns.remove("_sip._udp.provider.test")
        network.dns.remove("edge.provider.test")
        await asyncio.sleep(61)
        assert (await peer.locate("sip:provider.test")).remote == ("10.0.1.1", 5060)

    run(clock, network, story)


def test_while_name_servers_are_silent_they_are_not_asked_without_pause(clock: VirtualClock, network: VirtualNetwork) -> None:
    provider(network)

    async def story(peer: SipPeer) -> None:
        await peer.locate("sip:provider.test")
        network.dns.down = True
        await asyncio.sleep(61)
        network.dns.queries.clear()
        for _ in range(100):
            await peer.locate("sip:provider.test")
        assert len(network.dns.queries) <= 3

    run(clock, network, story)


def test_a_ttl_of_0_does_not_make_each_request_a_look_up(clock: VirtualClock, network: VirtualNetwork) -> None:
    provider(network, ttl=0)

    async def story(peer: SipPeer) -> None:
        for _ in range(50):
            await peer.locate("sip:provider.test")
        assert len(network.dns.queries) <= 3

    run(clock, network, story)


def test_a_ttl_of_years_does_not_hide_a_move_for_longer_than_an_hour(clock: VirtualClock, network: VirtualNetwork) -> None:
    provider(network, ttl=1e9)

    async def story(peer: SipPeer) -> None:
        await peer.locate("sip:provider.test")
        network.dns.remove("_sip._udp.provider.test")
        network.dns.srv("_sip._udp.provider.test", 1, 1, 5060, "new.provider.test")
        network.name("new.provider.test", "10.0.1.2")
        await asyncio.sleep(3601)
        assert (await peer.locate("sip:provider.test")).remote == ("10.0.1.2", 5060)

    run(clock, network, story)


def test_a_domain_that_nobody_ever_knew_is_an_error_and_no_loop(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(peer: SipPeer) -> None:
        with pytest.raises(NetworkError, match="not known"):
            await peer.locate("sip:nowhere.test")
        network.dns.down = True
        with pytest.raises(NetworkError, match="no name server answers"):
            await peer.locate("sip:elsewhere.test")

    run(clock, network, story)
