"""The ladder on the terminal."""

from __future__ import annotations

from flexosip.observe import Ladder
from tests.unit.observe import scene

ORDER = ["house phone", "PBX", "bell"]


def test_the_ladder_of_a_refused_call_looks_like_this() -> None:
    ladder = Ladder(scene.NAMES, order=ORDER, width=20)
    messages = [
        scene.sent(7.0, scene.PHONE, scene.PBX, scene.request("INVITE", "sip:bell@home.test", "c", 1)),
        scene.sent(7.01, scene.PBX, scene.PHONE, scene.response(100, "Trying", "INVITE", "c", 1)),
        scene.sent(7.02, scene.PBX, scene.BELL, scene.request("INVITE", "sip:bell@home.test", "d", 1)),
        scene.sent(7.03, scene.BELL, scene.PHONE, scene.response(486, "Busy Here", "INVITE", "c", 1)),
    ]
    assert "\n".join(line for message in messages if (line := ladder.line(message)) is not None).split("\n") == [
        "              house phone             PBX                bell",
        "    0.00           │── INVITE bell ───▶│                   │   calls bell",
        "    0.01           │◀┄┄┄┄ 100 Trying ┄┄│                   │   one moment",
        "    0.02           │                   │── INVITE bell ───▶│   calls bell",
        "    0.03           │◀───────────────────── 486 Busy Here ──│   busy here",
    ]


def test_lanes_of_strangers_are_added_with_a_new_heading() -> None:
    ladder = Ladder()
    first = ladder.line(scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("OPTIONS", "sip:b", "c", 1)))
    assert first is not None
    assert "192.0.2.20:5062" in first.split("\n")[0]
    second = ladder.line(scene.sent(0.1, ("2001:db8::1", 5060), scene.PBX, scene.request("OPTIONS", "sip:b", "d", 1)))
    assert second is not None
    assert "[2001:db8::1]:5060" in second.split("\n")[0]


def test_a_message_to_oneself_and_a_repeat_are_drawn() -> None:
    ladder = Ladder({"192.0.2.20": "phone"})
    message = scene.sent(0.0, scene.PHONE, ("192.0.2.20", 5070), scene.request("OPTIONS", "sip:b", "c", 1))
    assert "⟲ OPTIONS" in (ladder.line(message) or "")
    assert "⟲ OPTIONS (again)" in (ladder.line(message) or "")


def test_what_is_no_sip_draws_nothing() -> None:
    assert Ladder().line(scene.rtp(0.0, scene.PHONE_RTP, scene.BELL_RTP, 1)) is None


def test_colours_are_used_only_when_wanted() -> None:
    message = scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("BYE", "sip:b", "c", 1))
    assert "\x1b[" not in (Ladder().line(message) or "")
    assert "\x1b[33m" in (Ladder(colour=True).line(message) or "")


def test_a_note_stands_between_the_messages() -> None:
    ladder = Ladder(start=1.0)
    assert ladder.note(2.5, "motion!") == "    1.50  · motion!"
