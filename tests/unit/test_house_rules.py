"""The rules of CONTRIBUTING.md that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "flexosip").rglob("*.py"))
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_file_has_at_most_600_lines_and_a_function_at_most_60(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= 600
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno and node.end_lineno - node.lineno >= 60}
    assert not long


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [path for path in SOURCES if {path.stem, path.parent.name} & NAMES_THAT_SAY_NOTHING]


def test_every_room_is_a_package_with_content() -> None:
    rooms = [folder for folder in (ROOT / "src" / "flexosip").iterdir() if folder.is_dir() and folder.name != "__pycache__"]
    without = [folder.name for folder in rooms if any(folder.rglob("*.py")) and not (folder / "__init__.py").exists()]
    assert not without
