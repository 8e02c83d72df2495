"""The same phone for programs without asyncio: no `await`, callable from any thread, calls are plain `with` blocks.

    from flexosip.sync import Phone

    with Phone("sip:bell@fritz.box", password="SECRET") as phone:
        with phone.call("**9", ring_timeout=20) as call:
            call.play("hello.wav")

Every phone has one thread with an event loop of its own; the objects here hand their work to it and wait for the result.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from flexosip.errors import CallEnded, ConfigurationError, InvalidState
from flexosip.phone.account import Account
from flexosip.phone.call import Call as AsyncCall
from flexosip.phone.call import Source
from flexosip.phone.phone import Phone as AsyncPhone
from flexosip.phone.phone import RingResult

if TYPE_CHECKING:
    from flexosip.ivr.collect import Digits
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.audio_stream import AudioStream as AsyncAudioStream
    from flexosip.phone.events import CallEnd, CallEvent, CallState
    from flexosip.phone.playback import Playback as AsyncPlayback
    from flexosip.phone.playback import Recording as AsyncRecording
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.registration import Registration, RegistrationEvent

__all__ = ["AudioStream", "Call", "Phone", "Playback", "Recording"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
HeaderArgument = Mapping[str, str] | Iterable[tuple[str, str]] | None


class _Portal:
    """One thread that runs an event loop; any other thread has its work done there."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="flexosip-phone", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self.loop = loop
        loop.call_soon(self._ready.set)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def run(self, work: Awaitable[T]) -> T:
        """Await `work` in the loop's thread and return its result here; an interruption here cancels it there."""
        loop = self.loop
        if loop is None or loop.is_closed():
            raise InvalidState("The phone is closed.")
        if threading.get_ident() == self._thread.ident:
            raise InvalidState("A blocking call was made inside the phone's own thread.", advice="Do it in a thread of your own.")
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(_as_coroutine(work), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Call a plain function in the loop's thread."""

        async def work() -> T:
            return function(*arguments, **keywords)

        return self.run(work())

    def close(self) -> None:
        """End the thread."""
        loop = self.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(5)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _iterate(portal: _Portal, source: AsyncIterator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                item = portal.run(source.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            portal.run(close())


class Playback:
    """One sound in the play queue; see `flexosip.phone.playback.Playback`."""

    def __init__(self, portal: _Portal, playback: AsyncPlayback) -> None:
        self._portal = portal
        self._playback = playback

    @property
    def source(self) -> str:
        """What is played, for people."""
        return self._playback.source

    @property
    def position(self) -> float:
        """Seconds that have really been sent."""
        return self._playback.position

    @property
    def done(self) -> bool:
        """True when its last packet has left or it was stopped."""
        return self._playback.done

    @property
    def completed(self) -> bool:
        """True when it was played to its end."""
        return self._playback.completed

    def stop(self) -> Playback:
        """Stop within one packet."""
        self._portal.call(self._playback.stop)
        return self

    def wait(self) -> Playback:
        """Wait for the last packet."""
        self._portal.run(self._playback)
        return self


class Recording:
    """A recording in progress; see `flexosip.phone.playback.Recording`."""

    def __init__(self, portal: _Portal, recording: AsyncRecording) -> None:
        self._portal = portal
        self._recording = recording

    @property
    def path(self) -> str:
        """The file."""
        return self._recording.path

    @property
    def seconds(self) -> float:
        """Length, known when it is done."""
        return self._recording.seconds

    @property
    def done(self) -> bool:
        """True when the file is closed."""
        return self._recording.done

    def stop(self) -> Recording:
        """Close the file."""
        self._portal.call(self._recording.stop)
        return self

    def wait(self) -> Recording:
        """Wait until the file is closed."""
        self._portal.run(self._recording)
        return self


class AudioStream:
    """The duplex sound of a call: iterate for 20 ms frames of int16 mono, `write` to send."""

    def __init__(self, portal: _Portal, stream: AsyncAudioStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._stream.rate

    def __iter__(self) -> Iterator[bytes]:
        return _iterate(self._portal, self._stream)

    def write(self, pcm: bytes) -> None:
        """Send `pcm` after what was written before."""
        self._portal.run(self._stream.write(pcm))

    def clear(self) -> float:
        """Forget what was not sent yet; the seconds really sent since the last `clear`."""
        return self._portal.call(self._stream.clear)

    def mark(self, name: str) -> float:
        """Wait until all that was written so far has been sent; the position in seconds."""

        async def work() -> float:
            return await self._stream.mark(name)

        return self._portal.run(work())

    def close(self) -> None:
        """End both directions; the call goes on."""
        self._portal.call(self._stream.close)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Call:
    """One call; the verbs of `flexosip.Call` without `await`."""

    def __init__(self, portal: _Portal, call: AsyncCall) -> None:
        self._portal = portal
        self._call = call

    def __repr__(self) -> str:
        return repr(self._call)

    @property
    def id(self) -> str:
        """The Call-ID."""
        return self._call.id

    @property
    def state(self) -> CallState:
        """`new`, `calling`, `ringing`, `answered` or `ended`."""
        return self._call.state

    @property
    def direction(self) -> str:
        """`outgoing` or `incoming`."""
        return self._call.direction

    @property
    def remote(self) -> NameAddr | None:
        """The other side."""
        return self._call.remote

    @property
    def local(self) -> NameAddr | None:
        """Our side."""
        return self._call.local

    @property
    def account(self) -> Account | None:
        """The account that calls or is called."""
        return self._call.account

    @property
    def headers(self) -> Headers | None:
        """Headers of the other side."""
        return self._call.headers

    @property
    def codec(self) -> str | None:
        """Name of the codec."""
        return self._call.codec

    @property
    def started_at(self) -> float | None:
        """When it was dialled or came in."""
        return self._call.started_at

    @property
    def answered_at(self) -> float | None:
        """When it was answered."""
        return self._call.answered_at

    @property
    def ended_at(self) -> float | None:
        """When it ended."""
        return self._call.ended_at

    @property
    def duration(self) -> float:
        """Seconds since the answer."""
        return self._portal.call(lambda: self._call.duration)

    @property
    def end(self) -> CallEnd | None:
        """Who ended it and why."""
        return self._call.end

    @property
    def held(self) -> bool:
        """True while the other side holds us."""
        return self._call.held

    def __enter__(self) -> Call:
        self._portal.run(self._call._establish())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.hangup()
        return isinstance(error, CallEnded) and error.end is self._call.end

    def wait_ringing(self, timeout: float | None = None) -> None:
        """Return when the other phone rings or is answered."""
        self._portal.run(self._call.wait_ringing(timeout))

    def wait_answered(self, timeout: float | None = None) -> None:
        """Return when the call is answered."""
        self._portal.run(self._call.wait_answered(timeout))

    def wait_ended(self) -> CallEnd:
        """Wait for the end."""
        return self._portal.run(self._call.wait_ended())

    def ring(self, *, headers: HeaderArgument = None) -> None:
        """Tell the caller that it rings."""
        self._portal.run(self._call.ring(headers=headers))

    def progress(self, *, headers: HeaderArgument = None) -> None:
        """Open the sound before answering."""
        self._portal.run(self._call.progress(headers=headers))

    def answer(self, *, headers: HeaderArgument = None) -> None:
        """Answer."""
        self._portal.run(self._call.answer(headers=headers))

    def reject(self, status: int = 486, reason: str | None = None, *, headers: HeaderArgument = None) -> None:
        """Refuse."""
        self._portal.run(self._call.reject(status, reason, headers=headers))

    def redirect(self, target: str) -> None:
        """Send the caller to another address."""
        self._portal.run(self._call.redirect(target))

    def hangup(self, *, cause: int | None = None) -> None:
        """End the call."""
        self._portal.run(self._call.hangup(cause=cause))

    def play(self, source: Source, *, delay: float = 0.0, loop: bool = False, wait: bool = True) -> Playback:
        """Play; blocks until the sound is out, `wait=False` returns at once."""
        playback = Playback(self._portal, self._portal.call(self._call.play, source, delay=delay, loop=loop))
        return playback.wait() if wait else playback

    def stop_playing(self) -> float:
        """Empty the play queue; the seconds of it that were really sent."""

        async def work() -> float:
            return await self._call.stop_playing()

        return self._portal.run(work())

    def tone(self, name: str | float, duration: float | None = None, *, wait: bool = True) -> Playback:
        """Play a tone; a tone without end needs `wait=False`."""
        playback = Playback(self._portal, self._portal.call(self._call.tone, name, duration))
        return playback.wait() if wait else playback

    def send_digits(self, digits: str, *, duration: float = 0.1, gap: float = 0.05, via: str = "auto") -> None:
        """Press keys."""
        self._portal.run(self._call.send_digits(digits, duration=duration, gap=gap, via=via))

    def mute(self) -> None:
        """Send silence."""
        self._portal.call(self._call.mute)

    def unmute(self) -> None:
        """Send what is played again."""
        self._portal.call(self._call.unmute)

    def record(
        self,
        path: str | os.PathLike[str],
        *,
        side: str = "both",
        mix: bool = False,
        max_seconds: float | None = None,
        silence: float | None = None,
    ) -> Recording:
        """Record to a WAV file."""
        recording = self._portal.call(self._call.record, path, side=side, mix=mix, max_seconds=max_seconds, silence=silence)
        return Recording(self._portal, recording)

    def audio(self, rate: int = 16000) -> AudioStream:
        """The call's sound as frames, both ways."""
        return AudioStream(self._portal, self._portal.call(self._call.audio, rate))

    def digits(self) -> Iterator[str]:
        """Keys of the other side until the call ends."""
        return _iterate(self._portal, self._call.digits())

    def wait_digit(self, timeout: float | None = None) -> str:
        """The next key."""
        return self._portal.run(self._call.wait_digit(timeout))

    def gather(
        self,
        prompt: Source | None = None,
        *,
        max_digits: int,
        timeout: float = 5.0,
        between: float | None = None,
        terminator: str = "#",
        tries: int = 1,
        barge_in: bool = True,
    ) -> Digits:
        """Play `prompt` and collect digits."""
        return self._portal.run(
            self._call.gather(
                prompt, max_digits=max_digits, timeout=timeout, between=between, terminator=terminator, tries=tries, barge_in=barge_in
            )
        )

    def menu(self, choices: Mapping[str, Any], **options: Any) -> Any:
        """Run a menu; plain functions among the choices run in a thread of their own and get this call."""
        return self._portal.run(self._call.menu(self._threaded(choices), **options))

    def _threaded(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        def wrap(choice: Any) -> Any:
            if isinstance(choice, Mapping):
                return self._threaded(choice)
            if not callable(choice) or asyncio.iscoroutinefunction(choice):
                return choice

            @functools.wraps(choice)
            async def run(*arguments: Any) -> Any:
                return await asyncio.to_thread(choice, *(self if item is self._call else item for item in arguments))

            return run

        return {key: wrap(choice) for key, choice in choices.items()}

    def hold(self) -> None:
        """Put the other side on hold."""
        self._portal.run(self._call.hold())

    def resume(self) -> None:
        """Take it off hold."""
        self._portal.run(self._call.resume())

    def request(self, method: str, body: bytes = b"", content_type: str | None = None, *, headers: Any = None) -> Any:
        """Send a request of your own within the call."""
        return self._portal.run(self._call.request(method, body, content_type, headers=headers))

    def statistics(self) -> MediaStatistics | None:
        """Packets, loss, jitter and round trip so far."""
        return self._portal.call(self._call.statistics)

    def events(self) -> Iterator[CallEvent]:
        """Everything that happens from now on."""
        return _iterate(self._portal, self._call.events())


class Phone:
    """A SIP phone; the arguments and verbs of `flexosip.Phone` without `await`."""

    def __init__(self, aor: str | None = None, **settings: Any) -> None:
        if settings.get("clock") is not None:
            raise ConfigurationError("The blocking phone runs in real time; use flexosip.Phone with a virtual clock.")
        self._phone = AsyncPhone(aor, **settings)
        self._portal_or_none: _Portal | None = None

    @property
    def _portal(self) -> _Portal:
        if self._portal_or_none is None:
            raise InvalidState("The phone is not started.", advice="Use `with Phone(...) as phone:` or `phone.start()` first.")
        return self._portal_or_none

    def __enter__(self) -> Phone:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self, *, wait_registered: bool = True, timeout: float = 15.0) -> None:
        """Open the sockets, register and wait for it."""
        if self._portal_or_none is not None:
            return
        self._portal_or_none = _Portal()
        try:
            self._portal.run(self._phone.start(wait_registered=wait_registered, timeout=timeout))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all calls, unregister, free everything; at most 2 s."""
        portal = self._portal_or_none
        if portal is None:
            return
        try:
            portal.run(self._phone.close())
        finally:
            portal.close()
            self._portal_or_none = None

    @property
    def running(self) -> bool:
        """True between `start` and `close`."""
        return self._portal_or_none is not None and self._phone.running

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self._phone.addresses

    @property
    def accounts(self) -> list[Account]:
        """Its accounts."""
        return self._phone.accounts

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended."""
        return [self._wrap(call) for call in self._portal.call(lambda: self._phone.calls)]

    def _wrap(self, call: AsyncCall) -> Call:
        return Call(self._portal, call)

    def wait_registered(self, timeout: float = 15.0) -> Registration:
        """Wait until all accounts are registered."""
        return self._portal.run(self._phone.wait_registered(timeout))

    def unregister(self) -> None:
        """Take all registrations away; calls go on."""
        self._portal.run(self._phone.unregister())

    def add_account(self, aor: str, **settings: Any) -> Account:
        """Add an account."""
        if self._portal_or_none is None:
            return self._phone.add_account(aor, **settings)
        return self._portal.call(self._phone.add_account, aor, **settings)

    def call(
        self,
        target: str,
        *,
        ring_timeout: float | None = None,
        headers: HeaderArgument = None,
        subject: str | None = None,
        account: Account | str | None = None,
    ) -> Call:
        """Call and wait for the answer."""

        async def work() -> AsyncCall:
            return await self._phone.call(target, ring_timeout=ring_timeout, headers=headers, subject=subject, account=account)

        return self._wrap(self._portal.run(work()))

    def dial(self, target: str, **options: Any) -> Call:
        """Call and return at once; then `wait_ringing`, `wait_answered`."""
        return self._wrap(self._portal.run(self._phone.dial(target, **options)))

    def ring(
        self,
        target: str,
        duration: float = 20.0,
        *,
        headers: HeaderArgument = None,
        subject: str | None = None,
        account: Account | str | None = None,
    ) -> RingResult:
        """The doorbell: let it ring."""
        return self._portal.run(self._phone.ring(target, duration, headers=headers, subject=subject, account=account))

    def on_call(self, handler: Callable[[Call], Any]) -> Callable[[Call], Any]:
        """Decorator: `def handler(call)` runs in a thread of its own per incoming call; when it returns, the call is over."""

        async def run(call: AsyncCall) -> None:
            await asyncio.to_thread(self._guard, handler, self._wrap(call))

        self._phone.on_call(run)
        return handler

    @staticmethod
    def _guard(handler: Callable[[Call], Any], call: Call) -> None:
        try:
            handler(call)
        except CallEnded as ended:
            if ended.end is not call.end:
                raise

    def incoming_calls(self) -> Iterator[Call]:
        """Incoming calls one after the other."""
        portal = self._portal
        for call in _iterate(portal, self._phone.incoming_calls()):
            yield self._wrap(call)

    def on_registration(self, handler: Callable[[Account, RegistrationEvent], None]) -> Callable[[Account, RegistrationEvent], None]:
        """Decorator: `handler(account, event)` at every change of a registration, in the phone's thread; it must not block."""
        self._phone.on_registration(handler)
        return handler
