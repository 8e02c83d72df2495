"""Profiles: what is known of a provider, a router or a PBX, as data, so that a name and a password are all that a user types.

A profile is a TOML file. Those of the library lie in `profiles/` beside this module; a user's own in `/etc/flexosip/profiles` and
`~/.config/flexosip/profiles` (the nearer wins, and wins over the library's, since a provider may change before the library does), or
anywhere, told by path.

    title = "AVM FRITZ!Box"
    domain = "fritz.box"            # behind the @ of the address; without it host= must be told
    [account]                       # arguments of Account
    [server_rules]                  # fields of ServerRules
    [identity]                      # fields of IdentityPolicy
    [phone]                         # codecs, srtp, session_expires, accept_from of Phone
    [reach]                         # fields of Reach
    [[note]]                        # text, source, verified: for people
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from flexosip import codecs
from flexosip.errors import ConfigurationError
from flexosip.phone.account import check_transport, parse_aor
from flexosip.phone.connectivity.reach import Reach
from flexosip.phone.dialling.caller_id import IdentityPolicy
from flexosip.phone.profiles.server_rules import ServerRules
from flexosip.phone.values import checked_domain, checked_text, parse_server
from flexosip.sip.uri import SipUri

__all__ = ["Profile", "ProfileNote", "account_arguments", "phone_arguments"]

_FOLDER: Final = Path(__file__).parent
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MAX_BYTES = 100_000
_TEXTS = (list, "a list of texts")
_TABLES: Final[dict[str, dict[str, tuple[type | tuple[type, ...], str]]]] = {
    "account": {
        "registrar": (str, "text"), "proxy": (str, "text"), "transport": (str, "text"), "register": (bool, "true or false"),
        "expires": ((int, float), "seconds"), "realm": (str, "text"), "auth_user": (str, "text"), "guest": (str, "text"),
        "max_calls": (int, "a whole number"),
    },
    "server_rules": {
        "dialled": (str, "text"), "caller_id": (str, "text"), "country": (str, "text"), "raw_hash": (bool, "true or false"),
        "internal": (str, "text"), "everybody": (str, "text"), "pickup_code": (str, "text"), "account_contact": (bool, "true or false"),
        "service_domain": (str, "text"), "digits": (str, "text"),
    },
    "identity": {"number": (str, "text"), "anonymous": (str, "text"), "prefix": (str, "text")},
    "phone": {
        "codecs": _TEXTS, "srtp": (str, "text"), "session_expires": (int, "seconds"), "accept_from": _TEXTS, "trusted_peers": _TEXTS,
    },
    "reach": {
        "outbound": ((bool, str), "true, false or \"auto\""), "keep_alive": (str, "text"), "keep_alive_interval": ((int, float), "seconds"),
        "stun_server": (str, "text"),
    },
}  # fmt: skip
_NOTE: Final = {"text": (str, "text"), "source": (str, "text"), "verified": (bool, "true or false")}
_PHONE_WIDE: Final = ("reach", *_TABLES["phone"])
"""What a phone has once, whatever accounts it has."""


@dataclass(frozen=True, slots=True)
class ProfileNote:
    """Something that a profile wants people to know."""

    text: str
    source: str
    """Where it is from."""
    verified: bool
    """False: nobody has seen it on the wire; it may be wrong or out of date."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a provider, a router or a PBX. `Profile.find` reads one."""

    name: str
    title: str
    path: Path
    domain: str | None
    """What stands behind the @ of an address; None: it is the user's own, and `host=` has to tell it."""
    example: str | None
    """A host to tell, for people, where there is no domain."""
    account: Mapping[str, Any]
    """Arguments of `Account`."""
    guest: str | None
    """The user of the digest, with an empty password, when no password is given; None: then there are no credentials."""
    server_rules: ServerRules
    identity: IdentityPolicy
    phone: Mapping[str, Any]
    """Arguments of `Phone` that are no account's: codecs and the like."""
    reach: Mapping[str, Any]
    """Arguments of `Reach`."""
    notes: tuple[ProfileNote, ...]

    @classmethod
    def find(cls, name: str | os.PathLike[str]) -> Profile:
        """The profile of that name, or the one in that file.

        Args:
            name: for example `fritzbox`, or a path: with a slash, or ending in `.toml`.

        Raises:
            ConfigurationError: there is none, or it is wrong: with file and key.
        """
        text = os.fspath(name)
        if not isinstance(name, str) or "/" in text or os.sep in text or text.endswith(".toml"):
            return _read(Path(text).expanduser())
        found = _NAME.fullmatch(text) and _files().get(text)
        if not found:
            raise ConfigurationError(
                f"There is no profile {text[:80]!r}; there are {', '.join(cls.names())}.",
                advice=f"Write one as {_own_folders()[-1] / 'NAME.toml'}, or give the path of its file.",
            )
        return _read(found)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names that `find` knows, the user's own among them."""
        return tuple(sorted(_files()))

    def arguments(self, user: str, password: Any = None, *, host: str | None = None, **settings: Any) -> dict[str, Any]:
        """The arguments of `Phone` for a user of this server.

        Args:
            user: the user name, number or whole address `sip:user@host`.
            password: of the server; None: none, or the guest's.
            host: `HOST[:PORT]` of the user's own box or PBX, or the trunk's domain, in place of the profile's domain.
            settings: of `Phone`; they win over the profile.

        Raises:
            ConfigurationError: the server's host is missing, or something is no address.
        """
        result: dict[str, Any] = {**self.account, **self.phone, "identity_policy": self.identity, "server_rules": self.server_rules}
        if "codecs" in result:
            # Those that an extra would bring count once it is installed.
            known = {item[0].lower() for item in codecs.supported()}
            result["codecs"] = tuple(name for name in result["codecs"] if name.partition("/")[0].lower() in known)
        if self.reach:
            result["reach"] = Reach(**self.reach)
        if password is None and self.guest is not None:
            result["auth_user"], password = self.guest, ""
        for name, value in settings.items():
            # What the profile tells stays where None says nothing; it says "none" where it is a value.
            if value is not None or name not in result or name in ("session_expires", "max_calls"):
                result[name] = value
        return {"aor": self._address(user, host), "password": password, **result}

    def _address(self, user: str, host: str | None) -> str:
        checked_text(user, "The user")
        if "@" in user:
            if host is not None:
                raise ConfigurationError(f"The profile {self.name}: give the user alone with host=, or a whole address without it.")
            return str(parse_aor(user))
        if host is not None:
            server = parse_server(host, "host")
            host, port = server.host, server.port
        else:
            host, port = self.domain, None
        if host is None:
            example = f", for example host={self.example!r}" if self.example is not None else ""
            raise ConfigurationError(f"The profile {self.name} ({self.title}) needs the host of your own server{example}.")
        try:
            return str(SipUri.for_user(user.strip(), host, port))
        except ValueError as error:
            raise ConfigurationError(f"The profile {self.name}: {user!r} is no user name: {error}") from error


def phone_arguments(name: str | os.PathLike[str], user: str, password: Any = None, **settings: Any) -> dict[str, Any]:
    """The arguments of `Phone` for a user of the server that the profile `name` tells of; see `Profile.arguments`."""
    return Profile.find(name).arguments(user, password, **settings)


def account_arguments(aor: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Account`; with `profile` among the settings, `aor` may be the user alone.

    Raises:
        ConfigurationError: the profile is not known or cannot be used.
    """
    given = dict(settings)
    name = given.pop("profile", None)
    if name is None:
        return {"aor": aor, **given}
    whole = phone_arguments(name, aor, given.pop("password", None), **given)
    return {key: value for key, value in whole.items() if key not in _PHONE_WIDE or key in given}


# -- files ------------------------------------------------------------------------------------------------------------


def _own_folders() -> tuple[Path, ...]:
    user = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path("/etc/flexosip/profiles"), Path(user).expanduser() / "flexosip" / "profiles"


def _files() -> dict[str, Path]:
    """The files by name; the nearer come later and win."""
    return {path.stem: path for folder in (_FOLDER, *_own_folders()) if folder.is_dir() for path in folder.glob("*.toml")}


def _read(path: Path) -> Profile:
    import tomllib  # a phone without a profile needs none of it

    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: the profile cannot be read: {error.strerror or error}.") from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: is larger than {_MAX_BYTES:,} bytes; that is no profile.")
    try:
        top = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: this is not TOML: {error}.") from error
    return _profile(path, top)


def _profile(path: Path, top: dict[str, Any]) -> Profile:
    _check(path, "", top, {"title": (str, "text"), "domain": (str, "text"), "example": (str, "text"), "note": (list, "[[note]] tables")}
           | {name: (dict, f"a table [{name}]") for name in _TABLES})  # fmt: skip
    tables = {name: dict(top.get(name, {})) for name in _TABLES}
    for name, keys in _TABLES.items():
        _check(path, f"{name}.", tables[name], keys)
    notes = top.get("note", [])
    for number, note in enumerate(notes, 1):
        if not isinstance(note, dict):
            raise ConfigurationError(f"{path}: note: must be [[note]] tables.")
        _check(path, f"note {number}.", note, _NOTE)
        if not {"text", "source"} <= note.keys():
            raise ConfigurationError(f"{path}: note {number}: text and source must both be there.")
    if "title" not in top:
        raise ConfigurationError(f'{path}: title: is missing; write, for example, title = "My provider".')
    if "domain" in top:
        checked_domain(top["domain"], f"{path}: domain")
    guest = tables["account"].pop("guest", None)
    _check_account(path, tables["account"])
    profile = Profile(
        path.stem,
        top["title"],
        path,
        top.get("domain"),
        top.get("example"),
        MappingProxyType(tables["account"]),
        guest,
        _made(path, "server_rules", ServerRules, tables["server_rules"]),
        _made(path, "identity", IdentityPolicy, tables["identity"]),
        MappingProxyType(tables["phone"]),
        MappingProxyType(tables["reach"]),
        tuple(ProfileNote(note["text"], note["source"], note.get("verified", False)) for note in notes),
    )
    _made(path, "reach", Reach, tables["reach"])
    return profile


def _check(path: Path, prefix: str, table: dict[str, Any], keys: Mapping[str, tuple[Any, str]]) -> None:
    """Refuse unknown keys, wrong types, empty texts and control characters."""
    for key, value in table.items():
        if key not in keys:
            raise ConfigurationError(f"{path}: {prefix}{key}: unknown key; known are {', '.join(keys)}.")
        kind, what = keys[key]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ConfigurationError(f"{path}: {prefix}{key}: must be {what}, not {value!r}.")
        texts = value if isinstance(value, list) else [value]
        if what == _TEXTS[1] and not all(isinstance(text, str) for text in texts):
            raise ConfigurationError(f"{path}: {prefix}{key}: must be {what}, not {value!r}.")
        for text in texts:
            if isinstance(text, str):
                if not text:
                    raise ConfigurationError(f"{path}: {prefix}{key}: must not be empty.")
                try:
                    checked_text(text, "the value")
                except ConfigurationError as error:
                    raise ConfigurationError(f"{path}: {prefix}{key}: {error}") from error


def _check_account(path: Path, account: Mapping[str, Any]) -> None:
    def check_registrars(text: str) -> None:
        for each in text.split(","):
            parse_server(each.strip(), "The registrar")

    def check_proxy(text: str) -> None:
        parse_server(text, "The proxy")

    for key, check in (("transport", check_transport), ("registrar", check_registrars), ("proxy", check_proxy)):
        if key in account:
            try:
                check(account[key])
            except ConfigurationError as error:
                raise ConfigurationError(f"{path}: account.{key}: {error}") from error
    if not 10 <= account.get("expires", 3600) <= 86400 * 7:
        raise ConfigurationError(f"{path}: account.expires: {account['expires']!r}: a registration lasts 10 seconds to one week.")


def _made(path: Path, table: str, kind: Any, values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {table}: {error}") from error
