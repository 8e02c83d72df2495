"""The rules of symmetric RTP, one by one."""

from __future__ import annotations

import pytest

from flexosip.media.source_guard import SourceGuard, Verdict

SDP = ("192.0.2.9", 40000)
NAT = ("198.51.100.7", 31000)
STRANGER = ("203.0.113.66", 6666)


def guard(now: float = 0.0) -> SourceGuard:
    made = SourceGuard()
    made.expect(SDP, now)
    return made


def packets(made: SourceGuard, source: tuple[str, int], count: int, *, now: float = 1.0, first: int = 100, **fields: int) -> list[Verdict]:
    ssrc = fields.get("ssrc", 7)
    return [made.judge(source, (ssrc, first + index & 0xFFFF, 8), now + index * 0.02, None, None) for index in range(count)]


def test_the_address_of_the_sdp_is_right_at_any_time() -> None:
    made = guard()
    assert made.judge(SDP, (1, 1, 8), 100.0, None, None) is Verdict.EXPECTED
    assert made.target == SDP
    assert not made.learned


def test_four_packets_are_not_enough_and_five_are() -> None:
    made = guard()
    assert packets(made, NAT, 5, first=65533) == [Verdict.DROP] * 4 + [Verdict.LEARNED]
    assert made.learned
    assert made.target == NAT


@pytest.mark.parametrize("change", ["ssrc", "sequence", "payload type", "address"])
def test_they_must_be_one_stream(change: str) -> None:
    made = guard()
    for index in range(40):
        odd = index % 4 == 3
        source = STRANGER if odd and change == "address" else NAT
        header = (
            9 if odd and change == "ssrc" else 7,
            100 + index * (500 if change == "sequence" else 1),
            0 if odd and change == "payload type" else 8,
        )
        assert made.judge(source, header, 1.0, None, None) is Verdict.DROP


def test_a_repeated_packet_does_not_count() -> None:
    made = guard()
    assert [made.judge(NAT, (7, 100, 8), 1.0, None, None) for _ in range(20)] == [Verdict.DROP] * 20


def test_nobody_is_learned_when_the_right_one_has_spoken() -> None:
    made = guard()
    assert made.judge(SDP, (1, 1, 8), 0.5, None, None) is Verdict.EXPECTED
    verdicts = [made.judge(STRANGER, (7, 100 + index, 8), 1.0 + index * 0.02, 0.99 + index * 0.02, (1, 1)) for index in range(20)]
    assert set(verdicts) == {Verdict.DROP}


def test_nobody_is_learned_after_five_seconds() -> None:
    assert set(packets(guard(), NAT, 20, now=5.1)) == {Verdict.DROP}


def test_a_new_offer_opens_the_time_again_for_a_silent_source() -> None:
    made = guard()
    packets(made, NAT, 5)
    made.expect(SDP, 60.0)
    other = ("198.51.100.7", 31999)
    verdicts = [made.judge(other, (7, 100 + index, 8), 61.0 + index * 0.02, 59.0, (7, 50)) for index in range(5)]
    assert verdicts[-1] is Verdict.LEARNED
    assert made.target == other


def test_a_new_offer_does_not_open_it_for_a_source_that_speaks() -> None:
    made = guard()
    packets(made, NAT, 5)
    made.expect(SDP, 60.0)
    verdicts = [made.judge(STRANGER, (9, 100 + index, 8), 61.0 + index * 0.02, 60.9 + index * 0.02, (7, 50)) for index in range(20)]
    assert set(verdicts) == {Verdict.DROP}
    assert made.target == NAT


def test_a_new_address_in_the_sdp_forgets_the_learned_one() -> None:
    made = guard()
    packets(made, NAT, 5)
    made.expect(("192.0.2.10", 5000), 60.0)
    assert not made.learned
    assert made.target == ("192.0.2.10", 5000)


def test_a_nat_that_rebinds_is_followed_by_the_known_stream_alone() -> None:
    made = guard()
    made.judge(SDP, (7, 100, 8), 1.0, None, None)
    stranger = [made.judge(STRANGER, (9, 100 + index, 8), 64.0, 60.0, (7, 3000)) for index in range(20)]
    assert set(stranger) == {Verdict.DROP}
    moved = [made.judge(NAT, (7, 3110 + index, 8), 64.0, 60.0, (7, 3000)) for index in range(5)]
    assert moved == [Verdict.DROP] * 4 + [Verdict.LEARNED]


def test_ipv6_addresses_are_compared_without_zone_and_case() -> None:
    made = SourceGuard()
    made.expect(("FE80::1", 4000), 0.0)
    assert made.judge(("fe80::1%eth0", 4000, 0, 2), (1, 1, 8), 0.1, None, None) is Verdict.EXPECTED
