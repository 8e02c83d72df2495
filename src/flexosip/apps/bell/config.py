"""What the bell is told: `bell.toml`, or the `cowbell.ini` of the original as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexosip.apps.policy_settings import policy_settings
from flexosip.apps.profile_settings import PROFILE_KEYS, profile_of
from flexosip.apps.reach_settings import REACH_KEYS, reach_settings
from flexosip.apps.settings import IniFile, Table, read_settings_text, read_toml
from flexosip.errors import ConfigurationError

__all__ = ["PROMPT_NAMES", "AccountSettings", "BellConfig", "Destination", "TriggerSettings", "find_config", "load_config", "search_places"]

PROMPT_NAMES = ("welcome", "on", "off", "once", "5min", "forever")
LANGUAGES = ("en", "de")
_PROMPTS = Path(__file__).parent / "prompts"

_SECTIONS = ("account", "destination", "trigger", "access", "timing", "prompts", "policy")
_ACCOUNT_KEYS = (
    "aor", "password", "password_file", "registrar", "proxy", "auth_user", "realm", "transport", "display_name", "listen", "codecs",
    "tls_ca", "tls_certificate", "tls_key", *PROFILE_KEYS, *REACH_KEYS,
)  # fmt: skip
_TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
_DEFAULT_DURATION = 20.0
_INI_KEYS = {
    "registration": ("uri", "registrar", "login", "password"),
    "alert": ("destination", "name", "duration"),
    "trigger": ("gpio", "level"),
    "media": ("welcome",),
}
_GPIO_PINS = range(64)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """How the bell registers; `aor` None: it has no account and calls directly."""

    aor: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_user: str | None = None
    realm: str | None = None
    registrar: str | None = None
    proxy: str | None = None
    transport: str | None = None
    display_name: str | None = None
    listen: str | None = None
    codecs: tuple[str, ...] = ()
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    reach: tuple[tuple[str, Any], ...] = ()
    """Arguments of `flexosip.Reach`."""
    profile: str | None = None
    """Name or path of a `flexosip.Profile`; `aor` may then be the user alone."""
    host: str | None = None
    """The server's host, in place of the profile's domain."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Whom to ring."""

    target: str
    duration: float = _DEFAULT_DURATION
    """Seconds; 0 rings for ever."""
    name: str | None = None
    """What the phone shows, where it shows a call's subject."""
    others: tuple[str, ...] = ()
    """Who rings at the same time; the first who answers has the call."""
    confirm: str | None = None
    """The key that whoever answers has to press, so that no mailbox takes the call."""

    @property
    def words(self) -> str:
        """All targets, for people and events."""
        return ", ".join((self.target, *self.others))


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """What sets the bell off."""

    kind: str
    """`gpio` or `stdin`."""
    pin: int = 17
    """BCM number."""
    level: int = 1
    """The level that is reached when it goes off."""

    @property
    def source(self) -> str:
        """Its name in events."""
        return f"gpio{self.pin}" if self.kind == "gpio" else self.kind


@dataclass(frozen=True, slots=True)
class BellConfig:
    """All settings of a bell."""

    destinations: tuple[Destination, ...]
    triggers: tuple[TriggerSettings, ...] = (TriggerSettings("stdin"),)
    account: AccountSettings = AccountSettings()
    pin: str | None = field(default=None, repr=False)
    callers: tuple[str, ...] = ()
    cool_down: float = 0.0
    """Seconds between the end of an alert and the next."""
    language: str = "en"
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Who may call at all and whom it may call, see `flexosip.apps.policy_settings`."""
    prompts: Mapping[str, Path] = field(default_factory=dict)
    """Own recordings by name; see `PROMPT_NAMES`."""
    path: Path | None = None

    def prompt(self, name: str) -> Path:
        """The file that says `name`."""
        return self.prompts.get(name, _PROMPTS / self.language / f"{name}.wav")

    def spoken(self, name: str) -> str:
        """The words of a prompt; the file's name for a recording of one's own."""
        if name in self.prompts:
            return self.prompts[name].stem
        texts = read_toml(_PROMPTS / "texts.toml").table(self.language)
        return (texts.text(name) if texts is not None else None) or name


def search_places(root: Path = Path("/"), working: Path = Path(), home: Path | None = None) -> list[Path]:
    """Where the settings are looked for, in order (`root` and `working` are for tests)."""
    user = os.environ.get("XDG_CONFIG_HOME") or str((home or Path("~").expanduser()) / ".config")
    return [
        root / "etc/flexosip/bell.toml",
        Path(user) / "flexosip/bell.toml",
        working / "bell.toml",
        root / "etc/cowbell.ini",
        working / "cowbell.ini",
    ]


def find_config(places: list[Path] | None = None) -> Path:
    """The first settings file that is there.

    Raises:
        ConfigurationError: there is none; it says where it was looked for.
    """
    places = search_places() if places is None else places
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(map(str, places))
    raise ConfigurationError(
        f"There is no bell.toml and no cowbell.ini. Looked for {looked}.", advice="Write one, or name it with --config FILE."
    )


def load_config(path: Path) -> BellConfig:
    """Read a settings file: INI if its name ends with `.ini`, else TOML.

    Raises:
        ConfigurationError: with file, line, key and what is allowed.
    """
    if path.suffix.lower() == ".ini" or path.name.lower().endswith((".ini.sample", ".conf")):
        return _from_ini(path)
    return _from_toml(read_toml(path))


# ---- bell.toml


def _from_toml(top: Table) -> BellConfig:
    top.check_keys(_SECTIONS)
    account = _account(top.table("account"))
    destinations = tuple(_destination(table, account) for table in top.tables("destination"))
    if not destinations:
        raise top.error(None, 'whom to ring is missing: write [[destination]] and below it, for example, target = "**9".')
    triggers = tuple(_trigger(table) for table in top.tables("trigger"))
    if len({trigger.source for trigger in triggers}) < len(triggers):
        raise top.error("trigger", "two triggers are the same.")
    pin, callers = _access(top.table("access"))
    timing = top.table("timing")
    cool_down = 0.0
    if timing is not None:
        timing.check_keys(("cool_down",))
        cool_down = timing.number("cool_down", 0.0, maximum=86_400, what="seconds from 0 to 86400")
    language, prompts = _prompts(top.table("prompts"))
    return BellConfig(
        destinations=destinations,
        triggers=triggers or (TriggerSettings("stdin"),),
        account=account,
        pin=pin,
        callers=callers,
        cool_down=cool_down,
        language=language,
        prompts=prompts,
        policy=policy_settings(top.table("policy")),
        path=top.path,
    )


def _account(table: Table | None) -> AccountSettings:
    if table is None:
        return AccountSettings()
    table.check_keys(_ACCOUNT_KEYS)
    aor = table.text("aor")
    if aor is None:
        raise table.error(None, 'the address is missing: write, for example, aor = "sip:bell@fritz.box".')
    profile = profile_of(table)
    if "@" not in aor and profile is None:
        raise table.error("aor", f"{aor!r} is not an address like sip:bell@fritz.box.")
    password = table.text("password", secret=True)
    password_file = table.text("password_file")
    if password is not None and password_file is not None:
        raise table.error("password_file", "password and password_file exclude each other.")
    if password_file is not None:
        password = _password(table, password_file)
    return AccountSettings(
        aor=aor,
        password=password,
        auth_user=table.text("auth_user"),
        realm=table.text("realm"),
        registrar=table.text("registrar"),
        proxy=table.text("proxy"),
        transport=table.choice("transport", _TRANSPORTS, "udp") if "transport" in table else None,
        display_name=table.text("display_name"),
        listen=table.text("listen"),
        codecs=table.texts("codecs"),
        tls_ca=table.file_path("tls_ca"),
        tls_certificate=table.file_path("tls_certificate"),
        tls_key=table.file_path("tls_key"),
        reach=reach_settings(table),
        profile=profile,
        host=table.text("host"),
    )


def _password(table: Table, name: str) -> str:
    """The password in a file; one that systemd hands to the service (LoadCredential) goes first."""
    path = Path(name).expanduser()
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / path.name).is_file():
        path = Path(credentials) / path.name
    elif not path.is_absolute():
        path = table.path.parent / path
    try:
        lines = read_settings_text(path).splitlines()
    except ConfigurationError as error:
        raise table.error("password_file", str(error)) from error
    if not lines or not lines[0]:
        raise table.error("password_file", f"{path} is empty; its first line must be the password.")
    return lines[0]


def _destination(table: Table, account: AccountSettings) -> Destination:
    table.check_keys(("target", "duration", "name", "confirm"))
    targets = table.text_or_texts("target")
    if not targets:
        raise table.error(None, 'whom to ring is missing: write, for example, target = "**9", or a list of several that ring at once.')
    for target in targets:
        if account.aor is None and "@" not in target and ":" not in target:
            example = f'target = "{target}@192.168.1.20"'
            raise table.error("target", f"without an [account] {target!r} needs a host: write, for example, {example}.")
    duration = table.number("duration", _DEFAULT_DURATION, maximum=86_400, what="seconds from 0 (for ever) to 86400")
    confirm = table.text("confirm")
    if confirm is not None and (len(confirm) != 1 or confirm.upper() not in "0123456789*#ABCD"):
        raise table.error("confirm", 'must be one key, for example confirm = "1".')
    return Destination(targets[0], duration, table.text("name"), targets[1:], confirm)


def _trigger(table: Table) -> TriggerSettings:
    if "kind" not in table:
        raise table.error(None, 'the kind is missing: write kind = "gpio" or kind = "stdin".')
    kind = table.choice("kind", ("gpio", "stdin"), "stdin")
    table.check_keys(("kind", "pin", "level") if kind == "gpio" else ("kind",))
    if kind == "stdin":
        return TriggerSettings(kind)
    if "pin" not in table:
        raise table.error(None, "the pin is missing: write, for example, pin = 17 (BCM number).")
    pin = table.whole("pin", 17, allowed=_GPIO_PINS, what="the BCM number of a GPIO pin, 0 to 63")
    return TriggerSettings(kind, pin, table.whole("level", 1, allowed=range(2), what="0 or 1"))


def _access(table: Table | None) -> tuple[str | None, tuple[str, ...]]:
    if table is None:
        return None, ()
    table.check_keys(("pin", "callers"))
    pin = table.text("pin", secret=True)
    if pin is not None and not re.fullmatch(r"[0-9*A-D]{1,32}", pin):
        raise table.error("pin", "must be 1 to 32 keys of 0-9, * and A-D, in quotes; # ends the input.")
    return pin, table.texts("callers")


def _prompts(table: Table | None) -> tuple[str, dict[str, Path]]:
    if table is None:
        return "en", {}
    table.check_keys(("language", *PROMPT_NAMES))
    language = table.choice("language", LANGUAGES, "en")
    prompts = {}
    for name in PROMPT_NAMES:
        text = table.text(name)
        if text is not None:
            path = table.path.parent / Path(text).expanduser()
            if not path.is_file():
                raise table.error(name, f"there is no file {path}.")
            prompts[name] = path
    return language, prompts


# ---- cowbell.ini


def _from_ini(path: Path) -> BellConfig:
    """The settings of the original, as its `cowbell.ini.sample` documents them."""
    ini = IniFile(path, _INI_KEYS)
    account = AccountSettings(
        aor=ini.required("registration", "uri", "sip:cow-bell@fritz.box"),
        registrar=ini.required("registration", "registrar", "sip:fritz.box"),
        auth_user=ini.required("registration", "login", "cow-bell"),
        password=ini.required("registration", "password", "SECRET"),
        display_name=ini.text("alert", "name") or None,
    )
    if "@" not in str(account.aor):
        raise ini.error("registration", "uri", f"{account.aor!r} is not an address like sip:cow-bell@fritz.box.")
    target = ini.required("alert", "destination", "sip:**9@fritz.box")
    # Without a duration the original rang for ever.
    duration = ini.whole("alert", "duration", allowed=range(86_401), what="seconds from 0 (for ever) to 86400") or 0
    pin = ini.whole("trigger", "gpio", allowed=_GPIO_PINS, what="the BCM number of a GPIO pin, 0 to 63")
    level = ini.whole("trigger", "level", allowed=range(2), what="0 or 1")
    if (pin is None) != (level is None):
        name, other = ("gpio", "level") if pin is None else ("level", "gpio")
        raise ini.error("trigger", name, f"is missing; it goes with {other}.")
    # The original always listened to Return as well.
    triggers: tuple[TriggerSettings, ...] = (TriggerSettings("stdin"),)
    if pin is not None and level is not None:
        triggers = (TriggerSettings("gpio", pin, level), *triggers)
    prompts = {}
    welcome = ini.text("media", "welcome")
    if welcome:
        # The original looked in its working folder only.
        places = [Path(welcome).expanduser(), path.parent / welcome]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise ini.error("media", "welcome", f"there is no file {places[0]}.")
        prompts["welcome"] = found
    return BellConfig(
        destinations=(Destination(target, float(duration), ini.text("alert", "name") or None),),
        triggers=triggers,
        account=account,
        prompts=prompts,
        path=path,
    )
