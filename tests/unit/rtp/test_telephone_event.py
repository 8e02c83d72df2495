"""Telephone events through bad networks: one digit a press."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexosip.errors import ConfigurationError
from flexosip.rtp.packet import RtpHeader, parse_header
from flexosip.rtp.telephone_event import DIGITS, Digit, TelephoneEventReceiver, TelephoneEventSender

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus" / "rfc4733-made"
Sent = tuple[float, int, int, int, bytes]


def send(digits: str, *, clock_rate: int = 8000, start: int = 0xFFFFF000, sequence: int = 65530, **options: float) -> list[Sent]:
    """Every packet as (time, sequence, timestamp, marker, payload)."""
    sender = TelephoneEventSender(101, clock_rate, **options)  # type: ignore[arg-type]
    sender.send(digits)
    ticks = clock_rate // 50
    sent: list[Sent] = []
    tick = 0
    while sender.busy:
        for marker, timestamp, payload in sender.tick((start + tick * ticks) & 0xFFFFFFFF):
            sent.append((tick * 0.02, sequence & 0xFFFF, timestamp, marker, payload))
            sequence += 1
        tick += 1
        assert tick < 100_000
    return sent


def receive(sent: list[Sent], clock_rate: int = 8000) -> list[Digit]:
    """What a receiver makes of the packets, in their order, at their times; its clock runs on afterwards."""
    receiver = TelephoneEventReceiver(clock_rate)
    digits: list[Digit] = []
    for at, sequence, timestamp, marker, payload in sent:
        digits += receiver.handle_timeout(at)
        digits += receiver.receive(sequence, timestamp, payload, marker, at)
    digits += receiver.handle_timeout(sent[-1][0] + 5.0 if sent else 0.0)
    return digits


def text(digits: list[Digit]) -> str:
    return "".join(digit.digit for digit in digits)


@pytest.mark.parametrize("clock_rate", [8000, 16000, 48000])
def test_all_keys_arrive_once_with_their_duration(clock_rate: int) -> None:
    digits = receive(send(DIGITS, clock_rate=clock_rate), clock_rate)
    assert text(digits) == DIGITS
    assert all(digit.duration == pytest.approx(0.1) for digit in digits)
    assert digits[0].started == 0.0


def test_lower_case_and_waiting() -> None:
    sent = send("aw1")
    assert text(receive(sent)) == "A1"
    pause = next(at for at, *_, payload in sent if payload[0] == 1) - max(at for at, *_, payload in sent if payload[0] == 12)
    assert pause >= 0.5


@pytest.mark.parametrize("bad", ["x", "1 2", "12\r\n", "é"])
def test_what_is_no_key_is_refused_and_nothing_is_queued(bad: str) -> None:
    sender = TelephoneEventSender(101)
    with pytest.raises(ConfigurationError):
        sender.send("12" + bad)
    assert not sender.busy


@pytest.mark.parametrize("options", [{"duration": 0.02}, {"gap": 0.0}, {"volume": 64}])
def test_settings_that_detectors_would_miss_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        TelephoneEventSender(101, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        TelephoneEventSender(101).send("1", duration=0.001)


def test_clear_ends_the_present_key_and_forgets_the_rest() -> None:
    sender = TelephoneEventSender(101)
    sender.send("123")
    packets = [packet for tick in range(3) for packet in sender.tick(160 * tick)]
    assert sender.pending == 2
    sender.clear()
    tick = 3
    while sender.busy:
        packets += sender.tick(160 * tick)
        tick += 1
    assert {payload[0] for _, _, payload in packets} == {1}
    assert sum(payload[1] >> 7 for _, _, payload in packets) == 3


@settings(max_examples=60, deadline=None)
@given(st.text("0123456789*#ABCD", min_size=1, max_size=12), st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.floats(0, 0.3))
def test_duplicates_and_small_reordering_change_nothing(digits: str, seed: int, duplicated: float, jitter: float) -> None:
    rng = random.Random(seed)
    arrivals = []
    for at, *packet in send(digits):
        for _ in range(1 + (rng.random() < duplicated)):
            # Up to 39 ms: packets of one press overtake each other, and the repeats of its end the begin of nothing.
            arrivals.append((at + rng.random() * min(jitter, 0.039), *packet))
    arrivals.sort(key=lambda arrival: arrival[0])
    assert text(receive(arrivals)) == digits  # type: ignore[arg-type]


def test_one_in_five_packets_lost_loses_fewer_than_one_press_in_a_thousand() -> None:
    rng = random.Random(4733)
    presses = wrong = 0
    for _ in range(300):
        digits = "".join(rng.choice("0123456789*#") for _ in range(10))
        arrived = [packet for packet in send(digits) if rng.random() >= 0.2]
        presses += len(digits)
        wrong += sum(a != b for a, b in zip(text(receive(arrived)).ljust(10), digits, strict=True))
    assert wrong / presses <= 0.001


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("abcd-star-pound", "ABCD*#"),
        ("digit1-2-no-gap", "12"),
        ("digit1-all-ends-lost", "1"),
        ("digit1-end-dup-x6", "1"),
        ("digit1-normal", "1"),
        ("digit1-only-last-end", "1"),
        ("digit1-reordered", "1"),
        ("digit1-start-lost", "1"),
        ("digit1-twice-same-digit", "11"),
        ("hook-flash-16", "!"),
        ("long-press-segment", "9"),
        ("r-bit-set", None),
        ("seq-wrap", "5"),
        ("short-payload-3-bytes", ""),
        ("unknown-event-200", ""),
    ],
)
def test_corpus_gives_exactly_the_presses_of_its_index(name: str, expected: str | None) -> None:
    digits = text(_corpus(name))
    assert digits == expected if expected is not None else len(digits) == 1


@pytest.mark.parametrize("name", ["payload-8-bytes-two-events", "zero-duration", "ssrc-change-mid-event"])
def test_corpus_of_doubtful_events_gives_one_digit_at_most(name: str) -> None:
    assert len(_corpus(name)) <= 1


def test_corpus_durations() -> None:
    assert [digit.duration for digit in _corpus("digit1-reordered")] == [0.1]
    assert _corpus("long-press-segment")[0].duration > 8.19


def _corpus(name: str) -> list[Digit]:
    path = CORPUS / f"{name}.rtp"
    if not path.exists():
        pytest.skip(f"absent: {path}")
    data = path.read_bytes()
    receiver = TelephoneEventReceiver()
    digits: list[Digit] = []
    at, now = 0, 0.0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        record = data[at + 2 : at + 2 + size]
        at += 2 + size
        now += 0.02
        header = parse_header(record)
        assert header is not None
        fields = RtpHeader(*header)
        digits += receiver.handle_timeout(now)
        digits += receiver.receive(fields.sequence, fields.timestamp, record[fields.start : fields.end], fields.marker, now, fields.ssrc)
    return digits + receiver.handle_timeout(now + 10)


def test_a_stranger_in_the_middle_of_a_press_is_ignored() -> None:
    receiver = TelephoneEventReceiver()
    assert receiver.receive(1, 800, b"\x05\x0a\x00\xa0", 1, 0.0, ssrc=1) == []
    assert receiver.receive(9, 4000, b"\x06\x8a\x03\x20", 0, 0.01, ssrc=2) == []
    assert text(receiver.receive(2, 800, b"\x05\x8a\x01\x40", 0, 0.02, ssrc=1)) == "5"
    assert receiver.ignored == 1


def test_the_lost_end_is_noticed_by_time_and_late_packets_do_not_press_again() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(1, 800, b"\x05\x0a\x00\xa0", 1, 10.0)
    assert receiver.active == "5"
    deadline = receiver.next_timeout()
    assert deadline is not None
    assert 10.0 < deadline <= 10.5
    assert receiver.handle_timeout(deadline - 0.001) == []
    assert receiver.handle_timeout(deadline) == [Digit("5", 0.02, 10.0)]
    assert receiver.receive(5, 800, b"\x05\x8a\x03\x20", 0, deadline + 1) == []
    assert receiver.next_timeout() is None


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=8), st.integers(0, 1), st.floats(0, 0.5)), max_size=40))
def test_any_payloads_never_raise_and_never_press_twice_for_one_timestamp(packets: list[tuple[int, bytes, int, float]]) -> None:
    receiver = TelephoneEventReceiver()
    now = 0.0
    pressed = 0
    for number, payload, marker, wait in packets:
        now += wait
        pressed += len(receiver.handle_timeout(now))
        pressed += len(receiver.receive(number, number * 10_000_000, payload, marker, now))
    pressed += len(receiver.handle_timeout(now + 10))
    assert pressed <= len({(number, payload[0]) for number, payload, _, _ in packets if len(payload) >= 4})
