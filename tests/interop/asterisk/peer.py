"""Asterisk in a tree of another Debian suite, started by the scripts beside the project.

Users alice, bob, bell, carol, timer1 and rel1 with the password secret-NAME; see `asterisk.sh` there for the extensions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.interop.absent import ASTERISK_TREE, LAB
from tests.interop.process import LOOPBACK, free_ports, wait_until

__all__ = ["Asterisk", "Servers"]

DOMAIN = "lab.test"


class Asterisk:
    """Asterisk 22, from `start` to `stop`.

    Args:
        folder: for its logs; the configuration lies in the tree, under a name made of the folder's.
        algorithm: MD5 or SHA-256, of its challenges.
        dialplan: lines for `dialplan add extension`, for example `msg,1,MessageSend,pjsip:alice into lab`.
    """

    def __init__(self, folder: Path, *, algorithm: str = "MD5", dialplan: tuple[str, ...] = ()) -> None:
        self.port = free_ports(4)
        # Its folder in the tree is named after this one: another for each, or messages of one test wait in the next.
        self.folder = folder.with_name(f"{folder.name}-{self.port}")
        self.tls_port = self.port + 1
        self.address = f"{LOOPBACK}:{self.port}"
        self.tls_address = f"{LOOPBACK}:{self.tls_port}"
        self._algorithm = algorithm
        self._dialplan = dialplan

    def _script(self, *arguments: str, timeout: float = 60) -> str:
        environment = {**os.environ, "LAB_IP": LOOPBACK, "LAB_DOMAIN": DOMAIN, "LAB_ALG": self._algorithm}
        command = ["bash", str(LAB / "asterisk.sh"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._script("start", str(ASTERISK_TREE), str(self.folder), str(self.port))
        for line in self._dialplan:
            self._script("rx", str(ASTERISK_TREE), str(self.folder), f"dialplan add extension {line}")

    def stop(self) -> None:
        """End it; nothing of it stays in the tree."""
        inside = self.inside
        self._script("stop", str(ASTERISK_TREE), str(self.folder))
        shutil.rmtree(inside)

    async def command(self, text: str) -> str:
        """A command of its console; what it prints."""
        return await asyncio.to_thread(self._script, "rx", str(ASTERISK_TREE), str(self.folder), text)

    async def wait_command(self, text: str, wanted: str, timeout: float = 10.0) -> str:
        """Repeat a command until its output holds `wanted`."""
        said = ""
        for _ in range(round(timeout / 0.3)):
            said = await self.command(text)
            if wanted in said:
                return said
            await asyncio.sleep(0.3)
        raise AssertionError(f"asterisk: {text!r} does not show {wanted!r} but\n{said}")

    @property
    def inside(self) -> Path:
        """Its folder in the tree, with configuration, logs and recordings."""
        return Path(self._script("files", str(ASTERISK_TREE), str(self.folder)).strip())

    @contextlib.asynccontextmanager
    async def edited(self, file: str, old: str, new: str, module: str = "res_pjsip.so") -> AsyncIterator[None]:
        """Within the block its configuration is changed, and the module has read it; afterwards it is as before."""
        path = self.inside / "etc" / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))
        try:
            await self.command(f"module reload {module}")
            yield
        finally:
            path.write_text(text)
            await self.command(f"module reload {module}")

    async def wait_log(self, wanted: str, timeout: float = 10.0) -> None:
        """Wait until its log holds `wanted`."""

        def text() -> str:
            logs = [self.folder / "asterisk.log", *(self.inside / "log").glob("*")]
            return "".join(path.read_text(errors="replace") for path in logs if path.is_file())

        await wait_until(lambda: wanted in text(), timeout, f"asterisk logs {wanted!r}")


Servers = Callable[[str], Asterisk]
"""The running server that challenges by an algorithm."""
