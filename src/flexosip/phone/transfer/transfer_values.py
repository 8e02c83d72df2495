"""What transfers are told with: requests that a program decides about, results, and what a call keeps of its transfers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import NameAddr

if TYPE_CHECKING:
    from flexosip.phone.call import Call
    from flexosip.phone.events import CallEnd
    from flexosip.sip.message import Request

__all__ = ["ReplaceHandler", "ReplaceRequest", "TransferHandler", "TransferRequest", "TransferResult", "TransferState", "referred_by"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransferResult:
    """How a transfer of ours ended, when it did not fail."""

    target: str
    """Where the other side was sent, as a URI."""
    status: int
    """200 (or another 2xx): the target has answered. 202: accepted, and the other side hung up or will tell nothing more."""
    reason: str
    confirmed: bool
    """False: unknown, probably done. The other side took the order and ended the call without saying how it went."""


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """Somebody asks us to call `target` (REFER): what `Phone.on_refer`, `Call.on_transfer` and `accept_transfers` decide about."""

    target: str
    """A sip:, sips: or tel: URI."""
    call: Call | None
    """The call that is to be transferred; None: asked from outside of any call (click-to-dial)."""
    referred_by: NameAddr | None
    """Who sends us there, as it claims: nothing proves it (RFC 3892)."""
    attended: bool
    """True if the new call shall take over one that the target has already (Replaces)."""
    source: str
    """Numeric address that the request came from."""


@dataclass(frozen=True, slots=True)
class ReplaceRequest:
    """Somebody calls to take the place of our peer in `call` (INVITE with Replaces): what `accept_replaces` decides about."""

    call: Call
    """The call of ours that would end."""
    caller: NameAddr
    """Who calls, as it claims."""
    referred_by: NameAddr | None
    source: str
    """Numeric address that the request came from."""


TransferHandler = Callable[[TransferRequest], "bool | Call | Awaitable[bool | Call]"]
"""True: we call the target. False: refused. A `Call` that the program has made itself (not dialled yet): that one is dialled."""
ReplaceHandler = Callable[[ReplaceRequest], "bool | Awaitable[bool]"]


@dataclass(slots=True)
class TransferState:
    """What a call keeps of transfers."""

    on_transfer: TransferHandler | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """What the REFER that led to this call puts into its INVITE: Referred-By, Replaces with its Require, few others."""
    transferring: bool = False
    """True while a REFER of ours is under way."""
    referred: bool = False
    """True while we follow a REFER."""
    transferred_to: Any = None
    """The `Call` that a REFER of the other side made us dial."""
    replaces: Any = None
    """The `Call` whose place this one has taken."""
    replaced_by: Any = None
    """The `Call` that has taken the place of this one."""
    depth: int = 0
    """Transfers that led to this call."""
    at_end: Callable[[CallEnd], None] | None = None
    """Called before `Ended` is told."""


def referred_by(request: Request) -> NameAddr | None:
    """The Referred-By of a REFER or INVITE, None when there is none or it is malformed: it is a claim and no more (RFC 3892 §3)."""
    line = request.headers.get("Referred-By")
    if line is None:
        return None
    try:
        return NameAddr.parse(line)
    except SipParseError as error:
        logger.info("a Referred-By is passed over: %s", error)
        return None
