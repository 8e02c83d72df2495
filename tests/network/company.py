"""A PBX for example.org with certificates of its own authority, and its phones, on a virtual network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flexosip import Phone
from flexosip.pbx import Pbx
from flexosip.simulation import VirtualClock, VirtualHost, VirtualNetwork
from tests.certificates import Authority

__all__ = ["PBX", "Company"]

PBX = "10.0.0.1"
LISTEN = (f"{PBX}:5060", f"tls:{PBX}:5061", f"ws:{PBX}:80", f"wss:{PBX}:443")


class Company:
    """A PBX for example.org on every transport, and its phones."""

    def __init__(self, clock: VirtualClock, network: VirtualNetwork, folder: Path) -> None:
        self.clock = clock
        self.network = network
        self.authority = Authority(folder)
        self._hosts: dict[str, VirtualHost] = {}
        network.name("example.org", PBX)

    def host(self, ip: str) -> VirtualHost:
        """The machine at `ip`."""
        if ip not in self._hosts:
            self._hosts[ip] = self.network.host(ip)
        return self._hosts[ip]

    def pbx(self, **settings: Any) -> Pbx:
        """The PBX; by default with a good certificate, on all transports."""
        settings = {"tls": self.authority.server("example.org"), "listen": LISTEN, **settings}
        return Pbx({"alice": "secret-a", "bob": "secret-b"}, clock=self.clock, network=self.host(PBX), **settings)

    def phone(self, user: str, transport: str | None, *, scheme: str = "sip", **settings: Any) -> Phone:
        """A phone of `alice` or `bob` that trusts the authority."""
        ip = {"alice": "10.0.0.2", "bob": "10.0.0.3"}[user]
        return Phone(
            f"{scheme}:{user}@example.org",
            password=f"secret-{user[0]}",
            transport=transport,
            **{"tls_ca": self.authority.certificate, **settings},
            clock=self.clock,
            network=self.host(ip),
        )

    def run(self, story: Any) -> None:
        """Run a story; nothing may be left of it."""
        self.clock.run(story)
        assert not self.network.open_sockets
