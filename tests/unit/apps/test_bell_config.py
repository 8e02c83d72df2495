"""bell.toml, cowbell.ini, and what is said about mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexosip.apps.bell import AccountSettings, BellConfig, Destination, TriggerSettings, find_config, load_config
from flexosip.apps.bell.bell import create_phone
from flexosip.apps.bell.config import PROMPT_NAMES, search_places
from flexosip.errors import ConfigurationError

CONTRACT = """\
[account]
aor = "sip:cow-bell@fritz.box"          # also registrar, proxy, auth_user, transport, display_name
password = "geheim"
[[destination]]
target = "**9"
duration = 10                            # seconds, 0 = for ever
name = "Door bell"
[[trigger]]
kind = "gpio"                            # or "stdin"
pin = 17                                 # BCM
level = 1
[access]
pin = "2468"                             # optional
callers = ["**6*", "+49301234*"]        # optional
[timing]
cool_down = 30                           # seconds between two alerts
[prompts]
language = "de"                          # or "de"; single prompts can be replaced: welcome = "hello.wav"
"""

INI = """\
; How to register with the registrar (the VoIP switch)
[registration]
uri         = sip:cow-bell@fritz.box
registrar   = sip:fritz.box
login       = cow-bell
password    = SECRET

; How to alert
[alert]
destination = sip:**9@fritz.box
name        = Door bell
; 0: Forever
duration    = 10

[trigger]
gpio        = 17
level       = 1

[media]
;welcome     = media/hello.ogg
"""


def load(tmp_path: Path, text: str, name: str = "bell.toml") -> BellConfig:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def complaint(tmp_path: Path, text: str, name: str = "bell.toml") -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, name)
    message = str(caught.value)
    assert "geheim" not in message
    return message.replace(str(tmp_path / name), name)


def test_the_settings_of_the_documentation_are_read(tmp_path: Path) -> None:
    config = load(tmp_path, CONTRACT)
    assert config.account == AccountSettings(aor="sip:cow-bell@fritz.box", password="geheim")
    assert config.destinations == (Destination("**9", 10.0, "Door bell"),)
    assert config.triggers == (TriggerSettings("gpio", 17, 1),)
    assert (config.pin, config.callers, config.cool_down, config.language) == ("2468", ("**6*", "+49301234*"), 30.0, "de")


def test_secrets_are_not_in_the_repr(tmp_path: Path) -> None:
    text = repr(load(tmp_path, CONTRACT))
    assert "geheim" not in text
    assert "2468" not in text


def test_little_is_needed(tmp_path: Path) -> None:
    config = load(tmp_path, '[[destination]]\ntarget = "anna@192.0.2.7"\n')
    assert config.account.aor is None
    assert config.destinations == (Destination("anna@192.0.2.7", 20.0),)
    assert config.triggers == (TriggerSettings("stdin"),)
    assert (config.pin, config.callers, config.cool_down, config.language) == (None, (), 0.0, "en")


def test_a_destination_may_be_several_phones_and_want_a_key(tmp_path: Path) -> None:
    text = '[account]\naor = "sip:bell@fritz.box"\n[[destination]]\ntarget = ["**610", "**611"]\nconfirm = "*"\n'
    [destination] = load(tmp_path, text).destinations
    assert (destination.target, destination.others, destination.confirm) == ("**610", ("**611",), "*")
    assert destination.words == "**610, **611"
    for bad, word in (('target = []', "missing"), ('target = ["**9"]\nconfirm = "12"', "one key"), ("target = [1]", "list of texts")):
        with pytest.raises(ConfigurationError, match=word):
            load(tmp_path, f'[account]\naor = "sip:bell@fritz.box"\n[[destination]]\n{bad}\n')


def test_several_destinations_and_triggers_keep_their_order(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[account]\naor = "sip:bell@fritz.box"\n[[destination]]\ntarget = "**610"\n[[destination]]\ntarget = "**9"\nduration = 0\n'
        '[[trigger]]\nkind = "stdin"\n[[trigger]]\nkind = "gpio"\npin = 4\nlevel = 0\n',
    )
    assert [destination.target for destination in config.destinations] == ["**610", "**9"]
    assert [trigger.source for trigger in config.triggers] == ["stdin", "gpio4"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('target = "**9"', 'taget = "**9"'), ["bell.toml:5: destination.taget: unknown key", "'target'"]),
        (("cool_down = 30", "cooldown = 30"), ["bell.toml:16: timing.cooldown: unknown key", "'cool_down'"]),
        (("[access]", "[acess]"), ["bell.toml:12: acess: unknown key", "'access'"]),
        (("duration = 10", 'duration = "ten"'), ["bell.toml:6: destination.duration: must be seconds from 0", "'ten'"]),
        (("duration = 10", "duration = -1"), ["bell.toml:6: destination.duration:"]),
        (("duration = 10", "duration = true"), ["bell.toml:6: destination.duration:"]),
        (('kind = "gpio"', 'kind = "gpoi"'), ["bell.toml:9: trigger.kind: 'gpoi' is not known", "'gpio'"]),
        (("pin = 17", "pin = 1.5"), ["bell.toml:10: trigger.pin: must be the BCM number"]),
        (("level = 1", "level = 2"), ["bell.toml:11: trigger.level: must be 0 or 1, not 2"]),
        (('pin = "2468"', "pin = 2468"), ["bell.toml:13: access.pin: must be text in quotes"]),
        (('pin = "2468"', 'pin = "24#8"'), ["bell.toml:13: access.pin: must be 1 to 32 keys"]),
        (('callers = ["**6*", "+49301234*"]', "callers = 620"), ["bell.toml:14: access.callers: must be a list"]),
        (('language = "de"', 'language = "fr"'), ["bell.toml:18: prompts.language: 'fr' is not known. Allowed are 'en', 'de'"]),
        (('language = "de"', 'hello = "x.wav"'), ["bell.toml:18: prompts.hello: unknown key", "'welcome'"]),
        (('language = "de"', 'welcome = "missing.wav"'), ["bell.toml:18: prompts.welcome: there is no file", "missing.wav"]),
        (('aor = "sip:cow-bell@fritz.box"', 'aor = "cow-bell"'), ["bell.toml:2: account.aor: 'cow-bell' is not an address"]),
        (('aor = "sip:cow-bell@fritz.box"', ""), ["bell.toml:1: account: the address is missing"]),
        (('password = "geheim"', "password = 123456"), ["bell.toml:3: account.password: must be text in quotes."]),
        (('password = "geheim"', 'password = "geheim"\npassword_file = "x"'), ["bell.toml:4: account.password_file: password and"]),
        (('password = "geheim"', 'password_file = "nowhere"'), ["bell.toml:3: account.password_file:", "nowhere: cannot be read"]),
        (('target = "**9"', ""), ["bell.toml:4: destination: whom to ring is missing"]),
        (('target = "**9"', "target = **9"), ["bell.toml:5: this is not TOML:", "column 10"]),
        (('target = "**9"', 'target = "**9\\n"'), ["bell.toml:5: destination.target: contains a control character"]),
        (("[account]", "[account"), ["bell.toml:1: this is not TOML:"]),
        (("[account]", "account = 1\n[timing.x]"), ["bell.toml:"]),
    ],
)
def test_mistakes_are_told_with_file_line_and_key(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in CONTRACT
    message = complaint(tmp_path, CONTRACT.replace(*change, 1))
    for word in words:
        assert word in message


def test_the_line_of_the_second_destination_is_told(tmp_path: Path) -> None:
    text = '[[destination]]\ntarget = "a@b"\n\n[[destination]]\ntarget = "c@d"\nduratoin = 3\n'
    assert "bell.toml:6: destination.duratoin: unknown key. The nearest known key is 'duration'" in complaint(tmp_path, text)


def test_without_an_account_a_bare_number_is_told_before_anybody_is_to_be_rung(tmp_path: Path) -> None:
    message = complaint(tmp_path, '[[destination]]\ntarget = "**9"\n')
    assert "bell.toml:2: destination.target: without an [account] '**9' needs a host" in message
    for target in ("a@b", "sip:b"):
        assert load(tmp_path, f'[[destination]]\ntarget = "{target}"\n').destinations[0].target == target


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bell.toml"
    path.write_bytes(b'[account]\naor = "\xff"\n')
    with pytest.raises(ConfigurationError, match=r"bell\.toml:2: is not UTF-8"):
        load_config(path)
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(tmp_path)


def test_a_password_file_gives_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim \n\n", encoding="utf-8")
    config = load(tmp_path, CONTRACT.replace('password = "geheim"', 'password_file = "secret"'))
    assert config.account.password == "geheim "


def test_a_credential_of_the_service_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "bell.password").write_text("from systemd", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    config = load(tmp_path, CONTRACT.replace('password = "geheim"', 'password_file = "/etc/flexosip/bell.password"'))
    assert config.account.password == "from systemd"


def test_own_recordings_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(b"")
    config = load(tmp_path, CONTRACT.replace('language = "de"', 'language = "de"\nwelcome = "hello.wav"'))
    assert config.prompt("welcome") == tmp_path / "hello.wav"
    assert config.prompt("on").parts[-2:] == ("de", "on.wav")


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_every_prompt_is_there(language: str, name: str) -> None:
    assert BellConfig((Destination("x"),), language=language).prompt(name).is_file()


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_the_words_of_every_prompt_are_known(name: str, tmp_path: Path) -> None:
    english, german = (BellConfig((Destination("x"),), language=language).spoken(name) for language in ("en", "de"))
    assert english.endswith(".")
    assert german.endswith(".")
    assert english != german
    own = BellConfig((Destination("x"),), prompts={name: tmp_path / "mine.wav"})
    assert own.spoken(name) == "mine"


# ---- cowbell.ini


def test_the_sample_of_the_original_is_read_unchanged(tmp_path: Path) -> None:
    config = load(tmp_path, INI, "cowbell.ini")
    assert config.account.aor == "sip:cow-bell@fritz.box"
    assert (config.account.registrar, config.account.auth_user, config.account.password) == ("sip:fritz.box", "cow-bell", "SECRET")
    assert config.destinations == (Destination("sip:**9@fritz.box", 10.0, "Door bell"),)
    assert config.triggers == (TriggerSettings("gpio", 17, 1), TriggerSettings("stdin"))
    assert (config.pin, config.cool_down, config.prompts) == (None, 0.0, {})


def test_without_a_duration_it_rings_for_ever_as_the_original_did(tmp_path: Path) -> None:
    assert load(tmp_path, INI.replace("duration    = 10", ""), "cowbell.ini").destinations[0].duration == 0


def test_inline_comments_and_odd_passwords_are_read_as_inih_reads_them(tmp_path: Path) -> None:
    text = INI.replace("SECRET", "a;b%c=d#e ; comment").replace("= 17", ": 17   ; the header's pin 11")
    config = load(tmp_path, text, "cowbell.ini")
    assert config.account.password == "a;b%c=d#e"
    assert config.triggers[0].pin == 17


def test_the_welcome_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "hello.wav").write_bytes(b"")
    config = load(tmp_path, INI.replace(";welcome     = media/hello.ogg", "welcome = media/hello.wav"), "cowbell.ini")
    assert config.prompt("welcome") == tmp_path / "media" / "hello.wav"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("login ", "logn "), ["cowbell.ini:5: [registration] logn: unknown key. The nearest known key is 'login'"]),
        (("[alert]", "[alarm]"), ["cowbell.ini:9: [alarm]: unknown section. The nearest known section is [alert]"]),
        (("duration    = 10", "duration = ten"), ["cowbell.ini:13: [alert] duration: must be seconds", "'ten'"]),
        (("level       = 1", "level = 7"), ["cowbell.ini:17: [trigger] level: must be 0 or 1, not '7'"]),
        (("level       = 1", ""), ["cowbell.ini: [trigger] level: is missing"]),
        (("password    = geheim", ""), ["cowbell.ini: [registration] password: is missing"]),
        (("uri         = sip:cow-bell@fritz.box", "uri = cow-bell"), ["cowbell.ini:3: [registration] uri: 'cow-bell' is not"]),
        ((";welcome     =", "welcome ="), ["cowbell.ini:20: [media] welcome: there is no file", "hello.ogg"]),
        (("[media]", "[media"), ["cowbell.ini:19: a section's name ends with"]),
        (("[media]", "media"), ["cowbell.ini:19: this line is neither"]),
        (("[registration]\n", ""), ["cowbell.ini:2: uri: stands before the first [section]"]),
    ],
)
def test_mistakes_in_the_ini_are_told_with_file_line_and_key(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    text = INI.replace("SECRET", "geheim")
    assert change[0] in text
    message = complaint(tmp_path, text.replace(*change, 1), "cowbell.ini")
    for word in words:
        assert word in message


# ---- where it is looked for


def test_the_search_order_is_etc_user_working_folder_then_the_inis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    places = search_places(tmp_path / "root", tmp_path / "here", tmp_path / "home")
    assert [str(place.relative_to(tmp_path)) for place in places] == [
        "root/etc/flexosip/bell.toml",
        "home/.config/flexosip/bell.toml",
        "here/bell.toml",
        "root/etc/cowbell.ini",
        "here/cowbell.ini",
    ]
    for place in reversed(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("", encoding="utf-8")
        assert find_config(places) == place


def test_without_any_settings_the_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no bell\.toml and no cowbell\.ini\. Looked for .*etc/flexosip/bell\.toml"):
        find_config(search_places(tmp_path, tmp_path, tmp_path))


PROFILED = """\
[account]
profile = "fritzbox"
aor = "bell"
password = "geheim"
[[destination]]
target = "**9"
[[trigger]]
kind = "stdin"
"""


def test_a_profile_makes_the_bells_phone(tmp_path: Path) -> None:
    config = load(tmp_path, PROFILED)
    assert (config.account.profile, config.account.aor) == ("fritzbox", "bell")
    phone = create_phone(config)
    (account,) = phone.accounts
    assert str(account.aor) == "sip:bell@fritz.box"
    assert (account.expires, account.server_rules.everybody, phone.reach.keep_alive) == (300, "**9", "none")
    reached = create_phone(load(tmp_path, PROFILED.replace('"bell"', '"bell"\nhost = "192.168.178.1"\nkeep_alive = "crlf"')))
    assert str(reached.accounts[0].aor) == "sip:bell@192.168.178.1"
    assert reached.reach.keep_alive == "crlf"


def test_a_profile_that_nobody_knows_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"bell\.toml:2: account\.profile: There is no profile 'fritz'"):
        load(tmp_path, PROFILED.replace("fritzbox", "fritz"))


POLICY = """
[policy]
accept_from = ["auto", "192.168.1.0/24"]
allow_callers = ["62*"]
deny_callers = ["+49190*"]
max_calls_per_hour = 30
allowed_prefixes = ["**", "+49"]
denied_prefixes = ["+49900"]
emergency = "refuse"
country = "DE"
max_duration = 600
"""


def test_the_policy_becomes_that_of_the_phone(tmp_path: Path) -> None:
    from flexosip.apps.bell.bell import create_phone

    phone = create_phone(load(tmp_path, CONTRACT + POLICY))
    policy = phone._fuse.policy
    assert (policy.max_calls_per_hour, policy.max_duration, policy.country, policy.emergency) == (30, 600.0, "DE", "refuse")
    assert policy.allows("**9") and policy.allows("+4930123") and not policy.allows("+49900123") and not policy.allows("001")
    assert phone._callers.callers.allow == ("62*",) and phone._callers.callers.deny == ("+49190*",)
    assert create_phone(load(tmp_path, CONTRACT))._fuse.policy.max_calls_per_hour is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_call_per_hour = 3", ["bell.toml:2: policy.max_call_per_hour: unknown key. The nearest known key is 'max_calls_per_hour'"]),
        ("max_calls_per_hour = -1", ["bell.toml:2: policy.max_calls_per_hour: must be a number of calls"]),
        ("max_duration = 0", ["bell.toml:2: policy.max_duration: must be seconds"]),
        ('emergency = "maybe"', ["bell.toml:2: policy.emergency: 'maybe' is not known", "'refuse', 'allow'"]),
        ('country = "XX"', ["bell.toml:2: policy.country:", "known are"]),
        ('accept_from = "300.1.1.1/8"', ["bell.toml:2: policy.accept_from:"]),
        ('allow_callers = "620"', ["bell.toml:2: policy.allow_callers: must be a list"]),
        ('denied_prefixes = [""]', ["bell.toml:2: policy.denied_prefixes:"]),
    ],
)
def test_a_policy_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, line: str, words: list[str]) -> None:
    message = complaint(tmp_path, f'[policy]\n{line}\n[[destination]]\ntarget = "a@b"\n')
    for word in words:
        assert word in message
