"""Diversion (RFC 5806): the latest diversion stands on top."""

from __future__ import annotations

import pytest

from tests.unit.sip.test_identity import of


def stations(*headers: str) -> list[tuple[str, str, int]]:
    return [(station.number, station.reason, station.counter) for station in of(*headers).diverted_from]


def test_the_topmost_value_is_the_latest_diversion() -> None:
    headers = ("Diversion: <sip:+492@x.example>;reason=no-answer", "Diversion: <sip:+491@x.example>;reason=user-busy;counter=2")
    assert stations(*headers) == [("+492", "no-answer", 1), ("+491", "user-busy", 2)]
    assert stations("Diversion: <sip:2@x.example>;reason=no-answer, <sip:1@x.example>") == [("2", "no-answer", 1), ("1", "unknown", 1)]


@pytest.mark.parametrize("reason", ["unknown", "user-busy", "no-answer", "unavailable", "unconditional", "time-of-day", "do-not-disturb",
                                    "deflection", "follow-me", "out-of-service", "away"])  # fmt: skip
def test_every_reason_is_told_quoted_or_not(reason: str) -> None:
    assert stations(f"Diversion: <sip:1@x.example>;reason={reason}")[0][1] == reason
    assert stations(f'Diversion: <sip:1@x.example>;reason="{reason.upper()}"')[0][1] == reason


def test_who_diverted_may_want_not_to_be_shown() -> None:
    [first, second] = of("Diversion: <sip:1@x.example>;privacy=full, <tel:+49-2>;privacy=off").diverted_from
    assert first.private and not second.private and second.number == "+492"


def test_without_a_diversion_nobody_diverted() -> None:
    assert of().diverted_from == ()
