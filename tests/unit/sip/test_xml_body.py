"""XML bodies: what is refused, and how fast."""

from __future__ import annotations

import contextlib
import time

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.xml_body import Element, parse_xml, write_xml

LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + b"".join(b'<!ENTITY lol%d "%s">' % (n, b"&lol%s;" % (b"" if n == 1 else b"%d" % (n - 1)) * 10) for n in range(1, 10))
    + b"]><lolz>&lol9;</lolz>"
)


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS,
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/evil.dtd"><x/>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
        b"<!DOCTYPE x><x/>",
        b"<x>&undefined;</x>",
        b"<x>" * 33 + b"</x>" * 33,
        b"<x>" * 20000,
        b"<x>" + b"<y/>" * 5000 + b"</x>",
        b"<x a='1' a='2'/>",
        b"<p:x/>",
        b"<x/><y/>",
        b"<x",
        b"",
        b"\x00",
        b"\xff\xfe<",
        b'<?xml version="1.0" encoding="no-such"?><x/>',
        b'<?xml version="1.0" encoding="utf-7"?><x/>',
        b'<?xml version="1.0" encoding="big5"?><x/>',
        b"<x>\xff</x>",
        b"plain text",
    ],
)
def test_what_is_no_plain_document_is_refused(body: bytes) -> None:
    with pytest.raises(SipParseError) as failure:
        parse_xml(body)
    assert failure.value.status_hint in (400, 413)


def test_more_than_64_kib_is_refused_unread() -> None:
    with pytest.raises(SipParseError) as failure:
        parse_xml(b"<x>" + b" " * 65536 + b"</x>")
    assert failure.value.status_hint == 413


@pytest.mark.parametrize(
    "body",
    [
        b"<x " + b" ".join(b"a%d='1'" % n for n in range(6000)) + b"/>",
        b"<x " + b" ".join(b"xmlns:a%d='u%d'" % (n, n) for n in range(2500)) + b"/>",
        b"<x>" + b"&lt;" * 16000 + b"</x>",
        b"<x>" + b"<!-- -->" * 8000 + b"</x>",
        b"<x" + b" " * 65000,
        b"<x>" + b"]]" * 32000,
    ],
)
def test_hostile_documents_cost_no_more_than_their_length(body: bytes) -> None:
    started = time.perf_counter()
    with contextlib.suppress(SipParseError):
        parse_xml(body)
    assert time.perf_counter() - started < 0.5


def test_elements_have_namespaces_attributes_children_and_text() -> None:
    root = parse_xml(b'<a xmlns="u:1" xmlns:p="u:2" k="v" p:k="w"> text <p:b/><b> 1 &amp; 2 </b><!-- no --><b/></a>')
    assert (root.name, root.namespace, root.text) == ("a", "u:1", "text")
    assert (root.get("k"), root.get("{u:2}k"), root.get("x")) == ("v", "w", None)
    assert [child.text for child in root.find_all("b")] == ["1 & 2", ""]
    assert root.find("b", "u:2") == Element("b", "u:2")
    assert root.find("c") is None


def test_a_document_that_we_write_is_read_back() -> None:
    root = Element("a", "u:1", (("k", '<"&>'),), (Element("b", "u:2", text="ä<b>"), Element("c", "u:1")), "")
    assert parse_xml(write_xml(root)) == root
    for bad in (Element("a b"), Element("a", text="\x00"), Element("a", attributes=(("k", "\x1b"),)), Element("")):
        with pytest.raises(ValueError):
            write_xml(bad)
