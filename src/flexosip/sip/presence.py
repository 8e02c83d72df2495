"""Presence: the body `application/pidf+xml` of the event package `presence`, with the activities of RPID.

RFC 3863 §4, RFC 4479, RFC 4480 §3.2
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flexosip.sip.grammar import SipParseError
from flexosip.sip.xml_body import Element, parse_xml, write_xml

__all__ = ["PIDF", "Presence", "PresenceTuple"]

PIDF: Final = "application/pidf+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:pidf"
_DATA_MODEL: Final = "urn:ietf:params:xml:ns:pidf:data-model"
_RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"
_PRIORITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_ACTIVITY = re.compile(r"[a-z][a-z\-]*")
_MOST_TUPLES: Final = 64


@dataclass(frozen=True, slots=True)
class PresenceTuple:
    """One way to reach somebody."""

    id: str
    basic: str | None
    """`open`: reachable this way; `closed`: not; None: it is not said."""
    contact: str | None = None
    priority: str | None = None
    """`0` to `1` with at most three decimals."""
    note: str | None = None
    timestamp: str | None = None
    """RFC 3339."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What somebody tells of being reachable."""

    entity: str
    """Whose presence: a `pres:` or `sip:` URI."""
    tuples: tuple[PresenceTuple, ...] = ()
    note: str | None = None
    activities: tuple[str, ...] = ()
    """RPID words such as `on-the-phone`, `away`, `busy`, `meeting` (RFC 4480 §3.2)."""

    @property
    def open(self) -> bool | None:
        """True if reachable in some way, False if in none, None if nothing is said."""
        said = [item.basic for item in self.tuples if item.basic is not None]
        return "open" in said if said else None

    @property
    def state(self) -> str:
        """For people: the first activity, else `open`, `closed` or `unknown`."""
        if self.activities:
            return self.activities[0]
        return {True: "open", False: "closed", None: "unknown"}[self.open]

    @classmethod
    def simple(cls, entity: str, is_open: bool, *, note: str | None = None, activity: str | None = None) -> Presence:
        """A document with one tuple.

        Raises:
            ValueError: the activity is no word of RPID's form.
        """
        if activity is not None and _ACTIVITY.fullmatch(activity) is None:
            raise ValueError("An activity is a word such as on-the-phone or away.")
        return cls(entity, (PresenceTuple("phone", "open" if is_open else "closed"),), note, (activity,) if activity else ())

    @classmethod
    def parse(cls, body: bytes) -> Presence:
        """The document in a body.

        Raises:
            SipParseError: it is none.
        """
        root = parse_xml(body)
        if root.name != "presence" or root.namespace != _NAMESPACE:
            raise SipParseError("No presence document")
        entity = root.get("entity")
        if not entity:
            raise SipParseError("A presence document without entity")
        tuples = tuple(root.find_all("tuple"))
        if len(tuples) > _MOST_TUPLES:
            raise SipParseError("Too many tuples in one document", status_hint=413)
        note = root.find("note")
        activities: list[str] = []
        for person in root.find_all("person", _DATA_MODEL):
            for group in person.find_all("activities", _RPID):
                # What is no word of RPID's form is some extension that nobody here knows, and could not be written again.
                words = (child.name for child in group.children if child.namespace == _RPID and child.name != "note")
                activities += [word for word in words if _ACTIVITY.fullmatch(word)]
            note = note or person.find("note") or person.find("note", _RPID)
        return cls(entity, tuple(_parse_tuple(item) for item in tuples), note.text if note is not None else None, tuple(activities))

    def __bytes__(self) -> bytes:
        children = [_tuple_element(item) for item in self.tuples]
        if self.note is not None:
            children.append(Element("note", _NAMESPACE, text=self.note))
        if self.activities:
            group = Element("activities", _RPID, children=tuple(Element(name, _RPID) for name in self.activities))
            children.append(Element("person", _DATA_MODEL, (("id", "person"),), (group,)))
        return write_xml(Element("presence", _NAMESPACE, (("entity", self.entity),), tuple(children)))


def _parse_tuple(element: Element) -> PresenceTuple:
    number, status = element.get("id"), element.find("status")
    if number is None or status is None:
        raise SipParseError("Malformed tuple in a presence document")
    basic, contact = status.find("basic"), element.find("contact")
    word = basic.text if basic is not None else None
    note, timestamp = element.find("note"), element.find("timestamp")
    priority = contact.get("priority") if contact is not None else None
    return PresenceTuple(
        number,
        # baresip says "?" when it does not know.
        word if word in ("open", "closed") else None,
        contact.text or None if contact is not None else None,
        priority if priority is not None and _PRIORITY.fullmatch(priority) else None,
        note.text if note is not None else None,
        timestamp.text if timestamp is not None else None,
    )


def _tuple_element(item: PresenceTuple) -> Element:
    basic = (Element("basic", _NAMESPACE, text=item.basic),) if item.basic is not None else ()
    children = [Element("status", _NAMESPACE, children=basic)]
    if item.contact is not None:
        priority = (("priority", item.priority),) if item.priority is not None else ()
        children.append(Element("contact", _NAMESPACE, priority, text=item.contact))
    for name, text in (("note", item.note), ("timestamp", item.timestamp)):
        if text is not None:
            children.append(Element(name, _NAMESPACE, text=text))
    return Element("tuple", _NAMESPACE, (("id", item.id),), tuple(children))
