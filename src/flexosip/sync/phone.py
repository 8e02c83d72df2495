"""The phone for threads: the verbs of `flexosip.Phone` without `await`."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexosip.errors import InvalidState
from flexosip.net.tls import TlsSettings
from flexosip.phone.account import Account
from flexosip.phone.availability import Availability
from flexosip.phone.call import Call as AsyncCall
from flexosip.phone.connectivity.reach import Reach
from flexosip.phone.dialling.ring_group import Confirmation, Targets
from flexosip.phone.phone import Phone as AsyncPhone
from flexosip.phone.phone import RingResult
from flexosip.phone.profiles.profile_verbs import ProfileVerbs
from flexosip.sync.call import Call, HeaderArgument, for_threads
from flexosip.sync.event_verbs import EventVerbs
from flexosip.sync.portal import Portal

if TYPE_CHECKING:
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.credentials import Credentials
    from flexosip.phone.dialling.caller_id import IdentityPolicy
    from flexosip.phone.events import CallEvent
    from flexosip.phone.policy.call_policy import CallPolicy
    from flexosip.phone.policy.callers import Callers
    from flexosip.phone.policy.limits import Limits
    from flexosip.phone.profiles.server_rules import ServerRules
    from flexosip.phone.statistics import PhoneStatistics
    from flexosip.phone.transfer.pickup import DialogToPickUp
    from flexosip.phone.transfer.transfer_values import ReplaceHandler, TransferHandler, TransferRequest
    from flexosip.sip.registration import Registration, RegistrationEvent
    from flexosip.sip.replaces import Replaces
    from flexosip.sip.uri import SipUri
    from flexosip.sip.user_to_user import UserToUser

__all__ = ["Phone"]

_CLOSE_TIME = 2.0


class Phone(ProfileVerbs, EventVerbs):
    """A SIP phone; see `flexosip.Phone` for the arguments. It runs in real time: there is no `clock=`."""

    def __init__(
        self,
        aor: str | None = None,
        *,
        password: str | Credentials | None = None,
        auth_user: str | None = None,
        realm: str | None = None,
        registrar: str | None = None,
        proxy: str | None = None,
        display_name: str | None = None,
        transport: str | None = None,
        listen: Sequence[str] | str = ("0.0.0.0:0", "[::]:0"),
        codecs: Sequence[str] | None = None,
        srtp: str = "off",
        accept_from: str | Sequence[str] = "auto",
        callers: Callers | None = None,
        limits: Limits | None = None,
        call_policy: CallPolicy | None = None,
        network: Any = None,
        expires: float = 3600.0,
        register: bool = True,
        media_ports: tuple[int, int] = (16384, 32766),
        media_timeout: float | None = 30.0,
        max_calls: int | None = None,
        user_agent: str | None = None,
        trusted_peers: Sequence[str] | str = (),
        caller_id: str | None = None,
        identity_policy: IdentityPolicy | str = "from",
        auto_answer: str | None = None,
        availability: Availability | None = None,
        accept_transfers: bool | TransferHandler = False,
        accept_replaces: bool | str | ReplaceHandler = "auto",
        tls_ca: str | Path | None = None,
        tls_certificate: str | Path | None = None,
        tls_key: str | Path | None = None,
        tls: TlsSettings | None = None,
        reliable_provisional: str = "off",
        session_expires: int | None = 1800,
        min_se: int = 90,
        max_duration: float | None = None,
        follow_redirects: bool = True,
        reach: Reach | None = None,
        server_rules: ServerRules | None = None,
    ) -> None:
        # The arguments are those of the asynchronous phone, one for one: a list of them would only be a place for mistakes.
        given = dict(locals())
        del given["self"]
        self._phone = AsyncPhone(**given)
        self._portal_or_none: Portal | None = None
        self._lock = threading.RLock()
        self._closing: concurrent.futures.Future[None] | None = None

    # -- start and end ------------------------------------------------------------------------------------------------

    @property
    def _portal(self) -> Portal:
        portal = self._portal_or_none
        if portal is None:
            raise InvalidState("The phone is not started.", advice="Use `with Phone(...) as phone:` or `phone.start()` first.")
        return portal

    def __enter__(self) -> Phone:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self, *, wait_registered: bool = True, timeout: float = 15.0) -> None:
        """Open the sockets, register and wait for it.

        Raises:
            NetworkError: a port is in use. AuthenticationError, RegistrationFailed, NetworkError: not registered; all is freed again.
        """
        if self._portal_or_none is not None:
            return
        self._closing = None
        self._portal_or_none = Portal()
        try:
            self._portal.run(self._phone.start(wait_registered=wait_registered, timeout=timeout))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all calls, unregister, free everything; at most 2 s. Harmless when closed.

        Verbs that wait in other threads raise `CallEnded` or `InvalidState`. A handler that computes or sleeps for longer cannot be
        stopped; its thread does not keep the program alive.
        """
        portal = self._portal_or_none
        if portal is None:
            return
        deadline = time.monotonic() + _CLOSE_TIME
        if portal.inside:
            raise InvalidState("close() was called inside the phone's own thread.", advice="Do it in a thread of your own.")
        try:
            # Several threads, or a signal handler while it closes already: all wait for the same end.
            with self._lock:
                closing = self._closing
                if closing is None:
                    closing = self._closing = portal.submit(self._phone.close())
            concurrent.futures.wait((closing,))
        except InvalidState:
            pass  # another thread was quicker
        finally:
            portal.close(deadline)
            self._portal_or_none = None

    @property
    def running(self) -> bool:
        """True between `start` and `close`."""
        return self._portal_or_none is not None and self._phone.running

    @property
    def addresses(self) -> list[str]:
        """Where it listens, for example `udp:192.168.1.2:5060`."""
        return self._phone.addresses

    # -- accounts -----------------------------------------------------------------------------------------------------

    @property
    def accounts(self) -> list[Account]:
        """Its accounts."""
        return self._phone.accounts

    def add_account(self, aor: str, **settings: Any) -> Account:
        """Add an account; on a started phone it begins to register at once. See `Account` for the settings."""
        if self._portal_or_none is None:
            return self._phone.add_account(aor, **settings)
        return self._portal.call(self._phone.add_account, aor, **settings)

    def wait_registered(self, timeout: float = 15.0) -> Registration:
        """Wait until all accounts are registered; the first account's `Registration`.

        Raises:
            AuthenticationError, RegistrationFailed, NetworkError: why not.
        """
        return self._portal.run(self._phone.wait_registered(timeout))

    def unregister(self) -> None:
        """Take all registrations away, waiting up to 2 s; calls go on."""
        self._portal.run(self._phone.unregister())

    # -- calling ------------------------------------------------------------------------------------------------------

    def check_outgoing(self, target: str | SipUri, account: Account | str | None = None) -> None:
        """Count a call to `target` as placed if the call policy lets it out.

        Raises:
            CallBarred: it does not. ConfigurationError: the target means nothing.
        """
        self._portal.call(self._phone.check_outgoing, target, account)

    def statistics(self) -> PhoneStatistics:
        """What came in since the start, what was refused, and what is there now."""
        return self._portal.call(self._phone.statistics)

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended."""
        return [self._wrap(call) for call in self._phone.calls]

    def _wrap(self, call: AsyncCall) -> Call:
        return Call(self._portal, call)

    def call(
        self,
        target: Targets,
        *,
        ring_timeout: float | None = None,
        then: Sequence[Targets] = (),
        confirm: str | Confirmation | None = None,
        headers: HeaderArgument = None,
        subject: str | None = None,
        account: Account | str | None = None,
        anonymous: bool = False,
        caller_id: str | SipUri | None = None,
        auto_answer: bool | float = False,
        alert: str | None = None,
        uui: bytes | str | UserToUser | None = None,
        replaces: Call | Replaces | str | None = None,
        offer: bool = True,
        max_duration: float | None = None,
    ) -> Call:
        """Call and wait for the answer; use it with `with` to have it hung up at the end of the block.

        Raises:
            CallFailed, AuthenticationError, NetworkError: it was not answered, and why.
        """
        taken = replaces._call if isinstance(replaces, Call) else replaces

        async def work() -> AsyncCall:
            return await self._phone.call(
                target,
                ring_timeout=ring_timeout,
                then=then,
                confirm=confirm,
                headers=headers,
                subject=subject,
                account=account,
                anonymous=anonymous,
                caller_id=caller_id,
                auto_answer=auto_answer,
                alert=alert,
                uui=uui,
                replaces=taken,
                offer=offer,
                max_duration=max_duration,
            )

        return self._wrap(self._portal.run(work()))

    def dial(self, target: str | SipUri, **options: Any) -> Call:
        """Like `call`, but returns as soon as the INVITE is on its way; then `wait_ringing`, `wait_answered`."""
        return self._wrap(self._portal.run(self._phone.dial(target, **options)))

    def ring(
        self,
        target: Targets,
        duration: float = 20.0,
        *,
        then: Sequence[Targets] = (),
        confirm: str | Confirmation | None = None,
        headers: HeaderArgument = None,
        subject: str | None = None,
        account: Account | str | None = None,
        anonymous: bool = False,
        caller_id: str | SipUri | None = None,
        auto_answer: bool | float = False,
        alert: str | None = None,
        uui: bytes | str | UserToUser | None = None,
    ) -> RingResult:
        """The doorbell: let it ring; hang up when it is answered, declined or the time is up.

        Raises:
            CallFailed, AuthenticationError, NetworkError: it could not ring at all.
        """
        return self._portal.run(
            self._phone.ring(
                target,
                duration,
                then=then,
                confirm=confirm,
                headers=headers,
                subject=subject,
                account=account,
                anonymous=anonymous,
                caller_id=caller_id,
                auto_answer=auto_answer,
                alert=alert,
                uui=uui,
            )
        )

    def pickup(self, target: str | DialogToPickUp, *, account: Account | str | None = None, ring_timeout: float | None = 20.0) -> Call:
        """Take a call that rings elsewhere, and wait until we have it; see `flexosip.Phone.pickup`."""

        async def work() -> AsyncCall:
            return await self._phone.pickup(target, account=account, ring_timeout=ring_timeout)

        return self._wrap(self._portal.run(work()))

    @property
    def do_not_disturb(self) -> bool | int:
        """True, or the status for callers, while no call shall ring; it can be set at any time."""
        return self._phone.do_not_disturb

    @do_not_disturb.setter
    def do_not_disturb(self, value: bool | int) -> None:
        self._phone.do_not_disturb = value

    # -- being called -------------------------------------------------------------------------------------------------

    def on_call(self, handler: Callable[[Call], Any]) -> Callable[[Call], Any]:
        """Decorator: `def handler(call)` runs in a thread of its own per incoming call; when it returns, the call is over."""

        async def run(call: AsyncCall) -> None:
            await self._portal.in_thread(handler, self._wrap(call))

        self._phone.on_call(run)
        return handler

    def on_refer(self, handler: Callable[[TransferRequest], bool]) -> Callable[[TransferRequest], bool]:
        """Decorator: `handler(request)` decides, in a thread of its own, about each request of others to call somebody."""

        async def ask(request: TransferRequest) -> bool:
            return bool(await self._portal.in_thread(handler, for_threads(self._portal, request)))

        self._phone.on_refer(ask)
        return handler

    def incoming_calls(self) -> Iterator[Call]:
        """Incoming calls one after the other, until the phone is closed."""
        for call in self._portal.iterate(self._phone.incoming_calls()):
            yield self._wrap(call)

    # -- observers: they run in the phone's thread, so they must neither block nor call the phone ----------------------

    def on_registration(self, handler: Callable[[Account, RegistrationEvent], None]) -> Callable[[Account, RegistrationEvent], None]:
        """Decorator: `handler(account, event)` at every change of a registration; it must not block."""
        return self._phone.on_registration(handler)

    def on_call_event(self, observer: Callable[[Call, CallEvent], None]) -> Callable[[Call, CallEvent], None]:
        """Decorator: `observer(call, event)` for the events of all calls; it must not block."""
        self._phone.on_call_event(lambda call, event: observer(self._wrap(call), event))
        return observer

    def on_wire(self, observer: Callable[[WireMessage], None]) -> Callable[[WireMessage], None]:
        """Decorator: see every SIP message that is sent and received; it must not block."""
        return self._phone.on_wire(observer)
