"""Telephony for everything: a SIP phone in five lines.

    from flexosip import Phone

    async with Phone("sip:bell@fritz.box", password="SECRET") as phone:
        async with phone.call("**9", ring_timeout=20) as call:
            await call.play("hello.wav")

Every name is imported when it is first used, so `import flexosip` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.audio.sources import Pcm as Pcm
    from flexosip.audio.sources import Tone as Tone
    from flexosip.errors import AuthenticationError as AuthenticationError
    from flexosip.errors import Busy as Busy
    from flexosip.errors import CallBarred as CallBarred
    from flexosip.errors import CallEnded as CallEnded
    from flexosip.errors import CallFailed as CallFailed
    from flexosip.errors import CallReplaced as CallReplaced
    from flexosip.errors import CertificateError as CertificateError
    from flexosip.errors import CodecError as CodecError
    from flexosip.errors import ConfigurationError as ConfigurationError
    from flexosip.errors import Declined as Declined
    from flexosip.errors import FlexosipError as FlexosipError
    from flexosip.errors import InvalidState as InvalidState
    from flexosip.errors import LocalProtocolError as LocalProtocolError
    from flexosip.errors import MediaError as MediaError
    from flexosip.errors import MediaTimeout as MediaTimeout
    from flexosip.errors import MessageFailed as MessageFailed
    from flexosip.errors import MissingExtra as MissingExtra
    from flexosip.errors import NetworkError as NetworkError
    from flexosip.errors import NoAnswer as NoAnswer
    from flexosip.errors import NotFound as NotFound
    from flexosip.errors import OptionsFailed as OptionsFailed
    from flexosip.errors import ProtocolError as ProtocolError
    from flexosip.errors import PublicationFailed as PublicationFailed
    from flexosip.errors import RegistrationFailed as RegistrationFailed
    from flexosip.errors import RemoteProtocolError as RemoteProtocolError
    from flexosip.errors import RequestFailed as RequestFailed
    from flexosip.errors import ServerUnreachable as ServerUnreachable
    from flexosip.errors import SubscriptionFailed as SubscriptionFailed
    from flexosip.errors import TransferRefused as TransferRefused
    from flexosip.errors import TransferTimeout as TransferTimeout
    from flexosip.errors import Unavailable as Unavailable
    from flexosip.ivr.collect import Digits as Digits
    from flexosip.net.tls import TlsSettings as TlsSettings
    from flexosip.phone.account import Account as Account
    from flexosip.phone.availability import Availability as Availability
    from flexosip.phone.call import Call as Call
    from flexosip.phone.connectivity.reach import Reach as Reach
    from flexosip.phone.credentials import Credentials as Credentials
    from flexosip.phone.dialling.caller_id import IdentityPolicy as IdentityPolicy
    from flexosip.phone.dialling.ring_group import Confirmation as Confirmation
    from flexosip.phone.events import CallEnd as CallEnd
    from flexosip.phone.media.playback import Playback as Playback
    from flexosip.phone.phone import Phone as Phone
    from flexosip.phone.phone import RingResult as RingResult
    from flexosip.phone.policy.call_policy import CallPolicy as CallPolicy
    from flexosip.phone.policy.callers import Callers as Callers
    from flexosip.phone.policy.limits import Limits as Limits
    from flexosip.phone.profiles.profile import Profile as Profile
    from flexosip.phone.transfer.transfer_values import ReplaceRequest as ReplaceRequest
    from flexosip.phone.transfer.transfer_values import TransferRequest as TransferRequest
    from flexosip.phone.transfer.transfer_values import TransferResult as TransferResult
    from flexosip.sip.replaces import Replaces as Replaces

__version__ = "0.1.0"

_HOMES = {
    "flexosip.audio.sources": ("Pcm", "Tone"),
    "flexosip.errors": (
        "AuthenticationError",
        "Busy",
        "CallBarred",
        "CallEnded",
        "CallFailed",
        "CallReplaced",
        "CertificateError",
        "CodecError",
        "ConfigurationError",
        "Declined",
        "FlexosipError",
        "InvalidState",
        "LocalProtocolError",
        "MediaError",
        "MediaTimeout",
        "MessageFailed",
        "MissingExtra",
        "NetworkError",
        "NoAnswer",
        "NotFound",
        "OptionsFailed",
        "ProtocolError",
        "PublicationFailed",
        "RegistrationFailed",
        "RemoteProtocolError",
        "RequestFailed",
        "ServerUnreachable",
        "SubscriptionFailed",
        "TransferRefused",
        "TransferTimeout",
        "Unavailable",
    ),
    "flexosip.ivr.collect": ("Digits",),
    "flexosip.net.tls": ("TlsSettings",),
    "flexosip.phone.profiles.profile": ("Profile",),
    "flexosip.phone.connectivity.reach": ("Reach",),
    "flexosip.phone.account": ("Account",),
    "flexosip.phone.availability": ("Availability",),
    "flexosip.phone.call": ("Call",),
    "flexosip.phone.dialling.caller_id": ("IdentityPolicy",),
    "flexosip.phone.policy.call_policy": ("CallPolicy",),
    "flexosip.phone.policy.callers": ("Callers",),
    "flexosip.phone.credentials": ("Credentials",),
    "flexosip.phone.events": ("CallEnd",),
    "flexosip.phone.policy.limits": ("Limits",),
    "flexosip.phone.phone": ("Phone", "RingResult"),
    "flexosip.phone.media.playback": ("Playback",),
    "flexosip.phone.dialling.ring_group": ("Confirmation",),
    "flexosip.phone.transfer.transfer_values": ("ReplaceRequest", "TransferRequest", "TransferResult"),
    "flexosip.sip.replaces": ("Replaces",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'flexosip' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
