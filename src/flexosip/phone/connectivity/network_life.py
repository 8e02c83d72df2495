"""A phone in networks that come, go and change: it registers anew at once, and takes its calls along.

The watch tells that something has happened; what has happened is seen by comparing: our address towards each server and each peer with
the one that they know. After sleep, and while a registration waits for its next try, it is tried at once. Changes come in bursts, and a
machine may change its network all the time: between two rounds a second passes.

RFC 5626 §4.4, §4.5; RFC 3261 §10.2.2, §14.1
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from flexosip.errors import FlexosipError, NetworkError
from flexosip.net.address import format_address
from flexosip.sip.registration import RegistrationState
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.net.network import TimerHandle, Watch
    from flexosip.phone.account import Account
    from flexosip.phone.session import CallSession
    from flexosip.phone.signalling import Signalling
    from flexosip.sip.flow import Flow

__all__ = ["NetworkLife"]

logger = logging.getLogger(__name__)

_SETTLE = 0.2
"""Seconds: an interface that comes up gets its addresses and routes one after the other."""
_PAUSE = 1.0
"""Seconds between two rounds at least."""
_PATIENCE = 1.0
"""Seconds that a call waits for the registration of its account: a server may take requests only from where somebody is registered."""
_ESTIMATED_SIZE = 1000


class NetworkLife:
    """Watches the network of a started phone.

    Args:
        signalling: the phone's machinery.
    """

    def __init__(self, signalling: Signalling) -> None:
        self._signalling = signalling
        self._watch: Watch | None = None
        self._timer: TimerHandle | None = None
        self._round_at = float("-inf")
        self._slept = False
        self._moving: set[CallSession] = set()
        self._unmoved: set[CallSession] = set()

    def start(self) -> None:
        """Begin to watch."""
        self._watch = self._signalling.network.watch(self._changed)

    def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _changed(self, slept: bool) -> None:
        self._slept = self._slept or slept
        if self._watch is not None:
            self._plan(_SETTLE)

    def _plan(self, delay: float) -> None:
        if self._timer is None:
            network = self._signalling.network
            self._timer = network.call_at(max(network.time() + delay, self._round_at + _PAUSE), self._look)

    def _look(self) -> None:
        """See what has changed for whom."""
        signalling = self._signalling
        self._timer = None
        self._round_at = signalling.network.time()
        slept, self._slept = self._slept, False
        signalling.network.forget_routes()
        signalling.driver.network_changed()
        for account in signalling.phone.accounts:
            self._look_at_account(account, slept)
        signalling.phone.subscriptions.network_changed(signalling.driver.has_left, slept=slept)
        self._unmoved = {session for session in self._unmoved if session.end is None}
        for call in signalling.phone.calls:
            self._look_at_call(call._session)

    def _look_at_account(self, account: Account, slept: bool) -> None:
        registration = account.registration
        if registration is None:
            return
        flow = registration.flow
        if flow is not None and flow.alive:
            own = self._signalling.address_towards(flow.remote[0])
            if own is None:
                logger.info("%s: there is no way to %s any more", account.aor, format_address(flow.remote))
                registration.network_gone(NetworkError(f"There is no network that leads to {flow.remote[0]}."))
                return
            if self._signalling.driver.has_left(flow):
                logger.info("%s: our address is now %s instead of %s", account.aor, own, flow.local[0])
                self._signalling.driver.abandon(flow, NetworkError(f"Our address {flow.local[0]} has gone."))
                registration.moved()
                return
        event = account.event
        refused = event is not None and event.refused_credentials
        if slept or (registration.state is RegistrationState.WAITING and not refused):
            registration.refresh()

    # -- calls --------------------------------------------------------------------------------------------------------

    def registration_changed(self, account: Account) -> None:
        """The registrar has answered: its answer may have shown a new public address, which the calls need too (RFC 3581)."""
        if account.registered:
            for call in self._signalling.phone.calls:
                if call._session.account is account:
                    self._look_at_call(call._session)

    def _look_at_call(self, session: CallSession) -> None:
        usage = session.usage
        if session.end is not None or usage is None or usage.flow is None or session in self._moving:
            return
        if session not in self._unmoved and not self._has_moved(session, usage.flow):
            return
        if session.answered_at is None:
            # Before it is answered nothing can be changed; the other side still answers to where our request came from.
            self._plan(_PAUSE)
            return
        self._moving.add(session)
        self._signalling.run(self._move(session))

    def _has_moved(self, session: CallSession, flow: Flow) -> bool:
        if self._signalling.address_towards(flow.remote[0]) is None:
            return False  # no network at all now; it is looked at again when there is one
        driver = self._signalling.driver
        if driver.has_left(flow):
            driver.abandon(flow, NetworkError(f"Our address {flow.local[0]} has gone."))
            return True
        contact = session.usage.local_contact if session.usage is not None else None
        wanted = self._signalling.call_contact(session, flow)
        if contact is None or not isinstance(contact.uri, SipUri) or not isinstance(wanted.uri, SipUri):
            return False
        return flow.alive and (contact.uri.host, contact.uri.port) != (wanted.uri.host, wanted.uri.port)

    async def _move(self, session: CallSession) -> None:
        try:
            await self._wait_registered(session)
            flow = await self._find_way(session)
            if session.end is None:
                await session.changes.move(flow)
            self._unmoved.discard(session)
        except FlexosipError as error:
            self._unmoved.discard(session)
            if session.end is None:
                self._unmoved.add(session)
                logger.warning("%s: it could not be taken along to our new address yet: %s", session.label, error)
                self._plan(_PAUSE)
        finally:
            self._moving.discard(session)

    async def _wait_registered(self, session: CallSession) -> None:
        account = session.account
        registration = account.registration if account is not None else None
        if account is None or registration is None:
            return
        if registration.state is RegistrationState.REGISTERING:
            await account.wait_change(_PATIENCE)

    async def _find_way(self, session: CallSession) -> Flow:
        """The flow from our new address to the next hop of the call."""
        usage = session.require_usage()
        dialog = usage.dialog
        assert dialog is not None
        found: asyncio.Future[Flow] = self._signalling.loop.create_future()

        def done(flow: Flow | None, error: Exception | None) -> None:
            if found.done():
                return
            if flow is not None:
                found.set_result(flow)
            else:
                found.set_exception(error or NetworkError("There is no way to the other side."))

        preferred = usage.flow if usage.flow is not None and usage.flow.alive else session.account.flow if session.account else None
        self._signalling.core.locate(dialog.next_hop, _ESTIMATED_SIZE, preferred, done)
        return await found
