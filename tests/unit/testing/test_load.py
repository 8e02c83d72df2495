"""The load generator: its rate, its report, its bounds, and whom it refuses to call."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import ConfigurationError, Phone
from flexosip.testing import Stage
from flexosip.testing.load import LoadReport, load


def run(prepare: Any, **settings: Any) -> tuple[LoadReport, float]:
    stage = Stage(seed=2, limit=3600)

    async def main() -> tuple[LoadReport, float]:
        a, b = await stage.phone(), await stage.phone()
        prepare(b)
        begin = stage.clock.now
        report = await load(a, "sip:10.0.0.2", **settings)
        return report, stage.clock.now - begin

    return stage.play(main())


def test_a_hundred_calls_at_twenty_a_second() -> None:
    report, seconds = run(lambda b: b.answers(), calls=100, rate=20, talk=0.5)
    assert (report.placed, report.answered, report.dropped, report.skipped, report.failed) == (100, 100, 0, 0, {})
    assert seconds == pytest.approx(99 / 20 + 0.5, abs=0.3) and report.seconds == pytest.approx(seconds, abs=0.01)
    assert report.setup(0.5) == pytest.approx(0.02, abs=0.01) and report.setup(1.0) < 0.1
    assert 10 <= report.most_at_once <= 12
    assert str(report).startswith("100 calls in 5.") and "set-up 20 ms (half)" in str(report)


def test_what_fails_is_counted_by_its_kind() -> None:
    report, _ = run(lambda b: b.refuses(486), calls=5, rate=10)
    assert report.answered == 0 and report.failed == {"486 Busy": 5}
    assert "5 486 Busy" in str(report)
    report, _ = run(lambda b: None, calls=2, rate=10, ring_timeout=3)
    assert report.failed == {"408 NoAnswer": 2}
    report, _ = run(lambda b: b.answers(hang_up_after=0.2), calls=3, rate=10, talk=1.0)
    assert report.dropped == 3
    with pytest.raises(ConfigurationError):
        LoadReport().setup(0.5)


def test_what_is_due_while_all_lines_are_taken_is_skipped() -> None:
    report, _ = run(lambda b: b.answers(), calls=20, rate=10, talk=10.0, at_once=5)
    assert (report.placed, report.skipped, report.most_at_once) == (5, 15, 5)


@pytest.mark.parametrize("wrong", [{"calls": 0}, {"calls": 10_000_000}, {"rate": 0.0}, {"rate": 5000.0}, {"talk": -1.0}, {"at_once": 0}])
def test_numbers_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="out of bounds"):
        run(lambda b: None, **{"calls": 1, "rate": 1.0, **wrong})


async def test_nobody_elsewhere_is_called() -> None:
    async with Phone(listen=("127.0.0.1:0",)) as phone:
        with pytest.raises(ConfigurationError, match="neither"):
            await load(phone, "sip:somebody@example.com", calls=1, rate=1)
        async with Phone(listen=("127.0.0.1:0",), proxy="192.0.2.1") as other:
            with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
                await load(other, "sip:somebody@127.0.0.1", calls=1, rate=1)
        report = await load(phone, f"sip:{phone.addresses[0].partition(':')[2]}", calls=1, rate=10, ring_timeout=2)
        assert report.placed == 1
