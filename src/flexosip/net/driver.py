"""Runs SIP machines on a network: sockets in, bytes out, one timer.

The machines get datagrams and framed messages, each with its flow, and give bytes for a flow; this is the only place where
they meet sockets and time. It owns the sockets, the connections and the loop timer of a `Scheduler`, and no SIP state.

RFC 3261 §18
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from flexosip.errors import NetworkError
from flexosip.net.address import Address, ListenAddress
from flexosip.net.datagram_flows import DatagramFlows
from flexosip.net.listening import DEFAULT_LISTEN, Bind, Binder, Unbind
from flexosip.net.locator import Done, Locator
from flexosip.net.network import Network, TimerHandle
from flexosip.net.server_location import RandomSource
from flexosip.net.stream_flows import StreamFlows, StreamLimits
from flexosip.net.tls import TlsSettings
from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError
from flexosip.sip.uri import SipUri

__all__ = ["DriverStatistics", "SipDriver"]


@dataclass(frozen=True, slots=True)
class DriverStatistics:
    """Counters since the start."""

    datagrams_received: int
    datagrams_sent: int
    keepalives_received: int
    """UDP datagrams of line breaks or NULs only"""
    messages_received: int
    """over connections"""
    messages_sent: int
    """over connections"""
    connections: int
    """open now"""
    connections_refused: int
    """because there were too many"""
    connections_timed_out: int
    """because a message did not come or did not end, or a ping was not answered"""


class SipDriver:
    """The sockets and the timer of one SIP stack.

    Args:
        network: `RealNetwork`, or a host of `flexosip.simulation`.
        scheduler: of all machines that run here; from now on it follows the network's clock.
        receive_datagram: gets each datagram and its flow.
        receive_message: gets each message framed out of a stream, and its flow.
        flow_failed: told when a connection is over, or ICMP or the kernel says that nothing gets through.
        limits: bounds of connections.
        random: draws among servers that share a load.
        tls: certificates and authorities, for TLS and secure WebSockets.
    """

    def __init__(
        self,
        network: Network,
        scheduler: Scheduler,
        *,
        receive_datagram: Callable[[bytes, Flow], None],
        receive_message: Callable[[bytes, Flow], None],
        flow_failed: Callable[[Flow, Exception], None],
        limits: StreamLimits | None = None,
        random: RandomSource | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        self.network = network
        self.scheduler = scheduler
        self.receive_malformed: Callable[[SipParseError, Flow], None] | None = None
        """Gets what broke the framing of a stream, to answer it before the connection is closed; `SipStack.receive_malformed` fits."""
        self._flow_failed = flow_failed
        self._datagrams = DatagramFlows(network, receive_datagram, self._datagram_failed)
        self._streams = StreamFlows(
            network,
            scheduler,
            limits or StreamLimits(),
            receive=receive_message,
            malformed=self._malformed,
            failed=self._stream_failed,
            tls=tls,
        )
        self._locator = Locator(network, self._datagrams, self._streams, random)
        self._timer: TimerHandle | None = None
        self._timer_when = 0.0
        self._firing = False
        self._closed = False
        scheduler.follow(network.time)
        scheduler.on_earlier = self._arm
        upcoming = scheduler.next_timeout()
        if upcoming is not None:
            self._arm(upcoming)

    # -- sockets ---------------------------------------------------------------------------------------------------

    async def listen(self, addresses: Sequence[str] | None = None, *, transports: Sequence[str] = ("udp", "tcp")) -> list[ListenAddress]:
        """Bind UDP and TCP on the same port of each address, or the transport that is written before it.

        Args:
            addresses: `HOST:PORT` or `TRANSPORT:HOST:PORT` each, port 0 for any free one; by default both families, and a missing one
                is left out.
            transports: for addresses without one.

        Raises:
            ConfigurationError: an address is none, or TLS lacks its certificate. MissingExtra: for WebSocket.
            NetworkError: a port is in use, or an address is not ours. Nothing is bound then.
        """
        self._streams.contexts.check()
        by_default = addresses is None or tuple(addresses) == DEFAULT_LISTEN
        ways: dict[str, tuple[Bind, Unbind]] = {
            "udp": (self._datagrams.open, self._datagrams.close_socket),
            **{
                transport: (partial(self._streams.open, transport=transport), self._streams.close_listener)
                for transport in ("tcp", "tls", "ws", "wss")
            },
        }
        binder = Binder(self.network, ways, transports)
        await binder.bind(DEFAULT_LISTEN if addresses is None else addresses, tolerant=by_default)
        return self.addresses

    @property
    def addresses(self) -> list[ListenAddress]:
        """Where we listen, with the real ports; UDP first."""
        return [*self._datagrams.addresses, *self._streams.addresses]

    def listening_port(self, flow: Flow) -> int:
        """The port at which others reach us over the flow's transport: for a connection that we opened, not the one it leaves from."""
        if not flow.reliable:
            return flow.local[1]
        return self._streams.listening_port(flow.local[0], flow.transport) or flow.local[1]

    def connection_from(self, transport: str, remote: Address) -> Flow | None:
        """The flow of the living connection between us and `remote`, whoever opened it: for those who know that it is the right one."""
        return self._streams.connection_from(transport, remote)

    async def close(self) -> None:
        """Close all sockets and connections, end all tasks, fire no more timers. Harmless at any time."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._locator.close()
            await self._streams.close()
        finally:
            self._datagrams.close()
            self.scheduler.on_earlier = None
            self.scheduler.follow(None)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def statistics(self) -> DriverStatistics:
        """What came, went and was refused."""
        datagrams, streams = self._datagrams, self._streams
        return DriverStatistics(
            datagrams_received=datagrams.received,
            datagrams_sent=datagrams.sent,
            keepalives_received=datagrams.keepalives,
            messages_received=streams.received,
            messages_sent=streams.sent,
            connections=streams.count,
            connections_refused=streams.refused,
            connections_timed_out=streams.timed_out,
        )

    # -- for the machines --------------------------------------------------------------------------------------------

    def transmit(self, flow: Flow, data: bytes) -> None:
        """Send `data` over `flow`. If that cannot be, `flow_failed` is called later, never from in here."""
        if self._closed:
            return
        sent = self._streams.transmit(flow, data) if flow.reliable else self._datagrams.transmit(flow, data)
        if not sent:
            error = flow.failure or NetworkError(f"There is no connection to {flow.remote[0]} any more.")
            self.scheduler.call_later(0.0, self._flow_failed, flow, error)

    def locate(self, uri: SipUri, size: int, preferred: Flow | None, done: Done) -> None:
        """Find the flow for a request of `size` octets whose next hop is `uri`.

        Args:
            preferred: the flow to take if it lives and leads there.
            done: called with `(flow, None)` or `(None, error)`: at once where nothing has to be waited for, else later.
        """
        self._locator.locate(uri, size, preferred, done)

    def locate_next(self, uri: SipUri, size: int, tried: Collection[Flow], done: Done) -> None:
        """As `locate`, for a request that the servers of `tried` have failed; `done` gets an error when there is no other."""
        self._locator.next_after(uri, size, [flow.remote for flow in tried], done)

    def has_other(self, uri: SipUri, tried: Collection[Flow]) -> bool:
        """Whether `locate_next` would find a server, as far as that is known without asking."""
        return self._locator.has_other(uri, [flow.remote for flow in tried])

    def is_first(self, uri: SipUri, flow: Flow) -> bool:
        """Whether `flow` leads to the server that comes first."""
        return self._locator.is_first(uri, flow)

    def server_failed(self, flow: Flow, seconds: float | None = None) -> None:
        """Try the other end of `flow` last for some time; it may have said for how long (Retry-After)."""
        if seconds is None:
            self._locator.dead.add(flow.remote)
        else:
            self._locator.dead.add(flow.remote, seconds)

    def advertise(self, host: str, port: int | None) -> None:
        """Tell `host` and `port` (None: our own) in the Via of requests over flows that are made from now on."""
        self._datagrams.advertised = self._streams.advertised = (host, port)

    def on_stun(self, receive: Callable[[bytes, Flow], None] | None) -> None:
        """Give STUN that comes to the UDP sockets to `receive`; None: to nobody."""
        self._datagrams.receive_stun = receive

    def has_left(self, flow: Flow) -> bool:
        """Whether packets would now leave from another own address than that of `flow`, or that one is not ours any more."""
        return self._streams.has_left(flow) if flow.reliable else self._datagrams.has_left(flow)

    def abandon(self, flow: Flow, error: NetworkError) -> None:
        """`flow` leaves from an address that is not ours any more: it is taken for nothing new, and a connection is closed."""
        if not flow.reliable:
            self._datagrams.abandon(flow)
        else:
            self._streams.abandon(flow, error)

    def network_changed(self) -> None:
        """Believe nothing that was learned in another network: names, servers that failed."""
        self._locator.network_changed()

    def _datagram_failed(self, flow: Flow, error: NetworkError) -> None:
        self._locator.failed(flow.remote)
        self._flow_failed(flow, error)

    def _stream_failed(self, flow: Flow, error: NetworkError) -> None:
        if not self._closed:
            self._flow_failed(flow, error)

    def _malformed(self, error: SipParseError, flow: Flow) -> None:
        if self.receive_malformed is not None:
            self.receive_malformed(error, flow)

    # -- time ------------------------------------------------------------------------------------------------------

    def _arm(self, when: float) -> None:
        if self._firing:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_when = when
        self._timer = self.network.call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._firing = True
        try:
            # A loop fires timers up to its clock's resolution early.
            self.scheduler.handle_timeout(max(self.network.time(), self._timer_when))
        finally:
            self._firing = False
            upcoming = self.scheduler.next_timeout()
            if upcoming is not None and not self._closed:
                self._arm(upcoming)
