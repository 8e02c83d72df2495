"""RFC 3264 (with RFC 6337): the rules of offer and answer, each as a sentence."""

from __future__ import annotations

import pytest

from flexosip.sdp import AudioFormat, Negotiation, SdpError, SessionDescription

PCMA = AudioFormat(8, "PCMA", 8000)
PCMU = AudioFormat(0, "PCMU", 8000)
OPUS = AudioFormat(97, "opus", 48000, 2)


def ours(*formats: AudioFormat) -> Negotiation:
    return Negotiation(formats or (PCMA, PCMU), address="192.0.2.1", port=40000, session_id=7)


def description(*media: str, connection: str = "IN IP4 192.0.2.9", version: int = 1) -> bytes:
    head = ("v=0", f"o=peer 1 {version} IN IP4 192.0.2.9", "s=-", f"c={connection}", "t=0 0")
    return ("\r\n".join([*head, *media]) + "\r\n").encode()


def media_of(data: bytes) -> list[tuple[str, int, str, tuple[str, ...]]]:
    return [(item.media, item.port, item.protocol, item.formats) for item in SessionDescription.parse(data).media]


def direction_of(data: bytes) -> str:
    (word,) = [
        name for name, _ in SessionDescription.parse(data).media[0].attributes if name in ("sendrecv", "sendonly", "recvonly", "inactive")
    ]
    return word


# -- §5 and §6: offer and answer --------------------------------------------------------------------------------------


def test_section_5_the_session_id_of_the_o_line_is_constant_and_its_address_unicast() -> None:
    mine = ours()
    first = SessionDescription.parse(mine.create_offer()).origin
    mine.receive_answer(description("m=audio 5004 RTP/AVP 8"))
    second = SessionDescription.parse(mine.create_offer("sendonly")).origin
    assert (first.username, first.session_id, first.address) == (second.username, second.session_id, second.address)


def test_section_5_1_dynamic_payload_types_are_described_by_rtpmap() -> None:
    assert b"a=rtpmap:97 opus/48000/2\r\n" in ours(OPUS).create_offer()


def test_section_6_the_answer_has_as_many_m_lines_as_the_offer_in_the_same_order() -> None:
    answer = ours().receive_offer(
        description(
            "m=video 5000 RTP/AVP 31",
            "m=audio 5002 RTP/AVP 8",
            "m=application 5004 TCP/BFCP *",
            "m=image 5006 udptl t38",
            "m=audio 5008 RTP/AVP 0",
        )
    )
    assert media_of(answer) == [
        ("video", 0, "RTP/AVP", ("31",)),
        ("audio", 40000, "RTP/AVP", ("8",)),
        ("application", 0, "TCP/BFCP", ("*",)),
        ("image", 0, "udptl", ("t38",)),
        ("audio", 0, "RTP/AVP", ("0",)),
    ]


def test_section_6_a_refused_stream_has_port_zero_and_at_least_one_format() -> None:
    answer = media_of(ours().receive_offer(description("m=audio 5002 RTP/AVP 8", "m=video 5000 RTP/SAVPF 96 97")))
    assert answer[1] == ("video", 0, "RTP/SAVPF", ("96", "97"))


def test_section_6_the_t_line_of_the_answer_is_that_of_the_offer() -> None:
    for time in (b"t=0 0", b"t=4058038202 0"):
        assert b"\r\n" + time + b"\r\nm=" in ours().receive_offer(description("m=audio 5002 RTP/AVP 8").replace(b"t=0 0", time))


def test_section_6_1_the_answer_holds_only_what_was_offered() -> None:
    ((_, _, _, formats),) = media_of(ours(PCMU, PCMA, OPUS).receive_offer(description("m=audio 5002 RTP/AVP 18 8")))
    assert formats == ("8",)


def test_section_6_1_telephone_event_is_not_answered_unless_offered() -> None:
    assert b"telephone-event" not in ours().receive_offer(description("m=audio 5002 RTP/AVP 8 0"))


def test_section_6_1_the_answer_keeps_the_offerers_order_of_preference() -> None:
    mine = ours(PCMA, PCMU)
    ((_, _, _, formats),) = media_of(mine.receive_offer(description("m=audio 5002 RTP/AVP 0 8")))
    assert formats == ("0", "8")
    assert mine.agreement is not None and mine.agreement.send_format == PCMU


def test_section_6_1_the_answer_uses_the_offerers_payload_type_numbers() -> None:
    mine = ours(OPUS)
    answer = mine.receive_offer(
        description("m=audio 5002 RTP/AVP 111 126", "a=rtpmap:111 opus/48000/2", "a=rtpmap:126 telephone-event/48000")
    )
    assert media_of(answer)[0][3] == ("111", "126")
    assert mine.agreement is not None
    assert (mine.agreement.send_format.payload_type, mine.agreement.send_event_payload_type) == (111, 126)
    assert set(mine.agreement.receive_formats) == {111}


def test_section_6_1_with_no_common_format_the_offer_is_refused_with_488() -> None:
    with pytest.raises(SdpError) as caught:
        ours().receive_offer(description("m=audio 5002 RTP/AVP 18"))
    assert caught.value.status_hint == 488


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_section_6_1_the_direction_is_mirrored(offered: str, answered: str) -> None:
    mine = ours()
    assert direction_of(mine.receive_offer(description("m=audio 5002 RTP/AVP 8", f"a={offered}"))) == answered
    assert mine.agreement is not None and mine.agreement.direction == answered


def test_section_6_1_sendrecv_is_the_default_direction() -> None:
    assert direction_of(ours().receive_offer(description("m=audio 5002 RTP/AVP 8"))) == "sendrecv"


def test_section_6_1_a_session_level_direction_holds_where_the_stream_has_none() -> None:
    assert direction_of(ours().receive_offer(description("a=sendonly", "m=audio 5002 RTP/AVP 8"))) == "recvonly"
    assert direction_of(ours().receive_offer(description("a=sendonly", "m=audio 5002 RTP/AVP 8", "a=inactive"))) == "inactive"


# -- §7: the offerer reads the answer ---------------------------------------------------------------------------------


def test_section_7_the_offerer_sends_the_first_format_of_the_answer_under_the_answerers_number() -> None:
    mine = ours(PCMA, OPUS)
    mine.create_offer()
    agreement = mine.receive_answer(description("m=audio 5002 RTP/AVP 98 8", "a=rtpmap:98 opus/48000/2"))
    assert (agreement.send_format.name, agreement.send_format.payload_type) == ("opus", 98)


def test_section_7_the_offerer_receives_under_its_own_numbers() -> None:
    mine = ours(OPUS)
    mine.create_offer()
    assert 97 in mine.receive_answer(description("m=audio 5002 RTP/AVP 98", "a=rtpmap:98 opus/48000/2")).receive_formats


def test_section_7_a_stream_refused_in_the_answer_is_an_error_of_the_call() -> None:
    mine = ours()
    mine.create_offer()
    with pytest.raises(SdpError) as caught:
        mine.receive_answer(description("m=audio 0 RTP/AVP 8"))
    assert caught.value.status_hint == 488


# -- §8: changing the session -----------------------------------------------------------------------------------------


def test_section_8_the_number_of_m_lines_never_decreases() -> None:
    mine = ours()
    mine.receive_offer(description("m=video 5000 RTP/AVP 31", "m=audio 5002 RTP/AVP 8"))
    assert [item[:2] for item in media_of(mine.create_offer("sendonly"))] == [("video", 0), ("audio", 40000)]


def test_section_8_an_unchanged_description_keeps_its_version() -> None:
    mine = ours()
    first = mine.receive_offer(description("m=audio 5002 RTP/AVP 8"))
    assert mine.receive_offer(description("m=audio 5002 RTP/AVP 8")) == first
    assert mine.create_offer() == first


def test_section_8_a_changed_description_raises_its_version_by_exactly_one() -> None:
    mine = ours()
    versions = [SessionDescription.parse(mine.receive_offer(description("m=audio 5002 RTP/AVP 8"))).origin.version]
    versions.append(SessionDescription.parse(mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=sendonly"))).origin.version)
    versions.append(SessionDescription.parse(mine.receive_offer(description("m=audio 5002 RTP/AVP 8"))).origin.version)
    assert versions == ["1", "2", "3"]


def test_section_8_3_1_the_peer_may_move_his_sound_to_another_port_and_address() -> None:
    mine = ours()
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8"))
    mine.receive_offer(description("m=audio 7000 RTP/AVP 8", connection="IN IP4 198.51.100.4", version=2))
    assert mine.agreement is not None
    assert (mine.agreement.remote_address, mine.agreement.remote_port) == ("198.51.100.4", 7000)


def test_section_8_3_2_a_payload_type_keeps_its_meaning_for_the_life_of_the_session() -> None:
    mine = ours(PCMA, OPUS, AudioFormat(98, "L16", 16000))
    mine.receive_offer(description("m=audio 5002 RTP/AVP 98 8", "a=rtpmap:98 opus/48000/2"))
    later = SessionDescription.parse(mine.create_offer(all_formats=True)).media[0]
    meanings = {item.payload_type: item.name.lower() for item in later.audio_formats}
    assert meanings[98] == "opus"
    assert [number for number, name in meanings.items() if name == "l16"] != [98]


# -- §8.4: hold -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offered", "may_receive"), [("sendonly", True), ("inactive", False)])
def test_section_8_4_a_peer_that_offers_sendonly_or_inactive_holds_us(offered: str, may_receive: bool) -> None:
    mine = ours()
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8"))
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", f"a={offered}", version=2))
    agreement = mine.agreement
    assert agreement is not None
    assert agreement.held and not agreement.may_send and agreement.may_receive == may_receive


def test_section_8_4_a_held_call_is_resumed_by_an_offer_of_sendrecv() -> None:
    mine = ours()
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=sendonly"))
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=sendrecv", version=2))
    assert mine.agreement is not None and not mine.agreement.held and mine.agreement.direction == "sendrecv"


def test_section_8_4_we_hold_by_sendonly_and_are_answered_recvonly() -> None:
    mine = ours()
    data = mine.create_offer("sendonly")
    assert direction_of(data) == "sendonly"
    agreement = mine.receive_answer(description("m=audio 5002 RTP/AVP 8", "a=recvonly"))
    assert agreement.direction == "sendonly" and not agreement.held


def test_section_8_4_hold_on_hold_is_inactive() -> None:
    holding = ours()
    assert direction_of(holding.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=sendonly"), direction="sendonly")) == "inactive"
    assert holding.agreement is not None and holding.agreement.held
    offering = ours()
    offering.create_offer("sendonly")
    agreement = offering.receive_answer(description("m=audio 5002 RTP/AVP 8", "a=inactive"))
    assert agreement.direction == "inactive" and agreement.held


def test_section_8_4_who_was_held_stays_held_while_his_own_offer_does_not_ask_to_speak() -> None:
    mine = ours()
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=sendonly"))
    mine.create_offer("inactive")
    assert mine.receive_answer(description("m=audio 5002 RTP/AVP 8", "a=inactive")).held
    mine.create_offer("sendrecv")
    assert not mine.receive_answer(description("m=audio 5002 RTP/AVP 8")).held


@pytest.mark.parametrize("connection", ["IN IP4 0.0.0.0", "IN IP4 0.0.0.0/0"])
def test_section_8_4_the_address_0_0_0_0_is_the_old_way_to_hold(connection: str) -> None:
    mine = ours()
    answer = mine.receive_offer(description("m=audio 5002 RTP/AVP 8", connection=connection))
    assert direction_of(answer) == "recvonly"
    assert mine.agreement is not None and mine.agreement.held and not mine.agreement.may_send
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=inactive", connection=connection))
    assert mine.agreement.direction == "inactive"


def test_section_8_4_the_address_0_0_0_0_holds_in_an_answer_too() -> None:
    mine = ours()
    mine.create_offer()
    agreement = mine.receive_answer(description("m=audio 5002 RTP/AVP 8", connection="IN IP4 0.0.0.0"))
    assert agreement.held and agreement.direction == "recvonly"


# -- RFC 3261 §13.2.1 and §14 ---------------------------------------------------------------------------------------------


def test_rfc_3261_an_offer_in_the_2xx_is_answered_in_the_ack() -> None:
    callee, caller = ours(), Negotiation((PCMU,), address="192.0.2.2", port=50000, session_id=8)
    answer = caller.receive_offer(callee.create_offer())
    agreement = callee.receive_answer(answer)
    assert agreement.send_format == PCMU and caller.agreement is not None
    assert (agreement.remote_port, caller.agreement.remote_port) == (50000, 40000)


def test_rfc_3261_a_refused_reinvite_leaves_the_session_as_it_was() -> None:
    mine = ours()
    mine.create_offer()
    before = mine.receive_answer(description("m=audio 5002 RTP/AVP 8"))
    mine.create_offer("sendonly")
    mine.rollback()
    assert mine.agreement is before


# -- RFC 4733 §2.1, RFC 4568, RFC 3605 ------------------------------------------------------------------------------------


def test_rfc_4733_telephone_event_has_the_clock_rate_of_the_codec() -> None:
    mine = ours(OPUS)
    lines = (
        "m=audio 5002 RTP/AVP 111 101 126",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:126 telephone-event/48000",
    )
    assert media_of(mine.receive_offer(description(*lines)))[0][3] == ("111", "126")


def test_rfc_4733_a_telephone_event_of_another_clock_rate_is_not_taken() -> None:
    mine = ours(OPUS)
    mine.receive_offer(description("m=audio 5002 RTP/AVP 111 101", "a=rtpmap:111 opus/48000/2", "a=rtpmap:101 telephone-event/8000"))
    assert mine.agreement is not None
    assert mine.agreement.send_event_payload_type is None and not mine.agreement.receive_event_payload_types


def test_rfc_4568_a_secure_stream_is_never_answered_in_the_clear() -> None:
    secure = "m=audio 5002 RTP/SAVP 8"
    with pytest.raises(SdpError) as caught:
        ours().receive_offer(description(secure))
    assert caught.value.status_hint == 488
    answer = ours().receive_offer(description(secure, "m=audio 5004 RTP/AVP 8"))
    assert [item[1:3] for item in media_of(answer)] == [(0, "RTP/SAVP"), (40000, "RTP/AVP")]


def test_rfc_3605_rtcp_goes_to_the_port_that_the_peer_names() -> None:
    mine = ours()
    mine.receive_offer(description("m=audio 5002 RTP/AVP 8", "a=rtcp:53020"))
    assert mine.agreement is not None and mine.agreement.remote_rtcp == ("192.0.2.9", 53020)
