"""The server: whether it answers over each transport, how fast, with which certificate, and large requests too.

RFC 3261 §11 (OPTIONS), §18.1.1 (size); RFC 5922 (certificates)
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from flexosip.advice import Advice
from flexosip.doctor.echo import check_echo
from flexosip.doctor.patient import Answer, ask, over
from flexosip.errors import CertificateError, FlexosipError
from flexosip.net.opening import Destination, open_connection
from flexosip.net.tls import TlsContexts
from flexosip.net.tls_stream import TlsStream
from flexosip.sip.next_hop import SECURE_TRANSPORTS, WEB_TRANSPORTS, default_port
from flexosip.sip.status import reason_phrase

if TYPE_CHECKING:
    from flexosip.doctor.patient import Patient

__all__ = ["Transports", "check_certificate", "check_large", "check_transports", "tell_silence"]

_EXPIRES_SOON = 14 * 86400.0
_SLOW = 1.0
_LARGE = 1700
"""Octets of padding: with it no usual path carries the request in one packet."""


class Transports:
    """What came over each transport.

    Attributes:
        own: the transport that the account uses. answers: by transport.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self.answers: dict[str, Answer] = {}
        self.silent_for: float | None = None
        """Seconds for which the server left OPTIONS unanswered, over all transports; None: it did not."""

    @property
    def works(self) -> bool:
        """Whether the account's own transport carries an answer."""
        answer = self.answers.get(self.own)
        return answer is not None and answer.response is not None

    @property
    def others(self) -> list[str]:
        """The other transports that carry one."""
        return [name for name, answer in self.answers.items() if answer.response is not None and name != self.own]

    @property
    def best(self) -> Answer | None:
        """The answer over the account's transport, else any."""
        found = [self.answers[name] for name in (self.own, *self.answers) if name in self.answers]
        return next((answer for answer in found if answer.response is not None), None)


async def check_transports(patient: Patient) -> Transports:
    """Ask over UDP, TCP and TLS, the account's own transport first; for an account that is reached by TLS nothing leaves in the clear."""
    account = patient.account
    own = account.server.transport or ("tls" if account.server.scheme == "sips" else "udp")
    transports = Transports(own)
    alone = own in WEB_TRANSPORTS or own in SECURE_TRANSPORTS
    for name in [own] if alone else dict.fromkeys((own, "udp", "tcp", "tls")):
        async with patient.asking() as (phone, running, tap):
            answer = await ask(phone, running, tap, transport=None if name == own else name, patience=patient.patience)
        transports.answers[name] = answer
        if answer.request is not None:
            check_echo(patient, answer.request, answer.seen)
    for name, answer in transports.answers.items():
        if name == own:
            _judge_own(patient, transports, answer)
        else:
            _tell_other(patient, name, answer)
    return transports


def _judge_own(patient: Patient, transports: Transports, answer: Answer) -> None:
    findings, name, response = patient.findings, transports.own, answer.response
    where = patient.account.server_text
    details: dict[str, Any] = {"transport": name, "seconds": round(answer.seconds, 4)}
    if response is not None:
        said = f"{where} answers by {name.upper()} in {answer.seconds * 1000:.0f} ms: {response.status} {reason_phrase(response.status)}."
        if answer.sent > 1 and name == "udp":
            findings.add("server.lossy", f"{where} answers only after the question was sent {answer.sent} times.", **details)
        elif answer.seconds > _SLOW:
            findings.add("server.slow", f"{where} takes {answer.seconds:.1f} s to answer.", **details)
        else:
            findings.ok("server", said, status=response.status, server=response.headers.get("Server") or "", **details)
    elif isinstance(answer.error, CertificateError):
        findings.add("certificate.refused", str(answer.error), Advice("", answer.error.advice), **details)
    elif transports.others:
        other = transports.others[0]
        findings.add(
            "server.other-transport", f"{where} is silent by {name.upper()}, and answers by {other.upper()}.", words={"transport": other},
            **details,
        )  # fmt: skip
    elif isinstance(answer.error, FlexosipError):
        findings.add("server.refused", str(answer.error), Advice("", answer.error.advice), **details)
    else:
        # Some leave OPTIONS unanswered: whether it is ill, registering will tell.
        transports.silent_for = answer.seconds


def tell_silence(patient: Patient, transports: Transports, registered: bool) -> None:
    """What it means that OPTIONS was left unanswered."""
    if transports.silent_for is None:
        return
    where, name = patient.account.server_text, transports.own.upper()
    if registered:
        patient.findings.add("server.no-options", f"{where} leaves OPTIONS unanswered, and registers.", transport=transports.own)
    else:
        found = f"{where} gives no answer by {name} in {transports.silent_for:.0f} s."
        patient.findings.add("server.silent", found, transport=transports.own)


def _tell_other(patient: Patient, name: str, answer: Answer) -> None:
    where = patient.account.server_text
    if answer.response is not None:
        text = f"{where} answers by {name.upper()} too, in {answer.seconds * 1000:.0f} ms."
    elif answer.error is not None:
        text = f"{name.upper()} is not to be had there: {answer.error}"
    else:
        text = f"{name.upper()} is not to be had there: no answer."
    patient.findings.ok(f"server.{name}", text, transport=name, answers=answer.response is not None)


async def check_certificate(patient: Patient, transports: Transports, server: str) -> None:
    """The certificate that the server shows, if it speaks TLS."""
    name = next((each for each in (transports.own, "tls") if each in SECURE_TRANSPORTS), "tls")
    answer = transports.answers.get(name)
    if answer is None or answer.response is None or answer.flow is None:
        return
    phone = patient.phone()
    hop = phone.accounts[0].server if name == transports.own else over(phone.accounts[0].server, name)
    port = hop.port or default_port(name)
    remote = answer.flow.remote if answer.flow is not None else (server, port)
    to = Destination(remote, "tls", (hop.service_domain or hop.host).rstrip("."))
    try:
        connection, _ = await open_connection(
            patient.network, TlsContexts(phone.tls), to, timeout=patient.patience, handshake_timeout=patient.patience
        )
    except FlexosipError as error:
        patient.findings.add("certificate.refused", str(error), Advice("", error.advice), transport=name)
        return
    try:
        certificate = connection.certificate if isinstance(connection, TlsStream) else None
    finally:
        connection.abort()
    until = (certificate or {}).get("notAfter")
    if until is None:
        return
    left = ssl.cert_time_to_seconds(until) - patient.machine.now()
    days = int(left // 86400)
    if left < _EXPIRES_SOON:
        patient.findings.add("certificate.soon", f"The certificate of {to.domain} expires in {days} days, on {until}.", days=days)
    else:
        patient.findings.ok("certificate", f"The certificate of {to.domain} is good for {days} days.", days=days)


async def check_large(patient: Patient, transports: Transports) -> None:
    """Whether a request that needs two packets gets there by UDP."""
    small = transports.answers.get("udp")
    if small is None or small.response is None:
        return
    async with patient.asking() as (phone, account, tap):
        answer = await ask(phone, account, tap, transport="udp", padding=_LARGE, patience=patient.patience)
    size = len(answer.request.data) if answer.request is not None else _LARGE
    if answer.response is not None and answer.response.status != 513:
        patient.findings.ok("large", f"A request of {size} octets gets through by UDP.", octets=size)
    else:
        became = "is refused as too large" if answer.response is not None else "is lost"
        patient.findings.add("large.lost", f"A request of {size} octets {became} by UDP, small ones are not.", octets=size)
