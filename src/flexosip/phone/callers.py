"""Who may call us: `accept_from`. Strangers meet silence, so that a scanner does not even learn that there is a phone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request

__all__ = ["CallerPolicy"]


class CallerPolicy:
    """Decides about requests from outside of any dialog.

    Args:
        accept_from: `auto`: with an account its server, or who knows our Contact; without one anybody. `any`: anybody.
            Or addresses and networks such as `192.168.1.0/24`, one or a sequence.

    Raises:
        ConfigurationError: something else.
    """

    def __init__(self, accept_from: str | Sequence[str]) -> None:
        self._word = accept_from if isinstance(accept_from, str) and accept_from in ("auto", "any") else ""
        entries: Sequence[str] = () if self._word else (accept_from,) if isinstance(accept_from, str) else accept_from
        try:
            self._networks = tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
        except ValueError as error:
            raise ConfigurationError(
                f"accept_from={accept_from!r}: allowed are 'auto', 'any', or addresses and networks: {error}."
            ) from error

    def accepts(self, request: Request, flow: Flow, accounts: Sequence[Account]) -> bool:
        """Whether `request` may be answered at all; False is silence."""
        if self._word == "any":
            return True
        source = flow.remote[0]
        if self._word == "auto":
            if not accounts or any(source in account.server_addresses for account in accounts):
                return True
            uri = request.uri
            return isinstance(uri, SipUri) and any(uri.user == account.contact_user for account in accounts)
        address = ipaddress.ip_address(source.split("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
