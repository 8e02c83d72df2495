"""A phone by hand, without faults: it can be called and can call, in the fewest messages. The bad ones are this with one thing wrong.

It has no machines: what it does, it does in the order of its methods, and a subclass overrides the one that it does badly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.errors import FlexosipError
from flexosip.sip.message import Request, Response
from flexosip.testing.peer import RawPeer, RawSound, sdp

if TYPE_CHECKING:
    from flexosip.sip.message import Message
    from flexosip.testing.phones import TestCall, TestPhone

__all__ = ["TONE", "Expected", "PlainPhone"]

TONE = 1000.0
"""Hz: what it says all the time."""
_T1 = 0.5
_GIVE_UP = 32.0
"""64*T1, RFC 3261 §17.1.1.2."""
_PORT = 7000


@dataclass(frozen=True, slots=True)
class Expected:
    """How a call with a bad phone goes for a good one."""

    result: str = "answered"
    """`answered`, or the name of the exception that `Phone.call` raises; `rings` and nothing more, `none` for a call that never rings."""
    heard: bool = True
    """Whether the good phone hears the bad one."""
    speaks: bool = True
    """Whether the sound of the good phone reaches the bad one."""
    ended_by: str = "local"
    """`CallEnd.by` of the good phone; "" where there was no call."""


class PlainPhone:
    """A phone of one call at a time.

    Args:
        peer: what it sends and receives with; it listens already.
    """

    name: ClassVar[str] = "plain"
    when_called: ClassVar[Expected | None] = Expected()
    """How it goes when a good phone calls it; None: it is good at that."""
    when_calling: ClassVar[Expected | None] = Expected(ended_by="remote")
    """How it goes when it calls a good phone."""
    good: ClassVar[str] = ""
    """What a good phone does about it, in words."""

    ring = 0.3
    """Seconds that it lets ring."""
    talk = 2.0
    """Seconds after which it hangs up what it has called."""
    formats = "8 101"
    tag = "bad"

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        peer.outgoing = self.wire
        self.uri = peer.uri
        self.sound: RawSound | None = None
        self.remote_sound: tuple[str, int] | None = None
        self.invite: Request | None = None
        """The INVITE that came."""
        self.accepted: Response | None = None
        """The 2xx that came to ours."""
        self.acknowledged = asyncio.Event()
        self.over = asyncio.Event()
        """Set when it knows of the end of the call."""
        self.responses: asyncio.Queue[Response] = asyncio.Queue()
        self.requests: list[Request] = []
        self.calls_made = 0
        self._answers: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begin(self._receive())

    async def close(self) -> None:
        """Switch it off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.sound is not None:
            self.sound.close()
        self.peer.close()

    @property
    def packets_heard(self) -> int:
        """RTP packets that reached it."""
        if self.sound is None:
            return 0
        self.sound.receive()
        return len(self.sound.packets)

    # -- what it receives ------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            message = await self.peer.inbox.get()
            if isinstance(message, Response):
                if "CSeq" in message.headers:  # without: the answer to something broken
                    self.on_response(message)
            elif isinstance(message, Request):
                self.requests.append(message)
                self._on_request(message)

    def _on_request(self, request: Request) -> None:
        branch = request.headers.get("Via") or ""
        if request.method == "ACK":
            self.on_ack(request)
        elif (again := self._answers.get(f"{request.method} {branch}")) is not None:
            self.peer.send(again)
        elif request.method == "INVITE" and request.to.tag is None:
            self.invite = request
            self._begin(self.on_invite(request))
        elif request.method == "INVITE":
            self._begin(self.on_reinvite(request))
        elif request.method == "BYE":
            self.on_bye(request)
        elif request.method == "CANCEL":
            self.on_cancel(request)
        else:
            self.answer(request, 200)

    def on_response(self, response: Response) -> None:
        """A response to what it asked."""
        if response.cseq.method == "INVITE" and response.status >= 200:
            self.acknowledge(response)
        self.responses.put_nowait(response)

    async def on_invite(self, request: Request) -> None:
        """It is called."""
        self.answer(request, 180)
        await asyncio.sleep(self.ring)
        await self.accept(request)

    async def on_reinvite(self, request: Request) -> None:
        """The call is changed."""
        self.answer(request, 200, self.description(version=2))

    def on_ack(self, request: Request) -> None:
        """The handshake is complete."""
        self.acknowledged.set()

    def on_bye(self, request: Request) -> None:
        """The other side hangs up."""
        self.answer(request, 200)
        self.over.set()

    def on_cancel(self, request: Request) -> None:
        """The caller gives up."""
        self.answer(request, 200)
        if self.invite is not None:
            self.answer(self.invite, 487)
        self.over.set()

    # -- what it sends ---------------------------------------------------------------------------------------------------

    def wire(self, data: bytes) -> bytes | None:
        """What becomes of a message on its way out."""
        return data

    def description(self, **options: Any) -> str:
        """Its SDP."""
        return sdp(**{"port": _PORT, "host": self.peer.ip, "formats": self.formats, **options})

    def answer(self, request: Request, status: int, body: str = "", **options: Any) -> bytes:
        """Answer a request; once more when it comes again."""
        data = self.peer.answer(request, status, body, tag=options.pop("tag", self.tag), **options)
        self._answers[f"{request.method} {request.headers.get('Via') or ''}"] = data
        return data

    async def accept(self, request: Request, **options: Any) -> None:
        """Send 200 until the ACK is here (RFC 3261 §13.3.1.4), and sound."""
        self.start_sound(request)
        data = self.answer(request, 200, options.pop("body", None) or self.description(), **options)
        pause = _T1
        for _ in range(10):
            try:
                async with asyncio.timeout(pause):
                    await self.acknowledged.wait()
                return
            except TimeoutError:
                self.peer.send(data)
                pause = min(2 * pause, 4.0)

    def acknowledge(self, response: Response) -> None:
        """ACK for a final response."""
        if response.status < 300:
            self.peer.acknowledge(response, uri=self._target(response))
        elif response.cseq.method == "INVITE":
            self.peer.ask(
                "ACK", to_tag=response.to.tag, from_tag=self.tag, call_id=response.call_id, cseq=response.cseq.number,
                branch=f"z9hG4bKcall{response.cseq.number}",
            )  # fmt: skip

    def _target(self, response: Response) -> str | None:
        contacts = response.contacts
        return str(contacts[0].uri) if contacts else None

    def send_invite(self, *, body: str | None = None, **options: Any) -> bytes:
        """The INVITE of a new call."""
        self.calls_made += 1
        settings = {"from_tag": self.tag, "call_id": f"{self.name}-{self.calls_made}", "branch": "z9hG4bKcall1", "cseq": 1, **options}
        return self.peer.ask("INVITE", self.description() if body is None else body, **settings)

    async def place(self) -> None:
        """Call the phone that `peer.remote` is; it talks for a while and hangs up, or the other side does."""
        self.send_invite()
        response = await self.final()
        if response is not None and response.status < 300:
            await self.talk_and_hang_up(response)

    async def final(self) -> Response | None:
        """The final response to its INVITE; None if there is none. The INVITE is sent once: the lines of bad phones lose nothing."""
        try:
            async with asyncio.timeout(_GIVE_UP):
                while True:
                    response = await self.responses.get()
                    if response.cseq.method == "INVITE" and response.status >= 200:
                        return response
        except TimeoutError:
            return None

    async def talk_and_hang_up(self, response: Response) -> None:
        """The call is up."""
        self.accepted = response
        self.start_sound(response)
        try:
            async with asyncio.timeout(self.talk):
                await self.over.wait()
        except TimeoutError:
            self.hang_up()

    def hang_up(self) -> None:
        """BYE."""
        self.within("BYE", cseq=200)
        self.over.set()

    def within(self, method: str, body: str = "", **options: Any) -> bytes:
        """A request in the dialog."""
        message: Message | None = self.accepted or self.invite
        assert message is not None
        contacts = message.contacts
        uri = str(contacts[0].uri) if contacts else None
        return self.peer.within(message, method, body, **{"tag": self.tag, "uri": uri, **options})

    # -- sound -----------------------------------------------------------------------------------------------------------

    def start_sound(self, message: Message) -> None:
        """Send its tone to where the other side's SDP tells."""
        if self.sound is None:
            self.sound = self.peer.sound(_PORT)
        text = message.body.decode("utf-8", "replace")
        if "m=audio " not in text:
            return
        host = text.partition("c=IN IP4 ")[2].split()[0]
        self.remote_sound = (host, int(text.partition("m=audio ")[2].split()[0]))
        self._begin(self.speak(self.sound, self.remote_sound))

    async def speak(self, sound: RawSound, remote: tuple[str, int]) -> None:
        """Its tone, until it is switched off or the call is over."""
        first = True
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.2), marker=first)
            first = False

    def _begin(self, story: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(story)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler({"message": f"{self.name} failed", "exception": task.exception()})

    # -- the usual two tests -----------------------------------------------------------------------------------------------

    async def is_called_by(self, phone: TestPhone, *, ring_timeout: float = 20.0) -> Expected:
        """Let `phone` call it, speak for two seconds and hang up; how that went, to be compared with `when_called`."""
        call: Any = phone.call(self.uri, ring_timeout=ring_timeout)
        try:
            async with asyncio.timeout(200):
                await call
        except FlexosipError as error:
            async with asyncio.timeout(200):
                await call.wait_ended()
            return self._as_it_went(call, type(error).__name__)
        await self._conversation(call)
        await call.hangup()
        return self._as_it_went(call, "answered")

    async def calls(self, phone: TestPhone) -> Expected:
        """Let it call `phone`, which answers at once and does not hang up for two minutes; to be compared with `when_calling`."""
        phone.answers(hang_up_after=120.0)
        self._begin(self.place())
        try:
            call = await phone.wait_call(within=40)
        except AssertionError:
            return Expected("none", heard=False, speaks=False, ended_by="")
        await self._conversation(call)
        async with asyncio.timeout(200):
            await call.wait_ended()
        return self._as_it_went(call, "answered")

    async def _conversation(self, call: TestCall) -> None:
        if call.end is None:
            call.play(Tone(440, duration=2.0))
        for _ in range(20):
            if call.end is not None:
                return
            await asyncio.sleep(0.1)

    def _as_it_went(self, call: Any, result: str) -> Expected:
        heard = call.ear.has_tone(TONE)
        return Expected(result, heard=heard, speaks=self.packets_heard > 10, ended_by=call.end.by if call.end is not None else "")
