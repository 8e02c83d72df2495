"""Ringing several phones at once, and then others: a fork from the endpoint, without any PBX.

    [A, B, C] --somebody answers (and presses the key)--> that call; the others get CANCEL, or BYE, with Reason: answered elsewhere
              --all have refused, or the time is up--> the next list, and so on; then the best failure of all (RFC 3261 §16.7)

Each target is a call of its own with its own Call-ID. A refusal for all devices (6xx) speaks for its own target only: the targets are
different people. RFC 3326 §3.1
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from flexosip.audio.sources import Pcm, Tone
from flexosip.errors import (
    AuthenticationError,
    Busy,
    CallEnded,
    CallFailed,
    ConfigurationError,
    Declined,
    FlexosipError,
    MediaError,
    NoAnswer,
)
from flexosip.phone.call import Call
from flexosip.phone.dialling.calling import CallOptions, create_call
from flexosip.phone.dialling.ringing import AttemptOutcome, RingAttempt
from flexosip.phone.session import CallSession
from flexosip.sip.reason import ELSEWHERE
from flexosip.sip.status import response_rank
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.call import Source
    from flexosip.phone.phone import Phone

__all__ = ["Confirmation", "GroupCall", "RingGroup", "Targets", "confirmation", "stages_of"]

logger = logging.getLogger(__name__)

Targets = str | SipUri | Sequence[str | SipUri]
"""One target, or several that ring at once."""

_KEYS = "0123456789*#ABCD"
_ASKING = Tone(cadence=(((880.0,), 0.15), ((), 0.1), ((880.0,), 0.15), ((), 1.6)))
"""Heard by who answers, until the key is pressed, where there is no prompt."""
_ELSEWHERE = (("Reason", str(ELSEWHERE)),)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Whoever answers has to press a key: a mailbox cannot, so it cannot swallow an alarm.

    Raises:
        ConfigurationError: no such key, or no time for it.
    """

    key: str = "1"
    prompt: Source | None = None
    """What is played again and again until then, for example a file that says "press 1"; None: two short beeps."""
    timeout: float = 15.0
    """Seconds from the answer."""

    def __post_init__(self) -> None:
        if len(self.key) != 1 or self.key.upper() not in _KEYS:
            raise ConfigurationError(f"confirm={self.key!r}: give one key of {_KEYS}.")
        if not 0 < self.timeout <= 600:
            raise ConfigurationError(f"confirm: timeout={self.timeout} is not between 0 and 600 seconds.")
        if self.prompt is not None and not isinstance(self.prompt, (str, os.PathLike, bytes, Pcm, Tone)):
            raise ConfigurationError("confirm: the prompt is played to several people, so it must be a file, bytes, Pcm or a Tone.")

    async def ask(self, call: Call) -> bool:
        """Play the prompt until the key is pressed; False if it was not in time.

        Raises:
            CallEnded: the other side hung up. MediaError: the prompt cannot be read.
        """
        playback = call.play(self.prompt if self.prompt is not None else _ASKING, loop=self.prompt is not None)
        try:
            async with asyncio.timeout(self.timeout):
                while await call.wait_digit() != self.key.upper():
                    pass
            return True
        except TimeoutError:
            return False
        finally:
            playback.stop()


def confirmation(confirm: str | Confirmation | None) -> Confirmation | None:
    """A key, or all about it.

    Raises:
        ConfigurationError: no such key.
    """
    return Confirmation(confirm) if isinstance(confirm, str) else confirm


def stages_of(target: Targets, then: Sequence[Targets]) -> tuple[tuple[str | SipUri, ...], ...]:
    """The lists that ring one after the other. `then` is one list of targets, or a list of lists.

    Raises:
        ConfigurationError: a list is empty, an entry is no target, or `then` is a single text.
    """
    if isinstance(then, (str, SipUri)):
        raise ConfigurationError(f"then={str(then)!r}: give a list, for example then=[{str(then)!r}].")
    plain = [entry for entry in then if isinstance(entry, (str, SipUri))]
    groups: list[Targets] = [target, plain] if then and len(plain) == len(then) else [target, *then]
    stages = tuple((group,) if isinstance(group, (str, SipUri)) or not isinstance(group, Iterable) else tuple(group) for group in groups)
    for entry in chain.from_iterable(stages):
        if not isinstance(entry, (str, SipUri)):
            raise ConfigurationError(
                f"The target {entry!r} is no text.", advice="Give a number as text, user@host, sip:user@host, or a list of these."
            )
    if not all(stages):
        raise ConfigurationError("There is nobody to ring: a list of targets is empty.")
    return stages


class _Leg:
    """One target that is being rung."""

    def __init__(self, target: str | SipUri, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.target = str(target)
        self.call = call
        self.started = loop.time()
        self.ended: float | None = None
        self.won_at: float | None = None
        self.error: FlexosipError | None = None
        self.unconfirmed = False
        self.left = False

    def leave(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Somebody else has it: CANCEL what still rings, BYE to who answered too."""
        self.left = self.left or (self.error is None and not self.unconfirmed)
        self.call._session.hangup(headers)

    @property
    def rang_out(self) -> bool:
        """True if it rang and nobody came, whoever gave it up."""
        error = self.error
        if isinstance(error, NoAnswer):
            return True
        return isinstance(error, CallFailed) and self.call._session.rang and error.status in (408, 480, 487)

    def result(self, now: float) -> RingAttempt:
        """What became of it."""
        error = self.error
        status = getattr(error, "status", 0)
        reason = getattr(error, "reason", "") or (str(error) if error is not None else "")
        if self.won_at is not None and not self.left:
            outcome, status, reason = AttemptOutcome.ANSWERED, 200, "OK"
        elif self.unconfirmed:
            outcome, status, reason = AttemptOutcome.UNCONFIRMED, 200, "Answered without confirmation"
        elif self.left or error is None:
            outcome, status, reason = AttemptOutcome.ELSEWHERE, 487, ELSEWHERE.text
        elif self.rang_out:
            outcome, status = AttemptOutcome.RANG_OUT, 487 if isinstance(error, NoAnswer) else status
        elif isinstance(error, (Busy, Declined)):
            outcome = AttemptOutcome.DECLINED
        else:
            outcome = AttemptOutcome.FAILED
        return RingAttempt(self.target, outcome, status, reason, (self.ended if self.ended is not None else now) - self.started)


class RingGroup:
    """Rings lists of targets one after the other, the targets of a list at once.

    Args:
        phone: who calls.
        stages: the lists; see `stages_of`.
        options: of each call; `ring_timeout` counts for each list.
        confirm: what the one who answers has to do.

    Raises:
        ConfigurationError: a target or an option cannot be used. MediaError: the prompt is missing.
    """

    def __init__(
        self,
        phone: Phone,
        stages: tuple[tuple[str | SipUri, ...], ...],
        options: CallOptions,
        confirm: Confirmation | None = None,
    ) -> None:
        self.phone = phone
        self.loop = phone.loop
        self.answered_by: str | None = None
        self._ring_timeout = options.ring_timeout
        self._confirm = confirm
        self._legs: list[_Leg] = []
        prompt = confirm.prompt if confirm is not None else None
        if isinstance(prompt, (str, os.PathLike)) and not os.path.isfile(prompt):
            raise MediaError(f"The prompt {os.fspath(prompt)} is missing.")
        # A mistake in the last list is told now, not when it is night and nobody has answered the first.
        self._stages = tuple(tuple((target, create_call(phone, target, options)) for target in stage) for stage in stages)

    @property
    def attempts(self) -> tuple[RingAttempt, ...]:
        """What became of each target that was dialled so far."""
        return tuple(leg.result(self.loop.time()) for leg in self._legs)

    async def run(self) -> Call:
        """The call that was answered, and confirmed if that is asked for.

        Raises:
            NoAnswer: it rang somewhere, and nobody came. Busy, Declined, CallFailed, AuthenticationError, NetworkError: the best of the
            refusals. CallEnded: the phone was closed meanwhile.
        """
        for stage in self._stages:
            legs = [_Leg(target, call, self.loop) for target, call in stage]
            self._legs += legs
            winner = await self._ring(legs)
            if winner is not None:
                self.answered_by = winner.target
                return winner.call
            if self.phone._closing is not None or not self.phone.running:
                raise CallEnded(next((leg.call.end for leg in legs if leg.call.end is not None), "the phone was closed"))
        raise self._failure()

    async def _ring(self, legs: list[_Leg]) -> _Leg | None:
        tasks = {self.loop.create_task(self._try(leg)): leg for leg in legs}
        pending = set(tasks)
        winner: _Leg | None = None
        try:
            while pending and winner is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                won = [leg for leg in legs if leg.won_at is not None]
                # Two may have answered in the same moment: the first one has it.
                winner = min(won, key=lambda leg: leg.won_at or 0.0, default=None)
        finally:
            for leg in legs:
                if leg is not winner:
                    leg.leave(_ELSEWHERE if winner is not None else ())
            for task in pending:
                task.cancel()
            if pending:
                try:
                    await asyncio.wait(pending)
                except asyncio.CancelledError:
                    if winner is not None:
                        # Given up in the moment of the answer: nobody would ever hang this call up.
                        winner.leave(())
                    raise
        return winner

    async def _try(self, leg: _Leg) -> None:
        """Call one target to its end: won, unconfirmed or refused."""
        call = leg.call
        try:
            await call.wait_answered(self._ring_timeout)
            if self._confirm is None or await self._confirm.ask(call):
                leg.won_at = self.loop.time()
                return
            leg.unconfirmed = True
            await call.hangup()
        except FlexosipError as error:
            if call.answered_at is not None and isinstance(error, CallEnded):
                leg.unconfirmed = not leg.left
            else:
                leg.error = error
                if isinstance(error, MediaError):
                    logger.warning("%s: %s", leg.target, error.explain())
            call._session.hangup()
        finally:
            leg.ended = self.loop.time()

    def _failure(self) -> FlexosipError:
        errors = [leg.error for leg in self._legs if leg.error is not None]
        unconfirmed = any(leg.unconfirmed for leg in self._legs)
        refused_for_all = any(getattr(error, "status", 0) >= 600 for error in errors)
        if unconfirmed and not refused_for_all:
            return NoAnswer("Nobody confirmed the call.", status=408, reason="No Answer")
        unanswered = next((error for error in errors if isinstance(error, NoAnswer)), None)
        return unanswered if unanswered is not None and not refused_for_all else min(errors, key=_rank)


def _rank(error: FlexosipError) -> int:
    """Lower is better as the failure of all: an answer of a phone says more than that there was none."""
    if isinstance(error, (CallFailed, AuthenticationError)):
        return response_rank(error.status)
    return response_rank(503) + 1


class GroupCall(Call):
    """A call to several targets, made by `Phone.call`: `await` it or enter it with `async with` to have the one that was answered."""

    def __init__(self, group: RingGroup) -> None:
        super().__init__(CallSession(group.phone, None, "outgoing"))
        self._group = group

    @property
    def attempts(self) -> tuple[RingAttempt, ...]:
        """What became of each target that was dialled so far."""
        return self._group.attempts

    async def _establish(self) -> Call:
        winner = await self._group.run()
        # From now on this is the call that was answered: leaving the block hangs that one up.
        self._session = winner._session
        return winner

    async def wait_answered(self, timeout: float | None = None) -> None:
        """Return when somebody has answered. See `Call.wait_answered`."""
        async with asyncio.timeout(timeout):
            await self._establish()

    async def wait_ringing(self, timeout: float | None = None) -> None:
        """Not for several targets: each rings, or does not, for itself."""
        raise ConfigurationError("wait_ringing() is for one target; await the call to several, or dial each by itself.")

    def _start(self) -> None:
        raise ConfigurationError("dial() is for one target; use call() for several.")

    def __repr__(self) -> str:
        return f"<GroupCall {', '.join(str(target) for stage in self._group._stages for target, _ in stage)}>"
