"""Reading many sockets: all that is there, within bounds, nobody starved."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import pytest

from flexosip.media.polling import MAX_BACKLOG, DirectReader, EpollReader, SocketReader

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")


@pytest.fixture
def sockets() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Pairs of datagram sockets without a network: what is written into the first comes out of the second."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def receiving(end: socket.socket, seen: list[bytes]) -> Callable[[float], bool]:
    def receive(now: float) -> bool:
        try:
            seen.append(end.recv(100))
        except BlockingIOError:
            return False
        return True

    return receive


@pytest.mark.parametrize("kind", [EpollReader, DirectReader])
def test_everything_is_read_and_the_removed_is_left_alone(
    kind: type[SocketReader], sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    reader = kind()
    seen: list[list[bytes]] = [[] for _ in sockets]
    for (_, end), mine in zip(sockets, seen, strict=True):
        reader.add(end, receiving(end, mine))
    for index, (far, _) in enumerate(sockets):
        for number in range(index + 1):
            far.send(b"%d" % number)
    reader.drain(1.0)
    assert [len(mine) for mine in seen] == [1, 2, 3]
    reader.remove(sockets[1][1])
    reader.remove(sockets[1][1])
    for far, _ in sockets:
        far.send(b"again")
    reader.drain(2.0)
    assert [len(mine) for mine in seen] == [2, 2, 4]
    reader.drain(3.0)
    assert [len(mine) for mine in seen] == [2, 2, 4]
    reader.close()


def test_a_flood_on_many_sockets_is_bounded_together_and_each_gets_its_turn() -> None:
    reader = EpollReader()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(10)]
    counts = [0] * len(pairs)

    def endless(index: int) -> Callable[[float], bool]:
        def receive(now: float) -> bool:
            counts[index] += 1  # nothing is taken away: it never gets empty
            return True

        return receive

    for index, (far, near) in enumerate(pairs):
        far.send(b"flood")
        reader.add(near, endless(index))
    reader.drain(1.0)
    assert sum(counts) <= MAX_BACKLOG + len(pairs)
    assert min(counts) == max(counts) > 1
    reader.close()
    for pair in pairs:
        for end in pair:
            end.close()
