"""RTP ports: pairs, turns, rest, and giving everything back."""

from __future__ import annotations

import errno
from random import Random

import pytest

from flexosip.errors import ConfigurationError, NetworkError
from flexosip.media.ports import PortAllocator


class Socket:
    """A bound socket of a machine that has few ports."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine = machine
        self.port = port

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        raise BlockingIOError

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        return len(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.machine.bound.discard(self.port)


class Machine:
    """Binds ports, each once."""

    def __init__(self) -> None:
        self.bound: set[int] = set()
        self.failure: int | None = None
        self.now = 0.0

    def bind(self, host: str, port: int) -> Socket:
        if self.failure is not None:
            raise OSError(self.failure, "as the test wants")
        if port in self.bound:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.bound.add(port)
        return Socket(self, port)

    def ports(self, low: int = 30000, high: int = 30007) -> PortAllocator[Socket]:
        return PortAllocator(self.bind, low, high, time=lambda: self.now, random=Random(1))


def test_a_pair_is_an_even_port_and_the_next() -> None:
    machine = Machine()
    ports = machine.ports()
    pairs = [ports.allocate("127.0.0.1") for _ in range(4)]
    assert sorted(pair.port for pair in pairs) == [30000, 30002, 30004, 30006]
    assert all(pair.rtp.port == pair.port and pair.rtcp.port == pair.port + 1 for pair in pairs)
    assert ports.in_use == 4


def test_a_closed_pair_rests_before_it_is_used_again() -> None:
    machine = Machine()
    ports = machine.ports()
    pairs = [ports.allocate("h") for _ in range(4)]
    pairs[2].rtp.close()
    pairs[2].rtcp.close()
    ports.release(pairs[2].port)
    machine.now = 4.9
    with pytest.raises(NetworkError, match="in use or resting"):
        ports.allocate("h")
    machine.now = 5.0
    assert ports.allocate("h").port == pairs[2].port


def test_the_longest_rested_comes_first() -> None:
    machine = Machine()
    ports = machine.ports()
    first = ports.allocate("h")
    first.rtp.close()
    first.rtcp.close()
    ports.release(first.port)
    machine.now = 100.0
    assert first.port not in [ports.allocate("h").port for _ in range(3)]
    assert ports.allocate("h").port == first.port


def test_a_port_of_another_program_is_passed_over_and_tried_again_later() -> None:
    machine = Machine()
    ports = machine.ports()
    machine.bound.add(30003)
    got = [ports.allocate("h").port for _ in range(3)]
    assert sorted(got) == [30000, 30004, 30006]
    assert machine.bound == {30003} | {port + add for port in got for add in (0, 1)}
    machine.bound.remove(30003)
    with pytest.raises(NetworkError):
        ports.allocate("h")
    machine.now = 6.0
    assert ports.allocate("h").port == 30002


@pytest.mark.parametrize("failure", [errno.EADDRNOTAVAIL, errno.EMFILE])
def test_a_failure_that_another_port_cannot_heal_is_told_at_once_and_costs_no_port(failure: int) -> None:
    machine = Machine()
    ports = machine.ports()
    machine.failure = failure
    for _ in range(20):
        with pytest.raises(NetworkError, match="as the test wants"):
            ports.allocate("h")
    machine.failure = None
    assert len([ports.allocate("h") for _ in range(4)]) == 4


def test_releasing_what_is_not_in_use_is_an_error() -> None:
    with pytest.raises(KeyError):
        Machine().ports().release(30000)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (30001, 30002), (65535, 65536), (40000, 30000)])
def test_a_range_without_a_pair_is_refused(low: int, high: int) -> None:
    with pytest.raises(ConfigurationError):
        Machine().ports(low, high)
