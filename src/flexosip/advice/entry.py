"""One entry of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Advice"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What something means and what to do about it, each a sentence or two for a person."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}".strip()

    def filled(self, words: Mapping[str, object]) -> Advice:
        """With `words` in the place of their `{names}`; names that are not among them stay."""
        if not words or "{" not in self.cause + self.remedy:
            return self
        cause, remedy = self.cause, self.remedy
        for name, value in words.items():
            cause, remedy = cause.replace(f"{{{name}}}", str(value)), remedy.replace(f"{{{name}}}", str(value))
        return Advice(cause, remedy)
