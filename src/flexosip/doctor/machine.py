"""Facts about the machine that the examination runs on: its clock, its addresses, what surrounds it, who has a port."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Machine"]

_SIOCGIFADDR = 0x8915
_EXTRAS = {
    "audio": ("soundfile", "soxr", "numpy"),
    "dns": ("dns",),
    "srtp": ("pylibsrtp", "cryptography"),
    "web": ("aiohttp", "websockets"),
    "hd": ("G722",),
}
"""Modules of the optional parts."""


def _nobody(transport: str, port: int) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the network itself does not tell. `Machine.this()` is the real one; without arguments it knows nothing."""

    now: Callable[[], float] = time.time
    """The time of day, seconds since 1970."""
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """Name of the interface by its IPv4 address."""
    surroundings: str = ""
    """`container`, `wsl`, or ""."""
    owner: Callable[[str, int], str] = _nobody
    """The program that has a port: (`udp` or `tcp`, port) -> its name, "" when that cannot be seen."""
    parts: tuple[str, ...] = ()
    """Optional parts that are installed."""

    @classmethod
    def this(cls) -> Machine:
        """The machine that runs this process."""
        return cls(time.time, _interfaces(), _surroundings(), _owner, tuple(name for name in _EXTRAS if _installed(name)))


def _installed(part: str) -> bool:
    return all(find_spec(module) is not None for module in _EXTRAS[part])


def _interfaces() -> dict[str, str]:
    """IPv4 addresses of this machine (netdevice(7)); empty where the system has another way."""
    if not sys.platform.startswith("linux"):
        return {}
    import fcntl

    found: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            # an interface without an IPv4 address says so by an error
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found[socket.inet_ntoa(answer[20:24])] = name
    return found


def _surroundings() -> str:
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "container"
    return "wsl" if "microsoft" in _read("/proc/version").lower() else ""


def _owner(transport: str, port: int) -> str:
    """The name of the program that listens at a port (proc(5)); another user's programs cannot be seen."""
    inodes = set()
    for family in ("", "6"):
        for line in _read(f"/proc/net/{transport}{family}").splitlines()[1:]:
            fields = line.split()
            # 07: an unconnected UDP socket, 0A: a listening TCP socket
            if len(fields) > 9 and fields[3] in ("07", "0A") and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = any(os.readlink(handle) in inodes for handle in (process / "fd").iterdir())
        except OSError:  # another user's, or it has ended meanwhile
            continue
        if held:
            return f"{_read(str(process / 'comm')).strip() or 'process'} ({process.name})"
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
