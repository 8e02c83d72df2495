"""A pjsip phone as a child process, driven over its pipes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from tests.interop.absent import PJSIP_PYTHON
from tests.interop.process import LOOPBACK, free_ports, wait_until

__all__ = ["Pjsip"]


class Pjsip:
    """pjsip 2.15: sends a sine, records what it hears, answers by itself unless `answer="manual"`.

    Args:
        registrar: "host:port" where it registers as `user` of `domain`; None: a phone without an account.
        options: more command-line arguments of phone.py, for example "--reliable" or "--session-expires", "90".
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str = "bob",
        password: str = "secret-bob",
        registrar: str | None = None,
        domain: str = "",
        transport: str = "udp",
        answer: str = "auto",
        hz: int = 1000,
        options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.port = free_ports(26)
        self.heard = folder / "heard.wav"
        self.address = f"{LOOPBACK}:{self.port}"
        self.uri = f"sip:{user}@{self.address}" + ("" if transport == "udp" else f";transport={transport}")
        self.events: list[dict[str, Any]] = []
        self._arguments = [str(PJSIP_PYTHON), str(Path(__file__).with_name("phone.py")), "--port", str(self.port)]
        self._arguments += ["--media-port", str(self.port + 4), "--user", user, "--transport", transport, "--answer", answer]
        self._arguments += ["--hz", str(hz), "--record", str(self.heard), "--log", str(folder / "pjsip.log"), *options]
        if registrar is not None:
            self._arguments += ["--registrar", registrar, "--password", password, "--domain", domain]
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        errors = (self.folder / "pjsip.errors").open("wb")
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True
        )
        errors.close()
        self._reader = asyncio.create_task(self._read())
        try:
            await self.wait_event("ready")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._end()

    async def _end(self) -> None:
        process, reader = self._process, self._reader
        assert process is not None and reader is not None and process.stdin is not None
        process.stdin.close()  # the phone ends by itself then, unregistered
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reader
        process._transport.close()  # type: ignore[attr-defined]

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.startswith(b"{"):  # the library prints its start among them
                self.events.append(json.loads(line))

    def do(self, command: str, **arguments: Any) -> None:
        """One of the commands of phone.py."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")

    async def wait_event(self, event: str, timeout: float = 10.0, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for an event with those fields, the first one after number `after`."""

        def found() -> dict[str, Any] | None:
            matches = (known for known in self.events[after:] if known["event"] == event and fields.items() <= known.items())
            return next(matches, None)

        await wait_until(found, timeout, f"pjsip tells {event} {fields}; so far {self.events}")
        match = found()
        assert match is not None
        return match

    async def wait_state(self, state: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until a call is CALLING, EARLY, CONFIRMED, DISCONNECTED..."""
        return await self.wait_event("state", timeout, state=state)

    @property
    def keys(self) -> str:
        """The keys it was sent."""
        return "".join(event["digit"] for event in self.events if event["event"] == "key")
