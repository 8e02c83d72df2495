"""What happens to a call: its states, its end, and the events that `Call.events()` yields."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.sip.reason import cause_of_status

if TYPE_CHECKING:
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.call import Call
    from flexosip.sip.identity import Identity

__all__ = [
    "Answered",
    "CallEnd",
    "CallEvent",
    "CallState",
    "DigitHeld",
    "DigitPressed",
    "EarlyMedia",
    "Ended",
    "Held",
    "IdentityChanged",
    "InfoReceived",
    "MediaSilent",
    "PlaybackFinished",
    "PlaybackStarted",
    "RecordingFinished",
    "Redirected",
    "Replaced",
    "Resumed",
    "Ringing",
    "TransferProgress",
    "TransferRequested",
    "Transferred",
]


class CallState(enum.StrEnum):
    """Where a call stands."""

    NEW = "new"
    """Made by `phone.call`, not dialled yet."""
    CALLING = "calling"
    """Outgoing: the INVITE is out. Incoming: it has arrived and nobody has reacted yet."""
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended."""

    by: str
    """`local` we ended it, `remote` the other side did, `timeout` somebody did not answer a protocol message, `error` network or media."""
    status: int
    """SIP status: 200 for a normal hang-up, 487 cancelled, the final status of a refused call, 408 and 503 for our own time-outs."""
    reason: str
    """The reason phrase or the text of a Reason header (RFC 3326)."""
    q850_cause: int | None = None
    """ISDN cause of a Reason header, for example 16 normal clearing, 17 busy (ITU-T Q.850)."""
    answered_elsewhere: bool = False
    """True when another phone took the call (Reason: SIP;cause=200, RFC 3326 §3.1)."""

    @property
    def q850(self) -> int | None:
        """The ISDN cause that was told, or else the one that the status stands for (RFC 3398); None for a cancelled call."""
        return self.q850_cause if self.q850_cause is not None else cause_of_status(self.status)

    def __str__(self) -> str:
        who = {"local": "we hung up", "remote": "the other side hung up", "timeout": "no reply in time", "error": "an error"}.get(
            self.by, self.by
        )
        if self.answered_elsewhere:
            return "answered elsewhere"
        if self.status in (200, 0):
            return who
        text = f"{self.status} {self.reason}".strip()
        # A final refusal speaks for itself; a cancelled call does not tell by whom.
        return f"{text} ({who})" if self.status == 487 or self.by in ("timeout", "error") else text


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Base of the events of a call."""

    at: float
    """Seconds of the phone's clock (monotonic)."""


@dataclass(frozen=True, slots=True)
class Ringing(CallEvent):
    """The other phone rings (180), or ours does."""

    status: int = 180


@dataclass(frozen=True, slots=True)
class EarlyMedia(CallEvent):
    """Sound before the answer: an announcement or the network's ringback (RFC 3960)."""

    codec: str
    direction: str = "sendrecv"
    """What the network authorises (P-Early-Media, RFC 5009), seen from the other side: `sendonly`, for example, is heard only, at
    `inactive` there is nothing to hear and the caller's phone should make its own ringing tone."""


@dataclass(frozen=True, slots=True)
class Redirected(CallEvent):
    """Outgoing: the other side named another address (3xx), and that is called now."""

    target: str
    status: int


@dataclass(frozen=True, slots=True)
class Answered(CallEvent):
    """The call is up."""

    codec: str


@dataclass(frozen=True, slots=True)
class DigitHeld(CallEvent):
    """The other side holds a key down now, as its RTP tells; `DigitPressed` follows when it is let go, and says how long it was held."""

    digit: str


@dataclass(frozen=True, slots=True)
class DigitPressed(CallEvent):
    """The other side pressed a key; one event a press, however it was sent. The end of `DigitHeld`, where there was one."""

    digit: str
    via: str
    """`rfc4733`, `info` or `inband`."""
    duration: float | None = None
    """Seconds that it was held, where that is told."""


@dataclass(frozen=True, slots=True)
class PlaybackStarted(CallEvent):
    """The first packet of a sound has left."""

    source: str


@dataclass(frozen=True, slots=True)
class PlaybackFinished(CallEvent):
    """A sound is over."""

    source: str
    position: float
    """Seconds that were really sent."""
    completed: bool


@dataclass(frozen=True, slots=True)
class RecordingFinished(CallEvent):
    """A recording is closed; `error` tells why it could not be completed."""

    path: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Held(CallEvent):
    """The other side put us on hold."""


@dataclass(frozen=True, slots=True)
class Resumed(CallEvent):
    """The other side took us off hold."""


@dataclass(frozen=True, slots=True)
class IdentityChanged(CallEvent):
    """Somebody else is at the other end now, or it is known better who (RFC 4916, P-Asserted-Identity): `call.identity`."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class InfoReceived(CallEvent):
    """The other side sent an INFO that is no digit (RFC 6086)."""

    package: str | None
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class MediaSilent(CallEvent):
    """Nothing has arrived from the other side for `seconds`; an answered call is ended with that (`Phone(media_timeout=)`)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TransferProgress(CallEvent):
    """We transfer this call, and the other side tells how its call to the target stands: 100 trying, 180 ringing (RFC 3515)."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Transferred(CallEvent):
    """We have transferred this call: the other side talks to `target`; `Ended` follows."""

    target: str
    status: int
    """200: the target has answered. 202: the other side took the order and hung up without telling more, so it is probably done."""
    confirmed: bool
    """True if the other side told that the target has answered."""


@dataclass(frozen=True, slots=True)
class TransferRequested(CallEvent):
    """The other side has transferred us, and we follow: `call` rings `target` now."""

    target: str
    referred_by: str | None
    """Who sends us there, as it claims (RFC 3892)."""
    call: Call


@dataclass(frozen=True, slots=True)
class Replaced(CallEvent):
    """Another phone has taken our peer's place (RFC 3891): the conversation goes on in `call`, this one ends."""

    call: Call


@dataclass(frozen=True, slots=True)
class Ended(CallEvent):
    """The call is over; the last event."""

    end: CallEnd
    statistics: MediaStatistics | None = None
