"""Addresses and the words for where to listen."""

from __future__ import annotations

import pytest

from flexosip.errors import ConfigurationError
from flexosip.net.address import ListenAddress, canonical_ip, format_address, is_host_name, parse_listen, parse_listener


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:5060", ("0.0.0.0", 5060)),
        ("192.168.1.2", ("192.168.1.2", 5060)),
        ("[::]:0", ("::", 0)),
        ("[fd00::0:1]", ("fd00::1", 5060)),
        ("fd00::1", ("fd00::1", 5060)),
        (":5070", ("0.0.0.0", 5070)),
        ("localhost:1", ("localhost", 1)),
        (" 127.0.0.1:65535 ", ("127.0.0.1", 65535)),
        ("[fe80::1%eth0]:5060", ("fe80::1%eth0", 5060)),
    ],
)
def test_where_to_listen_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:sip", "[::1", "[::1]5060", "[host]:1", "a:b:c", "a b:5", "x\0:5", "::1::", "5070", "99999",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_listen(text)
    assert "HOST:PORT" in caught.value.explain()


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("FD00:0:0::1", "fd00::1"),
        ("10.0.0.1", "10.0.0.1"),
        ("010.0.0.1", None),
        ("1.2.3", None),
        ("1.2.3.400", None),
        ("example.com", None),
        ("a\0b", None),
        ("", None),
    ],
)
def test_numeric_addresses_have_one_spelling(host: str, canonical: str | None) -> None:
    assert canonical_ip(host) == canonical


@pytest.mark.parametrize("host", ["fritz.box", "localhost", "3cx", "pbx-1.example.com.", "7f3a2b"])
def test_names_may_be_looked_up(host: str) -> None:
    assert is_host_name(host)


@pytest.mark.parametrize("host", ["1.2.3.400", "10.1", "2130706433", "0x7f000001", "1.2.3.0x4", "", ".", "a:b", "x" * 256])
def test_damaged_numeric_addresses_are_never_looked_up(host: str) -> None:
    assert not is_host_name(host)


def test_ipv6_gets_its_brackets() -> None:
    assert format_address(("::1", 5060)) == "[::1]:5060"
    assert str(ListenAddress("udp", "::", 5060)) == "udp:[::]:5060"
    assert str(ListenAddress("tcp", "0.0.0.0", 5060)) == "tcp:0.0.0.0:5060"


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("0.0.0.0:5060", (None, ("0.0.0.0", 5060))),
        ("tls:0.0.0.0:5071", ("tls", ("0.0.0.0", 5071))),
        ("TLS:0.0.0.0", ("tls", ("0.0.0.0", 5061))),
        ("wss:[::]:8089", ("wss", ("::", 8089))),
        ("ws:pbx.test", ("ws", ("pbx.test", 80))),
        ("wss:", ("wss", ("0.0.0.0", 443))),
        ("udp:127.0.0.1:0", ("udp", ("127.0.0.1", 0))),
        ("[::1]", (None, ("::1", 5060))),
        ("fe80::1", (None, ("fe80::1", 5060))),
    ],
)
def test_a_transport_may_stand_before_an_address(text: str, listener: tuple[str | None, tuple[str, int]]) -> None:
    assert parse_listener(text) == listener


@pytest.mark.parametrize("text", ["sctp:0.0.0.0:5060", "ws://host:80", "tls:host:70000"])
def test_what_is_no_listener_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address to listen on"):
        parse_listener(text)
