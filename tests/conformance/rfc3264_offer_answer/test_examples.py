"""The worked examples of RFC 3264 §10 and RFC 4317, and every captured offer."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexosip.sdp import AudioFormat, Negotiation, SdpError, SessionDescription

CORPUS = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
EXAMPLES = CORPUS / "rfc-offer-answer"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the corpus of captured messages is not here")

PCMU = AudioFormat(0, "PCMU", 8000)
PCMA = AudioFormat(8, "PCMA", 8000)
G723 = AudioFormat(4, "G723", 8000)
ILBC = AudioFormat(97, "iLBC", 8000)


def read(name: str) -> bytes:
    return (EXAMPLES / f"{name}.sdp").read_bytes()


def ours(*formats: AudioFormat, address: str = "192.0.2.1") -> Negotiation:
    return Negotiation(formats, address=address, port=49920, session_id=2890844730)


def media_of(data: bytes) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(item.media, item.port, item.formats) for item in SessionDescription.parse(data).media]


def test_rfc_3264_section_10_1_bob_answers_audio_and_declines_the_pictures() -> None:
    bob = ours(PCMU)
    answer = bob.receive_offer(read("RFC_3264_example_10.1_Bob_s_view_-1"))
    assert media_of(answer) == [("audio", 49920, ("0",)), ("video", 0, ("31",)), ("video", 0, ("32",))]
    assert bob.agreement is not None
    assert (bob.agreement.remote_address, bob.agreement.remote_port) == ("host.anywhere.com", 49170)


def test_rfc_3264_section_10_1_a_stream_added_later_is_declined_and_the_audio_moves() -> None:
    alice = ours(PCMU)
    alice.create_offer()
    alice.receive_answer(read("RFC_3264_example_10.1_Alice_s_view_-2"))
    answer = alice.receive_offer(read("RFC_3264_example_10.1_Alice_s_view_-4"))
    assert [item[:2] for item in media_of(answer)] == [("audio", 49920), ("video", 0), ("video", 0), ("audio", 0)]
    assert alice.agreement is not None and alice.agreement.remote_port == 65422


def test_rfc_3264_section_10_2_one_of_n_codecs_is_chosen_by_a_second_offer() -> None:
    bob = ours(PCMU, G723)
    answer = bob.receive_offer(read("RFC_3264_example_10.2_Bob_s_view_-1"))
    assert media_of(answer) == [("audio", 49920, ("0", "4"))] and b"a=inactive\r\n" in answer
    assert bob.agreement is not None and not bob.agreement.may_send
    answer = bob.receive_offer(read("RFC_3264_example_10.2_Bob_s_view_-4"))
    assert media_of(answer) == [("audio", 49920, ("4",))]
    assert bob.agreement.send_format == G723 and bob.agreement.direction == "sendrecv"


def test_rfc_4317_section_2_1_the_answerer_takes_one_codec() -> None:
    alice = ours(PCMU, PCMA, ILBC)
    alice.create_offer()
    agreement = alice.receive_answer(read("RFC_4317_section_2.1_Audio_and_Video_1_Alice_s_view_-2"))
    assert agreement.send_format == PCMU and agreement.remote_port == 49174


def test_rfc_4317_section_2_2_the_codecs_are_narrowed_to_one_by_a_second_offer() -> None:
    bob = ours(PCMA, PCMU)
    first = bob.receive_offer(read("RFC_4317_section_2.2_Audio_and_Video_2_Bob_s_view_-1"))
    assert media_of(first) == [("audio", 49920, ("0", "8")), ("video", 0, ("31", "32"))]
    bob.receive_offer(read("RFC_4317_section_2.2_Audio_and_Video_2_Bob_s_view_-7"))
    assert bob.agreement is not None
    assert (bob.agreement.send_format, bob.agreement.remote_port) == (PCMU, 51372)


def test_rfc_4317_section_2_4_a_stream_of_its_own_for_digits_is_declined() -> None:
    bob = ours(ILBC)
    answer = bob.receive_offer(read("RFC_4317_section_2.4_Audio_and_Telephone_Events_Bob_s_view_-1"))
    assert media_of(answer) == [("audio", 49920, ("97",)), ("audio", 0, ("98",))]


def test_rfc_4317_section_2_6_the_first_stream_that_fits_is_taken() -> None:
    bob = ours(ILBC)
    answer = bob.receive_offer(read("RFC_4317_section_2.6_Audio_with_Telephone_Events_Bob_s_view_-1"))
    assert media_of(answer) == [("audio", 0, ("0",)), ("audio", 49920, ("97", "101"))]
    assert bob.agreement is not None
    assert (bob.agreement.remote_port, bob.agreement.send_event_payload_type) == (51372, 101)


def test_every_captured_offer_gets_a_mirrored_answer_or_a_reason() -> None:
    answered = refused = 0
    for path in sorted(path for folder in ("*-sdp", "rfc-offer-answer") for path in CORPUS.glob(f"{folder}/*.sdp")):
        data = path.read_bytes()
        for address in ("192.0.2.1", "2001:db8::1"):
            mine = ours(PCMA, PCMU, AudioFormat(9, "G722", 8000), address=address)
            try:
                answer = SessionDescription.parse(mine.receive_offer(data))
            except SdpError as error:
                refused += 1
                assert error.status_hint in (400, 488) and mine.agreement is None
                continue
            answered += 1
            offer = SessionDescription.parse(data)
            assert [item.media for item in answer.media] == [item.media for item in offer.media]
            taken = [item for item in answer.media if item.port]
            assert len(taken) == 1
            assert set(taken[0].formats) <= set(offer.media[answer.media.index(taken[0])].formats)
    assert answered > 60 and refused > 60
