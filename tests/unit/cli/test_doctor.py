"""`flexosip doctor` in virtual time: lines, JSON, exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip.cli import doctor as command
from flexosip.cli import main
from flexosip.doctor import Machine
from flexosip.doctor import examine as real_examine
from tests.network.doctor_stage import NOW, SERVER, Ill
from tests.unit.cli.conftest import OURS, Bench

ACCOUNT = ("--account", f"sip:bell@{SERVER}")


@pytest.fixture(autouse=True)
def virtual(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(aor: str, **settings: Any) -> Any:
        machine = Machine(now=lambda: NOW)
        return await real_examine(aor, **settings, network=bench.host(OURS), clock=bench.clock, machine=machine)

    monkeypatch.setattr("flexosip.doctor.examine", examine)
    monkeypatch.setattr(command, "run_until_signal", bench._run_until_signal)
    monkeypatch.setenv("FLEXOSIP_PASSWORD", "right")


def ill(**illness: Any) -> Any:
    import contextlib
    from collections.abc import AsyncIterator

    @contextlib.asynccontextmanager
    async def peer(bench: Bench) -> AsyncIterator[None]:
        server = await Ill.open(bench.host(SERVER))
        for name, value in illness.items():
            setattr(server, name, value)
        yield
        server.close()

    return peer


def test_all_is_well(bench: Bench) -> None:
    assert bench.run("doctor", *ACCOUNT, peer=ill()) == 0
    lines = bench.out.splitlines()
    assert lines[-1] == "0 problems, 0 warnings."
    assert all(line.startswith("ok ") for line in lines[:-1]) and len(lines) > 8


def test_one_finding_a_line_with_its_remedy(bench: Bench) -> None:
    assert bench.run("doctor", *ACCOUNT, peer=ill(challenges=True, user="nobody")) == 5
    (line,) = [line for line in bench.out.splitlines() if line.startswith("problem")]
    assert "register.credentials" in line and "page of the telephone" in line
    assert "right" not in bench.out


def test_json_has_one_object_a_finding_and_nothing_else(bench: Bench) -> None:
    assert bench.run("doctor", *ACCOUNT, "--json", peer=ill(expires=30)) == 0
    findings = bench.told("finding")
    assert {"event", "at", "level", "id", "found", "cause", "remedy", "part", "details"} == set(findings[0])
    (warning,) = [finding for finding in findings if finding["level"] == "warning"]
    assert warning["id"] == "register.short" and warning["remedy"]
    (verdict,) = bench.told("examined")
    assert (verdict["problems"], verdict["warnings"], verdict["findings"]) == (0, 1, len(findings))


@pytest.mark.parametrize(
    ("illness", "code"),
    [({"register_status": 404}, 8), ({"register_status": 500}, 6), ({"silent_to": ("OPTIONS", "REGISTER")}, 6), ({"challenges": False}, 0)],
)
def test_the_exit_code_is_that_of_the_first_problem(bench: Bench, illness: dict[str, Any], code: int) -> None:
    assert bench.run("doctor", *ACCOUNT, "--patience", "1", peer=ill(**illness)) == code


def test_a_call_without_sound(bench: Bench) -> None:
    assert bench.run("doctor", *ACCOUNT, "--call", "test", peer=ill()) == 7
    assert "call.no-sound" in bench.out


def test_the_registrar_is_left_alone(bench: Bench) -> None:
    assert bench.run("doctor", *ACCOUNT, "--no-register", peer=ill(challenges=True, user="nobody")) == 0


def test_an_account_is_needed(bench: Bench) -> None:
    assert main(["doctor"]) == 2
    assert main(["doctor", *ACCOUNT, "--patience", "never"]) == 2
    assert main(["doctor", *ACCOUNT, "--patience", "1000"]) == 2
