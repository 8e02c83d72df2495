"""Concurrent two-way G.711 calls of one core: CPU per call-frame, pacing as the receiver sees it, and the largest N that keeps time.

    engine process (one core)                      generator process (the other core)
    MediaEngine, N streams, echo through      <-   N senders on a 20 ms grid, spread evenly
    jitter buffer, decoder and encoder, RTCP  ->   receivers; the kernel notes when each packet arrived

A run is void if the generator sent late itself. A packet is off if it arrived more than 5 ms from the best-fit 20 ms grid of its
call. Audio integrity is a gate: what came back must be, frame by frame and in order, what was sent.

    python bench/media_calls.py [--calls 100,200,400,800] [--seconds 10] [--play] [--busy] [--switch-interval 0.0005] [--cores 0,1]

`--busy` lets Python code occupy the event loop in blocks of 30 ms, 60 % of the time: what the pace costs beside user code.

Prints one JSON object with the runs and the largest N that passed; each run also on standard error as it ends. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import socket
import statistics
import struct
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
SOURCES = str(HERE.parents[1] / "src")
if SOURCES not in sys.path:
    sys.path.insert(0, SOURCES)

PTIME = 0.02
OFF_SECONDS = 0.005
OFF_SHARE = 0.01
SLIP_SHARE = 0.01
INTEGRITY_SHARE = 0.99
FRAMES = 97
"""Different frames that a sender repeats: a prime, so that no period of the engine hides a mistake."""
WARM_UP_SECONDS = 2.0
TAIL = 20
"""Packets at the end that do not count."""
SO_TIMESTAMPNS = 35


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def frame_table() -> list[bytes]:
    """Loud noise in A-law: no two frames are alike, and every octet survives decoding and encoding."""
    generator = random.Random(7)
    return [bytes(generator.randrange(256) for _ in range(160)) for _ in range(FRAMES)]


# -- the engine ---------------------------------------------------------------------------------------------------


async def be_busy() -> None:
    """User code that should be elsewhere."""
    while True:
        until = time.monotonic() + 0.03
        while time.monotonic() < until:
            sum(range(200))
        await asyncio.sleep(0.02)


async def engine(options: argparse.Namespace) -> None:
    from flexosip.audio.sources import Pcm
    from flexosip.codecs import create
    from flexosip.media.engine import MediaEngine
    from flexosip.media.ports import PortAllocator
    from flexosip.media.settings import MediaFormat, StreamSettings

    def bind(host: str, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            bound.bind((host, port))
        except BaseException:
            bound.close()
            raise
        return bound

    calls, play = int(options.calls), options.play
    loop = asyncio.get_running_loop()
    media = MediaEngine.shared().acquire()
    ports = PortAllocator(bind, 20000, 60000)
    pairs = [ports.allocate("127.0.0.1") for _ in range(calls)]
    say({"ports": [pair.port for pair in pairs]})
    remote = (await hear(loop))["ports"]
    streams = []
    digest = create("PCMA", 8000)
    prompt = Pcm(b"".join(digest.decode(frame) for frame in frame_table()), 8000)
    pcma = MediaFormat("PCMA")
    for index, pair in enumerate(pairs):
        stream = media.open_stream(pair.rtp, pair.rtcp, lambda event: None, loop=loop)
        address = ("127.0.0.1", remote[index % len(remote)])
        stream.configure(StreamSettings(address, pcma, 8, {8: pcma}, rtcp=address))
        if play:
            stream.play(1, prompt, loop=True)
        else:
            stream.loopback(True)
        streams.append(stream)
    if options.switch_interval:
        media.set_switch_interval(options.switch_interval)
    busy = asyncio.ensure_future(be_busy()) if options.busy else None
    say({"ready": True})
    while (command := await hear(loop)) != {"stop": True}:
        assert command == {"figures": True}
        usage = resource.getrusage(resource.RUSAGE_SELF)
        say({"cpu": usage.ru_utime + usage.ru_stime, "at": time.monotonic(), "rss_kib": rss_kib(), "switches": usage.ru_nvcsw})
    if busy is not None:
        busy.cancel()
    figures = media.statistics()
    sample = [stream.statistics() for stream in streams]
    for stream in streams:
        stream.close()
    await asyncio.sleep(0.2)
    media.release()
    await loop.run_in_executor(None, media.join, 3.0)
    say(
        {
            "late_ticks": figures.late_ticks,
            "ticks": figures.ticks,
            "worst_tick_ms": round(figures.worst_lateness * 1000, 1),
            "skipped_ticks": figures.skipped_ticks,
            "failures": figures.failures,
            "groups": figures.groups,
            "rtcp_sent": sum(one.rtcp_sent for one in sample),
            "rtcp_received": sum(one.rtcp_received for one in sample),
            "lost": sum(one.lost for one in sample),
            "concealed": sum(one.concealed for one in sample),
            "received": sum(one.packets_received for one in sample),
        }
    )


def rss_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def hear(loop: asyncio.AbstractEventLoop) -> Any:
    return json.loads(await loop.run_in_executor(None, sys.stdin.readline))


# -- the generator ------------------------------------------------------------------------------------------------


class Receiver:
    """What came back of one call."""

    __slots__ = ("arrivals", "frames", "sequences")

    def __init__(self) -> None:
        self.arrivals = array("d")
        self.sequences = array("H")
        self.frames = array("h")


def generate(calls: int, seconds: float, ports: list[int]) -> None:
    sockets = []
    for _ in range(min(16, calls)):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        one.bind(("127.0.0.1", 0))
        sockets.append(one)
    say({"ports": [one.getsockname()[1] for one in sockets]})
    json.loads(sys.stdin.readline())
    table = frame_table()
    known = {frame: index for index, frame in enumerate(table)}
    receivers = {port: Receiver() for port in ports}
    # Spread over the packet time, and each call with its own phase of the table.
    senders = [(sockets[index % len(sockets)], ("127.0.0.1", port), 1000 + index, index * 31 % FRAMES) for index, port in enumerate(ports)]
    slices = 20
    begin = time.monotonic() + 0.1
    total = int((seconds + WARM_UP_SECONDS) / PTIME)
    late = array("d")
    pack = struct.Struct("!BBHII").pack
    reports = 0
    for tick in range(total * slices):
        number, place = divmod(tick, slices)
        due = begin + tick * PTIME / slices
        while True:
            reports += drain(sockets, receivers, known)
            rest = due - time.monotonic()
            if rest <= 0:
                break
            time.sleep(min(rest, 0.0005))
        late.append(time.monotonic() - due)
        for index in range(place, calls, slices):
            one, address, ssrc, phase = senders[index]
            one.sendto(pack(0x80, 8, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc) + table[(number + phase) % FRAMES], address)
        if place == 0 and number % 250 == 125:
            send_reports(senders, number)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        drain(sockets, receivers, known)
        time.sleep(0.001)
    skip = int(WARM_UP_SECONDS / PTIME)
    late = late[skip * slices :]
    say(
        {
            **judge([receivers[port] for port in ports], skip, total - skip),
            "generator_late_share": round(sum(one > OFF_SECONDS for one in late) / len(late), 5),
            "generator_p99_ms": round(sorted(late)[int(len(late) * 0.99)] * 1000, 2),
        }
    )


def drain(sockets: list[socket.socket], receivers: dict[int, Receiver], known: dict[bytes, int]) -> int:
    count = 0
    for one in sockets:
        while True:
            try:
                data, ancillary, _, address = one.recvmsg(2048, 64)
            except BlockingIOError:
                break
            receiver = receivers.get(address[1])
            if receiver is None or len(data) != 172:
                count += 1
                continue
            stamp = ancillary[0][2]
            receiver.arrivals.append(int.from_bytes(stamp[:8], sys.byteorder) % 100000 + int.from_bytes(stamp[8:16], sys.byteorder) / 1e9)
            receiver.sequences.append(data[2] << 8 | data[3])
            receiver.frames.append(known.get(data[12:], -1))
    return count


def send_reports(senders: list[Any], number: int) -> None:
    """A sender report a call now and then, so that the engine has RTCP to read."""
    for one, (host, port), ssrc, _ in senders:
        header = struct.pack("!BBHI", 0x80, 200, 6, ssrc)
        body = struct.pack("!QIII", (number + 1) << 24, number * 160, number, number * 160)
        name = struct.pack("!BBHIBB6sxxxx", 0x81, 202, 4, ssrc, 1, 6, b"bench0")[:20]
        one.sendto(header + body + name, (host, port + 1))


def judge(receivers: list[Receiver], skip: int, expected: int) -> dict[str, Any]:
    deviations = array("d")
    good = judged = packets = 0
    for receiver in receivers:
        # What is echoed after the generator has ended is concealment, and right so.
        end = skip + expected - TAIL
        times = receiver.arrivals[skip:end]
        if len(times) < expected // 2:
            judged += expected - TAIL
            continue
        packets += len(times)
        first = receiver.sequences[skip]
        grid = [at - ((sequence - first) & 0xFFFF) * PTIME for at, sequence in zip(times, receiver.sequences[skip:end], strict=True)]
        middle = statistics.median(grid)
        deviations.extend(abs(one - middle) for one in grid)
        frames = receiver.frames[skip:end]
        good += sum(after == (before + 1) % FRAMES for before, after in itertools.pairwise(frames) if before >= 0)
        judged += len(frames) - 1
    deviations = array("d", sorted(deviations)) if deviations else array("d", [1.0])
    return {
        "packets": packets,
        "packets_expected": (expected - TAIL) * len(receivers),
        "off_share": round(sum(one > OFF_SECONDS for one in deviations) / len(deviations), 5),
        "off_p99_ms": round(deviations[int(len(deviations) * 0.99)] * 1000, 2),
        "off_max_ms": round(deviations[-1] * 1000, 1),
        "audio_integrity": round(good / judged, 5) if judged else 0.0,
    }


# -- one run ------------------------------------------------------------------------------------------------------


class Child:
    """A process of the benchmark, spoken to in JSON lines."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, str(HERE), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark ended early")
        return json.loads(line)

    def ask(self, message: dict[str, Any]) -> Any:
        self.say(message)
        return self.hear()

    def end(self) -> None:
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def run(calls: int, options: argparse.Namespace) -> dict[str, Any]:
    seconds = options.seconds
    cores = options.cores.split(",")
    common = ["--calls", str(calls), "--seconds", str(seconds), "--switch-interval", str(options.switch_interval)]
    common += [flag for flag, wanted in (("--play", options.play), ("--busy", options.busy)) if wanted]
    measured = Child("--role", "engine", "--core", cores[0], *common)
    generator = None
    try:
        ports = measured.hear()["ports"]
        generator = Child("--role", "generator", "--core", cores[1], *common)
        generator.say({"ports": ports})
        measured.ask({"ports": generator.hear()["ports"]})
        generator.say({"go": True})
        time.sleep(WARM_UP_SECONDS)
        before = measured.ask({"figures": True})
        time.sleep(max(seconds - 0.5, 0.5))
        after = measured.ask({"figures": True})
        result = generator.hear()
        figures = measured.ask({"stop": True})
    finally:
        for child in (measured, generator):
            if child is not None:
                child.end()
    elapsed = after["at"] - before["at"]
    cpu = after["cpu"] - before["cpu"]
    void = result["generator_late_share"] > SLIP_SHARE
    passed = not void and result["off_share"] <= OFF_SHARE and result["audio_integrity"] >= INTEGRITY_SHARE
    return {
        "calls": calls,
        "cpu_us_per_call_frame": round(cpu / elapsed * PTIME / calls * 1e6, 2),
        "core_share": round(cpu / elapsed, 3),
        "calls_per_core_by_cpu": round(calls / (cpu / elapsed)),
        "rss_mib": round(after["rss_kib"] / 1024, 1),
        "wake_ups_per_second": round((after["switches"] - before["switches"]) / elapsed),
        **result,
        **figures,
        "void": void,
        "passed": passed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", default="200,400,600,800,1000")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--play", action="store_true", help="every call plays a shared prompt instead of echoing what it hears")
    parser.add_argument("--busy", action="store_true", help="user code occupies the event loop of the engine's process")
    parser.add_argument("--switch-interval", type=float, default=0.0, help="seconds, for the engine's process")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--cores", default="0,1", help="of the engine and of the generator")
    parser.add_argument("--role", choices=("engine", "generator"))
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    if options.role == "engine":
        pin(options.core)
        asyncio.run(engine(options))
    elif options.role == "generator":
        pin(options.core)
        ports = json.loads(sys.stdin.readline())["ports"]
        generate(int(options.calls), options.seconds, ports)
    else:
        best = 0
        runs = []
        for calls in (int(part) for part in options.calls.split(",")):
            for _ in range(options.repeat):
                result = run(calls, options)
                print(json.dumps(result), file=sys.stderr, flush=True)
                runs.append(result)
                if result["passed"]:
                    best = max(best, calls)
        work = "play" if options.play else "echo"
        say({"benchmark": "media_calls", "work": work, "busy": options.busy, "largest_n": best, "runs": runs})


if __name__ == "__main__":
    main()
