"""Phone: a SIP user agent. Sockets, accounts, calls."""

from __future__ import annotations

import asyncio
import inspect
import random as random_module
import re
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, InvalidState
from flexosip.net.tls import TlsSettings
from flexosip.phone.account import Account, account_called, parse_aor
from flexosip.phone.availability import Availability, availability_of, receive_call
from flexosip.phone.call import Call
from flexosip.phone.call_rules import CallRules
from flexosip.phone.closing import close_phone, unregister, wait_closed
from flexosip.phone.connectivity.contacts import contact_through
from flexosip.phone.connectivity.moving import sound_hosts
from flexosip.phone.connectivity.reach import Reach
from flexosip.phone.credentials import Credentials
from flexosip.phone.dialling.calling import CallOptions, create_call, identity_towards
from flexosip.phone.dialling.ring_group import Confirmation, GroupCall, RingGroup, Targets, confirmation, stages_of
from flexosip.phone.dialling.ringing import RingOutcome, RingResult, ring_group
from flexosip.phone.dialling.targets import target_uri
from flexosip.phone.events import CallEvent
from flexosip.phone.incoming import CallHandler, IncomingCalls
from flexosip.phone.media.media_session import MediaSession, parse_codecs
from flexosip.phone.messaging.event_verbs import EventVerbs
from flexosip.phone.messaging.requests import RequestTable
from flexosip.phone.observers import Observers, log_call_event, log_registration, tell
from flexosip.phone.policy.call_policy import CallFuse, CallPolicy
from flexosip.phone.policy.callers import CallerPolicy, Callers
from flexosip.phone.policy.limits import Limits
from flexosip.phone.policy.networks import Networks
from flexosip.phone.profiles.profile import account_arguments
from flexosip.phone.profiles.profile_verbs import ProfileVerbs
from flexosip.phone.session import CallSession
from flexosip.phone.settings import check_settings, given_or_default, tls_settings, tuple_of
from flexosip.phone.signalling import Signalling
from flexosip.phone.statistics import PhoneStatistics, phone_statistics
from flexosip.phone.transfer.pickup import DialogToPickUp, pick_up
from flexosip.phone.transfer.replacing import receive_replacing
from flexosip.phone.transfer.transfer_values import ReplaceHandler, TransferHandler
from flexosip.phone.transfer.transfers import Transfers
from flexosip.phone.values import optional_text, parse_server
from flexosip.sdp import plain_address
from flexosip.sip.headers import NameAddr
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.observe.trace import WireMessage
    from flexosip.phone.dialling.caller_id import IdentityPolicy
    from flexosip.phone.dialling.endings import HeaderArgument
    from flexosip.phone.profiles.server_rules import ServerRules
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.flow import Flow
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Request
    from flexosip.sip.registration import Registration, RegistrationEvent
    from flexosip.sip.replaces import Replaces
    from flexosip.sip.user_to_user import UserToUser

__all__ = ["Phone", "RingOutcome", "RingResult"]

_CONNECTION_HOST = re.compile(rb"(?m)^c=IN IP[46] ([0-9A-Fa-f.:]{2,45})")


class Phone(ProfileVerbs, EventVerbs):
    """A SIP phone. Without an account it calls and is called directly; with one it registers.

    Args:
        aor: `sip:user@host[:port]`; None for a phone without an account.
        password, auth_user, realm, registrar, proxy, display_name, transport, expires, register, caller_id, identity_policy: see `Account`.
        listen: addresses for UDP and TCP, `HOST:PORT` or `[IPV6]:PORT`; port 0 takes a free one. With a transport before it, for
            that one alone: `tls:0.0.0.0:5061`, `ws:`, `wss:`, `udp:`, `tcp:`. To call and register by TLS none is needed.
        codecs: names in order of preference, for example `("PCMA", "PCMU")`.
        srtp: `off`; encrypted sound is not part of this version.
        accept_from: who may call us. `auto`: with an account its server, or who knows our Contact; without one anybody.
            `registrar`: the same, but without an account nobody. `any`: anybody. Addresses, networks such as `192.168.1.0/24` and
            host names; or a sequence of all these. Others meet silence.
        callers: who of those may call, and who has to prove who he is, see `Callers`.
        limits: how much strangers may use, see `Limits`.
        call_policy: whom we may call, how often and for how long, see `CallPolicy`; by default all but emergency numbers.
        clock, network: the virtual ones of `flexosip.simulation`.
        media_ports: range of UDP ports for sound.
        media_timeout: seconds without a packet, RTP or RTCP, after which a call is ended: the other side has died or the way is
            blocked. A call on hold is spared. None: never.
        trusted_peers: addresses and networks, besides the servers of our accounts, whose word on who calls is believed (RFC 3325).
        max_calls: more calls at once are refused with 486; None: no limit.
        auto_answer: which calls that ask for it are answered by the phone itself (intercom: Answer-Mode, Call-Info, Alert-Info): `off`,
            `trusted`, from our servers and `trusted_peers`, or `any`.
        availability: do-not-disturb, call waiting, how long a call rings; see `Availability`.
        user_agent: text of the User-Agent header.
        accept_transfers: whether the other side of a call may send us to somebody else (REFER). False: refused. True: we call whom it
            names. Or a function of a `TransferRequest`, which is asked about requests from outside of calls too; see `on_refer`.
        accept_replaces: whether a caller may take the place of the other side of a call (INVITE with Replaces). `auto`: who comes from
            the account's server or from where the present peer is, or has proved who it is. True: whoever knows the call's id. False:
            never. Or a function of a `ReplaceRequest`.
        tls_ca, tls_certificate, tls_key: PEM files, see `TlsSettings.ca`, `.certificate` and `.key`.
        tls: all of the TLS settings, instead of these.
        reliable_provisional: whether what we send before an answer (180, 183) is repeated until the caller's PRACK (RFC 3262): `off`:
            if the caller requires it; `supported`: if it can; `required`: a caller that cannot is refused with 421.
        session_expires: seconds of the session timer that we ask for (RFC 4028): a call that neither side refreshes any more is ended.
            None: we ask for none, but take part when the other side does. min_se: the shortest that we accept, at least 90.
        max_duration: seconds after its answer at which a call is ended; None: no limit.
        follow_redirects: call the addresses that a 3xx names, at most five; False: a 3xx is a failure.
        reach: how others reach us: an address to advertise, RFC 5626, keep-alives, marks of packets; see `Reach`.
        server_rules: what the account's server wants that no RFC says; part of a `Profile`, see `Phone.profile`.
    """

    call_class: type[Call] = Call
    """What its calls are; a subclass of `Phone` may have more in them."""

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
        clock: Any = None,
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
        check_settings(srtp, transport, media_timeout, account=aor is not None, secrets=(password, registrar, auth_user))
        self.listen, self.tls = tuple_of(listen), tls_settings(tls, tls_ca, tls_certificate, tls_key)
        self.formats, self.transport = parse_codecs(codecs), transport
        self.display_name, self.user_agent = optional_text(display_name, "display_name"), optional_text(user_agent, "user_agent")
        self.rules = CallRules(reliable_provisional, session_expires, min_se, max_duration, follow_redirects)
        self.media_ports, self.media_timeout, self.max_calls = media_ports, media_timeout, max_calls
        self.limits, self.trusted_peers = given_or_default(limits, Limits, "limits"), Networks(trusted_peers, "trusted_peers")
        self._callers, self._fuse = CallerPolicy(accept_from, given_or_default(callers, Callers, "callers")), CallFuse(call_policy)
        self._set_up(clock, network, given_or_default(reach, Reach, "reach"))
        self.availability, self.transfers = availability_of(availability, auto_answer), Transfers(self, accept_transfers, accept_replaces)
        if aor is not None:
            settings: dict[str, Any] = {"password": password, "auth_user": auth_user, "realm": realm, "display_name": display_name}
            settings |= {"expires": expires, "register": register, "caller_id": caller_id, "identity_policy": identity_policy}
            self.add_account(aor, registrar=registrar, proxy=proxy, transport=transport, server_rules=server_rules, **settings)
        self._direct_proxy = parse_server(proxy, "The proxy") if proxy is not None and aor is None else None

    def _set_up(self, clock: Any, network: Any, reach: Reach) -> None:
        """What a phone runs on, and what it holds while it runs."""
        self._clock, self._network = clock, network.host() if hasattr(network, "host") else network
        self.random: random_module.Random = getattr(self._network, "random", None) or random_module.SystemRandom()
        self.reach = reach
        self.device = uuid.UUID(int=self.random.getrandbits(128), version=4)
        """The identity of this device, unless one is told or kept."""
        self.requests = RequestTable()
        """Who answers requests outside of dialogs, by method; for rooms of the library."""
        self.accounts: list[Account] = []
        self._signalling: Signalling | None = None
        self._sessions: dict[CallSession, Call] = {}
        self._incoming, self._observers = IncomingCalls(), Observers()
        self._closing: asyncio.Task[None] | None = None
        self._closers: set[asyncio.Task[Any]] = set()

    # -- start and end ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Phone:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def running(self) -> bool:
        """True between `start` and `close`."""
        return self._signalling is not None

    @property
    def signalling(self) -> Signalling:
        """Sockets, stack and engine of a started phone."""
        if self._signalling is None:
            raise InvalidState("The phone is not started.", advice="Use `async with phone:` or `await phone.start()` first.")
        return self._signalling

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of a started phone."""
        return self.signalling.loop

    @property
    def core(self) -> UserAgentCore:
        """The SIP user agent core of a started phone."""
        return self.signalling.core

    @property
    def allow_text(self) -> str:
        """Value of the Allow header."""
        return self.core.allow_value

    @property
    def addresses(self) -> list[str]:
        """Where it listens, for example `udp:192.168.1.2:5060`."""
        return self.signalling.addresses

    async def start(self, *, wait_registered: bool = True, timeout: float = 15.0) -> None:
        """Open the sockets, register all accounts and wait for the registrars' 200.

        Args:
            wait_registered: False: registering goes on in the background and never gives up.

        Raises:
            NetworkError: a port is in use. AuthenticationError, RegistrationFailed, NetworkError: not registered; all is freed again.
        """
        if self._closing is not None:
            await asyncio.wait((self._closing,))
        if self._signalling is not None:
            return
        signalling = Signalling(self, self._network, self._clock)
        self._signalling = signalling
        try:
            await signalling.open(self.listen)
            self._incoming.open()
            for account in self.accounts:
                if account.register:
                    account.start()
            if wait_registered:
                await self._wait_all(timeout)
        except BaseException:
            await self.close()
            raise

    async def _wait_all(self, timeout: float) -> None:
        deadline = self.loop.time() + timeout
        for account in self.accounts:
            if account.register:
                await account.wait_registered(max(0.0, deadline - self.loop.time()))

    async def wait_registered(self, timeout: float = 15.0) -> Registration:
        """Wait until all accounts are registered; the first account's `Registration`.

        Raises:
            AuthenticationError, RegistrationFailed, NetworkError: why not.
        """
        first = next((account for account in self.accounts if account.register), None)
        if first is None:
            raise InvalidState("This phone has no account that could be registered.")
        await self._wait_all(timeout)
        registration = first.registration
        assert registration is not None
        return registration

    async def unregister(self) -> None:
        """Take all registrations away, waiting up to 2 s; calls go on."""
        await unregister(self)

    async def close(self) -> None:
        """End all calls, unregister, free every socket and task; at most 2 s. Harmless when closed.

        Who is cancelled while waiting for it is so when it is done: half closed, the phone could never be closed again.
        """
        if self._signalling is None:
            return
        if self._closing is None:
            self._closing = self.loop.create_task(close_phone(self, self._signalling))
        await wait_closed(self._closing, self._closers)

    # -- accounts -----------------------------------------------------------------------------------------------------

    def add_account(self, aor: str, **settings: Any) -> Account:
        """Add an account; a started phone registers it at once. See `Account`; with `profile=`, see `profile`, `aor` may be a user name."""
        account = Account(self, **account_arguments(aor, settings))
        if any(known.aor == account.aor for known in self.accounts):
            raise ConfigurationError(f"The account {account.aor} is there already.")
        self.accounts.append(account)
        if self._signalling is not None and account.register:
            account.start()
        return account

    def find_account(self, account: Account | str | None) -> Account | None:
        """The account meant by `account`: itself, an address or a user name; None: the first one, if any.

        Raises:
            ConfigurationError: there is no such account.
        """
        if account is None:
            return self.accounts[0] if self.accounts else None
        aor = parse_aor(account) if isinstance(account, str) and "@" in account else None
        for known in self.accounts:
            if account is known or known.aor.unescaped_user == account or (aor is not None and known.aor.matches(aor)):
                return known
        raise ConfigurationError(
            f"This phone has no account {account!r}; it has {', '.join(str(known.aor) for known in self.accounts) or 'none'}."
        )

    def on_registration(self, handler: Callable[[Account, RegistrationEvent], None]) -> Callable[[Account, RegistrationEvent], None]:
        """Decorator: call `handler(account, event)` at every change of a registration."""
        self._observers.registration.append(handler)
        return handler

    def registration_changed(self, account: Account, event: RegistrationEvent) -> None:
        """A registration changed; called by its account."""
        log_registration(account, event)
        if self._signalling is not None:
            self._signalling.registration_changed(account)
        tell(self._observers.registration, account, event)

    # -- calling ------------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended."""
        return list(self._sessions.values())

    def target_uri(self, target: str | SipUri, account: Account | None) -> SipUri:
        """The SIP URI that a target means: a SIP or tel URI, `user@host`, or a bare number in the account's domain.

        Raises:
            ConfigurationError: it means none.
        """
        return target_uri(target, account)

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
        """A call to `target`; `await` it or enter it with `async with` to have it answered.

        Args:
            target: whom to call, or a list: all of it rings, the first who answers has the call.
            ring_timeout: seconds until it is given up with `NoAnswer`, for each list.
            then: who is called next when nobody has answered: a list, or a list of lists.
            confirm: a key that whoever answers has to press, or a `Confirmation`; others go on ringing until then.
            headers: headers of your own. subject: what it is about; many phones show it.
            anonymous: do not show who calls. caller_id: the number to show; both as the account's `identity_policy` says.
            auto_answer: ask the other phone to answer by itself, at once (True) or after so many seconds, as intercoms do.
            alert: how it shall ring: a word such as `doorbell`, or a URN such as `urn:alert:source:internal` (RFC 7462).
            uui: up to 128 octets for the program at the other end (RFC 7433); text goes as UTF-8.
            replaces: a call that `target` has and that this one shall take over (RFC 3891): a call of ours with it, or the id of its
                call as it knows it.
            offer: False lets the other side propose codecs and addresses (an INVITE without SDP).
            max_duration: seconds after the answer at which it is ended; None: as the phone says.
        """
        options = CallOptions(
            ring_timeout=ring_timeout,
            headers=headers,
            subject=subject,
            account=account,
            anonymous=anonymous,
            caller_id=caller_id,
            auto_answer=auto_answer,
            alert=alert,
            uui=uui,
            replaces=replaces,
            offer=offer,
            max_duration=max_duration,
        )
        if isinstance(target, (str, SipUri)) and not then and confirm is None:
            return create_call(self, target, options)
        return GroupCall(RingGroup(self, stages_of(target, then), options, confirmation(confirm)))

    def check_outgoing(self, target: str | SipUri, account: Account | str | None = None) -> None:
        """Count a call to `target` as placed if the call policy lets it out; all that places one asks here, redirections too.

        Raises:
            CallBarred: it does not. ConfigurationError: the target means nothing.
        """
        self._fuse.check(self.target_uri(target, self.find_account(account)), self.loop.time())

    async def dial(self, target: str | SipUri, **options: Any) -> Call:
        """Like `call`, but returns as soon as the INVITE is on its way; then `wait_ringing`, `wait_answered`."""
        call = self.call(target, **options)
        call._start()
        return call

    async def ring(
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

        Args:
            target: whom to ring, one or a list. then, confirm and the others: see `call`.
            duration: seconds for each list; 0 rings for ever.

        Raises:
            CallFailed, AuthenticationError, NetworkError: it could not ring at all. CallEnded: the phone was closed meanwhile.
        """
        options = CallOptions(
            ring_timeout=duration if duration > 0 else None,
            headers=headers,
            subject=subject,
            account=account,
            anonymous=anonymous,
            caller_id=caller_id,
            auto_answer=auto_answer,
            alert=alert,
            uui=uui,
        )
        return await ring_group(RingGroup(self, stages_of(target, then), options, confirmation(confirm)))

    def identity_towards(self, uri: SipUri) -> NameAddr:
        """The From of a phone without account: the address at which it can be called back."""
        return identity_towards(self, uri)

    @property
    def standard_headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of every request of ours."""
        return (("User-Agent", self.user_agent),) if self.user_agent is not None else ()

    def contact(self, flow: Flow) -> NameAddr:
        """The Contact of a phone without account."""
        return self.contact_on(flow, "flexosip")

    def contact_on(self, flow: Flow, user: str) -> NameAddr:
        """A Contact for `user` that reaches us through `flow`."""
        return contact_through(self.signalling, flow, user)

    def create_media(self, session: CallSession, flow: Flow, offer: bytes = b"") -> MediaSession:
        """Sockets and stream for a call whose signalling takes `flow`.

        The local address of the signalling serves the sound too, unless `offer` speaks of the other address family.
        """
        asked = _CONNECTION_HOST.search(offer)
        theirs = plain_address(asked.group(1).decode("ascii")) if asked is not None else flow.local[0]
        host, advertised = sound_hosts(self.signalling, flow, theirs)
        public = self.signalling.public_address if self.reach.advertised is None else None
        ready = public.take_pair(host, flow) if public is not None else None
        return MediaSession(self.signalling, session, host, advertised, self.formats, ready)

    def pickup(self, target: str | DialogToPickUp, *, account: Account | str | None = None, ring_timeout: float | None = 20.0) -> Call:
        """Take a call that rings elsewhere; a `Call` like that of `call`.

        Args:
            target: an extension, which is dialled behind the account's `pickup_code`, or a ringing dialog of an extension that is
                watched (dialog-info, RFC 4235): then its caller is asked to talk to us instead (RFC 5359 §2.15, RFC 3891).

        Raises:
            ConfigurationError: the account has no pickup code, or the dialog cannot be named. InvalidState: it does not ring any more.
        """
        return pick_up(self, target, account, ring_timeout)

    @property
    def do_not_disturb(self) -> bool | int:
        """True, or the status for callers, while no call shall ring; it can be set at any time."""
        return self.availability.do_not_disturb

    @do_not_disturb.setter
    def do_not_disturb(self, value: bool | int) -> None:
        self.availability = replace(self.availability, do_not_disturb=value)

    # -- being called -------------------------------------------------------------------------------------------------

    def on_call(self, handler: CallHandler) -> CallHandler:
        """Decorator: `async def handler(call)` runs as one task per incoming call; when it returns, the call is over."""
        if not inspect.iscoroutinefunction(handler):
            raise ConfigurationError("on_call needs an `async def` function; for blocking code use flexosip.sync.")
        self._incoming.handler = handler
        return handler

    def on_refer(self, handler: TransferHandler) -> TransferHandler:
        """Decorator: `handler(request)` decides about each `TransferRequest`, in place of `accept_transfers`.

        It may be async and has 10 s. True: we call the target. False: 603. Or a `Call`, made by `call(request.target)` and not awaited:
        that one is dialled, and yours from the start. Requests from outside of any call
        (click-to-dial) come here too: their `call` is None.
        """
        self.transfers.handler = handler
        self.transfers.announce()
        return handler

    def incoming_calls(self) -> AsyncIterator[Call]:
        """Incoming calls one after the other, for programs that do not want a task per call; until the phone closes.

        When the last reader leaves, calls that wait are refused with 480.
        """
        if self._signalling is None:
            raise InvalidState("The phone is not started.", advice="Use `async with phone:` or `await phone.start()` first.")
        return self._incoming.read()

    def options_status(self, request: Request, flow: Flow) -> int:
        """What an INVITE would get now, as the answer to OPTIONS (RFC 3261 §11.2)."""
        refusal = self.availability.refusal(self, self.account_called(request, flow))
        return refusal[0] if refusal is not None else 200

    def trusts(self, flow: Flow) -> bool:
        """Whether what comes over `flow` comes from the server of one of our accounts, see `Account.trusts`."""
        return any(account.trusts(flow) for account in self.accounts)

    def statistics(self) -> PhoneStatistics:
        """What came in since the start, what was refused, and what is there now."""
        return phone_statistics(self.signalling, len(self._sessions))

    def account_called(self, request: Request, flow: Flow | None) -> Account | None:
        """The account that an incoming request is meant for."""
        return account_called(self.accounts, request, flow)

    def incoming(self, usage: InviteUsage) -> None:
        """A new incoming call; called by the user agent core."""
        session = CallSession(self, self.account_called(usage.request, usage.flow), "incoming", max_duration=self.rules.max_duration)
        session.usage = usage
        session.authenticated_as = self.signalling.admission.user_of(usage.request)
        usage.handler = session
        account = session.account
        if account is not None and usage.flow is not None and account.trusts(usage.flow):
            # Our BYE, INFO or re-INVITE may be challenged as well; who calls us directly gets no answer to a challenge.
            usage.auth = account.digest
        session.started_at = self.loop.time()
        if not receive_replacing(self, usage, session):
            receive_call(self, usage, session)

    # -- observers ----------------------------------------------------------------------------------------------------

    def on_wire(self, observer: Callable[[WireMessage], None]) -> Callable[[WireMessage], None]:
        """Decorator: see every SIP message that is sent and received."""
        self._observers.wire.append(observer)
        return observer

    @property
    def wire_observers(self) -> list[Callable[[WireMessage], None]]:
        """Observers of SIP messages."""
        return self._observers.wire

    def on_call_event(self, observer: Callable[[Call, CallEvent], None]) -> Callable[[Call, CallEvent], None]:
        """Decorator: see the events of all calls."""
        self._observers.calls.append(observer)
        return observer

    def observe_call_event(self, session: CallSession, event: CallEvent) -> None:
        """A call emitted an event."""
        log_call_event(session.label, event)
        if self._observers.calls:
            tell(self._observers.calls, session.call, event)

    def call_ended(self, session: CallSession) -> None:
        """A call is over; called by its session as the last thing."""
        self._sessions.pop(session, None)
        self._fuse.forget(session)
        self.transfers.note_end(session)
