"""The UDP sockets of a driver and their flows: one `Flow` for each remote address, in a bounded memory of the latest ones.

RFC 3261 §18.1.1, §18.2.1; RFC 3581
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from flexosip.errors import NetworkError
from flexosip.net.address import Address, ListenAddress, is_ipv6, is_loopback, is_wildcard
from flexosip.net.failures import send_failure
from flexosip.net.network import DatagramEndpoint, Network
from flexosip.net.stun import is_stun
from flexosip.sip.flow import Flow

__all__ = ["DatagramFlows"]

logger = logging.getLogger(__name__)

_FLOWS = 4096
"""Flows remembered for each socket; a forgotten one can still be sent to."""

_KEEPALIVE = b"\r\n\0 "
"""Octets of which keep-alive datagrams consist: CRLF, CRLF CRLF, and the NULs of some routers and phones."""


class _Path:
    """What a UDP flow carries as its `connection`: socket, and own address to send from where the route would take another."""

    __slots__ = ("local_host", "owner", "source")

    def __init__(self, owner: _UdpSocket, local_host: str, source: str | None) -> None:
        self.owner = owner
        self.local_host = local_host
        self.source = source


class DatagramFlows:
    """All UDP sockets of one driver.

    Args:
        receive: gets each datagram with its flow.
        failed: gets flows that cannot be sent to, as ICMP or the kernel says.
    """

    def __init__(self, network: Network, receive: Callable[[bytes, Flow], None], failed: Callable[[Flow, NetworkError], None]) -> None:
        self.network = network
        self.receive = receive
        self.failed = failed
        self.received = 0
        self.sent = 0
        self.keepalives = 0
        self.advertised: tuple[str, int | None] | None = None
        """Host and port that our Via tells instead of our own."""
        self.receive_stun: Callable[[bytes, Flow], None] | None = None
        """Gets STUN, which shares the port with SIP (RFC 5626 §8)."""
        self._sockets: list[_UdpSocket] = []

    async def open(self, host: str, port: int) -> Address:
        """Bind one more socket; its real address.

        Raises:
            NetworkError: it cannot be bound.
        """
        opened = _UdpSocket(self)
        opened.endpoint = await self.network.open_datagram(host, port, opened.on_datagram, opened.on_error)
        self._sockets.append(opened)
        return opened.endpoint.address

    @property
    def addresses(self) -> list[ListenAddress]:
        """Where the sockets are bound."""
        return [ListenAddress("udp", *opened.endpoint.address) for opened in self._sockets]

    @property
    def is_open(self) -> bool:
        """True if there is a socket."""
        return bool(self._sockets)

    def speaks(self, ip: str) -> bool:
        """True if some socket can send to `ip`."""
        return self._socket_for(ip, None) is not None

    def flow_to(self, remote: Address) -> Flow:
        """The flow for a request of ours to `remote`.

        Raises:
            NetworkError: no route, or no socket that can send there.
        """
        own = self.network.local_address(remote[0])
        opened = self._socket_for(remote[0], own)
        if opened is None:
            family = "IPv6" if is_ipv6(remote[0]) else "IPv4"
            raise NetworkError(
                f"There is no UDP socket that can reach {remote[0]}.",
                advice=f"Listen on an {family} address that reaches it with --listen.",
            )
        return opened.flow_to(remote, own)

    def transmit(self, flow: Flow, data: bytes) -> bool:
        """Send a datagram; False if the flow is not one of ours."""
        path = flow.connection
        if not isinstance(path, _Path):
            opened = self._socket_for(flow.remote[0], flow.local[0])
            if opened is None:
                return False
            path = _Path(opened, flow.local[0], None)
        self.sent += 1
        path.owner.endpoint.send(data, flow.remote, path.source)
        return True

    def has_left(self, flow: Flow) -> bool:
        """Whether the own address of `flow` is not the one that its packets leave from any more."""
        path = flow.connection
        if not isinstance(path, _Path):
            return False
        if path.source is not None or not is_wildcard(path.owner.endpoint.address[0]):
            # The peer chose this address of ours, or the user did: it is good as long as it is ours.
            return not self.network.is_own(path.local_host)
        try:
            return self.network.local_address(flow.remote[0]) != path.local_host
        except NetworkError:
            return True

    def abandon(self, flow: Flow) -> None:
        """Give `flow` out no more; what is under way over it may still end."""
        flow.alive = False
        path = flow.connection
        if isinstance(path, _Path) and path.owner.flows.get(flow.remote) is flow:
            del path.owner.flows[flow.remote]

    def close_socket(self, address: Address) -> None:
        """Close the socket bound to `address`."""
        for opened in [known for known in self._sockets if known.endpoint.address == address]:
            opened.endpoint.close()
            self._sockets.remove(opened)

    def close(self) -> None:
        """Close all sockets."""
        for opened in self._sockets:
            opened.endpoint.close()
        self._sockets.clear()

    def _socket_for(self, ip: str, own: str | None) -> _UdpSocket | None:
        """The socket for sending to `ip`: bound to the route's own address, else to the wildcard, else to another address that may do."""
        best: tuple[int, _UdpSocket] | None = None
        for opened in self._sockets:
            host = opened.endpoint.address[0]
            if is_ipv6(host) != is_ipv6(ip):
                continue
            if host == own:
                return opened
            if is_wildcard(host):
                rank = 1
            elif is_loopback(host) == is_loopback(ip):
                rank = 2
            else:
                continue
            if best is None or rank < best[0]:
                best = (rank, opened)
        return best[1] if best is not None else None


class _UdpSocket:
    """One socket with its flows."""

    __slots__ = ("endpoint", "flows", "table")

    endpoint: DatagramEndpoint

    def __init__(self, table: DatagramFlows) -> None:
        self.table = table
        self.flows: OrderedDict[Address, Flow] = OrderedDict()

    def on_datagram(self, data: bytes, remote: Address, local_host: str) -> None:
        if len(data) <= 4 and not data.strip(_KEEPALIVE):
            self.table.keepalives += 1
            return
        self.table.received += 1
        flow = self.flows.get(remote)
        if flow is not None and _local_host(flow) == local_host:
            self.flows.move_to_end(remote)
        else:
            flow = self._new_flow(remote, local_host)
        if data[0] < 4 and is_stun(data):
            if self.table.receive_stun is not None:
                self.table.receive_stun(data, flow)
            return
        self.table.receive(data, flow)

    def on_error(self, remote: Address, error: OSError) -> None:
        failure = send_failure(remote, error)
        logger.debug("%s", failure)
        # A response may have gone to another port than the request came from: no flow is remembered for that one.
        flow = self.flows.get(remote) or Flow("udp", self.endpoint.address, remote)
        self.table.failed(flow, failure)

    def flow_to(self, remote: Address, own: str) -> Flow:
        host = self.endpoint.address[0]
        own = own if is_wildcard(host) else host
        flow = self.flows.get(remote)
        if flow is not None and _local_host(flow) == own and flow.alive:
            self.flows.move_to_end(remote)
            return flow
        return self._new_flow(remote, own)

    def _new_flow(self, remote: Address, local_host: str) -> Flow:
        host, port = self.endpoint.address
        source = None
        if is_wildcard(host):
            try:
                routed = self.table.network.local_address(remote[0])
            except NetworkError:
                routed = local_host
            # The peer expects the answer from the address to which it sent, not from the one that the route prefers.
            source = None if routed == local_host else local_host
        # The zone of a link-local address means nothing to the peer.
        flow = Flow("udp", (local_host.partition("%")[0], port), remote, connection=_Path(self, local_host, source))
        flow.via_address = advertised_via(self.table.advertised, flow.local, remote[0])
        self.flows[remote] = flow
        self.flows.move_to_end(remote)
        if len(self.flows) > _FLOWS:
            self.flows.popitem(last=False)
        return flow


def advertised_via(advertised: tuple[str, int | None] | None, own: Address, remote_ip: str) -> Address | None:
    """What our Via tells instead of `own`; None: nothing else, because nothing is advertised, or not on this machine."""
    if advertised is None or is_loopback(remote_ip):
        return None
    host, port = advertised
    return host, port or own[1]


def _local_host(flow: Flow) -> str:
    """The own address of a flow of ours, with its zone."""
    assert isinstance(flow.connection, _Path)
    return flow.connection.local_host
