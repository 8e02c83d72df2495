"""What an examination (`flexosip doctor`) can find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["FINDINGS", "FindingKind"]


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One finding of the catalogue."""

    level: str
    """`warning` or `problem`."""
    part: str
    """What it is about, for the exit code: `network`, `credentials`, `media`, `rejected`, `usage`."""
    advice: Advice


FINDINGS: Final[dict[str, FindingKind]] = {}
