"""Keeps the way from an account's server to us open, and notices when it has gone (RFC 5626 §4.4, RFC 6223).

Connections are pinged by the transport itself; this is for UDP, and for servers that want to hear from us more often (Flow-Timer).

    crlf      two line breaks: the NAT sees traffic, and a server that is gone is told by ICMP
    stun      a Binding request: its answer also tells when the NAT has given us another address, its lack that the way is dead
    options   an OPTIONS request: the same for every server; costs it more
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.net.address import canonical_ip, format_address, is_house_name
from flexosip.net.stun import BINDING_SUCCESS, StunError, create_binding_request, parse_stun
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Response, new_request
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.signalling import Signalling
    from flexosip.sansio import Timer
    from flexosip.sip.flow import Flow
    from flexosip.sip.outgoing_request import Result

__all__ = ["KeepAlive"]

logger = logging.getLogger(__name__)

_PING = b"\r\n\r\n"
_STUN_TRIES = 5
_STUN_FIRST = 0.5
"""Seconds to the first repetition; doubled each time (RFC 8489 §6.2.1: RTO). Five tries take 15.5 s."""


class KeepAlive:
    """The keep-alive of one account while it is registered.

    Args:
        signalling: the phone's machinery.
        account: whose registration is kept.
    """

    def __init__(self, signalling: Signalling, account: Account) -> None:
        self._signalling = signalling
        self._account = account
        self._timer: Timer | None = None
        self._repeat: Timer | None = None
        self._asked = b""
        self._tries = 0
        self._mapped: tuple[str, int] | None = None
        self.sent = 0

    def registration_changed(self) -> None:
        """Begin, go on, or end, as the registration stands."""
        self.stop()
        registration = self._account.registration
        if registration is not None and registration.registered and self._kind(registration.flow) != "none":
            self._plan()

    def stop(self) -> None:
        """Send nothing more."""
        for timer in (self._timer, self._repeat):
            if timer is not None:
                timer.cancel()
        self._timer = self._repeat = None
        self._asked = b""

    def _kind(self, flow: Flow | None) -> str:
        """What is done over `flow`."""
        registration = self._account.registration
        if flow is None or not flow.alive or registration is None:
            return "none"
        if flow.reliable:
            return "crlf" if registration.flow_timer else "none"
        kind = self._signalling.phone.reach.keep_alive
        if kind != "auto":
            return kind
        if registration.uses_outbound:
            return "stun"  # RFC 5626 §4.4.2: who works by it knows STUN
        public = canonical_ip(flow.remote[0]) is not None and not is_house_name(flow.remote[0])
        return "crlf" if public or flow.advertised is not None else "none"

    def _plan(self) -> None:
        registration, reach = self._account.registration, self._signalling.phone.reach
        seconds = reach.keep_alive_interval
        if registration is not None and registration.flow_timer:
            # RFC 5626 §4.4: between 80 and 100 percent, so that many phones do not speak at once.
            seconds = min(seconds, registration.flow_timer)
        delay = self._signalling.random.uniform(0.8, 1.0) * seconds
        self._timer = self._signalling.scheduler.call_later(delay, self._send)

    def _send(self) -> None:
        self._timer = None
        registration = self._account.registration
        flow = registration.flow if registration is not None else None
        kind = self._kind(flow)
        if flow is None or kind == "none" or registration is None or not registration.registered:
            return
        self.sent += 1
        if kind == "crlf":
            self._signalling.driver.transmit(flow, _PING)
        elif kind == "stun":
            self._tries = 0
            self._asked = self._signalling.random.getrandbits(96).to_bytes(12, "big")
            self._ask(flow)
        else:
            self._send_options(flow)
        self._plan()

    # -- STUN ---------------------------------------------------------------------------------------------------------

    def _ask(self, flow: Flow) -> None:
        self._repeat = None
        if not self._asked:
            return
        if self._tries >= _STUN_TRIES:
            self._asked = b""
            self._dead(flow, "answers no STUN any more")
            return
        self._signalling.driver.transmit(flow, create_binding_request(self._asked))
        self._repeat = self._signalling.scheduler.call_later(_STUN_FIRST * 2**self._tries, self._ask, flow)
        self._tries += 1

    def receive_stun(self, data: bytes, flow: Flow) -> None:
        """STUN came from the account's server."""
        registration = self._account.registration
        if registration is None or registration.flow is not flow or not self._asked:
            return
        try:
            message = parse_stun(data)
        except StunError as error:
            logger.debug("STUN from %s: %s", format_address(flow.remote), error)
            return
        if message.transaction != self._asked or message.kind != BINDING_SUCCESS:
            return
        self._asked = b""
        if self._repeat is not None:
            self._repeat.cancel()
            self._repeat = None
        before, self._mapped = self._mapped, message.mapped
        if before is not None and message.mapped is not None and before != message.mapped:
            self._dead(flow, f"sees us at {format_address(message.mapped)} instead of {format_address(before)}")

    # -- OPTIONS ------------------------------------------------------------------------------------------------------

    def _send_options(self, flow: Flow) -> None:
        account, core = self._account, self._signalling.core
        advertised = flow.advertised
        request = new_request(
            "OPTIONS",
            account.server.without_parameters("transport"),
            from_=NameAddr(account.aor).with_tag(core.stack.new_tag()),
            to=NameAddr(account.aor),
            call_id=core.stack.new_call_id(),
            cseq=1,
            routes=account.route,
        )

        def answered(result: Result) -> None:
            registration = account.registration
            if registration is None or registration.flow is not flow:
                return
            if isinstance(result, TransactionFailure):
                self._dead(flow, "answers no OPTIONS any more")
            elif isinstance(result, Response) and flow.advertised != advertised:
                self._dead(flow, "sees us at another address")

        core.request(request, account.server, on_final=answered, preferred=flow)

    def _dead(self, flow: Flow, why: str) -> None:
        """The way is gone, or leads elsewhere: register anew (RFC 5626 §4.4.2, §4.5)."""
        logger.info("%s: %s %s: registering anew", self._account.aor, format_address(flow.remote), why)
        self._mapped = None
        registration = self._account.registration
        if registration is not None:
            registration.refresh()
