"""Our public address as a STUN server sees it: of the SIP socket, and of a pair of RTP sockets that is kept ready for the next call.

The pair is asked about before it is needed, because an offer cannot wait, and from its own sockets, because a NAT gives each its own
port. It serves towards public peers only: in the house a public address in the SDP would keep the sound away. With a NAT that gives
another port for each destination no STUN helps; the other side's symmetric RTP may.

RFC 8489 §6.2.1, §14.2; RFC 3264; RFC 3605 (the RTCP port)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.errors import FlexosipError
from flexosip.net.address import Address, format_address, is_house_name, is_ipv6
from flexosip.net.stun import BINDING_SUCCESS, StunError, create_binding_request, parse_stun
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.media.ports import PortPair
    from flexosip.phone.signalling import Signalling
    from flexosip.sip.flow import Flow

__all__ = ["PublicAddress", "ReadyPair"]

logger = logging.getLogger(__name__)

_WAITS = (0.5, 1.0, 2.0)
"""Seconds for each try; three and a half in all, so that a phone starts without the server too."""
_POLL = 0.02
_FRESH = 20.0
"""Seconds after which a pair that waits for its call is asked about again, so that the NAT does not forget it."""
_AGAIN = 30.0
"""Seconds to the next try when the server does not answer."""


@dataclass(frozen=True, slots=True)
class ReadyPair:
    """RTP and RTCP sockets with the addresses that others see of them."""

    pair: PortPair[Any]
    host: str
    """to which they are bound"""
    rtp: Address
    rtcp: Address


class PublicAddress:
    """Asks the STUN server of a phone.

    Args:
        signalling: the phone's machinery.
        server: host (also a name) and port.
    """

    def __init__(self, signalling: Signalling, server: Address) -> None:
        self._signalling = signalling
        self._name, self._port = server
        self._server: Address | None = None
        self._flow: Flow | None = None
        self.mapped: Address | None = None
        """Our SIP socket as the server sees it; None: not known."""
        self._asked = b""
        self._answer: asyncio.Future[Address | None] | None = None
        self._ready: ReadyPair | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._taken = asyncio.Event()

    async def start(self) -> None:
        """Ask about the SIP socket, and begin to keep a pair ready; no answer is no error."""
        try:
            await self._ask_for_signalling()
        except FlexosipError as error:
            logger.warning("the public address is not known: %s", error)
        self._keeper = asyncio.get_running_loop().create_task(self._keep_ready())

    async def close(self) -> None:
        """Free the sockets."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        self._drop_ready()

    # -- for calls ------------------------------------------------------------------------------------------------------

    def of_signalling(self, flow: Flow) -> Address | None:
        """The public address to tell over `flow`; None: our own."""
        return self.mapped if flow.transport == "udp" and self._serves(flow) else None

    def take_pair(self, host: str, flow: Flow) -> ReadyPair | None:
        """The pair that was kept ready for a call over `flow`; None if there is none that fits."""
        ready = self._ready
        if ready is None or ready.host != host or not self._serves(flow):
            return None
        self._ready = None
        self._taken.set()
        return ready

    def _serves(self, flow: Flow) -> bool:
        return not is_house_name(flow.remote[0]) and (self._server is None or is_ipv6(self._server[0]) == is_ipv6(flow.remote[0]))

    # -- signalling -----------------------------------------------------------------------------------------------------

    async def _ask_for_signalling(self) -> None:
        signalling = self._signalling
        loop = signalling.loop
        host = next(iter(await signalling.network.resolve(self._name)))
        self._server = (host, self._port)
        located: asyncio.Future[Flow] = loop.create_future()

        def done(flow: Flow | None, error: Exception | None) -> None:
            if flow is not None and not located.done():
                located.set_result(flow)
            elif error is not None and not located.done():
                located.set_exception(error)

        signalling.driver.locate(SipUri("sip", None, host, self._port, (("transport", "udp"),)), 0, None, done)
        self._flow = await located
        self._asked = signalling.random.getrandbits(96).to_bytes(12, "big")
        for wait in _WAITS:
            self._answer = loop.create_future()
            signalling.driver.transmit(self._flow, create_binding_request(self._asked))
            await asyncio.wait((self._answer,), timeout=wait)
            if self._answer.done():
                self.mapped = self._answer.result()
                logger.info("the STUN server sees us at %s", format_address(self.mapped) if self.mapped is not None else "nowhere")
                return
        logger.warning("the STUN server %s does not answer", format_address(self._server))

    def receive_stun(self, data: bytes, flow: Flow) -> None:
        """STUN came to a SIP socket."""
        if flow is not self._flow or self._answer is None or self._answer.done():
            return
        mapped = _mapped(data, self._asked)
        if mapped is not None:
            self._answer.set_result(mapped)

    # -- sound ------------------------------------------------------------------------------------------------------------

    async def _keep_ready(self) -> None:
        while True:
            self._taken.clear()
            try:
                await self._renew()
            except FlexosipError as error:
                logger.debug("no pair of RTP ports could be asked about: %s", error)
            wait = _FRESH if self._ready is not None else _AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._taken.wait()

    async def _renew(self) -> None:
        """A pair of which the server has told the addresses lately."""
        signalling = self._signalling
        if self._server is None:
            await self._ask_for_signalling()
        assert self._server is not None
        own = signalling.network.local_address(self._server[0])
        if self._ready is not None and self._ready.host != own:
            self._drop_ready()
        kept, self._ready = self._ready, None  # while it is asked about it is not given out
        pair = kept.pair if kept is not None else signalling.ports.allocate(own)
        rtp: Address | None = None
        rtcp: Address | None = None
        try:
            rtp = await self._ask_from(pair.rtp)
            rtcp = await self._ask_from(pair.rtcp) if rtp is not None else None
        finally:
            if rtp is None or rtcp is None:
                self._free(pair)
        if rtp is not None and rtcp is not None:
            self._ready = ReadyPair(pair, own, rtp, rtcp)

    async def _ask_from(self, own: Any) -> Address | None:
        """The address that the server sees of a socket; None: it does not answer."""
        transaction = self._signalling.random.getrandbits(96).to_bytes(12, "big")
        loop = asyncio.get_running_loop()
        for wait in _WAITS:
            with contextlib.suppress(OSError):  # no route now: the next try may have one
                own.sendto(create_binding_request(transaction), self._server)
            until = loop.time() + wait
            while loop.time() < until:
                await asyncio.sleep(_POLL)
                mapped = _read(own, transaction)
                if mapped is not None:
                    return mapped
        return None

    def _drop_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            self._free(ready.pair)

    def _free(self, pair: PortPair[Any]) -> None:
        pair.rtp.close()
        pair.rtcp.close()
        self._signalling.ports.release(pair.port)


def _read(own: Any, transaction: bytes) -> Address | None:
    """The answer among what has come to a socket; everything else that comes before a call is nobody's."""
    for _ in range(16):
        try:
            data, _source = own.recvfrom(2048)
        except OSError:  # nothing there, or what ICMP said
            return None
        mapped = _mapped(data, transaction)
        if mapped is not None:
            return mapped
    return None


def _mapped(data: bytes, transaction: bytes) -> Address | None:
    try:
        message = parse_stun(data)
    except StunError:
        return None
    return message.mapped if message.kind == BINDING_SUCCESS and message.transaction == transaction else None
