"""The machine, the names, the way to the server and the ports: all that is there before the first SIP message.

RFC 3263 §4 (names), RFC 1918 and RFC 6598 (addresses)
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ipaddress
import platform
from typing import TYPE_CHECKING

from flexosip.errors import FlexosipError, NetworkError, ServerUnreachable
from flexosip.net.address import canonical_ip, is_house_name, is_loopback
from flexosip.net.dns_records import NaptrRecord, RecordKind, ServiceRecord
from flexosip.sip.next_hop import WEB_TRANSPORTS

if TYPE_CHECKING:
    from flexosip.doctor.patient import Patient
    from flexosip.sip.message import Response

__all__ = ["check_clock", "check_names", "check_parts", "check_ports", "check_route"]

_BUILT = 1_750_000_000.0
"""Some moment of 2025: no clock that is right shows an earlier one."""
_CLOCK_TOLERANCE = 60.0
_SLOW_LOOKUP = 1.0
_SERVICE_PATIENCE = 3.0
_LINK_ONLY = ("local", "localhost", "invalid")
_VPN = ("tun", "tap", "wg", "ppp", "utun", "tailscale", "zt", "ipsec")
_BRIDGES = ("docker", "br-", "veth", "cni", "podman", "virbr", "lxc")


def check_parts(patient: Patient) -> None:
    """Python, and the optional parts that the account needs."""
    parts = patient.machine.parts
    installed = f"; extras: {', '.join(parts)}" if parts else ""
    if patient.account.server.transport in WEB_TRANSPORTS and "web" not in parts:
        patient.findings.add("parts.web", "The account is reached by WebSocket, and the optional part 'web' is not installed.")
        return
    patient.findings.ok("parts", f"Python {platform.python_version()}{installed}.", python=platform.python_version(), extras=list(parts))


def check_clock(patient: Patient, response: Response | None) -> None:
    """The time of day, by itself and by the Date of the server's answer (RFC 3261 §20.17)."""
    now = patient.machine.now()
    if now < _BUILT:
        patient.findings.add("clock.unset", "The clock of this machine shows a time before this program was written.", now=now)
        return
    date = response.headers.get("Date") if response is not None else None
    if date is None:
        return
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return
    apart = now - theirs
    if abs(apart) > _CLOCK_TOLERANCE:
        direction = "ahead of" if apart > 0 else "behind"
        patient.findings.add("clock.wrong", f"The clock of this machine is {abs(apart):.0f} s {direction} the server's.", seconds=apart)
    else:
        patient.findings.ok("clock", "The clock agrees with the server's.", seconds=apart)


# -- names ----------------------------------------------------------------------------------------------------------------


async def check_names(patient: Patient) -> str | None:
    """The server's address; None when its name leads nowhere."""
    server = patient.account.server
    host = server.host.rstrip(".")
    if canonical_ip(host) is not None:
        patient.findings.ok("dns", f"{host} is a numeric address: nothing is to be looked up.", addresses=[host])
        return host
    network = patient.network
    begin = network.time()
    targets = await _services(patient, host) if server.port is None and "." in host and host.rpartition(".")[2] not in _LINK_ONLY else []
    try:
        addresses = await network.resolve(host)
    except NetworkError as error:
        addresses = []
        if not targets:
            kind = "dns.no-server" if isinstance(error, ServerUnreachable) else "dns.unknown"
            patient.findings.add(kind, str(error), name=host)
            return None
    seconds = network.time() - begin
    for target in targets:
        try:
            addresses = [*await network.resolve(target), *addresses]
        except NetworkError:
            patient.findings.add("dns.no-target", f"{host} names the server {target}, which has no address.", name=host, target=target)
    if not addresses:
        return None
    shown = ", ".join(dict.fromkeys(addresses))
    if seconds > _SLOW_LOOKUP:
        patient.findings.add("dns.slow", f"Looking up {host} ({shown}) took {seconds:.1f} s.", name=host, seconds=seconds)
    else:
        by = f" by way of {', '.join(dict.fromkeys(targets))}" if targets else ""
        patient.findings.ok("dns", f"{host} is {shown}{by}.", name=host, addresses=addresses, seconds=seconds)
    return addresses[0]


async def _services(patient: Patient, host: str) -> list[str]:
    """The servers that SRV records name, those of NAPTR first."""
    asked: tuple[tuple[str, RecordKind], ...] = ((host, "NAPTR"), (f"_sip._udp.{host}", "SRV"), (f"_sip._tcp.{host}", "SRV"))
    silent: list[str] = []
    names: list[str] = []
    for name, kind in asked:
        try:
            async with asyncio.timeout(_SERVICE_PATIENCE):
                answer = await patient.network.resolve_dns(name, kind)
        except (FlexosipError, TimeoutError):
            silent.append(kind)
            continue
        for record in answer.records:
            if isinstance(record, ServiceRecord) and record.target:
                names.append(record.target)
            elif isinstance(record, NaptrRecord):
                names += await _replaced(patient, record)
    if silent and not is_house_name(host):
        kinds = " and ".join(dict.fromkeys(silent))
        patient.findings.add("dns.services-silent", f"Nobody answers questions for {kinds} records of {host}.", name=host)
    return list(dict.fromkeys(names))


async def _replaced(patient: Patient, record: NaptrRecord) -> list[str]:
    if record.flags == "a":
        return [record.replacement]
    with contextlib.suppress(FlexosipError):
        answer = await patient.network.resolve_dns(record.replacement, "SRV")
        return [each.target for each in answer.records if isinstance(each, ServiceRecord) and each.target]
    return []


# -- the way --------------------------------------------------------------------------------------------------------------


def check_route(patient: Patient, server: str) -> str | None:
    """Our own address towards the server; None when there is no way."""
    findings, machine = patient.findings, patient.machine
    try:
        own = patient.network.local_address(server)
    except NetworkError as error:
        findings.add("route.none", str(error), server=server)
        return None
    name = machine.interfaces.get(own, "")
    through = f" ({name})" if name else ""
    before = len(findings.all)
    if is_loopback(own):
        findings.ok("route", f"The server {server} is this machine.", own=own, interface=name)
        return own
    if name.startswith(_VPN):
        findings.add("route.vpn", f"Packets to {server} leave from {own}{through}, through a VPN.", own=own, interface=name)
    elif machine.surroundings == "container" and is_house_name(own) and not is_loopback(own):
        findings.add("route.container", f"This is a container: its address {own} is known on its host only.", own=own)
    elif machine.surroundings == "wsl" and is_house_name(own):
        findings.add("route.wsl", f"This is Linux under Windows, behind an address translation of its own ({own}).", own=own)
    elif name.startswith(_BRIDGES):
        findings.add("route.bridge", f"Packets to {server} leave into a bridge of containers or virtual machines{through}.", own=own)
    if _other_house(own, server):
        findings.add("route.other-net", f"The server {server} has a private address of another network than ours ({own}).", own=own)
    if len(findings.all) == before:
        others = [f"{ip} ({name})" for ip, name in machine.interfaces.items() if ip != own and not is_loopback(ip)]
        besides = f"; this machine also has {', '.join(others)}" if others else ""
        findings.ok("route", f"Packets to {server} leave from {own}{through}{besides}.", own=own, interface=name)
    return own


def _other_house(own: str, server: str) -> bool:
    """Both private, and not even the first half is the same: most houses have one /24."""
    ours, theirs = (ipaddress.ip_address(ip.partition("%")[0]) for ip in (own, server))
    if ours.version != 4 or theirs.version != 4 or ours.is_loopback or theirs.is_loopback:
        return False
    return is_house_name(own) and is_house_name(server) and int(ours) >> 16 != int(theirs) >> 16


# -- ports ----------------------------------------------------------------------------------------------------------------


async def check_ports(patient: Patient, own: str) -> None:
    """Whether the usual SIP port is free, and whether there are ports for sound."""
    findings, network = patient.findings, patient.network
    taken = []
    for transport in ("udp", "tcp"):
        try:
            if transport == "udp":
                (await network.open_datagram(own, 5060, lambda data, remote, local: None)).close()
            else:
                (await network.open_listener(own, 5060, lambda connection: connection.abort())).close()
        except NetworkError:
            taken.append((transport, patient.machine.owner(transport, 5060)))
    if taken:
        whose = " and ".join(f"{transport.upper()}{f' by {program}' if program else ''}" for transport, program in taken)
        programs = [program for _, program in taken]
        findings.add("port.busy", f"Port 5060 of {own} is in use ({whose}).", transports=[name for name, _ in taken], programs=programs)
    else:
        findings.ok("port", f"Port 5060 of {own} is free.")
    low, high = patient.phone().media_ports
    even = range(low + low % 2, high, 2)
    tried = list(even)[:: max(1, len(even) // 16)][:16]
    free = sum(_is_free(patient, own, port) for port in tried)
    if not free:
        findings.add("rtp.none", f"No port for sound could be opened: {len(tried)} of {low}-{high} were tried.", low=low, high=high)
    elif free < len(tried) / 2:
        findings.add("rtp.scarce", f"Only {free} of {len(tried)} ports for sound that were tried are free ({low}-{high}).", free=free)
    else:
        findings.ok("rtp", f"Ports for sound are free ({low}-{high}).", low=low, high=high)


def _is_free(patient: Patient, own: str, port: int) -> bool:
    try:
        patient.network.bind_media(own, port).close()
    except OSError:  # NetworkError is one
        return False
    return True
