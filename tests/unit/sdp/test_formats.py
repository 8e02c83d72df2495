"""Formats: what makes two the same, and the table of static payload types."""

from __future__ import annotations

import pytest

from flexosip.sdp import STATIC_FORMATS, AudioFormat
from flexosip.sdp.agreement import DIRECTIONS, direction_of, meet
from flexosip.sdp.formats import answer_plan, offer_plan


def test_rtpmap_leaves_one_channel_out() -> None:
    assert AudioFormat(8, "PCMA", 8000).rtpmap() == "8 PCMA/8000"
    assert AudioFormat(97, "opus", 48000, 2).rtpmap() == "97 opus/48000/2"


def test_the_static_table_is_that_of_rfc_3551() -> None:
    assert {number: (item.name, item.clock_rate, item.channels) for number, item in STATIC_FORMATS.items()} == {
        0: ("PCMU", 8000, 1),
        3: ("GSM", 8000, 1),
        4: ("G723", 8000, 1),
        5: ("DVI4", 8000, 1),
        6: ("DVI4", 16000, 1),
        7: ("LPC", 8000, 1),
        8: ("PCMA", 8000, 1),
        9: ("G722", 8000, 1),
        10: ("L16", 44100, 2),
        11: ("L16", 44100, 1),
        12: ("QCELP", 8000, 1),
        13: ("CN", 8000, 1),
        14: ("MPA", 90000, 1),
        15: ("G728", 8000, 1),
        16: ("DVI4", 11025, 1),
        17: ("DVI4", 22050, 1),
        18: ("G729", 8000, 1),
    }


def test_mono_and_stereo_are_different_formats() -> None:
    assert AudioFormat(10, "L16", 44100, 2).key != AudioFormat(11, "L16", 44100, 1).key


@pytest.mark.parametrize("ours", DIRECTIONS)
@pytest.mark.parametrize("theirs", DIRECTIONS)
def test_the_met_direction_never_exceeds_either_side(ours: str, theirs: str) -> None:
    send, receive = DIRECTIONS[meet(ours, theirs)]
    assert send == (DIRECTIONS[ours][0] and DIRECTIONS[theirs][1])
    assert receive == (DIRECTIONS[ours][1] and DIRECTIONS[theirs][0])
    assert direction_of(send, receive) == meet(ours, theirs)


def test_plans_are_shared_between_calls_unless_a_peer_makes_them_large() -> None:
    ours = (AudioFormat(8, "PCMA", 8000),)
    assert offer_plan(ours, True) is offer_plan(ours, True)
    assert answer_plan(ours, True, ours) is answer_plan(ours, True, ours)
    large = (AudioFormat(8, "PCMA", 8000, fmtp="x" * 8000),)
    assert answer_plan(ours, True, large) is not answer_plan(ours, True, large)


def test_a_format_offered_twice_is_taken_once() -> None:
    ours = (AudioFormat(8, "PCMA", 8000),)
    plan = answer_plan(ours, True, (AudioFormat(8, "PCMA", 8000), AudioFormat(99, "pcma", 8000)))
    assert plan is not None and plan.payload_types == "8"
