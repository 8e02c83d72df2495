"""What happens to a virtual machine in its life: who is told when its cable is pulled, its address changes, or it wakes from sleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexosip.simulation.host import VirtualHost

__all__ = ["VirtualWatch", "tell_watches"]


class VirtualWatch:
    """Somebody who watches a virtual machine. Made by `VirtualHost.watch`."""

    def __init__(self, watches: list[VirtualWatch], on_change: Callable[[bool], None]) -> None:
        self._watches = watches
        self.on_change = on_change
        watches.append(self)

    def close(self) -> None:
        """Watch no more."""
        if self in self._watches:
            self._watches.remove(self)


def tell_watches(host: VirtualHost, slept: bool) -> None:
    """Tell all who watch `host`, a moment later."""
    network = host.network
    for watch in host.watches:
        network.schedule(network.time(), watch.on_change, (slept,))
