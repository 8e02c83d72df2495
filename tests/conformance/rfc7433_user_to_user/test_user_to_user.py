"""User-to-User (RFC 7433)."""

from __future__ import annotations

import pytest

from flexosip.sip.headers import Headers
from flexosip.sip.user_to_user import UserToUser, parse_user_to_user


def parsed(*lines: str) -> tuple[UserToUser, ...]:
    return parse_user_to_user(Headers([("User-to-User", line) for line in lines]))


def test_the_example_of_the_rfc() -> None:
    [value] = parsed("56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar")
    assert value == UserToUser(bytes.fromhex("56a390f3d2b7310023a2"), "hex", "foo", "bar")
    assert str(value) == "56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar"


def test_without_an_encoding_it_is_hex() -> None:
    assert parsed("04486f6c61") == (UserToUser(b"\x04Hola"),)
    assert parsed("04486F6C61 ; purpose=isdn-uui")[0].content == b"\x04Hola"


def test_several_values_may_be_on_one_line_or_on_several() -> None:
    assert [value.text for value in parsed('61;encoding=hex, "b,c";encoding=x', "64")] == ["a", "b,c", "d"]


def test_octets_go_as_hex_whatever_they_are() -> None:
    value = UserToUser(b"\x00\r\n\xff")
    assert str(value) == "000d0aff;encoding=hex" and parsed(str(value)) == (value,)


def test_text_is_read_as_utf_8() -> None:
    assert UserToUser("Tür".encode()).text == "Tür" and UserToUser(b"\xff").text == "\ufffd"


@pytest.mark.parametrize("line", ["", "abc", "zz;encoding=hex", '"open', ";encoding=hex", '"";encoding=x', "61;;", "6" * 3000])
def test_what_cannot_be_understood_is_passed_over(line: str) -> None:
    assert parsed(line) == () and parsed(line, "61") == (UserToUser(b"a"),)


@pytest.mark.parametrize("value", [UserToUser(b""), UserToUser(b"a\n", "x"), UserToUser(b"a", "x y"), UserToUser(b"a", "hex", "a;b"),
                                   UserToUser(b"a", "hex", None, "a b")])  # fmt: skip
def test_what_could_forge_a_header_cannot_be_sent(value: UserToUser) -> None:
    with pytest.raises(ValueError, match="User-to-User"):
        str(value)
