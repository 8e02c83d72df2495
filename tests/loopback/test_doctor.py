"""The doctor on this machine and on real sockets."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexosip.cli import main
from flexosip.doctor import Machine
from flexosip.sync import Call
from tests.house import House, house


@pytest.fixture
def pbx() -> Iterator[House]:
    with house("bell", "kitchen") as running:
        yield running


def test_an_account_of_a_running_pbx_is_well(pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = tmp_path / "password"
    password.write_text("secret-bell\n")
    with pbx.phone("kitchen") as kitchen:

        @kitchen.on_call
        def answer(call: Call) -> None:
            call.answer()
            call.tone("dial", wait=False)
            call.wait_ended()

        account = ("--account", pbx.aor("bell"), "--password-file", str(password))
        code = main(["doctor", *account, "--call", "kitchen", "--patience", "2", "--json"])
    out, err = capsys.readouterr()
    findings = {event["id"]: event for event in map(json.loads, out.splitlines()) if event["event"] == "finding"}
    assert code == 0, err
    assert {"parts", "dns", "route", "rtp", "server", "nat", "large", "register", "dtmf", "call"} <= set(findings)
    assert [name for name, finding in findings.items() if finding["level"] == "problem"] == []
    assert findings["call"]["details"]["received"] > 100 and findings["call"]["details"]["level"] > -40
    assert "secret-bell" not in out + err


def test_a_wrong_password_and_nobody_there(pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    assert main(["doctor", "--account", pbx.aor("bell"), "--password-file", str(password), "--patience", "1"]) == 5
    assert pbx.told("rejected", "bell") <= 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"sip:bell@127.0.0.1:{taken.getsockname()[1]}"
        assert main(["doctor", "--account", nobody, "--patience", "0.5", "--no-register"]) == 6
    assert "wrong" not in capsys.readouterr().out


def test_this_machine_is_known() -> None:
    machine = Machine.this()
    assert machine.now() > 1_700_000_000
    assert machine.interfaces.get("127.0.0.1", "lo") == "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        assert machine.owner("udp", port).endswith(f"({os.getpid()})")
        assert machine.owner("tcp", port) == ""
    assert machine.owner("udp", port) == ""
