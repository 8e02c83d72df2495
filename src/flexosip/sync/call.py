"""A call for threads: the verbs of `flexosip.Call` without `await`."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallEnded
from flexosip.phone.call import Call as AsyncCall
from flexosip.phone.call import Source
from flexosip.phone.dialling.endings import HeaderArgument, RedirectTarget
from flexosip.sync.portal import Portal
from flexosip.sync.sound import AudioStream, Playback, Recording

if TYPE_CHECKING:
    from flexosip.ivr.collect import Digits
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.account import Account
    from flexosip.phone.events import CallEnd, CallEvent, CallState
    from flexosip.phone.messaging.info_packages import InfoHandler
    from flexosip.phone.transfer.transfer_values import TransferRequest, TransferResult
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.identity import Identity
    from flexosip.sip.uri import SipUri
    from flexosip.sip.user_to_user import UserToUser

__all__ = ["Call", "HeaderArgument", "for_threads"]


class Call:
    """One call; the verbs of `flexosip.Call` without `await`."""

    def __init__(self, portal: Portal, call: AsyncCall) -> None:
        self._portal = portal
        self._call = call

    def __repr__(self) -> str:
        return repr(self._call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and other._call is self._call

    def __hash__(self) -> int:
        return hash(self._call)

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
    def identity(self) -> Identity | None:
        """Who is at the other end, and what of it is vouched for."""
        return self._portal.call(lambda: self._call.identity) if self._call.end is None else self._call.identity

    @property
    def authenticated_as(self) -> str | None:
        """The user whose password the caller has proved to know; None for all other calls."""
        return self._call.authenticated_as

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
    def response_headers(self) -> Headers | None:
        """Headers of the final response to a call that we made."""
        return self._call.response_headers

    @property
    def user_to_user(self) -> tuple[UserToUser, ...]:
        """What the other side's program has sent along (RFC 7433)."""
        return self._call.user_to_user

    @property
    def auto_answer(self) -> float | None:
        """Seconds after which the phone answers by itself."""
        return self._call.auto_answer

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
        return self._call.duration

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
        """Return when the other phone rings, is heard already (early media) or is answered."""
        self._portal.run(self._call.wait_ringing(timeout))

    def wait_answered(self, timeout: float | None = None) -> None:
        """Return when the call is answered."""
        self._portal.run(self._call.wait_answered(timeout))

    def wait_ended(self) -> CallEnd:
        """Wait for the end; the `CallEnd` tells who ended it and why."""
        return self._call.end or self._portal.run(self._call.wait_ended())

    def ring(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Tell the caller that it rings (180)."""
        self._portal.run(self._call.ring(headers=headers, uui=uui))

    def progress(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Open the sound before answering (183)."""
        self._portal.run(self._call.progress(headers=headers, uui=uui))

    def answer(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Answer, and return when the call is up."""
        self._portal.run(self._call.answer(headers=headers, uui=uui))

    def reject(
        self,
        status: int = 486,
        reason: str | None = None,
        *,
        headers: HeaderArgument = None,
        cause: int | None = None,
        retry_after: float | None = None,
        uui: bytes | str | UserToUser | None = None,
    ) -> None:
        """Refuse an incoming call."""
        self._portal.run(self._call.reject(status, reason, headers=headers, cause=cause, retry_after=retry_after, uui=uui))

    def redirect(self, target: RedirectTarget | Sequence[RedirectTarget], *, status: int = 302, headers: HeaderArgument = None) -> None:
        """Send the caller to another address."""
        self._portal.run(self._call.redirect(target, status=status, headers=headers))

    def hangup(
        self,
        *,
        cause: int | None = None,
        text: str | None = None,
        headers: HeaderArgument = None,
        uui: bytes | str | UserToUser | None = None,
    ) -> None:
        """End the call. Harmless when it has ended."""
        if self._call.end is None:
            self._portal.run(self._call.hangup(cause=cause, text=text, headers=headers, uui=uui))

    def play(self, source: Source, *, delay: float = 0.0, loop: bool = False, wait: bool = True) -> Playback:
        """Play; blocks until the sound is out, `wait=False` returns at once. See `flexosip.Call.play`.

        An iterable of frames is asked for them in the phone's thread, so it must not block; for that there is `audio`.

        Raises:
            MediaError: the file is missing or cannot be read. MissingExtra: its format needs an extra. CallEnded: the call ended before.
        """
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

    def send_digits(self, digits: str, *, duration: float = 0.1, gap: float = 0.06, via: str = "auto") -> None:
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
        return self._portal.iterate(self._call.digits())

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
            if not callable(choice) or inspect.iscoroutinefunction(choice):
                return choice

            @functools.wraps(choice)
            async def run(*arguments: Any) -> Any:
                return await self._portal.in_thread(choice, *(self if item is self._call else item for item in arguments))

            return run

        return {key: wrap(choice) for key, choice in choices.items()}

    def hold(self, *, inactive: bool = False) -> None:
        """Put the other side on hold."""
        self._portal.run(self._call.hold(inactive=inactive))

    def resume(self) -> None:
        """Take it off hold."""
        self._portal.run(self._call.resume())

    def transfer(
        self, target: str | SipUri | Call, *, hold: bool | None = None, timeout: float = 120.0, report: bool = True
    ) -> TransferResult:
        """Let the other side talk to somebody else instead of us; see `flexosip.Call.transfer`."""
        other = target._call if isinstance(target, Call) else target
        return self._portal.run(self._call.transfer(other, hold=hold, timeout=timeout, report=report))

    def on_transfer(self, handler: Callable[[TransferRequest], bool]) -> Callable[[TransferRequest], bool]:
        """Decorator: `handler(request)` decides, in a thread of its own, whether the other side may transfer this call."""

        async def ask(request: TransferRequest) -> bool:
            return bool(await self._portal.in_thread(handler, for_threads(self._portal, request)))

        self._portal.call(self._call.on_transfer, ask)
        return handler

    def _other(self, call: AsyncCall | None) -> Call | None:
        return Call(self._portal, call) if call is not None else None

    @property
    def transferred_to(self) -> Call | None:
        """The call that the other side made us dial by transferring this one."""
        return self._other(self._call.transferred_to)

    @property
    def replaces(self) -> Call | None:
        """The call whose place this one has taken."""
        return self._other(self._call.replaces)

    @property
    def replaced_by(self) -> Call | None:
        """The call that has taken the place of this one."""
        return self._other(self._call.replaced_by)

    @property
    def referred_by(self) -> NameAddr | None:
        """Who sent the caller to us by a transfer, as the caller claims."""
        return self._call.referred_by

    def request(self, method: str, body: bytes = b"", content_type: str | None = None, *, headers: Any = None) -> Any:
        """Send a request of your own within the call."""
        return self._portal.run(self._call.request(method, body, content_type, headers=headers))

    def message(self, text: str | bytes, *, content_type: str = "text/plain", headers: HeaderArgument = None) -> Any:
        """Send a text message within the call."""
        return self._portal.run(self._call.message(text, content_type=content_type, headers=headers))

    def send_info(
        self, body: bytes = b"", content_type: str | None = None, *, package: str | None = None, headers: HeaderArgument = None
    ) -> Any:
        """Send an INFO."""
        return self._portal.run(self._call.send_info(body, content_type, package=package, headers=headers))

    def on_info(self, handler: InfoHandler) -> InfoHandler:
        """Decorator: `handler(info)` gets the INFOs of this call that are no digits, in the phone's thread; it must not block."""
        return self._portal.call(self._call.on_info, handler)

    def statistics(self) -> MediaStatistics | None:
        """Packets, loss, jitter and round trip so far."""
        return self._call.statistics() if self._call.end is not None else self._portal.call(self._call.statistics)

    def events(self) -> Iterator[CallEvent]:
        """Everything that happens from now on."""
        return self._portal.iterate(self._call.events())


def for_threads(portal: Portal, request: TransferRequest) -> TransferRequest:
    """`request` with a `call` that can be used in threads."""
    call: Any = Call(portal, request.call) if request.call is not None else None
    return replace(request, call=call)
