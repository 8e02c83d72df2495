"""The drawn ladder: well-formed, complete, without secrets and without anything from outside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from flexosip.observe import Chapter, Mark, MediaPhase, Note, ladder_svg, media_story
from tests.unit.observe import scene

SVG = "{http://www.w3.org/2000/svg}"
ORDER = ["house phone", "PBX", "bell"]


def draw(**options: object) -> ElementTree.Element:
    return ElementTree.fromstring(ladder_svg(scene.story(), names=scene.NAMES, order=ORDER, **options))  # type: ignore[arg-type]


def texts(root: ElementTree.Element, class_name: str) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text") if class_name in element.get("class", "").split()]


def test_every_message_is_one_arrow_that_tells_all_on_hovering() -> None:
    root = draw()
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class") == "message"]
    assert len(groups) == 33
    titles = [group.findtext(f"{SVG}title", "") for group in groups]
    assert titles[4].startswith("REGISTER sip:home.test SIP/2.0\n")
    assert texts(root, "label").count("INVITE bell") == 3


def test_arrows_point_from_sender_to_receiver() -> None:
    root = draw()
    paths = [path.get("d", "") for group in root.iter(f"{SVG}g") for path in group.iter(f"{SVG}path")]
    first, second = (tuple(map(float, re.findall(r"[MH]([\d.]+)", path))) for path in paths[:2])
    assert first[0] < first[1]
    assert second[0] > second[1]


def test_secrets_are_not_in_the_file() -> None:
    text = ladder_svg(scene.story(), names=scene.NAMES)
    assert "0123456789abcdef" not in text
    assert "abc123nonce" not in text


def test_the_file_needs_nothing_from_outside() -> None:
    text = ladder_svg(scene.story(), names=scene.NAMES)
    assert re.findall(r"https?://[^\"\s<]+", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text
    assert "@import" not in text
    assert "url(" in text
    assert all(reference.startswith("#") for reference in re.findall(r"url\(([^)]*)\)", text))


def test_sound_is_a_band_between_the_two_phones_with_the_key_in_it() -> None:
    root = draw()
    (label,) = [text for text in texts(root, "voice") if text.startswith("voice")]
    assert label == "voice both ways · PCMA · 508 packets"
    bands = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "band" and float(rect.get("height", 0)) > 20]
    assert len(bands) == 1
    lanes = [float(line.get("x1", 0)) for line in root.iter(f"{SVG}line") if line.get("class") == "lane"]
    assert abs(float(bands[0].get("x", 0)) - lanes[0]) < 1
    assert abs(float(bands[0].get("width", 0)) - (lanes[2] - lanes[0])) < 1
    assert texts(root, "key") == ["5"]


def test_notes_chapters_marks_and_given_phases_are_drawn() -> None:
    root = ElementTree.fromstring(
        ladder_svg(
            scene.alert(0.0),
            names=scene.NAMES,
            order=ORDER,
            title="A <bell> & more",
            notes=[Note(0.0, "the bell says: off → once", "bell"), Note(0.1, "for all"), Chapter(0.0, "1 · Motion")],
            phases=[MediaPhase(1.0, 2.0, ("bell", "house phone"), "voice")],
            marks=[Mark(1.5, "bell", "house phone", "“Hello”", "sound")],
        )
    )
    assert texts(root, "title") == ["A <bell> & more"]
    assert texts(root, "note-text") == ["the bell says: off → once", "for all"]
    assert texts(root, "chapter-text") == ["1 · Motion"]
    assert "♪ “Hello”" in texts(root, "voice")
    assert "+8.0 s" in texts(root, "time")


def test_the_reader_chooses_light_or_dark() -> None:
    auto, light, dark = (ladder_svg(scene.alert(0.0), theme=theme) for theme in ("auto", "light", "dark"))  # type: ignore[arg-type]
    assert "prefers-color-scheme: dark" in auto
    assert "prefers-color-scheme" not in light + dark
    assert ".paper { fill: #fdfdfb }" in light
    assert ".paper { fill: #10151c }" in dark


@pytest.mark.parametrize("data", [b"INVITE sip:\x00\x1b]<a>&@b SIP/2.0\r\nX: \xff\x0b\r\n\r\n", b"\x21\x22"])
def test_hostile_messages_give_well_formed_xml(data: bytes) -> None:
    ElementTree.fromstring(ladder_svg([scene.sent(0.0, scene.PHONE, scene.PBX, data)]))


def test_an_empty_trace_gives_a_drawing() -> None:
    assert ElementTree.fromstring(ladder_svg([])).tag == f"{SVG}svg"


def test_the_drawing_stays_within_its_width() -> None:
    root = draw(notes=[Note(1.0, "a long remark that would stick out of the drawing on its right side", "bell")])
    width = float(root.get("width", 0))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") != "paper":
            assert float(rect.get("x", 0)) >= 0
            assert float(rect.get("x", 0)) + float(rect.get("width", 0)) <= width


def test_packets_recorded_at_both_ends_count_once() -> None:
    sent = [scene.rtp(number * 0.02, scene.PHONE_RTP, scene.BELL_RTP, number) for number in range(10)]
    phases, marks = media_story(message for packet in sent for message in (packet, scene.received(packet)))
    assert [phase.label for phase in phases] == ["voice one way · PCMA · 10 packets"]
    assert marks == []


def test_a_pause_divides_two_phases_and_equal_keys_are_two_presses() -> None:
    def press(at: float, timestamp: int) -> object:
        return scene.rtp(at, scene.PHONE_RTP, scene.BELL_RTP, timestamp, 101, b"\x0b\x0a\x01\x40", timestamp=timestamp)

    sdp = scene.sent(0.0, scene.PHONE, scene.PBX, scene.request("INVITE", "sip:a@b", "c", 1, body=scene.SDP))
    phases, marks = media_story([sdp, press(0.1, 800), press(0.12, 800), press(0.5, 4000), press(3.0, 9000)])  # type: ignore[list-item]
    assert [(mark.at, mark.text) for mark in marks] == [(0.1, "#"), (0.5, "#"), (3.0, "#")]
    assert [(phase.start, phase.end) for phase in phases] == [(0.1, 0.5), (3.0, 3.0)]
