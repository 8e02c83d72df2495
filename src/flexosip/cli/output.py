"""What a command says: events as JSON lines for programs, or the same as text for people."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

from flexosip.errors import FlexosipError

__all__ = ["Output"]


class Output:
    """Where events go.

    With `--json` standard output gets one JSON object a line, each flushed, and nothing else; text for people goes to standard error.
    Without it the text goes to standard output, and errors to standard error.

    Args:
        json_lines: `--json`.
    """

    def __init__(self, *, json_lines: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.json_lines = json_lines
        self._stdout = stdout if stdout is not None else sys.stdout
        self._stderr = stderr if stderr is not None else sys.stderr

    def event(self, name: str, text: str | None = None, /, **fields: Any) -> None:
        """Tell an event.

        Args:
            name: `registered`, `answered`, ... text: the same for people; None or "": nothing for people.
            fields: of the JSON object; None stays as null.
        """
        if self.json_lines:
            line = json.dumps({"event": name, "at": round(time.time(), 3), **fields}, default=str, ensure_ascii=False)
            self._write("_stdout", line)
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        """Words for people only."""
        self._write("_stderr" if self.json_lines else "_stdout", _printable(text))

    def error(self, error: BaseException | str, explain: str | None = None) -> None:
        """Tell an error: cause and next step, in words."""
        if explain is None:
            explain = error.explain() if isinstance(error, FlexosipError) else str(error)
        if self.json_lines:
            line = json.dumps(
                {"event": "error", "at": round(time.time(), 3), "message": str(error), "explain": explain}, ensure_ascii=False
            )
            self._write("_stdout", line)
        self._write("_stderr", _printable(f"flexosip: {explain}"))

    def _write(self, stream: str, line: str) -> None:
        file: TextIO = getattr(self, stream)
        try:
            try:
                file.write(line + "\n")
            except UnicodeEncodeError:
                # a terminal without UTF-8 (LANG=C, serial line) still gets the line
                encoding = file.encoding or "ascii"
                file.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            file.flush()
        except BrokenPipeError:
            # Whoever read it has gone (`flexosip ... | head`): the call goes on, its events go nowhere.
            setattr(self, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - lives as long as the process
        except ValueError:
            # the stream was closed: nobody listens any more
            pass


def _printable(text: str) -> str:
    """Text from strangers (names, reasons) must not steer the reader's terminal."""
    return "".join(
        character if (character >= " " and not "\x7f" <= character <= "\x9f") or character in "\n\t" else "?" for character in text
    )
