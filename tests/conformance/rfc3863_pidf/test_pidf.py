"""The presence document (RFC 3863 §4) with activities (RFC 4480 §3.2)."""

from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.presence import Presence, PresenceTuple

DOCUMENT = b"""<?xml version="1.0" encoding="UTF-8"?>
<impp:presence xmlns:impp="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:local="urn:example" entity="pres:someone@example.com">
  <impp:tuple id="sg89ae">
    <impp:status><impp:basic>open</impp:basic><local:location>home</local:location></impp:status>
    <impp:contact priority="0.8">tel:+09012345678</impp:contact>
    <impp:note>quick</impp:note>
    <impp:timestamp>2001-10-27T16:49:29Z</impp:timestamp>
  </impp:tuple>
  <impp:tuple id="x"><impp:status/></impp:tuple>
  <impp:note>I will be in Tokyo</impp:note>
  <dm:person id="p1"><rpid:activities><rpid:on-the-phone/><rpid:note>x</rpid:note><local:juggling/></rpid:activities></dm:person>
</impp:presence>"""


def test_a_document_has_tuples_with_status_contact_note_and_timestamp() -> None:
    presence = Presence.parse(DOCUMENT)
    assert presence.entity == "pres:someone@example.com"
    assert presence.tuples == (
        PresenceTuple("sg89ae", "open", "tel:+09012345678", "0.8", "quick", "2001-10-27T16:49:29Z"),
        PresenceTuple("x", None),
    )
    assert presence.open is True
    assert presence.note == "I will be in Tokyo"
    assert presence.activities == ("on-the-phone",)
    assert presence.state == "on-the-phone"
    assert Presence.parse(bytes(presence)) == presence


def test_the_basic_status_is_open_closed_or_not_told() -> None:
    assert Presence.simple("sip:a@b", True).state == "open"
    assert Presence.simple("sip:a@b", False).state == "closed"
    assert Presence("sip:a@b").state == "unknown"
    away = Presence.simple("sip:a@b", True, note="<lunch> & more", activity="away")
    assert Presence.parse(bytes(away)) == away
    with pytest.raises(ValueError):
        Presence.simple("sip:a@b", True, activity="<away>")


def test_a_status_that_is_neither_open_nor_closed_tells_nothing() -> None:
    presence = Presence.parse(DOCUMENT.replace(b">open<", b">?<"))
    assert presence.tuples[0].basic is None and presence.open is None


@pytest.mark.parametrize(
    "change",
    [
        (b"ns:pidf\"", b"ns:other\""),
        (b"entity=", b"identity="),
        (b' id="sg89ae"', b""),
        (b"<?xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><?xml"),
    ],
)
def test_a_malformed_document_is_refused(change: tuple[bytes, bytes]) -> None:
    assert change[0] in DOCUMENT
    with pytest.raises(SipParseError):
        Presence.parse(DOCUMENT.replace(*change))
