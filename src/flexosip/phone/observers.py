"""Who watches a phone: functions that are told of registrations, SIP messages and the events of calls. Their faults stay their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.events import CallEvent
    from flexosip.sip.registration import RegistrationEvent

__all__ = ["Observers", "tell"]

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
