"""Going on to the next server when one fails: what a user agent needs to know of the others, and what becomes of a late answer.

A server has failed when it refuses with 503, says nothing for a while although there is another, or cannot be reached. The request then
goes to the next one as a new transaction: the same but for its branch.

RFC 3263 §4.3; RFC 3261 §8.1.3.1, §21.5.4
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from flexosip.errors import RemoteProtocolError
from flexosip.sip.dialog import Dialog
from flexosip.sip.message import Response
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.client_transaction import InviteClientTransaction
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.uri import SipUri

__all__ = ["OtherServers", "SupersededInvite", "has_failed"]

logger = logging.getLogger(__name__)



class OtherServers(Protocol):
    """What the driver knows about the servers of a next hop."""

    def has_other(self, uri: SipUri, tried: Collection[Flow]) -> bool:
        """Whether there seems to be another server than those of `tried`."""

    def is_first(self, uri: SipUri, flow: Flow) -> bool:
        """Whether `flow` leads to the server that comes first."""

    def locate_next(self, uri: SipUri, size: int, tried: Collection[Flow], done: Callable[[Flow | None, Exception | None], None]) -> None:
        """Find the flow to another server than those of `tried`; see `Locate`."""

    def server_failed(self, flow: Flow, seconds: float | None = None) -> None:
        """Try that server last for some time; None: as long as is usual."""


def has_failed(result: Response | TransactionFailure) -> bool:
    """Whether a final result says that another server may do better (RFC 3263 §4.3)."""
    if isinstance(result, Response):
        return result.status == 503
    return result.status in (408, 503)


class SupersededInvite:
    """Ends what a silent server makes of an INVITE after all, when another one has got it: CANCEL while it rings, ACK and BYE if answered.

    It takes the place of the call in the transaction.
    """

    __slots__ = ("_auth", "_cancelled", "_core", "_deadline", "_ended", "_flow", "_transaction")

    def __init__(self, core: UserAgentCore, transaction: InviteClientTransaction, auth: DigestClient | None) -> None:
        self._core = core
        self._transaction = transaction
        self._flow = transaction.flow
        self._auth = auth
        self._cancelled = False
        self._deadline = 0.0
        self._ended: set[str] = set()

    def __call__(self, response: Response) -> None:
        """A late response."""
        request = self._transaction.request
        if request is None or response.status >= 300:
            return
        if response.status < 200:
            now = self._core.scheduler.now
            if not self._cancelled:
                self._cancelled = True
                self._deadline = now + self._core.stack.timers.long
                self._core.stack.send_cancel(self._transaction, on_final=lambda result: None)
            self._transaction.end_at(self._deadline)
            return
        tag = response.to.tag or ""
        try:
            dialog = Dialog.from_response(request, response)
        except RemoteProtocolError as error:
            logger.info("a late answer cannot be acknowledged: %s", error)
            return

        def end(sent: bool) -> None:
            if sent and tag not in self._ended:
                self._ended.add(tag)
                bye = dialog.create_request("BYE")
                flow = self._flow
                self._core.send_in_dialog(dialog, bye, auth=self._auth, on_final=lambda result: None, flow=flow, trusted=flow.remote[0])

        self._core.send_ack(dialog, request, self._transaction, self._flow, None, end)
