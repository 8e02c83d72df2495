"""The course of an examination: from the machine up to the sound; what cannot work without what failed is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flexosip.doctor.calling import check_call, check_codecs
from flexosip.doctor.finding import Finding, Findings
from flexosip.doctor.machine import Machine
from flexosip.doctor.nat import check_nat
from flexosip.doctor.patient import Patient
from flexosip.doctor.registering import check_registration
from flexosip.doctor.server import Transports, check_certificate, check_large, check_transports, tell_silence
from flexosip.doctor.surroundings import check_clock, check_names, check_parts, check_ports, check_route
from flexosip.errors import ConfigurationError
from flexosip.net.real import RealNetwork

__all__ = ["examine"]


async def examine(
    aor: str,
    *,
    call: str | None = None,
    register: bool = True,
    clock: Any = None,
    network: Any = None,
    machine: Machine | None = None,
    patience: float = 4.0,
    on_finding: Callable[[Finding], object] | None = None,
    **settings: Any,
) -> list[Finding]:
    """Examine an account and the way to its server.

    Args:
        aor: the account, `sip:user@host[:port]`.
        call: a number or address to call for some seconds, best one with an echo or an announcement; None: none is called.
        register: False: the registrar is not asked, no password is used.
        clock, network: the virtual ones of `flexosip.simulation`.
        machine: facts about the machine; None: this one's.
        patience: seconds to wait for one answer.
        on_finding: called with each finding as soon as it is there.
        settings: further arguments of `Phone`: password, registrar, transport, reach, ...

    Returns:
        all findings, in the order in which they build on each other: the first problem is the likeliest root of those behind it.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    if not 0.5 <= patience <= 60:
        raise ConfigurationError(f"patience={patience}: 0.5 to 60 seconds.")
    if network is None:
        network = RealNetwork(asyncio.get_running_loop())
    elif hasattr(network, "host"):
        network = network.host()
    findings = Findings(on_finding)
    patient = Patient({**settings, "aor": aor}, network, clock, machine or Machine.this(), findings, patience)
    patient.account  # noqa: B018 - a setting that cannot be used is told before anything else
    check_parts(patient)
    server = None if findings.has("parts.web") else await check_names(patient)
    own = check_route(patient, server) if server is not None else None
    if server is None or own is None:
        check_clock(patient, None)
        return findings.all
    await check_ports(patient, own)
    transports = await check_transports(patient)
    best = transports.best
    check_clock(patient, best.response if best is not None else None)
    await check_certificate(patient, transports, server)
    await check_nat(patient, transports)
    await check_large(patient, transports)
    check_codecs(patient, best.response if best is not None else None)
    registered = await _register(patient, transports) if register and not findings.has("certificate.refused") else False
    if not register:
        tell_silence(patient, transports, False)
    if call is not None and (registered or not register):
        await check_call(patient, call, register=register)
    return findings.all


async def _register(patient: Patient, transports: Transports) -> bool:
    """Register; what a server's silence means is told before, and known only afterwards."""
    registered = False
    patient.findings.hold()
    try:
        registered = await check_registration(patient, transports)
    finally:
        patient.findings.release(lambda: tell_silence(patient, transports, registered))
    return registered
