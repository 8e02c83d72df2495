"""FakeFritzBox: a FRITZ!Box as far as phones in its house see it. Each habit was seen on the wire by somebody; see `docs/profiles.md`.

What it wants         a REGISTER without user part in the Request-URI, from the house, with nothing of RFC 5626 in it; the same Call-ID and
                      a higher CSeq with the credentials; INVITEs in one packet; no ACK but for an INVITE
What it does          challenges without qop and algorithm; one sound port after the other from 7078, telephone-event as 100, static types
                      without rtpmap, `a=rtcp:`; another description in the 200 than in the 183; session timers of 600 s
What it punishes      stray packets: 481, and after some of them silence for a while
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flexosip.sip.flow import Flow
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from flexosip.testing.providers.server import FakeCall, FakeServer

__all__ = ["FakeFritzBox", "Handset"]

_REALM = "fritz.box"
_LARGEST = 1300
_UNANSWERED = 32.0
"""Seconds from the 183 to plain digits until the 480."""
_ALLOW = "INVITE,ACK,OPTIONS,CANCEL,BYE,UPDATE,PRACK,INFO,SUBSCRIBE,NOTIFY,REFER,MESSAGE,PUBLISH"
_NOT_MINIMAL = ("+sip.instance", "reg-id", "+sip.ice", "ob")


@dataclass(eq=False)
class Handset:
    """A telephone of the box, by wire or DECT."""

    number: str
    """Without the stars: `610`."""
    answers: float | None = None
    """Seconds after which it answers; None: never."""
    declines: float | None = None
    """Seconds after which it declines."""
    calls: list[FakeCall] = field(default_factory=list)

    @property
    def rang(self) -> bool:
        """Whether a call has come to it."""
        return bool(self.calls)


@dataclass(eq=False)
class _Challenge:
    """What a REGISTER or INVITE was answered with."""

    nonce: str
    cseq: int


@dataclass(eq=False)
class _Device:
    """A registered phone."""

    contact: str
    flow: Flow


class FakeFritzBox(FakeServer):
    """A FRITZ!Box.

    Args:
        users: passwords of its telephony devices by user name.
        handsets: its own telephones.
        stray_limit: stray packets after which it listens no more, for `lock_out` seconds.
        answer_changes: describe the sound differently in the 200 than in the 183.
        stale_answers: send the 200 of the call before when the next INVITE comes.
    """

    product = "FRITZ!OS"

    def __init__(
        self, network: Any = None, ip: str | None = None, *, users: Mapping[str, str], handsets: Iterable[Handset] = (),
        stray_limit: int = 3, lock_out: float = 300.0, answer_changes: bool = True, stale_answers: bool = True, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(network, ip, **settings)
        self.users = dict(users)
        self.handsets = {handset.number: handset for handset in handsets}
        self.devices: dict[str, _Device] = {}
        """Registered phones by user."""
        self.dropped: list[tuple[str, str]] = []
        """(start line, why) of what it did not answer."""
        self.stray = 0
        """Stray packets so far."""
        self.stray_limit, self.lock_out = stray_limit, lock_out
        self.answer_changes, self.stale_answers = answer_changes, stale_answers
        self._house = ipaddress.ip_network(f"{self.ip}/{64 if ':' in self.ip else 24}", strict=False)
        self._locked: dict[str, float] = {}
        self._challenges: dict[str, _Challenge] = {}
        self._last_answer: tuple[bytes, Flow] | None = None

    def locked_out(self, ip: str) -> bool:
        """Whether it does not listen to that address now."""
        return float(self.host.time()) < self._locked.get(ip, 0.0)

    def listens_to(self, data: bytes, flow: Flow) -> bool:
        start = data.partition(b"\r\n")[0].decode("utf-8", "replace")
        if self.locked_out(flow.remote[0]):
            self.dropped.append((start, "locked out"))
            return False
        if ipaddress.ip_address(flow.remote[0].split("%")[0]) not in self._house:
            self.dropped.append((start, "not from the house"))
            return False
        if len(data) > _LARGEST:
            self.dropped.append((start, f"{len(data)} octets: its fragments are dropped"))
            return False
        return bool(data.strip())

    def _drop(self, request: Request, why: str) -> None:
        self.dropped.append((request.start_line, why))

    # -- requests ------------------------------------------------------------------------------------------------------

    def on_request(self, request: Request, flow: Flow, size: int) -> None:
        if request.method == "REGISTER":
            self._register(request, flow)
        elif request.method == "ACK":
            self._acknowledge(request, flow)
        elif request.method == "INVITE" and not request.to.tag:
            self._invite(request, flow)
        elif request.method == "INVITE":
            self._invite_again(request, flow)
        elif request.method == "OPTIONS":
            self.answer(request, flow, 200, headers=(("Allow", _ALLOW),))
        elif request.method == "UPDATE" and self.call_of(request) is not None:
            self.answer(request, flow, 200, headers=_timer_of(request))
        elif request.method == "PUBLISH":
            self.answer(request, flow, 400)
        elif not self.within_call(request, flow):
            self.answer(request, flow, 481)

    def _stray(self, flow: Flow) -> None:
        self.stray += 1
        if self.stray >= self.stray_limit:
            self._locked[flow.remote[0]] = self.host.time() + self.lock_out

    def on_response(self, response: Response, flow: Flow) -> None:
        if (response.via.branch or "") not in self._waiting and response.status >= 200 and response.cseq.method != "INVITE":
            self._stray(flow)
        super().on_response(response, flow)

    def _acknowledge(self, request: Request, flow: Flow) -> None:
        """An ACK is for an INVITE: to a refusal with its branch, to a 200 within its call."""
        branch = request.via.branch or ""
        if (branch, "INVITE") in self._answers or self.within_call(request, flow):
            return
        if any(call.invite.call_id == request.call_id for call in self.calls):
            return  # of a call that has just ended
        self.send(self.receipt(bytes(request.create_response(481, to_tag=self.new_tag())), flow), flow)
        self._stray(flow)

    # -- registration --------------------------------------------------------------------------------------------------

    def _register(self, request: Request, flow: Flow) -> None:
        if self.uri_user(request) is not None:
            self._drop(request, "a user part in the Request-URI")
            return
        contact = request.headers.get("Contact") or ""
        names = {part.partition("=")[0].strip().lower() for part in contact.replace(">", ";").split(";")}
        if names & set(_NOT_MINIMAL) or "outbound" in request.headers.get_all("Supported"):
            self._drop(request, "no minimal REGISTER")
            return
        user = request.to.uri.user if hasattr(request.to.uri, "user") else None
        if user not in self.users:
            self._drop(request, "a user that it does not know")
            return
        if not self._proved(request, flow, user):
            return
        expires = request.expires if request.expires is not None else 3600
        for address in request.contacts:
            told = address.parameter("expires")
            expires = int(told) if told and told.isdigit() else expires
        if expires == 0 or request.contact_star:
            self.devices.pop(user, None)
            self.answer(request, flow, 200)
            return
        self.devices[user] = _Device(str(request.contacts[0].uri), flow)
        self.answer(request, flow, 200, headers=(("Contact", f"<{request.contacts[0].uri}>;expires={expires}"), ("Expires", str(expires))))

    def _proved(self, request: Request, flow: Flow, user: str) -> bool:
        """Whether the digest is right and belongs to the challenge: the same Call-ID, a higher CSeq."""
        values = self.credentials(request)
        challenge = self._challenges.get(request.call_id)
        if (
            values is not None
            and challenge is not None
            and values.get("nonce") == challenge.nonce
            and request.cseq.number >= challenge.cseq + 1
            and values.get("username") == user
            and self.is_right(values, self.users[user], request.method)
        ):
            challenge.cseq = request.cseq.number - 1
            return True
        nonce = self.new_tag()
        self._challenges[request.call_id] = _Challenge(nonce, request.cseq.number)
        self.answer(request, flow, 401, headers=(("WWW-Authenticate", f'Digest realm="{_REALM}", nonce="{nonce}"'),))
        return False

    # -- calls of the phones -------------------------------------------------------------------------------------------

    def _invite(self, request: Request, flow: Flow) -> None:
        user = getattr(request.from_.uri, "user", None) or ""
        if user not in self.users:
            self._drop(request, "a user that it does not know")
            return
        if self.stale_answers and self._last_answer is not None:
            # Once more what the call before was answered with: only a matching of transactions tells it apart.
            data, way = self._last_answer
            self._last_answer = None
            self.send(data, way)
        if not self._proved(request, flow, user):
            return
        self.answer(request, flow, 100, tag=None)
        call = self.new_call(request, flow)
        number = self.uri_user(request) or ""
        rung = [handset for handset in self.handsets.values() if number in ("**9", f"**{handset.number}")]
        for handset in rung:
            handset.calls.append(call)
        self.run(self._ring(call, rung) if rung else self._dial_outside(call))

    async def _dial_outside(self, call: FakeCall) -> None:
        """Plain digits are a number of the outside world, where nobody is."""
        self.answer(call.invite, call.flow, 183, self.description(call), tag=call.tag, headers=(self.contact(call.flow),))
        await asyncio.sleep(_UNANSWERED)
        if not call.ended.is_set():
            self.answer(call.invite, call.flow, 480, tag=call.tag)
            call.end()

    async def _ring(self, call: FakeCall, rung: Sequence[Handset]) -> None:
        contact = self.contact(call.flow)
        self.answer(call.invite, call.flow, 183, self.description(call), tag=call.tag, headers=(contact,))
        self.answer(call.invite, call.flow, 180, tag=call.tag, headers=(contact,))
        happens = [(seconds, True) for handset in rung if (seconds := handset.answers) is not None]
        if all(handset.declines is not None for handset in rung):
            happens.append((max(handset.declines or 0.0 for handset in rung), False))
        if not happens:
            return
        seconds, answered = min(happens)
        await asyncio.sleep(seconds)
        if call.ended.is_set():
            return
        if not answered:
            self.answer(call.invite, call.flow, 603, tag=call.tag)
            call.end()
            return
        if self.answer_changes:
            self.open_sound(call)
        headers = [("Supported", "100rel,replaces,timer"), ("Allow", _ALLOW), ("Allow-Events", "telephone-event,refer")]
        if "timer" in call.invite.headers.get_all("Supported"):
            headers += [("Session-Expires", "600;refresher=uac"), ("Require", "timer")]
        self.accept(call, self.description(call, version=2 if self.answer_changes else 1), headers=headers)
        self._last_answer = (self._answers[(call.invite.via.branch or "", "INVITE")], call.flow)

    def _invite_again(self, request: Request, flow: Flow) -> None:
        call = self.call_of(request)
        if call is None:
            self.answer(request, flow, 481)
            return
        call.requests.append(request)
        call.learn(request, request.body)
        self.answer(request, flow, 200, self.description(call, version=3), tag=call.tag, headers=(self.contact(flow), *_timer_of(request)))

    def description(self, call: FakeCall, *, version: int = 1, formats: str | None = None) -> str:
        """The box's SDP: static types without rtpmap, telephone-event as 100 where the phone has it."""
        port = call.sound_port
        events = call.takes_events or call.ours
        lines = [
            "v=0",
            f"o=user {9000 + version} {9000 + version} IN {self.address_type} {self.ip}",
            "s=call",
            f"c=IN {self.address_type} {self.ip}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {formats or ('8 0 100' if events else '8 0')}",
            *(("a=rtpmap:100 telephone-event/8000", "a=fmtp:100 0-15") if events else ()),
            "a=sendrecv",
            f"a=rtcp:{port + 1}",
        ]
        return "\r\n".join(lines) + "\r\n"

    # -- calls to the phones -------------------------------------------------------------------------------------------

    async def call(self, user: str, *, caller: str = "**610", called: str = "070419491403", formats: str | None = None) -> FakeCall:
        """Call a registered phone and wait for its answer; the call then has sound.

        Args:
            caller: who calls; called: the number that was dialled, in P-Called-Party-ID. formats: of the description.

        Raises:
            AssertionError: the phone refuses. KeyError: it is not registered.
        """
        device = self.devices[user]
        flow = device.flow
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        call_id, tag = f"{self.new_tag()}@{self.ip}", self.new_tag()
        head = [
            f"INVITE {device.contact} SIP/2.0",
            self.via(flow),
            f"From: <sip:{caller}@{_REALM}>;tag={tag}",
            f"To: <{device.contact}>",
            f"Call-ID: {call_id}",
            "CSeq: 14 INVITE",
            f"Contact: <sip:{self.random.getrandbits(124):031X}@{host}:{self.port}>",
            "Max-Forwards: 70",
            f"P-Called-Party-ID: <sip:{called}@{_REALM}>",
            "Expires: 120",
            "Session-Expires: 600;refresher=uac",
            "Min-SE: 90",
            f"User-Agent: {self.product}",
            "Supported: 100rel,replaces,timer",
            "Allow-Events: telephone-event,refer",
            f"Allow: {_ALLOW}",
            "Content-Type: application/sdp",
            "Accept: application/sdp, multipart/mixed",
            "Accept-Encoding: identity",
        ]
        draft = parse_message("\r\n".join([*head, "Content-Length: 0", "", ""]).encode())
        assert isinstance(draft, Request)
        call = self.new_call(draft, flow, ours=True)
        call.tag = tag
        body = self.description(call, formats=formats)
        data = "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()
        response = await self.ask(data, flow)
        assert response.status == 200, f"the phone answers {response.start_line}"
        call.remote_tag = response.to.tag or ""
        call.learn(response, response.body)
        call.answered = call.acknowledged = True
        call.acknowledge()
        return call

    async def press(self, call: FakeCall, digits: str) -> None:
        """Keys of the box's side: by RFC 4733 if the phone takes it, else by INFO (application/dtmf-relay)."""
        for digit in digits:
            if call.takes_events:
                assert call.sound is not None and call.remote_sound is not None
                await call.sound.press(call.remote_sound, digit, payload_type=100 if call.ours else 101)
                await asyncio.sleep(0.1)
            else:
                await call.ask("INFO", f"Signal={digit}\r\nDuration=250\r\n", "application/dtmf-relay")


def _timer_of(request: Request) -> tuple[tuple[str, str], ...]:
    told = request.headers.get("Session-Expires")
    return (("Session-Expires", told), ("Require", "timer")) if told is not None else ()
