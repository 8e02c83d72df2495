"""Tells when the machine's network has changed, or when the machine has slept.

Linux tells of links, addresses and routes through a netlink socket. A look every second and a half finds what netlink does not tell:
other systems' changes, by the address of the default route, and sleep, by the clock that goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable

__all__ = ["InterfaceWatch", "clock_through_sleep"]

logger = logging.getLogger(__name__)

_LOOK_EVERY = 1.5
"""Seconds; RFC 3261's and our own timers are coarser than that."""
_SLEPT = 5.0
"""Seconds that a clock which goes on in sleep must be ahead: a busy machine is not one that slept."""
# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NETLINK_ROUTE = 0
_ANY_HOSTS = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Hosts that are not here (RFC 5737, RFC 3849): the way to them is the default route. Nothing is ever sent there."""


def clock_through_sleep() -> float:
    """Seconds of a clock that goes on while the machine sleeps, and that nobody sets if the system has such a one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()


class InterfaceWatch:
    """Watches until it is closed.

    Args:
        loop: on which `on_change` is called.
        on_change: called with True after a sleep, with False after a change of links, addresses or routes; perhaps several times in a row.
        wakeful, sleepless: clocks: one that stands still while the machine sleeps, and one that goes on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[bool], None],
        *,
        wakeful: Callable[[], float] = time.monotonic,
        sleepless: Callable[[], float] = clock_through_sleep,
    ) -> None:
        self._loop = loop
        self._on_change = on_change
        self._wakeful = wakeful
        self._sleepless = sleepless
        self._ahead = sleepless() - wakeful()
        self._own = _default_addresses()
        self._netlink = _netlink_socket()
        if self._netlink is not None:
            try:
                loop.add_reader(self._netlink, self._read)
            except NotImplementedError:
                self._netlink.close()
                self._netlink = None
        self._timer = loop.call_later(_LOOK_EVERY, self._look)

    def _read(self) -> None:
        assert self._netlink is not None
        changed = False
        # OSError: the kernel dropped some (ENOBUFS), which is a change too; BlockingIOError, the end, is one of them.
        for _ in range(64):
            try:
                changed = bool(self._netlink.recv(65536)) or changed
            except BlockingIOError:
                break
            except OSError:
                changed = True
        if changed:
            self._tell(False)

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK_EVERY, self._look)
        ahead, own = self._sleepless() - self._wakeful(), _default_addresses()
        slept = ahead - self._ahead
        changed = own != self._own
        self._ahead, self._own = ahead, own
        if slept >= _SLEPT:
            logger.info("the machine has slept for %.0f s", slept)
            self._tell(True)
        elif changed:
            self._tell(False)

    def _tell(self, slept: bool) -> None:
        try:
            self._on_change(slept)
        except Exception:
            logger.exception("a change of the network could not be worked on")

    def close(self) -> None:
        """Watch no more. Harmless at any time."""
        self._timer.cancel()
        if self._netlink is not None:
            self._loop.remove_reader(self._netlink)
            self._netlink.close()
            self._netlink = None


def _netlink_socket() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        own = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    except OSError as error:
        logger.debug("no netlink: %s", error)
        return None
    try:
        own.bind((0, _GROUPS))
    except OSError as error:
        logger.debug("no netlink: %s", error)
        own.close()
        return None
    return own


def _default_addresses() -> tuple[str, ...]:
    """Our addresses towards the world, one of each family that has a default route."""
    found = []
    for family, host in _ANY_HOSTS:
        # No such family, no route: that is an answer too.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            found.append(str(probe.getsockname()[0]))
    return tuple(found)
