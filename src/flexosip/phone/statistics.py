"""Figures of a whole phone in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.net.driver import DriverStatistics
from flexosip.phone.policy.admission import AdmissionStatistics
from flexosip.sip.stack import StackStatistics

if TYPE_CHECKING:
    from flexosip.phone.signalling import Signalling

__all__ = ["PhoneStatistics", "phone_statistics"]


@dataclass(frozen=True, slots=True)
class PhoneStatistics:
    """What a phone has seen since its start, and what is there now."""

    calls: int
    """Calls that have not ended."""
    dialogs: int
    """Dialogs, those included that only wait for a last answer."""
    admission: AdmissionStatistics
    """What strangers were let do."""
    stack: StackStatistics
    """SIP messages and transactions."""
    network: DriverStatistics
    """Datagrams and connections."""


def phone_statistics(signalling: Signalling, calls: int) -> PhoneStatistics:
    """The figures of a started phone with `calls` calls."""
    core = signalling.core.statistics()
    return PhoneStatistics(calls, core.dialogs, signalling.admission.statistics(), core.stack, signalling.driver.statistics())
