"""linphone's console phone without a sound card, as a child process driven over its standard input."""

from __future__ import annotations

import asyncio
import os
import shutil
import wave
from pathlib import Path
from typing import Any, Self

import numpy

from tests.interop.process import LOOPBACK, free_ports, wait_until

__all__ = ["Linphone"]

HERE = Path(__file__).parent


class Linphone:
    """linphonec 5.1: plays a tone, records what it hears, answers by itself unless `answer="manual"`.

    Args:
        transport: the only one it listens on and calls by: udp, tcp or tls.
        hz: the tone it sends, for up to 60 s.
        ca: PEM file of the authority that it believes; None: any certificate.
        registrar: "host:port" where it registers as `user`; by TLS it can be called that way only, since it accepts no connections.
    """

    def __init__(
        self,
        folder: Path,
        *,
        transport: str = "udp",
        answer: str = "auto",
        hz: int = 1000,
        ca: Path | None = None,
        registrar: str | None = None,
        user: str = "bob",
        password: str = "secret-bob",
    ) -> None:
        self.folder = folder
        self.port = free_ports(26)
        self.heard = folder / "heard.wav"
        self.address = f"{LOOPBACK}:{self.port}"
        parameter = "" if transport == "udp" else f";transport={transport}"
        self.uri = f"sip:{user}@{registrar or self.address}{parameter}"
        self._account = ""
        if registrar is not None:
            host = registrar.rpartition(":")[0]
            self._account = (
                f"\n[auth_info_0]\nusername={user}\npasswd={password}\ndomain={host}\n\n[proxy_0]\nreg_proxy=<sip:{registrar}{parameter}>\n"
                f"reg_route=<sip:{registrar}{parameter};lr>\nreg_identity=sip:{user}@{host}\nreg_expires=120\nreg_sendregister=1\npublish=0\n"
            )
        self._transport, self._answer, self._hz, self._ca = transport, answer, hz, ca
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.output = ""

    async def __aenter__(self) -> Self:
        home = self.folder / "home"
        for part in (".local/share/linphone", ".config/linphone"):
            (home / part).mkdir(parents=True, exist_ok=True)
        ports = {name: str(self.port if self._transport == name else 0) for name in ("udp", "tcp", "tls")}
        values = {"UDP_PORT": ports["udp"], "TCP_PORT": ports["tcp"], "TLS_PORT": ports["tls"], "MEDIA_PORT": str(self.port + 4)}
        values |= {"VERIFY": "1" if self._ca else "0", "CA": str(self._ca or "/etc/ssl/certs/ca-certificates.crt")}
        text = (HERE / "linphonerc").read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        text = text.replace("default_proxy=-1", "default_proxy=0") if self._account else text
        (self.folder / "linphonerc").write_text(text + self._account)
        tone = self.folder / "tone.wav"
        with wave.open(str(tone), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            samples = 10000 * numpy.sin(2 * numpy.pi * self._hz * numpy.arange(8000 * 60) / 8000)
            file.writeframes(samples.astype("<i2").tobytes())
        pipe = asyncio.subprocess.PIPE
        command = ["stdbuf", "-oL", shutil.which("linphonec") or "linphonec", "-c", str(self.folder / "linphonerc")]
        self._process = await asyncio.create_subprocess_exec(
            *command, *(["-a"] if self._answer == "auto" else []), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HOME": str(home)}, start_new_session=True,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.sleep(1.5)  # it has no word for "I listen"
            self.do("soundcard use files")
            self.do(f"play {tone}")
            self.do(f"record {self.heard}")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._end()

    async def _end(self) -> None:
        process, reader = self._process, self._reader
        assert process is not None and reader is not None and process.stdin is not None
        if process.returncode is None:
            self.do("terminate all")
            self.do("quit")
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reader
        process._transport.close()  # type: ignore[attr-defined]

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while data := await self._process.stdout.read(4096):
            self.output += data.decode(errors="replace")

    def do(self, command: str) -> None:
        """A line of its console: call URI, answer, pause, resume, transfer N URI, terminate..."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")

    async def wait_output(self, text: str, timeout: float = 10.0, count: int = 1) -> None:
        """Wait until it has printed `text` so many times."""
        await wait_until(lambda: self.output.count(text) >= count, timeout, f"linphone prints {text!r}; so far {self.output[-3000:]}")
