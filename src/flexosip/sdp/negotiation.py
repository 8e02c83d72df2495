"""The offer/answer machine: one object a dialog, for INVITE, re-INVITE, UPDATE, PRACK and the offer that comes late.

    stable ──create_offer──▶ offered ──receive_answer──▶ stable     (a second answer, as of 200 after 183, replaces the first)
       ▲                        │
       ├──────── rollback ──────┘      the offer was refused: everything as before
       └─ receive_offer (gives the answer at once; rollback undoes it as well)

RFC 3264, RFC 6337; one audio stream is used, all other m= lines are mirrored as refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from flexosip.errors import LocalProtocolError
from flexosip.sdp.agreement import DIRECTIONS, MediaAgreement, direction_of, meet, plain_address
from flexosip.sdp.formats import TELEPHONE_EVENT, AudioFormat, FormatPlan, answer_plan, offer_plan
from flexosip.sdp.parser import parse_description
from flexosip.sdp.refusal import refused_line
from flexosip.sdp.session import Connection, MediaDescription, SdpError, SessionDescription

__all__ = ["Negotiation"]

MIN_PTIME_MS = 10
MAX_PTIME_MS = 120
ABSURD_PTIME_MS = 1000

_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
_OWN = "RTP/AVP"


class Negotiation:
    """Our half of the agreement about the sound of one dialog.

    Args:
        formats: what we can send and receive, best first; the payload types are those we offer under. No telephone-event in it.
        address: our IP address for RTP, as the peer can reach it; its family decides between IN IP4 and IN IP6.
        port: our RTP port.
        rtcp_port: our RTCP port when it is not `port` + 1 (RFC 3605).
        session_id: number of the session in the o= line, below 2**62; random, and constant for the dialog.
        dtmf: offer and accept telephone-event.
        ptime_ms: the packet duration that we would like to receive.
    """

    __slots__ = (
        "_answer_data",
        "_content",
        "_direction",
        "_dtmf",
        "_formats",
        "_index",
        "_pending",
        "_plan",
        "_protocol",
        "_ptime_ms",
        "_sections",
        "_session_id",
        "_snapshot",
        "_version",
        "_written",
        "address",
        "agreement",
        "port",
        "rtcp_port",
    )

    def __init__(
        self,
        formats: Sequence[AudioFormat],
        *,
        address: str,
        port: int,
        rtcp_port: int | None = None,
        session_id: int,
        dtmf: bool = True,
        ptime_ms: int = 20,
    ) -> None:
        if not formats:
            raise LocalProtocolError("An offer needs at least one audio format.")
        if not MIN_PTIME_MS <= ptime_ms <= MAX_PTIME_MS:
            raise LocalProtocolError(f"A packet lasts {MIN_PTIME_MS} to {MAX_PTIME_MS} ms, not {ptime_ms}.")
        self._formats = tuple(formats)
        self._session_id = session_id
        self._dtmf = dtmf
        self._ptime_ms = ptime_ms
        self.address = address
        self.port = port
        self.rtcp_port = rtcp_port
        self.agreement: MediaAgreement | None = None
        """What holds now, or None before the first answer."""
        self._version = 0
        self._content: str | None = None
        # Direction and t= line of the last description.
        self._written = ("sendrecv", "0 0")
        # The exchange before the present one: (agreement, plan, sections, index, protocol, written), for rollback.
        self._snapshot: tuple[MediaAgreement | None, FormatPlan | None, tuple[str, ...], int, str, tuple[str, str]] | None = None
        self._plan: FormatPlan | None = None
        self._sections: tuple[str, ...] = ("",)
        self._index = 0
        self._protocol = _OWN
        self._pending = False
        # Direction of our offer, as long as the last exchange was ours; None when it was the peer's.
        self._direction: str | None = None
        self._answer_data: bytes | str | None = None

    @property
    def pending_offer(self) -> bool:
        """True while our offer has no answer."""
        return self._pending

    def set_address(self, address: str, port: int, rtcp_port: int | None = None) -> None:
        """Our RTP moved; the next offer or answer says so."""
        self.address = address
        self.port = port
        self.rtcp_port = rtcp_port

    def fork(self) -> Negotiation:
        """A copy that takes the answer of another early dialog to the same offer (RFC 3261 §13.2.2.4)."""
        twin = Negotiation.__new__(Negotiation)
        for name in Negotiation.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def create_offer(self, direction: str = "sendrecv", *, all_formats: bool = False) -> bytes:
        """Our offer.

        Args:
            direction: what we want: "sendrecv", "sendonly" (hold), "recvonly" or "inactive".
            all_formats: offer everything we can, not only what our last description listed. Right for an INVITE that came without
                an offer (RFC 3261 §14.2); without it a repeated offer is the same text and the same version.

        Raises:
            LocalProtocolError: our last offer has no answer yet (RFC 3264 §4).
        """
        _check_direction(direction)
        plan = self._plan
        if plan is None:
            plan = offer_plan(self._formats, self._dtmf)
        elif all_formats:
            plan = offer_plan(self._formats, self._dtmf, _used(plan))
        return self._offer(plan, direction)

    def _offer(self, plan: FormatPlan, direction: str, time: str = "0 0") -> bytes:
        if self._pending:
            raise LocalProtocolError("An offer is on its way already; wait for its answer, or roll back.")
        self._remember()
        self._plan = plan
        self._pending = True
        self._direction = direction
        self._answer_data = None
        return self._write(plan, direction, time)

    def repeat_offer(self) -> bytes:
        """Our last description once more as an offer, o= version included: it refreshes the session and changes nothing (RFC 4028 §7.4).

        Raises:
            LocalProtocolError: there is none yet, or our last offer has no answer yet.
        """
        if self._plan is None:
            raise LocalProtocolError("There is no description of ours to repeat.")
        return self._offer(self._plan, *self._written)

    def receive_answer(self, data: bytes | str) -> MediaAgreement:
        """Take the answer to our offer. The answers of 183 and 200 may differ: the last one holds.

        Raises:
            SdpError: the answer cannot be read (400), or refuses the sound or names no format of ours (488). Nothing has changed.
            LocalProtocolError: the last offer was not ours.
        """
        if self._direction is None or self._plan is None:
            raise LocalProtocolError("There is no offer of ours that this could answer.")
        if data == self._answer_data and self.agreement is not None:
            return self.agreement
        session = parse_description(data)
        if len(session.media) <= self._index:
            raise SdpError("The answer has fewer media than our offer.", status_hint=488)
        media = session.media[self._index]
        connection = self._usable(session, media)
        agreement = self._agree_answer(self._plan, session, media, connection)
        self._answer_data = data
        self._pending = False
        self.agreement = agreement
        return agreement

    def receive_offer(self, data: bytes | str, *, direction: str = "sendrecv") -> bytes:
        """Take the peer's offer, set `agreement`, and give our answer.

        Args:
            direction: what we want; the answer has as much of it as the offer allows ("sendonly" holds the peer).

        Raises:
            SdpError: the offer cannot be read (400), has no sound that we can take (488), or crossed ours (491). Nothing has changed.
        """
        _check_direction(direction)
        if self._pending:
            raise SdpError("The peer's offer crossed ours.", status_hint=491)
        session = parse_description(data)
        index, media, connection, plan = self._choose(session)
        theirs = _direction(session, media, connection)
        ours = meet(direction, theirs)
        send_format = plan.offered[0]
        agreement = MediaAgreement(
            remote_address=plain_address(connection.address),
            remote_port=media.port,
            remote_rtcp=_rtcp(media, connection),
            send_format=send_format,
            receive_formats=plan.receive,
            send_event_payload_type=plan.events.get(send_format.clock_rate),
            receive_event_payload_types=frozenset(plan.events.values()),
            direction=ours,
            ptime_ms=_ptime(session, media, self._ptime_ms),
            held=not DIRECTIONS[theirs][1],
            receive_event_clock_rates={number: rate for rate, number in plan.events.items()},
        )
        self._remember()
        self.agreement = agreement
        self._plan = plan
        self._index = index
        self._protocol = media.protocol
        self._direction = None
        if len(session.media) > 1:
            self._sections = tuple([refused_line(item) for item in session.media])
        else:
            self._sections = ("",)
        # RFC 3264 §6: the t= line of the answer is that of the offer.
        return self._write(plan, ours, next((value for letter, value in session.lines if letter == "t"), "0 0"))

    def rollback(self) -> None:
        """Undo the last offer, ours or the peer's: it was refused, so the session stays as it was (RFC 3261 §14.1).

        Raises:
            LocalProtocolError: there is nothing to undo.
        """
        if self._snapshot is None:
            raise LocalProtocolError("There is no offer to roll back.")
        self.agreement, self._plan, self._sections, self._index, self._protocol, self._written = self._snapshot
        self._snapshot = None
        self._pending = False
        self._direction = None
        self._answer_data = None

    def _remember(self) -> None:
        self._snapshot = (self.agreement, self._plan, self._sections, self._index, self._protocol, self._written)

    def _write(self, plan: FormatPlan, direction: str, time: str = "0 0") -> bytes:
        """The description to send; the version rises when, and only when, something else changed (RFC 3264 §8).

        It rises over a refused offer too: no two descriptions of ours ever share a version.
        """
        address, port = self.address, self.port
        family = "IP6" if ":" in address else "IP4"
        rtcp = f"a=rtcp:{self.rtcp_port}\r\n" if self.rtcp_port is not None and self.rtcp_port != port + 1 else ""
        audio = (
            f"m=audio {port} {self._protocol} {plan.payload_types}\r\n{plan.attributes}a=ptime:{self._ptime_ms}\r\n{rtcp}a={direction}\r\n"
        )
        sections = self._sections
        if len(sections) > 1:
            index = self._index
            audio = "".join([audio if number == index else section for number, section in enumerate(sections)])
        self._written = (direction, time)
        content = f"s=-\r\nc=IN {family} {address}\r\nt={time}\r\n{audio}"
        if content != self._content:
            self._version += 1
            self._content = content
        text = f"v=0\r\no=- {self._session_id} {self._version} IN {family} {address}\r\n{content}"
        return text.encode("utf-8", "surrogateescape")

    def _choose(self, session: SessionDescription) -> tuple[int, MediaDescription, Connection, FormatPlan]:
        """The audio stream that we take: the one in use, else the first that fits."""
        order = list(range(len(session.media)))
        if self._index in order:
            order.remove(self._index)
            order.insert(0, self._index)
        refusal: SdpError | None = None
        for index in order:
            media = session.media[index]
            try:
                connection = self._usable(session, media)
                plan = answer_plan(self._formats, self._dtmf, media.audio_formats)
                if plan is None:
                    raise SdpError(f"No common codec: the offer has {_names(media)}.", status_hint=488)
                _ptime(session, media, self._ptime_ms)
            except SdpError as error:
                if error.status_hint == 400:
                    raise
                # What is wrong with the sound tells more than that a picture was offered.
                if refusal is None or media.media == "audio":
                    refusal = error
                continue
            return index, media, connection, plan
        raise refusal if refusal is not None else SdpError("The offer has no media.", status_hint=488)

    def _usable(self, session: SessionDescription, media: MediaDescription) -> Connection:
        """The address of an audio stream, or why we cannot take the stream."""
        if media.media != "audio":
            raise SdpError("There is no audio stream.", status_hint=488)
        if media.port == 0:
            raise SdpError("The audio stream is refused or off (port 0).", status_hint=488)
        if media.protocol.upper() not in _PROTOCOLS:
            raise SdpError(f"The audio transport {media.protocol[:40]!a} is not supported.", status_hint=488)
        connection = session.connection_of(media)
        if connection is None:
            raise SdpError("The audio stream has no address (c= line).", status_hint=400)
        if connection.is_multicast:
            raise SdpError("The audio stream has a multicast address.", status_hint=488)
        theirs = plain_address(connection.address)
        if _is_numeric(theirs) and (":" in self.address) != (":" in theirs):
            raise SdpError(f"The audio stream needs {connection.family}, which is not our address family here.", status_hint=488)
        return connection

    def _agree_answer(
        self, plan: FormatPlan, session: SessionDescription, media: MediaDescription, connection: Connection
    ) -> MediaAgreement:
        ours = {item.key: item for item in plan.receive.values()}
        theirs = _with_our_meaning(media, plan)
        send_format: AudioFormat | None = None
        receive: dict[int, AudioFormat] = {}
        extra: dict[int, AudioFormat] = {}
        for item in theirs:
            mine = ours.get(item.key)
            if mine is None:
                continue
            if send_format is None:
                send_format = AudioFormat(item.payload_type, mine.name, mine.clock_rate, mine.channels, item.fmtp)
            receive[mine.payload_type] = mine
            extra[item.payload_type] = mine
        if send_format is None:
            raise SdpError(f"No common codec: the answer has {_names(media)}.", status_hint=488)
        # Beyond the rule: also take what was offered and not answered, and his own numbers; some peers send them.
        events = {number: rate for rate, number in plan.events.items()}
        for number, item in (*plan.receive.items(), *extra.items()):
            if number not in events:
                receive.setdefault(number, item)
        send_event: int | None = None
        for item in theirs:
            if item.is_event and self._dtmf:
                if item.clock_rate == send_format.clock_rate and send_event is None:
                    send_event = item.payload_type
                if item.payload_type not in receive:
                    events.setdefault(item.payload_type, item.clock_rate)
        wanted = self._direction or "sendrecv"
        written = _direction(session, media, connection)
        wants_to_send = DIRECTIONS[wanted][0]
        before = self.agreement is not None and self.agreement.held
        return MediaAgreement(
            remote_address=plain_address(connection.address),
            remote_port=media.port,
            remote_rtcp=_rtcp(media, connection),
            send_format=send_format,
            receive_formats=receive,
            send_event_payload_type=send_event,
            receive_event_payload_types=frozenset(events),
            direction=meet(wanted, written),
            ptime_ms=_ptime(session, media, self._ptime_ms),
            # When we did not ask to send, his answer does not tell whether he would listen.
            held=not DIRECTIONS[written][1] if wants_to_send else before,
            receive_event_clock_rates=events,
        )


def _check_direction(direction: str) -> None:
    if direction not in DIRECTIONS:
        raise LocalProtocolError(f"No such direction: {direction!r}; there are {', '.join(DIRECTIONS)}.")


def _used(plan: FormatPlan) -> tuple[AudioFormat, ...]:
    events = [AudioFormat(number, TELEPHONE_EVENT, rate) for rate, number in plan.events.items()]
    return (*plan.receive.values(), *events)


def _with_our_meaning(media: MediaDescription, plan: FormatPlan) -> tuple[AudioFormat, ...]:
    """The formats of an answer; where it leaves the `a=rtpmap` of a dynamic number out, our offer's meaning of it holds."""
    known = {item.payload_type for item in media.audio_formats}
    event_numbers = {number: rate for rate, number in plan.events.items()}
    result = list(media.audio_formats)
    for text in media.formats:
        if len(text) > 3 or not (text.isascii() and text.isdigit()) or int(text) in known:
            continue
        number = int(text)
        if number in plan.receive:
            result.append(plan.receive[number])
        elif number in event_numbers:
            result.append(AudioFormat(number, TELEPHONE_EVENT, event_numbers[number]))
    if len(result) > len(known):
        order = {text: place for place, text in enumerate(media.formats)}
        result.sort(key=lambda item: order.get(str(item.payload_type), len(order)))
    return tuple(result)


def _direction(session: SessionDescription, media: MediaDescription, connection: Connection) -> str:
    """The peer's direction: the stream's, else the session's, else sendrecv (RFC 8866 §6.7); at 0.0.0.0 he is deaf (RFC 3264 §8.4)."""
    direction = next((name for name, _ in (*media.attributes, *session.attributes) if name in DIRECTIONS), "sendrecv")
    if connection.is_unspecified:
        return direction_of(DIRECTIONS[direction][0], False)
    return direction


def _rtcp(media: MediaDescription, connection: Connection) -> tuple[str, int]:
    """Where RTCP goes: `a=rtcp:PORT [IN IP4 ADDRESS]` (RFC 3605), else the next port."""
    value = media.attribute("rtcp")
    if value:
        fields = value.split()
        port = fields[0] if fields else ""
        if port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535:
            # An address that is not the stream's own is not taken: no peer may aim our RTCP at a third party.
            return plain_address(connection.address), int(port)
    return plain_address(connection.address), min(media.port + 1, 65535)


def _ptime(session: SessionDescription, media: MediaDescription, default: int) -> int:
    """Duration of the packets that the peer wants, in ms: rounded down to 10, at least 10, at most 120 and his `a=maxptime`."""
    wanted = _milliseconds(media.attribute("ptime") or session.attribute("ptime"))
    longest = _milliseconds(media.attribute("maxptime"))
    value = wanted if wanted is not None else default
    if longest is not None:
        value = min(value, longest)
    return max(MIN_PTIME_MS, min(MAX_PTIME_MS, value // 10 * 10))


def _milliseconds(text: str | None) -> int | None:
    """A packet duration (RFC 8866 §6.4: also a fraction, as "2.5"), or None when absent; 0 and absurd values are errors."""
    text = text.strip() if text else None
    if not text:
        return None
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not text.isascii() or len(text) > 10 or not whole:
        raise SdpError("The session description has an impossible packet time.")
    if not 0 < float(text) <= ABSURD_PTIME_MS:
        raise SdpError("The session description has an impossible packet time.")
    return int(whole)


def _names(media: MediaDescription) -> str:
    """The formats of a stream in words, safe for a log line."""
    names = [f"{item.name[:20]!a}/{item.clock_rate}" for item in media.audio_formats[:8]]
    return ", ".join(names).replace("'", "") or "none that we know"


def _is_numeric(address: str) -> bool:
    return ":" in address or address.replace(".", "").isdigit()
