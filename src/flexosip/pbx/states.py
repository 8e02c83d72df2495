"""States that the PBX itself tells its users: who waits on the voice mail, who is reachable, and who is called or speaks.

A subscription to `message-summary`, `presence` or `dialog` of a user ends here; any other goes on to the user's phones.
Presence is what the user's phones have published (RFC 3903), else whether one is registered.

RFC 6665 §4.2, RFC 3903 §6, RFC 3842, RFC 3856
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flexosip.pbx.calls import PassingCalls
from flexosip.sip.dialog_info import DIALOG_INFO, DialogInfo
from flexosip.sip.event_headers import Event
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, new_request
from flexosip.sip.message_summary import MESSAGE_SUMMARY, MessageSummary
from flexosip.sip.outgoing_request import estimated_size
from flexosip.sip.presence import PIDF, Presence
from flexosip.sip.subscription_notifier import NotifierSubscription
from flexosip.sip.transaction import TransactionFailure
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from flexosip.pbx.location import Binding
    from flexosip.sansio import Scheduler, Timer
    from flexosip.sip.agent import DialogUsage
    from flexosip.sip.dialog import Dialog, DialogId
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.stack import SipStack

__all__ = ["UserStates"]

_TYPES: Final = {"dialog": DIALOG_INFO, "message-summary": MESSAGE_SUMMARY, "presence": PIDF}
_LEAST: Final = 60
_USUAL: Final = 3600
_MOST_PUBLISHED: Final = 8
"""States a user, one for each phone that publishes."""
_MOST_SUBSCRIPTIONS: Final = 1000

Locate = Callable[[SipUri, int, "Flow | None", "Callable[[Flow | None, Exception | None], None]"], None]


@dataclass(slots=True)
class _Published:
    presence: Presence
    timer: Timer


class UserStates:
    """Subscriptions to states of the users, and what was published.

    Args:
        stack: the transactions. locate: finds the flow to a next hop.
        contact: the PBX itself, as seen over a flow.
        domain: of the users. bindings: the phones of a user.
    """

    def __init__(
        self, stack: SipStack, locate: Locate, *, contact: Callable[[Flow], NameAddr], domain: str, bindings: Callable[[str], list[Binding]]
    ) -> None:
        self.dialogs: dict[DialogId, DialogUsage] = {}
        self._stack = stack
        self._locate = locate
        self._contact = contact
        self._bindings = bindings
        self._domain = domain
        self._summaries: dict[str, MessageSummary] = {}
        self._published: dict[str, dict[str, _Published]] = {}
        self._subscriptions: dict[NotifierSubscription, tuple[str, str]] = {}
        self._versions: dict[NotifierSubscription, int] = {}
        self.calls = PassingCalls(stack.scheduler, lambda user: self._tell_all("dialog", user))
        """The calls of the users, for lamps."""

    # -- what a notifier's machine needs ------------------------------------------------------------------------------

    @property
    def scheduler(self) -> Scheduler:
        """The stack's."""
        return self._stack.scheduler

    def contact_value(self, flow: Flow, request: Request | None = None) -> NameAddr:
        """The PBX as seen over `flow`."""
        return self._contact(flow)

    def send_in_dialog(
        self,
        dialog: Dialog,
        request: Request,
        *,
        auth: DigestClient | None,
        on_final: Callable[[Result], None],
        flow: Flow | None,
        trusted: str | None,
    ) -> None:
        """Send a NOTIFY; phones that challenge their own PBX are told no secret."""

        def located(found: Flow | None, error: Exception | None) -> None:
            if found is None:
                on_final(TransactionFailure(503, str(error), error))
                return
            self._stack.send_request(
                request, found, on_response=lambda response: on_final(response) if response.status >= 200 else None, on_failure=on_final
            )

        if flow is not None and flow.reliable and flow.alive:
            # The connection that the phone itself has opened; none can be opened to one behind NAT.
            located(flow, None)
        else:
            self._locate(dialog.next_hop, estimated_size(request), flow, located)

    # -- requests -----------------------------------------------------------------------------------------------------

    def receive_within(self, request: Request, transaction: ServerTransaction) -> bool:
        """A request in the dialog of a subscription; False if there is none."""
        usage = self.dialogs.get((request.call_id, request.to.tag or "", request.from_.tag or ""))
        dialog = usage.find_dialog(request.from_.tag or "") if usage is not None else None
        if usage is None or dialog is None:
            return False
        if dialog.receive_request(request):
            usage.receive_request(request, transaction)
        else:
            transaction.respond(request.create_response(500, "CSeq out of order"))
        return True

    def receive(self, request: Request, transaction: ServerTransaction, sender: str, user: str) -> bool:
        """A SUBSCRIBE or PUBLISH of the user `sender` about `user`; False if it is for the phones of `user`.

        Raises:
            SipParseError: it is malformed.
        """
        if request.method not in ("SUBSCRIBE", "PUBLISH"):
            return False
        event = Event.of(request.headers)
        if request.method == "PUBLISH":
            if event is None or event.package != "presence":
                transaction.respond(request.create_response(489, headers=(("Allow-Events", "presence"),)))
            elif sender != user:
                transaction.respond(request.create_response(403, "Not Your Presence"))
            else:
                self._publish(request, transaction, user)
            return True
        if event is None or event.package not in _TYPES:
            return False
        if event.package == "message-summary" and sender != user:
            transaction.respond(request.create_response(403, "Not Your Mailbox"))
        elif len(self._subscriptions) >= _MOST_SUBSCRIPTIONS:
            transaction.respond(request.create_response(503, headers=(("Retry-After", "60"),)))
        else:
            self._subscribe(request, transaction, event, user)
        return True

    def _subscribe(self, request: Request, transaction: ServerTransaction, event: Event, user: str) -> None:
        subscription = NotifierSubscription(self, request, transaction, event)
        self._subscriptions[subscription] = (event.package, user)
        subscription.on_over = lambda reason: self._forget(subscription)
        subscription.on_refresh = lambda: self._tell(subscription)
        self._tell(subscription)

    def _forget(self, subscription: NotifierSubscription) -> None:
        self._subscriptions.pop(subscription, None)
        self._versions.pop(subscription, None)

    def _tell(self, subscription: NotifierSubscription) -> None:
        package, user = self._subscriptions[subscription]
        subscription.notify(bytes(self._state(subscription, package, user)), _TYPES[package])

    def _state(self, subscription: NotifierSubscription, package: str, user: str) -> Presence | MessageSummary | DialogInfo:
        if package == "presence":
            return self._presence(user)
        if package == "message-summary":
            return self._summaries.get(user, MessageSummary(False))
        version = self._versions.get(subscription, -1) + 1
        self._versions[subscription] = version
        return DialogInfo(str(SipUri.for_user(user, self._domain)), version, True, self.calls.of(user))

    def _tell_all(self, package: str, user: str) -> None:
        for subscription, about in list(self._subscriptions.items()):
            if about == (package, user) and not subscription.over:
                self._tell(subscription)

    # -- states -------------------------------------------------------------------------------------------------------

    def set_messages(self, user: str, summary: MessageSummary) -> None:
        """What waits in the mailbox of `user`: those who have subscribed are told, else the user's phones without having asked."""
        self._summaries[user] = summary
        self._tell_all("message-summary", user)
        if ("message-summary", user) not in self._subscriptions.values():
            for binding in self._bindings(user):
                self._tell_unasked(user, binding, summary)

    def _tell_unasked(self, user: str, binding: Binding, summary: MessageSummary) -> None:
        """A NOTIFY outside of any dialog, as many a PBX sends it; phones that do not like it refuse it."""
        whose = SipUri.for_user(user, self._domain)
        stack = self._stack
        request = new_request(
            "NOTIFY",
            replace(binding.uri, headers=None),
            from_=NameAddr(whose).with_tag(stack.new_tag()),
            to=NameAddr(whose),
            call_id=stack.new_call_id(),
            cseq=1,
            headers=(("Event", "message-summary"), ("Subscription-State", "active")),
            body=bytes(summary),
            content_type=MESSAGE_SUMMARY,
        )

        def located(flow: Flow | None, error: Exception | None) -> None:
            if flow is not None:
                request.headers.set("Contact", str(self._contact(flow)))
                stack.send_request(request, flow, on_response=lambda response: None, on_failure=lambda failure: None)

        if binding.flow.alive:
            located(binding.flow, None)
        else:
            self._locate(binding.uri, estimated_size(request), None, located)

    def registration_changed(self, user: str) -> None:
        """A phone of `user` came or went."""
        if user not in self._published:
            self._tell_all("presence", user)

    def presence_of(self, user: str) -> Presence:
        """What those who subscribe are told of `user`."""
        return self._presence(user)

    def _presence(self, user: str) -> Presence:
        published = self._published.get(user)
        if published:
            return next(reversed(published.values())).presence
        return Presence.simple(str(SipUri.for_user(user, self._domain)), bool(self._bindings(user)))

    def _publish(self, request: Request, transaction: ServerTransaction, user: str) -> None:
        """RFC 3903 §6 steps 3 to 6."""
        published = self._published.get(user, {})
        etag = request.headers.get("SIP-If-Match")
        known = published.get(etag) if etag is not None else None
        if etag is not None and known is None:
            transaction.respond(request.create_response(412))
            return
        asked = request.expires
        expires = _USUAL if asked is None else min(asked, 86400)
        if 0 < expires < _LEAST:
            transaction.respond(request.create_response(423, headers=(("Min-Expires", str(_LEAST)),)))
            return
        if request.body and request.content_type != PIDF:
            transaction.respond(request.create_response(415, headers=(("Accept", PIDF),)))
            return
        presence = Presence.parse(request.body) if request.body else known.presence if known is not None else None
        if presence is None:
            transaction.respond(request.create_response(400, "Nothing To Publish"))
            return
        if known is not None:
            known.timer.cancel()
            del published[etag or ""]
        fresh = self._stack.new_tag()
        if expires:
            while len(published) >= _MOST_PUBLISHED:
                published.pop(next(iter(published))).timer.cancel()
            published[fresh] = _Published(presence, self.scheduler.call_later(expires, self._expired, user, fresh))
            self._published[user] = published
        elif not published:
            self._published.pop(user, None)
        transaction.respond(request.create_response(200, headers=(("SIP-ETag", fresh), ("Expires", str(expires)))))
        if known is None or request.body or not expires:
            self._tell_all("presence", user)

    def _expired(self, user: str, etag: str) -> None:
        published = self._published.get(user, {})
        published.pop(etag, None)
        if not published:
            self._published.pop(user, None)
        self._tell_all("presence", user)

    def close(self) -> None:
        """The PBX closes; subscribers find out when they refresh."""
        for subscription in list(self._subscriptions):
            subscription.drop()
        for published in self._published.values():
            for item in published.values():
                item.timer.cancel()
        self._subscriptions.clear()
        self._versions.clear()
        self.calls.close()
        self._published.clear()
