"""The stage of a test: a virtual clock, a virtual network, an embedded PBX, phones; a ladder of what was said; nothing left at the end.

    stage = Stage(loss=0.05, seed=7)
    async def story():
        alice, bob = await stage.phone("alice"), await stage.phone("bob")
        ...
    stage.play(story())

The fixtures of the pytest plugin are parts of one; without pytest it serves as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, TypeVar

from flexosip.observe.ladder import Ladder
from flexosip.observe.trace import WireMessage
from flexosip.pbx import Pbx
from flexosip.phone.phone import Phone
from flexosip.simulation import Packet, VirtualClock, VirtualHost, VirtualNat, VirtualNetwork
from flexosip.testing.peer import RawPeer
from flexosip.testing.phones import TestPhone

__all__ = ["Leftovers", "PhoneOrder", "Stage", "left_of", "settle"]

T = TypeVar("T")

_MOST_PACKETS = 4000
"""SIP packets kept for the ladder; the oldest leave first."""
_LONGEST_LADDER = 200
_UNDER_WAY = 0.5
"""Seconds that a BYE of the test may still take before calls are ended for it."""
_SETTLE = 140.0
"""Virtual seconds after which nothing of any call may be left: the longest chain of SIP timers, twice 64*T1, and some."""


class Leftovers(AssertionError):
    """A test is over and something is still there."""


class Stage:
    """Everything that a test needs, on virtual time.

    Args:
        seed: of everything random. limit: virtual seconds that `play` may take.
        line: settings of every link: `loss`, `burst`, `duplicate`, `reorder`, `delay`, `jitter`, `bandwidth`, see `LinkSettings`; and
            `icmp` and `segment` of `VirtualNetwork`.
    """

    def __init__(self, *, seed: int = 1, limit: float = 600.0, **line: Any) -> None:
        self.clock = VirtualClock()
        first = {name: line.pop(name) for name in ("icmp", "segment") if name in line}
        self.network = VirtualNetwork(self.clock, seed=seed, **first)
        self.network.change(**line)
        self.network.observers.append(self._observe)
        self.limit = limit
        self.phones: list[Phone] = []
        """The phones that it closes in the end."""
        self.parts: list[Any] = []
        """Peers and the like that have a `close()`, which it closes in the end."""
        self._names: dict[tuple[str, int] | str, str] = {}
        self._packets: deque[Packet] = deque(maxlen=_MOST_PACKETS)
        self._pbx: Pbx | None = None
        self._pbx_host: VirtualHost | None = None

    # -- who is on it ----------------------------------------------------------------------------------------------------

    @property
    def pbx(self) -> Pbx:
        """The PBX, at 10.0.0.1 or the first free address; `start_pbx` starts it."""
        if self._pbx is None:
            self._pbx_host = self.host("pbx")
            self._pbx = Pbx({}, listen=(f"{self._pbx_host.addresses[0]}:5060",), network=self._pbx_host, clock=self.clock)
        return self._pbx

    @property
    def pbx_address(self) -> str:
        """The numeric address of the PBX, what stands behind the @ of its users."""
        assert self.pbx is not None and self._pbx_host is not None
        return self._pbx_host.addresses[0]

    async def start_pbx(self) -> Pbx:
        """The PBX, listening."""
        pbx = self.pbx
        if not pbx.addresses:
            await pbx.start()
        return pbx

    def host(self, name: str, *ips: str, nat: VirtualNat | None = None) -> VirtualHost:
        """A machine of the network that the ladder calls `name`."""
        host = self.network.host(*ips, nat=nat)
        self.name(name, *host.addresses)
        return host

    def name(self, name: str, *ips: str) -> None:
        """Call these addresses `name` in the ladder."""
        self._names.update(dict.fromkeys(ips, name))

    def phone(
        self, user: str | None = None, *, host: VirtualHost | None = None, nat: VirtualNat | None = None, **settings: Any
    ) -> PhoneOrder:
        """A phone on a machine of its own: `await` it, or enter it with `async with`, to have it ready.

        Args:
            user: registered at the PBX under this name, which needs not be known there before; None: without an account,
                called at the address of its machine, `phone.uri`.
            host, nat: on this machine, or behind this router.
            settings: of `Phone`; an `aor` of one's own instead of the PBX's.
        """
        return PhoneOrder(self, user, host, nat, settings)

    async def peer(self, name: str = "peer", *, host: VirtualHost | None = None) -> RawPeer:
        """A peer whose every message the test writes, on a machine of its own; it sends to the phone that was made last."""
        peer = self.add(await RawPeer.open(host if host is not None else self.host(name)))
        for phone in self.phones[-1:]:
            _, _, address = phone.addresses[0].partition(":")
            ip, _, port = address.rpartition(":")
            peer.remote = (ip.strip("[]"), int(port))
        return peer

    def add(self, part: T) -> T:
        """Close `part` in the end: a phone made by oneself, or anything with a `close()`."""
        if isinstance(part, Phone):
            self.phones.append(part)
        else:
            self.parts.append(part)
        return part

    # -- the run ---------------------------------------------------------------------------------------------------------

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run `story` in virtual time, close everything, and check that nothing is left.

        Raises:
            Leftovers: something is. AssertionError: it took longer than `limit`.
        """
        with self:
            result = self.run(story)
            self.close(check=True)
        return result

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a part of the story; between two the time stands still. Within `with stage:`."""
        return self.clock.run(self._limited(story))

    async def _limited(self, story: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self.limit) as limit:
                return await story
        except TimeoutError:
            if limit.expired():
                raise AssertionError(
                    f"The test takes more than {self.limit:g} s of virtual time: what does it wait for? "
                    f"(@pytest.mark.sip_network(limit=...) allows more.)"
                ) from None
            raise

    def __enter__(self) -> Stage:
        self.clock.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(check=False)

    def close(self, *, check: bool = True) -> None:
        """End all calls, close phones, peers and PBX, stop the clock; harmless a second time.

        Raises:
            Leftovers: something is still there (only if `check`).
        """
        try:
            left = self.clock.run(self._close(check)) if self.clock.is_open else []
        finally:
            self.clock.close()
        if check:
            left += [f"a task still runs: {task}" for task in self.clock.unfinished]
            left += [f"a socket is open: {open_socket!r}" for open_socket in self.network.open_sockets]
            if left:
                raise Leftovers("left behind at the end of the test: " + "; ".join(left))

    async def _close(self, check: bool) -> list[str]:
        left: list[str] = []
        phones, self.phones = self.phones, []
        for phone in phones:
            open_ones = [expectation for expectation in getattr(phone, "expectations", ()) if not expectation.awaited]
            left += [f"an expectation was never awaited: await call.{expectation.words}" for expectation in open_ones]
        if check:
            if any(phone.calls for phone in phones):
                await asyncio.sleep(_UNDER_WAY)
            left += await settle(*phones)
        for phone in phones:
            await phone.close()
        parts, self.parts = self.parts, []
        for part in parts:
            closing = part.close()
            if closing is not None:
                await closing
        if self._pbx is not None:
            await self._pbx.close()
        # What was closed last says so to others, and tasks that were cancelled end.
        await asyncio.sleep(1.0)
        return left

    # -- what was said -----------------------------------------------------------------------------------------------------

    def _observe(self, packet: Packet) -> None:
        data = packet.data
        if len(data) > 4 and data[0] < 0x80:
            self._packets.append(packet)

    @property
    def messages(self) -> list[WireMessage]:
        """The SIP messages on the wire so far, lost ones too."""
        return [_wire_message(packet) for packet in self._packets]

    def ladder(self) -> str:
        """The SIP messages as a ladder; times are seconds of the clock."""
        drawing = Ladder(self._names, order=list(dict.fromkeys(self._names.values())), start=0.0)
        lines = []
        for packet in self._packets:
            line = drawing.line(_wire_message(packet))
            if line is not None:
                lines.append(line + ("" if packet.arrivals else "   (lost)"))
        if len(lines) > _LONGEST_LADDER:
            half = _LONGEST_LADDER // 2
            lines = [*lines[:half], f"... {len(lines) - _LONGEST_LADDER} messages ...", *lines[-half:]]
        return "\n".join(lines)


class PhoneOrder:
    """A phone that is not there yet: `await` it, or `async with` it."""

    def __init__(self, stage: Stage, user: str | None, host: VirtualHost | None, nat: VirtualNat | None, settings: dict[str, Any]) -> None:
        self._stage, self._user, self._host, self._nat, self._settings = stage, user, host, nat, settings
        self._phone: TestPhone | None = None

    def __await__(self) -> Generator[Any, None, TestPhone]:
        return self._ready().__await__()

    async def __aenter__(self) -> TestPhone:
        return await self._ready()

    async def __aexit__(self, *exc: object) -> None:
        if self._phone is not None:
            await self._phone.close()

    async def _ready(self) -> TestPhone:
        stage, user, settings = self._stage, self._user, dict(self._settings)
        number = sum(isinstance(phone, TestPhone) for phone in stage.phones) + 1
        aor = settings.pop("aor", None)
        if user is not None and aor is None:
            pbx = await stage.start_pbx()
            password = pbx.users.get(user) or f"secret of {user}"
            pbx.add_user(user, password)
            settings.setdefault("password", password)
            aor = f"sip:{user}@{stage.pbx_address}"
        host = self._host if self._host is not None else stage.host(user or f"phone {number}", nat=self._nat)
        settings.setdefault("listen", tuple(f"[{ip}]:5060" if ":" in ip else f"{ip}:5060" for ip in host.addresses))
        phone = TestPhone(aor, clock=stage.clock, network=host, **settings)
        self._phone = stage.add(phone)
        await phone.start()
        return phone


async def settle(*phones: Phone) -> list[str]:
    """End all calls and wait until nothing is left of them; what is left nevertheless, in words."""
    for phone in phones:
        for call in phone.calls:
            await call.hangup()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLE
    while loop.time() < deadline and any(left_of(phone) for phone in phones):  # noqa: ASYNC110 (virtual time)
        await asyncio.sleep(0.25)
    return [f"{phone!r} still has {_counted(left.items())}" for phone in phones if (left := left_of(phone))]


def left_of(phone: Phone) -> dict[str, int]:
    """What calls have left in a phone, by name; empty when they are all over."""
    if not phone.running:
        return {}
    statistics = phone.core.statistics()
    signalling = phone.signalling
    counts = {
        "calls": len(phone.calls),
        "handler tasks": len(phone._incoming.tasks),
        "dialogs": statistics.dialogs,
        "client transactions": statistics.stack.client_transactions,
        "server transactions": statistics.stack.server_transactions,
        "streams": signalling.engine.statistics().streams,
        "ports": signalling.ports.in_use,
        "background tasks": len(signalling._background),
    }
    return {name: count for name, count in counts.items() if count}


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts)


def _wire_message(packet: Packet) -> WireMessage:
    return WireMessage(packet.at, "out", packet.transport, packet.source, packet.destination, packet.data)
