"""The demo as a newcomer runs it, judged by what it tells, what is heard in demo.wav, and what is in its other two files."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from tests.hearing import Heard, hear
from tests.house import ROOT, Program

PROMPTS = ROOT / "src" / "flexosip" / "apps" / "bell" / "prompts"
STORY = [
    ("registered", {}),
    ("registered", {}),
    ("answered", {}),
    ("mode", {"mode": "once"}),
    ("digit", {"digit": "5", "via": "rfc4733"}),
    ("mode", {"mode": "5min"}),
    ("ended", {"status": 200, "by": "local"}),
    ("triggered", {"source": "motion"}),
    ("ringing", {}),
    ("answered", {}),
    ("ended", {"status": 200, "by": "remote"}),
]
SAME, ANOTHER = 0.95, 0.7
"""Likeness of a prompt that is there, and of one that is not."""


@dataclass(frozen=True)
class Run:
    """What one run of the demo left."""

    code: int
    seconds: float
    events: list[dict[str, Any]]
    said: str
    folder: Path

    def at(self, name: str, number: int = 0) -> float:
        """When an event happened."""
        return [float(event["at"]) for event in self.events if event["event"] == name][number]


@pytest.fixture(scope="module", params=["en", "de"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo, once in each language; the imports are told as well."""
    folder = tmp_path_factory.mktemp("demo")
    words = ("-X", "importtime", "-m", "flexosip", "demo", "--json", "--out", str(folder / "out"), "--language", request.param)
    began = time.monotonic()
    with Program(*words, folder=folder) as program:
        code = program.finish(30)
        seconds = time.monotonic() - began
        return Run(code, seconds, [json.loads(line) for line in program.lines], program.errors, folder / "out")


def test_it_ends_well_in_less_than_fifteen_seconds(run: Run) -> None:
    assert run.code == 0
    assert run.seconds < 15.0
    assert "Traceback" not in run.said
    assert sorted(path.name for path in run.folder.iterdir()) == ["demo.pcap", "demo.wav", "ladder.svg"]


def test_the_story_is_told_in_order(run: Run) -> None:
    told = [event for event in run.events if event["event"] in {name for name, _ in STORY}]
    assert [event["event"] for event in told] == [name for name, _ in STORY]
    for event, (_, fields) in zip(told, STORY, strict=True):
        assert fields.items() <= event.items()
    assert {event["aor"].split("@")[0] for event in told[:2]} == {"sip:house", "sip:bell"}
    times = [event["at"] for event in run.events]
    assert times == sorted(times) and times[-1] - times[0] < 15
    assert run.events[-1]["event"] == "files"


def test_people_read_a_ladder_on_standard_error(run: Run) -> None:
    for words in ("INVITE bell", "somebody presses 5", "180 Ringing", "REGISTER", "What the house phone heard"):
        assert words in run.said


def test_nothing_but_python_is_imported(run: Run) -> None:
    imported = [line.rsplit("|", 1)[1].strip() for line in run.said.splitlines() if line.startswith("import time:")]
    assert "flexosip.demo.story" in imported
    # what site-packages brings by itself comes before the program
    own = {name.split(".")[0] for name in imported[imported.index("flexosip") :]}
    own.discard("org")  # `copy` asks for a module of Jython
    assert own <= {*sys.stdlib_module_names, "flexosip"}


def test_each_prompt_is_heard_at_its_place(run: Run, request: pytest.FixtureRequest) -> None:
    language = request.node.callspec.params["run"]
    heard = hear(run.folder / "demo.wav")
    welcome, on, five = (hear(PROMPTS / language / f"{name}.wav") for name in ("welcome", "on", "5min"))
    pressed = run.at("digit") - run.at("answered")
    places = [heard.find(prompt) for prompt in (welcome, on, five)]
    assert [round(place.likeness, 2) >= SAME for place in places] == [True, True, True], places
    # 500 ms after the answer, 200 ms after the welcome, 300 ms after the key; the jitter buffer holds sound back for some packets
    for place, expected in zip(places, (0.5, places[0].start + welcome.seconds + 0.2, pressed + 0.3), strict=True):
        assert place.start == pytest.approx(expected, abs=0.12)
    assert places[1].start - places[0].start - welcome.seconds == pytest.approx(0.2, abs=0.005)
    assert heard.level(0.0, places[0].start) < -60
    assert heard.level(places[0].start + welcome.seconds + 0.02, places[1].start - 0.02) < -60


def test_no_other_prompt_is_heard(run: Run, request: pytest.FixtureRequest) -> None:
    language = request.node.callspec.params["run"]
    heard = hear(run.folder / "demo.wav")
    others = {"en": "de", "de": "en"}
    silent = [PROMPTS / language / f"{name}.wav" for name in ("off", "once", "forever")]
    silent += [PROMPTS / others[language] / f"{name}.wav" for name in ("welcome", "on", "5min")]
    assert {path: found for path in silent if (found := heard.find(hear(path))).likeness > ANOTHER} == {}


def test_the_ear_tells_a_wrong_place_and_a_stuttering_prompt() -> None:
    """The judge is judged: a prompt with a gap, one cut short, and one that is late are not taken for right."""
    welcome, on = hear(PROMPTS / "en" / "welcome.wav"), hear(PROMPTS / "en" / "on.wav")
    pause = b"\0\0" * welcome.rate
    whole = Heard(welcome.rate, (pause + welcome.left + pause + on.left + pause,))
    assert whole.find(welcome).likeness == pytest.approx(1.0) and whole.find(welcome).start == pytest.approx(1.0, abs=0.001)
    assert whole.find(on).start == pytest.approx(2.0 + welcome.seconds, abs=0.001)
    middle = len(welcome.left) // 4 * 2
    stuttering = Heard(welcome.rate, (pause + welcome.left[:middle] + pause[:3200] + welcome.left[middle:] + pause,))
    assert stuttering.find(welcome).likeness < SAME
    cut = Heard(welcome.rate, (pause + welcome.left[:middle] + pause + pause,))
    assert cut.find(welcome).likeness < SAME
    assert whole.find(welcome, after=1.2).likeness < SAME


# -- the ladder -----------------------------------------------------------------------------------------------------------


def test_the_ladder_is_a_drawing_with_the_lanes_and_the_story(run: Run) -> None:
    root = ElementTree.parse(run.folder / "ladder.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for lane in ("house phone", "PBX", "bell"):
        assert texts.count(lane) >= 1, lane
    words = " ".join(texts)
    for word in ("REGISTER", "401 Unauthorized", "INVITE", "180 Ringing", "200 OK", "ACK", "BYE", "somebody presses 5", "motion"):
        assert word in words, word
    assert float(root.get("width", "0").removesuffix("px")) > 300 and float(root.get("height", "0").removesuffix("px")) > 300


# -- the capture ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """A UDP datagram of a capture."""

    at: float
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


def packets_of(path: Path) -> list[Packet]:
    """Read a pcap file of raw IPv4, strictly."""
    data = path.read_bytes()
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D) and (major, minor) == (2, 4) and link in (101, 228)
    unit = 1e-6 if magic == 0xA1B2C3D4 else 1e-9
    found, offset = [], 24
    while offset < len(data):
        seconds, parts, kept, length = struct.unpack_from("<IIII", data, offset)
        packet = data[offset + 16 : offset + 16 + kept]
        offset += 16 + kept
        assert kept == length == len(packet) and packet[0] == 0x45 and packet[9] == 17
        words = struct.unpack("!10H", packet[:20])
        assert sum(words) % 0xFFFF == 0, "the checksum of an IPv4 header is wrong"
        assert words[1] == kept
        source_port, target_port, udp_length = struct.unpack_from("!HHH", packet, 20)
        assert udp_length == kept - 20
        hosts = [".".join(map(str, packet[at : at + 4])) for at in (12, 16)]
        found.append(Packet(seconds + parts * unit, (hosts[0], source_port), (hosts[1], target_port), packet[28:]))
    assert offset == len(data)
    return found


def test_the_capture_holds_every_packet_of_the_story(run: Run) -> None:
    packets = packets_of(run.folder / "demo.pcap")
    times = [packet.at for packet in packets]
    assert times == sorted(times)
    assert run.events[0]["at"] - 1 < times[0] and times[-1] < run.events[-1]["at"] + 1
    pbx = int(run.events[0]["aor"].rsplit(":", 1)[1])
    messages = [parse_message(packet.data) for packet in packets if pbx in (packet.source[1], packet.target[1])]
    requests = [message.method for message in messages if isinstance(message, Request)]
    # each leg of each call: both INVITEs are challenged at the PBX, and go on from there once
    assert requests.count("REGISTER") == 6
    assert requests.count("INVITE") == 6
    assert requests.count("BYE") == 4
    assert {message.status for message in messages if isinstance(message, Response)} == {100, 180, 200, 401, 407}
    sound = [packet for packet in packets if pbx not in (packet.source[1], packet.target[1])]
    rtp = [packet for packet in sound if packet.data[0] >> 6 == 2 and not 200 <= packet.data[1] <= 204]
    ended = run.at("ended")
    speech = [packet for packet in rtp if packet.data[1] & 0x7F == 8 and packet.at < ended]
    talk = ended - run.at("answered")
    assert len({(packet.source, packet.target) for packet in speech}) == 2
    assert len(speech) == pytest.approx(2 * 50 * talk, abs=40)
    keys = [packet for packet in rtp if packet.data[1] & 0x7F not in (0, 8)]
    assert keys and {packet.data[12] for packet in keys} == {5}
    assert [packet for packet in sound if packet.data[1] == 200], "no RTCP sender report"


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is absent")
def test_tcpdump_reads_the_capture(run: Run) -> None:
    result = subprocess.run(["tcpdump", "-nr", str(run.folder / "demo.pcap")], capture_output=True, text=True, timeout=30, check=True)
    assert len(result.stdout.splitlines()) == len(packets_of(run.folder / "demo.pcap"))


# -- misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--out", "file/below"), ("--port", "70000"), ("--language", "xx")])
def test_misuse_is_one_sentence_and_exit_2(words: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Program("-m", "flexosip", "demo", "--json", *words, folder=tmp_path) as program:
        assert program.finish() == 2
        assert "Traceback" not in program.errors


def test_a_taken_port_is_exit_6(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        words = ("--port", str(taken.getsockname()[1]), "--out", "out")
        with Program("-m", "flexosip", "demo", "--json", *words, folder=tmp_path) as program:
            assert program.finish() == 6
            assert [json.loads(line)["event"] for line in program.lines] == ["error"]
