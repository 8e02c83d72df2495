"""Bytes to `SessionDescription`: tolerant of what phones really send, with a limit on everything that a stranger may make large.

One pass over the lines, no regular expression; numbers are bounded before they are converted. RFC 8866 §5 and §9.
"""

from __future__ import annotations

from flexosip.sdp.formats import STATIC_FORMATS, AudioFormat
from flexosip.sdp.session import Attribute, Connection, MediaDescription, Origin, SdpError, SessionDescription

__all__ = ["parse_description"]

MAX_BYTES = 65536
MAX_LINE = 8192
MAX_MEDIA = 16
MAX_FORMATS = 64
MAX_PORT_PAIRS = 16
MAX_CLOCK_RATE = 384000
MAX_CHANNELS = 255
MAX_NAME = 64

# Place of the other lines in a description (RFC 8866 §5); r= belongs to the t= before it.
_ORDER = {"i": 0, "u": 1, "e": 2, "p": 3, "b": 4, "t": 5, "r": 5, "z": 6, "k": 7}


def parse_description(data: bytes | str) -> SessionDescription:
    """See `SessionDescription.parse`."""
    if len(data) > MAX_BYTES:
        raise SdpError(f"The session description is larger than {MAX_BYTES} bytes.")
    if isinstance(data, str):
        data = data.encode("utf-8", "replace")
    text = data.decode("utf-8", "surrogateescape")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.strip("\0 \n")  # some phones send the NUL of their C string along
    if "\0" in text:
        raise SdpError("The session description holds a NUL character.")
    lines = text.split("\n")
    if lines[0].rstrip() != "v=0":
        raise SdpError("The body is no session description: it does not begin with v=0.")
    sections: list[list[str]] = [[]]
    section = sections[0]
    del lines[0]
    for line in lines:
        if len(line) > MAX_LINE:
            raise SdpError(f"A line of the session description is longer than {MAX_LINE} characters.")
        start = line[:2]
        if start == "m=":
            section = []
            sections.append(section)
            if len(sections) > MAX_MEDIA + 1:
                raise SdpError(f"The session description has more than {MAX_MEDIA} media.", status_hint=488)
        elif start == "v=":
            break  # several descriptions one after the other, as Opal sends them: the first counts
        section.append(line)
    return _session(sections)


def _session(sections: list[list[str]]) -> SessionDescription:
    origin: Origin | None = None
    name = "-"
    connection: Connection | None = None
    attributes: list[Attribute] = []
    others: list[tuple[str, str]] = []
    for line in sections[0]:
        start = line[:2]
        if start == "a=":
            attributes.append(_attribute(line))
        elif start == "o=":
            origin = _origin(line[2:])
        elif start == "s=":
            name = line[2:]
        elif start == "c=":
            if connection is None:
                connection = _connection(line[2:])
        elif start[1:] == "=" and start[0] in _ORDER:
            others.append((start[0], line[2:]))
    if origin is None:
        raise SdpError("The session description has no o= line.")
    if not any(letter == "t" for letter, _ in others):
        others.append(("t", "0 0"))
    others.sort(key=_place)
    media = tuple([_media(section) for section in sections[1:]])
    return SessionDescription(origin, name, connection, tuple(attributes), media, tuple(others))


def _place(line: tuple[str, str]) -> int:
    return _ORDER[line[0]]


def _attribute(line: str) -> Attribute:
    name, colon, value = line[2:].partition(":")
    return (name, value) if colon else (name, None)


def _origin(value: str) -> Origin:
    # Some gateways put spaces into the user name, so the fields are counted from the end.
    fields = value.rsplit(None, 5)
    if len(fields) != 6:
        raise SdpError("The o= line of the session description is malformed.")
    username, session_id, version, _, _, address = fields
    return Origin(username, session_id, version, address)


def _connection(value: str) -> Connection:
    fields = value.split()
    if len(fields) < 3 or fields[0].upper() != "IN" or fields[1].upper() not in ("IP4", "IP6"):
        raise SdpError("A c= line of the session description is malformed.")
    address, slash, rest = fields[2].partition("/")
    if not address:
        raise SdpError("A c= line of the session description has no address.")
    return Connection(address, slash + rest, fields[1].upper())


def _number(text: str, highest: int, what: str) -> int:
    """A decimal number from 0 to `highest`; its length is looked at first, as converting thousands of digits takes long."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > highest:
        raise SdpError(f"The session description has an impossible {what}.")
    return int(text)


def _media(section: list[str]) -> MediaDescription:
    fields = section[0][2:].split()
    if len(fields) < 3:
        raise SdpError("An m= line of the session description is malformed.")
    media, port_text, protocol = fields[0].lower(), fields[1], fields[2]
    formats = tuple(fields[3:])
    if len(formats) > MAX_FORMATS:
        raise SdpError(f"The session description has more than {MAX_FORMATS} formats in one medium.", status_hint=488)
    port_text, slash, count_text = port_text.partition("/")
    port = _number(port_text, 65535, "port")
    port_count = _number(count_text, MAX_PORT_PAIRS, "number of ports") if slash else 1
    connection: Connection | None = None
    attributes: list[Attribute] = []
    others: list[tuple[str, str]] = []
    for line in section:
        start = line[:2]
        if start == "a=":
            attributes.append(_attribute(line))
        elif start == "c=":
            if connection is None:
                connection = _connection(line[2:])
        elif start[1:] == "=" and start[0] in _ORDER:
            others.append((start[0], line[2:]))
    others.sort(key=_place)
    audio = _audio_formats(formats, attributes) if media == "audio" and "RTP/" in protocol.upper() else ()
    return MediaDescription(media, port, protocol, formats, connection, tuple(attributes), tuple(others), port_count, audio)


def _audio_formats(formats: tuple[str, ...], attributes: list[Attribute]) -> tuple[AudioFormat, ...]:
    """Meaning of the payload types, from `a=rtpmap`, else from the table of RFC 3551; numbers without a meaning are left out."""
    maps: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for name, value in attributes:
        if value is None:
            continue
        if name == "rtpmap":
            payload_type, _, encoding = value.strip().replace("\t", " ").partition(" ")
            maps.setdefault(payload_type, encoding)
        elif name == "fmtp":
            payload_type, _, text = value.strip().partition(" ")
            parameters.setdefault(payload_type, text.strip())
    result: list[AudioFormat] = []
    seen: set[str] = set()
    for text in formats:
        if text in seen or len(text) > 3 or not (text.isascii() and text.isdigit()) or int(text) > 127:
            continue
        seen.add(text)
        item = _encoding(int(text), maps[text], parameters.get(text)) if text in maps else None
        if item is None:
            item = STATIC_FORMATS.get(int(text))
            if item is not None and text in parameters:
                item = AudioFormat(item.payload_type, item.name, item.clock_rate, item.channels, parameters[text])
        if item is not None:
            result.append(item)
    return tuple(result)


def _encoding(payload_type: int, encoding: str, fmtp: str | None) -> AudioFormat | None:
    """The format of one `a=rtpmap` value such as "opus/48000/2"; None where the clock rate is missing (X-Lite: "98 iLBC")."""
    fields = encoding.strip().split("/")
    if len(fields) < 2 or not 0 < len(fields[0]) <= MAX_NAME:
        return None
    clock_rate = _number(fields[1].strip(), MAX_CLOCK_RATE, "clock rate")
    if clock_rate == 0:
        raise SdpError("The session description has a clock rate of 0.")
    channels = 1
    if len(fields) > 2 and fields[2]:
        channels = _number(fields[2].strip(), MAX_CHANNELS, "number of channels")
        if channels == 0:
            raise SdpError("The session description has a format without a channel.")
    return AudioFormat(payload_type, fields[0], clock_rate, channels, fmtp)
