"""The offer/answer machine: numbers, versions, misuse, odd peers."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexosip.errors import LocalProtocolError
from flexosip.sdp import AudioFormat, Negotiation, SdpError, SessionDescription, refusal

CORPUS = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"

PCMA = AudioFormat(8, "PCMA", 8000)
PCMU = AudioFormat(0, "PCMU", 8000)
G722 = AudioFormat(9, "G722", 8000)
L16 = AudioFormat(96, "L16", 16000)
OPUS = AudioFormat(97, "opus", 48000, 2, "useinbandfec=1")


def negotiation(*formats: AudioFormat, address: str = "192.0.2.1", port: int = 40000, **options: object) -> Negotiation:
    return Negotiation(formats or (PCMA, PCMU), address=address, port=port, session_id=7, **options)  # type: ignore[arg-type]


def offer(audio: str = "m=audio 5004 RTP/AVP 8 0 101", *attributes: str, address: str = "192.0.2.9", session: str = "") -> bytes:
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0", *session.split(), audio, *attributes]
    return ("\r\n".join(lines) + "\r\n").encode()


EVENT = "a=rtpmap:101 telephone-event/8000"


def lines_of(data: bytes) -> list[str]:
    return data.decode().split("\r\n")


def version(data: bytes) -> int:
    return int(SessionDescription.parse(data).origin.version)


# -- what we write ----------------------------------------------------------------------------------------------------


def test_an_offer_in_full() -> None:
    assert lines_of(negotiation(G722, PCMA, PCMU).create_offer()) == [
        "v=0",
        "o=- 7 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 40000 RTP/AVP 9 8 0 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_an_offer_over_ipv6_says_ip6() -> None:
    lines = lines_of(negotiation(address="2001:db8::1").create_offer())
    assert "c=IN IP6 2001:db8::1" in lines and "o=- 7 1 IN IP6 2001:db8::1" in lines


def test_rtcp_is_named_only_when_it_is_not_on_the_next_port() -> None:
    assert b"a=rtcp:" not in negotiation(rtcp_port=40001).create_offer()
    assert b"a=rtcp:50000\r\n" in negotiation(rtcp_port=50000).create_offer()


def test_without_dtmf_no_telephone_event_is_offered_or_answered() -> None:
    assert b"telephone-event" not in negotiation(dtmf=False).create_offer()
    quiet = negotiation(dtmf=False)
    assert b"telephone-event" not in quiet.receive_offer(offer("m=audio 5004 RTP/AVP 8 101", EVENT))
    assert quiet.agreement is not None and quiet.agreement.send_event_payload_type is None


def test_there_is_one_telephone_event_for_each_clock_rate_with_a_number_of_its_own() -> None:
    session = SessionDescription.parse(negotiation(OPUS, L16, PCMA, PCMU).create_offer())
    events = {item.clock_rate: item.payload_type for item in session.media[0].audio_formats if item.is_event}
    assert set(events) == {48000, 16000, 8000}
    assert len({item.payload_type for item in session.media[0].audio_formats}) == 7


def test_two_formats_of_ours_under_one_number_get_two_numbers() -> None:
    session = SessionDescription.parse(negotiation(L16, AudioFormat(96, "L16", 8000)).create_offer())
    assert len(set(session.media[0].formats)) == len(session.media[0].formats) == 4


# -- versions ---------------------------------------------------------------------------------------------------------


def test_a_repeated_offer_is_the_same_text_with_the_same_version() -> None:
    mine = negotiation()
    first = mine.create_offer()
    mine.receive_answer(offer())
    assert mine.create_offer() == first


def test_the_version_rises_by_one_when_something_changed() -> None:
    mine = negotiation()
    first = mine.create_offer()
    mine.receive_answer(offer())
    held = mine.create_offer("sendonly")
    mine.receive_answer(offer("m=audio 5004 RTP/AVP 8", "a=recvonly"))
    mine.set_address("192.0.2.77", 41000)
    moved = mine.create_offer("sendonly")
    assert [version(first), version(held), version(moved)] == [1, 2, 3]
    assert b"m=audio 41000 " in moved and b"c=IN IP4 192.0.2.77\r\n" in moved


def test_a_refused_offer_never_shares_its_version_with_another_text() -> None:
    mine = negotiation()
    mine.create_offer()
    mine.receive_answer(offer())
    refused = mine.create_offer("sendonly")
    mine.rollback()
    again = mine.create_offer("inactive")
    assert (version(refused), version(again)) == (2, 3)


def test_the_answer_to_an_unchanged_offer_is_unchanged() -> None:
    mine = negotiation()
    first = mine.receive_offer(offer())
    assert mine.receive_offer(offer()) == first


def test_an_offer_after_an_answer_of_ours_repeats_that_answer() -> None:
    mine = negotiation(G722, PCMA, PCMU)
    answer = mine.receive_offer(offer("m=audio 5004 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000"))
    assert mine.create_offer() == answer


def test_a_late_offer_lists_everything_and_keeps_the_numbers_in_use() -> None:
    mine = negotiation(PCMA, OPUS, L16)
    mine.receive_offer(offer("m=audio 5004 RTP/AVP 96 8 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 telephone-event/8000"))
    session = SessionDescription.parse(mine.create_offer(all_formats=True))
    numbers = {(item.name.lower(), item.clock_rate): item.payload_type for item in session.media[0].audio_formats}
    assert numbers["opus", 48000] == 96 and numbers["pcma", 8000] == 8 and numbers["telephone-event", 8000] == 97
    assert numbers["l16", 16000] not in (8, 96, 97)


# -- answers to us ----------------------------------------------------------------------------------------------------


def test_asymmetric_numbers_we_send_his_and_receive_ours() -> None:
    mine = negotiation(OPUS, PCMA)
    mine.create_offer()
    agreement = mine.receive_answer(
        offer("m=audio 5004 RTP/AVP 111 120", "a=rtpmap:111 OPUS/48000/2", "a=fmtp:111 stereo=1", "a=rtpmap:120 telephone-event/48000")
    )
    assert agreement.send_format == AudioFormat(111, "opus", 48000, 2, "stereo=1")
    assert agreement.receive_formats[97].name == "opus"
    assert agreement.receive_formats[111].name == "opus"  # peers that send their own number are understood too
    assert agreement.send_event_payload_type == 120
    assert {101, 120} <= agreement.receive_event_payload_types


def test_his_number_never_takes_the_place_of_one_of_ours() -> None:
    mine = negotiation(OPUS, L16)
    mine.create_offer()
    agreement = mine.receive_answer(offer("m=audio 5004 RTP/AVP 96 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 L16/16000"))
    assert agreement.send_format.payload_type == 96
    assert agreement.receive_formats[96].name == "L16" and agreement.receive_formats[97].name == "opus"


def test_an_answer_without_rtpmap_has_our_meaning_of_the_numbers() -> None:
    mine = negotiation(L16, PCMA)
    mine.create_offer()
    agreement = mine.receive_answer(offer("m=audio 5004 RTP/AVP 96 101"))
    assert (agreement.send_format.name, agreement.send_format.payload_type) == ("L16", 96)
    assert agreement.send_event_payload_type is None  # 101 was offered for the other clock rate


def test_the_answers_of_183_and_200_may_differ_and_the_last_one_holds() -> None:
    mine = negotiation()
    mine.create_offer()
    early = mine.receive_answer(offer("m=audio 5004 RTP/AVP 8"))
    assert not mine.pending_offer
    assert mine.receive_answer(offer("m=audio 5004 RTP/AVP 8")) is early
    final = mine.receive_answer(offer("m=audio 6006 RTP/AVP 0"))
    assert (final.remote_port, final.send_format.name) == (6006, "PCMU")
    assert mine.agreement is final


def test_forks_answer_the_same_offer_apart() -> None:
    mine = negotiation()
    mine.create_offer()
    twin, third = mine.fork(), copy.copy(mine)
    mine.receive_answer(offer("m=audio 5004 RTP/AVP 8"))
    assert twin.pending_offer and twin.agreement is None
    assert twin.receive_answer(offer("m=audio 6006 RTP/AVP 0")).remote_port == 6006
    assert third.pending_offer
    assert mine.agreement is not None and mine.agreement.remote_port == 5004


def test_a_bad_answer_changes_nothing() -> None:
    mine = negotiation()
    mine.create_offer()
    for bad in (b"", offer("m=audio 0 RTP/AVP 8"), offer("m=audio 5004 RTP/AVP 18"), offer("a=nothing")):
        with pytest.raises(SdpError):
            mine.receive_answer(bad)
        assert mine.pending_offer and mine.agreement is None
    mine.receive_answer(offer())
    assert not mine.pending_offer


def test_the_answer_of_a_dahua_door_station_is_understood() -> None:
    path = CORPUS / "devices" / "dahua-vto-200-answer.sip"
    if not path.exists():
        pytest.skip("the corpus of captured messages is not here")
    mine = negotiation(AudioFormat(96, "L16", 16000))
    mine.create_offer()
    agreement = mine.receive_answer(path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2])
    assert (agreement.send_format.name, agreement.send_format.clock_rate, agreement.remote_port) == ("L16", 16000, 20000)


# -- offers to us -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "status", "words"),
    [
        (offer("m=audio 5004 RTP/SAVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"), 488, "RTP/SAVP"),
        (offer("m=audio 5004 UDP/TLS/RTP/SAVPF 8"), 488, "SAVPF"),
        (offer("m=audio 5004 RTP/AVP 18 4"), 488, "G729/8000, G723/8000"),
        (offer("m=audio 5004 RTP/AVP 101", EVENT), 488, "No common codec"),
        (offer("m=audio 0 RTP/AVP 8"), 488, "port 0"),
        (offer("m=video 5004 RTP/AVP 31"), 488, "no audio"),
        (offer("a=tool:nothing"), 488, "no media"),
        (offer(address="224.2.17.12"), 488, "multicast"),
        (offer(address="255.255.255.255"), 488, "multicast"),
        (offer(address="2001:db8::9"), 488, "IP6"),
        (offer().replace(b"c=IN IP4 192.0.2.9\r\n", b""), 400, "no address"),
        (offer("m=audio 5004 RTP/AVP 8", "a=ptime:0"), 400, "packet time"),
        (offer("m=audio 5004 RTP/AVP 8", "a=ptime:-20"), 400, "packet time"),
        (offer("m=audio 5004 RTP/AVP 8", "a=ptime:4294967316"), 400, "packet time"),
        (offer("m=audio 5004 RTP/AVP 8", "a=ptime:" + "9" * 5000), 400, "packet time"),
        (offer("m=audio 5004 RTP/AVP 8", "a=maxptime:0"), 400, "packet time"),
        (offer("m=audio 5004 RTP/AVP 8", "a=ptime:nan"), 400, "packet time"),
        (b"\x80\x08\x01\x01", 400, "v=0"),
    ],
)
def test_offers_that_cannot_be_taken_say_why_and_change_nothing(description: bytes, status: int, words: str) -> None:
    mine = negotiation()
    with pytest.raises(SdpError, match=words) as caught:
        mine.receive_offer(description)
    assert caught.value.status_hint == status
    assert mine.agreement is None and not mine.pending_offer
    assert version(mine.create_offer()) == 1


def test_a_door_station_that_offers_everything_with_port_0_gets_488() -> None:
    path = CORPUS / "devices" / "hikvision-invite-all-media-port0.sip"
    if not path.exists():
        pytest.skip("the corpus of captured messages is not here")
    with pytest.raises(SdpError) as caught:
        negotiation().receive_offer(path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2])
    assert caught.value.status_hint == 488


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ([], 20),
        (["a=ptime:30"], 30),
        (["a=ptime:25"], 20),
        (["a=ptime:2.5"], 10),
        (["a=ptime:160"], 120),
        (["a=ptime:60", "a=maxptime:40"], 40),
        (["a=maxptime:10"], 10),
        (["a=ptime:"], 20),
    ],
)
def test_the_packet_time_is_the_peers_wish_within_bounds(attributes: list[str], milliseconds: int) -> None:
    mine = negotiation()
    mine.receive_offer(offer("m=audio 5004 RTP/AVP 8", *attributes))
    assert mine.agreement is not None and mine.agreement.ptime_ms == milliseconds


@pytest.mark.parametrize(
    ("attributes", "port"),
    [
        ([], 5005),
        (["a=rtcp:6000"], 6000),
        (["a=rtcp:6000 IN IP4 192.0.2.9"], 6000),
        (["a=rtcp:0"], 5005),
        (["a=rtcp:x"], 5005),
        (["a=rtcp"], 5005),
    ],
)
def test_where_rtcp_goes(attributes: list[str], port: int) -> None:
    mine = negotiation()
    mine.receive_offer(offer("m=audio 5004 RTP/AVP 8", *attributes))
    assert mine.agreement is not None and mine.agreement.remote_rtcp == ("192.0.2.9", port)


def test_rtcp_is_never_sent_to_a_third_party() -> None:
    mine = negotiation()
    mine.receive_offer(offer("m=audio 5004 RTP/AVP 8", "a=rtcp:53 IN IP4 198.51.100.1"))
    assert mine.agreement is not None and mine.agreement.remote_rtcp == ("192.0.2.9", 53)


def test_opus_without_its_two_channels_and_g722_with_the_audio_rate_are_recognised() -> None:
    mine = negotiation(OPUS, G722)
    mine.receive_offer(offer("m=audio 5004 RTP/AVP 100 9", "a=rtpmap:100 OPUS/48000", "a=rtpmap:9 G722/16000"))
    assert mine.agreement is not None
    assert {number: item.key for number, item in mine.agreement.receive_formats.items()} == {100: OPUS.key, 9: G722.key}
    assert mine.agreement.receive_formats[9].clock_rate == 8000


def test_of_two_audio_streams_the_one_in_use_stays_in_use() -> None:
    mine = negotiation()
    mine.receive_offer(offer("m=audio 5000 RTP/AVP 18", "m=audio 5002 RTP/AVP 8"))
    assert mine.agreement is not None and mine.agreement.remote_port == 5002
    answer = mine.receive_offer(offer("m=audio 5000 RTP/AVP 8", "m=audio 5002 RTP/AVP 8"))
    assert mine.agreement.remote_port == 5002
    assert [media.port for media in SessionDescription.parse(answer).media] == [0, 40000]


def test_the_stream_whose_address_family_is_ours_is_taken() -> None:
    streams = ["c=IN IP4 192.0.2.9", "m=audio 6000 RTP/AVP 0", "c=IN IP6 2001:db8::9"]
    data = offer("m=audio 5000 RTP/AVP 0", *streams)
    four, six = negotiation(), negotiation(address="2001:db8::1")
    four.receive_offer(data)
    six.receive_offer(data)
    assert four.agreement is not None and four.agreement.remote_port == 5000
    assert six.agreement is not None and (six.agreement.remote_address, six.agreement.remote_port) == ("2001:db8::9", 6000)


def test_a_feedback_profile_is_answered_in_kind() -> None:
    assert b"m=audio 40000 RTP/AVPF 8\r\n" in negotiation().receive_offer(offer("m=audio 5004 RTP/AVPF 8"))


def test_an_m_line_without_formats_is_refused_with_one() -> None:
    answer = negotiation().receive_offer(offer("m=audio 5004 RTP/AVP 8", "m=video 36924 RTP/AVP"))
    assert b"m=video 0 RTP/AVP 0\r\n" in answer


# -- misuse and glare -------------------------------------------------------------------------------------------------


def test_a_second_offer_before_the_answer_is_our_mistake() -> None:
    mine = negotiation()
    mine.create_offer()
    assert mine.pending_offer
    with pytest.raises(LocalProtocolError):
        mine.create_offer()


def test_an_answer_to_nothing_is_our_mistake() -> None:
    mine = negotiation()
    with pytest.raises(LocalProtocolError):
        mine.receive_answer(offer())
    mine.receive_offer(offer())
    with pytest.raises(LocalProtocolError):
        mine.receive_answer(offer())


def test_crossing_offers_are_491() -> None:
    mine = negotiation()
    mine.create_offer()
    with pytest.raises(SdpError) as caught:
        mine.receive_offer(offer())
    assert caught.value.status_hint == 491
    assert mine.pending_offer


def test_rollback_brings_back_what_held_before_our_offer() -> None:
    mine = negotiation()
    with pytest.raises(LocalProtocolError):
        mine.rollback()
    mine.create_offer()
    before = mine.receive_answer(offer())
    mine.create_offer("sendonly")
    mine.rollback()
    assert mine.agreement is before and not mine.pending_offer
    with pytest.raises(LocalProtocolError):
        mine.rollback()


def test_rollback_brings_back_what_held_before_the_peers_offer() -> None:
    mine = negotiation(PCMA, PCMU)
    first = mine.receive_offer(offer("m=audio 5004 RTP/AVP 8"))
    before = mine.agreement
    mine.receive_offer(offer("m=audio 6006 RTP/AVP 0", "a=sendonly", "m=video 1 RTP/AVP 31"))
    assert mine.agreement != before
    mine.rollback()
    assert mine.agreement is before
    assert lines_of(mine.create_offer())[5:] == lines_of(first)[5:]


@pytest.mark.parametrize("options", [{"ptime_ms": 0}, {"ptime_ms": 200}])
def test_impossible_settings_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        negotiation(**options)


def test_a_direction_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="sendrecv, sendonly, recvonly, inactive"):
        negotiation().create_offer("both")
    with pytest.raises(LocalProtocolError):
        negotiation().receive_offer(offer(), direction="")
    with pytest.raises(LocalProtocolError):
        Negotiation((), address="192.0.2.1", port=1, session_id=1)


def test_an_agreement_can_go_to_another_process() -> None:
    mine = negotiation()
    mine.receive_offer(offer())
    assert pickle.loads(pickle.dumps(mine.agreement)) == mine.agreement


# -- both halves of ours ----------------------------------------------------------------------------------------------

FORMATS = st.lists(st.sampled_from([PCMA, PCMU, G722, L16, OPUS, AudioFormat(96, "L16", 8000)]), min_size=1, unique=True)
DIRECTION = st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])


@given(FORMATS, FORMATS, st.lists(st.tuples(st.booleans(), DIRECTION, DIRECTION), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_two_of_us_always_agree_on_the_same(
    ours: list[AudioFormat], theirs: list[AudioFormat], rounds: list[tuple[bool, str, str]]
) -> None:
    alice, bob = negotiation(*ours), negotiation(*theirs, address="192.0.2.2", port=50000)
    common = {item.key for item in ours} & {item.key for item in theirs}
    for swap, wanted, granted in rounds:
        a, b = (bob, alice) if swap else (alice, bob)
        data = a.create_offer(wanted)
        if not common:
            with pytest.raises(SdpError):
                b.receive_offer(data, direction=granted)
            return
        a.receive_answer(b.receive_offer(data, direction=granted))
        for one, other in ((a.agreement, b.agreement), (b.agreement, a.agreement)):
            assert one is not None and other is not None
            assert one.may_send == other.may_receive
            assert other.receive_formats[one.send_format.payload_type].key == one.send_format.key
            if one.send_event_payload_type is not None:
                assert one.send_event_payload_type in other.receive_event_payload_types
                assert other.receive_event_clock_rates[one.send_event_payload_type] == one.send_format.clock_rate
            assert (one.send_event_payload_type is None) == (other.send_event_payload_type is None)
        assert a.agreement is not None and b.agreement is not None
        assert (a.agreement.remote_port, b.agreement.remote_port) == (b.port, a.port)
        assert a.agreement.send_format.key == b.agreement.send_format.key


# -- repeating and declining ----------------------------------------------------------------------------------------------


def test_an_offer_of_ours_is_repeated_version_included() -> None:
    ours = negotiation()
    first = ours.create_offer()
    ours.receive_answer(first)
    assert ours.repeat_offer() == first
    assert ours.pending_offer


def test_an_answer_of_ours_is_repeated_as_an_offer_with_its_direction_its_time_and_the_streams_that_it_declined() -> None:
    ours = negotiation()
    theirs = (
        b"v=0\r\no=x 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=5 7\r\nm=video 9 RTP/AVP 96\r\nm=audio 6000 RTP/AVP 8\r\n"
        b"a=sendonly\r\n"
    )
    answer = ours.receive_offer(theirs)
    assert b"a=recvonly" in answer and b"t=5 7" in answer and b"m=video 0" in answer
    assert ours.repeat_offer() == answer


def test_after_a_refused_offer_what_was_agreed_is_repeated_under_a_version_of_its_own() -> None:
    ours = negotiation()
    first = ours.create_offer()
    ours.receive_answer(first)
    ours.create_offer("sendonly")
    ours.rollback()
    again = ours.repeat_offer()
    assert again == first.replace(b" 1 IN IP4", b" 3 IN IP4")


def test_there_is_nothing_to_repeat_before_the_first_description_nor_while_an_offer_waits() -> None:
    ours = negotiation()
    with pytest.raises(LocalProtocolError):
        ours.repeat_offer()
    ours.create_offer()
    with pytest.raises(LocalProtocolError):
        ours.repeat_offer()


def test_an_answer_that_declines_everything_mirrors_each_stream_with_port_0() -> None:
    answer = refusal(b"v=0\r\no=x 1 1 IN IP4 192.0.2.2\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 9 101\r\nm=image 7000 udptl t38\r\n")
    assert answer is not None
    session = SessionDescription.parse(answer)
    assert [(media.media, media.port, media.formats) for media in session.media] == [("audio", 0, ("9", "101")), ("image", 0, ("t38",))]
    assert refusal(b"nonsense") is None
