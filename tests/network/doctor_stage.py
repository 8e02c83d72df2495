"""A patient on the virtual network, a server that is ill in a chosen way, and what the doctor finds."""

from __future__ import annotations

import email.utils
from collections.abc import Callable
from typing import Any

from flexosip.doctor import Finding, Machine, examine
from flexosip.pbx import Pbx
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, World, sdp

__all__ = ["HERE", "NOW", "SERVER", "Examination", "Ill", "ids"]

SERVER, HERE = "10.0.0.9", "10.0.0.1"
NOW = 1_800_000_000.0
"""The wall clock of the patient's machine."""

Alteration = Callable[[bytes], bytes | None]


class Ill(RawPeer):
    """A registrar by UDP with a password, and with whatever illness the attributes say.

    Attributes:
        date: its clock, seconds since 1970; None: no Date.
    """

    user, password = "bell", "right"
    challenges = False
    known_auth_user: str | None = None
    register_status = 200
    options_status = 200
    expires = 3600
    silent_to: tuple[str, ...] = ()
    date: float | None = NOW
    largest = 65535
    body = ""
    headers: tuple[tuple[str, str], ...] = ()
    altered: Alteration | None = None
    reply_from: Any = None
    own_view = True
    """Whether it tells received and rport."""

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        if not data.strip(b"\r\n\0") or len(data) > self.largest or data[:1] < b"\x04":
            return
        message = parse_message(data)
        self.seen.append(message)
        if isinstance(message, Response) or message.method in ("ACK", *self.silent_to):
            return
        reply = self.reply(message)
        response = message.create_response(reply[0], to_tag="ill", headers=reply[1], body=reply[2].encode(), content_type=reply[3])
        if self.own_view:
            via = f"{message.headers.get_all('Via')[0].replace(';rport', f';rport={remote[1]}')};received={remote[0]}"
            response.headers.remove("Via")
            response.headers.add("Via", via)
        out: bytes | None = bytes(response)
        if self.altered is not None and out is not None:
            out = self.altered(out)
        if out is not None:
            (self.reply_from or self.endpoint).send(out, remote)

    def reply(self, request: Request) -> tuple[int, tuple[tuple[str, str], ...], str, str | None]:
        """Status, headers, body and its type."""
        date = (("Date", email.utils.formatdate(self.date, usegmt=True)),) if self.date is not None else ()
        headers = (*date, *self.headers)
        if request.method == "REGISTER":
            credentials = request.headers.get("Authorization") or ""
            wanted = self.known_auth_user or self.user
            if self.challenges and f'username="{wanted}"' not in credentials:
                return 401, (*headers, ("WWW-Authenticate", 'Digest realm="ill", nonce="n", algorithm=MD5')), "", None
            contacts = tuple(("Contact", value.partition(";expires=")[0]) for value in request.headers.get_all("Contact"))
            return self.register_status, (*headers, *contacts, ("Expires", str(self.expires))), "", None
        if request.method == "OPTIONS" and self.body:
            return self.options_status, headers, self.body, "application/sdp"
        if request.method == "INVITE":
            return 200, (*headers, ("Contact", f"<{self.uri}>")), sdp(host=self.ip), "application/sdp"
        return self.options_status, headers, "", None

    def asked(self, method: str) -> list[Request]:
        """What came, repetitions once."""
        found = [message for message in self.seen if isinstance(message, Request) and message.method == method]
        return list({message.via.branch: message for message in found}.values())

    @property
    def passwords_shown(self) -> int:
        """REGISTERs with credentials, without the one that takes the binding away."""
        return sum("Authorization" in request.headers and request.headers.get("Expires") != "0" for request in self.asked("REGISTER"))


class Examination:
    """A world with one patient; `run` examines it.

    Args:
        line: settings of every link.
    """

    def __init__(self, **line: Any) -> None:
        self.world = World(**line)
        self.server: Ill | None = None

    def run(
        self,
        aor: str = f"sip:bell@{SERVER}",
        *,
        server: dict[str, Any] | None = None,
        pbx: dict[str, Any] | None = None,
        machine: Machine | None = None,
        host: Any = None,
        prepare: Callable[[World], Any] | None = None,
        ip: str = SERVER,
        **settings: Any,
    ) -> list[Finding]:
        """The findings about an account at an ill `server` (its attributes), or at a `pbx` (its settings); without both nobody is there."""
        world = self.world

        async def main() -> list[Finding]:
            opened: list[Any] = []
            running = None
            if server is not None:
                peer = await Ill.open(world.network, ip)
                assert isinstance(peer, Ill)
                self.server = peer
                opened.append(peer)
                for name, value in server.items():
                    setattr(peer, name, value)
            if pbx is not None:
                running = Pbx({"bell": "right"}, clock=world.clock, network=world.network.host(ip), **pbx)
                await running.start()
            if prepare is not None:
                more = prepare(world)
                opened += await more if more is not None else []
            try:
                place = host if host is not None else world.network.host(HERE)
                chosen = machine or Machine(now=lambda: NOW)
                return await examine(aor, network=place, clock=world.clock, machine=chosen, **settings)
            finally:
                for each in opened:
                    each.close()
                if running is not None:
                    await running.close()

        return world.run_alone(main)  # type: ignore[no-any-return]


def ids(findings: list[Finding], *levels: str) -> list[str]:
    """The ids of the findings that are not ok, or of those levels."""
    return [finding.id for finding in findings if finding.level in (levels or ("warning", "problem"))]
