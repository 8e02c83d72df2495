"""Where a request came from, noted in its Via, and where its responses go.

RFC 3261 §18.2, RFC 3581 §4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError, format_host_port, format_parameters, is_ipv4, is_ipv6, split_list

if TYPE_CHECKING:
    from flexosip.sip.headers import Via
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["record_source", "response_address", "response_flow"]

DEFAULT_PORT = 5060


def record_source(request: Request, flow: Flow) -> None:
    """Put `received` and the value of `rport` into the top Via of a request that has arrived.

    What the sender wrote into them itself is replaced: only the source that we saw counts.
    """
    via = request.via
    host, port = flow.remote[0], flow.remote[1]
    parameters: list[tuple[str, str | None]] = []
    needed = via.host != host
    received = ("received", host)
    for item in via.parameters:
        name = item[0].lower()
        if name == "rport":
            # RFC 3581 §4: with rport, received is given even when it equals sent-by.
            parameters.append(("rport", str(port)))
            needed = True
        elif name == "received":
            needed = True
        else:
            parameters.append(item)
    if not needed:
        return
    parameters.append(received)
    text = f"SIP/2.0/{via.transport} {format_host_port(via.host, via.port)}{format_parameters(tuple(parameters))}"
    headers = request.headers
    fields = headers._fields
    position = next(index for index, field in enumerate(fields) if field[0] == "Via")
    line = fields[position][1]
    if "," in line and len(others := split_list(line)) > 1:
        text = ", ".join([text, *others[1:]])
    # Only this one value changes: what has been parsed of the other headers stays good, so the cache is not dropped as a whole.
    fields[position] = ("Via", text)
    if headers._index is not None:
        headers._index["via"][0] = text
    headers._cache.pop("via", None)
    headers._cache.pop("Via*", None)


def response_address(transaction: ServerTransaction) -> tuple[str, int] | None:
    """Where the 2xx to an INVITE goes whose connection is lost: the address that it came from, and the port of its Via (§18.2.2).

    None for what is over or not answered yet (most callers, our own stack among them, give a call up with its connection, and a phone
    must not go on ringing for nobody), for other requests (they will be asked again), and where the Via tells no address.
    """
    request = transaction.kept_request
    if request is None or transaction.is_pending or request.method != "INVITE" or transaction.flow.transport not in ("tcp", "tls"):
        return None
    via = request.via
    host = via.received or via.host
    if not is_ipv4(host) and not is_ipv6(host):
        return None
    return host, via.port or (5061 if transaction.flow.transport == "tls" else DEFAULT_PORT)


def response_flow(via: Via, flow: Flow) -> Flow:
    """The flow for responses to a request that came over `flow` with the top Via `via` (RFC 3261 §18.2.2).

    Reliable transports answer on the connection. Over UDP the answer goes to maddr, or with rport back to the source address
    and port, or to the source address and the port of sent-by.
    """
    if flow.reliable:
        return flow
    if not via.parameters or not (maddr := via.maddr):
        if via.has_rport:
            return flow
        address = (flow.remote[0], via.port or DEFAULT_PORT)
    else:
        if not is_ipv4(maddr) and not is_ipv6(maddr):
            raise SipParseError("The maddr of the Via is no address")
        address = (maddr, via.port or DEFAULT_PORT)
    if address == (flow.remote[0], flow.remote[1]):
        return flow
    answer = Flow(flow.transport, flow.local, address, connection=flow.connection)
    answer.advertised = flow.advertised
    answer.payer = flow
    return answer
