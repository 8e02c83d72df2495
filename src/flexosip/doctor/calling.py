"""A call to a test extension: codec, keys, and whether sound goes both ways.

RFC 3264, RFC 4733 (keys), RFC 3550 §6.4 (reports)
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from flexosip.advice import Advice, status_advice
from flexosip.audio.levels import level
from flexosip.audio.sources import Tone
from flexosip.errors import AuthenticationError, CallEnded, CallFailed, FlexosipError, NoAnswer
from flexosip.net.address import is_house_name

if TYPE_CHECKING:
    from flexosip.doctor.patient import Patient
    from flexosip.media.statistics import MediaStatistics
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone
    from flexosip.sip.message import Response

__all__ = ["check_call", "check_codecs"]

_LISTEN = 6.0
"""Seconds of the call: the first RTCP reports come after about five."""
_RING = 40.0
"""Seconds: a FRITZ!Box takes 32 to say 480 to a number that does not exist."""
_SILENT = -60.0
"""dBFS: below it nobody speaks, not even an announcement's room."""
_MUCH_LOST = 0.05
_OFFERED = re.compile(rb"(?im)^a=rtpmap:\d+ ([A-Za-z0-9._-]+)/")
_STATIC = {b"0": "PCMU", b"8": "PCMA", b"9": "G722", b"3": "GSM", b"18": "G729"}
_AUDIO = re.compile(rb"(?m)^m=audio \d+ \S+ ([\d ]+)")
_CONNECTION = re.compile(rb"(?m)^c=IN IP[46] ([0-9A-Fa-f.:]{2,45})")


def check_codecs(patient: Patient, response: Response | None) -> None:
    """What the server tells of its codecs in the answer to OPTIONS (RFC 3261 §11.2); many tell nothing."""
    theirs = _codecs(response.body) if response is not None else []
    if not theirs:
        return
    ours = [spec.name for spec in patient.phone().formats]
    common = [name for name in ours if name.upper() in {each.upper() for each in theirs}]
    told: dict[str, Any] = {"ours": ours, "theirs": theirs}
    if common:
        patient.findings.ok("codecs", f"The server has codecs of ours: {', '.join(common)}.", **told)
    else:
        found = f"The server has {', '.join(theirs)}, we offer {', '.join(ours)}."
        patient.findings.add("codecs.none", found, **told)


def _codecs(body: bytes) -> list[str]:
    audio = _AUDIO.search(body)
    if audio is None:
        return []
    named = [name.decode("ascii") for name in _OFFERED.findall(body)]
    names = [*named, *(_STATIC[number] for number in audio[1].split() if number in _STATIC)]
    return [name for name in dict.fromkeys(names) if name.lower() not in ("telephone-event", "cn")]


async def check_call(patient: Patient, target: str, *, register: bool) -> None:
    """Call `target`, send a tone, listen.

    Args:
        register: whether the account is to be registered for it.
    """
    phone = patient.phone(register=register)
    tap: list[WireMessage] = []
    phone.on_wire(tap.append)
    try:
        await phone.start()
        async with phone.call(target, ring_timeout=_RING) as call:
            loudest = await _listen(call)
            statistics = call.statistics()
            codec = call.codec
    except (CallFailed, AuthenticationError) as error:
        rang = any(message.direction == "in" and message.data.startswith(b"SIP/2.0 18") for message in tap)
        _tell_failure(patient, target, error, rang)
        return
    except FlexosipError as error:
        patient.findings.add("call.failed", str(error), Advice("", error.advice), target=target)
        return
    finally:
        await phone.close()
    _tell_agreement(patient, phone, tap, codec)
    if statistics is not None:
        _tell_sound(patient, target, statistics, loudest)


async def _listen(call: Call) -> float:
    """Play a tone and listen; the level of the loudest 20 ms, dBFS."""
    loudest = -120.0
    stream = call.audio(8000)
    playback = call.play(Tone(440.0, duration=_LISTEN))

    async def listen() -> None:
        nonlocal loudest
        async for frame in stream:
            loudest = max(loudest, level(frame))

    listening = asyncio.ensure_future(listen())
    try:
        async with asyncio.timeout(_LISTEN):
            await call.wait_ended()
    except (TimeoutError, CallEnded):
        pass  # usual: who is called for a test seldom hangs up first
    finally:
        playback.stop()
        listening.cancel()
        await asyncio.wait((listening,))
    return loudest


def _tell_failure(patient: Patient, target: str, error: CallFailed | AuthenticationError, rang: bool) -> None:
    if isinstance(error, NoAnswer) and not rang:
        patient.findings.add("call.failed", f"The call to {target} got no answer in {_RING:.0f} s, not even that it rings.", target=target)
        return
    if isinstance(error, NoAnswer):
        patient.findings.add("call.no-answer", f"{target} rang for {_RING:.0f} s and nobody answered.", target=target)
        return
    headers = getattr(error, "headers", None)
    advice = status_advice(error.status, request="INVITE", server=patient.account.server.host, target=target, headers=headers)
    name = "call.credentials" if isinstance(error, AuthenticationError) else "call.media" if error.status in (488, 606) else "call.refused"
    patient.findings.add(name, f"The call to {target}: {error}", advice, target=target, status=error.status)


def _tell_agreement(patient: Patient, phone: Phone, tap: list[WireMessage], codec: str | None) -> None:
    answers = [
        message for message in tap
        if message.direction == "in" and message.data.startswith(b"SIP/2.0 200") and _AUDIO.search(message.data) is not None
    ]  # fmt: skip
    if not answers:
        return
    body = answers[-1].data.partition(b"\r\n\r\n")[2]
    if b"telephone-event/" in body.lower():
        patient.findings.ok("dtmf", f"The call has the codec {codec}; keys go as RFC 4733.", codec=codec)
    else:
        patient.findings.add("dtmf.none", f"The call has the codec {codec}; for keys nothing was agreed on.", codec=codec)
    connection = _CONNECTION.search(body)
    if connection is not None:
        host, server = connection[1].decode("ascii"), answers[-1].remote[0]
        if is_house_name(host) and not is_house_name(server):
            found = f"The other side wants its sound at the private address {host}, though its server is {server}."
            patient.findings.add("call.private-address", found, host=host)


def _tell_sound(patient: Patient, target: str, statistics: MediaStatistics, loudest: float) -> None:
    findings = patient.findings
    told: dict[str, Any] = {"sent": statistics.packets_sent, "received": statistics.packets_received, "level": round(loudest, 1)}
    if not statistics.packets_received:
        findings.add("call.no-sound", f"{statistics.packets_sent} packets of sound went to {target}, none came back.", **told)
        return
    if statistics.fraction_lost > _MUCH_LOST:
        findings.add("call.loss", f"{statistics.fraction_lost:.0%} of the sound from {target} was lost.", lost=statistics.fraction_lost)
    if statistics.packets_sent and statistics.remote_lost > statistics.packets_sent * _MUCH_LOST:
        findings.add("call.far-loss", f"The other side misses {statistics.remote_lost} of our {statistics.packets_sent} packets.", **told)
    if loudest < _SILENT:
        findings.add("call.silence", f"{statistics.packets_received} packets came from {target}, all of them silence.", **told)
    elif not findings.has("call.loss") and not findings.has("call.far-loss"):
        heard = "; the other side reports what it gets" if statistics.rtcp_received else ""
        findings.ok("call", f"Sound goes both ways with {target}, up to {loudest:.0f} dBFS{heard}.", **told)
