"""Which account a command uses."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from flexosip import Phone
from flexosip.cli.accounts import AccountOptions, add_account_options, config_places, create_phone, resolve_account
from flexosip.cli.policy import add_caller_options, add_calling_options
from flexosip.errors import ConfigurationError

CONFIG = """\
default = "home"

[account.home]
aor = "sip:620@fritz.box"
password = "geheim"
transport = "tcp"
codecs = ["PCMU"]

[account.work]
aor = "sip:me@work.test"
registrar = "sip.work.test:5070"
"""


def resolve(*words: str, files: dict[Path, str] | None = None) -> AccountOptions:
    parser = argparse.ArgumentParser()
    add_account_options(parser)
    for path, text in (files or {}).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return resolve_account(parser.parse_args(words), list(files or {}))


def test_without_anything_there_is_no_account() -> None:
    assert resolve() == AccountOptions()


def test_an_address_and_flags(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("geheim\nmore\n")
    account = resolve(
        "--account", "sip:a@b:5070", "--password-file", str(tmp_path / "pw"), "--proxy", "p", "--registrar", "r:5080",
        "--auth-user", "x", "--transport", "tcp", "--listen", "127.0.0.1:0", "--listen", "[::1]:0",
        "--codec", "PCMU", "--codec", "PCMA", "--display-name", "Bell",
    )  # fmt: skip
    assert account == AccountOptions(
        aor="sip:a@b:5070",
        password="geheim",
        auth_user="x",
        registrar="r:5080",
        proxy="p",
        display_name="Bell",
        transport="tcp",
        listen=("127.0.0.1:0", "[::1]:0"),
        codecs=("PCMU", "PCMA"),
    )


def test_names_and_the_default_come_from_the_config(tmp_path: Path) -> None:
    files = {tmp_path / "config.toml": CONFIG}
    home = AccountOptions(aor="sip:620@fritz.box", password="geheim", transport="tcp", codecs=("PCMU",))
    assert resolve(files=files) == home
    assert resolve("--account", "home", "--transport", "udp", files=files).transport == "udp"
    assert resolve("--account", "work", files=files).registrar == "sip.work.test:5070"
    assert resolve("--account", "sip:x@y", files=files) == AccountOptions(aor="sip:x@y")


def test_the_nearer_config_wins(tmp_path: Path) -> None:
    near = '[account.work]\naor = "sip:you@work.test"\n'
    files = {tmp_path / "etc" / "config.toml": CONFIG, tmp_path / "user" / "config.toml": near}
    assert resolve("--account", "work", files=files) == AccountOptions(aor="sip:you@work.test")
    assert resolve(files=files).aor == "sip:620@fritz.box"


def test_etc_comes_first_and_the_user_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/u/config")
    assert config_places() == [Path("/etc/flexosip/config.toml"), Path("/u/config/flexosip/config.toml")]
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/u")
    assert config_places()[1] == Path("/u/.config/flexosip/config.toml")


def test_the_flag_wins_over_the_environment_and_that_over_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / "config.toml": CONFIG}
    monkeypatch.setenv("FLEXOSIP_PASSWORD", "from the environment")
    assert resolve(files=files).password == "from the environment"
    (tmp_path / "pw").write_text("from the file\n")
    assert resolve("--password-file", str(tmp_path / "pw"), files=files).password == "from the file"
    assert resolve().password is None


@pytest.mark.parametrize(
    ("words", "text", "sentence"),
    [
        (("--account", "hom"), CONFIG, "There is no account 'hom' in config.toml. The nearest is 'home'."),
        (("--account", "home"), "", "There is no account 'home' in config.toml."),
        (
            (),
            CONFIG.replace('default = "home"', 'default = "hom"'),
            "config.toml:1: default: there is no account 'hom'; known are home, work",
        ),
        (
            (),
            CONFIG.replace("registrar", "registar"),
            "config.toml:11: account.work.registar: unknown key. The nearest known key",
        ),
        ((), CONFIG.replace('aor = "sip:me@work.test"', ""), "config.toml:9: account.work: the address is missing"),
        ((), CONFIG.replace("[account.home]", "[acount.home]"), "config.toml:3: acount: unknown key. The nearest known key is 'account'"),
        ((), CONFIG.replace('password = "geheim"', 'password_file = "nowhere"'), "config.toml:5: account.home.password_file:"),
        (("--password-file", "nowhere"), "", "nowhere: cannot be read: No such file"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, words: tuple[str, ...], text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(*words, files={tmp_path / "config.toml": text})
    assert sentence in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_tls_files_lie_beside_the_config_or_are_given_as_flags(tmp_path: Path) -> None:
    files = {tmp_path / "config.toml": CONFIG.replace('transport = "tcp"', 'transport = "tls"\ntls_ca = "ca.pem"\ntls_key = "/k.pem"')}
    account = resolve(files=files)
    assert (account.transport, account.tls_ca, account.tls_key) == ("tls", str(tmp_path / "ca.pem"), "/k.pem")
    account = resolve("--tls-ca", "other.pem", "--tls-cert", "own.pem", files=files)
    assert (account.tls_ca, account.tls_certificate) == ("other.pem", "own.pem")


def test_an_empty_password_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("\nx\n")
    with pytest.raises(ConfigurationError, match="its first line must be the password"):
        resolve("--password-file", str(tmp_path / "pw"))


def test_the_password_is_not_in_the_repr() -> None:
    assert "geheim" not in repr(AccountOptions(password="geheim"))


def test_how_others_reach_us_is_read_from_the_file_and_flags_win(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[account.home]\naor = "sip:me@home.test"\nadvertise = "203.0.113.9"\noutbound = "auto"\nkeep_alive = "options"\n'
        'keep_alive_interval = 60\nstate = "state"\n'
    )
    account = resolve("--account", "home", "--advertise", "198.51.100.1:5070", "--stun-server", "stun.test", files={file: file.read_text()})
    assert dict(account.reach) == {
        "advertise": "198.51.100.1:5070", "outbound": "auto", "keep_alive": "options", "keep_alive_interval": 60.0,
        "state": str(tmp_path / "state"), "stun_server": "stun.test",
    }  # fmt: skip
    reach = create_phone(account).reach
    assert reach.advertised == ("198.51.100.1", 5070)
    assert reach.stun_address == ("stun.test", 3478)


@pytest.mark.parametrize("line", ['keep_alive = "ping"', 'outbound = "perhaps"', "keep_alive_interval = 1", 'advertise = "0.0.0.0"'])
def test_a_reach_that_makes_no_sense_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "config.toml"
    text = f'[account.home]\naor = "sip:me@home.test"\n{line}\n'
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="config.toml:3: account.home." + line.split()[0]):
        resolve("--account", "home", files={file: text})


PROFILED = """\
[account.box]
profile = "fritzbox"
aor = "bell"
password = "geheim"
host = "192.168.178.1"

[account.trunk]
profile = "mine.toml"
aor = "alice"
keep_alive = "none"
"""
MINE = 'title = "Mine"\ndomain = "tel.example"\n[account]\nregister = false\n[reach]\nkeep_alive = "crlf"\nkeep_alive_interval = 15\n'


def test_a_profile_in_the_file_makes_the_account(tmp_path: Path) -> None:
    files = {tmp_path / "config.toml": PROFILED, tmp_path / "mine.toml": MINE}
    options = argparse.Namespace()
    parser = argparse.ArgumentParser()
    add_account_options(parser)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")

    def phone(*words: str) -> Phone:
        return create_phone(resolve_account(parser.parse_args(words, options), [tmp_path / "config.toml"]))

    box = phone("--account", "box", "--codec", "PCMU")
    assert str(box.accounts[0].aor) == "sip:bell@192.168.178.1"
    assert (box.accounts[0].expires, box.accounts[0].transport) == (300, "udp")
    assert box.accounts[0].server_rules.everybody == "**9"
    assert [item.name for item in box.formats] == ["PCMU"]
    trunk = phone("--account", "trunk")
    assert str(trunk.accounts[0].aor) == "sip:alice@tel.example"
    assert trunk.accounts[0].register is False
    # What is told of reach stands beside what the profile says, key by key.
    assert (trunk.reach.keep_alive, trunk.reach.keep_alive_interval) == ("none", 15)


def test_a_profile_by_flag_takes_the_account_for_the_user() -> None:
    phone = create_phone(resolve("--profile", "fritzbox", "--account", "bell", "--transport", "tcp"))
    assert str(phone.accounts[0].aor) == "sip:bell@fritz.box"
    assert phone.accounts[0].transport == "tcp"
    phone = create_phone(resolve("--profile", "asterisk", "--account", "alice@192.168.1.10"))
    assert str(phone.accounts[0].aor) == "sip:alice@192.168.1.10"
    with pytest.raises(ConfigurationError, match="give --account USER"):
        resolve("--profile", "fritzbox")
    with pytest.raises(ConfigurationError, match="There is no profile 'fritz'"):
        create_phone(resolve("--profile", "fritz", "--account", "bell"))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('profile = "fritz"', r"config\.toml:3: account\.a\.profile: There is no profile 'fritz'"),
        ('profile = "absent.toml"', r"config\.toml:3: account\.a\.profile: .*absent\.toml: the profile cannot be read"),
        ('profile = "asterisk"', r"config\.toml:3: account\.a\.profile: .* needs the host of your own server"),
        ('host = "192.168.178.1"', r"config\.toml:3: account\.a\.host: goes with a profile"),
    ],
)
def test_a_profile_that_makes_no_sense_is_named_with_its_line(tmp_path: Path, lines: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        resolve("--account", "a", files={tmp_path / "config.toml": f'[account.a]\naor = "bell"\n{lines}\n'})


def calling(*words: str, files: dict[Path, str]) -> AccountOptions:
    """What a command that calls and is called resolves."""
    parser = argparse.ArgumentParser()
    add_account_options(parser)
    add_caller_options(parser)
    add_calling_options(parser)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return resolve_account(parser.parse_args(words), list(files))


def test_the_policy_of_the_config_serves_every_account_and_flags_win_one_by_one(tmp_path: Path) -> None:
    text = '[policy]\nmax_calls_per_hour = 5\ndenied_prefixes = ["+49900"]\nemergency = "allow"\naccept_from = "registrar"\n'
    files = {tmp_path / "etc": text, tmp_path / "user": "[policy]\nmax_calls_per_hour = 7\n"}
    for words in ((), ("--account", "sip:a@b")):
        policy = create_phone(calling(*words, files=files))._fuse.policy
        assert (policy.max_calls_per_hour, policy.denied_prefixes, policy.emergency) == (7, ("+49900",), "allow")
    told = calling("--max-calls-per-hour", "9", "--max-duration", "60", "--deny-prefix", "1", "--deny", "0190*", files=files)
    phone = create_phone(told)
    policy = phone._fuse.policy
    assert (policy.max_calls_per_hour, policy.max_duration, policy.denied_prefixes, policy.emergency) == (9, 60, ("1",), "allow")
    assert phone._callers.callers.deny == ("0190*",)
    with pytest.raises(ConfigurationError, match=r"etc:1: policy.acept_from: unknown key. The nearest known key is 'accept_from'"):
        calling(files={tmp_path / "etc": '[policy]\nacept_from = "any"\n'.replace("[policy]\n", "policy.")})
