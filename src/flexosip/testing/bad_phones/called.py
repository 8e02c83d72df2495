"""Bad phones that are bad at being called: answers in the wrong order, too many, too late, without what belongs in them."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.sip.message import Request
from flexosip.testing.bad_phones.plain import TONE, Expected, PlainPhone
from flexosip.testing.peer import sdp

__all__: list[str] = []


class OnlyTries(PlainPhone):
    """Answers 100 Trying and nothing more, not even to the CANCEL."""

    name = "only-tries"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = None
    good = "gives up when its ring time-out is over, with CANCEL"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 100)

    def on_cancel(self, request: Request) -> None:
        """Not a word."""


class Repeats200(PlainPhone):
    """Sends its 200 ten times, the ACKs notwithstanding."""

    name = "repeats-200"
    when_calling = None
    good = "acknowledges each of them, and has one call (RFC 3261 §13.2.2.4)"

    async def on_invite(self, request: Request) -> None:
        self.start_sound(request)
        data = self.answer(request, 200, self.description())
        for _ in range(9):
            await asyncio.sleep(0.2)
            self.peer.send(data)


class RingsAfterProgress(PlainPhone):
    """Sends 183 with sound, then 180 without SDP, then the 200."""

    name = "180-after-183"
    when_calling = None
    good = "hears the early sound, goes on hearing it, and takes the 200"

    async def on_invite(self, request: Request) -> None:
        self.start_sound(request)
        self.answer(request, 183, self.description())
        await asyncio.sleep(0.5)
        self.answer(request, 180)
        await asyncio.sleep(0.5)
        await self.accept(request)


class AnotherSdpIn200(PlainPhone):
    """Sends another SDP in the 200 than in the 183: PCMU at another port."""

    name = "another-sdp-in-200"
    when_calling = None
    good = "believes the 200"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 183, sdp(9000, host=self.peer.ip))
        await asyncio.sleep(0.5)
        self.formats = "0"
        await self.accept(request)

    async def speak(self, sound: Any, remote: tuple[str, int]) -> None:
        while not self.over.is_set():
            await sound.play(remote, tone_pcm(Tone(TONE), 8000, 0.2), codec="PCMU")


class ChangesToTag(PlainPhone):
    """Answers 180 with one To tag and 200 with another."""

    name = "changes-to-tag"
    when_calling = None
    good = "takes the 200 for that of another branch of a fork; the tag of the 200 counts from then on"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 180, tag="first")
        await asyncio.sleep(self.ring)
        await self.accept(request)


class WrongCseqNumber(PlainPhone):
    """Counts CSeq of its 200 one too high; the branch is right."""

    name = "wrong-cseq-number"
    when_called = Expected()
    when_calling = None
    good = "matches by branch and method of the CSeq (RFC 3261 §17.1.3): the call is up"

    def wire(self, data: bytes) -> bytes | None:
        if not data.startswith(b"SIP/2.0 200") or b" INVITE\r\n" not in data:
            return data
        head, _, rest = data.partition(b"CSeq: ")
        number, _, rest = rest.partition(b" ")
        return head + b"CSeq: " + str(int(number) + 1).encode() + b" " + rest


class WrongCseqMethod(PlainPhone):
    """Answers the INVITE with CSeq of a BYE."""

    name = "wrong-cseq-method"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = None
    good = "ignores what belongs to no request of its own, and gives up in time"

    def wire(self, data: bytes) -> bytes | None:
        return data.replace(b" INVITE\r\n", b" BYE\r\n") if data.startswith(b"SIP/2.0 ") else data


class WrongBranch(PlainPhone):
    """Answers with another branch in the Via."""

    name = "wrong-branch"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = None
    good = "ignores what belongs to no request of its own, and gives up in time"

    def wire(self, data: bytes) -> bytes | None:
        return data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKnot") if data.startswith(b"SIP/2.0 ") else data


class AnswersWithoutSdp(PlainPhone):
    """Its 200 has no SDP, although the INVITE had an offer."""

    name = "answers-without-sdp"
    when_called = Expected("CallFailed", heard=False, speaks=False)
    when_calling = None
    good = "acknowledges, says BYE at once and tells why (RFC 3261 §13.2.1)"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 200)


class OtherStreams(PlainPhone):
    """Answers one m= line with two."""

    name = "other-m-line-count"
    when_calling = None
    good = "takes the stream that it offered, and lets the other be (RFC 3264 §6 forbids such an answer)"

    def description(self, **options: Any) -> str:
        return super().description(**options) + "m=video 7002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"


class RefusesTheStream(PlainPhone):
    """Answers 200 with port 0: it takes the call and no sound."""

    name = "answers-port-0"
    when_called = Expected("CallFailed", heard=False, speaks=False)
    when_calling = None
    good = "acknowledges and says BYE: a call without sound is none"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 200, sdp(0, host=self.peer.ip))


class UnknownCodec(PlainPhone):
    """Answers with a codec that was never offered."""

    name = "answers-unoffered-codec"
    when_called = Expected("CallFailed", heard=False, speaks=False)
    when_calling = None
    good = "acknowledges and says BYE"

    async def on_invite(self, request: Request) -> None:
        body = self.description().replace("RTP/AVP 8 101", "RTP/AVP 3").replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:3 GSM/8000")
        self.answer(request, 200, body.replace("a=rtpmap:101 telephone-event/8000\r\n", ""))


class DeadAfterAnswer(PlainPhone):
    """Answers, and then is gone: no sound, no ACK, no word to anything."""

    name = "dead-after-answer"
    when_called = Expected(heard=False)
    when_calling = Expected(heard=False, ended_by="timeout")
    good = "ends the call by itself when nothing is heard for so long (`media_timeout`), and stops asking after 64*T1"

    async def on_invite(self, request: Request) -> None:
        self.sound = self.sound or self.peer.sound()
        self.answer(request, 200, self.description())
        self.peer.outgoing = lambda data: None

    def acknowledge(self, response: Any) -> None:
        super().acknowledge(response)
        self.peer.outgoing = lambda data: None

    def start_sound(self, message: Any) -> None:
        self.sound = self.sound or self.peer.sound()


class IgnoresBye(PlainPhone):
    """Never answers a BYE, and goes on speaking."""

    name = "ignores-bye"
    when_calling = None
    good = "is free at once, repeats the BYE until 64*T1 are over, and hears nothing more"

    def on_bye(self, request: Request) -> None:
        """Not a word."""


class ByeInEarlyDialog(PlainPhone):
    """Rings, and then says BYE where 486 was due."""

    name = "bye-while-ringing"
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = None
    good = "answers the BYE, which the called side must not send then (RFC 3261 §15), and gives up in time"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 180)
        await asyncio.sleep(self.ring)
        self.within("BYE")


class AnswersAfterCancel(PlainPhone):
    """Answers 200 to the INVITE after it has answered the CANCEL: they crossed."""

    name = "answers-after-cancel"
    ring: ClassVar[float] = 1e6  # type: ignore[misc]
    when_called = Expected("NoAnswer", heard=False, speaks=False)
    when_calling = None
    good = "acknowledges, and says BYE at once (RFC 3261 §9.1)"

    def on_cancel(self, request: Request) -> None:
        self.answer(request, 200)
        assert self.invite is not None
        self.answer(self.invite, 200, self.description())


class BusyThenAnswers(PlainPhone):
    """Sends 486, and then 200."""

    name = "486-then-200"
    when_called = Expected("Busy", heard=False, speaks=False, ended_by="remote")
    when_calling = None
    good = "believes the first final response"

    async def on_invite(self, request: Request) -> None:
        data = self.answer(request, 486)
        await asyncio.sleep(0.2)
        self.answer(request, 200, self.description())
        self._answers.clear()
        self.peer.send(data)


class AnswersTwice(PlainPhone):
    """Two phones behind it answer: two 200 with different tags."""

    name = "two-200"
    when_calling = None
    good = "keeps the first, acknowledges the second and says BYE to it (RFC 3261 §13.2.2.4)"

    async def on_invite(self, request: Request) -> None:
        await self.accept(request)
        self.answer(request, 200, self.description(port=9000), tag="other")

    def on_bye(self, request: Request) -> None:
        self.answer(request, 200)
        if request.to.tag == self.tag:
            self.over.set()


class ManyForks(PlainPhone):
    """A proxy forks to eighty phones, which all ring; one answers."""

    name = "rings-with-eighty-tags"
    when_calling = None
    good = "bounds what it keeps of early dialogs, and takes the answer"

    async def on_invite(self, request: Request) -> None:
        for number in range(80):
            self.answer(request, 180, tag=f"fork{number}")
        await asyncio.sleep(self.ring)
        await self.accept(request)


class HangsUpAtOnce(PlainPhone):
    """Says BYE right behind its 200, before the ACK can be there."""

    name = "bye-behind-200"
    when_called = Expected("answered", heard=False, speaks=False, ended_by="remote")
    when_calling = None
    good = "answers the BYE; the call was up and is over"

    async def on_invite(self, request: Request) -> None:
        self.answer(request, 200, self.description())
        self.within("BYE")


class NeverTakesPrack(PlainPhone):
    """Demands 100rel for its 183 and never answers the PRACK."""

    name = "100rel-without-prack"
    when_calling = None
    good = "sends PRACK if it can, and takes the 200 that comes all the same"

    async def on_invite(self, request: Request) -> None:
        supported = "100rel" in request.supported
        headers = (("Require", "100rel"), ("RSeq", "1")) if supported else ()
        self.start_sound(request)
        self.answer(request, 183, self.description(), headers=headers)
        await asyncio.sleep(1.0)
        await self.accept(request)

    def _on_request(self, request: Request) -> None:
        if request.method != "PRACK":
            super()._on_request(request)


class ChallengesForEver(PlainPhone):
    """Challenges every INVITE, with a new nonce each time."""

    name = "challenges-for-ever"
    algorithm = "MD5"
    when_called = Expected("AuthenticationError", heard=False, speaks=False, ended_by="remote")
    when_calling = None
    good = "tries once or not at all, and says that the credentials were refused"
    challenges = 0

    async def on_invite(self, request: Request) -> None:
        self.challenges += 1
        challenge = f'Digest realm="nowhere", nonce="n{self.challenges}", algorithm={self.algorithm}'
        self.answer(request, 401, headers=(("WWW-Authenticate", challenge),))


class UnknownAlgorithm(ChallengesForEver):
    """Challenges with an algorithm that does not exist."""

    name = "unknown-digest-algorithm"
    algorithm = "ROT13"
    good = "does not try, and says that the credentials were refused"


class ReinvitesAtTheSameTime(PlainPhone):
    """Its re-INVITE crosses that of the other side, and it answers that with 491, three times."""

    name = "reinvite-glare"
    when_calling = None
    good = "answers 491, waits a while of its own and tries again (RFC 3261 §14.1); the call goes on"
    refused = 0

    async def on_reinvite(self, request: Request) -> None:
        if self.refused < 3:
            self.refused += 1
            self.within("INVITE", self.description(version=2 + self.refused), cseq=100 + self.refused)
            self.answer(request, 491)
        else:
            self.answer(request, 200, self.description(version=9))

    def on_response(self, response: Any) -> None:
        if response.cseq.method == "INVITE" and response.status < 300:
            super().on_response(response)


class SessionTimerLiar(PlainPhone):
    """Says that the caller refreshes the session every 90 s, which the caller never offered, and never does so itself."""

    name = "session-timer-liar"
    when_calling = None
    good = "takes the call; refreshes if it can, else goes on without"

    async def on_invite(self, request: Request) -> None:
        headers = (("Session-Expires", "90;refresher=uac"), ("Require", "timer")) if "timer" in request.supported else ()
        await self.accept(request, headers=headers or (("Session-Expires", "1;refresher=uac"),))
