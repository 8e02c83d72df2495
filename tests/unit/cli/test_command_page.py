"""docs/command.md leaves nothing out: keys of config.toml, events, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexosip.cli import accounts, exit_codes

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
NAMED = frozenset(re.findall(r"`([a-z_]+)`", PAGE))
_EVENT = re.compile(r'(?:output\.event|self\._tell|self\._report|report)\(\s*"([a-z_]+)"')


def test_every_key_of_config_toml_is_there() -> None:
    assert set(accounts._ACCOUNT_KEYS) - NAMED == set()


def test_every_event_is_there() -> None:
    events = {name for path in (ROOT / "src/flexosip/cli").glob("*.py") for name in _EVENT.findall(path.read_text(encoding="utf-8"))}
    assert {"listening", "answered", "ended", "state", "message"} <= events
    assert events - NAMED == set()


@pytest.mark.parametrize("code", [value for value in vars(exit_codes).values() if type(value) is int])
def test_every_exit_code_is_there(code: int) -> None:
    assert f"\n| {code} | " in PAGE


def test_the_accounts_of_the_page_are_read_as_they_stand(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "config.toml").write_text(text)
    for name in ("home", "office"):
        (tmp_path / f"{name}.password").write_text(f"secret-{name}\n")
    found, default = accounts.load_accounts([tmp_path / "config.toml"])
    assert default == "home" and set(found) == {"home", "office"}
    assert found["office"].password == "secret-office" and found["office"].tls_ca == str(tmp_path / "authority.pem")
