"""docs/profiles.md says what the files say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).resolve().parents[3] / "tools" / "profile_table.py"


def test_the_table_of_the_page_is_that_of_the_files() -> None:
    spec = importlib.util.spec_from_file_location("profile_table", TOOL)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.PAGE.read_text(encoding="utf-8")
    assert tool.page(text) == text, "run: python tools/profile_table.py --write"
    assert all(f"`Phone.{path.stem}`" in text for path in tool.files())
