"""An agent in a confirmed call that refers its peer or is referred by it: for tests of the machines behind REFER."""

from __future__ import annotations

from flexosip.sip.message import Request
from flexosip.sip.refer_subscription import DialogReferrals, ReferNotifier, ReferOutcome
from flexosip.sip.server_transaction import ServerTransaction
from tests.sip_agent import Agent

__all__ = ["Referring"]


class Referring(Agent):
    """An agent whose call is up; REFERs, NOTIFYs and SUBSCRIBEs of the peer go to its `DialogReferrals`.

    Args:
        direction: of the call.
    """

    def __init__(self, direction: str = "outgoing") -> None:
        super().__init__()
        self.core.extra_methods |= {"REFER", "NOTIFY", "SUBSCRIBE"}
        self.usage = self.answered_call() if direction == "outgoing" else self.answered()
        self.referrals = DialogReferrals.of(self.usage)
        self.handler.on_request = self._on_request  # type: ignore[method-assign]
        self.outcomes: list[ReferOutcome] = []
        self.progress: list[tuple[int, str]] = []
        self.notifiers: list[ReferNotifier] = []
        self.peer_cseq = 10

    def _on_request(self, usage: object, request: Request, transaction: ServerTransaction) -> None:
        if request.method == "REFER":
            transaction.respond(request.create_response(202))
            self.notifiers.append(self.referrals.notifier(request))
        else:
            self.referrals.receive_request(request, transaction)

    def refer(self, to: str = "<sip:target@192.0.2.9>", *, patience: float = 60.0) -> Request:
        """Send a REFER; it is taken from the wire."""
        self.referrals.refer(
            (("Refer-To", to),),
            patience=patience,
            on_progress=lambda status, reason: self.progress.append((status, reason)),
            on_done=self.outcomes.append,
        )
        return self.wire.take_request("REFER")

    def of_peer(self, method: str, **options: object) -> None:
        """A request of the peer in the dialog, with the next CSeq."""
        self.peer_cseq += 1
        self.receive(self.in_dialog(self.usage, method, self.peer_cseq, **options))

    def notify(self, status_line: str, state: str | None = "active;expires=60", *, event: str = "refer") -> int:
        """A NOTIFY of the peer; the status of our answer."""
        headers = [("Event", event), ("Content-Type", "message/sipfrag;version=2.0")]
        if state is not None:
            headers.append(("Subscription-State", state))
        self.of_peer("NOTIFY", body=f"SIP/2.0 {status_line}\r\n" if status_line else "", headers=tuple(headers))
        return self.wire.take_response().status

    def settled(self) -> None:
        """Nothing is left, neither dialog nor timer."""
        assert self.left_behind() == (0, 0, 0)
        assert self.wire.scheduler.next_timeout() is None
