"""Presence of a phone's account, published at its server (RFC 3903)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError, FlexosipError, InvalidState, PublicationFailed
from flexosip.phone.account import lacks_credentials
from flexosip.phone.messaging.outside import failure, route_to
from flexosip.phone.values import checked_text
from flexosip.sip.event_headers import Event
from flexosip.sip.presence import PIDF, Presence
from flexosip.sip.publication import Publication, PublicationChange, PublicationState

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone

__all__ = ["PresencePublication", "Publications", "presence_of"]

logger = logging.getLogger(__name__)


def presence_of(entity: str, state: bool | Presence, note: str | None, activity: str | None) -> Presence:
    """The presence that a program describes.

    Raises:
        ConfigurationError: an activity is no word, or a control character is in the note.
    """
    if isinstance(state, Presence):
        return state
    if note is not None:
        checked_text(note, "The note")
    try:
        return Presence.simple(entity, state, note=note, activity=activity)
    except ValueError as error:
        raise ConfigurationError(f"activity={activity!r}: {error}") from error


class PresencePublication:
    """The presence of one account at its server, made by `Phone.publish_presence`; it is renewed until it is removed."""

    def __init__(self, phone: Phone, account: Account, expires: int) -> None:
        self.account = account
        self._phone = phone
        self._changed: asyncio.Future[None] | None = None
        self._failure: FlexosipError | None = None
        route = route_to(phone, account.aor, account)
        self._machine = Publication(
            phone.core,
            target=route.uri,
            next_hop=route.hop,
            event=Event("presence"),
            from_=route.identity,
            auth=route.auth,
            expires=expires,
            headers=phone.standard_headers,
            routes=lambda: account.route,
            on_change=self._on_change,
        )

    def __repr__(self) -> str:
        return f"<PresencePublication {self.account.aor} {self.state}>"

    @property
    def state(self) -> str:
        """`idle`, `publishing`, `published`, `waiting` (for the next try), `removing` or `refused`."""
        return str(self._machine.state)

    @property
    def failure(self) -> FlexosipError | None:
        """Why the latest try has failed; None while it is well."""
        return self._failure

    async def update(self, state: bool | Presence, *, note: str | None = None, activity: str | None = None) -> None:
        """Publish another state and wait until the server has it; see `Phone.publish_presence`."""
        presence = presence_of(str(self.account.aor), state, note, activity)
        self._failure = None
        self._machine.publish(bytes(presence), PIDF)
        while self.state != "published":
            if self._failure is not None:
                raise self._failure
            if self.state in ("idle", "removing"):
                raise InvalidState("The presence was removed meanwhile.")
            await self._change()

    async def remove(self, timeout: float = 2.0) -> None:
        """Take it away; returns when the server has answered, or after `timeout` seconds."""
        self._machine.remove()
        try:
            async with asyncio.timeout(timeout):
                while self.state != "idle":
                    await self._change()
        except TimeoutError:
            logger.info("the presence of %s is removed without waiting longer", self.account.aor)

    async def _change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._phone.loop.create_future()
        await asyncio.wait((self._changed,))

    def _on_change(self, change: PublicationChange) -> None:
        if change.state in (PublicationState.WAITING, PublicationState.REFUSED):
            what = f"The presence of {self.account.aor}"
            self._failure = failure(
                PublicationFailed,
                what,
                change.status,
                change.reason,
                answered=change.answered,
                error=change.error,
                lacks=lacks_credentials(self.account),
            )
        else:
            self._failure = None
        self.wake()

    def wake(self) -> None:
        """Something has changed."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def stop(self) -> None:
        """The phone closes: take it away; whoever closes waits for the answer."""
        self._machine.remove()

    def drop(self) -> None:
        """The phone is closed."""
        self._machine.drop()
        self.wake()


class Publications:
    """The publications of one phone, one an account."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._all: dict[Account, PresencePublication] = {}

    async def publish(
        self, state: bool | Presence, note: str | None, activity: str | None, expires: float, account: Account | str | None
    ) -> PresencePublication:
        """See `Phone.publish_presence`."""
        chosen = self._phone.find_account(account)
        if chosen is None:
            raise InvalidState("publish_presence(): this phone has no account whose server could tell its presence.")
        if not 1 <= expires <= 2**31:
            raise ConfigurationError(f"expires={expires}: presence is published for 1 or more seconds.")
        presence_of(str(chosen.aor), state, note, activity)
        publication = self._all.get(chosen)
        if publication is None:
            publication = self._all[chosen] = PresencePublication(self._phone, chosen, int(expires))
        try:
            await publication.update(state, note=note, activity=activity)
        except FlexosipError:
            # It is told; going on in the background would surprise.
            if self._all.get(chosen) is publication:
                del self._all[chosen]
            publication.drop()
            raise
        return publication

    def stop_all(self) -> None:
        """The phone closes."""
        for publication in self._all.values():
            publication.stop()

    def drop_all(self) -> None:
        """The phone is closed."""
        for publication in list(self._all.values()):
            publication.drop()
        self._all.clear()
