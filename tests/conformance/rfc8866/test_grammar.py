"""RFC 8866: the text of a session description, each rule as a sentence."""

from __future__ import annotations

import pytest

from flexosip.sdp import AudioFormat, Connection, MediaDescription, Negotiation, Origin, SdpError, SessionDescription

FULL = (
    b"v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\ni=SDP Offer #1\r\n"
    b"u=http://www.jdoe.example.com/home.html\r\ne=Jane Doe <jane@jdoe.example.com>\r\np=+1 617 555-6011\r\nc=IN IP4 198.51.100.1\r\n"
    b"b=AS:128\r\nt=0 0\r\na=tool:x\r\na=recvonly\r\nm=audio 49170 RTP/AVP 0\r\nm=audio 49180 RTP/AVP 0\r\n"
    b"m=video 51372 RTP/AVP 99\r\ni=second\r\nc=IN IP6 2001:db8::2\r\nb=TIAS:64\r\na=rtpmap:99 h263-1998/90000\r\n"
)
"""The example of §5 with some more lines, in the order that the grammar wants."""


def test_section_5_the_example_of_the_rfc_is_read_and_written_back_octet_for_octet() -> None:
    session = SessionDescription.parse(FULL)
    assert session.name == "Call to John Smith"
    assert session.origin == Origin("jdoe", "3724394400", "3724394405", "198.51.100.1")
    assert [media.port for media in session.media] == [49170, 49180, 51372]
    assert bytes(session) == FULL


def test_section_5_lines_in_the_wrong_order_are_read_and_written_in_the_right_one() -> None:
    lines = FULL.split(b"m=")[0].split(b"\r\n")[2:-1]
    shuffled = b"\r\n".join([*FULL.split(b"\r\n")[:2], *reversed(lines), b""]) + b"m=" + FULL.split(b"m=", 1)[1]
    written = bytes(SessionDescription.parse(shuffled)).split(b"\r\n")
    letters = [line[:1].decode() for line in written[: written.index(b"m=audio 49170 RTP/AVP 0")]]
    assert "".join(letters) == "vosiuepcbtaa"


def test_section_5_a_description_ends_its_lines_with_crlf() -> None:
    data = bytes(SessionDescription.parse(FULL.replace(b"\r\n", b"\n")))
    assert data == FULL and data.endswith(b"\r\n")


def test_section_5_what_we_write_has_its_lines_in_order() -> None:
    mine = Negotiation([AudioFormat(0, "PCMU", 8000)], address="192.0.2.1", port=4000, session_id=1)
    letters = [line[:1] for line in mine.create_offer().decode().split("\r\n") if line]
    assert "".join(letters).rstrip("a") == "vosctm"


def test_section_5_1_another_version_than_0_is_refused() -> None:
    with pytest.raises(SdpError):
        SessionDescription.parse(FULL.replace(b"v=0", b"v=2"))


def test_section_5_2_the_origin_is_mandatory_and_has_six_fields() -> None:
    for bad in (FULL.replace(b"o=jdoe", b"x=jdoe"), FULL.replace(b"3724394405 IN", b"")):
        with pytest.raises(SdpError):
            SessionDescription.parse(bad)


def test_section_5_3_a_missing_session_name_or_time_is_tolerated_and_written_as_the_grammar_wants() -> None:
    written = bytes(SessionDescription.parse(b"v=0\no=- 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"))
    assert b"\r\ns=-\r\n" in written and b"\r\nt=0 0\r\n" in written


def test_section_5_7_the_connection_of_a_medium_comes_before_that_of_the_session() -> None:
    session = SessionDescription.parse(FULL)
    assert session.connection_of(session.media[0]) == Connection("198.51.100.1")
    assert session.connection_of(session.media[2]) == Connection("2001:db8::2", family="IP6")


@pytest.mark.parametrize(
    ("line", "connection", "multicast", "unspecified"),
    [
        (b"IN IP4 198.51.100.1", Connection("198.51.100.1"), False, False),
        (b"IN IP4 233.252.0.1/127/3", Connection("233.252.0.1", "/127/3"), True, False),
        (b"IN IP6 ff00::db8:0:101/3", Connection("ff00::db8:0:101", "/3", "IP6"), True, False),
        (b"IN IP6 fd00::1", Connection("fd00::1", family="IP6"), False, False),
        (b"IN IP4 0.0.0.0", Connection("0.0.0.0"), False, True),
        (b"IN IP6 ::", Connection("::", family="IP6"), False, True),
        (b"IN IP4 pc33.example.com", Connection("pc33.example.com"), False, False),
    ],
)
def test_section_5_7_forms_of_the_connection(line: bytes, connection: Connection, multicast: bool, unspecified: bool) -> None:
    session = SessionDescription.parse(FULL.replace(b"c=IN IP4 198.51.100.1", b"c=" + line))
    assert session.connection == connection
    assert (connection.is_multicast, connection.is_unspecified) == (multicast, unspecified)
    assert bytes(session).count(b"c=" + line + b"\r\n") == 1


def test_section_5_13_unknown_attributes_are_kept_and_change_nothing() -> None:
    data = FULL.replace(b"a=tool:x", b"a=x-new: a:b \r\na=x-flag")
    session = SessionDescription.parse(data)
    assert session.attributes == (("x-new", " a:b "), ("x-flag", None), ("recvonly", None))
    assert bytes(session) == data


def test_section_5_14_an_m_line_may_name_several_ports() -> None:
    (media,) = SessionDescription.parse(FULL.split(b"m=")[0] + b"m=video 49170/2 RTP/AVP 31\r\n").media
    assert (media.port, media.port_count, media.media_line()) == (49170, 2, "m=video 49170/2 RTP/AVP 31")


def test_section_6_6_encoding_names_are_compared_without_regard_to_case() -> None:
    mine = Negotiation([AudioFormat(8, "PCMA", 8000)], address="192.0.2.1", port=4000, session_id=1)
    mine.receive_offer(FULL.split(b"m=")[0] + b"m=audio 49170 RTP/AVP 96\r\na=rtpmap:96 pCmA/8000\r\n")
    assert mine.agreement is not None and mine.agreement.send_format.payload_type == 96


def test_rfc_3551_static_payload_types_need_no_rtpmap() -> None:
    media: MediaDescription = SessionDescription.parse(FULL.split(b"m=")[0] + b"m=audio 49170 RTP/AVP 8 0 9\r\n").media[0]
    assert [(item.name, item.clock_rate) for item in media.audio_formats] == [("PCMA", 8000), ("PCMU", 8000), ("G722", 8000)]
