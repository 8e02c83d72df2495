"""Three phones on the virtual network, and what transfers need: who serves calls, and the REFERs and NOTIFYs of a raw peer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flexosip import Call, Phone
from flexosip.phone.events import CallEvent
from flexosip.sip.message import Request, Response
from tests.network.stage import RawPeer, World, sdp, settle

__all__ = ["A", "B", "C", "Trio", "answered_by_peer", "answering", "events_of", "notify", "refer", "soon"]

A, B, C = "sip:a@10.0.0.1", "sip:b@10.0.0.2", "sip:c@10.0.0.3"


class Trio:
    """Phones at 10.0.0.1, .2 and .3, without accounts.

    Args:
        line: settings of every link.
    """

    def __init__(self, **line: Any) -> None:
        self.world = World(**line)

    def run(self, story: Callable[[Phone, Phone, Phone], Awaitable[Any]], *, b: dict[str, Any] | None = None, **settings: Any) -> None:
        """Run `story(a, b, c)`; `b` may be transferred and `c` replaced unless told otherwise."""

        async def main() -> None:
            phones = [
                self.world.phone("10.0.0.1", **settings),
                self.world.phone("10.0.0.2", **{"accept_transfers": True, **(b or {})}),
                self.world.phone("10.0.0.3", accept_replaces=True),
            ]
            async with phones[0], phones[1], phones[2]:
                await story(*phones)
                await settle(*phones)

        self.world.run_alone(main)


def answering(phone: Phone, calls: list[Call] | None = None) -> list[Call]:
    """Let `phone` answer what comes; the calls, in order."""
    taken: list[Call] = [] if calls is None else calls

    @phone.on_call
    async def answer(call: Call) -> None:
        taken.append(call)
        await call.ring()
        await asyncio.sleep(0.3)
        await call.answer()
        await call.wait_ended()

    return taken


async def events_of(call: Call) -> list[CallEvent]:
    """All events of a call that has ended."""
    return [event async for event in call.events()]


async def answered_by_peer(phone: Phone, peer: RawPeer) -> tuple[Call, Request]:
    """A call of `phone` that the raw peer has answered."""
    call = await phone.dial("sip:peer@10.0.0.9")
    invite = await peer.request("INVITE")
    peer.answer(invite, 200, sdp())
    await call.wait_answered(5)
    await peer.request("ACK")
    return call, invite


def notify(
    peer: RawPeer, refer: Request, status: str, *, cseq: int, state: str = "active;expires=60", event: str = "refer", **options: Any
) -> bytes:
    """A NOTIFY of the raw peer about the REFER it got: `status` is the line of the sipfrag behind `SIP/2.0`."""
    body = f"SIP/2.0 {status}\r\n" if status else ""
    headers = [("Event", event)]
    if state:
        headers.append(("Subscription-State", state))
    return peer.within(refer, "NOTIFY", body, cseq=cseq, content_type="message/sipfrag", headers=tuple(headers), **options)


def refer(peer: RawPeer, message: Request | Response, to: str, *, cseq: int = 100, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A REFER of the raw peer within a call."""
    return peer.within(message, "REFER", cseq=cseq, headers=(("Refer-To", to), ("Referred-By", "<sip:peer@10.0.0.9>"), *headers))


async def soon(seconds: float = 0.2) -> None:
    """Let what is on the line arrive."""
    await asyncio.sleep(seconds)
