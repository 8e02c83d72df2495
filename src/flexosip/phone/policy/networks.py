"""Addresses and networks of peers, as users write them: `192.168.1.2`, `10.0.0.0/8`, `fd00::/8`."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from flexosip.errors import ConfigurationError

__all__ = ["Networks"]


class Networks:
    """A set of addresses and networks.

    Args:
        entries: one or a sequence. what: the setting, for messages.

    Raises:
        ConfigurationError: an entry is neither.
    """

    def __init__(self, entries: str | Sequence[str], what: str) -> None:
        given = (entries,) if isinstance(entries, str) else tuple(entries)
        try:
            self._networks = tuple(ipaddress.ip_network(entry, strict=False) for entry in given)
        except ValueError as error:
            raise ConfigurationError(f"{what}={entries!r}: allowed are addresses and networks: {error}.") from error

    def __contains__(self, host: object) -> bool:
        try:
            address = ipaddress.ip_address(str(host).split("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
