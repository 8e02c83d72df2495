"""XML bodies of event packages, read and written: elements, attributes and text, nothing else of XML.

No document type, so no entities, external or growing; bounded size, depth and number of elements; linear time. What breaks that is
refused with an error that becomes a 400.

XML 1.0, Namespaces in XML 1.0; RFC 3863 §3, RFC 4235 §4
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from flexosip.sip.grammar import SipParseError

__all__ = ["Element", "parse_xml", "write_xml", "xml_text"]

_MOST_OCTETS: Final = 65536
_DEEPEST: Final = 32
_MOST_ELEMENTS: Final = 4096
_SEPARATOR: Final = "\x01"
# A control character can be no part of a name, so the separator splits namespace and local name without doubt.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of an XML document."""

    name: str
    """The local name."""
    namespace: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    """(name, value); an attribute with a namespace of its own is named `{namespace}name`."""
    children: tuple[Element, ...] = ()
    text: str = ""
    """The character data directly in the element, without the white space around it."""

    def get(self, name: str) -> str | None:
        """The value of an attribute, or None."""
        return next((value for known, value in self.attributes if known == name), None)

    def find(self, name: str, namespace: str | None = None) -> Element | None:
        """The first child of that name; in the element's own namespace unless another is given."""
        return next(self.find_all(name, namespace), None)

    def find_all(self, name: str, namespace: str | None = None) -> Iterator[Element]:
        """The children of that name, in order; in the element's own namespace unless another is given."""
        wanted = self.namespace if namespace is None else namespace
        return (child for child in self.children if child.name == name and child.namespace == wanted)


class _Builder:
    """Collects what expat reports; refuses what is no plain document."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[tuple[str, tuple[tuple[str, str], ...], list[Element], list[str]]] = []
        self._count = 0

    def start(self, name: str, attributes: list[str]) -> None:
        self._count += 1
        if len(self._open) >= _DEEPEST or self._count > _MOST_ELEMENTS:
            raise SipParseError("XML too deep or too large")
        pairs = tuple((_attribute_name(key), value) for key, value in zip(attributes[::2], attributes[1::2], strict=True))
        self._open.append((name, pairs, [], []))

    def end(self, _: str) -> None:
        name, attributes, children, texts = self._open.pop()
        namespace, _, local = name.rpartition(_SEPARATOR)
        element = Element(local, namespace, attributes, tuple(children), "".join(texts).strip())
        if self._open:
            self._open[-1][2].append(element)
        else:
            self.root = element

    def data(self, text: str) -> None:
        self._open[-1][3].append(text)

    @staticmethod
    def refuse(*_: Any) -> Any:
        raise SipParseError("XML with a document type")


def _attribute_name(name: str) -> str:
    namespace, separator, local = name.rpartition(_SEPARATOR)
    return f"{{{namespace}}}{local}" if separator else local


def parse_xml(body: bytes) -> Element:
    """The root element of a document.

    Args:
        body: at most 64 KiB, nested 32 deep, without DOCTYPE.

    Raises:
        SipParseError: it is none, or beyond those limits.
    """
    # Loaded by the first XML body: most phones never see one.
    from xml.parsers import expat

    if len(body) > _MOST_OCTETS:
        raise SipParseError("XML too large", status_hint=413)
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    parser.UnparsedEntityDeclHandler = builder.refuse
    parser.ExternalEntityRefHandler = builder.refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        # LookupError and ValueError: an encoding that is unknown, or that has more than one octet a character.
        raise SipParseError("Malformed XML") from error
    if builder.root is None:
        raise SipParseError("Malformed XML")
    return builder.root


def xml_text(text: str) -> str:
    """`text` with U+FFFD for what cannot stand in XML: peers write octets that are no UTF-8, and escaped controls."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def write_xml(root: Element) -> bytes:
    """The document of `root`, in UTF-8; a namespace is declared where it changes. Attributes have no namespace.

    Raises:
        ValueError: a name is none, or a character cannot stand in XML.
    """
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(root, "", parts)
    return "".join(parts).encode("utf-8")


def _write(element: Element, outer: str, parts: list[str]) -> None:
    parts.append(f"<{_checked_name(element.name)}")
    if element.namespace != outer:
        parts.append(f' xmlns="{_escape(element.namespace)}"')
    parts.extend(f' {_checked_name(name)}="{_escape(value)}"' for name, value in element.attributes)
    if not element.children and not element.text:
        parts.append("/>")
        return
    parts.append(f">{_escape(element.text)}")
    for child in element.children:
        _write(child, element.namespace, parts)
    parts.append(f"</{element.name}>")


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("An XML name consists of letters, digits, dots, dashes and underscores.")
    return name


def _escape(text: str) -> str:
    if _NOT_XML.search(text):
        raise ValueError("A control character cannot stand in XML.")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
