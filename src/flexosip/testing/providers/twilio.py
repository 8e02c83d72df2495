"""FakeTwilioTrunk: a trunk without registration that knows its customers by address, by the domain they call and by their numbers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from typing import Any

from flexosip.sip.flow import Flow
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import SipUri
from flexosip.testing.providers.server import FakeCall, FakeServer

__all__ = ["FakeTwilioTrunk"]

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CRYPTO = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:h77xBx3cFE4uhlQtSlBa4a8veOdxnbd6OBxy2bAy"


class FakeTwilioTrunk(FakeServer):
    """An Elastic SIP trunk.

    Args:
        domain: of the trunk, `NAME.pstn.twilio.com`.
        allowed: addresses that may call out.
        numbers: of the trunk, which callers may show.
        secure_sound: SRTP and nothing else.
    """

    product = "Twilio Gateway"

    def __init__(
        self, network: Any = None, ip: str | None = None, *, domain: str, allowed: Collection[str], numbers: Collection[str],
        secure_sound: bool = False, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(network, ip, **settings)
        self.domain, self.allowed, self.numbers, self.secure_sound = domain, frozenset(allowed), frozenset(numbers), secure_sound
        self.answers: list[Response] = []
        """What phones answered to our INVITEs."""
        self.dropped_legs = 0
        """Calls ended because the answer had RTP/AVP for an offer of RTP/SAVP."""

    def on_request(self, request: Request, flow: Flow, size: int) -> None:
        if request.method == "INVITE" and not request.to.tag:
            self._invite(request, flow)
        elif request.method == "ACK" or self.call_of(request) is not None:
            self.within_call(request, flow)
        elif request.method == "OPTIONS":
            self.answer(request, flow, 200)
        else:
            # There is no registrar behind a trunk.
            self.answer(request, flow, 405, headers=(("Allow", "ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY"),))

    def _refusal(self, request: Request, flow: Flow) -> tuple[int, str] | None:
        """(status, why) of a call that it does not take."""
        uri, caller = request.uri, getattr(request.from_.uri, "user", None) or ""
        if not isinstance(uri, SipUri) or uri.host != self.domain:
            return 404, "No trunk of this domain"
        if flow.remote[0] not in self.allowed:
            return 403, "Address is not in the access control list"
        if _E164.fullmatch(uri.user or "") is None:
            return 400, "Number is not in E.164"
        if caller not in self.numbers:
            return 403, "Caller id is no number of the trunk"
        return None

    def _invite(self, request: Request, flow: Flow) -> None:
        self.answer(request, flow, 100, tag=None)
        refusal = self._refusal(request, flow)
        if refusal is not None:
            self.answer(request, flow, refusal[0], reason=refusal[1])
            return
        if self.secure_sound and b"RTP/SAVP" not in request.body:
            self.answer(request, flow, 488, reason="Secure media is required")
            return
        call = self.new_call(request, flow)
        self.answer(request, flow, 180, tag=call.tag, headers=(self.contact(flow),))
        self.accept(call, self.description(call))

    def description(self, call: FakeCall) -> str:
        """Its SDP."""
        port = call.sound_port
        profile, crypto = ("RTP/SAVP", f"{_CRYPTO}\r\n") if self.secure_sound else ("RTP/AVP", "")
        return (
            f"v=0\r\no=root 1311022221 1311022221 IN IP4 {self.ip}\r\ns=Twilio Media Gateway\r\nc=IN IP4 {self.ip}\r\nt=0 0\r\n"
            f"m=audio {port} {profile} 0 8 101\r\n{crypto}a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
        )

    async def call(self, target: str, *, caller: str = "+12025550199") -> FakeCall:
        """Call a phone at its origination address, with the headers of a real call, Content-Length and Content-Type twice.

        Returns:
            The call; refused ones are over. `answers` has the phone's word.
        """
        uri = SipUri.parse(target)
        found: asyncio.Future[Flow] = asyncio.get_running_loop().create_future()

        def located(flow: Flow | None, error: Exception | None) -> None:
            if flow is None:
                found.set_exception(error or OSError(target))
            else:
                found.set_result(flow)

        self.driver.locate(uri, 1200, None, located)
        flow = await found
        tag, call_id = self.new_tag(), f"{self.random.getrandbits(128):032x}@0.0.0.0"
        transport = f";transport={flow.transport}"
        head = [
            f"INVITE {uri} SIP/2.0",
            f"Record-Route: <sip:{self.ip}:{self.port}{transport};lr>",
            f"From: <sip:{caller}@{self.domain}:5060>;tag={tag}",
            f"To: <{uri}>",
            "CSeq: 29044 INVITE",
            "Max-Forwards: 60",
            f"P-Asserted-Identity: <sip:{caller}@198.51.100.12:5060>",
            f"Diversion: <sip:{uri.user}@twilio.com>;reason=unconditional",
            f"Call-ID: {call_id}",
            self.via(flow),
            f"Via: SIP/2.0/UDP 172.25.75.240:5060;rport=5060;branch=z9hG4bK{self.new_tag()}",
            f"Contact: <sip:{caller}@172.25.75.240:5060;transport=udp>",
            "Allow: ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY",
            "X-Twilio-AccountSid: AC00000000000000000000000000000000",
            f"User-Agent: {self.product}",
            "Content-Type: application/sdp",
        ]
        draft = parse_message("\r\n".join([*head, "Content-Length: 0", "", ""]).encode())
        assert isinstance(draft, Request)
        call = self.new_call(draft, flow, ours=True)
        call.tag = tag
        body = self.description(call)
        length = len(body)
        twice = [f"Content-Length: {length}", "Content-Type: application/sdp", f"Content-Length:   {length}"]
        response = await self.ask("\r\n".join([*head, *twice, "", body]).encode(), flow)
        self.answers.append(response)
        call.remote_tag = response.to.tag or ""
        call.learn(response, response.body)
        if response.status >= 300:
            call.end()
            return call
        call.answered = call.acknowledged = True
        call.acknowledge()
        if self.secure_sound and b"RTP/SAVP" not in response.body:
            self.dropped_legs += 1
            await call.bye(("Reason", 'Q.850;cause=127;text="Interworking, unspecified"'))
        return call
