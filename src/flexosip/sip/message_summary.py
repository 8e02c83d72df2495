"""Message waiting: the body `application/simple-message-summary` of the event package `message-summary`.

RFC 3842 §5
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flexosip.sip.grammar import SipParseError, has_control

__all__ = ["MESSAGE_SUMMARY", "MessageCount", "MessageSummary"]

MESSAGE_SUMMARY: Final = "application/simple-message-summary"
_MOST_OCTETS: Final = 16384
_CLASSES: Final = ("voice", "fax", "pager", "multimedia", "text", "none")
_COUNT = re.compile(r"([0-9]{1,9})[ \t]*/[ \t]*([0-9]{1,9})(?:[ \t]*\([ \t]*([0-9]{1,9})[ \t]*/[ \t]*([0-9]{1,9})[ \t]*\))?")


@dataclass(frozen=True, slots=True)
class MessageCount:
    """Messages of one class; the urgent ones are among the others."""

    new: int
    old: int
    urgent_new: int = 0
    urgent_old: int = 0

    def __str__(self) -> str:
        return f"{self.new}/{self.old} ({self.urgent_new}/{self.urgent_old})"


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """What waits in a mailbox.

    Raises:
        ValueError: a class of messages that there is not, a negative number, or a control character in the account.
    """

    waiting: bool
    account: str | None = None
    """The address of the mailbox, when the server tells it."""
    counts: tuple[tuple[str, MessageCount], ...] = ()
    """(class, count): classes are `voice`, `fax`, `pager`, `multimedia`, `text` and `none`."""

    def __post_init__(self) -> None:
        if self.account is not None and has_control(self.account):
            raise ValueError("The account of a mailbox cannot hold a control character.")
        for name, count in self.counts:
            if name not in _CLASSES or min(count.new, count.old, count.urgent_new, count.urgent_old) < 0:
                raise ValueError(f"A message class is one of {', '.join(_CLASSES)}, and numbers are not negative.")

    def count(self, name: str) -> MessageCount:
        """The messages of a class; none when the server does not speak of it."""
        return next((count for known, count in self.counts if known == name), MessageCount(0, 0))

    @property
    def voice_new(self) -> int:
        """New voice messages."""
        return self.count("voice").new

    @property
    def voice_old(self) -> int:
        """Voice messages that were listened to."""
        return self.count("voice").old

    @property
    def urgent(self) -> int:
        """New urgent voice messages."""
        return self.count("voice").urgent_new

    @classmethod
    def parse(cls, body: bytes) -> MessageSummary:
        """The summary in a body; lines that are not known are passed over, as are the headers of single messages behind it.

        Raises:
            SipParseError: it does not say whether messages wait, or a count is none.
        """
        if len(body) > _MOST_OCTETS:
            raise SipParseError("Message summary too large", status_hint=413)
        waiting: bool | None = None
        account: str | None = None
        counts: dict[str, MessageCount] = {}
        for line in body.decode("utf-8", "replace").splitlines():
            name, colon, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon:
                if waiting is not None and not line.strip():
                    break
                continue
            if name == "messages-waiting":
                if value.lower() not in ("yes", "no"):
                    raise SipParseError("Malformed Messages-Waiting")
                waiting = value.lower() == "yes"
            elif name == "message-account":
                account = None if has_control(value) else value
            elif name.endswith("-message") and name[:-8] in _CLASSES:
                counts[name[:-8]] = _count(value)
        if waiting is None:
            raise SipParseError("Missing Messages-Waiting")
        return cls(waiting, account, tuple(counts.items()))

    def __bytes__(self) -> bytes:
        lines = [f"Messages-Waiting: {'yes' if self.waiting else 'no'}"]
        if self.account is not None:
            lines.append(f"Message-Account: {self.account}")
        lines += [f"{name.capitalize()}-Message: {count}" for name, count in self.counts]
        return ("\r\n".join(lines) + "\r\n").encode()


def _count(value: str) -> MessageCount:
    match = _COUNT.fullmatch(value)
    if match is None:
        raise SipParseError("Malformed count of messages")
    new, old, urgent_new, urgent_old = (int(number or 0) for number in match.groups())
    return MessageCount(new, old, urgent_new, urgent_old)
