"""A virtual network with two phones on it, and a peer whose SIP and RTP a test writes line by line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flexosip import Phone
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.testing import RawPeer, RawSound, left_of, sdp
from flexosip.testing import settle as ended_calls

__all__ = ["PEER", "RawPeer", "RawSound", "World", "left_of", "sdp", "settle"]

PEER = "10.0.0.9"
Story = Callable[[Phone, Phone, str], Awaitable[Any]]


class World:
    """A virtual network; `run` puts two phones on it, `run_with_peer` one phone and a raw peer.

    Args:
        line: settings of every link, see `VirtualNetwork`.
    """

    def __init__(self, **line: Any) -> None:
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, **{"seed": 1, **line})

    def phone(self, ip: str, **settings: Any) -> Phone:
        """A phone on a host of its own, at port 5060 unless told otherwise."""
        listen = settings.pop("listen", (f"[{ip}]:5060" if ":" in ip else f"{ip}:5060",))
        return Phone(clock=self.clock, network=self.network.host(ip), listen=listen, **settings)

    def run(self, story: Story, *, callee: dict[str, Any] | None = None, **settings: Any) -> Any:
        """Run `story(caller, callee, target)` with two started phones; nothing of it may be left afterwards."""

        async def main() -> Any:
            a, b = self.phone("10.0.0.1", **settings), self.phone("10.0.0.2", **(callee or {}))
            async with a, b:
                result = await story(a, b, "sip:b@10.0.0.2")
                await settle(a, b)
            return result

        return self._run(main())

    def run_with_peer(self, story: Callable[[Phone, RawPeer], Awaitable[Any]], **settings: Any) -> Any:
        """Run `story(phone, peer)`; the peer is at sip:peer@10.0.0.9."""

        async def main() -> Any:
            phone = self.phone("10.0.0.1", **settings)
            async with phone:
                peer = await RawPeer.open(self.network, PEER)
                try:
                    return await story(phone, peer)
                finally:
                    peer.close()

        return self._run(main())

    def run_alone(self, story: Callable[[], Awaitable[Any]]) -> Any:
        """Run a story that makes its own phones."""

        async def main() -> Any:
            return await story()

        return self._run(main())

    def _run(self, main: Any) -> Any:
        result = self.clock.run(main)
        assert not self.network.open_sockets, self.network.open_sockets
        return result


async def settle(*phones: Phone) -> None:
    """Wait until nothing is left of any call, a few times 64*T1 at most, and check it."""
    assert await ended_calls(*phones) == []
