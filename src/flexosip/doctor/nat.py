"""Address translation between us and the server, told from how the server and a STUN server see us.

RFC 3581 (received, rport); RFC 8489 (STUN); RFC 4787 §4.1 (mapping); RFC 6598 (carriers' addresses)
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
from typing import TYPE_CHECKING, Any

from flexosip.doctor.patient import ask
from flexosip.net.address import canonical_ip, is_house_name
from flexosip.phone.connectivity.reach import Reach

if TYPE_CHECKING:
    from flexosip.doctor.patient import Answer, Patient
    from flexosip.doctor.server import Transports

__all__ = ["check_nat"]

_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_KEEP_ALIVE_NEEDED = 60.0


async def check_nat(patient: Patient, transports: Transports) -> None:
    """What the server sees of us."""
    answer = transports.answers.get("udp")
    if answer is None or answer.response is None or answer.flow is None:
        return
    own = answer.flow.local
    seen = _seen_as(answer)
    details: dict[str, Any] = {"own": list(own), "seen": list(seen) if seen is not None else None}
    if seen is None:
        if not is_house_name(answer.flow.remote[0]) and is_house_name(own[0]):
            found = f"The server {answer.flow.remote[0]} does not tell how it sees us."
            patient.findings.add("nat.no-rport", found, **details)
        return
    if seen == own:
        patient.findings.ok("nat", "There is no address translation between us and the server.", **details)
        return
    _judge(patient, own, seen, details)
    _check_keep_alive(patient, details)
    await _check_mapping(patient)


def _judge(patient: Patient, own: tuple[str, int], seen: tuple[str, int], details: dict[str, Any]) -> None:
    said = f"The server sees us at {seen[0]}:{seen[1]}, we are {own[0]}:{own[1]}"
    address = ipaddress.ip_address(seen[0].partition("%")[0])
    if address.version == 4 and address in _CARRIER:
        patient.findings.add("nat.carrier", f"{said}; that is an address that providers share among customers.", **details)
    elif is_house_name(seen[0]) and is_house_name(own[0]) and seen[0] != own[0]:
        patient.findings.add("nat.inner", f"{said}: something within the house translates addresses.", **details)
    elif seen[0] == own[0]:
        patient.findings.add("nat.port", f"{said}: only the port is changed.", **details)
    else:
        patient.findings.ok("nat", f"{said}: an address translation, which flexosip copes with.", **details)


def _check_keep_alive(patient: Patient, details: dict[str, Any]) -> None:
    reach: Reach = patient.phone().reach
    if reach.keep_alive == "none":
        patient.findings.add("nat.keep-alive", "Behind this address translation nothing keeps the way to us open.", **details)
    elif reach.keep_alive_interval > _KEEP_ALIVE_NEEDED:
        found = f"The way to us is kept open only every {reach.keep_alive_interval:g} s."
        patient.findings.add("nat.keep-alive", found, **details)


async def _check_mapping(patient: Patient) -> None:
    """Whether another server sees us at the same port (RFC 4787 §4.1)."""
    reach: Reach = patient.phone().reach
    if reach.stun_server is None:
        return
    async with patient.asking(reach=dataclasses.replace(reach, outbound=False)) as (phone, account, tap):
        public = phone.signalling.public_address
        mapped = public.mapped if public is not None else None
        if mapped is None:
            patient.findings.add("nat.stun-silent", f"The STUN server {reach.stun_server} gives no answer.", server=reach.stun_server)
            return
        seen = _seen_as(await ask(phone, account, tap, transport="udp", patience=patient.patience))
        await asyncio.sleep(0)
    if seen is None:
        return
    told: dict[str, Any] = {"stun": list(mapped), "server": list(seen)}
    both = f"the STUN server sees us at {mapped[0]}:{mapped[1]}, the SIP server at {seen[0]}:{seen[1]}"
    if mapped[0] != seen[0]:
        patient.findings.add("nat.two-ways", f"There are two ways out: {both}.", **told)
    elif mapped[1] != seen[1]:
        patient.findings.add("nat.symmetric", f"The translation gives each destination a port of its own: {both}.", **told)
    else:
        patient.findings.ok("nat.mapping", f"The translation keeps one port for all destinations ({mapped[0]}:{mapped[1]}).", **told)


def _seen_as(answer: Answer) -> tuple[str, int] | None:
    """Our address as the response tells it; None if it tells nothing."""
    response, flow = answer.response, answer.flow
    if response is None or flow is None:
        return None
    via = response.via
    if via.rport is None and via.received is None:
        return None
    host = canonical_ip(via.received.strip("[]")) if via.received is not None else None
    return host or flow.local[0], via.rport or flow.local[1]
