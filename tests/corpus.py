"""The shared corpus of wire messages: where it lies and what its index says of each file. Tests that read it skip by name without it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1] / ".." / "shared" / "corpus"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the corpus."""

    name: str
    kind: str
    verdict: str
    """"valid", "invalid" or "either"."""
    notes: str

    @property
    def data(self) -> bytes:
        """The octets of the file."""
        return (ROOT / self.name).read_bytes()


@cache
def entries(kind: str) -> list[Entry]:
    """All files of that kind; empty when the corpus is not there."""
    index = ROOT / "INDEX.tsv"
    if not index.exists():
        return []
    with index.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Entry(row["file"], row["kind"], row["verdict"], row["notes"]) for row in rows if row["kind"] == kind]


def parameters(kind: str, folder: str = "") -> list[Any]:
    """The files of that kind as pytest parameters; one skipped parameter when the corpus is not there."""
    found = [pytest.param(entry, id=entry.name) for entry in entries(kind) if entry.name.startswith(folder)]
    return found or [pytest.param(None, id="corpus-absent", marks=pytest.mark.skip(reason="the corpus ../shared/corpus is absent"))]


def path(name: str) -> Path:
    """A file of the corpus; skips the test when it is not there."""
    file = ROOT / name
    if not file.exists():
        pytest.skip(f"the corpus file ../shared/corpus/{name} is absent")
    return file
