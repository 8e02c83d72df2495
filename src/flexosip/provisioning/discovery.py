"""Finding the box of the house: its usual name, what answers a UPnP search, the default gateway, its usual address.

UPnP Device Architecture 1.0 §1.2.2 (M-SEARCH)
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flexosip.advice import advice_for
from flexosip.errors import FlexosipError, NetworkError
from flexosip.net.address import is_house_name
from flexosip.provisioning.tr064 import Box

__all__ = ["default_gateway", "find_box", "search"]

_GROUP = ("239.255.255.250", 1900)
_SEARCH = (
    "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n"
    "ST: urn:dslforum-org:device:InternetGatewayDevice:1\r\n\r\n"
)  # fmt: skip
_MOST_ANSWERS = 16
_ROUTES = Path("/proc/net/route")
_USUAL = ("fritz.box", "192.168.178.1")


def find_box(host: str | None = None, *, port: int = 49000, timeout: float = 3.0, on_try: Callable[[str], object] | None = None) -> Box:
    """The FRITZ!Box of this house.

    Args:
        host: its name or address; None: it is looked for.
        port: of TR-064. timeout: seconds for each place. on_try: told of each place before it is asked.

    Raises:
        NetworkError: there is none, or TR-064 is switched off in it.
    """
    tried: list[str] = []
    last: FlexosipError | None = None
    for place in [host] if host is not None else _places(timeout):
        if place in tried:
            continue
        tried.append(place)
        if on_try is not None:
            on_try(place)
        try:
            box = Box.at(place, port, timeout=timeout)
        except NetworkError as error:
            last = error
            continue
        if box.is_fritzbox:
            return box
        last = NetworkError(f"{place} is {box.model or 'something else'}, no FRITZ!Box with telephony.", advice=_how())
    if host is not None and last is not None:
        raise last
    raise NetworkError(f"No FRITZ!Box was found at {', '.join(tried)}.", advice=_how())


def _how() -> str:
    return str(advice_for("box not found"))


def _places(timeout: float) -> Iterator[str]:
    yield _USUAL[0]
    yield from search(min(timeout, 2.0))
    gateway = default_gateway()
    if gateway is not None:
        yield gateway
    yield _USUAL[1]


def search(seconds: float, group: tuple[str, int] = _GROUP) -> Sequence[str]:
    """Hosts of the house that answer a UPnP search for a TR-064 router within so many seconds."""
    found: dict[str, None] = {}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        asking.sendto(_SEARCH.encode("ascii"), group)
        until = time.monotonic() + seconds
        for _ in range(_MOST_ANSWERS):
            left = until - time.monotonic()
            if left <= 0:
                break
            asking.settimeout(left)
            data, source = asking.recvfrom(2048)
            location = _location(data)
            # who answers for somebody else, or sends us out of the house, is not followed
            if location is not None and location == source[0] and is_house_name(location):
                found[location] = None
    return list(found)


def _location(data: bytes) -> str | None:
    for line in data.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"location":
            try:
                return urlsplit(value.strip().decode("ascii")).hostname
            except ValueError:  # UnicodeDecodeError is one
                return None
    return None


def default_gateway(routes: Path = _ROUTES) -> str | None:
    """The router that leads out (proc(5)); None where that cannot be seen."""
    try:
        lines = routes.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and fields[2] != "00000000":
            with contextlib.suppress(ValueError, struct.error):
                return socket.inet_ntoa(struct.pack("<L", int(fields[2], 16)))
    return None
