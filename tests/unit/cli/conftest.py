"""The command line in virtual time: real commands, real phones, a virtual network."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import flexosip
from flexosip import Phone
from flexosip.cli import main
from flexosip.simulation import VirtualClock, VirtualNetwork

OURS, PEER = "10.0.0.1", "10.0.0.2"
TARGET = f"sip:peer@{PEER}"

Peer = Callable[["Bench"], AbstractAsyncContextManager[Any]]


class Bench:
    """Runs commands.

    Args:
        patch: of the running test. capture: of its standard streams.
    """

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, seed=3)
        self._capture = capture
        self._hosts: dict[str, Any] = {}
        self._peer: Peer | None = None
        self._cancel_after: float | None = None
        self.out = ""
        self.err = ""

        def phone(aor: str | None = None, **settings: Any) -> Phone:
            return Phone(aor, **{**settings, "clock": self.clock, "network": self.host(OURS)})

        patch.setattr(flexosip, "Phone", phone)
        patch.setattr("flexosip.cli.answer._all_addresses", lambda port: (f"0.0.0.0:{port}",))
        for name in ("call", "answer", "register", "ring", "message", "options_query", "watch", "bell", "pbx"):
            module = importlib.import_module(f"flexosip.cli.{name}")
            patch.setattr(module, "run_until_signal", self._run_until_signal)

    def host(self, ip: str) -> Any:
        """The virtual machine at an address."""
        if ip not in self._hosts:
            self._hosts[ip] = self.network.host(ip)
        return self._hosts[ip]

    def _run_until_signal(self, command: Callable[[], Coroutine[Any, Any, int]]) -> int:
        async def all_together() -> int:
            async with contextlib.AsyncExitStack() as stack:
                if self._peer is not None:
                    await stack.enter_async_context(self._peer(self))
                if self._cancel_after is None:
                    return await command()
                try:
                    async with asyncio.timeout(self._cancel_after):
                        return await command()
                except TimeoutError:
                    return 130

        code = self.clock.run(all_together())
        assert not self.network.open_sockets
        return code

    def run(self, *words: str, peer: Peer | None = None, interrupt_after: float | None = None) -> int:
        """The exit code of `flexosip *words` with `peer` beside it; `interrupt_after` seconds it gets what a signal gives it."""
        self._peer = peer
        self._cancel_after = interrupt_after
        code = main(list(words))
        self.out, self.err = self._capture.readouterr()
        assert "Traceback" not in self.out + self.err
        return code

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of standard output; there is nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]

    def told(self, name: str) -> list[dict[str, Any]]:
        """The events of one name."""
        return [event for event in self.events if event["event"] == name]


def peer_phone(handler: Callable[[Any], Coroutine[Any, Any, Any]]) -> Peer:
    """A phone at PEER that takes calls with `handler`."""

    @contextlib.asynccontextmanager
    async def context(bench: Bench) -> AsyncIterator[Phone]:
        phone = Phone(clock=bench.clock, network=bench.host(PEER), listen=(f"{PEER}:5060",))
        phone.on_call(handler)
        async with phone:
            yield phone
            # the machine over there does not stop when our command does
            await asyncio.sleep(0.5)

    return context


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A workbench."""
    return Bench(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, state or password of the machine's user."""
    for name in ("FLEXOSIP_PASSWORD", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command sets up logging; the next test finds it as it was."""
    logger = logging.getLogger("flexosip")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
