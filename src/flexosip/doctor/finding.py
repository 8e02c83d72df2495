"""What an examination finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flexosip.advice import Advice, finding_advice
from flexosip.advice.findings import FINDINGS

__all__ = ["Finding", "Findings"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: str
    """`ok`; `warning`: it works, or may fail later; `problem`: it does not work."""
    id: str
    """For programs: `nat.symmetric`; those that are not `ok` stand in the table of docs/doctor.md."""
    found: str
    """What was found, a sentence."""
    cause: str = ""
    """What that means; "" for `ok`."""
    remedy: str = ""
    """What to do now, one thing; "" for `ok`."""
    part: str = ""
    """What a problem is about: `usage`, `network`, `credentials`, `media` or `rejected`; "" for `ok`."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures and names in it, for programs."""

    def __str__(self) -> str:
        said = " ".join(text for text in (self.found, self.cause, self.remedy) if text)
        return f"{self.level:<7}  {self.id}  {said}"


class Findings:
    """The findings so far.

    Args:
        on_finding: called with each at once.
    """

    def __init__(self, on_finding: Callable[[Finding], object] | None = None) -> None:
        self.all: list[Finding] = []
        self._on_finding = on_finding
        self._held: list[Finding] | None = None

    def ok(self, name: str, found: str, /, **details: Any) -> None:
        """Nothing is wrong with that."""
        self._add(Finding("ok", name, found, details=details))

    def add(
        self, name: str, found: str, /, advice: Advice | None = None, *, words: dict[str, object] | None = None, **details: Any
    ) -> None:
        """Something is wrong.

        Args:
            name: of the catalogue. advice: instead of the catalogue's, for a finding that only passes on an error.
            words: for the `{names}` in the catalogue's advice.
        """
        kind = FINDINGS[name]
        meant = advice if advice is not None else finding_advice(name, **(words or {}))
        self._add(Finding(kind.level, name, found, meant.cause, meant.remedy, kind.part, details))

    def has(self, name: str) -> bool:
        """Whether that was found already."""
        return any(finding.id == name for finding in (*self.all, *(self._held or ())))

    def hold(self) -> None:
        """Keep what is found from now on back: what stands before it depends on it."""
        self._held = []

    def release(self, before: Callable[[], object]) -> None:
        """Tell what `before` finds, then what was held back."""
        held, self._held = self._held or [], None
        before()
        for finding in held:
            self._add(finding)

    def _add(self, finding: Finding) -> None:
        if self._held is not None:
            self._held.append(finding)
            return
        self.all.append(finding)
        if self._on_finding is not None:
            self._on_finding(finding)
