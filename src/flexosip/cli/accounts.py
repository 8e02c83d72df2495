"""Which account a command uses: from the flags, from config.toml, from the environment."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexosip.apps.policy_settings import policy_settings, policy_to_phone
from flexosip.apps.profile_settings import PROFILE_KEYS, profile_of, profile_reach
from flexosip.apps.reach_settings import REACH_KEYS, reach_of, reach_settings
from flexosip.apps.settings import Table, nearest, read_settings_text, read_toml
from flexosip.cli.policy import policy_flags
from flexosip.errors import ConfigurationError

if TYPE_CHECKING:
    from flexosip import Phone

__all__ = [
    "AccountOptions", "add_account_options", "config_places", "create_phone", "load_accounts", "load_policy", "phone_settings",
    "resolve_account",
]  # fmt: skip

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
IDENTITY_POLICIES = ("from", "ppi", "pai", "rpid", "diversion")
"""Where a provider wants `caller_id`; see `flexosip.IdentityPolicy`."""
_ACCOUNT_KEYS = (
    "aor", "password", "password_file", "auth_user", "realm", "registrar", "proxy",
    "display_name", "transport", "tls_ca", "tls_certificate", "tls_key", "listen", "codecs",
    "caller_id", "identity_policy", *PROFILE_KEYS, *REACH_KEYS,
)  # fmt: skip


_TOP_KEYS = ("default", "account", "policy")


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """What `Phone` is told."""

    aor: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_user: str | None = None
    realm: str | None = None
    registrar: str | None = None
    proxy: str | None = None
    display_name: str | None = None
    caller_id: str | None = None
    identity_policy: str | None = None
    transport: str | None = None
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    listen: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    reach: tuple[tuple[str, Any], ...] = ()
    """Arguments of `flexosip.Reach`."""
    profile: str | None = None
    """Name or path of a `flexosip.Profile`; `aor` may then be the user alone."""
    host: str | None = None
    """The server's host, in place of the profile's domain."""
    policy: tuple[tuple[str, Any], ...] = ()
    """See `flexosip.apps.policy_settings`."""


def add_account_options(parser: argparse.ArgumentParser) -> None:
    """The flags of contract that say who we are and how we are reached."""
    group = parser.add_argument_group("account")
    group.add_argument("--account", metavar="A", help="sip:user@host[:port], or the name of an account in config.toml")
    group.add_argument(
        "--profile", metavar="NAME|FILE", help="what is known of the server: fritzbox, sipgate, ...; --account is then USER or USER@HOST"
    )
    group.add_argument("--password-file", metavar="F", help="file whose first line is the password (or set FLEXOSIP_PASSWORD)")
    group.add_argument("--auth-user", metavar="U", help="user name for the password, where it differs from the account's")
    group.add_argument(
        "--registrar", metavar="HOST[:PORT]", help="where to register, if not at the account's host; fall-backs after commas"
    )
    group.add_argument("--advertise", metavar="HOST[:PORT]", help="address that others are told, in a container or behind a fixed mapping")
    group.add_argument("--stun-server", metavar="HOST[:PORT]", help="STUN server that tells our public address")
    group.add_argument("--outbound", action="store_const", const=True, help="register by RFC 5626, for servers that know it")
    group.add_argument(
        "--proxy",
        metavar="HOST[:PORT]|URL",
        help="where to send everything (wss://HOST/PATH for a WebSocket), whatever the account's host resolves to",
    )
    group.add_argument("--transport", choices=TRANSPORTS, help="udp unless told otherwise")
    group.add_argument(
        "--tls-ca", metavar="FILE", help="certificate authority of the server; its certificate must name the account's domain"
    )
    group.add_argument("--tls-cert", metavar="FILE", dest="tls_certificate", help="our own certificate, for servers that ask for one")
    group.add_argument("--tls-key", metavar="FILE", help="its key, if that is not in the same file")
    group.add_argument(
        "--listen", metavar="[T:]HOST:PORT", action="append", default=[], help="where to listen; tls:HOST:PORT and so on; may be repeated"
    )
    group.add_argument("--codec", metavar="NAME", action="append", default=[], help="codec to offer, best first; may be repeated")
    group.add_argument("--caller-id", metavar="NUMBER", help="the number that calls show, where the account may choose it")
    group.add_argument("--display-name", metavar="TEXT", help="the name that other phones show")


def config_places(root: Path = Path("/")) -> list[Path]:
    """Where config.toml is looked for; the nearer comes later and wins."""
    user = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return [root / "etc/flexosip/config.toml", Path(user).expanduser() / "flexosip/config.toml"]


def load_accounts(places: list[Path]) -> tuple[dict[str, AccountOptions], str | None]:
    """(accounts by name, name of the default account) of all config files that are there.

        default = "home"
        [account.home]
        aor = "sip:620@fritz.box"
        password_file = "fritz.password"

    Raises:
        ConfigurationError: with file, line and key.
    """
    accounts: dict[str, AccountOptions] = {}
    default: str | None = None
    default_of: Table | None = None
    for place in places:
        if not place.is_file():
            continue
        top = read_toml(place)
        top.check_keys(_TOP_KEYS)
        if "default" in top:
            default, default_of = top.text("default"), top
        named = top.table("account")
        for name in named or ():
            assert named is not None
            table = named.table(name)
            assert table is not None
            accounts[name] = _account(table)
    if default is not None and default not in accounts and default_of is not None:
        raise default_of.error("default", f"there is no account {default!r}; known are {', '.join(accounts) or 'none'}.")
    return accounts, default


def load_policy(places: list[Path]) -> dict[str, Any]:
    """The `[policy]` of all config files that are there; of a key that two have, the later one wins. For `policy_to_phone`.

    Raises:
        ConfigurationError: with file, line and key.
    """
    policy: dict[str, Any] = {}
    for place in places:
        if place.is_file():
            top = read_toml(place)
            top.check_keys(_TOP_KEYS)
            policy |= policy_settings(top.table("policy"))
    return policy


def _account(table: Table) -> AccountOptions:
    table.check_keys(_ACCOUNT_KEYS)
    aor = table.text("aor")
    if aor is None:
        raise table.error(None, 'the address is missing: write, for example, aor = "sip:620@fritz.box".')
    password, password_file = table.text("password", secret=True), table.text("password_file")
    if password is not None and password_file is not None:
        raise table.error("password_file", "password and password_file exclude each other.")
    if password_file is not None:
        try:
            password = read_password(table.path.parent / Path(password_file).expanduser())
        except ConfigurationError as error:
            raise table.error("password_file", str(error)) from error
    listen = table.text("listen")
    return AccountOptions(
        aor=aor,
        password=password,
        auth_user=table.text("auth_user"),
        realm=table.text("realm"),
        registrar=table.text("registrar"),
        proxy=table.text("proxy"),
        display_name=table.text("display_name"),
        caller_id=table.text("caller_id"),
        identity_policy=table.choice("identity_policy", IDENTITY_POLICIES, "from") if "identity_policy" in table else None,
        transport=table.choice("transport", TRANSPORTS, "udp") if "transport" in table else None,
        tls_ca=table.file_path("tls_ca"),
        tls_certificate=table.file_path("tls_certificate"),
        tls_key=table.file_path("tls_key"),
        listen=(listen,) if listen is not None else (),
        codecs=table.texts("codecs"),
        reach=reach_settings(table),
        profile=profile_of(table),
        host=table.text("host"),
    )


def read_password(path: Path) -> str:
    """The first line of a file.

    Raises:
        ConfigurationError: it cannot be read, or the line is empty.
    """
    lines = read_settings_text(path).splitlines()
    if not lines or not lines[0]:
        raise ConfigurationError(f"{path}: is empty; its first line must be the password.")
    return lines[0]


def resolve_account(options: argparse.Namespace, places: list[Path] | None = None) -> AccountOptions:
    """What the flags, the environment and config.toml say together; the flags win.

    Raises:
        ConfigurationError: an account without that name, an unreadable file.
    """
    places = config_places() if places is None else places
    wanted: str | None = options.account
    profile: str | None = getattr(options, "profile", None)
    if wanted is not None and (profile is not None or "@" in wanted or ":" in wanted):
        account = AccountOptions(aor=wanted)
    else:
        accounts, default = load_accounts(places)
        name = wanted if wanted is not None else default
        if name is not None and name not in accounts:
            hint = f" The nearest is {nearest(name, accounts)!r}." if accounts else ""
            raise ConfigurationError(
                f"There is no account {name!r} in config.toml.{hint}", advice="Give --account sip:user@host, or write it into config.toml."
            )
        account = accounts[name] if name is not None else AccountOptions()
    changes: dict[str, Any] = {
        key: value
        for key in (
            "profile", "auth_user", "registrar", "proxy", "transport", "tls_ca", "tls_certificate", "tls_key", "display_name", "caller_id",
        )
        if (value := getattr(options, key, None)) is not None
    }
    changes["policy"] = tuple({**load_policy(places), **policy_flags(options)}.items())
    if options.listen:
        changes["listen"] = tuple(options.listen)
    told = {key: value for key in ("advertise", "stun_server", "outbound") if (value := getattr(options, key, None)) is not None}
    if told:
        changes["reach"] = tuple({**dict(account.reach), **told}.items())
    if options.codec:
        changes["codecs"] = tuple(options.codec)
    if options.password_file is not None:
        changes["password"] = read_password(Path(options.password_file).expanduser())
    elif os.environ.get("FLEXOSIP_PASSWORD"):
        changes["password"] = os.environ["FLEXOSIP_PASSWORD"]
    account = replace(account, **changes)
    if account.profile is not None and account.aor is None:
        raise ConfigurationError("--profile needs to know who we are there: give --account USER.")
    if account.aor is None and account.password is not None and options.password_file is None:
        # FLEXOSIP_PASSWORD may be set for other commands; a phone without an account needs none
        account = replace(account, password=None)
    return account


def create_phone(account: AccountOptions, **settings: Any) -> Phone:
    """The phone for an account; `settings` go to `Phone` where the account says nothing."""
    from flexosip import Phone

    told = {**settings, **_told(account)}
    if account.profile is None:
        return Phone(**told)
    return Phone.profile(account.profile, told.pop("aor"), told.pop("password"), host=account.host, **told)


def phone_settings(account: AccountOptions) -> dict[str, Any]:
    """The arguments of `Phone` that an account stands for, those of its profile among them."""
    told = _told(account)
    if account.profile is None:
        return told
    from flexosip.phone.profiles.profile import phone_arguments

    return phone_arguments(account.profile, told.pop("aor"), told.pop("password"), host=account.host, **told)


def _told(account: AccountOptions) -> dict[str, Any]:
    told: dict[str, Any] = {
        "aor": account.aor,
        "password": account.password,
        "auth_user": account.auth_user,
        "realm": account.realm,
        "registrar": account.registrar,
        "proxy": account.proxy,
        "display_name": account.display_name,
        "transport": account.transport,
        "tls_ca": account.tls_ca,
        "tls_certificate": account.tls_certificate,
        "tls_key": account.tls_key,
    }
    told |= policy_to_phone(dict(account.policy))
    if account.listen:
        told["listen"] = account.listen
    if account.codecs:
        told["codecs"] = account.codecs
    if account.caller_id is not None:
        told["caller_id"] = account.caller_id
    if account.reach:
        told["reach"] = reach_of(account.reach)
    if account.identity_policy is not None:
        told["identity_policy"] = account.identity_policy
    if account.profile is not None and account.reach:
        told["reach"] = profile_reach(account.profile, account.reach)
    return told
