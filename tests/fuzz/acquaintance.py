"""A peer that the phone knows: it keeps a call, a call that rings and two subscriptions alive, in which damaged messages can then come."""

from __future__ import annotations

import itertools

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message
from flexosip.testing import RawPeer
from tests.fuzz.live_seeds import SDP

__all__ = ["Acquaintance"]


class Acquaintance(RawPeer):
    """Answers whatever the phone asks, and remembers the dialogs."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.tags: dict[bytes, bytes] = {}
        """What stands for the words of `live_seeds`."""
        self._numbers = itertools.count(1000)
        self._round = 0
        self.unread = 0

    def meet(self) -> None:
        """Begin anew: call twice, subscribe. What was before has ended by itself, or is forgotten."""
        self._round += 1
        self.tags.clear()
        self.remote = ("10.0.0.1", 5060)
        for name, method, headers in (
            ("CALL", "INVITE", ()),
            ("EARLY", "INVITE", (("Require", "100rel"), ("Supported", "100rel"))),
            ("WATCHER", "SUBSCRIBE", (("Event", "presence"), ("Expires", "600"))),
        ):
            call_id = f"{name.lower()}-{self._round}"
            self._know(name, call_id, f"mine{self._round}", "")
            body = SDP if method == "INVITE" else ""
            self.ask(
                method, body, call_id=call_id, from_tag=f"mine{self._round}", branch=f"z9hG4bKmeet{name}{self._round}", headers=headers
            )

    def part(self) -> None:
        """Hang up what is still there."""
        for name in ("CALL", "EARLY"):
            yours = self.tags.get(f"_{name}_YOURS_".encode(), b"").decode()
            if yours:
                call_id, mine = (self.tags[f"_{name}_{what}_".encode()].decode() for what in ("ID", "MINE"))
                self.ask("BYE", to_tag=yours, from_tag=mine, call_id=call_id, cseq=2**31 - 2)

    def _know(self, name: str, call_id: str, mine: str, yours: str) -> None:
        for what, value in (("ID", call_id), ("MINE", mine), ("YOURS", yours)):
            self.tags[f"_{name}_{what}_".encode()] = value.encode()

    def fill(self, data: bytes) -> bytes:
        """`data` with the dialogs that are there now, a new branch and the next CSeq."""
        number = next(self._numbers)
        for word, value in self.tags.items():
            data = data.replace(word, value)
        fresh = f"{number}".encode()
        for word in (b"_NEW_BRANCH_", b"_NEW_ID_", b"_NEXT_CSEQ_"):
            data = data.replace(word, fresh)
        return data

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        try:
            message = parse_message(data)
            self._take(message)
        except (SipParseError, ValueError):
            # What answers a broken message may be broken itself; nothing of the dialogs depends on it.
            self.unread += 1

    def _take(self, message: Message) -> None:
        if isinstance(message, Response):
            self._learn(message)
        elif message.method == "SUBSCRIBE":
            self._know("WATCHED", message.call_id, "watched", message.from_.tag or "")
            self.answer(message, 200, tag="watched", headers=(("Expires", "600"), ("Contact", "<sip:peer@10.0.0.9>")))
        elif message.method != "ACK":
            self._answer_any(message)

    def _learn(self, response: Response) -> None:
        name = response.call_id.partition("-")[0].upper()
        if f"_{name}_YOURS_".encode() not in self.tags or response.status not in (180, 183, 200):
            return
        if response.cseq.number == 1 and response.call_id.encode() == self.tags[f"_{name}_ID_".encode()]:
            self._know(name, response.call_id, response.from_.tag or "", response.to.tag or "")
            if rseq := response.headers.get("RSeq"):
                self.tags[b"_RSEQ_"] = rseq.encode()
        if response.status == 200 and response.cseq.method == "INVITE":
            self.acknowledge(response, SDP, branch=f"z9hG4bKack{next(self._numbers)}")

    def _answer_any(self, request: Request) -> None:
        # A call that somebody has sent the phone to is refused: it would last.
        self.answer(request, 486 if request.method == "INVITE" else 202 if request.method == "REFER" else 200)
