"""The command `flexosip`. One file a command; what a command does not need is not imported."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (those of the process unless given); returns the exit code."""
    from flexosip.cli.entry import run

    return run(arguments)
