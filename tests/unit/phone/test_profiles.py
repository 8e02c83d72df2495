"""The profiles of the library, all of them, and what is said about a wrong one: file and key."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from flexosip import Credentials, Phone, Profile, Reach, sync
from flexosip.errors import ConfigurationError
from flexosip.phone.profiles.profile_verbs import ProfileVerbs

LIBRARY = (
    "asterisk", "easybell", "fritzbox", "freeswitch", "one_and_one", "sipgate", "telekom", "telnyx_trunk", "threecx", "twilio_trunk",
)  # fmt: skip
FOLDER = Path(inspect.getfile(Profile)).parent


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user's own profiles lie."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "flexosip" / "profiles"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -- those of the library ---------------------------------------------------------------------------------------------


def test_the_library_has_these_and_each_has_a_file() -> None:
    assert set(LIBRARY) <= set(Phone.profiles())
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(LIBRARY)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_profile_is_right_and_makes_a_phone(name: str) -> None:
    profile = Profile.find(name)
    assert profile.title
    assert profile.notes
    assert all(note.text and note.source for note in profile.notes)
    assert (profile.domain is None) != (profile.example is None)
    phone = Phone.profile(name, "alice", "secret", host=profile.domain or profile.example)
    (account,) = phone.accounts
    assert str(account.aor) == f"sip:alice@{profile.domain or profile.example}"
    assert account.digest is not None
    assert account.register == (name != "twilio_trunk")
    assert account.server_rules == profile.server_rules
    assert account.identity_policy == profile.identity
    assert {item.name for item in phone.formats} <= {"PCMA", "PCMU", "G722"}
    assert phone.reach.outbound is False


@pytest.mark.parametrize("name", LIBRARY)
def test_every_profile_has_a_verb_of_both_phones(name: str) -> None:
    for kind in (Phone, sync.Phone):
        make = getattr(kind, name)
        phone = make("alice", "secret", host="pbx.example.com")
        assert isinstance(phone, kind)
        assert str(phone.accounts[0].aor) == "sip:alice@pbx.example.com"
        assert phone.accounts[0].server_rules == Profile.find(name).server_rules


def test_there_is_no_verb_without_a_profile() -> None:
    verbs = {name for name in vars(ProfileVerbs) if not name.startswith("_")}
    assert verbs - {"profile", "profiles"} == set(LIBRARY)


def test_what_is_told_wins_over_the_profile() -> None:
    phone = Phone.fritzbox(
        "bell", password="secret", host="192.168.178.1:5070", expires=900, codecs=("PCMU",), transport="tcp", display_name="Door",
        reach=Reach(outbound=True),
    )  # fmt: skip
    (account,) = phone.accounts
    assert str(account.aor) == "sip:bell@192.168.178.1:5070"
    assert (account.expires, account.transport, account.display_name) == (900, "tcp", "Door")
    assert [item.name for item in phone.formats] == ["PCMU"]
    assert phone.reach.outbound is True


def test_none_means_what_the_profile_says_where_it_says_something() -> None:
    phone = Phone.fritzbox("bell", "secret", transport=None, codecs=None, reach=None, media_timeout=None, session_expires=None)
    assert phone.accounts[0].transport == "udp"
    assert phone.reach.keep_alive == "none"
    assert (phone.media_timeout, phone.rules.session_expires) == (None, None)


def test_the_user_may_be_a_whole_address() -> None:
    assert str(Phone.fritzbox("sip:bell@box.example.com", "secret", host=None).accounts[0].aor) == "sip:bell@box.example.com"  # type: ignore[arg-type]
    assert str(Phone.telekom("sip:+4930123@tel.example.com").accounts[0].aor) == "sip:+4930123@tel.example.com"
    with pytest.raises(ConfigurationError, match="whole address without it"):
        Phone.fritzbox("bell@fritz.box", "secret")


def test_who_gives_no_password_at_telekom_is_its_guest_and_nobody_elsewhere_is() -> None:
    assert Phone.telekom("+4930123456").accounts[0].digest is not None
    assert Phone.sipgate("1234567e0").accounts[0].digest is None


def test_a_password_may_be_credentials() -> None:
    assert Phone.sipgate("1234567e0", Credentials("secret")).accounts[0].digest is not None


def test_a_host_that_only_the_user_knows_has_to_be_told() -> None:
    with pytest.raises(ConfigurationError, match=r"needs the host of your own server, for example host='mytrunk\.pstn\.twilio\.com'"):
        Phone.twilio_trunk("+12025550101")


def test_a_user_or_host_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="control character"):
        Phone.fritzbox("bell\r\nEvil: 1", "secret")
    with pytest.raises(ConfigurationError, match="host"):
        Phone.fritzbox("bell", "secret", host="fritz box")


def test_a_name_that_nobody_knows() -> None:
    for name in ("fritz", "../fritzbox", "", "FRITZBOX"):
        with pytest.raises(ConfigurationError):
            Profile.find(name)
    with pytest.raises(ConfigurationError, match="There is no profile 'fritz'; there are asterisk, easybell"):
        Phone.profile("fritz", "bell", "secret")


# -- several accounts -------------------------------------------------------------------------------------------------


def test_accounts_by_profile_leave_alone_what_is_the_phones() -> None:
    phone = Phone(codecs=("PCMU",))
    box = phone.add_account("bell", profile="fritzbox", password="secret")
    trunk = phone.add_account("+12025550101", profile="twilio_trunk", host="mytrunk.pstn.twilio.com", caller_id="+12025550102")
    plain = phone.add_account("sip:alice@example.com", password="secret")
    assert [str(each.aor) for each in phone.accounts] == [
        "sip:bell@fritz.box", "sip:+12025550101@mytrunk.pstn.twilio.com", "sip:alice@example.com",
    ]  # fmt: skip
    assert (box.expires, trunk.register, plain.register) == (300, False, True)
    assert box.server_rules.everybody == "**9"
    assert [item.name for item in phone.formats] == ["PCMU"]


# -- a user's own -----------------------------------------------------------------------------------------------------


def test_a_profile_of_ones_own_by_name_and_by_path(own_folder: Path, tmp_path: Path) -> None:
    text = 'title = "Village telephone"\ndomain = "tel.village.example"\n[account]\nexpires = 120\n'
    write(own_folder / "village.toml", text)
    assert "village" in Phone.profiles()
    assert Phone.profile("village", "alice", "secret").accounts[0].expires == 120
    elsewhere = write(tmp_path / "elsewhere" / "town.toml", text)
    for place in (elsewhere, str(elsewhere)):
        assert str(Phone.profile(place, "alice", "secret").accounts[0].aor) == "sip:alice@tel.village.example"


def test_ones_own_goes_before_the_librarys(own_folder: Path) -> None:
    write(own_folder / "fritzbox.toml", 'title = "My box"\ndomain = "box.home.arpa"\n')
    assert Profile.find("fritzbox").title == "My box"


MISTAKES = {
    "no TOML": ("title = ", "this is not TOML"),
    "no title": ('domain = "a.example"', "title: is missing"),
    "unknown key": ('title = "x"\ndomian = "a.example"', "domian: unknown key; known are title, domain"),
    "unknown table": ('title = "x"\n[acount]\nexpires = 1', "acount: unknown key"),
    "unknown key in a table": ('title = "x"\n[account]\nexpiers = 100', r"account\.expiers: unknown key"),
    "a table that is none": ('title = "x"\naccount = "y"', r"account: must be a table \[account\]"),
    "a number as text": ('title = "x"\n[account]\nexpires = "100"', r"account\.expires: must be seconds, not '100'"),
    "true as a number": ('title = "x"\n[account]\nexpires = true', r"account\.expires: must be seconds, not True"),
    "out of range": ('title = "x"\n[account]\nexpires = 1', r"account\.expires: 1: a registration lasts"),
    "no transport": ('title = "x"\n[account]\ntransport = "sctp"', r"account\.transport: transport='sctp'"),
    "no proxy": ('title = "x"\n[account]\nproxy = "a b"', r"account\.proxy: The proxy"),
    "no domain": ('title = "x"\ndomain = "a b"', "domain: 'a b' is no domain"),
    "empty": ('title = ""', "title: must not be empty"),
    "control character": ('title = "a\\r\\nb"', "title: the value contains a control character"),
    "no list of texts": ('title = "x"\n[phone]\ncodecs = [8, 0]', r"phone\.codecs: must be a list of texts"),
    "no number format": ('title = "x"\n[server_rules]\ndialled = "E164"', "server_rules: dialled: 'E164' is not known"),
    "no country": ('title = "x"\n[server_rules]\ncountry = "+49"', r"server_rules: country: '\+49' is no country code"),
    "no identity": ('title = "x"\n[identity]\nnumber = "to"', "identity: identity_policy: number='to'"),
    "no keep-alive": ('title = "x"\n[reach]\nkeep_alive = "ping"', "reach: keep_alive='ping'"),
    "half a note": ('title = "x"\n[[note]]\ntext = "y"', "note 1: text and source must both be there"),
    "a note that is none": ('title = "x"\nnote = ["y"]', r"note: must be \[\[note\]\] tables"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_and_key(mistake: str, tmp_path: Path) -> None:
    text, words = MISTAKES[mistake]
    path = write(tmp_path / "wrong.toml", text)
    with pytest.raises(ConfigurationError, match=words) as told:
        Profile.find(path)
    assert str(told.value).startswith(str(path))


def test_a_file_that_is_not_there_or_no_text_or_endless(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Profile.find(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(ConfigurationError, match="not TOML"):
        Profile.find(tmp_path / "binary.toml")
    write(tmp_path / "long.toml", "#" * 200_000)
    with pytest.raises(ConfigurationError, match="larger than"):
        Profile.find(tmp_path / "long.toml")
