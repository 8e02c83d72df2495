"""The body of the dialog package, and how documents make a table (RFC 4235 §4)."""

from __future__ import annotations

import pytest

from flexosip.sip.dialog_info import DialogInfo, DialogTable, WatchedDialog, lamp
from flexosip.sip.grammar import SipParseError

DOCUMENT = b"""<?xml version="1.0"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:alice@example.com">
  <dialog id="as7d900as8" call-id="a84b4c76e66710" local-tag="1928301774" remote-tag="456887766" direction="recipient">
    <state event="remote-bye" code="200">early</state>
    <duration>145</duration>
    <local><identity>sip:alice@example.com</identity><target uri="sip:alice@pc33.example.com"/></local>
    <remote><identity display="Bob">sip:bob@example.org</identity><target uri="sip:bobster@phone21.example.org"/></remote>
  </dialog>
</dialog-info>"""


def info(version: int, *states: tuple[str, str], full: bool = True) -> DialogInfo:
    return DialogInfo("sip:a@b", version, full, tuple(WatchedDialog(number, state) for number, state in states))


def test_a_document_tells_the_calls_of_a_line_with_all_that_picking_up_needs() -> None:
    document = DialogInfo.parse(DOCUMENT)
    assert (document.entity, document.version, document.full, document.state) == ("sip:alice@example.com", 1, True, "early")
    (dialog,) = document.dialogs
    assert (dialog.call_id, dialog.local_tag, dialog.remote_tag) == ("a84b4c76e66710", "1928301774", "456887766")
    assert (dialog.remote_uri, dialog.remote_name, dialog.remote_target) == (
        "sip:bob@example.org",
        "Bob",
        "sip:bobster@phone21.example.org",
    )
    assert (dialog.event, dialog.code, dialog.duration, dialog.local_target) == ("remote-bye", 200, 145, "sip:alice@pc33.example.com")
    assert dialog.ringing
    assert DialogInfo.parse(bytes(document)) == document


@pytest.mark.parametrize(
    "change",
    [
        (b'state="full"', b'state="half"'),
        (b'version="1"', b'version="-1"'),
        (b'version="1"', b""),
        (b'entity="sip:alice@example.com"', b""),
        (b">early<", b">asleep<"),
        (b'id="as7d900as8"', b""),
        (b"<duration>145", b"<duration>long"),
        (b'code="200"', b'code="x"'),
        (b"ns:dialog-info", b"ns:other"),
        (b"<?xml", b"<!DOCTYPE x><?xml"),
    ],
)
def test_a_malformed_document_is_refused(change: tuple[bytes, bytes]) -> None:
    assert change[0] in DOCUMENT
    with pytest.raises(SipParseError):
        DialogInfo.parse(DOCUMENT.replace(*change))


def test_a_full_document_replaces_the_table() -> None:
    table = DialogTable()
    assert table.receive(info(0, ("1", "confirmed"), ("2", "early")))
    assert table.receive(info(1, ("3", "early")))
    assert [dialog.id for dialog in table.dialogs] == ["3"] and not table.needs_refresh


def test_a_partial_document_changes_what_it_names_and_ends_what_is_terminated() -> None:
    table = DialogTable()
    table.receive(info(5, ("1", "confirmed"), ("2", "early")))
    table.receive(info(6, ("1", "terminated"), ("3", "trying"), full=False))
    assert {dialog.id: dialog.state for dialog in table.dialogs} == {"2": "early", "3": "trying"}
    assert table.state == "early" and not table.needs_refresh


def test_a_document_with_a_lower_version_is_discarded() -> None:
    table = DialogTable()
    table.receive(info(7, ("1", "confirmed")))
    assert not table.receive(info(6))
    assert table.state == "confirmed"


def test_a_gap_in_the_versions_of_partial_documents_asks_for_a_refresh() -> None:
    table = DialogTable()
    table.receive(info(1, ("1", "confirmed")))
    assert table.receive(info(3, ("2", "early"), full=False))
    assert table.needs_refresh and table.version == 3
    table.receive(info(4, ("2", "early")))
    assert not table.needs_refresh


def test_the_first_document_being_partial_asks_for_a_refresh() -> None:
    table = DialogTable()
    table.receive(info(3, ("2", "early"), full=False))
    assert table.needs_refresh


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ((), "idle"),
        (("terminated",), "terminated"),
        (("trying",), "trying"),
        (("proceeding", "trying"), "trying"),
        (("early", "trying"), "early"),
        (("early", "confirmed", "terminated"), "confirmed"),
    ],
)
def test_a_lamp_shows_the_most_advanced_call(states: tuple[str, ...], shown: str) -> None:
    assert lamp(tuple(WatchedDialog(str(n), state) for n, state in enumerate(states))) == shown
