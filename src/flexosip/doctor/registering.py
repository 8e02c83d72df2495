"""Registering, as configured and then in safe variants: what works, and which setting that is.

A password that is refused is shown at most twice, whatever variants are left: more could lock the account (RFC 3261 §22 does not bound it,
providers do). Variants that no password is shown in (no answer, an unknown domain) are bounded by their number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.advice import Advice, status_advice
from flexosip.doctor.echo import check_echo
from flexosip.errors import AuthenticationError, CertificateError, FlexosipError, RegistrationFailed, ServerUnreachable
from flexosip.net.address import is_house_name

if TYPE_CHECKING:
    from flexosip.doctor.patient import Patient
    from flexosip.doctor.server import Transports
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.account import Account
    from flexosip.sip.message import Response
    from flexosip.sip.registration import RegistrationEvent

__all__ = ["check_registration"]

_MOST_SHOWN = 2
"""Times that a password may be refused."""
_MOST_VARIANTS = 6
_FIRST_PATIENCE = 15.0
_SHORT = 60.0
"""Seconds: a registration that is granted for less costs more traffic than calls."""


@dataclass(frozen=True, slots=True)
class _Variant:
    """Another way to register."""

    words: str
    """The setting, as it is written: `--auth-user alice@provider.test`."""
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Try:
    """How one way went."""

    error: FlexosipError | None
    status: int
    """Of the last final answer; 0: there was none."""
    refused: int
    """How often credentials were refused in it."""
    expires: float
    messages: tuple[WireMessage, ...]
    response: Response | None


async def check_registration(patient: Patient, transports: Transports) -> bool:
    """True when the account is registered as configured, and unregistered again."""
    first = await _try(patient, {}, _FIRST_PATIENCE)
    _look_at_echo(patient, first)
    if first.error is None:
        _tell_success(patient, first)
        return True
    _tell_failure(patient, first)
    if isinstance(first.error, CertificateError):
        return False  # no setting of the account helps
    shown, tried = first.refused, 0
    left = list(_variants(patient, transports, first))[:_MOST_VARIANTS]
    for position, variant in enumerate(left):
        if shown >= _MOST_SHOWN:
            rest = ", ".join(each.words for each in left[position:])
            patient.findings.add("register.stopped", f"The password was refused {shown} times; not tried: {rest}.", tried=tried)
            return False
        attempt = await _try(patient, variant.changes, patient.patience + 1)
        tried += 1
        shown += attempt.refused
        if attempt.error is None:
            found = f"Registering works with {variant.words}."
            patient.findings.add("register.variant", found, words={"setting": variant.words}, setting=variant.words)
            return False
    if tried:
        names = ", ".join(variant.words for variant in left)
        patient.findings.ok("register.variants", f"Registering does not work in other ways either ({names}).", tried=tried)
    return False


async def _try(patient: Patient, changes: dict[str, Any], patience: float) -> _Try:
    phone = patient.phone(**changes)
    tap: list[WireMessage] = []
    phone.on_wire(tap.append)
    responses: list[Response] = []
    error: FlexosipError | None = None
    expires = 0.0

    def note(_: Account, event: RegistrationEvent) -> None:
        if event.response is not None:
            responses.append(event.response)

    phone.on_registration(note)
    try:
        await phone.start(timeout=patience)
        registration = await phone.wait_registered(1.0)
        expires = (registration.expires_at or 0.0) - patient.network.time()
    except FlexosipError as failure:
        error = failure
    finally:
        await phone.close()
    # the first tells how it went; what comes later belongs to the end
    response = responses[0] if responses else None
    status = response.status if response is not None else 200 if error is None else 0
    return _Try(error, status, _refused(tap), expires, tuple(tap), response)


def _refused(tap: list[WireMessage]) -> int:
    """How often a REGISTER with credentials got 401, 403 or 407: each may count towards a lock."""
    waiting: set[bytes] = set()
    count = 0
    for message in tap:
        branch = message.data.partition(b"branch=")[2].partition(b"\r\n")[0].partition(b";")[0]
        if message.direction == "out" and message.data.startswith(b"REGISTER ") and b"\r\nExpires: 0\r\n" not in message.data:
            if b"\r\nAuthorization:" in message.data or b"\r\nProxy-Authorization:" in message.data:
                waiting.add(branch)
        elif message.data.startswith((b"SIP/2.0 401", b"SIP/2.0 403", b"SIP/2.0 407")) and branch in waiting:
            waiting.discard(branch)
            count += 1
    return count


def _look_at_echo(patient: Patient, attempt: _Try) -> None:
    sent = [message for message in attempt.messages if message.direction == "out" and message.data.startswith(b"REGISTER ")]
    seen = tuple(message for message in attempt.messages if message.direction == "in")
    for message in sent:
        check_echo(patient, message, seen)


def _tell_success(patient: Patient, attempt: _Try) -> None:
    told: dict[str, Any] = {"expires": round(attempt.expires)}
    if attempt.expires < _SHORT:
        patient.findings.add("register.short", f"The registrar registers for {attempt.expires:.0f} s only.", **told)
    else:
        patient.findings.ok("register", f"{patient.aor} is registered for {attempt.expires:.0f} s, and unregistered again.", **told)


def _tell_failure(patient: Patient, attempt: _Try) -> None:
    error, findings, account = attempt.error, patient.findings, patient.account
    assert error is not None
    details: dict[str, Any] = {"status": attempt.status}
    if isinstance(error, CertificateError):
        findings.add("certificate.refused", str(error), Advice("", error.advice), **details)
    elif isinstance(error, AuthenticationError):
        if account.digest is None and attempt.status in (401, 407):
            findings.add("register.no-password", f"The registrar wants a password ({attempt.status}), and there is none.", **details)
            return
        name = "register.credentials" if attempt.refused else "register.unwanted"
        findings.add(name, str(error), _status_advice(patient, attempt), **details)
    elif isinstance(error, RegistrationFailed):
        kind = "register.server" if attempt.status >= 500 else "register.refused"
        findings.add(kind, str(error), _status_advice(patient, attempt), **details)
    elif isinstance(error, ServerUnreachable):
        silent = "register.silent-box" if is_house_name(account.server.host) else "register.silent"
        findings.add(silent, f"The registrar {account.server_text} gives no answer to REGISTER.", **details)
    else:
        findings.add("register.network", str(error), Advice("", error.advice), **details)


def _status_advice(patient: Patient, attempt: _Try) -> Advice | None:
    headers = attempt.response.headers if attempt.response is not None else None
    account = patient.account
    return status_advice(
        attempt.status, request="REGISTER", server=account.server.host, headers=headers, credentials=account.digest is not None
    )


def _variants(patient: Patient, transports: Transports, first: _Try) -> Iterator[_Variant]:
    """What may help after `first`, the likeliest first."""
    account, settings = patient.account, patient.settings
    user, host = account.aor.unescaped_user or "", account.aor.host
    auth_user: str | None = settings.get("auth_user")
    silent = isinstance(first.error, ServerUnreachable)
    if silent or first.status in (0, 405, 408, 501):
        # registering is what failed: another transport whose OPTIONS was answered comes first
        names = [*transports.others, *(name for name in ("tcp", "udp") if name not in transports.others)]
        for name in names:
            # an account that is reached by TLS is never tried without it
            if name != transports.own and transports.own in ("udp", "tcp"):
                yield _Variant(f"--transport {name}", {"transport": name})
    reach = patient.phone().reach
    if reach.outbound is not False:
        yield _Variant("outbound = no", {"reach": dataclasses.replace(reach, outbound=False)})
    if auth_user is not None and auth_user != user and "@" not in auth_user:
        yield _Variant(f"--account sip:{auth_user}@{host}", {"aor": f"sip:{auth_user}@{account.aor.host_port}", "auth_user": None})
    elif auth_user is None and settings.get("password") is not None and first.status in (401, 403, 407):
        yield _Variant(f"--auth-user {user}@{host}", {"auth_user": f"{user}@{host}"})
    registrar = account.registrar
    if registrar is not None and registrar.host != host:
        aor = f"sip:{account.aor.user}@{registrar.host_port}"
        yield _Variant(f"--account {aor} without --registrar", {"aor": aor, "registrar": None})
    if user != user.lower():
        yield _Variant(f"--account sip:{user.lower()}@{account.aor.host_port}", {"aor": f"sip:{user.lower()}@{account.aor.host_port}"})
    if account.proxy is not None and silent:
        yield _Variant("no --proxy", {"proxy": None})
