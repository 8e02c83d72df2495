"""Whom we may call, how often and for how long: the fuse against toll fraud, and emergency numbers.

Whoever gets into a program that can call gets to numbers that cost. The fuse blows before an INVITE leaves; transfers and redirections
are calls too.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.errors import CallBarred, ConfigurationError
from flexosip.phone.policy.emergency import ANYWHERE, EMERGENCY_NUMBERS
from flexosip.phone.settings import given_or_default
from flexosip.phone.values import checked_text
from flexosip.sip.uri import SipUri, TelUri

if TYPE_CHECKING:
    import asyncio

    from flexosip.phone.session import CallSession
    from flexosip.sip.uri import Uri

__all__ = ["CallFuse", "CallPolicy", "dialled_number"]

logger = logging.getLogger(__name__)

_HOUR = 3600.0
_SEPARATORS: Final = str.maketrans("", "", "-.() ")


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Which calls of ours are let out.

    A prefix is what the dialled number or user name begins with, without `-`, `.`, blanks and brackets; `+` and `00` are the same. The
    longest prefix that fits decides, and of two equals the denied one.

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    max_calls_per_hour: int | None = None
    """calls, redirections and transfers placed within any 60 minutes; None: any number"""
    allowed_prefixes: Sequence[str] | None = None
    """what may be called, `""` for all; None: all that is not denied"""
    denied_prefixes: Sequence[str] = ()
    """what may not be called, such as `+49900` and `+881`"""
    max_duration: float | None = None
    """seconds after the answer at which a call of ours is ended; None: no limit"""
    emergency: str | Callable[[str], bool] = "refuse"
    """`refuse`, `allow`, or a function that gets the number and says whether it may be called now. Allowed emergency calls pass all other
    limits. A program that nobody sits at has no reason to call them by mistake."""
    country: str | None = None
    """ISO 3166 code, such as `DE`: whose emergency numbers count; None: those that mean an emergency in many countries"""
    emergency_numbers: Sequence[str] = ()
    """further ones, for example with the digit that gets an outside line: `0112`"""

    def __post_init__(self) -> None:
        if self.max_calls_per_hour is not None and self.max_calls_per_hour < 0:
            raise ConfigurationError(f"CallPolicy(max_calls_per_hour={self.max_calls_per_hour}): 0 or more, or None for no limit.")
        if self.max_duration is not None and not self.max_duration > 0:
            raise ConfigurationError(f"CallPolicy(max_duration={self.max_duration}): seconds above 0, or None for no limit.")
        if self.emergency not in ("refuse", "allow") and not callable(self.emergency):
            raise ConfigurationError(
                f"CallPolicy(emergency={self.emergency!r}): allowed are 'refuse', 'allow' and a function of the number."
            )
        if self.country is not None and self.country.upper() not in EMERGENCY_NUMBERS:
            raise ConfigurationError(
                f"CallPolicy(country={self.country!r}): known are {', '.join(EMERGENCY_NUMBERS)}.",
                advice="Leave country out and give the numbers in emergency_numbers.",
            )
        for name in ("allowed_prefixes", "denied_prefixes", "emergency_numbers"):
            given = getattr(self, name)
            if given is None:
                continue
            listed = (given,) if isinstance(given, str) else tuple(given)
            for prefix in listed:
                if not isinstance(prefix, str) or (not prefix and name != "allowed_prefixes"):
                    raise ConfigurationError(f"CallPolicy({name}={given!r}): {prefix!r} is no beginning of a number.")
                checked_text(prefix, name)
            object.__setattr__(self, name, tuple(_plain(prefix) for prefix in listed))

    def is_emergency(self, number: str) -> bool:
        """Whether a dialled number is one of the emergency numbers."""
        known = ANYWHERE if self.country is None else EMERGENCY_NUMBERS[self.country.upper()]
        plain = _plain(number)
        return plain in known or plain in self.emergency_numbers

    def allows(self, number: str) -> bool:
        """Whether the prefixes let a number out."""
        plain = _plain(number)
        denied = max((len(prefix) for prefix in self.denied_prefixes if plain.startswith(prefix)), default=-1)
        if self.allowed_prefixes is None:
            return denied < 0
        return max((len(prefix) for prefix in self.allowed_prefixes if plain.startswith(prefix)), default=-1) > denied


class CallFuse:
    """Applies a policy to what one phone places.

    Args:
        policy: the rules; None: the usual ones.

    Raises:
        ConfigurationError: it is no `CallPolicy`.
    """

    def __init__(self, policy: CallPolicy | None) -> None:
        self.policy = given_or_default(policy, CallPolicy, "call_policy")
        self._placed: deque[float] = deque()
        self._limits: dict[CallSession, asyncio.TimerHandle] = {}

    def check(self, uri: Uri, now: float) -> None:
        """Let one more call out, and count it.

        Raises:
            CallBarred: it may not go out.
        """
        policy, number = self.policy, dialled_number(uri)
        if number and policy.is_emergency(number):
            self._check_emergency(number)
            return
        if not policy.allows(number):
            raise CallBarred(f"Calls to {number or uri.__class__.__name__!r} are barred by the call policy of this phone.")
        most = policy.max_calls_per_hour
        if most is None:
            return
        while self._placed and self._placed[0] <= now - _HOUR:
            self._placed.popleft()
        if len(self._placed) >= most:
            logger.warning("%d calls have been placed within an hour: further ones are barred", len(self._placed))
            raise CallBarred(
                f"This phone may place {most} calls an hour, and has.",
                advice="If that was not you, look who uses it. If it was, raise max_calls_per_hour of its CallPolicy.",
            )
        self._placed.append(now)

    def _check_emergency(self, number: str) -> None:
        rule = self.policy.emergency
        if rule == "allow" or (callable(rule) and rule(number)):
            logger.warning("an emergency call to %s goes out", number)
            return
        raise CallBarred(
            f"{number} is an emergency number, and this phone is not set up to call those.",
            advice="Take another phone now. To let this one: CallPolicy(emergency='allow'), or --emergency allow. If the number is an "
            "extension of yours, set the country of the CallPolicy.",
        )

    # -- how long -----------------------------------------------------------------------------------------------------

    def watch(self, session: CallSession, uri: Uri, loop: asyncio.AbstractEventLoop) -> None:
        """End the call that was placed when it has lasted long enough."""
        limit = self.policy.max_duration
        if limit is not None and not self.policy.is_emergency(dialled_number(uri)):
            self._limits[session] = loop.call_later(limit, self._look, session, limit, loop)

    def _look(self, session: CallSession, limit: float, loop: asyncio.AbstractEventLoop) -> None:
        answered = session.answered_at
        left = limit if answered is None else answered + limit - loop.time()
        if left > 1e-6:
            self._limits[session] = loop.call_later(left, self._look, session, limit, loop)
            return
        self._limits.pop(session, None)
        logger.info("%s: ended after %g s, as the call policy says", session.label, limit)
        session.hangup()

    def forget(self, session: CallSession) -> None:
        """A call is over."""
        handle = self._limits.pop(session, None)
        if handle is not None:
            handle.cancel()


def dialled_number(uri: Uri) -> str:
    """What is dialled: the user part without escapes, parameters and visual separators; empty without one (RFC 3966 §5.1.1)."""
    if isinstance(uri, TelUri):
        return _plain(uri.number)
    if not isinstance(uri, SipUri) or uri.user is None:
        return ""
    return _plain((uri.unescaped_user or "").partition(";")[0])


def _plain(text: str) -> str:
    """Without separators, digits of all scripts as 0 to 9, `00` as `+`: whatever a gateway may make of it must meet the same rule."""
    if not text.isascii():
        text = "".join(str(unicodedata.digit(char)) if char.isdigit() else char for char in unicodedata.normalize("NFKC", text))
    plain = text.translate(_SEPARATORS).lower()
    return "+" + plain[2:] if plain.startswith("00") and plain != "000" else plain
