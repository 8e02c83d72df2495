"""The story of the demo, told by real phones.

The house phone calls the bell, hears that it is on now, presses 5, hears the confirmation, hangs up.
Then something moves: the bell rings **9, the house phone rings and is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexosip import Call, Phone
from flexosip.apps.bell.bell import Bell
from flexosip.apps.bell.config import AccountSettings, BellConfig, Destination
from flexosip.apps.bell.store import Store
from flexosip.audio.levels import level
from flexosip.demo.wiretap import TappedNetwork
from flexosip.net.real import RealNetwork
from flexosip.observe import Address, Chapter, Ladder, Mark, Note, Trace, WireMessage, ladder_svg, media_story, write_pcap
from flexosip.pbx import Pbx
from flexosip.phone.events import Answered, CallEvent, DigitPressed, Ended, PlaybackStarted, Ringing

__all__ = ["Demo", "DemoResult"]

_ORDER = ("house phone", "PBX", "bell")
_QUIET_DBFS = -50.0
"""Below this the house phone takes it that the bell has finished speaking; its prompts lie around -18."""
_QUIET_SECONDS = 0.7
_SPEAKING_TIME = 8.0
_WORDS = {"off": "switched off", "once": "on, for one alarm", "5min": "on, for five minutes", "forever": "on, until switched off"}

Report = Callable[..., None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves."""

    wav: Path
    """What the house phone heard."""
    svg: Path
    pcap: Path
    packets: int
    """In the pcap."""


class Demo:
    """The demo.

    Args:
        out: folder for the three files; it is made.
        port: of the PBX; 0 takes a free one.
        report: called with each event: `report(event, **fields)`.
        say: called with each line for people: the story and the ladder.
        colour: ladder lines with ANSI colours.
        language: of the bell, `en` or `de`.
    """

    def __init__(
        self, out: Path, *, port: int = 0, report: Report, say: Callable[[str], None], colour: bool = False, language: str = "en"
    ) -> None:
        self._out = out
        self._port = port
        self._report = report
        self._say = say
        self._language = language
        self._trace = Trace(max_messages=100_000)
        self._lock = threading.Lock()
        self._media: list[WireMessage] = []
        self._notes: list[Note | Chapter] = []
        self._ladder = Ladder(order=_ORDER, colour=colour)
        self._marks: list[Mark] = []
        self._names: dict[Address | str, str] = {}
        self._house_done = asyncio.Event()

    async def run(self) -> DemoResult:
        """Play the story; under 15 s.

        Raises:
            FlexosipError: something is wrong with this machine's network.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        epoch = time.time() - time.monotonic()
        with tempfile.TemporaryDirectory(prefix="flexosip-demo-") as state:
            await self._play(Path(state))
        result = await asyncio.to_thread(self._write, epoch)
        self._say("")
        self._say(f"What the house phone heard: {result.wav}")
        self._say(f"The ladder as a picture:    {result.svg}")
        self._say(f"Every packet:               {result.pcap}")
        return result

    # -- the cast -----------------------------------------------------------------------------------------------------

    async def _play(self, state: Path) -> None:
        passwords = {user: secrets.token_urlsafe(12) for user in ("bell", "house")}
        async with contextlib.AsyncExitStack() as stack:
            pbx = Pbx(passwords, listen=(f"127.0.0.1:{self._port}",))
            pbx.on_wire(self._wire)
            await stack.enter_async_context(pbx)
            port = int(pbx.addresses[0].rsplit(":", 1)[1])
            self._name("127.0.0.1", port, "PBX")
            self._chapter("A PBX, a bell and a house phone on this machine")
            self._say(f"The PBX listens on 127.0.0.1:{port}.")
            house = self._phone(f"sip:house@127.0.0.1:{port}", passwords["house"], "House phone")
            bell_phone = self._phone(f"sip:bell@127.0.0.1:{port}", passwords["bell"], "Bell")
            house.on_call_event(self._house_event)
            bell_phone.on_call_event(self._bell_event)
            house.on_call(self._house_called)
            config = BellConfig(
                destinations=(Destination("**9", duration=6.0, name="Door bell"),),
                triggers=(),
                account=AccountSettings(aor=f"sip:bell@127.0.0.1:{port}"),
                language=self._language,
            )
            await house.start()
            self._registered(house)
            bell = Bell(config, phone=bell_phone, report=self._bell_report, store=Store(state / "bell.json"), triggers=[])
            await stack.enter_async_context(_closing(house))
            await stack.enter_async_context(bell)
            self._registered(bell_phone)
            await self._call_in(house, config)
            await asyncio.sleep(0.6)
            await self._motion(bell)

    def _phone(self, aor: str, password: str, name: str) -> Phone:
        network = TappedNetwork(RealNetwork(), self._sound, lambda address: self._names.__setitem__(address, name.lower()))
        phone = Phone(aor, password=password, display_name=name, listen=("127.0.0.1:0",), network=network)

        @phone.on_wire
        def note_address(message: WireMessage) -> None:
            if message.local not in self._names:
                self._name(*message.local, name.lower())

        return phone

    def _registered(self, phone: Phone) -> None:
        account = phone.accounts[0]
        expires = account.event.expires if account.event is not None else 0.0
        self._report("registered", aor=str(account.aor), expires=round(expires))
        self._note(f"{account.display_name} is registered", account.display_name.lower() if account.display_name else None)

    # -- the acts -----------------------------------------------------------------------------------------------------

    async def _call_in(self, house: Phone, config: BellConfig) -> None:
        self._chapter("The house phone calls the bell to switch it on")
        target = "bell"
        self._report("calling", target=target)
        async with house.call(target, ring_timeout=10) as call:
            recording = call.record(self._out / "demo.wav", side="in")
            await self._listen(call)
            self._note("somebody presses 5", "house phone")
            await call.send_digits("5")
            await self._listen(call)
            await recording.stop()
        self._note("the house phone hangs up", "house phone")

    async def _listen(self, call: Call) -> None:
        """Listen until the other side has spoken and is quiet again."""
        spoken = False
        quiet = 0
        async with asyncio.timeout(_SPEAKING_TIME), call.audio(rate=8000) as stream:
            async for frame in stream:
                if level(frame) > _QUIET_DBFS:
                    spoken, quiet = True, 0
                else:
                    quiet += 1
                if spoken and quiet >= _QUIET_SECONDS * 50:
                    return

    async def _motion(self, bell: Bell) -> None:
        self._chapter("Something moves at the door")
        self._house_done.clear()
        await bell.trigger("motion")
        async with asyncio.timeout(10):
            await self._house_done.wait()
        await asyncio.sleep(0.1)

    async def _house_called(self, call: Call) -> None:
        try:
            await call.ring()
            self._note("the house phone rings", "house phone")
            await asyncio.sleep(1.2)
            await call.answer()
            await call.wait_ended()
        finally:
            self._house_done.set()

    # -- what is told -------------------------------------------------------------------------------------------------

    def _house_event(self, call: Call, event: CallEvent) -> None:
        if isinstance(event, Ringing):
            self._report("ringing", call_id=call.id)
        elif isinstance(event, Answered):
            self._report("answered", call_id=call.id, codec=event.codec)
        elif isinstance(event, Ended):
            self._report(
                "ended",
                call_id=call.id,
                status=event.end.status,
                reason=event.end.reason,
                by=event.end.by,
                duration=round(call.duration, 2),
                statistics=event.statistics,
            )

    def _bell_event(self, call: Call, event: CallEvent) -> None:
        if isinstance(event, DigitPressed):
            self._report("digit", call_id=call.id, digit=event.digit, via=event.via)
        elif isinstance(event, PlaybackStarted):
            self._marks.append(Mark(event.at, "bell", "house phone", f"“{Path(event.source).stem}”", "sound"))

    def _bell_report(self, event: str, **fields: Any) -> None:
        if event in ("mode", "triggered", "swallowed"):
            self._report(event, **fields)
        if event == "mode" and fields.get("by") != "start":
            words = _WORDS.get(str(fields["mode"]), str(fields["mode"]))
            self._note(f"the bell is {words}", "bell")
        elif event == "triggered":
            self._note("motion: the bell rings all phones (**9)", "bell")

    def _note(self, text: str, lane: str | None) -> None:
        at = time.monotonic()
        self._notes.append(Note(at, text, lane))
        self._say(self._ladder.note(at, text))

    def _chapter(self, text: str) -> None:
        self._notes.append(Chapter(time.monotonic(), text))
        self._say("")
        self._say(text)

    # -- what is recorded ---------------------------------------------------------------------------------------------

    def _name(self, host: str, port: int, name: str) -> None:
        self._names[(host, port)] = name
        self._ladder.lanes.add((host, port), name)

    def _wire(self, message: WireMessage) -> None:
        self._trace.record(message)
        line = self._ladder.line(message)
        if line is not None:
            self._say(line)

    def _sound(self, message: WireMessage) -> None:
        """Called from the engine's thread."""
        with self._lock:
            self._media.append(message)

    def _write(self, epoch: float) -> DemoResult:
        with self._lock:
            media = list(self._media)
        messages = sorted([*self._trace.messages, *media], key=lambda message: message.at)
        names = dict(self._names)
        phases, marks = media_story(messages)
        svg = self._out / "ladder.svg"
        drawing = ladder_svg(
            self._trace.messages,
            names=names,
            order=_ORDER,
            title="A bell that rings the house phones",
            subtitle="Real SIP and RTP on one machine: flexosip demo",
            notes=self._notes,
            phases=phases,
            marks=[*marks, *self._marks],
        )
        svg.write_text(drawing, encoding="utf-8")
        pcap = self._out / "demo.pcap"
        packets = write_pcap(pcap, messages, epoch=epoch)
        return DemoResult(self._out / "demo.wav", svg, pcap, packets)


@contextlib.asynccontextmanager
async def _closing(phone: Phone) -> Any:
    try:
        yield phone
    finally:
        await phone.close()
