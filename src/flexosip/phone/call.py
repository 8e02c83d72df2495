"""Call: what a program does with one telephone call."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flexosip.audio.sources import Pcm, Tone
from flexosip.audio.tones import named_tone
from flexosip.errors import CallEnded, ConfigurationError, InvalidState, NoAnswer
from flexosip.ivr import collect, menu
from flexosip.phone.availability import answer_mode_headers
from flexosip.phone.call_facts import CallFacts
from flexosip.phone.dialling.endings import HeaderArgument, RedirectTarget, own_headers, reason_headers, redirect_headers, retry_headers
from flexosip.phone.events import CallEnd, CallEvent, CallState
from flexosip.phone.media.audio_stream import AudioStream
from flexosip.phone.media.digits import DigitReader
from flexosip.phone.media.playback import Playback, Recording
from flexosip.phone.messaging.info_packages import InfoHandler, info_headers
from flexosip.phone.messaging.messages import send_in_call
from flexosip.phone.session_requests import send_request
from flexosip.phone.transfer.transfer_values import referred_by
from flexosip.phone.transfer.transferring import transfer
from flexosip.phone.values import checked_text, header_pairs
from flexosip.sip.reason import status_of_cause
from flexosip.sip.user_to_user import UserToUser

if TYPE_CHECKING:
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.session import CallSession
    from flexosip.phone.transfer.transfer_values import TransferHandler, TransferResult
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.uri import SipUri

__all__ = ["Call"]

Source = str | os.PathLike[str] | bytes | Pcm | Tone | Iterable[bytes]

_HANGUP_WAIT = 2.0
"""Seconds that `hangup` waits for the other side's confirmation."""
_DIGITS = re.compile(r"[0-9*#A-Da-d!,wWpP ]*\Z")


class Call(CallFacts):
    """One call, made by `Phone.call`, `Phone.dial` or handed to `Phone.on_call`.

    `await call` dials and waits for the answer; `async with call` does the same and hangs up at the end of the block,
    whatever the reason.
    """

    def __init__(self, session: CallSession, dial: Callable[[], None] | None = None, ring_timeout: float | None = None) -> None:
        super().__init__(session)
        self._dial = dial
        self._ring_timeout = ring_timeout

    # -- making it ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._dial is not None:
            dial, self._dial = self._dial, None
            dial()

    def __await__(self) -> Generator[Any, None, Call]:
        return self._establish().__await__()

    async def __aenter__(self) -> Call:
        return await self._establish()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            await self.hangup()
        else:
            self._session.hangup()
        # Only the end of this very call is swallowed: a normal hang-up is never a traceback.
        return isinstance(error, CallEnded) and error.end is self._session.end

    async def _establish(self) -> Call:
        self._start()
        if self.direction == "outgoing":
            await self.wait_answered(self._ring_timeout)
        return self

    async def wait_ringing(self, timeout: float | None = None) -> None:
        """Return when the other phone rings, is heard already (early media, in which many gateways ring) or is answered.

        Raises:
            CallFailed: it was refused before. TimeoutError: not within `timeout` seconds.
        """
        self._start()
        session = self._session
        async with asyncio.timeout(timeout):
            while session.state in (CallState.NEW, CallState.CALLING) and not session.rang:
                await session.changed()
        if session.failure is not None:
            raise session.failure
        if session.answered_at is None:
            session.check_not_ended()

    async def wait_answered(self, timeout: float | None = None) -> None:
        """Return when the call is answered.

        Cancelling this wait gives an outgoing call up (CANCEL).

        Raises:
            NoAnswer: not within `timeout` seconds. CallFailed, AuthenticationError, NetworkError: refused.
            CallEnded: it ended before, or the caller gave up.
        """
        self._start()
        session = self._session
        try:
            async with asyncio.timeout(timeout):
                while session.answered_at is None and session.end is None:
                    await session.changed()
        except TimeoutError:
            if session.answered_at is None:
                if self.direction == "outgoing":
                    await self._give_up()
                raise NoAnswer(f"No answer within {timeout:g} seconds.", status=408, reason="No Answer") from None
        except asyncio.CancelledError:
            if self.direction == "outgoing":
                session.hangup()
            raise
        if session.failure is not None:
            raise session.failure
        if session.answered_at is None:
            session.check_not_ended()

    async def _give_up(self) -> None:
        session = self._session
        session.hangup()
        try:
            async with asyncio.timeout(_HANGUP_WAIT):
                await self.wait_ended()
        except TimeoutError:
            pass  # the CANCEL goes on by itself; the phone's close waits for it

    async def ring(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Tell the caller that it rings (180)."""
        self._session.ring(own_headers(headers, uui))

    async def progress(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Open the sound before answering (183): what is played now is heard without being paid for."""
        self._session.progress(own_headers(headers, uui))

    async def answer(self, *, headers: HeaderArgument = None, uui: bytes | str | UserToUser | None = None) -> None:
        """Answer, and return when the caller's ACK proves that the call is up. One that the phone answers by itself is only waited for.

        Args:
            headers: headers of your own. uui: up to 128 octets for the other program (RFC 7433); text goes as UTF-8.

        Raises:
            CallEnded: the caller gave up. MediaError: no common codec (the caller gets 488).
        """
        pairs = own_headers(headers, uui)
        if not self._session.answered_itself:
            self._session.accept((*answer_mode_headers(self._session), *pairs))
        await self.wait_answered()

    async def reject(
        self,
        status: int = 486,
        reason: str | None = None,
        *,
        headers: HeaderArgument = None,
        cause: int | None = None,
        retry_after: float | None = None,
        uui: bytes | str | UserToUser | None = None,
    ) -> None:
        """Refuse an incoming call: 486 busy, 603 declined, or any status from 300 to 699.

        Args:
            reason: the phrase behind the status, for people.
            cause: a Q.850 cause for the Reason header (RFC 6432).
            retry_after: seconds after which another try makes sense (RFC 3261 §20.33).
        """
        if not 300 <= status <= 699:
            raise ConfigurationError(f"reject(status={status}): a refusal is a status from 300 to 699, for example 486.")
        if reason is not None:
            checked_text(reason, "The reason")
        self._reject(status, reason, (*reason_headers(cause), *retry_headers(retry_after), *own_headers(headers, uui)))

    def _reject(self, status: int, reason: str | None, headers: tuple[tuple[str, str], ...]) -> None:
        session = self._session
        usage = session.require_usage()
        if self.direction != "incoming" or session.answered_at is not None:
            raise InvalidState("reject(): only an incoming call that is not answered yet can be refused; use hangup().")
        usage.reject(status, reason, headers=headers)

    async def redirect(
        self, target: RedirectTarget | Sequence[RedirectTarget], *, status: int = 302, headers: HeaderArgument = None
    ) -> None:
        """Send the caller to another address.

        Args:
            target: an address, or several, the preferred first; `(address, q)` gives the preference as a number from 0 to 1.
            status: 302 for now, 301 for good, 300 for a choice.
        """
        if status not in (300, 301, 302):
            raise ConfigurationError(f"redirect(status={status}): allowed are 300, 301 and 302.")
        self._reject(status, None, (*redirect_headers(target, self._session.account), *own_headers(headers)))

    async def hangup(
        self,
        *,
        cause: int | None = None,
        text: str | None = None,
        headers: HeaderArgument = None,
        uui: bytes | str | UserToUser | None = None,
    ) -> None:
        """End the call in whatever state it is, by BYE, CANCEL or a refusal. Harmless when it has ended.

        An answered call ends at once; what was called and has not answered gets up to 2 s to confirm the CANCEL.

        Args:
            cause: a Q.850 cause for the Reason header (RFC 3326); it also decides the status with which a call that we have not answered
                is refused (RFC 3398). text: words of your own for it.
        """
        session = self._session
        told = (*reason_headers(cause, text), *own_headers(headers, uui))
        self._dial = None
        session.hangup(told, status=status_of_cause(cause) if cause is not None else 480)
        try:
            async with asyncio.timeout(_HANGUP_WAIT):
                await self.wait_ended()
        except TimeoutError:
            pass  # retransmissions go on by themselves; nothing is left to do here

    async def wait_ended(self) -> CallEnd:
        """Wait for the end; the `CallEnd` tells who ended it and why."""
        session = self._session
        while session.end is None:
            await session.changed()
        return session.end

    # -- sound out ----------------------------------------------------------------------------------------------------

    def play(self, source: Source, *, delay: float = 0.0, loop: bool = False) -> Playback:
        """Queue a sound and return at once.

        Args:
            source: path of a file, an encoded file as bytes, `Pcm(samples, rate)`, `Tone(hz)`, or an iterable of
                frames (int16 little-endian mono at the codec's rate).
            delay: seconds of silence before it.
            loop: play it again and again until it is stopped.

        Raises:
            MediaError: the file is missing or cannot be read. MissingExtra: its format needs an extra.
        """
        if delay < 0:
            raise ConfigurationError(f"play(delay={delay}): a delay is zero or more seconds.")
        return self._session.require_media().play(source, delay=delay, loop=loop)

    def stop_playing(self) -> asyncio.Future[float]:
        """Empty the play queue within one packet. The result can be awaited: the seconds of it that were really sent."""
        return self._session.require_media().stop_playing()

    def tone(self, name: str | float, duration: float | None = None) -> Playback:
        """Play a tone: a frequency in Hz or a name such as `ringback`, `busy`, `ringback-us`, `dial`."""
        tone = Tone(float(name), duration=duration) if isinstance(name, (int, float)) else named_tone(name, duration=duration)
        return self.play(tone)

    async def send_digits(self, digits: str, *, duration: float = 0.1, gap: float = 0.06, via: str = "auto") -> None:
        """Press keys: `0-9*#A-D`, `!` for a hook flash; `w` or `,` waits half a second. Returns when the last is sent.

        Args:
            duration: seconds a key is held. gap: seconds between keys; both at least 0.04 (ITU-T Q.24).
            via: `auto` (as the account's profile says, else RFC 4733 when the other side takes it, else INFO unless it does not allow
                that, else tones), `rfc4733`, `info` (dtmf-relay), `info-dtmf` or `inband`.
        """
        if not _DIGITS.match(digits):
            raise ConfigurationError(
                f"send_digits({digits!r}): allowed are 0-9 * # A-D, ! for a hook flash, and w or a comma for half a second's wait."
            )
        if not 0.04 <= duration <= 6.0 or not 0.04 <= gap <= 6.0:
            raise ConfigurationError(f"send_digits(duration={duration}, gap={gap}): both are 0.04 to 6 seconds.")
        if via not in ("auto", "rfc4733", "info", "info-dtmf", "inband"):
            raise ConfigurationError(f"send_digits(via={via!r}): allowed are auto, rfc4733, info, info-dtmf and inband.")
        await self._session.require_media().send_digits(digits.replace(" ", "").upper(), duration, gap, via)

    def mute(self) -> None:
        """Send silence instead of what is played."""
        self._session.require_media().stream.mute(True)

    def unmute(self) -> None:
        """Send again what is played."""
        self._session.require_media().stream.mute(False)

    # -- sound in -----------------------------------------------------------------------------------------------------

    def record(
        self,
        path: str | os.PathLike[str],
        *,
        side: str = "both",
        mix: bool = False,
        max_seconds: float | None = None,
        silence: float | None = None,
    ) -> Recording:
        """Record to a WAV file, valid at any moment, until the call ends or `stop()`.

        Args:
            side: `both` (stereo, left what we heard, right what we sent), `in` or `out` (mono).
            mix: both sides in one channel.
            max_seconds: stop after so long. silence: stop after so many seconds without a sound from the other side.
        """
        if side not in ("both", "in", "out"):
            raise ConfigurationError(f"record(side={side!r}): allowed are both, in and out.")
        return self._session.require_media().record(os.fspath(path), side, mix, max_seconds, silence)

    def audio(self, rate: int = 16000) -> AudioStream:
        """The call's sound as 20 ms frames of int16 mono, both ways, at `rate` samples a second."""
        return AudioStream(self._session.require_media(), rate)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def digits(self) -> AsyncIterator[str]:
        """Keys the other side presses, one a press, until the call ends."""
        return DigitReader(self._session.digits)

    async def wait_digit(self, timeout: float | None = None) -> str:
        """The next key.

        Raises:
            TimeoutError: none within `timeout` seconds. CallEnded: the call ended.
        """
        return await self._session.digits.get(timeout)

    async def gather(
        self,
        prompt: Source | None = None,
        *,
        max_digits: int,
        timeout: float = 5.0,
        between: float | None = None,
        terminator: str = "#",
        tries: int = 1,
        barge_in: bool = True,
    ) -> collect.Digits:
        """Play `prompt` and collect digits; see `flexosip.ivr`."""
        return await menu.gather(
            self, prompt, max_digits=max_digits, timeout=timeout, between=between, terminator=terminator, tries=tries, barge_in=barge_in
        )

    async def menu(self, choices: Mapping[str, Any], **options: Any) -> Any:
        """Run a menu: keys to actions; see `flexosip.ivr.menu`."""
        return await menu.menu(self, choices, **options)

    # -- the call itself ----------------------------------------------------------------------------------------------

    async def hold(self, *, inactive: bool = False) -> None:
        """Put the other side on hold (RFC 3264 §8.4).

        Args:
            inactive: no sound either way, not even music from us; by default the other side hears what we play.

        Raises:
            CallFailed: it refused; the call goes on as before.
        """
        await self._session.changes.hold("inactive" if inactive else "sendonly")

    async def resume(self) -> None:
        """Take the other side off hold.

        Raises:
            CallFailed: it refused; the call goes on as before.
        """
        await self._session.changes.hold("sendrecv")

    async def transfer(
        self, target: str | SipUri | Call, *, hold: bool | None = None, timeout: float = 120.0, report: bool = True
    ) -> TransferResult:
        """Let the other side talk to somebody else instead of us (REFER); this call ends when the target has answered.

        Cancelling the wait does not take the transfer back.

        Args:
            target: whom it shall call (blind transfer), or another answered call of ours, whose other side it shall be connected to
                (attended transfer): then both calls end.
            hold: put the parties on hold meanwhile. None: for an attended transfer only.
            timeout: seconds that the target may ring.
            report: False: do not ask how it goes (RFC 4488); the call is ended as soon as the other side has agreed.

        Returns:
            `confirmed` is True when the other side told that the target has answered. Else it hung up without telling: unknown, but
            probably done.

        Raises:
            TransferRefused: the other side takes no transfers. Busy, Declined, NotFound, Unavailable, CallFailed: the target does not
            answer. TransferTimeout: nothing final was told. After all these the call goes on as before, off hold.
            InvalidState: the call is not answered, or given as its own target. CallEnded: it ended first.
        """
        other = target._session if isinstance(target, Call) else target
        return await transfer(self._session, other, hold=hold, timeout=timeout, report=report)

    def on_transfer(self, handler: TransferHandler) -> TransferHandler:
        """Decorator: `handler(request)` decides whether the other side may transfer this call; see `Phone.on_refer`."""
        self._session.transfer.on_transfer = handler
        self._session.phone.transfers.announce()
        return handler

    @property
    def transferred_to(self) -> Call | None:
        """The call that the other side made us dial by transferring this one."""
        called: Call | None = self._session.transfer.transferred_to
        return called

    @property
    def replaces(self) -> Call | None:
        """The call whose place this one has taken: the same conversation with another phone (RFC 3891)."""
        replaced: Call | None = self._session.transfer.replaces
        return replaced

    @property
    def replaced_by(self) -> Call | None:
        """The call that has taken the place of this one."""
        call: Call | None = self._session.transfer.replaced_by
        return call

    @property
    def referred_by(self) -> NameAddr | None:
        """Who sent the caller to us by a transfer, as the caller claims (RFC 3892); None: nobody."""
        usage = self._session.usage
        return referred_by(usage.request) if usage is not None else None

    async def request(self, method: str, body: bytes = b"", content_type: str | None = None, *, headers: Any = None) -> Any:
        """Send a request of your own within the call, for example INFO; returns the final `Response`.

        Raises:
            CallFailed: the other side refused it. CallEnded: the call ended before it was answered.
        """
        return await send_request(self._session, method, body, content_type, header_pairs(headers))

    async def message(
        self, text: str | bytes, *, content_type: str = "text/plain", headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None
    ) -> Any:
        """Send a text message within the call (RFC 3428); the 2xx.

        Raises:
            MessageFailed: it was refused. CallEnded: the call ended before it was answered.
        """
        return await send_in_call(self._session, text, content_type, header_pairs(headers))

    async def send_info(
        self,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        package: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> Any:
        """Send an INFO; the 2xx.

        Args:
            package: of RFC 6086; the other side must have named it in Recv-Info. None: an INFO as in RFC 2976.

        Raises:
            InvalidState: the other side does not take that package. CallFailed: it refused. CallEnded: the call ended before.
        """
        pairs = info_headers(self._session, body, content_type, package, header_pairs(headers))
        return await send_request(self._session, "INFO", body, content_type, pairs)

    def on_info(self, handler: InfoHandler) -> InfoHandler:
        """Decorator: `handler(info)` gets the INFOs of this call that are no digits: of the packages of the phone
        (`Phone.info_packages`), and those that name none. It must not block."""
        self._session.info_handler = handler
        return handler

    def statistics(self) -> MediaStatistics | None:
        """Packets, loss, jitter and round trip so far; None before there is sound."""
        session = self._session
        if session.end is not None or session.media is None:
            return session.statistics
        return session.media.statistics()

    async def events(self) -> AsyncIterator[CallEvent]:
        """Everything that happens in this call, from its begin, whenever the reader comes; ends with `Ended`."""
        session = self._session
        read = 0
        while True:
            while read < session.event_count:
                event = session.event(read)
                read += 1
                if event is not None:
                    yield event
            if session.end is not None:
                return
            await session.changed()
