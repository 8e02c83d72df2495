"""The virtual network: datagrams, links, names, ports."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from flexosip.errors import NetworkError
from flexosip.simulation import LinkSettings, Packet, VirtualClock, VirtualHost, VirtualNetwork
from flexosip.simulation.datagram import VirtualDatagramEndpoint

Received = list[tuple[float, bytes, tuple[str, int], str]]


async def listen(host: VirtualHost, ip: str = "0.0.0.0", port: int = 5060) -> tuple[VirtualDatagramEndpoint, Received, list[Any]]:
    received: Received = []
    errors: list[Any] = []
    endpoint = await host.open_datagram(
        ip,
        port,
        lambda data, remote, own: received.append((host.time(), data, remote, own)),
        lambda remote, error: errors.append((remote, error)),
    )
    return endpoint, received, errors


def test_a_datagram_arrives_after_the_delay_with_its_addresses(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host("10.0.0.1"), network.host("10.0.0.2", "fd00::2")
        sender, _, _ = await listen(near)
        receiver, received, _ = await listen(far)
        sender.send(b"hello", ("10.0.0.2", 5060))
        await asyncio.sleep(1)
        assert received == [(0.01, b"hello", ("10.0.0.1", 5060), "10.0.0.2")]
        sender.close()
        receiver.close()

    clock.run(story())


def test_what_arrives_is_what_was_sent_even_if_the_sender_changes_it(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        out, back = near.bind_media("0.0.0.0", 0), far.bind_media("0.0.0.0", 0)
        packet = bytearray(b"first")
        out.sendto(packet, (far.addresses[0], back.address[1]))
        packet[:] = b"later"
        await asyncio.sleep(0.1)
        assert back.recvfrom(100)[0] == b"first"
        out.close()
        back.close()

    clock.run(story())


def run_lossy(seed: int, **settings: float) -> list[bytes]:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=seed, **settings)

    async def story() -> list[bytes]:
        near, far = network.host(), network.host()
        sender, _, _ = await listen(near)
        receiver, received, _ = await listen(far)
        for number in range(2000):
            sender.send(b"%d" % number, (far.addresses[0], 5060))
            await asyncio.sleep(0.005)
        await asyncio.sleep(1)
        sender.close()
        receiver.close()
        return [data for _, data, _, _ in received]

    return clock.run(story())


def test_the_same_seed_loses_the_same_packets_and_another_seed_others() -> None:
    first = run_lossy(1, loss=0.2, jitter=0.004)
    assert first == run_lossy(1, loss=0.2, jitter=0.004)
    assert first != run_lossy(2, loss=0.2, jitter=0.004)


def test_as_many_packets_are_lost_as_asked_for() -> None:
    assert len(run_lossy(3, loss=0.2)) == pytest.approx(1600, abs=80)


def test_as_many_packets_are_duplicated_as_asked_for() -> None:
    received = run_lossy(3, duplicate=0.1)
    assert len(received) == pytest.approx(2200, abs=60)
    assert len(set(received)) == 2000


def test_reordered_packets_arrive_late_and_none_is_lost() -> None:
    received = [int(data) for data in run_lossy(3, reorder=0.1)]
    assert sorted(received) == list(range(2000))
    overtaken = sum(1 for before, after in itertools.pairwise(received) if after < before)
    assert overtaken == pytest.approx(200, abs=60)


def test_jitter_alone_keeps_the_order() -> None:
    assert [int(data) for data in run_lossy(3, jitter=0.05)] == list(range(2000))


def test_a_link_of_its_own_can_be_cut_and_mended(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far, other = network.host(), network.host(), network.host()
        sender, _, _ = await listen(near)
        receiver, received, _ = await listen(far)
        third, third_received, _ = await listen(other)
        for loss in (0.0, 1.0, 0.0):
            network.link(near, far, loss=loss)
            sender.send(b"x", (far.addresses[0], 5060))
            sender.send(b"x", (other.addresses[0], 5060))
            await asyncio.sleep(1)
        assert len(received) == 2
        assert len(third_received) == 3
        for endpoint in (sender, receiver, third):
            endpoint.close()

    clock.run(story())


def test_one_direction_can_be_slow(clock: VirtualClock, network: VirtualNetwork) -> None:
    near, far = network.host(), network.host()
    network.link(near, far, both=False, delay=0.5)
    assert network.link_between(near.addresses[0], far.addresses[0]).settings.delay == 0.5
    assert network.link_between(far.addresses[0], near.addresses[0]).settings.delay == 0.01


def test_settings_can_change_while_the_network_runs(clock: VirtualClock, network: VirtualNetwork) -> None:
    near, far = network.host(), network.host()
    link = network.link_between(near.addresses[0], far.addresses[0])
    network.change(loss=0.5)
    assert link.settings.loss == 0.5


@pytest.mark.parametrize("settings", [{"loss": 1.1}, {"duplicate": -0.1}, {"delay": -1.0}, {"jitter": -0.001}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        LinkSettings(**settings)


def test_large_datagrams_vanish_where_fragments_are_dropped(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        network.link(near, far, largest=1472)
        sender, _, _ = await listen(near)
        receiver, received, _ = await listen(far)
        sender.send(bytes(1472), (far.addresses[0], 5060))
        sender.send(bytes(1473), (far.addresses[0], 5060))
        await asyncio.sleep(1)
        assert [len(data) for _, data, _, _ in received] == [1472]
        sender.close()
        receiver.close()

    clock.run(story())


def test_a_filter_drops_what_it_names_and_observers_see_it_as_lost(clock: VirtualClock, network: VirtualNetwork) -> None:
    seen: list[Packet] = []
    network.observers.append(seen.append)
    network.filters.append(lambda packet: packet.data.startswith(b"ACK"))

    async def story() -> None:
        near, far = network.host(), network.host()
        sender, _, _ = await listen(near)
        receiver, received, _ = await listen(far)
        sender.send(b"ACK", (far.addresses[0], 5060))
        sender.send(b"BYE", (far.addresses[0], 5060))
        await asyncio.sleep(1)
        assert [data for _, data, _, _ in received] == [b"BYE"]
        assert [(packet.data, packet.arrivals) for packet in seen] == [(b"ACK", ()), (b"BYE", (0.01,))]
        sender.close()
        receiver.close()

    clock.run(story())


def test_where_nobody_lives_there_is_silence(clock: VirtualClock) -> None:
    network = VirtualNetwork(clock, icmp=True)

    async def story() -> None:
        sender, _, errors = await listen(network.host())
        sender.send(b"x", ("10.9.9.9", 5060))
        await asyncio.sleep(60)
        assert not errors
        sender.close()

    clock.run(story())


@pytest.mark.parametrize("icmp", [False, True])
def test_a_closed_port_answers_only_if_asked_for(clock: VirtualClock, icmp: bool) -> None:
    network = VirtualNetwork(clock, icmp=icmp)

    async def story() -> None:
        near, far = network.host(), network.host()
        sender, _, errors = await listen(near)
        sender.send(b"x", (far.addresses[0], 9))
        await asyncio.sleep(0.021)
        if icmp:
            [(remote, error)] = errors
            assert remote == (far.addresses[0], 9)
            assert isinstance(error, ConnectionRefusedError)
        else:
            assert not errors
        sender.close()

    clock.run(story())


def test_no_route_is_told_later_and_never_inside_send(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        sender, _, errors = await listen(network.host())
        sender.send(b"x", ("fd00::1", 5060))
        sender.send(bytes(65508), ("10.0.0.2", 5060))
        assert not errors
        await asyncio.sleep(0.1)
        assert [remote for remote, _ in errors] == [("fd00::1", 5060), ("10.0.0.2", 5060)]
        sender.close()

    clock.run(story())


def test_an_unplugged_host_hears_and_says_nothing(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        sender, heard, _ = await listen(near)
        receiver, received, _ = await listen(far)
        far.plugged = False
        sender.send(b"1", (far.addresses[0], 5060))
        receiver.send(b"1", (near.addresses[0], 5060))
        await asyncio.sleep(1)
        far.plugged = True
        sender.send(b"2", (far.addresses[0], 5060))
        await asyncio.sleep(1)
        assert [data for _, data, _, _ in received] == [b"2"]
        assert not heard
        sender.close()
        receiver.close()

    clock.run(story())


def test_what_is_on_its_way_to_a_closed_socket_is_lost(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        out, back = near.bind_media("0.0.0.0", 4000), far.bind_media("0.0.0.0", 4000)
        out.sendto(b"x", (far.addresses[0], 4000))
        back.close()
        again = far.bind_media("0.0.0.0", 4000)
        await asyncio.sleep(1)
        with pytest.raises(BlockingIOError):
            again.recvfrom(100)
        with pytest.raises(OSError):
            back.recvfrom(100)
        with pytest.raises(OSError):
            back.sendto(b"x", (near.addresses[0], 4000))
        out.close()
        again.close()

    clock.run(story())


def test_a_media_socket_gives_nothing_before_the_packet_arrives(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        out, back = near.bind_media("0.0.0.0", 0), far.bind_media("0.0.0.0", 0)
        assert back.fileno() == -1
        out.sendto(memoryview(b"abcdef"), (far.addresses[0], back.getsockname()[1]))
        with pytest.raises(BlockingIOError):
            back.recvfrom(100)
        await asyncio.sleep(0.01)
        buffer = bytearray(4)
        assert back.recvfrom_into(buffer) == (4, (near.addresses[0], out.getsockname()[1]))
        assert buffer == b"abcd"
        out.close()
        back.close()

    clock.run(story())


def test_a_port_is_used_once_and_free_again_after_closing(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host = network.host("10.0.0.1", "10.0.0.2")
        endpoint, _, _ = await listen(host)
        for ip in ("0.0.0.0", "10.0.0.2", "127.0.0.1"):
            with pytest.raises(NetworkError, match="in use"):
                host.bind_media(ip, 5060)
        endpoint.close()
        one, other = host.bind_media("10.0.0.1", 5060), host.bind_media("10.0.0.2", 5060)
        assert len(network.open_sockets) == 2
        one.close()
        other.close()
        assert not network.open_sockets

    clock.run(story())


@pytest.mark.parametrize(("ip", "words"), [("[::]", "IPv6 is not available"), ("10.9.9.9", "not an address of this machine")])
def test_only_own_addresses_can_be_bound(clock: VirtualClock, network: VirtualNetwork, ip: str, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        network.host("10.0.0.1").bind_media(ip.strip("[]"), 5060)


def test_addresses_of_hosts_are_numeric_and_unique(network: VirtualNetwork) -> None:
    network.host("10.0.0.1")
    with pytest.raises(ValueError):
        network.host("10.0.0.1")
    with pytest.raises(ValueError):
        network.host("pbx.test")
    assert network.host().addresses == ("10.0.0.2",)


def test_loopback_stays_in_the_host(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host, other = network.host(), network.host()
        mine, received, _ = await listen(host)
        foreign, foreign_received, _ = await listen(other)
        mine.send(b"x", ("127.0.0.1", 5060))
        await asyncio.sleep(1)
        assert [(data, remote, own) for _, data, remote, own in received] == [(b"x", ("127.0.0.1", 5060), "127.0.0.1")]
        assert not foreign_received
        mine.close()
        foreign.close()

    clock.run(story())


def test_names_come_from_the_table(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("PBX.test", "fd00::0001", "10.0.0.1")

    async def story() -> None:
        host = network.host()
        assert await host.resolve("pbx.test.") == ["fd00::1", "10.0.0.1"]
        assert await host.resolve("10.1.2.3") == ["10.1.2.3"]
        with pytest.raises(NetworkError, match=r"nowhere\.test"):
            await host.resolve("nowhere.test")
        network.name("pbx.test")
        with pytest.raises(NetworkError):
            await host.resolve("pbx.test")

    clock.run(story())


def test_the_own_address_fits_the_family_of_the_remote_one(network: VirtualNetwork) -> None:
    host = network.host("10.0.0.1", "fd00::1")
    assert host.local_address("10.0.0.9") == "10.0.0.1"
    assert host.local_address("fd00::9") == "fd00::1"
    assert host.local_address("::1") == "::1"
    with pytest.raises(NetworkError, match="no way"):
        network.host("10.0.0.2").local_address("fd00::9")


def test_of_several_own_addresses_the_one_on_the_same_net_is_taken(network: VirtualNetwork) -> None:
    host = network.host("10.0.0.1", "192.168.7.1", "fd00::1", "fd00:7::1")
    assert host.local_address("192.168.7.9") == "192.168.7.1"
    assert host.local_address("10.0.0.9") == "10.0.0.1"
    assert host.local_address("203.0.113.5") == "10.0.0.1"
    assert host.local_address("fd00:7::9") == "fd00:7::1"


async def test_without_a_virtual_clock_the_running_loop_gives_the_time() -> None:
    network = VirtualNetwork(delay=0.001)
    sender, _, _ = await listen(network.host())
    receiver, received, _ = await listen(network.host())
    sender.send(b"x", ("10.0.0.2", 5060))
    async with asyncio.timeout(5):
        while not received:
            await asyncio.sleep(0.001)
    sender.close()
    receiver.close()


def test_an_exception_in_a_receiver_does_not_stop_the_network() -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock)

    async def story(fail: Callable[..., None]) -> None:
        near, far = network.host(), network.host()
        sender, _, _ = await listen(near)
        broken = await far.open_datagram("0.0.0.0", 5061, fail)
        receiver, received, _ = await listen(far)
        sender.send(b"x", (far.addresses[0], 5061))
        sender.send(b"y", (far.addresses[0], 5060))
        await asyncio.sleep(1)
        assert len(received) == 1
        for endpoint in (sender, broken, receiver):
            endpoint.close()

    def fail(*arguments: object) -> None:
        raise KeyError("broken receiver")

    with pytest.raises(KeyError, match="broken receiver"):
        clock.run(story(fail))


def test_a_thousand_calls_worth_of_rtp_cost_little(clock: VirtualClock) -> None:
    network = VirtualNetwork(clock, loss=0.05, jitter=0.005)

    async def story() -> int:
        near, far = network.host(), network.host()
        pairs = [(near.bind_media("0.0.0.0", 0), far.bind_media("0.0.0.0", 0)) for _ in range(1000)]
        received = 0
        for _ in range(5):
            for here, there in pairs:
                here.sendto(bytes(172), (far.addresses[0], there.address[1]))
                there.sendto(bytes(172), (near.addresses[0], here.address[1]))
            await asyncio.sleep(0.02)
            for pair in pairs:
                for media in pair:
                    try:
                        media.recvfrom(2048)
                        received += 1
                    except BlockingIOError:
                        continue
        for pair in pairs:
            for media in pair:
                media.close()
        return received

    assert clock.run(story()) == pytest.approx(9500, abs=200)
