"""What happens to a phone and its calls, told through `Output` with the event names of the contract."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flexosip.cli.output import Output
from flexosip.phone import events

if TYPE_CHECKING:
    from flexosip import Account, Call, Phone
    from flexosip.phone.messaging.messages import Message

__all__ = ["PhoneReporter", "tell_addresses"]


class PhoneReporter:
    """Observes a phone.

    Args:
        phone: not started yet.
        hides_digits: tells of a Call-ID whether its keys must not be shown (a PIN).
    """

    def __init__(self, phone: Phone, output: Output, *, hides_digits: Callable[[str], bool] = lambda call_id: False) -> None:
        self._phone = phone
        self._output = output
        self._hides_digits = hides_digits
        self._registered: set[str] = set()
        self._failure: dict[str, str] = {}
        self._rung: deque[str] = deque(maxlen=100)
        phone.on_call_event(self._call_event)
        phone.on_registration(self._registration)

    async def start(self, *, for_callers: bool = False) -> None:
        """Start the phone, tell where it listens (people only if they are to call it) and wait until it is registered.

        Raises:
            NetworkError, AuthenticationError, RegistrationFailed: as `Phone.start`, but the phone is still to be closed.
        """
        await self._phone.start(wait_registered=False)
        self.listening(for_callers=for_callers)
        if any(account.register for account in self._phone.accounts):
            await self._phone.wait_registered()

    def listening(self, *, for_callers: bool) -> None:
        """Tell the addresses of the started phone."""
        tell_addresses(self._output, self._phone.addresses, for_people=for_callers)

    # ---- registration

    def _registration(self, account: Account, event: Any) -> None:
        aor = str(account.aor)
        if event.lost:
            failure = account.loss()
            self._output.event("registration_lost", None, aor=aor, explain=failure.explain() if failure is not None else event.reason)
        elif event.restored:
            self._output.event("registration_restored", f"Registered again as {aor}", aor=aor, expires=_expires(account, event))
        if account.registered:
            self._failure.pop(aor, None)
            if aor not in self._registered:
                self._registered.add(aor)
                expires = _expires(account, event)
                self._output.event("registered", f"Registered as {aor}", aor=aor, expires=expires)
            return
        failure = account.failure()
        if failure is not None:
            explain = failure.explain()
            # tried again and again, but told once
            if self._failure.get(aor) != explain:
                self._failure[aor] = explain
                status = getattr(failure, "status", None) or event.status or None
                self._output.event("registration_failed", None, aor=aor, status=status, explain=explain)
            self._registered.discard(aor)
        elif aor in self._registered:
            self._registered.discard(aor)
            self._output.event("unregistered", f"Unregistered {aor}", aor=aor)

    # ---- calls

    def incoming(self, call: Call) -> None:
        """Tell that somebody calls."""
        caller = str(call.remote.uri) if call.remote is not None else ""
        name = call.remote.display_name if call.remote is not None else ""
        words = f"Call from {caller}" + (f" ({name})" if name else "")
        self._output.event("incoming", words, **{"call_id": call.id, "from": caller, "display_name": name})

    def message(self, message: Message) -> None:
        """Tell a text message that came; to people in one line."""
        fields = {"from": str(message.from_.uri), "display_name": message.from_.display_name or "", "text": message.text}
        words = f"Message from {fields['from']}: {_one_line(message.text)}"
        call_id = message.call.id if message.call is not None else None
        self._output.event("message", words, content_type=message.content_type, call_id=call_id, **fields)

    def calling(self, target: str, call: Call | None = None) -> None:
        """Tell that we call."""
        fields = {"call_id": call.id} if call is not None and call.id else {}
        self._output.event("calling", f"Calling {target}", target=target, **fields)

    def has_rung(self, call: Call) -> bool:
        """Whether the other phone rang (of the latest calls)."""
        return call.id in self._rung

    def _call_event(self, call: Call, event: events.CallEvent) -> None:
        tell = _TELLERS.get(type(event))
        if tell is not None:
            tell(self, call, event)

    def _ringing(self, call: Call, event: events.Ringing) -> None:
        self._rung.append(call.id)
        self._output.event("ringing", "It rings", call_id=call.id, status=event.status)

    def _early_media(self, call: Call, event: events.EarlyMedia) -> None:
        self._output.event("early_media", "Sound before the answer", call_id=call.id, codec=event.codec)

    def _redirected(self, call: Call, event: events.Redirected) -> None:
        self._output.event("redirected", f"Sent on to {event.target}", call_id=call.id, target=event.target, status=event.status)

    def _answered(self, call: Call, event: events.Answered) -> None:
        self._output.event("answered", f"Answered ({event.codec})", call_id=call.id, codec=event.codec)

    def _digit(self, call: Call, event: events.DigitPressed) -> None:
        if not self._hides_digits(call.id):
            self._output.event("digit", f"Key {event.digit}", call_id=call.id, digit=event.digit, via=event.via)

    def _playing(self, call: Call, event: events.PlaybackStarted) -> None:
        self._output.event("playing", f"Playing {event.source}", call_id=call.id, source=event.source)

    def _played(self, call: Call, event: events.PlaybackFinished) -> None:
        seconds = round(event.position, 3)
        words = f"Played {event.source}" + ("" if event.completed else f" up to {seconds:.1f} s")
        self._output.event("played", words, call_id=call.id, source=event.source, seconds=seconds, completed=event.completed)

    def _recorded(self, call: Call, event: events.RecordingFinished) -> None:
        seconds = round(event.seconds, 3)
        self._output.event(
            "recorded", f"Recorded {seconds:.1f} s to {event.path}", call_id=call.id, path=event.path, seconds=seconds, error=event.error
        )

    def _held(self, call: Call, event: events.Held) -> None:
        self._output.event("held", "On hold", call_id=call.id)

    def _resumed(self, call: Call, event: events.Resumed) -> None:
        self._output.event("resumed", "No longer on hold", call_id=call.id)

    def _transferred(self, call: Call, event: events.Transferred) -> None:
        words = f"Transferred to {event.target}" + ("" if event.confirmed else " (not confirmed)")
        self._output.event(
            "transferred", words, call_id=call.id, target=event.target, status=event.status, confirmed=event.confirmed
        )

    def _transfer_requested(self, call: Call, event: events.TransferRequested) -> None:
        words = f"The other side transfers us to {event.target}"
        self._output.event(
            "transfer_requested", words, call_id=call.id, target=event.target, referred_by=event.referred_by, new_call_id=event.call.id
        )

    def _replaced(self, call: Call, event: events.Replaced) -> None:
        self._output.event("replaced", "Another phone goes on with the call", call_id=call.id, new_call_id=event.call.id)

    def _identity(self, call: Call, event: events.IdentityChanged) -> None:
        who = event.identity
        fields = {"number": who.number, "display_name": who.display_name, "asserted": who.asserted is not None}
        self._output.event("identity", f"Connected with {who}", call_id=call.id, **fields)

    def _silent(self, call: Call, event: events.MediaSilent) -> None:
        self._output.event("silent", f"Nothing heard for {event.seconds:.0f} s", call_id=call.id, seconds=event.seconds)

    def _ended(self, call: Call, event: events.Ended) -> None:
        end, duration = event.end, round(call.duration, 3)
        statistics = dataclasses.asdict(event.statistics) if event.statistics is not None else None
        self._output.event(
            "ended",
            f"Ended after {duration:.1f} s: {end}" if call.answered_at is not None else f"Ended: {end}",
            call_id=call.id,
            status=end.status,
            reason=end.reason,
            by=end.by,
            duration=duration,
            answered_elsewhere=end.answered_elsewhere,
            statistics=statistics,
        )


_TELLERS: dict[type, Callable[[PhoneReporter, Any, Any], None]] = {
    events.Ringing: PhoneReporter._ringing,
    events.EarlyMedia: PhoneReporter._early_media,
    events.Redirected: PhoneReporter._redirected,
    events.Answered: PhoneReporter._answered,
    events.DigitPressed: PhoneReporter._digit,
    events.PlaybackStarted: PhoneReporter._playing,
    events.PlaybackFinished: PhoneReporter._played,
    events.RecordingFinished: PhoneReporter._recorded,
    events.Held: PhoneReporter._held,
    events.Resumed: PhoneReporter._resumed,
    events.Transferred: PhoneReporter._transferred,
    events.TransferRequested: PhoneReporter._transfer_requested,
    events.Replaced: PhoneReporter._replaced,
    events.IdentityChanged: PhoneReporter._identity,
    events.MediaSilent: PhoneReporter._silent,
    events.Ended: PhoneReporter._ended,
}


def tell_addresses(output: Output, addresses: Iterable[str], *, for_people: bool) -> None:
    """Tell where somebody listens; an address is `udp:HOST:PORT`."""
    for listener in addresses:
        transport, _, address = listener.partition(":")
        words = f"Listening on {address} ({transport})" if for_people else None
        output.event("listening", words, address=address, transport=transport)


def _one_line(text: str) -> str:
    """What somebody else wrote, with control characters escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _expires(account: Account, event: Any) -> int:
    """Seconds that the registrar granted, as it told them; what we asked for where it told none."""
    granted = getattr(event, "expires", None) or getattr(account.registration, "expires", None) or account.expires
    return round(float(granted))
