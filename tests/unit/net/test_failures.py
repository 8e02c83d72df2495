"""The system's network errors in words."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from flexosip.errors import NetworkError, ServerUnreachable
from flexosip.net.failures import bind_failure, connect_failure, lookup_failure, send_failure


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "UDP port 5060 on 0.0.0.0 is in use by another program."),
        (errno.EADDRNOTAVAIL, "0.0.0.0 is not an address of this machine."),
        (errno.EACCES, "UDP port 5060 on 0.0.0.0 may not be used by this user."),
        (errno.EAFNOSUPPORT, "IPv4 is not available on this machine."),
        (errno.EMFILE, "No more sockets can be opened: the limit of open files is reached."),
        (errno.EIO, "UDP port 5060 on 0.0.0.0 cannot be used: input/output error."),
    ],
)
def test_a_failed_bind_says_what_is_wrong_and_keeps_the_number(number: int, words: str) -> None:
    failure = bind_failure("udp", ("0.0.0.0", 5060), os_error(number))
    assert str(failure) == words
    assert failure.errno == number


def test_a_port_in_use_names_the_option() -> None:
    assert "--listen" in bind_failure("tcp", ("::", 5060), os_error(errno.EADDRINUSE)).explain()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (os_error(errno.ECONNREFUSED), NetworkError, "10.0.0.1:5060 refuses TCP connections."),
        (os_error(errno.ETIMEDOUT), ServerUnreachable, "10.0.0.1:5060 does not answer TCP."),
        (TimeoutError(), ServerUnreachable, "10.0.0.1:5060 does not answer TCP."),
        (os_error(errno.ENETUNREACH), ServerUnreachable, "There is no way to 10.0.0.1 from here: network is unreachable."),
        (os_error(errno.EPIPE), NetworkError, "The TCP connection to 10.0.0.1:5060 failed: broken pipe."),
    ],
)
def test_a_failed_connection_names_the_server(error: Exception, kind: type[NetworkError], words: str) -> None:
    failure = connect_failure(("10.0.0.1", 5060), error)
    assert type(failure) is kind
    assert str(failure) == words


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ECONNREFUSED, ServerUnreachable, "Nothing listens on UDP [fd00::1]:5060."),
        (errno.EHOSTUNREACH, ServerUnreachable, "There is no way to fd00::1 from here: no route to host."),
        (errno.EPERM, NetworkError, "This machine's firewall forbids packets to [fd00::1]:5060."),
        (errno.EMSGSIZE, NetworkError, "The message is too large for one UDP packet to [fd00::1]:5060."),
    ],
)
def test_a_datagram_that_did_not_go_out_says_why(number: int, kind: type[NetworkError], words: str) -> None:
    failure = send_failure(("fd00::1", 5060), os_error(number))
    assert type(failure) is kind
    assert str(failure) == words


def test_an_unknown_name_and_a_silent_name_server_are_told_apart() -> None:
    unknown = lookup_failure("pbx.test", socket.gaierror(socket.EAI_NONAME, "unknown"))
    silent = lookup_failure("pbx.test", socket.gaierror(socket.EAI_AGAIN, "try again"))
    assert str(unknown) == "The host name 'pbx.test' is not known."
    assert isinstance(silent, ServerUnreachable)
    assert "pbx.test" in str(silent)
