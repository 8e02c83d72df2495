"""The table of features: its tests exist, its rows are whole, and the page is made from it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("status_page", ROOT / "tools" / "status_page.py")
assert _spec is not None and _spec.loader is not None
status_page = importlib.util.module_from_spec(_spec)
sys.modules["status_page"] = status_page
_spec.loader.exec_module(status_page)

TABLE = status_page.load()
AREAS = {
    "Transport and addressing": range(1, 14),
    "Registration": range(14, 23),
    "Security": range(23, 36),
    "NAT traversal": range(36, 45),
    "Call control": range(45, 72),
    "DTMF": range(100, 107),
    "Events, presence, messaging": range(128, 137),
}


def test_every_row_of_the_signalling_areas_is_there_once() -> None:
    found = {title: [feature.row for feature in features] for title, features in TABLE.areas}
    assert found == {title: list(rows) for title, rows in AREAS.items()}


ROWS = {f"row{feature.row}": feature.tests for feature in TABLE.features} | {fault.id: fault.tests for fault in TABLE.faults}
FAULTS = [f"F{number}" for number in range(1, 25) if number != 23] + [f"D{number}" for number in range(1, 15)]


def test_every_fault_and_attack_is_there_once_and_has_a_test() -> None:
    assert [fault.id for fault in TABLE.faults] == FAULTS
    assert [fault.id for fault in TABLE.faults if not fault.tests] == []


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_exist(row: str) -> None:
    for test in ROWS[row]:
        path, separator, name = test.partition("::")
        assert separator, f"{test}: name a function of the file"
        assert (ROOT / path).is_file(), f"{path} does not exist"
        assert name in status_page.functions_of(ROOT / path), f"{path} has no {name}"


def test_every_rfc_of_a_row_has_its_title() -> None:
    titles = {rfc.number for rfc in TABLE.rfcs}
    assert {number for feature in TABLE.features for number in feature.rfcs} <= titles


def test_the_page_is_what_the_table_says() -> None:
    assert status_page.PAGE.read_text(encoding="utf-8") == status_page.render(TABLE)


def test_a_row_without_a_test_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "features.toml"
    table.write_text(
        'rfc = []\nfault = []\n[[area]]\ntitle = "x"\n[[area.feature]]\nrow = 1\nname = "y"\nstatus = "works"\n', encoding="utf-8"
    )
    with pytest.raises(ValueError, match="names the tests"):
        status_page.load(table)
