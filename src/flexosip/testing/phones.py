"""Phones and calls for tests: phones that behave as told, calls that remember all they heard and can be asked for it.

`TestPhone` is a `Phone`, `TestCall` a `Call`; whatever they do, they do as those.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flexosip.audio.levels import level
from flexosip.phone.call import Call
from flexosip.phone.events import CallEvent, DigitPressed
from flexosip.phone.phone import Phone
from flexosip.testing.hearing import FRAME, RATE, Ear, is_tone
from flexosip.testing.recognition import COUNTS_AS_HEARD, Found, Prompt, Sound

if TYPE_CHECKING:
    from flexosip.phone.media.media_session import MediaSession
    from flexosip.phone.session import CallSession
    from flexosip.sip.flow import Flow

__all__ = ["Expectation", "TestCall", "TestPhone"]

T = TypeVar("T")

_LOOK = 0.1
"""Seconds between two looks at what came in meanwhile."""
_LATE = 0.4
"""Seconds that sound takes to be heard: the network, the jitter buffer, the packet."""


class Expectation(Generic[T]):
    """What a call is expected to hear: `await` it. One that was never awaited fails its test in the end."""

    def __init__(self, words: str, check: Callable[[], Any]) -> None:
        self.words = words
        self.awaited = False
        self._check = check

    def __await__(self) -> Generator[Any, None, T]:
        self.awaited = True
        return self._check().__await__()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<{self.words}, {'awaited' if self.awaited else 'never awaited'}>"


class TestCall(Call):
    """A call that remembers everything it heard, from its first frame.

    The assertions are awaited. They raise AssertionError with what was heard instead. `heard`, `heard_tone` and `heard_digits`
    read on from each other: each begins where the one before has found its sound or keys, so their order is checked too.
    """

    __test__ = False  # for pytest: nothing to collect

    def __init__(self, session: CallSession, dial: Callable[[], None] | None = None, ring_timeout: float | None = None) -> None:
        super().__init__(session, dial, ring_timeout)
        phone = session.phone
        self.ear = phone.ear_of(session) if isinstance(phone, TestPhone) else Ear(session.loop.time)
        """What it heard."""
        self.pressed: list[DigitPressed] = []
        """Every key that was pressed at the other side."""
        self._read_sound = 0
        self._read_digits = 0
        self._tone_heard = 0.0

    # -- what was heard ------------------------------------------------------------------------------------------------

    def heard(self, source: Sound, within: float = 3.0, *, seconds: float | None = None) -> Expectation[Found]:
        """Await that a prompt is heard: it has begun, or begins within `within` seconds from now. Returns when it was heard whole.

        Args:
            source: a path, encoded bytes, `Pcm`, or a `Tone` with a duration.
            seconds: its first so many seconds suffice.

        It may have passed any codec, at any level, and may have lost packets; 60 % of it must be left, and nothing else may sound
        in its place.
        """
        return self._expect(f"heard({source!r}, within={within:g})", lambda: self._heard(Prompt(source, seconds), within))

    def heard_tone(self, hz: float, within: float = 3.0, *, duration: float = 0.2) -> Expectation[Found]:
        """Await a tone of `hz` (to 1 %) for at least `duration` seconds that begins within `within` seconds from now."""
        return self._expect(f"heard_tone({hz:g}, within={within:g})", lambda: self._heard_tone(hz, within, duration))

    def heard_digits(self, digits: str, within: float = 5.0) -> Expectation[str]:
        """Await these keys, in this order and no other between them, the last within `within` seconds from now.

        It takes nothing from `digits`, `gather` and `menu` of the same call.
        """
        return self._expect(f"heard_digits({digits!r}, within={within:g})", lambda: self._heard_digits(digits, within))

    def assert_silence(self, seconds: float = 2.0, *, threshold: float = -50.0) -> Expectation[None]:
        """Wait `seconds` from now and assert that nothing louder than `threshold` (dBFS) was heard in them."""
        return self._expect(f"assert_silence({seconds:g})", lambda: self._assert_silence(seconds, threshold))

    def assert_level(self, lowest: float, highest: float = 0.0, *, seconds: float = 1.0) -> Expectation[float]:
        """Wait `seconds` from now and assert that the level of all heard in them is from `lowest` to `highest` dBFS; returns it."""
        return self._expect(f"assert_level({lowest:g}, {highest:g})", lambda: self._assert_level(lowest, highest, seconds))

    def heard_nothing_but(self, *sources: Sound) -> Expectation[list[Found]]:
        """Assert that all sound of this call, from its begin to now, belongs to these prompts; each may come again and again."""
        names = ", ".join(repr(source) for source in sources)
        return self._expect(f"heard_nothing_but({names})", lambda: self._heard_nothing_but([Prompt(source) for source in sources]))

    def _expect(self, words: str, check: Callable[[], Any]) -> Expectation[Any]:
        expectation: Expectation[Any] = Expectation(words, check)
        phone = self._session.phone
        if isinstance(phone, TestPhone):
            phone.expectations.append(expectation)
        return expectation

    # -- how it is found out -------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._session.loop.time()

    async def _heard(self, prompt: Prompt, within: float) -> Found:
        __tracebackhide__ = True
        ear, after = self.ear, self._read_sound
        deadline = self._now + within
        looked = 0
        while True:
            last = ear.over or self._now >= deadline + prompt.duration + prompt.lead + _LATE
            found = None
            if last or len(ear.pcm) > looked:
                # Only places that have been heard whole since the last look; near ones again, a better one may have come.
                fresh = max(after, looked // 2 - round(prompt.duration * RATE) - 10 * FRAME)
                looked = len(ear.pcm)
                found, best = prompt.find(ear, after if last else fresh, look="likeliest" if last else "growing")
            if found is not None and found.start <= deadline + _LATE:
                self._read_sound, self._tone_heard = ear.position(found.end) - 10 * FRAME, 0.0
                return found
            if last:
                when = f"only at {found.start:.2f} s" if found is not None else f"not: the best likeness is {best:.2f} of {COUNTS_AS_HEARD}"
                raise self._failed(f"{prompt.name} was to begin by {deadline:.2f} s and was heard {when}")
            await asyncio.sleep(_LOOK)

    async def _heard_tone(self, hz: float, within: float, duration: float) -> Found:
        __tracebackhide__ = True
        ear, at = self.ear, self._read_sound
        deadline = self._now + within
        window = max(FRAME * 2, min(round(duration * RATE) // 2, FRAME * 4))
        begin: int | None = None
        going_on = abs(self._tone_heard / hz - 1) < 0.01
        while True:
            samples = len(ear.pcm) // 2
            while at + window <= samples:
                piece = bytes(ear.pcm[2 * at : 2 * (at + window)])
                if not is_tone(piece, hz):
                    begin, going_on = None, False
                elif not going_on:  # what goes on since the last time is no other tone
                    begin = at if begin is None else begin
                    if (at + window - begin) / RATE >= duration - 0.02:
                        self._read_sound, self._tone_heard = at + window, hz
                        started = (ear.begin or 0.0) + begin / RATE
                        if started > deadline + _LATE:
                            raise self._failed(f"A tone of {hz:g} Hz was to begin by {deadline:.2f} s and began at {started:.2f} s")
                        return Found(started, (ear.begin or 0.0) + self._read_sound / RATE, 1.0)
                at += window // 2
            if ear.over or self._now >= deadline + duration + _LATE:
                raise self._failed(f"No tone of {hz:g} Hz of {duration:g} s was heard to begin by {deadline:.2f} s")
            await asyncio.sleep(_LOOK)

    async def _heard_digits(self, digits: str, within: float) -> str:
        __tracebackhide__ = True
        wanted = digits.replace(" ", "").upper()
        deadline = self._now + within
        while True:
            got = "".join(event.digit for event in self.pressed[self._read_digits :])
            if got.startswith(wanted):
                self._read_digits += len(wanted)
                return wanted
            if not wanted.startswith(got) or self._now >= deadline or self.end is not None:
                raise self._failed(f"The keys {wanted} were to be heard by {deadline:.2f} s; it was {got or 'none'}")
            await asyncio.sleep(_LOOK)

    async def _assert_silence(self, seconds: float, threshold: float) -> None:
        __tracebackhide__ = True
        begin = self._now
        await self._listen(seconds)
        loud = self.ear.sounds(begin, begin + seconds, threshold=threshold)
        if loud:
            until = begin + seconds
            raise self._failed(f"Silence was to be from {begin:.2f} to {until:.2f} s, but there was sound at {loud[0].start:.2f} s")

    async def _assert_level(self, lowest: float, highest: float, seconds: float) -> float:
        __tracebackhide__ = True
        begin = self._now
        await self._listen(seconds)
        value = level(self.ear.cut(begin, begin + seconds))
        if not lowest <= value <= highest:
            raise self._failed(
                f"The level from {begin:.2f} to {begin + seconds:.2f} s was to be {lowest:g} to {highest:g} dBFS and was {value:.1f}"
            )
        return value

    async def _listen(self, seconds: float) -> None:
        """Let `seconds` pass in which the call lasts and hears."""
        __tracebackhide__ = True
        until = self._now + seconds
        while self._now < until - 1e-9:
            if self.end is not None:
                raise self._failed(f"The call was over at {self.ended_at:.2f} s ({self.end}), before {until:.2f} s")
            await asyncio.sleep(min(_LOOK, until - self._now))
        if self.ear.begin is None or self.ear.end < until - _LATE:
            raise self._failed("There is no sound to judge: the call heard no frame in that time")

    async def _heard_nothing_but(self, prompts: list[Prompt]) -> list[Found]:
        __tracebackhide__ = True
        places: list[Found] = []
        for prompt in prompts:
            after = 0
            while True:
                found, _ = prompt.find(self.ear, after, look="near")
                if found is None:
                    break
                places.append(found)
                after = self.ear.position(found.end - prompt.tail) - 10 * FRAME
        for span in self.ear.sounds():
            for index in range(round(span.duration * RATE / FRAME)):
                at = span.start + (index + 0.5) * FRAME / RATE
                if not any(place.start - 0.06 <= at <= place.end + 0.06 for place in places):
                    names = " or ".join(prompt.name for prompt in prompts) or "nothing"
                    raise self._failed(f"The sound at {at:.2f} s is not of {names}")
        return sorted(places, key=lambda found: found.start)

    def _failed(self, words: str) -> AssertionError:
        keys = ", ".join(f"{event.digit} at {event.at:.2f} s" for event in self.pressed) or "none"
        lines = [f"{words}.", f"{self!r}, {self._story()}", self.ear.in_words(), f"Keys: {keys}."]
        figures = self.statistics()
        if figures is not None:
            lines.append(f"Packets: {figures.packets_received} received, {figures.lost} lost, {figures.packets_sent} sent.")
        return AssertionError("\n".join(lines))

    def _story(self) -> str:
        """When it began, was answered and ended."""
        marks = [("begun", self.started_at), ("answered", self.answered_at), ("over", self.ended_at)]
        told = ", ".join(f"{word} at {at:.2f} s" for word, at in marks if at is not None)
        return told + (f" ({self.end})" if self.end is not None else "")


class TestPhone(Phone):
    """A phone for tests: its calls are `TestCall`s, and unless told otherwise it lets every call ring.

    `answers`, `refuses` and `on_call` tell it what to do with calls; `wait_call` gives the next one that rings.
    """

    __test__ = False
    call_class = TestCall

    def __init__(self, aor: str | None = None, **settings: Any) -> None:
        super().__init__(aor, **settings)
        self.expectations: list[Expectation[Any]] = []
        """All that its calls were expected to hear."""
        self._ears: dict[int, Ear] = {}
        self._waiting: deque[TestCall] = deque()
        self._arrived: asyncio.Event | None = None
        self.on_call(self._let_ring)
        self.on_call_event(_note_digits)

    # -- being called --------------------------------------------------------------------------------------------------

    def answers(self, *, after: float = 0.0, play: Any = None, hang_up_after: float | None = None) -> None:
        """From now on answer each call: ring for `after` seconds, play something, hang up after so many seconds or never."""

        async def answer(call: Call) -> None:
            if after > 0:
                await call.ring()
                await asyncio.sleep(after)
            try:
                await call.answer()
            finally:
                self._put(call)
            if play is not None:
                call.play(play)
            if hang_up_after is None:
                await call.wait_ended()
            else:
                await asyncio.sleep(hang_up_after)

        self.on_call(answer)

    def refuses(self, status: int = 486) -> None:
        """From now on refuse each call with this status."""

        async def refuse(call: Call) -> None:
            await call.reject(status)

        self.on_call(refuse)

    async def wait_call(self, within: float = 5.0) -> TestCall:
        """The next incoming call, ringing, or answered if it `answers`; the oldest that was not asked for yet.

        Raises:
            AssertionError: none within so many seconds, or it has an `on_call` handler of its own.
        """
        if self._arrived is None:
            self._arrived = asyncio.Event()
        try:
            async with asyncio.timeout(within):
                while not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"No call came to {self!r} within {within:g} s.") from None
        return self._waiting.popleft()

    async def _let_ring(self, call: Call) -> None:
        await call.ring()
        self._put(call)
        await call.wait_ended()

    def _put(self, call: Call) -> None:
        assert isinstance(call, TestCall)
        self._waiting.append(call)
        if self._arrived is not None:
            self._arrived.set()

    # -- hearing -------------------------------------------------------------------------------------------------------

    def ear_of(self, session: CallSession) -> Ear:
        """The ear of a call."""
        ear = self._ears.get(id(session))
        if ear is None:
            ear = self._ears[id(session)] = Ear(self.loop.time)
        return ear

    def create_media(self, session: CallSession, flow: Flow, offer: bytes = b"") -> MediaSession:
        """As every phone; and all that is heard goes to the ear of the call."""
        media = super().create_media(session, flow, offer)
        media.attach_audio(self.ear_of(session))
        return media

    def call_ended(self, session: CallSession) -> None:
        """A call is over."""
        super().call_ended(session)
        self._ears.pop(id(session), None)

    def __repr__(self) -> str:
        names = ", ".join(str(account.aor) for account in self.accounts)
        return f"<phone {names or ' '.join(itertools.islice(self.listen, 1))}>"


def _note_digits(call: Call, event: CallEvent) -> None:
    if isinstance(event, DigitPressed) and isinstance(call, TestCall):
        call.pressed.append(event)
