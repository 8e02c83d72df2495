"""Writes docs/status.md, the page of features and RFCs, from docs/features.toml.

    python3 tools/status_page.py            write the page
    python3 tools/status_page.py --check    exit 1 if the page is not what the table says

The table names the tests that prove each feature; tests/unit/test_status_page.py sees to it that they exist.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fault", "Feature", "Rfc", "Table", "functions_of", "load", "render"]

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "features.toml"
PAGE = ROOT / "docs" / "status.md"
STATUSES = ("works", "partial", "missing")


@dataclass(frozen=True, slots=True)
class Feature:
    """One row."""

    row: int
    name: str
    status: str
    """`works`, `partial` or `missing`"""
    rfcs: tuple[int, ...]
    tests: tuple[str, ...]
    """`path::function` each, from the project's root"""
    note: str
    """what is missing and why; for `works` an optional remark"""


@dataclass(frozen=True, slots=True)
class Rfc:
    """A document that features build on."""

    number: int
    title: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, or an attack, and what shows that it is borne."""

    id: str
    """`F1` and so on what goes wrong by itself, `D1` and so on what somebody does"""
    name: str
    tests: tuple[str, ...]
    """`path::function` each, from the project's root"""
    note: str
    """what is not borne, or not shown"""


@dataclass(frozen=True, slots=True)
class Table:
    """docs/features.toml."""

    areas: tuple[tuple[str, tuple[Feature, ...]], ...]
    faults: tuple[Fault, ...]
    rfcs: tuple[Rfc, ...]

    @property
    def features(self) -> Iterable[Feature]:
        """All rows."""
        for _, features in self.areas:
            yield from features


def load(path: Path = TABLE) -> Table:
    """Read the table.

    Raises:
        ValueError: a row lacks something, or says what is not known.
    """
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    areas = tuple((str(area["title"]), tuple(_feature(row) for row in area["feature"])) for area in data["area"])
    faults = tuple(Fault(row["id"], row["name"], tuple(row["tests"]), row.get("note", "")) for row in data["fault"])
    return Table(areas, faults, tuple(Rfc(rfc["number"], rfc["title"]) for rfc in data["rfc"]))


def _feature(row: dict[str, object]) -> Feature:
    known = {"row", "name", "status", "rfcs", "tests", "note"}
    if set(row) - known:
        raise ValueError(f"row {row.get('row')}: {', '.join(sorted(set(row) - known))} is not known")
    rfcs, tests = row.get("rfcs", []), row.get("tests", [])
    assert isinstance(rfcs, list) and isinstance(tests, list) and isinstance(row["row"], int)
    feature = Feature(row["row"], str(row["name"]), str(row["status"]), tuple(rfcs), tuple(tests), str(row.get("note", "")))
    if feature.status not in STATUSES:
        raise ValueError(f"row {feature.row}: the status is one of {', '.join(STATUSES)}")
    if feature.status != "missing" and not feature.tests:
        raise ValueError(f"row {feature.row}: what works names the tests that show it")
    if feature.status != "works" and not feature.note:
        raise ValueError(f"row {feature.row}: what is missing says why")
    return feature


def functions_of(path: Path) -> set[str]:
    """Names of the test functions of a file, `Class::function` for methods."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.update(f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
    return found


def _sentence(test: str) -> str:
    """A test as the page shows it: the rule in words, with its file."""
    path, _, name = test.partition("::")
    words = name.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    return f"[{words}](../{path})"


def render(table: Table) -> str:
    """The page."""
    counts = {status: sum(feature.status == status for feature in table.features) for status in STATUSES}
    lines = [
        "# Features and RFCs",
        "",
        "What works, what does not, and the tests that show it. This page is made from `features.toml` by `tools/status_page.py`; each",
        "test that it names is run by the test command.",
        "",
        f"{counts['works']} work, {counts['partial']} work in part, {counts['missing']} are missing.",
    ]
    for title, features in table.areas:
        lines += ["", f"## {title}", "", "| | Feature | RFC | State | Shown by |", "|---|---|---|---|---|"]
        for feature in features:
            rfcs = ", ".join(str(number) for number in feature.rfcs)
            tests = "<br>".join(_sentence(test) for test in feature.tests)
            state = feature.status if not feature.note else f"{feature.status}: {feature.note}"
            lines.append(f"| {feature.row} | {feature.name} | {rfcs} | {state} | {tests} |")
    lines += ["", "## Faults and attacks", "", "| | What happens | Shown by |", "|---|---|---|"]
    for fault in table.faults:
        tests = "<br>".join(_sentence(test) for test in fault.tests)
        lines.append(f"| {fault.id} | {fault.name} | {tests}{f'<br>Not: {fault.note}' if fault.note else ''} |")
    lines += ["", "## RFCs", "", "| RFC | Title | Rows that work | in part | missing |", "|---|---|---|---|---|"]
    for rfc in sorted(table.rfcs, key=lambda rfc: rfc.number):
        rows = {
            status: ", ".join(str(feature.row) for feature in table.features if rfc.number in feature.rfcs and feature.status == status)
            for status in STATUSES
        }
        link = f"[{rfc.number}](https://www.rfc-editor.org/rfc/rfc{rfc.number})"
        lines.append(f"| {link} | {rfc.title} | {rows['works']} | {rows['partial']} | {rows['missing']} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    page = render(load())
    if "--check" in arguments:
        if PAGE.read_text(encoding="utf-8") == page:
            return 0
        print("docs/status.md is not what docs/features.toml says; run python3 tools/status_page.py", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
