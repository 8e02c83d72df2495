"""Reading of session descriptions: what real devices send, and what attackers send."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexosip.sdp import AudioFormat, SdpError, SessionDescription

CORPUS = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
IMPOSSIBLE = "SIPUserAgentUnitTest-03"  # has port 79762
FILES = sorted(path for folder in ("*-sdp", "rfc-offer-answer") for path in CORPUS.glob(f"{folder}/*.sdp"))
needs_corpus = pytest.mark.skipif(not FILES, reason="the corpus of captured messages is not here")

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"


def audio(lines: str) -> str:
    return HEAD + lines.replace("\n", "\r\n")


def body_of(name: str) -> bytes:
    path = CORPUS / "devices" / name
    if not path.exists():
        pytest.skip("the corpus of captured messages is not here")
    return path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]


@needs_corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_captured_description_is_read_and_written_back_without_loss(path: Path) -> None:
    if path.stem == IMPOSSIBLE:
        with pytest.raises(SdpError, match="port"):
            SessionDescription.parse(path.read_bytes())
        return
    session = SessionDescription.parse(path.read_bytes())
    assert SessionDescription.parse(bytes(session)) == session
    assert bytes(session).startswith(b"v=0\r\no=")


@needs_corpus
def test_a_description_cut_at_any_octet_is_read_or_refused_and_nothing_else() -> None:
    for path in FILES:
        data = path.read_bytes()
        for length in range(len(data)):
            try:
                SessionDescription.parse(data[:length])
            except SdpError as error:
                assert error.status_hint in (400, 488)


def test_the_fields_of_a_usual_offer() -> None:
    session = SessionDescription.parse(
        audio("b=AS:84\nm=audio 5004 RTP/AVP 8 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=sendonly\n")
    )
    (media,) = session.media
    assert (session.origin.session_id, session.origin.version, session.origin.address) == ("1", "1", "192.0.2.9")
    assert (media.media, media.port, media.protocol, media.formats) == ("audio", 5004, "RTP/AVP", ("8", "0", "101"))
    assert media.audio_formats == (
        AudioFormat(8, "PCMA", 8000),
        AudioFormat(0, "PCMU", 8000),
        AudioFormat(101, "telephone-event", 8000, fmtp="0-16"),
    )
    assert media.attribute("ptime") == "20"
    assert media.attribute("sendonly") == ""
    assert media.attribute("recvonly") is None


def test_lf_and_lone_cr_line_ends_and_a_trailing_nul_are_tolerated() -> None:
    text = audio("m=audio 5004 RTP/AVP 8\n")
    wanted = SessionDescription.parse(text)
    for variant in (text.replace("\r\n", "\n"), text.replace("\r\n", "\r"), text + "\0", "\r\n" + text, text.rstrip()):
        assert SessionDescription.parse(variant.encode()) == wanted


def test_a_name_that_is_no_utf8_survives_byte_for_byte() -> None:
    data = HEAD.replace("s=-", "s=pok\xe9mon").encode("latin-1")
    assert b"s=pok\xe9mon\r\n" in bytes(SessionDescription.parse(data))


def test_the_first_of_several_descriptions_in_one_body_counts() -> None:
    session = SessionDescription.parse(audio("m=audio 5004 RTP/AVP 8\n") + audio("m=audio 6006 RTP/AVP 0\n"))
    assert [media.port for media in session.media] == [5004]


def test_a_user_name_with_spaces_in_the_o_line_is_tolerated() -> None:
    session = SessionDescription.parse(HEAD.replace("o=- ", "o=Cisco SIP UA "))
    assert (session.origin.username, session.origin.session_id) == ("Cisco SIP UA", "1")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("m=audio 5004 RTP/AVP 98 8\na=rtpmap:98 iLBC\n", ["PCMA"]),  # X-Lite leaves the clock rate out
        ("m=audio 5004 RTP/AVP 8\na=rtpmap:8 PCMA/8000/1\n", ["PCMA"]),
        ("m=audio 5004 RTP/AVP 8\na=rtpmap:8 pcma/8000\n", ["pcma"]),
        ("m=audio 5004 RTP/AVP 96\na=rtpmap:96\tL16/8000\n", ["L16"]),
        ("m=audio 5004 RTP/AVP 0\na=fmtp\na=rtpmap\n", ["PCMU"]),
        ("m=audio 5004 RTP/AVP 0\na=rtpmap:99 telephone-event/8000\n", ["PCMU"]),  # Dahua describes a number that it does not list
        ("m=audio 5004 RTP/AVP 97 128 -1 4294967296 x 0 0\n", ["PCMU"]),
        ("m=video 5004 RTP/AVP 0\n", []),
        ("m=audio 5004 udptl t38\n", []),
    ],
)
def test_formats_of_odd_devices(lines: str, names: list[str]) -> None:
    (media,) = SessionDescription.parse(audio(lines)).media
    assert [item.name for item in media.audio_formats] == names


def test_a_grandstream_offer_with_its_lines_in_wrong_order_is_read() -> None:
    session = SessionDescription.parse(body_of("grandstream-gxp2200-invite-savpf.sip"))
    assert session.connection is not None and session.connection.address == "192.0.2.4"
    assert [(media.media, media.port) for media in session.media] == [("audio", 54400), ("video", 55400)]


BAD = {
    "no SDP at all": ("hello", 400),
    "empty": ("", 400),
    "version 1": (HEAD.replace("v=0", "v=1"), 400),
    "no o=": ("v=0\r\ns=-\r\n", 400),
    "short o=": ("v=0\r\no=- 1\r\n", 400),
    "NUL within": (audio("m=audio 5004 RTP/AVP 8\na=x\0y\nb=AS:1\n"), 400),
    "port -1": (audio("m=audio -1 RTP/AVP 8\n"), 400),
    "port 99999": (audio("m=audio 99999 RTP/AVP 8\n"), 400),
    "port of 5000 digits": (audio("m=audio " + "9" * 5000 + " RTP/AVP 8\n"), 400),
    "superscript port": (audio("m=audio 5\u00b2 RTP/AVP 8\n"), 400),
    "2147483647 ports": (audio("m=audio 5000/2147483647 RTP/AVP 8\n"), 400),
    "1000 m= lines": (audio("m=audio 5000 RTP/AVP 8\n" * 1000), 488),
    "17 m= lines": (audio("m=audio 5000 RTP/AVP 8\n" * 17), 488),
    "65 formats": (audio("m=audio 5000 RTP/AVP " + " ".join(["8"] * 65) + "\n"), 488),
    "clock rate 0": (audio("m=audio 5000 RTP/AVP 96\na=rtpmap:96 L16/0\n"), 400),
    "clock rate 10**12": (audio("m=audio 5000 RTP/AVP 96\na=rtpmap:96 L16/1000000000000\n"), 400),
    "clock rate -8000": (audio("m=audio 5000 RTP/AVP 96\na=rtpmap:96 L16/-8000\n"), 400),
    "no channel": (audio("m=audio 5000 RTP/AVP 96\na=rtpmap:96 L16/8000/0\n"), 400),
    "64 KB attribute": (audio("m=audio 5000 RTP/AVP 8\na=x:" + "y" * 64000 + "\n"), 400),
    "body over 64 KiB": (audio("a=x:y\n" * 20000), 400),
    "m= without transport": (audio("m=audio 5000\n"), 400),
    "c= without address": (HEAD.replace("c=IN IP4 192.0.2.9", "c=IN IP4"), 400),
    "c= of another network": (HEAD.replace("c=IN IP4 192.0.2.9", "c=ATM NSAP 47.0091"), 400),
}


@pytest.mark.parametrize("name", BAD)
def test_attacks_are_refused_with_the_status_that_fits(name: str) -> None:
    data, status = BAD[name]
    with pytest.raises(SdpError) as caught:
        SessionDescription.parse(data)
    assert caught.value.status_hint == status
    with pytest.raises(SdpError):
        SessionDescription.parse(data.encode())


def test_the_limits_themselves_are_allowed() -> None:
    formats = " ".join(str(number) for number in range(64))
    session = SessionDescription.parse(audio(f"m=audio 5000/2 RTP/AVP {formats}\n" + "m=video 5000 RTP/AVP 31\n" * 15))
    assert (len(session.media), session.media[0].port_count) == (16, 2)
    assert len(session.media[0].audio_formats) == 17  # the static ones


def test_the_worst_64_kib_are_read_in_a_blink() -> None:
    worst = [
        audio("m=audio 5000 RTP/AVP 8\n" + "a=\n" * 12000),
        audio("m=audio 5000 RTP/AVP 8\n" + "a=rtpmap:96 x/8000\n" * 2800),
        audio("=\n" * 20000),
        audio("m=audio 5000 RTP/AVP 8\n" + ("a=fmtp:8 " + ";" * 8000 + "\n") * 7),
        "v=0\r\no=- 1 1 IN IP4 " + "\t" * 60000,
    ]
    for data in worst:
        start = time.process_time()
        with contextlib.suppress(SdpError):
            SessionDescription.parse(data.encode())
        assert time.process_time() - start < 0.25  # 5 to 20 ms; the margin is for a busy machine


PIECES = st.sampled_from(
    [
        "v=0",
        "o=- 1 1 IN IP4 1.2.3.4",
        "s=",
        "c=IN IP6 ::1",
        "c=",
        "t=0 0",
        "m=audio 1 RTP/AVP 0",
        "m=audio 0",
        "a=rtpmap:0 X/8000",
        "a=",
        "=",
        "m=",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=20), st.sampled_from(["\r\n", "\n", "\r"]))
@settings(max_examples=300, deadline=None)
def test_no_text_whatever_does_more_than_being_refused(lines: list[str], end: str) -> None:
    data = end.join(["v=0", "o=- 1 1 IN IP4 1.2.3.4", *lines])
    try:
        session = SessionDescription.parse(data)
    except SdpError:
        return
    assert SessionDescription.parse(bytes(session)) == session


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_whatever_do_more_than_being_refused(tail: bytes) -> None:
    try:
        session = SessionDescription.parse(HEAD.encode() + tail)
    except SdpError:
        return
    assert SessionDescription.parse(bytes(session)) == session
