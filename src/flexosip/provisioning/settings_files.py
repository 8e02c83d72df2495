"""Writing config.toml, bell.toml and the password's file: whole or not at all, with a copy of what was there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from flexosip.errors import ConfigurationError

__all__ = ["write_account", "write_bell"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


def write_account(folder: Path, name: str, user: str, password: str, *, host: str, force: bool = False) -> list[Path]:
    """Add an account of the profile `fritzbox` to `config.toml`, its password in a file of its own (mode 0600).

    Returns:
        the files that were written.

    Raises:
        ConfigurationError: the account or the password's file is there and `force` is False; or a file cannot be written.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"{name!r} is no name for an account: letters, digits, dashes and underscores.")
    config, secret = folder / "config.toml", folder / f"{name}.password"
    before = _read(config)
    header = f"[account.{name}]"
    section = re.compile(rf"(?ms)^[ \t]*\[[ \t]*account[ \t]*\.[ \t]*\"?{re.escape(name)}\"?[ \t]*\].*?(?=^[ \t]*\[|\Z)")
    exists = section.search(before) is not None
    if not force and (exists or secret.exists()):
        there = config if exists else secret
        raise ConfigurationError(f"{there}: the account {name!r} is there already.", advice="Take another --name, or --force.")
    text = "\n".join((
        header,
        'profile = "fritzbox"',
        f"aor = {_quoted(user)}",
        f"host = {_quoted(host)}",
        f"password_file = {_quoted(secret.name)}",
        "",
    ))  # fmt: skip
    rest = section.sub("", before).rstrip("\n")
    if "default" not in {line.partition("=")[0].strip() for line in rest.partition("[")[0].splitlines()}:
        rest = f"default = {_quoted(name)}\n{rest}".rstrip("\n")
    _write(secret, password + "\n", 0o600)
    _write(config, f"{rest}\n\n{text}", 0o644)
    return [config, secret]


def write_bell(folder: Path, user: str, secret: str, *, host: str, target: str = "**9", force: bool = False) -> list[Path]:
    """Write a `bell.toml` that rings `target` when Return is pressed.

    Args:
        secret: name of the password's file in the same folder.

    Raises:
        ConfigurationError: there is one and `force` is False, or it cannot be written.
    """
    bell = folder / "bell.toml"
    if bell.exists() and not force:
        raise ConfigurationError(f"{bell}: is there already.", advice="Look into it, or overwrite it with --force; a copy is kept.")
    lines = (
        "[account]",
        'profile = "fritzbox"',
        f"aor = {_quoted(user)}",
        f"host = {_quoted(host)}",
        f"password_file = {_quoted(secret)}",
        "",
        "[[destination]]",
        f"target = {_quoted(target)}",
        "duration = 10",
        'name = "Door bell"',
        "",
        "[[trigger]]",
        'kind = "stdin"',
        "",
    )
    _write(bell, "\n".join(lines), 0o644)
    return [bell]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}.") from error


def _write(path: Path, text: str, mode: int) -> None:
    """Atomically; what was there is kept beside it, as readable as it was."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            shutil.copy2(path, path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.bak"))
        # mkstemp makes it readable for its owner alone from the first moment
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}.") from error
