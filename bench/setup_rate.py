"""Calls set up per second of one core: SIPp calls `flexosip answer`, and the rate rises until a call fails.

A call is INVITE, 200, ACK, BYE, 200 over UDP, with SDP; the callee is pinned to core 0 and SIPp to core 1.
A rate holds if every call of its round succeeded and all of them were over as soon as the rate says. A round that took longer
without a failure or a retransmission is void: then SIPp did not reach the rate, and the generator is the limit.

Then SIPp itself is the callee, a peer in C++ without any sound, in turn with ours at one rate: the ratio of CPU per call, by pairs.

    python bench/setup_rate.py [--seconds 4] [--command 'other-callee --port {port}']
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import LOOPBACK, cpu_seconds, flexosip, free_port, listens, pinned, report, run_sipp, running, say, sipp_command, wait_until

START, LIMIT, PRECISION = 100, 6400, 1.06
PEER = ["sipp", "-sn", "uas", "-i", LOOPBACK, "-p", "{port}", "-nostdin"]
PEER_RATE, PEER_PAIRS = 600.0, 3


@dataclass(frozen=True, slots=True)
class Round:
    rate: float
    """Calls a second that SIPp was asked for."""
    holds: bool
    void: bool
    failed: int
    retransmissions: int
    achieved: float
    cpu_us_per_call: float


def measure(command: list[str] | None, rate: float, seconds: float, folder: Path) -> Round:
    """One round against a callee that has just started, so that no round suffers from the one before."""
    port = free_port(2)
    ours = ("answer", "--listen", f"{LOOPBACK}:{port}", "--max-rate", "0")
    callee = [word.format(port=port) for word in command] if command else flexosip(*ours)
    log = folder / "callee.log"
    with running(pinned(0, callee), log=log) as child:
        wait_until(lambda: listens(port), child, log, f"{callee[0]} listens on {port}")
        target = f"{LOOPBACK}:{port}"
        run_sipp(sipp_command("uac_setup", target, calls=50, rate=50), folder)  # imports and caches
        before = cpu_seconds(child.pid)
        calls = max(50, round(rate * seconds))
        run = run_sipp(sipp_command("uac_setup", target, calls=calls, rate=rate, limit=max(200, calls)), folder)
        if child.poll() is not None:
            raise RuntimeError(f"the callee ended in a round of {rate:g} calls/s:\n{log.read_text(errors='replace')[-2000:]}")
        cpu = cpu_seconds(child.pid) - before
    achieved = calls / run.seconds if run.seconds else 0.0
    # the last calls need some time after the last INVITE
    slow = achieved < 0.95 * calls / (calls / rate + 0.5)
    return Round(
        rate=rate,
        holds=run.exit_status == 0 and run.failed == 0 and run.succeeded == calls and not slow,
        void=slow and run.failed == 0 and run.retransmissions == 0,
        failed=run.failed,
        retransmissions=run.retransmissions,
        achieved=round(achieved, 1),
        cpu_us_per_call=round(cpu / calls * 1e6, 1),
    )


def search(command: list[str] | None, seconds: float, folder: Path) -> list[Round]:
    """Double until a round does not hold, then halve the gap."""
    rounds: list[Round] = []

    def holds(rate: float) -> bool:
        # one repetition: a single slip of the machine is not the limit
        for _ in range(2):
            rounds.append(measure(command, rate, seconds, folder))
            say(f"  {rounds[-1]}")
            if rounds[-1].holds:
                return True
        return False

    low, high = 0.0, float(START)
    while high <= LIMIT and holds(high):
        low, high = high, high * 2
    while low and high <= LIMIT and high / low > PRECISION:
        middle = round((low * high) ** 0.5)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return rounds


def compare(command: list[str] | None, seconds: float, folder: Path) -> dict[str, object]:
    """CPU per call of ours and of SIPp's own callee at one rate, in turn."""
    pairs = []
    for _ in range(PEER_PAIRS):
        ours = measure(command, PEER_RATE, seconds, folder).cpu_us_per_call
        peer = measure(PEER, PEER_RATE, seconds, folder).cpu_us_per_call
        pairs.append((ours, peer))
        say(f"  pair at {PEER_RATE:g}/s: {ours} us, SIPp {peer} us")
    return {
        "peer": "SIPp uas, signalling only",
        "rate": PEER_RATE,
        "cpu_us_per_call": statistics.median(ours for ours, _ in pairs),
        "peer_cpu_us_per_call": statistics.median(peer for _, peer in pairs),
        "ratio": round(statistics.median(ours / peer for ours, peer in pairs if peer), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round")
    parser.add_argument("--rate", type=float, help="one round at this rate instead of the search")
    parser.add_argument("--command", help="another callee; {port} stands for its UDP port")
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        report("setup_rate", skipped="SIPp is not installed (apt-get install sip-tester)")
        return 0
    command = shlex.split(arguments.command) if arguments.command else None
    with tempfile.TemporaryDirectory() as folder:
        if arguments.rate:
            rounds = [measure(command, arguments.rate, arguments.seconds, Path(folder))]
        else:
            rounds = search(command, arguments.seconds, Path(folder))
        comparison = None if arguments.rate else compare(command, arguments.seconds, Path(folder))
    best = max((entry for entry in rounds if entry.holds), key=lambda entry: entry.rate, default=None)
    report(
        "setup_rate",
        setups_per_second=best.rate if best else 0,
        cpu_us_per_call=best.cpu_us_per_call if best else None,
        comparison=comparison,
        limited_by_generator=any(entry.void for entry in rounds),
        rounds=[asdict(entry) for entry in rounds],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
