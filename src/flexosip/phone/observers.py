"""Who watches a phone: the log, and functions that are told of registrations, SIP messages and calls. Their faults stay their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.events import CallEvent
    from flexosip.sip.registration import RegistrationEvent

__all__ = ["Observers", "log_call_event", "log_registration", "tell"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Observers:
    """The observers of one phone."""

    registration: list[Callable[[Account, RegistrationEvent], None]] = field(default_factory=list)
    wire: list[Callable[[WireMessage], None]] = field(default_factory=list)
    calls: list[Callable[[Call, CallEvent], None]] = field(default_factory=list)


def tell(observers: list[Callable[..., None]], *arguments: Any) -> None:
    """Call each of `observers`; what one raises is logged."""
    for observer in observers:
        try:
            observer(*arguments)
        except Exception:
            logger.exception("an observer failed")


_NOT_LOGGED = ("at", "digit", "statistics")
"""A log has its own time, keys may be a PIN, and figures fill lines."""


def log_call_event(label: str, event: CallEvent) -> None:
    """A line of the story of a call."""
    if logger.isEnabledFor(logging.INFO):
        told = [f"{part.name}={getattr(event, part.name)}" for part in fields(event) if part.name not in _NOT_LOGGED]
        logger.info("%s: %s", label, " ".join([type(event).__name__, *told]))


def log_registration(account: Account, event: RegistrationEvent) -> None:
    """How an account stands."""
    state = event.state.value.replace("idle", "not registered")
    if event.lost or event.restored:
        state += ", lost" if event.lost else ", restored"
    logger.info("%s: %s (%s)", account.aor, state, f"{event.status or ''} {event.reason}".strip())
