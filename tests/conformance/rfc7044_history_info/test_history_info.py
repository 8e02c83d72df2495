"""History-Info (RFC 7044), and the diversions that follow from it (RFC 4458, RFC 7544)."""

from __future__ import annotations

from flexosip.sip.identity import HistoryEntry, read_history
from flexosip.sip.reason import Reason
from tests.unit.sip.test_identity import invite, of

CHAIN = (
    "History-Info: <sip:bob@biloxi.example.com>;index=1",
    "History-Info: <sip:bob@192.0.2.4?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1",
    "History-Info: <sip:office@example.com;cause=302>;index=1.2;mp=1, <sip:office@192.0.2.5>;index=1.2.1;rc=1.2",
)


def entries(*headers: str) -> tuple[HistoryEntry, ...]:
    return read_history(invite(*headers).headers)


def test_the_entries_come_in_the_order_of_their_indices() -> None:
    found = entries(CHAIN[2], CHAIN[0], CHAIN[1])
    assert [entry.index for entry in found] == [(1,), (1, 1), (1, 2), (1, 2, 1)]
    assert [entry.retarget for entry in found] == [None, "rc", "mp", "rc"]
    found = entries("History-Info: <sip:a@x.example>;index=1.10, <sip:b@x.example>;index=1.9")
    assert [entry.index for entry in found] == [(1, 9), (1, 10)]


def test_the_reason_escaped_in_the_uri_is_read_and_the_address_is_without_it() -> None:
    [_, left, came, _] = entries(*CHAIN)
    assert left.reasons == (Reason("SIP", 302, ""),) and str(left.address.uri) == "sip:bob@192.0.2.4"
    assert came.cause == 302 and str(came.address.uri) == "sip:office@example.com"


def test_an_escaped_privacy_asks_to_hide_the_entry() -> None:
    [hidden, shown] = entries("History-Info: <sip:a@x.example?Privacy=history>;index=1, <sip:b@x.example?Privacy=none>;index=1.1")
    assert hidden.private and not shown.private


def test_the_cause_of_the_next_entry_tells_why_a_station_was_left() -> None:
    identity = of(*CHAIN)
    assert [(station.number, station.reason, station.source) for station in identity.diverted_from] == [
        ("bob", "unconditional", "History-Info")
    ]


def test_two_diversions_are_told_with_the_latest_first() -> None:
    identity = of(
        "History-Info: <sip:+491@x.example>;index=1, <sip:+492@x.example;cause=486>;index=1.1, <sip:+493@x.example;cause=408>;index=1.1.1"
    )
    assert [(station.number, station.reason) for station in identity.diverted_from] == [("+492", "no-answer"), ("+491", "user-busy")]


def test_diversion_is_believed_before_history_info() -> None:
    identity = of(*CHAIN, "Diversion: <sip:+499@x.example>;reason=no-answer")
    assert [station.number for station in identity.diverted_from] == ["+499"]


def test_an_entry_without_index_or_with_a_bad_one_is_passed_over() -> None:
    assert entries("History-Info: <sip:a@x.example>, <sip:b@x.example>;index=0x1, <sip:c@x.example>;index=1..2") == ()


def test_a_call_that_was_only_routed_is_not_diverted() -> None:
    assert of("History-Info: <sip:a@x.example>;index=1, <sip:a@10.0.0.1>;index=1.1;rc=1").diverted_from == ()
