"""A call that was recorded once, again: our phone against the messages that the other side sent then.

    capture = read_pcap("call-with-provider-x.pcap")
    await Replay(capture.messages, ours="192.168.178.20").run(stage, await stage.phone())

The other side's messages go out as they were, each when our phone has done what it did before it in the recording. What is of the day
is put in place: our tags, branches, Call-IDs, CSeq numbers and Contact, and the addresses of both. Our phone is made to do what was done
then: it dials, rings, answers, refuses, hangs up. What it sends is compared by method and status; everything else in it is its own affair.
Retransmissions, 100 Trying, and whatever belongs to no call with an INVITE are left out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, FlexosipError
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message
from flexosip.testing.peer import RawPeer

if TYPE_CHECKING:
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.call import Call
    from flexosip.testing.phones import TestCall, TestPhone
    from flexosip.testing.stage import Stage

__all__ = ["Replay"]

Act = Callable[[Any], Awaitable[Any]]

_ON_THE_WAY = 0.05
"""Seconds in which a message of the other side arrives before our phone is told to act."""
_COMING = 5.0
_BY_ITSELF = ("ACK", "PRACK")
"""Requests that a phone sends without being told."""


class Replay:
    """The script of a recorded call.

    Args:
        messages: what was on the wire, of one call or several one after the other (`read_pcap`, `Stage.messages`).
        ours: the address, or addresses, of the phone whose part ours plays.
        acts: what to do where the recording has another request of ours than INVITE, CANCEL and BYE, by method: a function of the call,
            `{"INFO": lambda call: call.send_digits("5", via="info")}`.

    Raises:
        ConfigurationError: there is no call of `ours` in it, or a message that is none.
    """

    def __init__(self, messages: Iterable[WireMessage], *, ours: str | Iterable[str], acts: Mapping[str, Act] | None = None) -> None:
        self._ours = {ours} if isinstance(ours, str) else set(ours)
        self._acts = dict(acts or {})
        self.steps: list[tuple[bool, Message]] = []
        """(is it ours, message), what is replayed."""
        known: set[bytes] = set()
        for wire in messages:
            mine = wire.source[0] in self._ours
            if wire.data in known or mine == (wire.destination[0] in self._ours):
                continue
            known.add(wire.data)
            try:
                message = parse_message(wire.data)
            except FlexosipError as error:
                raise ConfigurationError(f"The recording has a message at {wire.at:.3f} s that cannot be read: {error}") from error
            if not (isinstance(message, Response) and message.status == 100):
                self.steps.append((mine, message))
        calls = {message.call_id for _, message in self.steps if isinstance(message, Request) and message.method == "INVITE"}
        self.steps = [(mine, message) for mine, message in self.steps if message.call_id in calls]
        if not self.steps:
            raise ConfigurationError(f"The recording has no call of {', '.join(sorted(self._ours))}.")
        self._theirs = next(
            (wire.destination if wire.source[0] in self._ours else wire.source)
            for wire in messages
            if (wire.source[0] in self._ours) != (wire.destination[0] in self._ours)
        )
        self._tokens: dict[bytes, bytes] = {}
        self._numbers: dict[tuple[int, str], int] = {}
        self._call: Any = None
        self._call_id = ""
        self._phone: Any = None
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self._doing: set[asyncio.Task[Any]] = set()

    async def run(self, stage: Stage, phone: TestPhone, *, patience: float = 40.0) -> TestCall:
        """Play it on `stage` with `phone`, which has no account; the call, when all is said.

        Args:
            patience: virtual seconds in which our phone must do what it did.

        Raises:
            AssertionError: it did something else.
        """
        peer = await stage.peer("recorded")
        self._phone = phone

        @phone.on_call
        async def take(call: Call) -> None:
            self._arrived.put_nowait(call)
            await call.wait_ended()

        seen = 0
        try:
            for number, (mine, message) in enumerate(self.steps):
                if mine:
                    if number and not self.steps[number - 1][0]:
                        await asyncio.sleep(_ON_THE_WAY)
                    await self._act(peer, message)
                    seen = await self._await(peer, number, message, seen, patience)
                else:
                    peer.send(self._of_today(peer, message))
            await asyncio.sleep(0.1)
        finally:
            for task in self._doing:
                task.cancel()
            await asyncio.gather(*self._doing, return_exceptions=True)
        return self._call  # type: ignore[no-any-return]

    # -- our side ------------------------------------------------------------------------------------------------------------

    async def _act(self, peer: RawPeer, message: Message) -> None:
        """Let our phone do what leads to this message of its."""
        if isinstance(message, Response):
            if message.cseq.method == "INVITE" and message.to.tag is not None and not self._within_a_call(message):
                await self._answer(message)
            return
        assert isinstance(message, Request)
        if message.method == "INVITE" and message.to.tag is None:
            if "Authorization" not in message.headers and "Proxy-Authorization" not in message.headers:
                self._call_id, self._call = message.call_id, await self._phone.dial(peer.uri)
        elif message.method in ("BYE", "CANCEL"):
            self._begin(self._call.hangup())
        elif message.method not in _BY_ITSELF:
            act = self._acts.get(message.method)
            if act is None:
                raise ConfigurationError(f"The recording has a {message.method} of ours: say in `acts` how it comes about.")
            self._begin(act(self._call))

    async def _answer(self, message: Response) -> None:
        if self._call_id != message.call_id:
            self._call_id = message.call_id
            self._call = await asyncio.wait_for(self._arrived.get(), _COMING)
        if message.status < 200:
            await self._call.ring()
        elif message.status < 300:
            self._begin(self._call.answer())
        elif message.status != 487:
            self._begin(self._call.reject(message.status))

    def _within_a_call(self, message: Response) -> bool:
        """True for the answer to a re-INVITE."""
        number = message.cseq.number
        asked = [step for mine, step in self.steps if not mine and isinstance(step, Request) and step.method == "INVITE"]
        return any(step.cseq.number == number and step.call_id == message.call_id and step.to.tag is not None for step in asked)

    def _begin(self, doing: Any) -> None:
        task = asyncio.ensure_future(doing)
        self._doing.add(task)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _await(self, peer: RawPeer, number: int, recorded: Message, seen: int, patience: float) -> int:
        """Wait for our phone's message of that kind, and learn from it; how many of its messages are used up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            while seen < len(peer.seen):
                live = peer.seen[seen]
                seen += 1
                if live in peer.seen[: seen - 1] or any(bytes(live) == bytes(older) for older in peer.seen[: seen - 1]) or _is_trying(live):
                    continue
                if _kind(live) != _kind(recorded):
                    raise AssertionError(f"Step {number + 1} of the recording is {_kind(recorded)!r} of ours; now it was {_kind(live)!r}.")
                self._learn(recorded, live)
                return seen
            if loop.time() >= deadline:
                raise AssertionError(f"Step {number + 1} of the recording is {_kind(recorded)!r} of ours; nothing came in {patience:g} s.")
            await asyncio.sleep(0.01)

    # -- the other side ------------------------------------------------------------------------------------------------------

    def _learn(self, recorded: Message, live: Message) -> None:
        """What is of the day in a message of ours."""
        ours_then, ours_now = (recorded.to.tag, live.to.tag) if isinstance(recorded, Response) else (recorded.from_.tag, live.from_.tag)
        pairs = [(ours_then, ours_now), (recorded.call_id, live.call_id)]
        if isinstance(recorded, Request):
            pairs.append((_branch(recorded), _branch(live)))
            self._numbers[recorded.cseq.number, recorded.cseq.method] = live.cseq.number
        if recorded.contacts and live.contacts:
            pairs.append((str(recorded.contacts[0].uri), str(live.contacts[0].uri)))
        self._tokens.update({then.encode(): now.encode() for then, now in pairs if then and now})

    def _of_today(self, peer: RawPeer, message: Message) -> bytes:
        """A message of the other side as our phone must get it."""
        head, _, body = bytes(message).partition(b"\r\n\r\n")
        if isinstance(message, Response):
            number = self._numbers.get((message.cseq.number, message.cseq.method), message.cseq.number)
            head = re.sub(rb"(?im)^(CSeq\s*:\s*)\d+", rb"\g<1>%d" % number, head)
        elif isinstance(message, Request) and message.to.tag is None and message.method == "INVITE":
            _, _, rest = head.partition(b"\r\n")
            host, port = peer.remote
            head = b"INVITE sip:flexosip@%s:%d SIP/2.0\r\n" % (host.encode(), port) + rest
        # Proxies on the way then are none now.
        head = re.sub(rb"(?im)^(Record-Route|Route)\s*:[^\r\n]*\r\n", b"", head + b"\r\n")[:-2]
        host, port = self._theirs
        tokens = sorted(self._tokens.items(), key=lambda pair: -len(pair[0]))
        places = [(f"{host}:{port}".encode(), f"{peer.ip}:{peer.port}".encode()), (host.encode(), peer.ip.encode())]
        places += [(ip.encode(), peer.remote[0].encode()) for ip in self._ours]
        head = _replaced(head, [*tokens, *places])
        body = _replaced(body, places)
        head = re.sub(rb"(?im)^(Content-Length|l)\s*:\s*\d+", rb"\g<1>: %d" % len(body), head)
        return head + b"\r\n\r\n" + body


def _replaced(text: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """All pairs put in place at once: what came in is not replaced again. Of an address only the whole of it."""
    table = dict(reversed(list(pairs)))
    if not table:
        return text
    pattern = b"|".join(re.escape(then) for then in sorted(table, key=len, reverse=True))
    return re.sub(rb"(?<![\w.])(?:" + pattern + rb")(?![\w])", lambda found: table[found.group()], text)


def _kind(message: Message) -> str:
    if isinstance(message, Request):
        return message.method
    assert isinstance(message, Response)
    return f"{message.status} to {message.cseq.method}"


def _is_trying(message: Message) -> bool:
    return isinstance(message, Response) and message.status == 100


def _branch(message: Message) -> str:
    return (message.headers.get("Via") or "").partition("branch=")[2].partition(";")[0]
