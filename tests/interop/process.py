"""A child process in a group of its own, its output in a file, and free loopback ports for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"

# Below the media ports of the library (16384 and up) and the kernel's ephemeral ones.
# From a random place on, since tests may run side by side.
_PORTS = range(10_000, 16_000)
_next = random.SystemRandom().randrange(len(_PORTS))


def free_ports(count: int) -> int:
    """The first of `count` consecutive loopback ports on which neither UDP nor TCP is taken; not given out again soon."""
    global _next
    for _ in range(len(_PORTS)):
        base = _PORTS[0] + _next % (len(_PORTS) - count)
        _next = base - _PORTS[0] + count
        if all(_is_free(port) for port in range(base, base + count)):
            return base
    raise RuntimeError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def is_bound(protocol: str, port: int) -> bool:
    """True if an IPv4 socket of this machine is bound to `port` ("udp") or listens on it ("tcp")."""
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    wanted = f":{port:04X}"
    return any(fields[1].endswith(wanted) and (protocol == "udp" or fields[3] == "0A") for fields in map(str.split, lines))


async def wait_until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Poll `condition` until it holds.

    Raises:
        AssertionError: it did not hold within `timeout` seconds; the message is `what`.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(0.02)


class Process:
    """One child process. `async with` starts it and ends its whole group.

    Args:
        command: the program and its arguments.
        folder: its working folder; `NAME.log` in it gets what the program prints.
        name: for the log file and messages.
    """

    def __init__(self, command: Sequence[str], folder: Path, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.arguments = list(command)
        self.folder = folder
        self.name = name
        self.log = folder / f"{name}.log"
        self._environment = {**os.environ, **environment} if environment else None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Start it; what is printed is added to the log of an earlier start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.arguments,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def exit_status(self, timeout: float) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        await wait_until(lambda: not self.running, timeout, f"{self.name} ends")
        assert self._child is not None
        return self._child.wait()

    async def wait_output(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Wait until the output matches the regular expression `pattern`."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.output)
            if match:
                found.append(match)
            elif not self.running:
                raise AssertionError(f"{self.name} ended before it printed {pattern!r}:\n{self.output[-2000:]}")
            return bool(found)

        await wait_until(look, timeout, f"{self.name} prints {pattern!r}")
        return found[0]

    async def wait_bound(self, protocol: str, port: int, timeout: float = 10.0) -> None:
        """Wait until it listens on `port`."""

        def look() -> bool:
            if not self.running:
                raise AssertionError(f"{self.name} ended at its start:\n{self.output[-2000:]}")
            return is_bound(protocol, port)

        await wait_until(look, timeout, f"{self.name} listens on {protocol}/{port}")

    def stop(self, gently: int = signal.SIGTERM) -> None:
        """End its process group: a signal, and SIGKILL to what is left of it."""
        child = self._child
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if child.poll() is None:
                os.killpg(child.pid, gently)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(5)

    async def ready(self) -> None:
        """Wait until it can be used; a peer that listens overrides it."""

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.ready()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
