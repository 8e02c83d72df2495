"""Bad phones that are bad at calling: handshakes left open, cancelled too late, repeated for ever, and requests nobody asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from flexosip.sip.message import Response
from flexosip.testing.bad_phones.plain import Expected, PlainPhone

__all__: list[str] = []


class NeverAcks(PlainPhone):
    """Never acknowledges a 200, but speaks."""

    name = "never-acks"
    when_called = None
    when_calling = Expected(ended_by="timeout")
    good = "repeats the 200 for 64*T1, then says BYE (RFC 3261 §13.3.1.4)"
    talk = 100.0

    def acknowledge(self, response: Response) -> None:
        """Not a word."""


class RepeatsInvite(PlainPhone):
    """Sends its INVITE again and again for 20 s, whatever is answered."""

    name = "repeats-invite"
    when_called = None
    good = "rings once, answers each from its transaction, and has one call (RFC 3261 §17.2.1, RFC 6026)"

    async def place(self) -> None:
        data = self.send_invite()
        repeating = asyncio.get_running_loop().create_task(self._again(data))
        try:
            response = await self.final()
            if response is not None:
                await self.talk_and_hang_up(response)
        finally:
            await repeating

    async def _again(self, data: bytes) -> None:
        for _ in range(100):
            await asyncio.sleep(0.2)
            self.peer.send(data)


class CancelsTooLate(PlainPhone):
    """Cancels what was answered and acknowledged long ago."""

    name = "cancels-too-late"
    when_called = None
    good = "answers the CANCEL and lets the call go on (RFC 3261 §9.2)"

    async def talk_and_hang_up(self, response: Response) -> None:
        self.peer.ask("CANCEL", from_tag=self.tag, call_id=response.call_id, cseq=1, branch="z9hG4bKcall1")
        await super().talk_and_hang_up(response)


class CancelsAnother(PlainPhone):
    """Cancels with a branch that belongs to nothing while it rings."""

    name = "cancels-wrong-branch"
    when_called = None
    good = "answers 481 to the CANCEL and lets it ring"

    async def place(self) -> None:
        data = self.send_invite()
        del data
        self.peer.ask("CANCEL", from_tag=self.tag, call_id=f"{self.name}-1", cseq=1, branch="z9hG4bKnothing")
        response = await self.final()
        assert response is not None
        await self.talk_and_hang_up(response)


class ByeInsteadOfCancel(PlainPhone):
    """Gives up with BYE while it rings, where CANCEL is meant."""

    name = "bye-instead-of-cancel"
    when_called = None
    when_calling = Expected("rings", heard=False, speaks=False, ended_by="remote")
    good = "answers the BYE, and the INVITE with 487 (RFC 3261 §15.1.2)"

    async def place(self) -> None:
        self.send_invite()
        while True:
            response = await self.responses.get()
            if response.status >= 180:
                break
        await asyncio.sleep(0.5)
        self.peer.within(response, "BYE", cseq=2)
        await self.final()

    async def calls(self, phone: Any) -> Expected:
        self._begin(self.place())
        call = await phone.wait_call(within=10)
        async with asyncio.timeout(60):
            await call.wait_ended()
        return self._as_it_went(call, "rings")


class ByesTwice(PlainPhone):
    """Says BYE twice, in two transactions."""

    name = "byes-twice"
    when_called = None
    good = "answers the second with 481"

    def hang_up(self) -> None:
        super().hang_up()
        self.within("BYE", cseq=201)


class WrongToTagInBye(PlainPhone):
    """Says BYE with the wrong To tag, then with the right one."""

    name = "wrong-to-tag"
    when_called = None
    good = "answers 481 to the first: it belongs to no dialog; the call goes on"

    def hang_up(self) -> None:
        assert self.accepted is not None
        self.within("BYE", cseq=150, to_tag="wrong")
        super().hang_up()


class CountsBackwards(PlainPhone):
    """Its requests within the call count CSeq backwards."""

    name = "counts-backwards"
    when_called = None
    good = "answers 500 to what is older than what it has seen (RFC 3261 §12.2.2), and takes the BYE in order"

    async def talk_and_hang_up(self, response: Response) -> None:
        self.accepted = response
        for number in (50, 49, 48):
            self.within("OPTIONS", cseq=number)
        await super().talk_and_hang_up(response)


class StrangeMethods(PlainPhone):
    """Sends methods within the call that nobody knows."""

    name = "strange-methods"
    when_called = None
    good = "answers each with 405 or 501, and the call goes on"

    async def talk_and_hang_up(self, response: Response) -> None:
        self.accepted = response
        for number, method in enumerate(("FROBNICATE", "PING", "SERVICE"), 10):
            self.within(method, cseq=number)
        await super().talk_and_hang_up(response)


class FloodsNotify(PlainPhone):
    """Sends five hundred NOTIFYs that nobody subscribed to, in a second."""

    name = "floods-notify"
    when_called = None
    good = "answers 481 or not at all, keeps nothing of them, and the call loses no packet"

    async def talk_and_hang_up(self, response: Response) -> None:
        self._begin(self._flood())
        await super().talk_and_hang_up(response)

    async def _flood(self) -> None:
        headers = (("Event", "message-summary"), ("Subscription-State", "active"))
        for number in range(500):
            body = "Messages-Waiting: yes\r\n"
            self.peer.ask(
                "NOTIFY", body, to_tag="none", call_id=f"flood-{number}", headers=headers, content_type="application/simple-message-summary"
            )
            await asyncio.sleep(0.002)


class OffersNothing(PlainPhone):
    """Calls without SDP, and acknowledges without an answer."""

    name = "no-answer-in-ack"
    when_called = None
    when_calling = Expected(heard=False, speaks=False, ended_by="local")
    good = "offers in its 200, finds no answer in the ACK, and says BYE (RFC 3261 §13.3.1.4)"
    talk = 100.0

    def send_invite(self, **options: Any) -> bytes:
        return super().send_invite(**{"body": "", **options})


class HoldsByZeroAddress(PlainPhone):
    """Holds by c=0.0.0.0, as phones did before RFC 3264, and comes back."""

    name = "holds-by-zero-address"
    when_called = None
    good = "takes it for a hold (RFC 3264 §8.4) and hears it again afterwards"

    async def talk_and_hang_up(self, response: Response) -> None:
        self.accepted = response
        self.start_sound(response)
        zero = self.description(version=2).replace(f"c=IN IP4 {self.peer.ip}", "c=IN IP4 0.0.0.0")
        await asyncio.sleep(0.5)
        self.within("INVITE", zero, cseq=110, branch="z9hG4bKhold1")
        await asyncio.sleep(0.5)
        self.within("INVITE", self.description(version=3), cseq=111, branch="z9hG4bKhold2")
        await asyncio.sleep(self.talk)
        self.hang_up()

    def acknowledge(self, response: Response) -> None:
        if response.status < 300:
            self.peer.acknowledge(response, uri=self._target(response))
