"""A house for tests in real time: a PBX in a thread of its own, blocking phones, and programs as users start them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flexosip import TlsSettings
from flexosip.pbx import Pbx, PbxEvent
from flexosip.sync import Call, Phone

__all__ = ["ROOT", "House", "Program", "house", "taken_by", "within"]

ROOT = Path(__file__).parents[1]
PATIENCE = 15.0


class House:
    """A running PBX on loopback.

    Args:
        users: passwords by name.
        listen, tls: as for `Pbx`; the first address is `host_port`.
    """

    add_user: Callable[[str, str], None]
    """Name and password of one more user."""

    def __init__(self, users: Mapping[str, str], listen: tuple[str, ...] = ("127.0.0.1:0",), tls: TlsSettings | None = None) -> None:
        self.users = dict(users)
        self.addresses: tuple[str, ...] = ()
        self._listen = listen
        self._tls = tls
        self.host_port = ""
        self.events: list[PbxEvent] = []
        self._end = threading.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="pbx")
        self._thread.start()
        assert self._up.wait(PATIENCE)

    async def _serve(self) -> None:
        async with Pbx(self.users, listen=self._listen, tls=self._tls) as pbx:
            self.add_user = pbx.add_user
            pbx.on_event(self.events.append)
            self.addresses = tuple(pbx.addresses)
            self.host_port = pbx.addresses[0].split(":", 1)[1]
            self._up.set()
            await asyncio.to_thread(self._end.wait)

    def aor(self, user: str) -> str:
        """The address of a user."""
        return f"sip:{user}@{self.host_port}"

    def phone(self, user: str, **options: Any) -> Phone:
        """A phone of a user, not started."""
        return Phone(self.aor(user), password=self.users[user], listen=("127.0.0.1:0",), **options)

    def told(self, kind: str, user: str) -> int:
        """How often the PBX saw that."""
        return sum(1 for event in self.events if event.kind == kind and event.user == user)

    def close(self) -> None:
        """End it."""
        self._end.set()
        self._thread.join(PATIENCE)


@contextlib.contextmanager
def house(*users: str, listen: tuple[str, ...] = ("127.0.0.1:0",), tls: TlsSettings | None = None) -> Iterator[House]:
    """A PBX with these users; the password of `x` is `secret-x`."""
    running = House({user: f"secret-{user}" for user in users}, listen, tls)
    try:
        yield running
    finally:
        running.close()


class Program:
    """A Python program in a process of its own; its lines are read as they come, with a time limit.

    Args:
        arguments: of the interpreter.
        folder: where it runs.
        environment: variables beside those of this process.
    """

    def __init__(self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._errors = folder / f"errors-{time.monotonic_ns()}.txt"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="reader")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def errors(self) -> str:
        """What it said on standard error."""
        return self._errors.read_text()

    def wait_for(self, start: str, seconds: float = PATIENCE) -> str:
        """The next line that begins with `start`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no {start!r} within {seconds} s after {self.lines}; {self.errors}") from None
            if line is None:
                self._queue.put(None)
                raise AssertionError(f"it ended without {start!r} after {self.lines}; {self.errors}")
            self.lines.append(line)
            if line.startswith(start):
                return line

    def write(self, text: str) -> None:
        """To its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def finish(self, seconds: float = PATIENCE) -> int:
        """Its exit code; all it printed is in `lines` then."""
        code = self.process.wait(seconds)
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        self._queue.put(None)
        return code

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def taken_by(phone: Phone, react: Callable[[Call], Any]) -> queue.Queue[Any]:
    """Have calls to `phone` answered by `react`; what it returns or raises comes out of the queue."""
    results: queue.Queue[Any] = queue.Queue()

    @phone.on_call
    def take(call: Call) -> None:
        try:
            results.put(react(call))
        except BaseException as error:
            results.put(error)
            raise

    return results
