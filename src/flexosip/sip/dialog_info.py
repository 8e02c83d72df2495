"""Dialog state: the body `application/dialog-info+xml` of the event package `dialog`, and the table a watcher builds of it.

It tells whether a line is busy or rings (the busy lamp field), and Call-ID and tags of its calls, which picking up needs.

RFC 4235 §4
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from flexosip.sip.grammar import SipParseError
from flexosip.sip.xml_body import Element, parse_xml, write_xml

__all__ = ["DIALOG_INFO", "DialogInfo", "DialogTable", "WatchedDialog", "lamp", "numbered"]

DIALOG_INFO: Final = "application/dialog-info+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:dialog-info"
_STATES: Final = ("terminated", "trying", "proceeding", "early", "confirmed")
"""From the least to the most that a lamp shows."""
_MOST_DIALOGS: Final = 256
_LAMPS: Final = {"trying": "trying", "proceeding": "trying", "early": "early", "confirmed": "confirmed", "terminated": "terminated"}


@dataclass(frozen=True, slots=True)
class WatchedDialog:
    """A call of the watched line."""

    id: str
    """Names it in this document and the following ones."""
    state: str
    """`trying`, `proceeding`, `early`, `confirmed` or `terminated` (RFC 4235 §3.7.1)."""
    direction: str | None = None
    """`initiator`: the watched line calls; `recipient`: it is called."""
    call_id: str | None = None
    local_tag: str | None = None
    """The tag of the watched line."""
    remote_tag: str | None = None
    local_uri: str | None = None
    """Identity of the watched line in this call."""
    remote_uri: str | None = None
    """Who it speaks to."""
    remote_name: str | None = None
    local_target: str | None = None
    """Contact of the watched line."""
    remote_target: str | None = None
    event: str | None = None
    """What led to the state: `cancelled`, `rejected`, `replaced`, `local-bye`, `remote-bye`, `error` or `timeout`."""
    code: int | None = None
    """The SIP status behind that."""
    duration: int | None = None
    """Seconds since the call was made."""

    @property
    def ringing(self) -> bool:
        """True while the watched line is called and has not answered: such a call can be picked up."""
        return self.direction != "initiator" and self.state == "early"


@dataclass(frozen=True, slots=True)
class DialogInfo:
    """One document: all calls of a line, or those that changed."""

    entity: str
    """The watched line."""
    version: int
    full: bool
    """True: all calls are in it; False: those that changed."""
    dialogs: tuple[WatchedDialog, ...] = ()

    @property
    def state(self) -> str:
        """What a lamp shows of these calls; see `lamp`."""
        return lamp(self.dialogs)

    @classmethod
    def parse(cls, body: bytes) -> DialogInfo:
        """The document in a body.

        Raises:
            SipParseError: it is none.
        """
        root = parse_xml(body)
        if root.name != "dialog-info" or root.namespace != _NAMESPACE:
            raise SipParseError("No dialog-info document")
        state = root.get("state")
        entity = root.get("entity")
        if state not in ("full", "partial") or entity is None:
            raise SipParseError("Malformed dialog-info document")
        elements = tuple(root.find_all("dialog"))
        if len(elements) > _MOST_DIALOGS:
            raise SipParseError("Too many dialogs in one document", status_hint=413)
        return cls(entity, _number(root.get("version")), state == "full", tuple(_parse_dialog(element) for element in elements))

    def __bytes__(self) -> bytes:
        attributes = (("version", str(self.version)), ("state", "full" if self.full else "partial"), ("entity", self.entity))
        return write_xml(Element("dialog-info", _NAMESPACE, attributes, tuple(_dialog_element(dialog) for dialog in self.dialogs)))


class DialogTable:
    """The calls of one line as a watcher knows them from the documents of one subscription (RFC 4235 §4.3)."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.entity = ""
        self.needs_refresh = False
        """A document is missing: a refresh of the subscription brings all calls anew."""
        self._dialogs: dict[str, WatchedDialog] = {}

    def receive(self, document: DialogInfo) -> bool:
        """Take a document; False if it is older than what is known and was passed over."""
        known = self.version
        if known is not None and document.version < known:
            return False
        self.needs_refresh = not document.full and (known is None or document.version > known + 1)
        self.version = document.version
        self.entity = document.entity
        if document.full:
            self._dialogs.clear()
        for dialog in document.dialogs:
            if dialog.state == "terminated":
                self._dialogs.pop(dialog.id, None)
            elif dialog.id in self._dialogs or len(self._dialogs) < _MOST_DIALOGS:
                self._dialogs[dialog.id] = dialog
        return True

    @property
    def dialogs(self) -> tuple[WatchedDialog, ...]:
        """The calls that have not ended."""
        return tuple(self._dialogs.values())

    @property
    def state(self) -> str:
        """What a lamp shows; see `lamp`."""
        return lamp(self.dialogs)


def lamp(dialogs: tuple[WatchedDialog, ...]) -> str:
    """What a lamp shows for some calls: `idle` without any, else the most advanced of `terminated`, `trying`, `early`, `confirmed`."""
    if not dialogs:
        return "idle"
    return _LAMPS[max((dialog.state for dialog in dialogs), key=_STATES.index)]


def _parse_dialog(element: Element) -> WatchedDialog:
    number, state = element.get("id"), element.find("state")
    if number is None or state is None or state.text not in _STATES:
        raise SipParseError("Malformed dialog in a dialog-info document")
    duration, code = element.find("duration"), state.get("code")
    local, remote = element.find("local"), element.find("remote")
    local_uri, _, local_target = _party(local)
    remote_uri, remote_name, remote_target = _party(remote)
    direction = element.get("direction")
    return WatchedDialog(
        number,
        state.text,
        direction if direction in ("initiator", "recipient") else None,
        element.get("call-id"),
        element.get("local-tag"),
        element.get("remote-tag"),
        local_uri,
        remote_uri,
        remote_name,
        local_target,
        remote_target,
        state.get("event"),
        _number(code) if code is not None else None,
        _number(duration.text) if duration is not None else None,
    )


def _party(element: Element | None) -> tuple[str | None, str | None, str | None]:
    """(identity, display name, target)."""
    if element is None:
        return None, None, None
    identity, target = element.find("identity"), element.find("target")
    return (
        identity.text or None if identity is not None else None,
        identity.get("display") if identity is not None else None,
        target.get("uri") if target is not None else None,
    )


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
        raise SipParseError("Malformed number in a dialog-info document")
    return int(text)


def _dialog_element(dialog: WatchedDialog) -> Element:
    names = (("id", dialog.id), ("call-id", dialog.call_id), ("local-tag", dialog.local_tag), ("remote-tag", dialog.remote_tag))
    attributes = tuple((name, value) for name, value in (*names, ("direction", dialog.direction)) if value is not None)
    code = str(dialog.code) if dialog.code is not None else None
    details = tuple((name, value) for name, value in (("event", dialog.event), ("code", code)) if value is not None)
    children = [Element("state", _NAMESPACE, details, text=dialog.state)]
    if dialog.duration is not None:
        children.append(Element("duration", _NAMESPACE, text=str(dialog.duration)))
    for name, uri, display, target in (
        ("local", dialog.local_uri, None, dialog.local_target),
        ("remote", dialog.remote_uri, dialog.remote_name, dialog.remote_target),
    ):
        party = []
        if uri is not None:
            party.append(Element("identity", _NAMESPACE, (("display", display),) if display else (), text=uri))
        if target is not None:
            party.append(Element("target", _NAMESPACE, (("uri", target),)))
        if party:
            children.append(Element(name, _NAMESPACE, children=tuple(party)))
    return Element("dialog", _NAMESPACE, attributes, tuple(children))


def numbered(document: DialogInfo, version: int) -> DialogInfo:
    """The same document with another version: each subscription counts for itself (RFC 4235 §4.1.1)."""
    return replace(document, version=version)
