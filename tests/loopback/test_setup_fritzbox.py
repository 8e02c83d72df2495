"""`flexosip setup fritzbox` against a box of the tests: its settings by HTTP, its registrar by SIP, all on loopback (row 22)."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip.cli import main
from flexosip.cli.accounts import config_places, load_accounts
from flexosip.errors import AuthenticationError, ConfigurationError, NetworkError
from flexosip.provisioning import Box, BoxRefused, create_ip_phone, find_box, new_password, write_account, write_bell
from flexosip.provisioning.discovery import default_gateway, search
from flexosip.sync import Call
from tests.certificates import Authority
from tests.fake_tr064 import FakeTr064
from tests.house import House, house

USER = "flexosip-phone"


@pytest.fixture
def pbx() -> Iterator[House]:
    with house("kitchen") as running:
        yield running


@pytest.fixture
def box(pbx: House) -> Iterator[FakeTr064]:
    running = FakeTr064(on_made=pbx.add_user)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEXOSIP_PASSWORD", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "box.password").write_text("box-secret\n")
    (tmp_path / "phone.password").write_text("secret-kitchen\n")


def run(capsys: pytest.CaptureFixture[str], box: FakeTr064, pbx: House, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and events."""
    code = main(["setup", "fritzbox", "--host", pbx.host_port, "--tr064-port", str(box.port), "--json", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "box-secret" not in out + err
    return code, [json.loads(line) for line in out.splitlines()]


def made_by_box(tmp_path: Path) -> tuple[str, ...]:
    return ("--box-user", "admin", "--box-password-file", str(tmp_path / "box.password"))


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


# -- the whole way --------------------------------------------------------------------------------------------------------


def test_the_telephone_is_made_tried_and_written(box: FakeTr064, pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rang: list[str] = []
    with pbx.phone("kitchen") as kitchen:

        @kitchen.on_call
        def ring(call: Call) -> None:
            call.ring()
            rang.append(str(call.remote.uri.user) if call.remote is not None else "")
            call.wait_ended()

        code, events = run(capsys, box, pbx, *made_by_box(tmp_path), "--bell", "--ring", "kitchen")
    assert code == 0 and rang == [USER]
    assert names(events) == [
        "looking", "box_found", "phone_made", "registered", "written", "written", "written", "rang", "set_up",
    ]  # fmt: skip
    assert (events[1]["model"], events[2]["number"]) == ("FRITZ!Box 7590", "620")
    assert box.clients == [USER] and pbx.told("registered", USER) == 1
    folder = tmp_path / "config" / "flexosip"
    secret = folder / "fritzbox.password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    accounts, default = load_accounts(config_places(tmp_path))
    assert default == "fritzbox"
    assert (accounts["fritzbox"].password, accounts["fritzbox"].profile) == (secret.read_text().strip(), "fritzbox")
    assert secret.read_text().strip() not in (folder / "config.toml").read_text()
    # what was written works for the other commands
    assert main(["register", "--once"]) == 0
    assert 'target = "**9"' in (folder / "bell.toml").read_text()


def test_the_written_bell_can_be_read(box: FakeTr064, pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flexosip.apps.bell.config import load_config

    assert run(capsys, box, pbx, *made_by_box(tmp_path), "--bell")[0] == 0
    config = load_config(tmp_path / "config" / "flexosip" / "bell.toml")
    assert [destination.target for destination in config.destinations] in (["**9"], [("**9",)])


def test_without_the_boxs_password_the_clicks_are_told(box: FakeTr064, pbx: House, capsys: pytest.CaptureFixture[str]) -> None:
    code, events = run(capsys, box, pbx)
    assert code == 2
    steps = [event["text"] for event in events if event["event"] == "to_do"]
    assert len(steps) == 6 and "127.0.0.1" in steps[0] and "Telefoniegeräte" in steps[1] and "LAN/WLAN" in steps[2]
    assert box.actions == []


def test_a_telephone_that_was_made_by_hand_is_tried_and_written(
    box: FakeTr064, pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, events = run(capsys, box, pbx, "--user", "kitchen", "--password-file", str(tmp_path / "phone.password"), "--name", "home")
    assert code == 0 and "phone_made" not in names(events) and box.actions == []
    assert load_accounts(config_places(tmp_path))[0]["home"].aor == "kitchen"


def test_what_does_not_register_is_not_written(box: FakeTr064, pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "phone.password").write_text("wrong\n")
    code, events = run(capsys, box, pbx, "--user", "kitchen", "--password-file", str(tmp_path / "phone.password"))
    assert code == 5 and "explain" in events[-1]
    assert not (tmp_path / "config").exists()


def test_a_dry_run_changes_nothing(box: FakeTr064, pbx: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, events = run(capsys, box, pbx, *made_by_box(tmp_path), "--dry-run", "--ring")
    assert code == 0 and names(events)[-1] == "plan"
    assert box.actions == [] and box.clients == [] and not (tmp_path / "config").exists()


def test_flags_that_belong_together(tmp_path: Path) -> None:
    assert main(["setup", "fritzbox", "--box-user", "admin"]) == 2
    assert main(["setup", "speedport"]) == 2


# -- the box --------------------------------------------------------------------------------------------------------------


def make(box: FakeTr064, user: str = USER, **options: Any) -> Any:
    found = Box.at("127.0.0.1", box.port)
    login = {"box_user": "admin", "box_password": "box-secret"}
    return create_ip_phone(found, user, "long-enough-1", **{**login, **options})


def test_the_change_is_confirmed_at_the_box(box: FakeTr064) -> None:
    box.second_factor = True
    told: list[str] = []
    assert make(box, on_confirm=told.append).number == "620"
    assert told == ["press any key on the box, or dial *14711 at a telephone of the box"]
    actions = [action for action, _ in box.actions if action != "GetSecurityPort"]
    assert actions[-4:] == ["X_AVM-DE_SetClient4", "SetConfig", "GetState", "X_AVM-DE_SetClient4"]


def test_nobody_confirms(box: FakeTr064) -> None:
    box.second_factor, box.confirmed = True, False
    slept: list[float] = []
    with pytest.raises(BoxRefused) as caught:
        make(box, sleep=slept.append, wait=10.0)
    assert sum(slept) == 10.0 and "press a key" in caught.value.explain()
    assert box.actions[-1][0] == "SetConfig" and box.clients == []


def test_the_confirmation_is_refused(box: FakeTr064) -> None:
    box.second_factor, box.state_after = True, "blocked"
    with pytest.raises(BoxRefused, match="blocked"):
        make(box)


def test_a_wrong_password_of_the_box(box: FakeTr064) -> None:
    with pytest.raises(AuthenticationError) as caught:
        make(box, box_password="wrong")
    assert "--box-password-file" in caught.value.explain() and box.clients == []


@pytest.mark.parametrize(("code", "words"), [("606", "right"), ("803", "letters"), ("820", "Delete"), ("999", "by hand")])
def test_the_box_refuses(box: FakeTr064, code: str, words: str) -> None:
    box.fault = (code, "no <such> thing".replace("<", "").replace(">", ""))
    with pytest.raises(BoxRefused) as caught:
        make(box)
    assert caught.value.code == code and words in caught.value.explain()


def test_a_telephone_of_that_name_is_replaced_only_when_told(box: FakeTr064) -> None:
    box.clients = ["somebody-else", USER]
    with pytest.raises(ConfigurationError, match=USER):
        make(box)
    assert make(box, replace=True).number == "621" and box.clients == ["somebody-else", USER]


@pytest.mark.parametrize(
    ("user", "password"), [("short", "long-enough-1"), (USER, "short"), ("with space 1", "long-enough-1"), (USER, "<angle-brackets>")]
)
def test_names_and_passwords_that_the_box_would_refuse(box: FakeTr064, user: str, password: str) -> None:
    with pytest.raises(ConfigurationError):
        create_ip_phone(Box.at("127.0.0.1", box.port), user, password, box_user="admin", box_password="box-secret")
    assert box.actions == []


def test_changes_go_by_tls_where_the_box_has_it(pbx: House, tmp_path: Path) -> None:
    issued = Authority(tmp_path / "authority").issue(common_name="fritz.box", self_signed=True)
    secure = FakeTr064(certificate=(str(issued.certificate), str(issued.key)))
    try:
        make(secure)
        assert ("X_AVM-DE_SetClient4", True) in secure.actions
        assert all(by_tls for action, by_tls in secure.actions if action != "GetSecurityPort")
    finally:
        secure.close()


def test_no_password_is_ever_in_the_clear(box: FakeTr064) -> None:
    make(box)
    assert not any(b"box-secret" in body for body in box.bodies)


# -- finding it -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "description",
    [
        b"", b"<html></html>", b"<root><device/></root>", b"not xml at all", b"<root>" * 40 + b"</root>" * 40, b"x" * 70000,
        b'<!DOCTYPE r [<!ENTITY a "b">]><root><device><modelName>FRITZ!Box &a;</modelName></device></root>',
    ],
)  # fmt: skip
def test_what_answers_is_no_box(box: FakeTr064, description: bytes) -> None:
    box.description = description
    with pytest.raises(NetworkError) as caught:
        find_box("127.0.0.1", port=box.port)
    assert "TR-064" in caught.value.explain()


def test_a_box_that_sends_us_elsewhere_is_not_followed(box: FakeTr064) -> None:
    other = FakeTr064()
    try:
        box.sends_to = f"http://127.0.0.1:{other.port}/tr64desc.xml"
        with pytest.raises(NetworkError):
            find_box("127.0.0.1", port=box.port)
    finally:
        other.close()


def test_a_repeater_is_no_box(box: FakeTr064) -> None:
    box.model = "FRITZ!Repeater 3000"
    with pytest.raises(NetworkError, match="Repeater"):
        find_box("127.0.0.1", port=box.port)


def test_nothing_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(NetworkError):
        find_box("127.0.0.1", port=port)


def test_a_description_cannot_send_us_to_another_host(box: FakeTr064) -> None:
    box.description = box._description().replace(b"/upnp/control/x_voip", b"http://192.0.2.1/upnp/control/x_voip")
    assert make(box).number == "620"


def test_a_search_believes_only_who_speaks_for_itself() -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nLOCATION: http://127.0.0.1:49000/tr64desc.xml\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLOCATION: http://192.0.2.1:49000/tr64desc.xml\r\n\r\n",
        b"\xff\xfeLOCATION: \xff\r\nlocation\r\n",
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(5)

        def answer() -> None:
            question, source = device.recvfrom(2048)
            assert question.startswith(b"M-SEARCH * HTTP/1.1\r\n") and b'MAN: "ssdp:discover"' in question
            for each in answers:
                device.sendto(each, source)

        thread = threading.Thread(target=answer)
        thread.start()
        assert search(0.3, device.getsockname()) == ["127.0.0.1"]
        thread.join(5)


def test_the_gateway_is_read_from_the_routes(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface\tDestination\tGateway\nwlan0\t0000A8C0\t00000000\t0001\nwlan0\t00000000\t01B2A8C0\t0003\n")
    assert default_gateway(routes) == "192.168.178.1"
    routes.write_text("garbage\n\nx y\n")
    assert default_gateway(routes) is None and default_gateway(tmp_path / "none") is None


# -- files ----------------------------------------------------------------------------------------------------------------


def test_other_accounts_stay_and_nothing_is_overwritten(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('default = "office"\n\n[account.office]\naor = "sip:a@example.org"  # mine\n')
    write_account(tmp_path, "home", USER, "secret-1", host="fritz.box")
    text = config.read_text()
    assert 'default = "office"' in text and "# mine" in text
    accounts, default = load_accounts([config])
    assert set(accounts) == {"office", "home"} and default == "office"
    assert [path.read_text() for path in tmp_path.glob("config.toml.*.bak")] == [
        'default = "office"\n\n[account.office]\naor = "sip:a@example.org"  # mine\n'
    ]
    with pytest.raises(ConfigurationError, match="already"):
        write_account(tmp_path, "home", USER, "secret-2", host="fritz.box")
    assert load_accounts([config])[0]["home"].password == "secret-1"
    write_account(tmp_path, "home", "another-one", "secret-3", host="192.168.178.1", force=True)
    accounts, _ = load_accounts([config])
    assert (accounts["home"].aor, accounts["home"].password, accounts["home"].host) == ("another-one", "secret-3", "192.168.178.1")
    assert "office" in accounts


def test_a_bell_is_not_overwritten(tmp_path: Path) -> None:
    (bell,) = write_bell(tmp_path, USER, "x.password", host="fritz.box")
    before = bell.read_text()
    with pytest.raises(ConfigurationError, match="already"):
        write_bell(tmp_path, "other-user", "x.password", host="fritz.box")
    assert bell.read_text() == before
    write_bell(tmp_path, "other-user", "x.password", host="fritz.box", force=True)
    assert "other-user" in bell.read_text() and [path.read_text() for path in tmp_path.glob("*.bak")] == [before]


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 41, "a.b"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        write_account(tmp_path, name, USER, "secret", host="fritz.box")
    assert list(tmp_path.glob("*.toml")) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be"):
        write_account(tmp_path / "file", "home", USER, "secret", host="fritz.box")


def test_made_up_passwords_differ_and_fit() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50 and all(len(password) == 20 and password.isalnum() for password in made)
