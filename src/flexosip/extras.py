"""Import an optional dependency, or say which extra brings it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from flexosip.errors import MissingExtra

__all__ = ["available", "require"]


def require(extra: str, module: str, purpose: str) -> Any:
    """Import `module`, which the optional extra `extra` installs.

    Raises:
        MissingExtra: it is not installed; the message names the pip command and the `purpose` it was needed for.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(extra, purpose) from error


def available(module: str) -> bool:
    """True if `module` could be imported; nothing is imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
