"""What people dial, as the SIP URI that it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError, FlexosipError
from flexosip.phone.values import checked_text, shown
from flexosip.sip.uri import SipUri, TelUri, parse_uri

if TYPE_CHECKING:
    from flexosip.phone.account import Account

__all__ = ["target_uri"]


def target_uri(target: str | SipUri, account: Account | None) -> SipUri:
    """The SIP URI of a target: a SIP or tel URI, `user@host`, or a bare number in the account's domain.

    Raises:
        ConfigurationError: it means none.
    """
    if isinstance(target, SipUri):
        return target
    checked_text(target, "The target")
    text = target.strip()
    if not text:
        raise ConfigurationError("The target is empty. Give a number, user@host or a SIP URI.")
    scheme = text.split(":", 1)[0].lower()
    try:
        if scheme in ("sip", "sips", "tel"):
            uri = parse_uri(text)
            if isinstance(uri, TelUri):
                return _in_domain(uri.number, account, target)
            assert isinstance(uri, SipUri)
            return uri
        if "@" in text:
            user, host_port = text.rsplit("@", 1)
            at = SipUri.parse(f"sip:{host_port}")
            scheme = account.aor.scheme if account is not None and account.owns(at) else "sip"
            return SipUri.for_user(user, at.host, at.port, scheme=scheme, parameters=at.parameters)
    except ConfigurationError:
        raise
    except (ValueError, FlexosipError) as error:
        raise ConfigurationError(f"The target {shown(target)!r} cannot be called: {str(error).rstrip('.')}.") from error
    if "://" in text:
        raise ConfigurationError(
            f"The target {shown(target)!r} is no telephone's address.", advice="Give a number, user@host, sip:user@host or tel:+49..."
        )
    return _in_domain(text, account, target)


def _in_domain(user: str, account: Account | None, target: str) -> SipUri:
    if account is None:
        raise ConfigurationError(f"The target {shown(target)!r} needs a host, since this phone has no account. Write {shown(user)}@HOST.")
    return account.server_rules.target(user, account)
