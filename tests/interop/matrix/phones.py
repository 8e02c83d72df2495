"""Other people's phones behind one face, so that the same story runs with each of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.interop.linphone.peer import Linphone
from tests.interop.peers import Baresip
from tests.interop.pjsip.peer import Pjsip

__all__ = ["PHONES", "STORIES", "TRANSPORTS", "OtherPhone", "Trust", "make", "render"]

PHONES = {"pjsip": "pjsip 2.15", "baresip": "baresip 1.0", "linphonec": "linphone 5.1"}
"""By the name of their peer mark."""
TRANSPORTS = ("udp", "tcp", "tls")
STORIES = {
    "test_sound_hold_and_resume_by_each_side": "call, sound both ways, hold and resume by each side",
    "test_we_transfer_the_other_side_to_a_third_phone": "flexosip transfers it to a third phone",
    "test_the_other_side_transfers_us_to_a_third_phone": "it transfers flexosip to a third phone",
}
"""What `test_matrix.py` does, by function."""
NOTES = {("linphonec", "tls"): "through flexosip's PBX: it accepts no TLS connections"}
HZ = 1000
"""The tone that they send."""


def render() -> str:
    """The table of docs/interop.md."""
    lines = ["| Phone | Transport | " + " | ".join(STORIES.values()) + " | |", "|---" * (len(STORIES) + 3) + "|"]
    for name, title in PHONES.items():
        for transport in TRANSPORTS:
            cells = ["both directions", "both directions", "yes"]
            lines.append(f"| {title} | {transport.upper()} | {' | '.join(cells)} | {NOTES.get((name, transport), '')} |")
    return "\n".join(lines) + "\n"


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


@dataclass(frozen=True, slots=True)
class Trust:
    """What a phone needs for TLS: files in PEM."""

    authority: Path
    certificate: Path
    key: Path


def make(name: str, folder: Path, transport: str, trust: Trust, registrar: str | None = None) -> OtherPhone:
    """A phone of that kind, not started yet, that calls and is called by that transport."""
    if name == "pjsip":
        files = ("--tls-certificate", str(trust.certificate), "--tls-key", str(trust.key), "--tls-ca", str(trust.authority))
        return _Pjsip(folder, transport=transport, hz=HZ, options=files)
    if name == "baresip":
        folder.mkdir(parents=True, exist_ok=True)
        both = folder / "both.pem"
        both.write_bytes(trust.key.read_bytes() + trust.certificate.read_bytes())
        phone = _Baresip(folder, transport=transport, hz=HZ, certificate=both, authority=trust.authority)
        phone.uri += "" if transport == "udp" else f";transport={transport}"
        return phone
    return _Linphone(folder, transport=transport, hz=HZ, ca=trust.authority, registrar=registrar)
