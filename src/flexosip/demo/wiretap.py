"""A network whose sound sockets show what they send, so that the demo can write a complete capture."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from flexosip.observe import WireMessage

__all__ = ["TappedNetwork"]


class _TappedSocket(socket.socket):
    """A socket that tells of each datagram it sends; the other end is in this process, so nothing is missed."""

    tap: Callable[[WireMessage], None]
    own: tuple[str, int]

    def sendto(self, data: Any, address: Any, *rest: Any) -> int:
        self.tap(WireMessage(time.monotonic(), "out", "udp", self.own, (address[0], address[1]), bytes(data)))
        return super().sendto(data, address, *rest)


class TappedNetwork:
    """Passes everything on to `network`, and taps the sockets for sound.

    Args:
        network: the real one.
        tap: called with each RTP and RTCP packet, from the engine's thread.
        bound: called with the address of each socket for sound.
    """

    def __init__(self, network: Any, tap: Callable[[WireMessage], None], bound: Callable[[tuple[str, int]], None]) -> None:
        self._network = network
        self._tap = tap
        self._bound = bound

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def bind_media(self, host: str, port: int) -> Any:
        """A tapped socket for sound."""
        plain = self._network.bind_media(host, port)
        tapped = _TappedSocket(fileno=plain.detach())
        tapped.setblocking(False)
        tapped.tap = self._tap
        tapped.own = tapped.getsockname()[:2]
        self._bound(tapped.own)
        return tapped
