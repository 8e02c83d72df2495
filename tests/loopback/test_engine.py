"""The engine's thread on real sockets: two streams talk over loopback, and what arrives is listened to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flexosip.audio.levels import find_gaps, find_sounds
from flexosip.audio.sources import Tone
from flexosip.audio.tones import tone_pcm
from flexosip.audio.wav import WavWriter
from flexosip.media.engine import MediaEngine
from flexosip.media.events import (
    DigitReceived,
    FrameCaptured,
    MediaStarted,
    PlaybackEnded,
    PlaybackStarted,
    RecordingEnded,
    StreamClosed,
)
from flexosip.media.ports import PortAllocator
from flexosip.media.settings import MediaFormat, StreamSettings
from flexosip.media.stream import MediaStream
from flexosip.rtp.packet import RtpPacket
from tests.hearing import hear

PCMA = MediaFormat("PCMA")
HOST = "127.0.0.1"


def bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    try:
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


class Phone:
    """One end: a stream with its ports and what it told."""

    def __init__(self, engine: MediaEngine, ports: PortAllocator[socket.socket], host: str = HOST) -> None:
        self.loop = asyncio.get_running_loop()
        pair = ports.allocate(host)
        self.address = (host, pair.port)
        self.events: list[Any] = []
        self.changed = asyncio.Event()
        self.stream: MediaStream = engine.open_stream(pair.rtp, pair.rtcp, self._told, loop=self.loop)

    def _told(self, event: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.events.append(event)
        self.changed.set()

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[Any], count: int = 1, timeout: float = 8.0) -> list[Any]:
        async with asyncio.timeout(timeout):
            while len(self.told(kind)) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.told(kind)

    def talk_to(self, remote: tuple[str, int], **changes: Any) -> None:
        values: dict[str, Any] = {"send_event_payload_type": 101, "receive_event_payload_types": frozenset((101,)), **changes}
        self.stream.configure(StreamSettings(remote, PCMA, 8, {8: PCMA}, **values))

    async def close(self) -> None:
        self.stream.close()
        await self.wait(StreamClosed)


@pytest.fixture
async def engine() -> AsyncIterator[MediaEngine]:
    made = MediaEngine.shared().acquire()
    yield made
    made.release()
    assert await asyncio.to_thread(made.join, 3.0), "a thread of the engine is left"


@pytest.fixture
def ports() -> PortAllocator[socket.socket]:
    return PortAllocator(bind)


async def test_a_file_is_heard_on_the_other_side_with_its_level_and_without_gaps(
    engine: MediaEngine, ports: PortAllocator[socket.socket], tmp_path: Path
) -> None:
    writer = WavWriter(tmp_path / "tone.wav", 44100, 1)
    writer.write(tone_pcm(Tone(1000, duration=1.5), 44100))
    writer.close()
    one, two = Phone(engine, ports), Phone(engine, ports)
    one.talk_to(two.address)
    two.talk_to(one.address)
    two.stream.record(1, tmp_path / "heard.wav")
    one.stream.play(1, tmp_path / "tone.wav", delay=0.2)
    two.stream.play(1, Tone(440, duration=1.0))
    (ended,) = await one.wait(PlaybackEnded)
    assert ended == PlaybackEnded(1, pytest.approx(1.5, abs=0.01), True)
    await asyncio.sleep(0.3)
    await one.close()
    await two.close()
    assert two.told(RecordingEnded)[0].error is None
    heard = hear(tmp_path / "heard.wav")
    (sound,) = [span for span in find_sounds(heard.tracks[0], 8000) if span.duration > 0.1]
    assert sound.duration == pytest.approx(1.5, abs=0.1)
    middle = heard.cut(sound.start + 0.1, sound.end - 0.1)
    assert not find_gaps(middle, 8000)
    assert heard.tone(1000, sound.start + 0.1, sound.end - 0.1, 0) == pytest.approx(-13, abs=1)
    assert heard.tone(440, 0.2, 0.9, 1) == pytest.approx(-13, abs=1)
    assert one.told(MediaStarted)[0].source == two.address
    assert [type(event) for event in one.events][-1] is StreamClosed


async def test_packets_leave_evenly(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    listener = bind(HOST, 0)
    listener.settimeout(3.0)
    one = Phone(engine, ports)
    one.talk_to(listener.getsockname())
    one.stream.play(1, Tone(440))
    arrivals: list[float] = []
    packets: list[RtpPacket] = []

    def listen() -> None:
        for _ in range(100):
            packets.append(RtpPacket.parse(listener.recv(2048)))
            arrivals.append(time.monotonic())

    await asyncio.to_thread(listen)
    await one.close()
    listener.close()
    grid = [at - 0.02 * index for index, at in enumerate(arrivals)]
    middle = sorted(grid)[50]
    # Generous: this machine may be busy with other things. No drift, no bunching.
    assert sum(abs(at - middle) > 0.015 for at in grid) <= 15
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 160 * ((b.sequence - a.sequence) & 0xFFFF) for a, b in pairwise(packets))


async def test_the_first_packet_is_not_held_back(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    listener = bind(HOST, 0)
    listener.settimeout(1.0)
    one = Phone(engine, ports)
    began = time.monotonic()
    one.talk_to(listener.getsockname())
    await asyncio.to_thread(listener.recv, 2048)
    assert time.monotonic() - began < 0.25
    await one.close()
    listener.close()


async def test_digits_in_both_directions(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    one, two = Phone(engine, ports), Phone(engine, ports)
    one.talk_to(two.address)
    two.talk_to(one.address)
    one.stream.send_digits("12#")
    two.stream.send_digits("0*")
    await two.wait(DigitReceived, 3)
    await one.wait(DigitReceived, 2)
    assert "".join(event.digit for event in two.told(DigitReceived)) == "12#"
    assert "".join(event.digit for event in one.told(DigitReceived)) == "0*"
    await one.close()
    await two.close()


async def test_stop_is_quick_and_exact(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    one = Phone(engine, ports)
    one.talk_to((HOST, 9))
    one.stream.play(1, Tone(440))
    await one.wait(PlaybackStarted)
    await asyncio.sleep(0.5)
    asked = time.monotonic()
    one.stream.stop()
    (ended,) = await one.wait(PlaybackEnded)
    assert time.monotonic() - asked < 0.25
    assert ended.position % 0.02 == pytest.approx(0, abs=1e-6) or ended.position % 0.02 == pytest.approx(0.02, abs=1e-6)
    assert ended.position == pytest.approx(0.5, abs=0.25)
    await one.close()


async def test_captured_sound_and_loopback(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    from flexosip.audio.levels import tone_level

    one, two = Phone(engine, ports), Phone(engine, ports)
    one.talk_to(two.address)
    two.talk_to(one.address)
    two.stream.loopback(True)
    one.stream.capture(True)
    one.stream.play(1, Tone(600))
    await asyncio.sleep(1.2)
    sound = b"".join(event.pcm for event in one.told(FrameCaptured))
    assert tone_level(sound[-2 * 4000 :], 8000, 600) == pytest.approx(-13, abs=1.5)
    await one.close()
    await two.close()


async def test_over_ipv6(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    try:
        bind("::1", 0).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    one, two = Phone(engine, ports, "::1"), Phone(engine, ports, "::1")
    one.talk_to(("0:0:0:0:0:0:0:1", two.address[1]))
    two.talk_to(one.address)
    one.stream.send_digits("6")
    await two.wait(DigitReceived)
    assert two.stream.statistics().discarded_by_source == 0
    await one.close()
    await two.close()


async def test_a_fault_of_the_users_callback_reaches_no_other_stream(
    engine: MediaEngine, ports: PortAllocator[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = Phone(engine, ports), Phone(engine, ports)

    def broken(event: Any) -> None:
        raise RuntimeError("in the user's callback")

    one.stream._on_event = broken
    one.talk_to(two.address)
    two.talk_to(one.address)
    one.stream.play(1, Tone(440, duration=0.1))
    two.stream.play(1, Tone(440, duration=0.3))
    await two.wait(PlaybackEnded)
    one.stream.close()
    await two.close()
    for _ in range(100):
        if one.stream.final_statistics is not None:
            break
        await asyncio.sleep(0.02)
    assert one.stream.final_statistics is not None
    assert "in the user's callback" in caplog.text


async def test_many_streams_opened_and_closed_at_once_leave_no_descriptor(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(4):
        phones = [Phone(engine, ports) for _ in range(60)]
        for phone in phones:
            phone.talk_to((HOST, 9))
        await asyncio.sleep(0.05)
        for phone in phones:
            phone.stream.close()
        for phone in phones:
            await phone.wait(StreamClosed)
            ports.release(phone.address[1])
    assert ports.in_use == 0
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_the_thread_exists_only_while_it_is_needed(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    assert not engine.running
    one = Phone(engine, ports)
    one.talk_to((HOST, 9))
    await asyncio.sleep(0.1)
    assert engine.running
    assert [thread.name for thread in threading.enumerate()].count("flexosip-media") == 1
    await one.close()
    for _ in range(150):
        if not engine.running:
            break
        await asyncio.sleep(0.02)
    assert not engine.running


async def test_it_does_not_wait_for_a_blocked_event_loop(engine: MediaEngine, ports: PortAllocator[socket.socket]) -> None:
    listener = bind(HOST, 0)
    listener.setblocking(False)
    one = Phone(engine, ports)
    one.talk_to(listener.getsockname())
    one.stream.play(1, Tone(440))
    await asyncio.sleep(0.1)
    time.sleep(0.6)  # the user blocks the loop
    count = 0
    while True:
        try:
            listener.recv(2048)
        except BlockingIOError:
            break
        count += 1
    assert count == pytest.approx(35, abs=6)
    await one.close()
    listener.close()


STOPPED = """
import asyncio, socket, sys
from flexosip.audio.sources import Tone
from flexosip.media.engine import MediaEngine
from flexosip.media.settings import MediaFormat, StreamSettings

async def main():
    sockets = []
    for _ in range(2):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.bind(("127.0.0.1", 0))
        sockets.append(one)
    engine = MediaEngine.shared().acquire()
    stream = engine.open_stream(*sockets, lambda event: None, loop=asyncio.get_running_loop())
    pcma = MediaFormat("PCMA")
    stream.configure(StreamSettings(("127.0.0.1", int(sys.argv[1])), pcma, 8, {8: pcma}))
    stream.play(1, Tone(440))
    await asyncio.sleep(30)

asyncio.run(main())
"""


def test_a_process_that_was_stopped_for_two_seconds_sends_no_burst() -> None:
    listener = bind(HOST, 0)
    listener.setblocking(True)
    listener.settimeout(5.0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", STOPPED, str(listener.getsockname()[1])], env=environment)
    try:
        arrivals: list[tuple[float, RtpPacket]] = []

        def listen(count: int) -> None:
            for _ in range(count):
                packet = RtpPacket.parse(listener.recv(2048))
                arrivals.append((time.monotonic(), packet))

        listen(25)
        child.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                arrivals.append((time.monotonic(), RtpPacket.parse(listener.recv(2048))))
        before = len(arrivals)
        listener.settimeout(5.0)
        woken = time.monotonic()
        child.send_signal(signal.SIGCONT)
        listen(25)
        later = arrivals[before:]
        within = [at for at, _ in later if at - woken < 0.1]
        assert len(within) <= 9, "a burst after the standstill"
        assert later[0][1].marker
        jump = (later[0][1].timestamp - arrivals[before - 1][1].timestamp) & 0xFFFFFFFF
        assert jump == pytest.approx(16000, abs=3200)
        assert (later[0][1].sequence - arrivals[before - 1][1].sequence) & 0xFFFF == 1
    finally:
        child.kill()
        child.wait()
        listener.close()
