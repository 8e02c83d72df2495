"""The calls that pass through the PBX, as dialog state of its users: what a lamp (busy lamp field) shows, and what a pickup needs.

A proxy sees calls from outside: INVITE and its responses make a call, BYE ends it. Where no BYE ever comes, for both phones have died, the
lamp stays on until `_LONGEST` has passed without any request within the call.

RFC 4235
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flexosip.sip.dialog_info import WatchedDialog
from flexosip.sip.xml_body import xml_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.pbx.proxy import Target
    from flexosip.sansio import Scheduler, Timer
    from flexosip.sip.message import Request, Response

__all__ = ["PassingCall", "PassingCalls"]

_MOST_CALLS: Final = 2000
"""Calls that are watched; of more at once the oldest are forgotten."""
_MOST_TOLD: Final = 32
"""Calls of one user in a document."""
_LONGEST: Final = 12 * 3600.0


@dataclass(slots=True)
class _Called:
    """A phone that the call has been forked to."""

    user: str
    number: int
    state: str = "trying"
    tag: str | None = None


@dataclass(eq=False, slots=True)
class PassingCall:
    """One INVITE and the phones that it went to; `answered` and `over` are told by the proxy."""

    calls: PassingCalls
    request: Request
    caller: str
    phones: dict[Target, _Called] = field(default_factory=dict)
    confirmed: _Called | None = None
    timer: Timer | None = None

    @property
    def users(self) -> set[str]:
        """Whose lamps it concerns."""
        return {self.caller, *(called.user for called in self.phones.values())}

    def answered(self, target: Target, response: Response | None) -> None:
        """A phone has answered something other than 100; None: it never will."""
        called = self.phones.get(target)
        if called is None or self.confirmed is not None:
            return
        tag = response.to.tag if response is not None else None
        if response is None or response.status >= 300:
            del self.phones[target]
        elif response.status >= 200:
            called.state, called.tag = "confirmed", tag
            before = self.users
            self.confirmed, self.phones = called, {target: called}
            self.calls.changed(before)
            return
        elif tag is not None and (called.state, called.tag) != ("early", tag):
            called.state, called.tag = "early", tag
        else:
            return
        self.calls.changed({self.caller, called.user})

    def over(self, status: int) -> None:
        """The INVITE has its final response."""
        if status >= 300:
            self.calls.forget(self)

    def seen_from(self, user: str) -> list[WatchedDialog]:
        """Its dialogs in the view of `user`."""
        dialogs = [self._of_called(called) for called in self.phones.values() if called.user == user]
        if self.caller == user:
            furthest = self.confirmed or next((called for called in self.phones.values() if called.state == "early"), None)
            dialogs.append(self._of_caller(furthest))
        return dialogs

    def _of_called(self, called: _Called) -> WatchedDialog:
        request = self.request
        return WatchedDialog(
            id=f"{xml_text(request.call_id)}-{called.number}",
            state=called.state,
            direction="recipient",
            call_id=xml_text(request.call_id),
            local_tag=called.tag,
            remote_tag=request.from_.tag,
            local_uri=xml_text(str(request.to.uri)),
            remote_uri=xml_text(str(request.from_.uri)),
            remote_name=xml_text(request.from_.display_name) or None,
        )

    def _of_caller(self, furthest: _Called | None) -> WatchedDialog:
        request = self.request
        return WatchedDialog(
            id=f"{xml_text(request.call_id)}-0",
            state=furthest.state if furthest is not None else "trying",
            direction="initiator",
            call_id=xml_text(request.call_id),
            local_tag=request.from_.tag,
            remote_tag=furthest.tag if furthest is not None else None,
            local_uri=xml_text(str(request.from_.uri)),
            remote_uri=xml_text(str(request.to.uri)),
        )


class PassingCalls:
    """All calls that pass now.

    Args:
        scheduler: gives the time.
        tell: called with each user whose calls have changed.
    """

    def __init__(self, scheduler: Scheduler, tell: Callable[[str], None]) -> None:
        self._scheduler = scheduler
        self._tell = tell
        self._calls: dict[tuple[str, str], PassingCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, request: Request, caller: str, targets: tuple[tuple[str, Target], ...]) -> PassingCall:
        """An INVITE of the user `caller` goes to `targets`, each the user that it belongs to and where it goes."""
        call = PassingCall(self, request, caller)
        for number, (user, target) in enumerate(targets, 1):
            call.phones[target] = _Called(user, number)
        while len(self._calls) >= _MOST_CALLS:
            self.forget(next(iter(self._calls.values())))
        before = self._calls.pop(self._key(call), None)
        if before is not None and before.timer is not None:
            before.timer.cancel()  # the same call, with an answer to the called phone's challenge
        self._calls[self._key(call)] = call
        self._wait(call)
        self.changed(call.users)
        return call

    @staticmethod
    def _key(call: PassingCall) -> tuple[str, str]:
        return call.request.call_id, call.request.from_.tag or ""

    def find(self, request: Request) -> PassingCall | None:
        """The answered call that a request within a dialog belongs to."""
        ours, theirs = request.from_.tag or "", request.to.tag or ""
        for caller, called in ((ours, theirs), (theirs, ours)):
            call = self._calls.get((request.call_id, caller))
            if call is not None and call.confirmed is not None and call.confirmed.tag == called:
                return call
        return None

    def goes_on(self, call: PassingCall) -> None:
        """A request within it has passed."""
        self._wait(call)

    def _wait(self, call: PassingCall) -> None:
        if call.timer is not None:
            call.timer.cancel()
        call.timer = self._scheduler.call_later(_LONGEST, self.forget, call)

    def forget(self, call: PassingCall) -> None:
        """It is over; harmless twice."""
        if self._calls.get(self._key(call)) is not call:
            return
        del self._calls[self._key(call)]
        if call.timer is not None:
            call.timer.cancel()
        self.changed(call.users)

    def changed(self, users: set[str]) -> None:
        """Tell those who watch these users."""
        for user in sorted(users):
            self._tell(user)

    def of(self, user: str) -> tuple[WatchedDialog, ...]:
        """The calls of a user."""
        dialogs: list[WatchedDialog] = []
        for call in self._calls.values():
            if user in call.users:
                dialogs.extend(call.seen_from(user))
        return tuple(dialogs[:_MOST_TOLD])

    def close(self) -> None:
        """The PBX closes."""
        for call in self._calls.values():
            if call.timer is not None:
                call.timer.cancel()
        self._calls.clear()
