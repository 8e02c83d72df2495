"""Replaces: an INVITE that takes over a call, and whether one of ours is meant.

The header names a dialog as its receiver knows it: `to-tag` is the receiver's own tag, `from-tag` that of its peer.

RFC 3891
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError, format_parameters, has_control, is_token, parse_parameters
from flexosip.sip.invite import InviteUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from flexosip.sip.dialog import Dialog, DialogId
    from flexosip.sip.message import Request

__all__ = ["Replaces", "ReplacesRefused", "find_replaced"]

_LARGEST = 512
"""Characters of a Call-ID or tag that is still believed to be one."""


@dataclass(frozen=True, slots=True)
class Replaces:
    """A Replaces header, or the id of a dialog to be replaced.

    Raises:
        ValueError: a part is empty, too long or cannot be sent.
    """

    call_id: str
    to_tag: str
    """The tag of the side that gets the INVITE with this header."""
    from_tag: str
    """The tag of its present peer."""
    early_only: bool = False
    """Only to be replaced while it is not answered (RFC 3891 §3): so a picked-up call cannot be torn away."""

    def __post_init__(self) -> None:
        if not self.call_id or len(self.call_id) > _LARGEST or has_control(self.call_id) or any(char in self.call_id for char in " \t;,\""):
            raise ValueError("A Call-ID has no spaces, commas, quotes or semicolons.")
        if not all(is_token(tag) and len(tag) <= _LARGEST for tag in (self.to_tag, self.from_tag)):
            raise ValueError("The tags of a dialog are tokens.")

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """The value written in `text`: `98732@host;to-tag=r33th4x0r;from-tag=ff87ff;early-only`.

        Raises:
            SipParseError: it is malformed; each tag must be there exactly once.
        """
        call_id, semicolon, rest = text.partition(";")
        found: dict[str, list[str | None]] = {"to-tag": [], "from-tag": [], "early-only": []}
        for name, value in parse_parameters(semicolon + rest):
            if name.lower() in found:
                found[name.lower()].append(value)
        to_tags, from_tags = found["to-tag"], found["from-tag"]
        if len(to_tags) != 1 or len(from_tags) != 1:
            raise SipParseError("Replaces needs one to-tag and one from-tag")
        try:
            return cls(call_id.strip(" \t"), to_tags[0] or "", from_tags[0] or "", bool(found["early-only"]))
        except ValueError as error:
            raise SipParseError("Malformed Replaces") from error

    @classmethod
    def of(cls, request: Request) -> Replaces | None:
        """The Replaces of an INVITE, None when there is none.

        Raises:
            SipParseError: it is malformed, there are two, or a Join contradicts it: all are 400 (RFC 3891 §3).
        """
        lines = request.headers.get_lines("Replaces")
        if not lines:
            return None
        if len(lines) > 1:
            raise SipParseError("More than one Replaces")
        if "Join" in request.headers:
            raise SipParseError("Replaces and Join together")
        return cls.parse(lines[0])

    @classmethod
    def for_peer(cls, dialog: Dialog, *, early_only: bool = False) -> Replaces:
        """Names `dialog` as the peer of ours in it knows it: what the peer gets from whoever shall take our place.

        Raises:
            ValueError: the peer gave no tag (RFC 2543), so nobody could name it.
        """
        return cls(dialog.call_id, dialog.remote_tag, dialog.local_tag, early_only)

    def __str__(self) -> str:
        tags = format_parameters((("to-tag", self.to_tag), ("from-tag", self.from_tag)))
        return f"{self.call_id}{tags}{';early-only' if self.early_only else ''}"

    def names(self, dialog: DialogId) -> bool:
        """True if it means that dialog, seen from either side."""
        call_id, local_tag, remote_tag = dialog
        return call_id == self.call_id and {local_tag, remote_tag} == {self.to_tag, self.from_tag}


class ReplacesRefused(Exception):
    """An INVITE with Replaces cannot have what it asks for.

    Args:
        status: the status of the answer.
        reason: its reason phrase, None: that of the status.
    """

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(f"{status} {reason or ''}".strip())
        self.status = status
        self.reason = reason


def find_replaced(replaces: Replaces, dialogs: Mapping[DialogId, Any], ended: Iterable[DialogId] = ()) -> InviteUsage:
    """The call that `replaces` names (RFC 3891 §3).

    Args:
        dialogs: the dialogs of the user agent.
        ended: ids of calls that ended a short while ago.

    Raises:
        ReplacesRefused: 481 no such call, or an early one that we did not make; 486 answered and `early-only`; 603 it has ended.
    """
    wanted = (replaces.call_id, replaces.to_tag, replaces.from_tag)
    usage = dialogs.get(wanted)
    if usage is None:
        # A peer of RFC 2543 has no tag, and "0" stands for none (RFC 3891 §3).
        loose = tuple("" if tag == "0" else tag for tag in wanted[1:])
        usage = dialogs.get((replaces.call_id, loose[0], loose[1]))
    if not isinstance(usage, InviteUsage):
        raise ReplacesRefused(603 if usage is None and wanted in set(ended) else 481)
    if usage.ended:
        raise ReplacesRefused(603)
    dialog = usage.find_dialog(replaces.from_tag) or usage.dialog
    if dialog is not None and not dialog.early:
        if replaces.early_only:
            raise ReplacesRefused(486)
    elif usage.direction == "incoming":
        # Whoever calls us may be taken over by somebody else, but not by somebody who calls us (RFC 3891 §3).
        raise ReplacesRefused(481)
    return usage
