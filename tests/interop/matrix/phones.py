"""Other people's phones behind one face, so that the same story runs with each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from tests.interop.linphone.peer import Linphone
from tests.interop.peers import Baresip
from tests.interop.pjsip.peer import Pjsip

__all__ = ["PHONES", "OtherPhone", "make"]

PHONES = {"pjsip": "pjsip 2.15", "baresip": "baresip 1.0", "linphonec": "linphone 5.1"}
"""By the name of their peer mark."""
HZ = 1000
"""The tone that they send."""


class OtherPhone(Protocol):
    """A phone that answers by itself and sends a tone."""

    uri: str
    """where it is called"""

    async def __aenter__(self) -> Any: ...
    async def __aexit__(self, *details: Any) -> None: ...

    @property
    def heard(self) -> Path:
        """What it heard, once the call is over."""

    async def dial(self, uri: str) -> None:
        """Call somebody."""

    async def hold(self) -> None:
        """Put the call on hold."""

    async def resume(self) -> None:
        """Take it off hold."""

    async def transfer(self, uri: str) -> None:
        """Send the other side to `uri` (REFER)."""

    async def hang_up(self) -> None:
        """End its calls."""


class _Pjsip(Pjsip):
    async def dial(self, uri: str) -> None:
        self.do("call", uri=uri)

    async def hold(self) -> None:
        await asyncio.sleep(0.4)  # after the answer it sends a re-INVITE, to settle on one codec
        self.do("hold")

    async def resume(self) -> None:
        await asyncio.sleep(0.4)
        self.do("resume")

    async def transfer(self, uri: str) -> None:
        await asyncio.sleep(0.4)
        self.do("transfer", uri=uri)

    async def hang_up(self) -> None:
        self.do("hangup")


class _Baresip(Baresip):
    async def dial(self, uri: str) -> None:
        await self.command("dial", uri)

    async def hold(self) -> None:
        await self.command("hold")

    async def resume(self) -> None:
        await self.command("resume")

    async def transfer(self, uri: str) -> None:
        await self.command("transfer", uri)

    async def hang_up(self) -> None:
        await self.command("hangup")


class _Linphone(Linphone):
    async def dial(self, uri: str) -> None:
        self.do(f"call {uri}")

    async def hold(self) -> None:
        self.do("pause")
        await self.wait_output("is now paused.")  # a "resume" before that is lost

    async def resume(self) -> None:
        self.do("resume")

    async def transfer(self, uri: str) -> None:
        self.do(f"transfer {uri}")

    async def hang_up(self) -> None:
        self.do("terminate")


def make(name: str, folder: Path, transport: str) -> OtherPhone:
    """A phone of that kind, not started yet, that calls and is called by that transport."""
    if name == "pjsip":
        return _Pjsip(folder, transport=transport, hz=HZ)
    if name == "baresip":
        phone = _Baresip(folder, transport=transport, hz=HZ)
        phone.uri += "" if transport == "udp" else f";transport={transport}"
        return phone
    return _Linphone(folder, transport=transport, hz=HZ)
