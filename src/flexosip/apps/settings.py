"""Settings files that say what is wrong with them: file, line, key, what is allowed, the nearest known key.

TOML by `tomllib`, which knows no lines: they are found again in the text. INI as the C library inih reads it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flexosip.errors import ConfigurationError

__all__ = ["IniFile", "Table", "nearest", "read_settings_text", "read_toml"]

_MAX_BYTES = 1_000_000
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_ENTRY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_PART = re.compile(_KEY)

KeyPath = tuple[str | int, ...]


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that looks most like `word`; "" when nothing is known."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.0)), "")


def read_settings_text(path: Path) -> str:
    """The text of a settings file.

    Raises:
        ConfigurationError: it cannot be read or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: is larger than {_MAX_BYTES:,} bytes; that is no settings file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is not UTF-8 text (byte 0x{data[error.start]:02x}).") from error


def read_toml(path: Path) -> Table:
    """The top table of a TOML file.

    Raises:
        ConfigurationError: it cannot be read, or breaks TOML's rules; with file and line.
    """
    text = read_settings_text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line = str(error), text.count("\n") + 1
        place = re.search(r"\s*\(at line (\d+), column (\d+)\)", message)
        if place is not None:
            message, line = message.replace(place[0], f" at column {place[2]}"), int(place[1])
        else:
            message = message.replace(" (at end of document)", " at the end of the file")
        raise ConfigurationError(f'{path}:{line}: this is not TOML: {message}. Text needs quotes, for example key = "value".') from error
    return Table(path, data, _key_lines(text))


def _key_lines(text: str) -> dict[KeyPath, int]:
    """Line number by path of key or table; what stands in inline tables is not in it."""
    lines: dict[KeyPath, int] = {}
    arrays: dict[KeyPath, int] = {}
    table: KeyPath = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:
            if closing in line:
                closing = ""
            continue
        header = _HEADER.match(line)
        if header is not None:
            table = _inside_arrays(_parts(header[2]), arrays, header[1] == "[[")
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], number)
            continue
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        path = table + _parts(entry[1])
        for length in range(len(table) + 1, len(path) + 1):
            lines.setdefault(path[:length], number)
        rest = line[entry.end() :]
        for quotes in ('"""', "'''"):
            if rest.count(quotes) == 1:
                closing = quotes
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _inside_arrays(names: tuple[str, ...], arrays: dict[KeyPath, int], new_element: bool) -> KeyPath:
    """The path of a table header, with the number of the present element after each array of tables."""
    path: KeyPath = ()
    for position, name in enumerate(names):
        path = (*path, name)
        if new_element and position == len(names) - 1:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path


class Table:
    """A table of a TOML file; every complaint names file, line and key.

    Args:
        path: the file. data: the table. lines: line numbers by key path. place: where this table is in the file.
    """

    def __init__(self, path: Path, data: Mapping[str, Any], lines: Mapping[KeyPath, int], place: KeyPath = ()) -> None:
        self.path = path
        self._data = data
        self._lines = lines
        self._place = place

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def error(self, key: str | None, message: str) -> ConfigurationError:
        """The error to raise about `key` of this table, or about the table itself."""
        place = self._place if key is None else (*self._place, key)
        name = ".".join(str(part) for part in place if isinstance(part, str))
        while place and place not in self._lines:
            place = place[:-1]
        where = f"{self.path}:{self._lines[place]}" if place else f"{self.path}"
        return ConfigurationError(f"{where}: {name + ': ' if name else ''}{message}")

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse keys that nobody knows.

        Raises:
            ConfigurationError: naming the nearest known key and all of them.
        """
        for key in self._data:
            if key not in known:
                raise self.error(key, f"unknown key. The nearest known key is {nearest(key, known)!r}; known are {', '.join(known)}.")

    def text(self, key: str, default: str | None = None, *, secret: bool = False) -> str | None:
        """A text that is not empty; `default` when the key is missing. The text of a secret never gets into an error."""
        if key not in self._data:
            return default
        value = self._data[key]
        if not isinstance(value, str):
            shown = "" if secret else f', for example {key} = "{value}"' if isinstance(value, int | float) else ""
            raise self.error(key, f"must be text in quotes{shown}.")
        if not value.strip():
            raise self.error(key, "must not be empty.")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise self.error(key, "contains a control character (a line break, for example), which is not allowed.")
        return value

    def file_path(self, key: str) -> str | None:
        """The name of a file: `~` is the home folder, and what is not absolute lies beside the settings. None when the key is missing."""
        value = self.text(key)
        return None if value is None else str(self.path.parent / Path(value).expanduser())

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of the allowed texts."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(
                key, f"{value!r} is not known. Allowed are {', '.join(map(repr, allowed))}; nearest is {nearest(str(value), allowed)!r}."
            )
        return str(value)

    def number(self, key: str, default: float, *, minimum: float = 0.0, maximum: float = 1e9, what: str = "a number") -> float:
        """A number within bounds."""
        value = self._data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise self.error(key, f"must be {what}, not {value!r}.")
        return float(value)

    def whole(self, key: str, default: int, *, allowed: range, what: str) -> int:
        """A whole number of a range."""
        value = self._data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise self.error(key, f"must be {what}, not {value!r}.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when the key is missing."""
        value = self._data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.error(key, f'must be a list of texts, for example {key} = ["**6*"].')
        return tuple(value)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts; empty when the key is missing."""
        if isinstance(self._data.get(key), list):
            return self.texts(key)
        text = self.text(key)
        return (text,) if text is not None else ()

    def table(self, key: str) -> Table | None:
        """A table below this one; None when it is missing."""
        if key not in self._data:
            return None
        value = self._data[key]
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table: write [{key}] on a line of its own and its settings below.")
        return Table(self.path, value, self._lines, (*self._place, key))

    def tables(self, key: str) -> list[Table]:
        """An array of tables; a single table counts as an array of one."""
        value = self._data.get(key, [])
        if isinstance(value, dict):
            return [Table(self.path, value, self._lines, (*self._place, key))]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f"must be tables: write [[{key}]] on a line of its own and its settings below.")
        return [Table(self.path, item, self._lines, (*self._place, key, number)) for number, item in enumerate(value)]


class IniFile:
    """An INI file as inih reads it: `[section]`, `name = value` or `name: value`; comments after `;` or `#` at the start of a line and
    after ` ;` within one; an indented line continues the value above.

    Args:
        path: the file. known: the names that each section may have.

    Raises:
        ConfigurationError: it cannot be read, a line is neither of these, or a name is unknown; with file and line.
    """

    def __init__(self, path: Path, known: Mapping[str, Sequence[str]]) -> None:
        self.path = path
        self._values: dict[tuple[str, str], str] = {}
        self._lines: dict[tuple[str, str], int] = {}
        section = ""
        name = ""
        for number, line in enumerate(read_settings_text(path).split("\n"), 1):
            text = re.split(r"[ \t];", line.rstrip(), maxsplit=1)[0].rstrip()
            if not text.strip() or text.lstrip()[0] in ";#":
                continue
            if text[0] in " \t" and name:
                self._values[section, name] += "\n" + text.strip()
                continue
            text = text.strip()
            if text.startswith("["):
                section, name = self._section(text, number, known), ""
                continue
            name, value = self._entry(text, number, section, known)
            self._values[section, name] = value
            self._lines[section, name] = number

    def _section(self, text: str, number: int, known: Mapping[str, Sequence[str]]) -> str:
        name, closing, _ = text[1:].partition("]")
        if not closing:
            raise ConfigurationError(f"{self.path}:{number}: a section's name ends with a square bracket: [{name.strip()}].")
        if name not in known:
            nearest_name = nearest(name, known)
            raise ConfigurationError(f"{self.path}:{number}: [{name}]: unknown section. The nearest known section is [{nearest_name}].")
        return name

    def _entry(self, text: str, number: int, section: str, known: Mapping[str, Sequence[str]]) -> tuple[str, str]:
        match = re.match(r"([^=:]*)[=:](.*)", text)
        if match is None:
            raise ConfigurationError(f"{self.path}:{number}: this line is neither [section] nor name = value.")
        name = match[1].strip()
        if not section:
            raise ConfigurationError(f"{self.path}:{number}: {name}: stands before the first [section].")
        if name not in known[section]:
            raise ConfigurationError(
                f"{self.path}:{number}: [{section}] {name}: unknown key. The nearest known key is {nearest(name, known[section])!r}; "
                f"known are {', '.join(known[section])}."
            )
        return name, match[2].strip()

    def error(self, section: str, name: str, message: str) -> ConfigurationError:
        """The error to raise about a value, or about a missing one."""
        line = self._lines.get((section, name))
        return ConfigurationError(f"{self.path}{f':{line}' if line else ''}: [{section}] {name}: {message}")

    def text(self, section: str, name: str) -> str | None:
        """A value, None when it is missing."""
        return self._values.get((section, name))

    def required(self, section: str, name: str, example: str) -> str:
        """A value that must be there and not be empty."""
        value = self._values.get((section, name))
        if not value:
            raise self.error(section, name, f"is missing. Write, for example, {name} = {example} below [{section}].")
        return value

    def whole(self, section: str, name: str, *, allowed: range, what: str) -> int | None:
        """A whole number of a range, None when it is missing."""
        value = self._values.get((section, name))
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,9}", value) or int(value) not in allowed:
            raise self.error(section, name, f"must be {what}, not {value!r}.")
        return int(value)
