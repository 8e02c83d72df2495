"""`flexosip options` against another phone, in virtual time."""

from __future__ import annotations

from flexosip import Phone
from tests.unit.cli.conftest import TARGET, Bench
from tests.unit.cli.test_messages_and_watching import prepared


def busy(phone: Phone) -> None:
    phone.do_not_disturb = True


def test_it_tells_who_is_there_and_what_it_can_do(bench: Bench) -> None:
    assert bench.run("options", TARGET, "--json", peer=prepared(lambda phone: None)) == 0
    (told,) = bench.told("options")
    assert (told["target"], told["status"], told["available"]) == (TARGET, 200, True)
    assert "INVITE" in told["allow"] and "100rel" in told["supported"] and told["round_trip"] >= 0
    assert bench.run("options", TARGET, peer=prepared(lambda phone: None)) == 0
    assert "answers 200 OK (" in bench.out and "methods: ACK" in bench.out


def test_exit_codes_tell_why_not(bench: Bench) -> None:
    assert bench.run("options", TARGET, "--json", peer=prepared(busy)) == 4
    assert bench.told("options")[0]["available"] is False
    assert bench.run("options", TARGET, "--timeout", "1") == 6
    assert bench.run("options", "no-host") == 2
    assert bench.run("options", TARGET, "--timeout", "0") == 2
    assert bench.run("options", TARGET, "--every", "0.1", peer=prepared(busy)) == 2


def test_with_every_the_changes_are_told(bench: Bench) -> None:
    assert bench.run("options", TARGET, "--every", "5", "--json", peer=prepared(busy), interrupt_after=60) == 130
    assert [event["status"] for event in bench.told("reachable")] == [480]
    assert bench.run("options", TARGET, "--every", "5", "--json", interrupt_after=60) == 130
    assert len(bench.told("unreachable")) == 1
