"""Account: an address of record with its server, its credentials and its registration (RFC 3261 §10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

from flexosip.advice import status_advice
from flexosip.errors import AuthenticationError, ConfigurationError, FlexosipError, NetworkError, RegistrationFailed, ServerUnreachable
from flexosip.net.address import is_house_name
from flexosip.phone.connectivity.contacts import secured
from flexosip.phone.credentials import Credentials, create_auth
from flexosip.phone.dialling.caller_id import IdentityPolicy, caller_address
from flexosip.phone.profiles.server_rules import ServerRules
from flexosip.phone.values import checked_text, parse_server, shown
from flexosip.sip.headers import NameAddr
from flexosip.sip.next_hop import DEFAULT_PORTS, SECURE_TRANSPORTS, TRANSPORTS, NextHop, transport_of
from flexosip.sip.registration import Registration, RegistrationEvent
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request

__all__ = ["Account", "account_called", "check_transport", "lacks_credentials", "parse_aor"]

logger = logging.getLogger(__name__)


def check_transport(transport: str | None) -> None:
    """Check a transport's name.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if transport is not None and transport not in TRANSPORTS:
        raise ConfigurationError(f"transport={transport!r}: allowed are {', '.join(TRANSPORTS[:-1])} and {TRANSPORTS[-1]}.")


def parse_aor(text: str) -> SipUri:
    """An address of record: `sip:user@host[:port]` or `user@host[:port]`; `sips:` where all the way to the domain shall be TLS.

    Raises:
        ConfigurationError: it is none.
    """
    checked_text(text, "The account")
    full = text if ":" in text.split("@")[0] else f"sip:{text}"
    try:
        uri = SipUri.parse(full)
    except (ValueError, FlexosipError) as error:
        raise ConfigurationError(f"The account {shown(text)!r} is not an address like sip:user@host: {str(error).rstrip('.')}.") from error
    if not uri.user:
        raise ConfigurationError(f"The account {shown(text)!r} has no user part. Write it as sip:user@host.")
    return SipUri(uri.scheme, uri.user, uri.host, uri.port)


def lacks_credentials(account: Account | None) -> str | None:
    """What keeps us from answering a challenge: there is no "account", or no "password"; None when an answer can be given."""
    if account is None:
        return "account"
    return "password" if account.digest is None else None


def account_called(accounts: Sequence[Account], request: Request | None, flow: Flow | None) -> Account | None:
    """The one of `accounts` that an incoming request is meant for, None without any account.

    Our Contact tells it without doubt; then the user in the Request-URI or else in To, and of several accounts of that name, at different
    servers, the one whose server sent it; then the server.
    """
    if len(accounts) < 2:
        return accounts[0] if accounts else None
    uris = [request.uri, request.to.uri if request.to is not None else None] if request is not None else []
    users = [uri.user for uri in uris if isinstance(uri, SipUri) and uri.user is not None]
    for account in accounts:
        if account.contact_user in users[:1]:
            return account
    served = [account for account in accounts if flow is not None and flow.remote[0] in account.server_addresses]
    for user in users:
        for account in (*served, *accounts):
            if user in (account.aor.user, account.contact_user):
                return account
    return served[0] if served else accounts[0]


class Account:
    """One identity of a phone.

    Args:
        phone: the phone it belongs to.
        aor: address of record, `sip:user@host[:port]`; `sips:` never goes without TLS (RFC 5630).
        password: for the digest (RFC 7616), or `Credentials` with its hash, a token or a choice of algorithms; None when the server asks
            for none.
        auth_user: user name for the digest where it differs from the address (some providers call it SIP id).
        realm: the only realm that gets the credentials; None: the realms that the configured server challenges with.
        registrar: as `proxy`; several, with commas between them, are tried in turn when those before are down.
        proxy: `HOST[:PORT]`, a SIP URI, or the URL of a WebSocket, `wss://HOST[:PORT]/PATH`. The proxy is the next hop
            whatever the domain resolves to.
        display_name: the name other phones show.
        transport: `udp`, `tcp`, `tls`, `ws` or `wss`; None: UDP, and TCP for messages that are too large for it; TLS for `sips:`.
            By TLS the server's certificate must name the account's domain, also with a registrar or proxy elsewhere; with the URL of
            a secure WebSocket, that URL's host (RFC 7118 §10.1).
        expires: seconds of a registration that we ask for.
        register: False for an account that calls without registering (a trunk with a fixed address).
        caller_id: the number that calls show, where it is not the account's address.
        identity_policy: where the provider wants that number: `from`, `ppi`, `pai`, `rpid`, `diversion`, or an `IdentityPolicy`, which
            also says how calls are made anonymous.
        max_calls: lines of this account, in both directions; None: no limit of its own.
        pickup_code: what is dialled before an extension to take its ringing call, for example `*8` or `**`; see `Phone.pickup`.
        server_rules: what the server wants that no RFC says; part of a `Profile`.
    """

    def __init__(
        self,
        phone: Phone,
        aor: str,
        *,
        password: str | Credentials | None = None,
        auth_user: str | None = None,
        realm: str | None = None,
        registrar: str | None = None,
        proxy: str | None = None,
        display_name: str | None = None,
        transport: str | None = None,
        expires: float = 3600.0,
        register: bool = True,
        caller_id: str | None = None,
        identity_policy: IdentityPolicy | str = "from",
        max_calls: int | None = None,
        pickup_code: str | None = None,
        server_rules: ServerRules | None = None,
    ) -> None:
        check_transport(transport)
        for value, what in ((auth_user, "auth_user"), (realm, "realm"), (display_name, "display_name")):
            if value is not None:
                checked_text(value, what)
        if not 10 <= expires <= 86400 * 7:
            raise ConfigurationError(f"expires={expires}: a registration lasts 10 seconds to one week.")
        self.phone = phone
        self.registration: Registration | None = None
        self.aor = parse_aor(aor)
        self.display_name = display_name
        self.server_rules = rules = server_rules if server_rules is not None else ServerRules()
        self.caller_id = caller_id
        self.max_calls = max_calls
        self.identity_policy = IdentityPolicy.of(identity_policy)
        if caller_id is not None:
            caller_address(caller_id, self, self.identity)
        self.expires = expires
        self.pickup_code = checked_text(pickup_code, "pickup_code") if pickup_code is not None else rules.pickup_code
        self.register = register
        self.transport = transport
        self.registrars = tuple(parse_server(each.strip(), "The registrar") for each in registrar.split(",")) if registrar else ()
        self.proxy = parse_server(proxy, "The proxy") if proxy is not None else None
        self._check_secure()
        user = auth_user if auth_user is not None else self.aor.unescaped_user or ""
        self.digest = create_auth(user, password, realm, phone.random, secure=transport_of(self.server) in SECURE_TRANSPORTS)
        self.contact_user = phone.reach.contact_user(str(self.aor), phone.device) or f"{phone.random.getrandbits(96):024x}"
        """The user part of our Contact: nobody but the registrar knows it, so who uses it was sent by the registrar."""
        if rules.account_contact:
            self.contact_user = self.aor.user or self.contact_user
        self.server_addresses: set[str] = set()
        """Numeric addresses of the account's server, learned when requests were sent there."""
        self._servers: set[tuple[str, int]] = set()
        self._secure_flows: WeakSet[Flow] = WeakSet()
        self.event: RegistrationEvent | None = None
        self._changed: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Account {self.aor}>"

    def is_server(self, uri: SipUri) -> bool:
        """Whether a next hop is the account's server. Others may have written it, into a Contact for example: an maddr or a port
        beside the server's name leads to somebody else."""
        server = self.server
        if uri.host != server.host or uri.has_parameter("maddr"):
            return False
        return uri.port in (None, server.port) or (server.port is None and uri.port in DEFAULT_PORTS.values())

    def note_server(self, flow: Flow) -> None:
        """A request of the account goes to its server over `flow`."""
        self.server_addresses.add(flow.remote[0])
        if flow.transport not in SECURE_TRANSPORTS:
            self._servers.add(flow.remote)
        elif flow not in self._secure_flows:
            self._secure_flows.add(flow)

    def trusts(self, flow: Flow) -> bool:
        """Whether what comes over `flow` comes from the account's server.

        UDP: from the address and the port to which our requests go. TCP: from that address, since a server that connects does so from
        any port. TLS and secure WebSocket: over a connection that we opened to the server and nothing else, so that nobody behind the
        same NAT as the server passes for it. Who sends from elsewhere must know our Contact, or be named in `accept_from`.
        """
        if flow.transport in SECURE_TRANSPORTS:
            return flow in self._secure_flows
        if flow.reliable:
            return flow.remote[0] in self.server_addresses and bool(self._servers)
        return flow.remote in self._servers

    @property
    def identity(self) -> NameAddr:
        """The From of our requests, without tag."""
        return NameAddr(self.aor, self.display_name or "")

    @property
    def registrar(self) -> SipUri | None:
        """The registrar that has our binding, or is asked for it; None: the account's domain."""
        index = self.registration.server_index if self.registration is not None else 0
        return self.registrars[index] if self.registrars else None

    @property
    def route(self) -> tuple[NameAddr, ...]:
        """Route of our requests outside of dialogs: a proxy with `;lr` (RFC 3261 §8.1.2), then what the registrar wants (RFC 3608 §6.1)."""
        service_route = self.service_route
        own = self._proxy_route
        return service_route if service_route and own and service_route[0].uri == own[0].uri else (*own, *service_route)

    @property
    def _proxy_route(self) -> tuple[NameAddr, ...]:
        proxy = self.proxy
        return (NameAddr(proxy),) if proxy is not None and not isinstance(proxy, NextHop) and proxy.has_parameter("lr") else ()

    @property
    def server(self) -> NextHop:
        """Where requests of the account go: the proxy, else the registrar, else the domain."""
        return self.server_for(self.aor)

    def server_for(self, uri: SipUri) -> NextHop:
        """The account's server as the next hop towards `uri`: by TLS if that is a sips address."""
        return self._next_hop(self.proxy or self.registrar or SipUri("sip", None, self.aor.host, self.aor.port), uri)

    def _next_hop(self, at: SipUri, uri: SipUri) -> NextHop:
        parameters = at.parameters
        if self.transport is not None and at.transport is None:
            parameters = (*parameters, ("transport", self.transport))
        scheme = "sips" if "sips" in (at.scheme, self.aor.scheme, uri.scheme) else "sip"
        domain, path = self.server_rules.service_domain or self.aor.host, "/"
        if isinstance(at, NextHop):  # an URL tells by itself what it is
            domain, path = at.service_domain or at.host, at.path
        return NextHop(scheme, None, at.host, at.port, parameters, service_domain=domain, path=path)

    def _check_secure(self) -> None:
        """RFC 5630 §3.1: what is to be secure is never sent in the clear."""
        try:
            transport_of(self.server)
        except NetworkError as error:
            raise ConfigurationError(f"The account {self.aor}: {error}", advice=error.advice) from error
        told = self.server.transport
        if self.server.scheme == "sips" and told not in (None, "tls", "wss"):
            raise ConfigurationError(f"The account {self.aor} is reached by TLS only: the transport is tls or wss, not {told}.")

    @property
    def is_secure(self) -> bool:
        """True if the account's server is reached by TLS."""
        return transport_of(self.server) in SECURE_TRANSPORTS

    @property
    def server_text(self) -> str:
        """The server for people: host and port."""
        return self.server.host_port

    def owns(self, uri: SipUri) -> bool:
        """True if `uri` lies in the account's domain, so that our server routes it."""
        host, port = uri.host, uri.port
        registrar = self.registrar
        return (host == self.aor.host and port in (None, self.aor.port)) or (
            registrar is not None and host == registrar.host and port == registrar.port
        )

    def busy(self, sessions: Iterable[CallSession]) -> bool:
        """Whether all lines of the account are in use."""
        return self.max_calls is not None and sum(session.account is self for session in sessions) >= self.max_calls

    def contact(self, flow: Flow) -> NameAddr:
        """Our Contact as seen through `flow` (RFC 3261 §8.1.1.8)."""
        contact = self.phone.contact_on(flow, self.contact_user)
        return secured(contact) if self.aor.scheme == "sips" else contact

    @property
    def registered(self) -> bool:
        """True while the registrar has our binding."""
        return self.registration is not None and self.registration.registered

    @property
    def service_route(self) -> tuple[NameAddr, ...]:
        """Route of our requests as the registrar wants it (RFC 3608)."""
        return self.registration.service_route if self.registration is not None else ()

    @property
    def flow(self) -> Flow | None:
        """The way to the server at which we are registered: calls take it too, until we register elsewhere."""
        registration = self.registration
        return registration.flow if registration is not None and registration.registered else None

    def start(self) -> None:
        """Begin to register; harmless when it runs."""
        if self.registration is None:
            (registrar, next_hop), *fallbacks = [
                (SipUri(self.aor.scheme, None, each.host, self._registrar_port(each)), self._next_hop(self.proxy or each, self.aor))
                for each in self.registrars or (SipUri("sip", None, self.aor.host, self.aor.port),)
            ]
            self.registration = Registration(
                self.phone.core,
                aor=self.aor,
                registrar=registrar,
                next_hop=next_hop,
                fallbacks=fallbacks,
                routes=self._proxy_route,
                instance=self._instance(),
                contact=self.contact,
                auth=self.digest,
                expires=self.expires,
                random=self.phone.random,
                on_change=self._on_change,
            )
            self.registration.start()

    def _instance(self) -> str | None:
        """The URN of this device where RFC 5626 is asked for."""
        reach = self.phone.reach
        if reach.outbound is False or (reach.outbound == "auto" and is_house_name(self.server.host)):
            return None
        return reach.instance(self.phone.device)

    @staticmethod
    def _registrar_port(registrar: SipUri) -> int | None:
        """The port of a WebSocket's URL is the web server's, not the registrar's."""
        return None if isinstance(registrar, NextHop) else registrar.port

    def stop(self, on_done: Callable[[], None]) -> None:
        """Take our binding away; `on_done` is called when the registrar has answered or will not."""
        if self.registration is None:
            on_done()
        else:
            self.registration.stop(on_done)

    async def wait_change(self, timeout: float) -> None:
        """Wait until the registration changes, at most `timeout` seconds."""
        if self._changed is None or self._changed.done():
            self._changed = self.phone.loop.create_future()
        await asyncio.wait((self._changed,), timeout=timeout)

    def _on_change(self, event: RegistrationEvent) -> None:
        self.event = event
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self.phone.registration_changed(self, event)

    def failure(self) -> FlexosipError | None:
        """The latest failure to register as an error, None when it is registered or has not been tried."""
        return None if self.registered else self.loss()

    def loss(self) -> FlexosipError | None:
        """What went wrong at the latest try to register, also while the registrar still has the binding of an earlier one; or None."""
        event = self.event
        if event is None or event.failed is False:
            return None
        status, reason, server = event.status, event.reason, self.server_text
        headers = event.response.headers if event.response is not None else None
        meant = status_advice(status, request="REGISTER", server=self.server.host, headers=headers, credentials=self.digest is not None)
        advice = str(meant) if meant is not None else None
        if event.error is not None and isinstance(event.error, FlexosipError):
            return event.error
        if status in (401, 407) and self.digest is None:
            return AuthenticationError(
                f"The registrar {server} wants a password for {self.aor} ({status}).", status=status, reason=reason, advice=advice
            )
        if event.refused_credentials or status in (401, 403, 407):
            return AuthenticationError(
                f"The registrar {server} refuses the credentials of {self.aor} ({status} {reason}).".replace(" )", ")"),
                status=status,
                reason=reason,
                advice=advice,
            )
        if event.timed_out:
            return ServerUnreachable(f"The registrar {server} gave no answer.", advice=advice)
        if event.error is not None:
            return NetworkError(f"The registrar {server} cannot be reached: {event.error}.")
        return RegistrationFailed(
            f"The registrar {server} refused to register {self.aor}: {status} {reason}.",
            status=status,
            reason=reason,
            headers=headers,
            advice=advice,
        )

    async def wait_registered(self, timeout: float | None = 15.0) -> Registration:
        """Wait for the registrar's 200.

        Raises:
            AuthenticationError, RegistrationFailed, NetworkError: why not.
        """
        self.start()
        assert self.registration is not None
        loop = self.phone.loop
        try:
            async with asyncio.timeout(timeout):
                while not self.registered:
                    failure = self.failure()
                    if failure is not None:
                        raise failure
                    # One future for all who wait: cancelling one of them must not cancel the others' wait.
                    if self._changed is None or self._changed.done():
                        self._changed = loop.create_future()
                    await asyncio.wait((self._changed,))
        except TimeoutError:
            if isinstance(self.failure(), FlexosipError):
                raise
            raise ServerUnreachable(f"The registrar {self.server_text} gave no answer within {timeout:g} seconds.") from None
        return self.registration
