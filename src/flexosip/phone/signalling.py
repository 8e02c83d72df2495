"""What a started phone runs on: sockets, SIP machines, the audio engine, all bound to one event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, FlexosipError, InvalidState, NetworkError
from flexosip.media.engine import MediaEngine
from flexosip.media.ports import PortAllocator
from flexosip.media.threads import alive_threads
from flexosip.media.virtual import VirtualEngine
from flexosip.net.driver import SipDriver
from flexosip.net.real import RealNetwork
from flexosip.net.stream_flows import StreamLimits
from flexosip.observe.trace import Direction, WireMessage
from flexosip.phone.account import account_called
from flexosip.phone.connectivity.account_servers import AccountServers
from flexosip.phone.connectivity.keep_alive import KeepAlive
from flexosip.phone.connectivity.network_life import NetworkLife
from flexosip.phone.connectivity.public_address import PublicAddress
from flexosip.phone.observers import tell
from flexosip.phone.policy.admission import Admission
from flexosip.sansio import Scheduler
from flexosip.sip.agent import UserAgentCore
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.media.media_session import MediaSession
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.message import Request

__all__ = ["Signalling"]

logger = logging.getLogger(__name__)

_THREADS_WAIT_STEPS = 50

_ANY_HOST = "192.0.2.1"
"""Some host that is not here (RFC 5737): the way to it is the default route. Nothing is ever sent there."""
_LOOK_AGAIN = 0.05
"""Seconds; nobody tells when the last dialog has gone."""


class Signalling:
    """Everything between `Phone.start` and `Phone.close`.

    Args:
        phone: the phone it serves.
        network: None for the real one, else a host or network of `flexosip.simulation`.
        clock: None, or the virtual clock whose event loop runs.
    """

    def __init__(self, phone: Phone, network: Any, clock: Any) -> None:
        self.phone = phone
        self.loop = asyncio.get_running_loop()
        if clock is not None and getattr(clock, "loop", self.loop) is not self.loop:
            raise ConfigurationError("The phone's clock does not run this event loop.", advice="Start the program with clock.run(main()).")
        if network is None:
            network = RealNetwork(self.loop)
        self.network = network
        self.random = phone.random
        self.scheduler = Scheduler(network.time())
        self.driver = SipDriver(
            network,
            self.scheduler,
            receive_datagram=self._receive_datagram,
            receive_message=self._receive_message,
            flow_failed=self._flow_failed,
            random=self.random,
            limits=StreamLimits(
                accepted=phone.limits.connections,
                accepted_from_one=phone.limits.source_connections,
                first_message=phone.limits.first_message,
                message=phone.limits.message,
            ),
            tls=phone.tls,
        )
        self.core = UserAgentCore(self.scheduler, self._transmit, self._locate, random=self.random)
        self.core.servers = AccountServers(self)
        self.core.stack.reopen = self._reopen
        self.driver.receive_malformed = self.core.receive_malformed
        self._configure_core()
        # Before the engine: what raises here must not leave it taken.
        self.ports: PortAllocator[Any] = PortAllocator(network.bind_media, *phone.media_ports, time=network.time, random=self.random)
        # Sockets in memory have no descriptors that a thread could wait for: virtual time ticks the engine in the loop.
        self.engine: MediaEngine | VirtualEngine
        if hasattr(network, "network"):
            self.engine = VirtualEngine(network.call_at, network.time, random=self.random)
        else:
            self.engine = MediaEngine.shared().acquire()
        self.cname = f"{self.random.getrandbits(48):012x}@flexosip"
        self.life = NetworkLife(self)
        self.keep_alives: dict[Account, KeepAlive] = {}
        self.public_address: PublicAddress | None = None
        """What a STUN server knows of us; None: none is asked."""
        self.waiting: set[asyncio.Future[Any]] = set()
        """Who waits for the answer to a request outside of calls."""
        self._background: set[asyncio.Task[Any]] = set()
        self._closing: set[MediaSession] = set()
        self._all_closed: asyncio.Future[None] | None = None
        self._closed = False

    def _configure_core(self) -> None:
        core, phone = self.core, self.phone
        self.admission = Admission(phone, core)
        core.on_invite = phone.incoming
        core.contact_for = self._contact_for
        core.auth_allowed = self._auth_allowed
        core.options_status = phone.options_status
        core.product = phone.user_agent
        phone.rules.configure(core)
        core.supported |= {"answermode", "from-change", "uui"}
        phone.requests.attach(core)
        phone.transfers.attach(core)
        phone.configure_events(core)

    async def open(self, listen: Sequence[str]) -> None:
        """Bind the sockets."""
        callers = self.phone._callers
        if callers.names:
            await callers.resolve(self.network)
            self.run(callers.keep_resolved(self.network))
        reach = self.phone.reach
        reach.mark(self.network)
        if reach.advertised is not None:
            self.driver.advertise(*reach.advertised)
        self.driver.on_stun(self._receive_stun)
        await self.driver.listen(tuple(listen))
        if reach.stun_address is not None:
            self.public_address = PublicAddress(self, reach.stun_address)
            await self.public_address.start()
        self.life.start()

    @property
    def addresses(self) -> list[str]:
        """Where we listen: `udp:HOST:PORT`, `tcp:HOST:PORT` and so on."""
        return [str(address) for address in self.driver.addresses]

    def address_towards(self, host: str) -> str | None:
        """Our numeric address from which packets to `host` leave; None when there is no way."""
        try:
            return self.network.local_address(host) if self.is_numeric(host) else None
        except NetworkError:
            return None

    def own_address(self, host: str) -> tuple[str, int | None]:
        """Our host and port as `host` would see them, for the From of a phone without account."""
        addresses = self.driver.addresses
        listening = [address for address in addresses if address.transport == "udp"] or addresses
        own = self.address_towards(host if self.is_numeric(host) else _ANY_HOST) or "127.0.0.1"
        family = [address for address in listening if (":" in address.host) == (":" in own)]
        return own, family[0].port if family else None

    def run(self, work: Awaitable[Any]) -> None:
        """Run something in the background until it is done or the phone closes."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("background work failed", exc_info=task.exception())

    async def wait_settled(self) -> None:
        """Wait until the other sides have answered everything we sent: a lost BYE is repeated meanwhile.

        A dialog that is still there waits for the ACK that our BYE must not overtake (RFC 3261 §15).
        """
        stack = self.core.stack
        while stack.outstanding or self.core.dialogs:
            settled: asyncio.Future[None] = self.loop.create_future()
            stack.on_idle = lambda settled=settled: None if settled.done() else settled.set_result(None)
            await asyncio.wait((settled,), timeout=_LOOK_AGAIN)
        stack.on_idle = None

    async def close(self) -> None:
        """Free all sockets and the engine."""
        self._closed = True
        self.life.close()
        for waiting in self.waiting:
            if not waiting.done():
                waiting.set_exception(InvalidState("The phone was closed meanwhile."))
        for keep_alive in self.keep_alives.values():
            keep_alive.stop()
        try:
            if self.public_address is not None:
                await self.public_address.close()
            for task in list(self._background):
                task.cancel()
            if self._background:
                await asyncio.wait(list(self._background), timeout=0.1)
            if self._closing:
                self._all_closed = self.loop.create_future()
                await asyncio.wait((self._all_closed,), timeout=0.3)
        finally:
            self.core.close()
            try:
                await self.driver.close()
            finally:
                self.engine.release()
                await self._wait_threads()

    async def _wait_threads(self) -> None:
        """The last phone leaves no thread: the engine's end within a packet time or two, unless a disk is slow."""
        if isinstance(self.engine, MediaEngine) and self.engine.users == 0:
            for _ in range(_THREADS_WAIT_STEPS):
                if not alive_threads() or self.engine.users:
                    return
                await asyncio.sleep(0.002)

    # -- between driver and core --------------------------------------------------------------------------------------

    def _receive_datagram(self, data: bytes, flow: Flow) -> None:
        if not self.admission.reads(data, flow):
            return
        if self.phone.wire_observers:
            self._observe("in", data, flow)
        self.core.receive_datagram(data, flow)

    def _receive_message(self, data: bytes, flow: Flow) -> None:
        if not self.admission.reads(data, flow):
            return
        if self.phone.wire_observers:
            self._observe("in", data, flow)
        self.core.receive_message(data, flow)

    def _transmit(self, flow: Flow, data: bytes) -> None:
        if not flow.proven and not flow.reliable:
            fitting = self.admission.fits(flow, data)
            if fitting is None:
                return
            data = fitting
        if self.phone.wire_observers:
            self._observe("out", data, flow)
        self.driver.transmit(flow, data)

    def _observe(self, direction: Direction, data: bytes, flow: Flow) -> None:
        message = WireMessage(self.network.time(), direction, flow.transport, flow.local, flow.remote, data)
        tell(self.phone.wire_observers, message)

    def _flow_failed(self, flow: Flow, error: Exception) -> None:
        self.core.flow_failed(flow, error)
        for account in self.phone.accounts:
            if account.registration is not None:
                account.registration.flow_lost(flow)
        self.phone.subscriptions.flow_lost(flow)

    def _locate(self, uri: SipUri, size: int, preferred: Flow | None, done: Callable[[Flow | None, Exception | None], None]) -> None:
        self.driver.locate(uri, size, preferred, self.noting(uri, done))

    def _reopen(self, lost: Flow, address: tuple[str, int], done: Callable[[Flow | None, Exception | None], None]) -> None:
        """Connect again to whom `lost` led, for the response to its INVITE."""
        if self._closed:
            done(None, NetworkError("The sockets have been closed."))
            return
        self.driver.locate(SipUri("sip", None, *address, (("transport", lost.transport),)), 0, None, done)

    def noting(self, uri: SipUri, done: Callable[[Flow | None, Exception | None], None]) -> Callable[[Flow | None, Exception | None], None]:
        """`done`, after the accounts whose server `uri` is have learned the way to it."""
        accounts = [account for account in self.phone.accounts if account.is_server(uri)]

        def found(flow: Flow | None, error: Exception | None) -> None:
            if flow is None:
                # Never from within the call that asked: whoever dials must first get to know its call.
                self.loop.call_soon(done, None, error)
                return
            for account in accounts:
                account.note_server(flow)
            done(flow, None)

        return found

    def registration_changed(self, account: Account) -> None:
        """A registration succeeded, failed or ended."""
        if self._closed:
            return
        keep_alive = self.keep_alives.get(account)
        if keep_alive is None:
            keep_alive = self.keep_alives[account] = KeepAlive(self, account)
        keep_alive.registration_changed()
        self.life.registration_changed(account)

    def _receive_stun(self, data: bytes, flow: Flow) -> None:
        for keep_alive in self.keep_alives.values():
            keep_alive.receive_stun(data, flow)
        if self.public_address is not None:
            self.public_address.receive_stun(data, flow)

    def _auth_allowed(self, flow: Flow) -> bool:
        """Credentials of an account that is reached by TLS do not leave in the clear, not even to the same address."""
        here = [account for account in self.phone.accounts if flow.remote[0] in account.server_addresses]
        return flow.secure or not here or any(not account.is_secure for account in here)

    def _contact_for(self, flow: Flow, request: Request | None) -> NameAddr:
        account = account_called(self.phone.accounts, request, flow)
        return account.contact(flow) if account is not None else self.phone.contact(flow)

    def call_contact(self, session: CallSession, flow: Flow) -> NameAddr:
        """The Contact of a call whose signalling takes `flow`."""
        return session.account.contact(flow) if session.account is not None else self.phone.contact(flow)

    def contact_address(self, flow: Flow) -> tuple[str, int]:
        """Host and port at which the peer of `flow` reaches us: for a connection that we opened, our listening port."""
        return flow.local if flow.transport == "udp" else (flow.local[0], self.driver.listening_port(flow))

    # -- media --------------------------------------------------------------------------------------------------------

    def stream_closing(self, media: MediaSession) -> None:
        """A stream is being closed; `close` waits for it."""
        self._closing.add(media)

    def stream_closed(self, media: MediaSession) -> None:
        """The engine has freed its sockets."""
        self._closing.discard(media)
        if not self._closing and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)

    @staticmethod
    def is_numeric(host: str) -> bool:
        """True for an IPv4 or IPv6 address."""
        try:
            ipaddress.ip_address(host.split("%")[0])
        except ValueError:
            return False
        return True

    async def resolve_media_host(self, host: str) -> str | None:
        """The numeric address of a host name in a c= line, None when there is none (RFC 8866 §5.7)."""
        try:
            addresses = await self.network.resolve(host)
        except FlexosipError as error:
            logger.warning("the media address %r is unknown: %s", host, error)
            return None
        return addresses[0] if addresses else None
