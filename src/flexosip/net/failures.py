"""What the operating system's network errors mean, in words: each becomes a `NetworkError` that tells what to do."""

from __future__ import annotations

import errno
import socket

from flexosip.advice import network_advice as _advice
from flexosip.errors import NetworkError, ServerUnreachable
from flexosip.net.address import Address, format_address

__all__ = ["bind_failure", "connect_failure", "connect_timeout", "lookup_failure", "no_name_server", "send_failure"]

_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EAFNOSUPPORT)


def bind_failure(transport: str, address: Address, error: OSError) -> NetworkError:
    """Why a socket cannot be bound; `errno` is the system's."""
    failure = _bind_failure(transport, address, error)
    failure.errno = error.errno
    return failure


def _bind_failure(transport: str, address: Address, error: OSError) -> NetworkError:
    host, port = address
    name = transport.upper()
    family = "IPv6" if ":" in host else "IPv4"
    if error.errno == errno.EADDRINUSE:
        return NetworkError(
            f"{name} port {port} on {host} is in use by another program.",
            advice=_advice("port in use", listen=format_address((host, 0))),
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(
            f"{host} is not an address of this machine.",
            advice=_advice("not our address", wildcard="[::]" if ":" in host else "0.0.0.0"),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return NetworkError(
            f"{name} port {port} on {host} may not be used by this user.", advice=_advice("port forbidden")
        )
    if error.errno in _NO_FAMILY:
        return NetworkError(f"{family} is not available on this machine.", advice=_advice("no family"))
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return NetworkError(
            "No more sockets can be opened: the limit of open files is reached.", advice=_advice("too many files")
        )
    return NetworkError(f"{name} port {port} on {host} cannot be used: {_words(error)}.", advice=_advice("bind"))


def connect_failure(remote: Address, error: Exception) -> NetworkError:
    """Why a TCP connection was not made."""
    if isinstance(error, NetworkError):
        return error
    where = format_address(remote)
    if isinstance(error, ConnectionRefusedError):
        return NetworkError(
            f"{where} refuses TCP connections.", advice=_advice("tcp refused")
        )
    if isinstance(error, TimeoutError):
        return connect_timeout(remote)
    if isinstance(error, OSError) and error.errno in _NO_ROUTE:
        return ServerUnreachable(f"There is no way to {remote[0]} from here: {_words(error)}.", advice=_advice("no route"))
    return NetworkError(f"The TCP connection to {where} failed: {_words(error)}.", advice=_advice("tcp failed"))


def connect_timeout(remote: Address) -> ServerUnreachable:
    """A TCP connection got no answer in time."""
    return ServerUnreachable(f"{format_address(remote)} does not answer TCP.", advice=_advice("tcp silent"))


def send_failure(remote: Address, error: OSError) -> NetworkError:
    """Why a datagram did not go out, or what ICMP said about it."""
    where = format_address(remote)
    if isinstance(error, ConnectionRefusedError):
        return ServerUnreachable(f"Nothing listens on UDP {where}.", advice=_advice("udp refused"))
    if error.errno in _NO_ROUTE:
        return ServerUnreachable(f"There is no way to {remote[0]} from here: {_words(error)}.", advice=_advice("no route"))
    if error.errno in (errno.EACCES, errno.EPERM):
        return NetworkError(f"This machine's firewall forbids packets to {where}.", advice=_advice("firewall"))
    if error.errno == errno.EMSGSIZE:
        return NetworkError(f"The message is too large for one UDP packet to {where}.", advice=_advice("too large"))
    return NetworkError(f"Nothing can be sent to {where}: {_words(error)}.", advice=_advice("send"))


def lookup_failure(host: str, error: Exception) -> NetworkError:
    """Why a name has no address."""
    temporary = {getattr(socket, "EAI_AGAIN", None), getattr(socket, "EAI_FAIL", None)}
    if isinstance(error, socket.gaierror) and error.errno in temporary:
        return no_name_server(host, "no name server answers")
    return NetworkError(
        f"The host name {host!r} is not known.",
        advice=_advice("unknown name"),
    )


def no_name_server(host: str, reason: str) -> ServerUnreachable:
    """A name cannot be looked up now, and may be later."""
    return ServerUnreachable(
        f"The address of {host!r} cannot be looked up now: {reason}.",
        advice=_advice("no name server"),
    )


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
