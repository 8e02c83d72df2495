"""Where the bell keeps what survives a restart: one small JSON file, replaced at once or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["Store", "default_store_path"]

logger = logging.getLogger(__name__)


def default_store_path(aor: str | None) -> Path:
    """`bell-USER@HOST.json` in systemd's STATE_DIRECTORY, else in the user's state folder (XDG Base Directory Specification)."""
    name = re.sub(r"[^A-Za-z0-9@._-]", "_", (aor or "local").removeprefix("sip:"))[:100]
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        return Path(service) / f"bell-{name}.json"
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "flexosip" / f"bell-{name}.json"


class Store:
    """The file. A file that cannot be read or written is one warning, never the end of the bell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = False

    def load(self) -> dict[str, Any]:
        """What was kept; empty when there is nothing or it cannot be read."""
        try:
            data = json.loads(self.path.read_bytes()[:100_000])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read (%s); the bell starts switched off", self.path, error)
            return {}
        return data if isinstance(data, dict) else {}

    def save(self, data: dict[str, Any]) -> None:
        """Keep `data` instead of what was kept before."""
        try:
            self._replace(json.dumps(data, sort_keys=True).encode() + b"\n")
        except OSError as error:
            if not self._warned:
                self._warned = True
                logger.warning("%s cannot be written (%s); the mode will not survive a restart", self.path, error.strerror or error)

    def _replace(self, data: bytes) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(prefix=self.path.name, dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
