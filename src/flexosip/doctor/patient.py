"""Whom an examination is about: an account as it is configured, and the machine and network it runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flexosip.doctor.finding import Findings
from flexosip.doctor.machine import Machine
from flexosip.observe.trace import WireMessage
from flexosip.phone.phone import Phone
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Response, new_request
from flexosip.sip.next_hop import NextHop
from flexosip.sip.transaction import TransactionFailure
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.net.network import Network
    from flexosip.phone.account import Account
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import Result

__all__ = ["Answer", "Patient", "ask"]


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    settings: dict[str, Any]
    """Arguments of `Phone`."""
    network: Network
    clock: Any
    machine: Machine
    findings: Findings
    patience: float = 4.0
    """Seconds for one question; over UDP it is sent four times in 4 s."""

    def phone(self, **changes: Any) -> Phone:
        """A phone with the settings, and `changes` to them."""
        return Phone(**{**self.settings, **changes}, clock=self.clock, network=self.network)

    @asynccontextmanager
    async def asking(self, **changes: Any) -> AsyncIterator[tuple[Phone, Account, list[WireMessage]]]:
        """A started phone that does not register, its account, and all that goes over its wires."""
        phone = self.phone(**{"register": False, **changes})
        tap: list[WireMessage] = []
        phone.on_wire(tap.append)
        async with phone:
            yield phone, phone.accounts[0], tap

    @property
    def aor(self) -> SipUri:
        """The account's address."""
        return self.account.aor

    @property
    def account(self) -> Account:
        """The account as the library understands the settings; it runs nowhere."""
        return self.phone().accounts[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    result: Result
    seconds: float
    flow: Flow | None
    sent: int
    """How often it was sent."""
    seen: tuple[WireMessage, ...]
    """All that came meanwhile, whatever it is."""
    request: WireMessage | None
    """The question as it went out at last."""

    @property
    def response(self) -> Response | None:
        """The final response; None if there was none."""
        return self.result if isinstance(self.result, Response) else None

    @property
    def error(self) -> Exception | None:
        """What the network said."""
        return self.result.error if isinstance(self.result, TransactionFailure) else None


async def ask(
    phone: Phone, account: Account, tap: list[WireMessage], *, transport: str | None = None, padding: int = 0, patience: float = 4.0
) -> Answer:
    """Send an OPTIONS to the account's server and wait for whatever comes (RFC 3261 §11).

    Args:
        transport: other than the account's own. padding: octets to make it larger by.
    """
    server = account.server
    uri = SipUri("sip", None, account.aor.host)
    stack, loop = phone.core.stack, phone.loop
    request = new_request(
        "OPTIONS",
        uri,
        from_=account.identity.with_tag(stack.new_tag()),
        to=NameAddr(uri),
        call_id=stack.new_call_id(),
        cseq=1,
        routes=account.route,
        headers=(("Accept", "application/sdp"), *((("Subject", "x" * padding),) if padding else ())),
    )
    hop = server if transport is None else over(server, transport)
    done: asyncio.Future[Result] = loop.create_future()
    flows: list[Flow] = []

    def prepare(message: Request, flow: Flow) -> None:
        flows.append(flow)
        message.headers.set("Contact", str(account.contact(flow)))

    def on_final(result: Result) -> None:
        if not done.done():
            done.set_result(result)

    begin, first = loop.time(), len(tap)
    outgoing = phone.core.request(request, hop, on_final=on_final, prepare=prepare)
    try:
        async with asyncio.timeout(patience):
            result = await done
    except TimeoutError:
        result = TransactionFailure(408, "Request Timeout", None)
    finally:
        outgoing.stop()
    seconds = loop.time() - begin
    ours = [message for message in tap[first:] if message.direction == "out" and message.data.startswith(b"OPTIONS ")]
    seen = tuple(message for message in tap[first:] if message.direction == "in")
    return Answer(result, seconds, flows[-1] if flows else None, len(ours), seen, ours[-1] if ours else None)


def over(server: NextHop, transport: str) -> NextHop:
    """The same server by another transport; a port of its own is that of the transport it was written for."""
    parameters = tuple(pair for pair in server.parameters if pair[0].lower() != "transport")
    port = server.port
    told = server.transport or ("tls" if server.scheme == "sips" else "udp")
    if (told in ("udp", "tcp")) != (transport in ("udp", "tcp")):
        port = None
    return replace(server, scheme="sip", port=port, parameters=(*parameters, ("transport", transport)))
