"""How a phone behaves in its calls: PRACK, session timers, redirections, how long a call may last."""

from __future__ import annotations

from dataclasses import dataclass

from flexosip.errors import ConfigurationError
from flexosip.sip import reliable, session_timer
from flexosip.sip.agent import UserAgentCore
from flexosip.sip.session_timer import LEAST_MIN_SE, SessionTimerSettings

__all__ = ["CallRules", "check_max_duration"]

_LONGEST_SESSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CallRules:
    """The rules of `Phone`, where the arguments are explained.

    Raises:
        ConfigurationError: one is out of its range.
    """

    reliable_provisional: str = "off"
    session_expires: int | None = 1800
    min_se: int = LEAST_MIN_SE
    max_duration: float | None = None
    follow_redirects: bool = True

    def __post_init__(self) -> None:
        if self.reliable_provisional not in reliable.POLICIES:
            raise ConfigurationError(
                f"reliable_provisional={self.reliable_provisional!r}: allowed are {', '.join(reliable.POLICIES[:-1])} and "
                f"{reliable.POLICIES[-1]}."
            )
        if not LEAST_MIN_SE <= self.min_se <= _LONGEST_SESSION:
            raise ConfigurationError(f"min_se={self.min_se}: at least {LEAST_MIN_SE} seconds (RFC 4028).")
        if self.session_expires is not None and not self.min_se <= self.session_expires <= _LONGEST_SESSION:
            raise ConfigurationError(f"session_expires={self.session_expires}: at least {self.min_se} seconds (min_se), or None.")
        check_max_duration(self.max_duration)

    def configure(self, core: UserAgentCore) -> None:
        """Tell the user agent, so that what it announces is what it does."""
        core.supported |= {reliable.OPTION_TAG, session_timer.OPTION_TAG, "199"}
        core.reliable_provisional = self.reliable_provisional
        core.session_timer = SessionTimerSettings(self.session_expires, self.min_se)


def check_max_duration(seconds: float | None) -> None:
    """Raise ConfigurationError unless `seconds` is above 0 or None."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise ConfigurationError(f"max_duration={seconds}: give seconds above 0, or None for no limit.")
