"""The ways to a phone by profile: `Phone.fritzbox("bell", password=...)`. Both phones, the native and the blocking one, have them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from flexosip.phone.profiles.profile import Profile, phone_arguments

if TYPE_CHECKING:
    from flexosip.phone.credentials import Credentials

__all__ = ["ProfileVerbs"]

P = TypeVar("P", bound="ProfileVerbs")


class ProfileVerbs:
    """What a phone is made with, besides its constructor. All settings of `Phone` may be given, and win over the profile."""

    @classmethod
    def profile(cls: type[P], name: str | os.PathLike[str], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """A phone with an account at a server that a profile tells of.

        Args:
            name: of `profiles()`, or the path of a profile's file.
            user: the user name, number or whole address.
            settings: `host`, the server's own name or address; and all that `Phone` takes: it wins over the profile.

        Raises:
            ConfigurationError: no such profile, a mistake in it (with file and key), or an argument that cannot be used.
        """
        make: Any = cls
        arguments = phone_arguments(name, user, password, **settings)
        phone: P = make(arguments.pop("aor"), **arguments)
        return phone

    @staticmethod
    def profiles() -> tuple[str, ...]:
        """The names of all profiles, the user's own among them."""
        return Profile.names()

    @classmethod
    def fritzbox(cls: type[P], user: str, password: str | Credentials | None = None, *, host: str = "fritz.box", **settings: Any) -> P:
        """A phone of a FRITZ!Box: user name and password of a telephony device that was added there as "telephone (LAN/WLAN)"."""
        return cls.profile("fritzbox", user, password, host=host, **settings)

    @classmethod
    def telekom(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """A number of Deutsche Telekom: +49...; without a password as the guest of one's own line."""
        return cls.profile("telekom", user, password, **settings)

    @classmethod
    def sipgate(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """An account of sipgate: SIP-ID and SIP password."""
        return cls.profile("sipgate", user, password, **settings)

    @classmethod
    def easybell(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """An account of easybell: SIP user name and SIP password."""
        return cls.profile("easybell", user, password, **settings)

    @classmethod
    def one_and_one(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """A number of 1&1: 49..., without + and zeros."""
        return cls.profile("one_and_one", user, password, **settings)

    @classmethod
    def twilio_trunk(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """A Twilio Elastic SIP trunk: a number of it, and `host`, its termination domain. It does not register."""
        return cls.profile("twilio_trunk", user, password, **settings)

    @classmethod
    def telnyx_trunk(cls: type[P], user: str, password: str | Credentials | None = None, **settings: Any) -> P:
        """A Telnyx SIP connection with credentials."""
        return cls.profile("telnyx_trunk", user, password, **settings)

    @classmethod
    def asterisk(cls: type[P], user: str, password: str | Credentials | None = None, *, host: str, **settings: Any) -> P:
        """An extension of an Asterisk."""
        return cls.profile("asterisk", user, password, host=host, **settings)

    @classmethod
    def freeswitch(cls: type[P], user: str, password: str | Credentials | None = None, *, host: str, **settings: Any) -> P:
        """An extension of a FreeSWITCH."""
        return cls.profile("freeswitch", user, password, host=host, **settings)

    @classmethod
    def threecx(cls: type[P], user: str, password: str | Credentials | None = None, *, host: str, **settings: Any) -> P:
        """An extension of a 3CX; its "authentication ID" is `auth_user`."""
        return cls.profile("threecx", user, password, host=host, **settings)
