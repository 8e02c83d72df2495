"""Token buckets of sources."""

from __future__ import annotations

import pytest

from flexosip import ConfigurationError, Limits
from flexosip.phone.policy.rates import SourceRate, SourceRates, TokenBucket, source_key


def test_a_bucket_lets_the_burst_in_and_then_its_rate() -> None:
    bucket = TokenBucket(20, 40, 100.0)
    assert sum(bucket.take(100.0) for _ in range(200)) == 40
    taken = sum(bucket.take(100.0 + step / 1000) for step in range(1, 10_001))
    assert 199 <= taken <= 200


def test_a_bucket_is_never_fuller_than_its_burst_and_time_does_not_run_back() -> None:
    bucket = TokenBucket(20, 3, 0.0)
    bucket.give(100)
    assert [bucket.take(1e6) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.0)
    assert bucket.full_at() == pytest.approx(1e6 + 1 / 20)


def test_as_many_are_refused_with_an_answer_as_are_let_in_and_then_nothing_is_read() -> None:
    rate = SourceRate(20, 40, 0.0)
    assert [rate.admit(0.0) for _ in range(41)] == [True] * 40 + [False]
    assert [rate.refuse(0.0, True) for _ in range(41)] == [True] * 40 + [False]
    assert rate.closed_until == pytest.approx(1 / 20)
    assert rate.admit(0.051)


def test_silence_closes_at_once() -> None:
    rate = SourceRate(20, 1, 0.0)
    assert rate.admit(0.0) and not rate.refuse(0.0, False)
    assert rate.closed_until > 0.0


def test_the_sources_remembered_are_bounded_and_the_busy_ones_stay() -> None:
    rates = SourceRates(20, 40, 100)
    busy = rates.get("192.0.2.1", 0.0)
    for number in range(1000):
        rates.get(f"198.51.100.{number % 250}" if number % 2 else f"203.0.113.{number % 250}", 0.0)
        assert rates.get("192.0.2.1", 0.0) is busy
    assert len(rates) == 100
    assert rates.find("192.0.2.77") is None


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_ipv6_subscriber_is_one_source_whatever_address_he_takes(host: str, key: str) -> None:
    assert source_key(host) == key
    rates = SourceRates(20, 40, 100)
    assert rates.get(host, 0.0) is rates.get(key, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"excess": "busy"}, {"source_rate": 0}, {"total_rate": -1.0}, {"source_burst": 0}, {"sources": 0}, {"dialogs": 0},
        {"message": 0.0}, {"source_loan": -1}, {"source_rate": float("nan")},
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Limits(**wrong)  # type: ignore[arg-type]
