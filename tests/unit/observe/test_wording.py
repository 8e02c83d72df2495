"""What an arrow says."""

from __future__ import annotations

import pytest

from flexosip.observe.wording import Reader, arrows, summarize
from tests.unit.observe import scene


def test_the_first_try_before_a_challenge_is_quiet_and_the_second_is_not() -> None:
    drawn = arrows(scene.registration(0.0, scene.PHONE, "r"))
    assert [(arrow.kind, arrow.label) for arrow in drawn] == [
        ("quiet", "REGISTER"),
        ("quiet", "401 Unauthorized"),
        ("register", "REGISTER"),
        ("register", "200 OK"),
    ]
    assert drawn[2].caption == "here I am, and this proves it"


def test_the_ack_to_a_refusal_is_quiet_and_that_to_the_answer_is_not() -> None:
    drawn = [arrow for arrow in arrows(scene.call_in(0.0)) if arrow.label == "ACK"]
    assert [arrow.kind for arrow in drawn] == ["quiet", "success", "success"]
    live = Reader()
    kinds = [arrow.kind for message in scene.call_in(0.0) if (arrow := live.arrow(message)) is not None and arrow.label == "ACK"]
    assert kinds == ["quiet", "success", "success"]


def test_a_message_recorded_at_both_ends_is_drawn_once_and_a_repeat_is_marked() -> None:
    first = scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("INVITE", "sip:a@b", "c", 1))
    again = scene.sent(0.5, scene.PHONE, scene.PBX, first.data)
    drawn = arrows([first, scene.received(first), again, scene.received(again)])
    assert [(arrow.message.at, arrow.repeated) for arrow in drawn] == [(0.0, False), (0.5, True)]


def test_a_message_recorded_only_at_its_receiver_is_drawn() -> None:
    message = scene.received(scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("BYE", "sip:a@b", "c", 1)))
    assert [arrow.label for arrow in arrows([message])] == ["BYE"]


@pytest.mark.parametrize(
    ("data", "label", "caption"),
    [
        (scene.request("INVITE", "sip:%23609@fritz.box", "c", 1), "INVITE #609", "calls #609"),
        (scene.request("INVITE", "sip:a@b", "c", 1, to_tag=True), "INVITE", "changes the call"),
        (scene.request("REGISTER", "sip:b", "c", 1, extra="Expires: 0\r\n"), "REGISTER", "I leave"),
        (scene.request("CANCEL", "sip:a@b", "c", 1, extra="Reason: SIP;cause=200\r\n"), "CANCEL", "stop ringing: answered elsewhere"),
        (scene.response(486, "Busy Here", "INVITE", "c", 1), "486 Busy Here", "busy here"),
        (scene.response(499, "Odd", "INVITE", "c", 1), "499 Odd", "refused"),
    ],
)
def test_labels_and_captions(data: bytes, label: str, caption: str) -> None:
    (arrow,) = arrows([scene.sent(0.0, scene.PHONE, scene.PBX, data)])
    assert (arrow.label, arrow.caption) == (label, caption)


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"INVITE", b"SIP/2.0", b"SIP/2.0 abc\r\n", b"\xff\xfe" * 50, b"a b c\r\n:\r\n x\r\nCSeq:\r\n"]
)
def test_garbage_is_summarized_without_an_error(data: bytes) -> None:
    summarize(data)


def test_compact_and_folded_headers_are_read() -> None:
    summary = summarize(b"INVITE sip:a@b SIP/2.0\r\ni: call\r\nt: <sip:a@b>\r\n ;tag=x\r\nCSeq: 7 INVITE\r\n\r\n")
    assert (summary.call_id, summary.cseq, summary.to_tag) == ("call", "7", True)


def test_a_live_reader_keeps_a_bounded_memory() -> None:
    reader = Reader()
    for number in range(9_000):
        reader.arrow(scene.sent(0.0, scene.PHONE, scene.PBX, scene.response(401, "Unauthorized", "INVITE", f"c{number}", 1)))
    assert len(reader._seen._sent) <= 4_096
    assert len(reader._again._known) <= 4_096
    assert len(reader._refused) <= 4_096
