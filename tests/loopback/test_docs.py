"""The programs in docs/ run as they stand there, and print what stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
PYTEST = ("-m", "pytest", "-p", "flexosip.testing.plugin", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", "-q")
FIRST_TEST = "test_door.py"
TIMED = """
import time
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 1.0
"""
DRAWN_BY_THE_DEMO = "ladder.svg"


def programs(path: Path) -> dict[str, tuple[str, str | None]]:
    """(code, what it prints) by the name in the first line of each block."""
    found = {}
    for block in _BLOCK.finditer(path.read_text(encoding="utf-8")):
        first = block["code"].split("\n", 1)[0]
        name = re.fullmatch(r"# (\w+\.py)", first)
        assert name, f"{path.name}: a program begins with its file's name in a comment, not with {first!r}"
        assert name[1] not in found
        found[name[1]] = (block["code"], block["output"])
    return found


ALL = [(path, name) for path in DOCS for name in programs(path)]


@pytest.mark.parametrize(("path", "name"), ALL, ids=[f"{path.stem}-{name}" for path, name in ALL])
def test_the_program_prints_what_the_text_says(path: Path, name: str, tmp_path: Path) -> None:
    files = programs(path)
    for file, (code, _) in files.items():
        (tmp_path / file).write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def run(file: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(PYTEST if file.startswith("test_") else ()), file]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    if name == FIRST_TEST:
        # What the text promises; processor time, for machines on which much else runs.
        assert len(files[name][0].splitlines()) < 12
        (tmp_path / "conftest.py").write_text(TIMED, encoding="utf-8")
    if "sounds.py" in files:
        assert run("sounds.py").returncode == 0
    result = run(name)
    assert result.returncode == 0, result.stdout + result.stderr
    if not name.startswith("test_"):
        assert result.stdout == (files[name][1] or "")
    assert result.stderr == ""


def test_the_readme_lists_every_document_once() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = readme[readme.index("## Documentation") : readme.index("## The command")]
    assert [path.name for path in DOCS if listed.count(f"](docs/{path.name})") != 1] == []


def test_the_documents_are_found_and_have_programs() -> None:
    assert {path.name for path in DOCS} >= {"tutorial.md", "sip-and-rtp-from-zero.md"}
    assert len(ALL) >= 10


@pytest.mark.parametrize("path", [*DOCS, ROOT / "README.md"], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target, anchor in _LINK.findall(path.read_text(encoding="utf-8")):
        if target == DRAWN_BY_THE_DEMO:
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors
