"""RTP ports: even and odd pairs, taken in turn, resting after use so that late packets of an old call meet nobody.

RFC 3550 §11 (even RTP port, RTCP one higher).
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from flexosip.errors import ConfigurationError, NetworkError

__all__ = ["DatagramSocket", "PortAllocator", "PortPair"]


class DatagramSocket(Protocol):
    """A non-blocking UDP socket, real or virtual (`fileno()` -1: polled). Empty: BlockingIOError."""

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]: ...
    def sendto(self, data: bytes, address: Any, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


Socket = TypeVar("Socket", bound=DatagramSocket)


@dataclass(frozen=True, slots=True)
class PortPair(Generic[Socket]):
    """Two bound sockets on `port` and `port + 1`. Whoever closes them gives the port back by `PortAllocator.release`."""

    port: int
    rtp: Socket
    rtcp: Socket


class PortAllocator(Generic[Socket]):
    """Hands out pairs of ports in turn.

    Args:
        bind: opens a non-blocking datagram socket on (host, port); raises OSError when the port is taken.
        low, high: first and last port of the range; both ends are made to fit even-odd pairs.
        rest_seconds: how long a released pair rests before it is used again.
        time: a monotonic clock in seconds.
        random: chooses where in the range to begin, so that two processes seldom meet.
    """

    def __init__(
        self,
        bind: Callable[[str, int], Socket],
        low: int = 16384,
        high: int = 32766,
        *,
        rest_seconds: float = 5.0,
        time: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        first = low + low % 2
        ports = list(range(first, high, 2))
        if not (0 < low <= 65534 and high <= 65535 and ports):
            raise ConfigurationError(f"The RTP port range {low}-{high} holds no even-odd pair between 2 and 65535.")
        start = (random if random is not None else Random()).randrange(len(ports))
        self._bind = bind
        self._rest_seconds = rest_seconds
        self._time = time
        self._free = deque(ports[start:] + ports[:start])
        self._resting: deque[tuple[float, int]] = deque()
        self._in_use: set[int] = set()

    @property
    def in_use(self) -> int:
        """Pairs handed out and not yet released."""
        return len(self._in_use)

    def allocate(self, host: str) -> PortPair[Socket]:
        """Bind the next free pair on `host`.

        Raises:
            NetworkError: no pair is free, or `host` cannot be bound at all.
        """
        self._wake_rested()
        last: OSError | None = None
        for _ in range(len(self._free)):
            port = self._free.popleft()
            try:
                rtp, rtcp = self._bind_pair(host, port)
            except OSError as error:
                if error.errno is not None and _is_address_fault(error.errno):
                    self._free.appendleft(port)
                    raise NetworkError(f"No RTP socket can be opened on {host}: {error}.") from error
                # Another program has it: try it again after a rest, like a used one.
                last = error
                self._resting.append((self._time() + self._rest_seconds, port))
                continue
            self._in_use.add(port)
            return PortPair(port, rtp, rtcp)
        raise NetworkError("All RTP ports are in use or resting.", advice="Widen the RTP port range or make fewer calls at once.") from last

    def release(self, port: int) -> None:
        """Let a pair rest after both sockets are closed. Releasing one that is not in use is an error of the caller."""
        self._in_use.remove(port)
        self._resting.append((self._time() + self._rest_seconds, port))

    def _bind_pair(self, host: str, port: int) -> tuple[Socket, Socket]:
        rtp = self._bind(host, port)
        try:
            return rtp, self._bind(host, port + 1)
        except BaseException:
            rtp.close()
            raise

    def _wake_rested(self) -> None:
        now = self._time()
        resting = self._resting
        while resting and resting[0][0] <= now:
            self._free.append(resting.popleft()[1])


def _is_address_fault(number: int) -> bool:
    """True if trying another port cannot help: no such address, no more descriptors."""
    return number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EMFILE, errno.ENFILE, errno.EINVAL)
