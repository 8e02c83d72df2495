"""The PBX: users with passwords, who register their phones and call each other.

RFC 3261 §10.3 (registrar), §16 (proxy), §22 (digest)
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flexosip.errors import ConfigurationError, NetworkError, RemoteProtocolError
from flexosip.net.address import canonical_ip, is_wildcard
from flexosip.net.driver import SipDriver
from flexosip.net.network import Network
from flexosip.net.real import RealNetwork
from flexosip.net.stun import answer_to
from flexosip.net.tls import TlsSettings
from flexosip.observe.trace import Direction, WireMessage
from flexosip.pbx.identity import assert_caller, is_caller
from flexosip.pbx.location import Binding, LocationTable, TooBrief, registration_headers
from flexosip.pbx.proxy import ForkingProxy, Target
from flexosip.pbx.states import UserStates
from flexosip.phone.observers import tell
from flexosip.sansio import Scheduler
from flexosip.sip.digest import DigestServer, Verified
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.message_summary import MessageSummary
from flexosip.sip.next_hop import default_port, transport_of
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.stack import SipStack
from flexosip.sip.uri import SipUri

__all__ = ["Pbx", "PbxEvent"]

logger = logging.getLogger(__name__)

RING_ALL = "**9"
ALLOW = "ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, NOTIFY, OPTIONS, PRACK, PUBLISH, REFER, REGISTER, SUBSCRIBE, UPDATE"


@dataclass(frozen=True, slots=True)
class PbxEvent:
    """Something happened at the PBX."""

    at: float
    kind: str
    """`registered`, `unregistered`, `refused` (credentials), `calling`, `call_result`."""
    user: str
    detail: str = ""


class Pbx:
    """Registrar with digest and forking proxy in one.

    Args:
        users: passwords by user name.
        listen: addresses for UDP and TCP, `HOST:PORT` or `[IPV6]:PORT`; with a transport before it, for that one alone:
            `tls:0.0.0.0:5061`, `ws:`, `wss:`, `udp:`, `tcp:`.
        tls: certificate and key, for `tls` and `wss`.
        realm: of the digest; it also counts as a domain of ours.
        algorithms: digest algorithms offered, best first.
        min_expires, max_expires: seconds that a registration may last.
        clock, network: the virtual ones of `flexosip.simulation`.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        listen: Sequence[str] = ("127.0.0.1:5060",),
        realm: str = "flexosip",
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        min_expires: float = 30,
        max_expires: float = 7200,
        tls: TlsSettings | None = None,
        clock: Any = None,
        network: Any = None,
    ) -> None:
        self.users: dict[str, str] = {}
        for name, password in (users or {}).items():
            self.add_user(name, password)
        self.realm = realm
        self.listen = tuple(listen)
        self.tls = tls
        self.locations = LocationTable(min_expires=min_expires, max_expires=max_expires)
        self._algorithms = tuple(algorithms)
        self._clock = clock
        self._network = network
        self._observers: list[Callable[[PbxEvent], None]] = []
        self._wire_observers: list[Callable[[WireMessage], None]] = []
        self._driver: SipDriver | None = None
        self._stack: SipStack

    def add_user(self, name: str, password: str) -> None:
        """Add a user or change the password."""
        if not name or any(character.isspace() or ord(character) < 33 or character in '@:;?<>"' for character in name):
            raise ConfigurationError(f"{name!r} is no user name: letters, digits and the like without spaces, @ and colon.")
        self.users[name] = password

    # -- start and end ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Pbx:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the sockets.

        Raises:
            NetworkError: a port is in use. ConfigurationError: the TLS files cannot be used.
        """
        loop = asyncio.get_running_loop()
        network = self._network
        if network is None:
            network = RealNetwork(loop)
        elif hasattr(network, "host"):
            network = network.host()
        random: Any = getattr(network, "random", None) or random_module.SystemRandom()
        self._now = network.time
        self._network_in_use: Network = network
        self.scheduler = Scheduler(network.time())
        self._stack = SipStack(self.scheduler, self._transmit, random=random)
        self._stack.on_request = self._on_request
        self._stack.on_ack = self._on_ack
        driver = SipDriver(
            network,
            self.scheduler,
            receive_datagram=self._receive_datagram,
            receive_message=self._receive_message,
            flow_failed=self._flow_failed,
            tls=self.tls,
        )
        common = {"scheduler": self.scheduler, "random": random, "algorithms": self._algorithms}
        self._registrar_digest = DigestServer(self.realm, self.users.get, **common)
        self._proxy_digest = DigestServer(self.realm, self.users.get, proxy=True, **common)
        self._proxy = ForkingProxy(
            self._stack,
            driver.locate,
            secret=random.getrandbits(128).to_bytes(16, "big"),
            connection_from=driver.connection_from,
            listening_port=driver.listening_port,
        )
        self._states = UserStates(
            self._stack,
            driver.locate,
            contact=self._contact,
            domain=self.realm,
            bindings=self.bindings,
        )
        driver.receive_malformed = self._stack.receive_malformed
        driver.on_stun(self._receive_stun)
        self._driver = driver
        try:
            await driver.listen(self.listen)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Free the sockets. What rings is given up; answered calls go on without us until they end by themselves."""
        if self._driver is not None:
            self._proxy.close()
            self._states.close()
        driver, self._driver = self._driver, None
        if driver is not None:
            self._stack.close()
            await driver.close()

    @property
    def addresses(self) -> list[str]:
        """Where it listens: `udp:HOST:PORT`, `tcp:HOST:PORT` and so on."""
        return [str(address) for address in self._driver.addresses] if self._driver is not None else []

    def bindings(self, user: str) -> list[Binding]:
        """The phones that a user has registered now."""
        return self.locations.bindings(user, self._now())

    def set_messages(self, user: str, summary: MessageSummary) -> None:
        """Tell the phones of `user` what waits in the mailbox (RFC 3842): those that have subscribed, or all if none has.

        Raises:
            ConfigurationError: there is no such user.
        """
        if user not in self.users:
            raise ConfigurationError(f"This PBX has no user {user!r}.")
        self._states.set_messages(user, summary)

    def _contact(self, flow: Flow) -> NameAddr:
        """The PBX itself as seen over `flow`."""
        assert self._driver is not None
        uri = SipUri("sip", "pbx", flow.local[0], self._driver.listening_port(flow) if flow.reliable else flow.local[1])
        return NameAddr(uri if flow.transport == "udp" else uri.with_parameter("transport", flow.transport))

    def on_event(self, observer: Callable[[PbxEvent], None]) -> Callable[[PbxEvent], None]:
        """Decorator: see what happens."""
        self._observers.append(observer)
        return observer

    def on_wire(self, observer: Callable[[WireMessage], None]) -> Callable[[WireMessage], None]:
        """Decorator: see every SIP message that is sent and received."""
        self._wire_observers.append(observer)
        return observer

    def _emit(self, kind: str, user: str, detail: str = "") -> None:
        event = PbxEvent(self._now(), kind, user, detail)
        tell(self._observers, event)
        if kind in ("registered", "unregistered") and self._driver is not None:
            self._states.registration_changed(user)

    # -- between driver and stack -------------------------------------------------------------------------------------

    def _receive_datagram(self, data: bytes, flow: Flow) -> None:
        self._observe("in", data, flow)
        self._stack.receive_datagram(data, flow)

    def _receive_message(self, data: bytes, flow: Flow) -> None:
        self._observe("in", data, flow)
        self._stack.receive_message(data, flow)

    def _transmit(self, flow: Flow, data: bytes) -> None:
        self._observe("out", data, flow)
        assert self._driver is not None
        self._driver.transmit(flow, data)

    def _observe(self, direction: Direction, data: bytes, flow: Flow) -> None:
        if self._wire_observers:
            message = WireMessage(self._now(), direction, flow.transport, flow.local, flow.remote, data)
            tell(self._wire_observers, message)

    def _flow_failed(self, flow: Flow, error: Exception) -> None:
        for user in self.locations.remove_flow(flow) if flow.reliable else ():
            self._emit("unregistered", user, "connection lost")
        self._stack.flow_failed(flow, error)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _is_ours(self, uri: SipUri) -> bool:
        """True for a URI that names this PBX: one of its addresses, or the realm."""
        if uri.host == self.realm.lower():
            return True
        try:
            port = uri.port or default_port(transport_of(uri))
        except NetworkError:
            return False
        for address in self._driver.addresses if self._driver is not None else ():
            if address.port == port and (address.host == uri.host or (is_wildcard(address.host) and self._is_own(uri.host))):
                return True
        return False

    def _is_own(self, host: str) -> bool:
        """True for an address of this machine: packets to it leave from it."""
        if canonical_ip(host) is None:
            return False
        try:
            return self._network_in_use.local_address(host) == canonical_ip(host)
        except NetworkError:
            return False

    def _on_request(self, request: Request, transaction: ServerTransaction) -> None:
        uri = request.uri
        if not isinstance(uri, SipUri):
            transaction.respond(request.create_response(416))
            return
        if request.method == "CANCEL":
            self._on_cancel(request, transaction)
            return
        required = request.headers.get_all("Proxy-Require") + (request.headers.get_all("Require") if request.method == "REGISTER" else [])
        if required:
            transaction.respond(request.create_response(420, headers=(("Unsupported", ", ".join(required)),)))
            return
        if request.method == "REGISTER":
            self._on_register(request, transaction)
            return
        way = self._proxy.take_routes(request, self._is_ours)
        if request.to.tag and way is None and self._states.receive_within(request, transaction):
            return
        if request.to.tag:
            self._within_call(request, transaction, way)
        elif request.method == "OPTIONS" and uri.user is None and self._is_ours(uri):
            transaction.respond(request.create_response(200, headers=(("Allow", ALLOW), ("Accept", "application/sdp"))))
        elif request.max_forwards == 0:
            transaction.respond(request.create_response(483))
        elif self._stack.is_merged(request, transaction):
            transaction.respond(request.create_response(482))
        else:
            self._new_request(request, transaction)

    def _on_cancel(self, request: Request, transaction: ServerTransaction) -> None:
        invite = self._stack.find_cancelled(request)
        if invite is None:
            transaction.respond(request.create_response(481))
            return
        transaction.respond(request.create_response(200, to_tag=invite.to_tag))
        if invite.on_cancel is not None:
            invite.on_cancel(request)

    def _within_call(self, request: Request, transaction: ServerTransaction, way: SipUri | None) -> None:
        hop = self._proxy.next_hop(request, way)
        if hop is None or (way is None and self._is_ours(hop)):
            transaction.respond(request.create_response(481))
        elif request.max_forwards == 0:
            transaction.respond(request.create_response(483))
        elif way is None:
            # Not routed by a hop that we signed: we forward for our own calls only.
            transaction.respond(request.create_response(481))
        else:
            self._proxy.forward_within(request, transaction, hop, way, self._noting_end(request))

    def _noting_end(self, request: Request) -> Callable[[int], None] | None:
        """What the answer to a request within a call means for those who watch it."""
        calls = self._states.calls
        call = calls.find(request)
        if call is None:
            return None
        calls.goes_on(call)
        # A BYE that is challenged comes again; after any other answer there is no call any more.
        return (lambda status: None if status in (401, 407) else calls.forget(call)) if request.method == "BYE" else None

    def _on_ack(self, request: Request, flow: Flow) -> None:
        way = self._proxy.take_routes(request, self._is_ours)
        hop = self._proxy.next_hop(request, way)
        if hop is not None and way is not None and request.max_forwards != 0:
            self._proxy.forward_ack(request, hop, way)

    def _receive_stun(self, data: bytes, flow: Flow) -> None:
        """The keep-alive of a phone (RFC 5626 §6); strangers get nothing."""
        answer = answer_to(data, flow.remote) if self.locations.knows_flow(flow) else None
        if answer is not None and self._driver is not None:
            self._driver.transmit(flow, answer)

    def _on_register(self, request: Request, transaction: ServerTransaction) -> None:
        assert isinstance(request.uri, SipUri)
        user = request.to.uri.unescaped_user if isinstance(request.to.uri, SipUri) else None
        if user is None:
            # Before the challenge: no password makes this an address of record (RFC 3261 §10.3 step 5).
            transaction.respond(request.create_response(400, "To Needs a SIP Address"))
            return
        verified = self._registrar_digest.verify(request)
        if not isinstance(verified, Verified):
            challenges = self._registrar_digest.challenge(stale=verified.stale)
            if "Authorization" in request.headers and not verified.stale:
                self._emit("refused", user)
            transaction.respond(request.create_response(401, headers=[("WWW-Authenticate", value) for value in challenges]))
            return
        if user != verified.username:
            transaction.respond(request.create_response(403, "Not Your Address"))
            return
        now = self._now()
        before = {str(binding.uri) for binding in self.locations.bindings(user, now)}
        try:
            bindings = self.locations.update(user, request, transaction.flow, now)
        except TooBrief:
            headers = (("Min-Expires", f"{self.locations.min_expires:.0f}"),)
            transaction.respond(request.create_response(423, headers=headers))
            return
        except RemoteProtocolError as error:
            transaction.respond(request.create_response(error.status_hint, str(error)))
            return
        fields = [*self.locations.contact_values(user, now), *registration_headers(request, bindings)]
        transaction.respond(request.create_response(200, headers=fields))
        after = {str(binding.uri) for binding in bindings}
        if after - before:
            self._emit("registered", user, ", ".join(sorted(after - before)))
        elif before and not after:
            self._emit("unregistered", user)

    def _new_request(self, request: Request, transaction: ServerTransaction) -> None:
        uri = request.uri
        assert isinstance(uri, SipUri)
        verified = self._proxy_digest.verify(request)
        if not isinstance(verified, Verified):
            headers = [("Proxy-Authenticate", value) for value in self._proxy_digest.challenge(stale=verified.stale)]
            transaction.respond(request.create_response(407, headers=headers))
            return
        caller = request.from_.uri
        if not isinstance(caller, SipUri) or not is_caller(request, verified.username):
            transaction.respond(request.create_response(403, "Not Your Address"))
            return
        request.headers.remove("Proxy-Authorization")
        assert_caller(request, verified.username)
        # Phones may know us by a name that we do not: the domain in which a user of ours stands is ours as well.
        if not self._is_ours(uri) and uri.host != caller.host:
            transaction.respond(request.create_response(404, "Only Calls Inside"))
            return
        if uri.user is None:
            transaction.respond(request.create_response(484))
            return
        self._route(request, transaction, verified.username, uri.unescaped_user)

    def _route(self, request: Request, transaction: ServerTransaction, caller: str, called: str) -> None:
        if called == RING_ALL:
            users = [user for user in self.users if user != caller]
        elif called in self.users:
            users = [called]
        else:
            transaction.respond(request.create_response(404))
            return
        if len(users) == 1 and self._states.receive(request, transaction, caller, users[0]):
            return
        now = self._now()
        # A sips address is reached by TLS on every hop (RFC 5630 §5.3); then how the phone wrote its Contact does not matter.
        secure = isinstance(request.uri, SipUri) and request.uri.scheme == "sips"
        # A binding may hold escaped headers; a Request-URI may not, and a Route from there would send our calls anywhere.
        found = tuple(
            (user, Target(replace(binding.uri, scheme="sips" if secure else "sip", headers=None), binding.flow, binding.path))
            for user in users
            for binding in self.locations.bindings(user, now)
            if binding.flow.secure or not secure
        )
        targets = [target for _, target in found]
        if not targets:
            insecure = secure and any(self.locations.bindings(user, now) for user in users)
            headers = (("Warning", f'380 {self.realm} "SIPS Not Allowed"'),) if insecure else ()
            transaction.respond(request.create_response(480, headers=headers))
            return
        if request.method != "INVITE":
            self._proxy.forward(request, transaction, targets, on_result=lambda status: self._result(caller, called, status))
            return
        self._emit("calling", caller, called)
        call = self._states.calls.begin(request, caller, found)

        def over(status: int) -> None:
            call.over(status)
            self._result(caller, called, status)

        self._proxy.forward(request, transaction, targets, on_result=over, on_answer=call.answered)

    def _result(self, caller: str, called: str, status: int) -> None:
        self._emit("call_result", caller, f"{called} {status}")
