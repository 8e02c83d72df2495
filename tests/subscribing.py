"""A subscription on a user agent core and the notifier's side of it, written message by message."""

from __future__ import annotations

from flexosip.sip.digest import DigestClient
from flexosip.sip.event_headers import Event
from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.subscription import Notify, Subscription, SubscriptionChange
from flexosip.sip.subscription_notifier import NotifierSubscription
from flexosip.sip.uri import SipUri
from tests.sip_agent import Agent
from tests.sip_wire import request

__all__ = ["Subscribed", "Watched"]


class Subscribed(Agent):
    """An agent that follows the messages of sip:box@example.com."""

    def __init__(self, *, expires: int = 3600, auth: DigestClient | None = None) -> None:
        super().__init__()
        self.core.extra_methods = frozenset({"NOTIFY"})
        self.notifies: list[Notify] = []
        self.changes: list[SubscriptionChange] = []
        self.unreadable = False
        self.cseq = 0
        self.done = 0
        self.subscription = Subscription(
            self.core,
            target=SipUri.parse("sip:box@example.com"),
            next_hop=SipUri.parse("sip:192.0.2.2"),
            event=Event("message-summary"),
            from_=NameAddr.parse("<sip:us@192.0.2.1>"),
            contact=self.contact,
            auth=auth,
            expires=expires,
            headers=(("Accept", "application/simple-message-summary"),),
            on_notify=self._on_notify,
            on_change=self.changes.append,
        )
        self.subscription.start()
        self.subscribe = self.wire.take_request("SUBSCRIBE")

    def _on_notify(self, notify: Notify) -> None:
        self.notifies.append(notify)
        if self.unreadable:
            raise SipParseError("Malformed")

    def stop(self) -> None:
        self.subscription.stop(self._on_done)

    def _on_done(self) -> None:
        self.done += 1

    def ok(self, *, expires: int | None = 3600, tag: str = "remote", to: Request | None = None, status: int = 200) -> None:
        """Answer a SUBSCRIBE, the first unless told otherwise."""
        headers = [("Contact", "<sip:notifier@192.0.2.2:5060>")]
        if expires is not None:
            headers.append(("Expires", str(expires)))
        self.reply(to or self.subscribe, status, tag=tag, headers=tuple(headers))

    def notify(
        self,
        state: str | None = "active;expires=3600",
        *,
        tag: str = "remote",
        event: str | None = "message-summary",
        to: Request | None = None,
        cseq: int | None = None,
    ) -> int:
        """A NOTIFY; the status of the answer to it."""
        subscribe = to or self.subscribe
        self.cseq += 1
        headers = [("Contact", "<sip:notifier@192.0.2.2:5060>")]
        headers += [(name, value) for name, value in (("Event", event), ("Subscription-State", state)) if value is not None]
        self.receive(
            request(
                "NOTIFY",
                branch=f"z9hG4bKn{self.cseq}",
                from_tag=tag,
                to_tag=subscribe.from_.tag,
                call_id=subscribe.call_id,
                cseq=cseq or self.cseq,
                headers=tuple(headers),
            )
        )
        answers = [message for message in self.wire.take() if not isinstance(message, Request)]
        assert len(answers) == 1
        return int(answers[0].start_line.split()[1])

    def active(self) -> Subscribed:
        """Bring it up."""
        self.ok()
        assert self.notify() == 200
        return self

    @property
    def phase(self) -> str:
        return str(self.subscription.phase)

    def next_subscribe(self, within: float) -> Request:
        """The next SUBSCRIBE; time stops where it is sent."""
        scheduler = self.wire.scheduler
        end = scheduler.now + within
        while (due := scheduler.next_timeout()) is not None and due <= end:
            scheduler.handle_timeout(due)
            sent = self.wire.take()
            if sent:
                (message,) = sent
                assert isinstance(message, Request) and message.method == "SUBSCRIBE"
                return message
        raise AssertionError(f"no SUBSCRIBE within {within} s")

    def nothing_left(self) -> None:
        """No dialog, timer or transaction is left when all time-outs have passed."""
        self.wire.advance(70)
        assert not self.core.dialogs and not self.core.half_dialogs
        assert self.wire.scheduler.pending == 0
        assert not self.core.stack.statistics().client_transactions


class Watched(Agent):
    """An agent with a state that the peer subscribes to; `decide` is called with each new subscription."""

    def __init__(self, decide: object = None, **limits: int) -> None:
        super().__init__()
        self.subscriptions: list[NotifierSubscription] = []
        self.ends: list[str] = []
        self.decide = decide
        self.limits = limits
        self.sent = 0
        self.core.extra_methods = frozenset({"SUBSCRIBE", "NOTIFY"})
        self.core.on_other = self._on_other

    def _on_other(self, received: Request, transaction: ServerTransaction) -> bool:
        event = Event.of(received.headers)
        assert event is not None
        subscription = NotifierSubscription(self.core, received, transaction, event, **self.limits)
        subscription.on_over = self.ends.append
        self.subscriptions.append(subscription)
        if callable(self.decide):
            self.decide(subscription)
        else:
            subscription.accept(b"state", "text/plain")
        return True

    def ask(self, expires: int | None = 3600, *, event: str = "dialog", within: bool = False, tag: str = "peertag", cseq: int = 0) -> None:
        """A SUBSCRIBE of the peer, the first or, `within`, one in the dialog of the latest."""
        self.sent += 1
        headers = [("Event", event)]
        if expires is not None:
            headers.append(("Expires", str(expires)))
        self.receive(
            request(
                "SUBSCRIBE",
                branch=f"z9hG4bKs{self.sent}",
                from_tag=tag,
                to_tag=self.subscriptions[-1].dialog.local_tag if within else None,
                cseq=cseq or self.sent,
                headers=tuple(headers),
            )
        )
