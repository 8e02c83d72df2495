"""The blocking phone on real sockets: every verb, many threads, handlers, exceptions, interruption, and the end."""

from __future__ import annotations

import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import Pcm, Tone
from flexosip.errors import (
    AuthenticationError,
    Busy,
    CallEnded,
    CallFailed,
    ConfigurationError,
    Declined,
    InvalidState,
    MediaError,
    NetworkError,
    NoAnswer,
    NotFound,
    ServerUnreachable,
    Unavailable,
)
from flexosip.phone.events import Answered, DigitPressed, Ended
from flexosip.phone.phone import RingOutcome
from flexosip.sync import Call, Phone
from tests.hearing import hear
from tests.house import Program, house, within

HERE = ("127.0.0.1:0",)


def address(phone: Phone) -> str:
    """What to call to reach `phone`."""
    return "sip:peer@" + phone.addresses[0].split(":", 1)[1]


@pytest.fixture
def ours() -> Iterator[Phone]:
    """The phone under test."""
    with Phone(listen=HERE) as phone:
        yield phone


@pytest.fixture
def peer() -> Iterator[Phone]:
    """The other phone; a test gives it its handler."""
    with Phone(listen=HERE) as phone:
        yield phone


# -- verbs ----------------------------------------------------------------------------------------------------------------


def test_a_call_with_sound_digits_and_recording(ours: Phone, peer: Phone, tmp_path: Path) -> None:
    told: queue.Queue[Any] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        call.record(tmp_path / "peer.wav", side="in")
        told.put(call.gather(Tone(300, duration=5), max_digits=2, timeout=5))
        call.wait_ended()
        told.put(call.end)

    with ours.call(address(peer), ring_timeout=5, subject="test") as call:
        assert call.state == "answered" and call.direction == "outgoing" and call.codec == "PCMA"
        assert ours.calls == [call] and call in {call} and call != object()
        began = time.monotonic()
        playback = call.play(Tone(440, duration=0.5))
        assert 0.4 < time.monotonic() - began < 1.0
        assert playback.done and playback.completed and playback.position == pytest.approx(0.5, abs=0.03)
        assert playback.wait() is playback
        began = time.monotonic()
        playing = call.play(Pcm(b"\0\0" * 8000, 8000), delay=0.1, loop=True, wait=False)
        assert time.monotonic() - began < 0.3 and not playing.done
        assert within(2, lambda: playing.position > 0.1)
        assert playing.stop().wait().done and not playing.completed
        assert call.stop_playing() == 0.0
        call.tone("busy", wait=False)
        assert within(2, lambda: call.stop_playing() >= 0.0)
        call.tone(880, 0.3)
        call.mute()
        call.unmute()
        call.send_digits("4w2")
        assert told.get(timeout=5) == "42"
        figures = call.statistics()
        assert figures is not None and figures.packets_sent > 20
    assert call.state == "ended" and call.end is not None and call.end.by == "local"
    assert told.get(timeout=5).by == "remote"
    heard = hear(tmp_path / "peer.wav")
    assert heard.tone(440, 0.1, 0.4) > -20
    assert ours.calls == []
    # What is over can still be looked at, and ended again.
    call.hangup()
    assert call.wait_ended() is call.end
    assert call.duration > 1.0 and call.statistics() is not None
    with pytest.raises(CallEnded):
        call.play(Tone(440))


def test_frames_both_ways(ours: Phone, peer: Phone) -> None:
    @peer.on_call
    def echo(call: Call) -> None:
        call.answer()
        with call.audio(rate=8000) as stream:
            for frame in stream:
                stream.write(frame)

    with ours.call(address(peer)) as call, call.audio(rate=16000) as stream:
        assert stream.rate == 16000
        tone = b"".join((8000 if n // 8 % 2 else -8000).to_bytes(2, "little", signed=True) for n in range(16000 // 2))
        stream.write(tone)
        assert stream.mark("out") == pytest.approx(0.5, abs=0.05)
        loudest = 0
        for number, frame in enumerate(stream):
            assert len(frame) == 640
            loudest = max(loudest, *(abs(int.from_bytes(frame[at : at + 2], "little", signed=True)) for at in range(0, 640, 2)))
            if loudest > 4000 or number > 100:
                break
        assert loudest > 4000
        stream.write(tone)
        assert stream.clear() <= 0.6
        assert stream.dropped_frames >= 0
    stream.close()


def test_digits_as_they_come_and_events(ours: Phone, peer: Phone) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        seen.put(call.wait_digit(5))
        for digit in call.digits():
            seen.put(digit)
        seen.put([type(event) for event in call.events()])

    with ours.call(address(peer)) as call:
        with pytest.raises(TimeoutError):
            call.wait_digit(0.05)
        call.send_digits("1")
        call.send_digits("23", via="info")
        call.send_digits("#")
        assert [seen.get(timeout=5) for _ in range(4)] == ["1", "2", "3", "#"]
        with pytest.raises(CallFailed):
            call.request("INFO", b"?", "application/unknown")
    kinds = seen.get(timeout=5)
    assert kinds.count(DigitPressed) == 4 and kinds[0] is Answered and kinds[-1] is Ended


def test_a_menu_whose_choices_are_plain_functions(ours: Phone, peer: Phone) -> None:
    told: queue.Queue[Any] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        def one(chosen: Call) -> str:
            chosen.play(Tone(440, duration=0.1))
            return f"{chosen == call} {threading.current_thread().name}"

        call.answer()
        told.put(call.menu({"1": one, "2": {"3": one}}, timeout=5))

    with ours.call(address(peer)) as call:
        call.send_digits("1")
        assert told.get(timeout=5) == "True flexosip-handler"


def test_hold_and_resume(ours: Phone, peer: Phone) -> None:
    taken: queue.Queue[Call] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        taken.put(call)
        call.wait_ended()

    with ours.call(address(peer)) as call:
        other = taken.get(timeout=5)
        call.hold()
        assert other.held and not call.held
        call.resume()
        assert not other.held


def test_dial_ring_progress_and_answer(ours: Phone, peer: Phone) -> None:
    stage = threading.Semaphore(0)

    @peer.on_call
    def take(call: Call) -> None:
        assert stage.acquire(timeout=5)
        call.ring()
        call.progress()
        assert stage.acquire(timeout=5)
        call.answer(headers={"X-Door": "front"})
        call.wait_ended()

    call = ours.dial(address(peer))
    assert call.state == "calling" and call.started_at is not None and call.answered_at is None
    with pytest.raises(TimeoutError):
        call.wait_ringing(0.05)
    stage.release()
    call.wait_ringing(5)
    assert call.state == "ringing"
    with pytest.raises(InvalidState):
        call.reject()
    stage.release()
    call.wait_answered(5)
    assert call.headers is not None and call.headers.get("X-Door") == "front"
    with call:
        pass
    assert call.end is not None and call.end.by == "local"


def test_reject_redirect_and_a_caller_who_gives_up(ours: Phone, peer: Phone) -> None:
    ended: queue.Queue[Any] = queue.Queue()
    answers: Iterator[Callable[[Call], None]] = iter(
        [
            lambda call: call.reject(),
            lambda call: call.reject(603),
            lambda call: call.redirect(address(peer).replace("sip:", "sip:else-", 1)),
            lambda call: call.reject(404),
            lambda call: ended.put(call.wait_ended()),
            lambda call: None,
        ]
    )

    @peer.on_call
    def take(call: Call) -> None:
        next(answers)(call)

    with pytest.raises(Busy):
        ours.call(address(peer))
    with pytest.raises(Declined):
        ours.call(address(peer))
    with pytest.raises(NotFound):
        # Redirected, and followed.
        ours.call(address(peer))
    with pytest.raises(NoAnswer):
        ours.call(address(peer), ring_timeout=0.3)
    assert ended.get(timeout=5).status == 487
    with pytest.raises(Unavailable):
        ours.call(address(peer))
    assert ours.calls == []
    deadline = time.monotonic() + 5  # the caller may know of the refusal before the other thread has put its call away
    while peer.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert peer.calls == []


def test_the_doorbell(ours: Phone, peer: Phone) -> None:
    answers: Iterator[Callable[[Call], Any]] = iter(
        [lambda call: (call.ring(), call.wait_ended()), lambda call: call.reject(486), lambda call: (call.answer(), call.wait_ended())]
    )
    peer.on_call(lambda call: next(answers)(call))
    rang_out = ours.ring(address(peer), 0.4)
    assert rang_out.outcome is RingOutcome.RANG_OUT and 0.35 < rang_out.seconds < 1.0
    assert ours.ring(address(peer)).declined
    assert ours.ring(address(peer), 5, subject="Door bell").answered


def test_several_are_rung_and_called_with_a_key(ours: Phone, peer: Phone) -> None:
    @peer.on_call
    def take(call: Call) -> None:
        assert call.identity is not None
        if call.identity.called == "rings":
            call.ring()
            call.wait_ended()
            ends.put(call.end)
            return
        call.answer()
        call.send_digits("1")
        call.wait_ended()

    ends: queue.Queue[Any] = queue.Queue()
    rings, answers = address(peer).replace("peer@", "rings@"), address(peer)
    result = ours.ring([rings, answers], 5, confirm="1")
    assert result.answered_by == answers and [str(attempt.outcome) for attempt in result.attempts] == ["elsewhere", "answered"]
    end = ends.get(timeout=5)
    assert end.answered_elsewhere and str(end) == "answered elsewhere"
    with ours.call([rings], ring_timeout=0.3, then=[answers], confirm="1") as call:
        assert call.identity is not None and call.identity.number == "peer"
    peer.do_not_disturb = True
    with pytest.raises(Unavailable):
        ours.call([rings, answers])


def test_calls_taken_one_after_the_other(ours: Phone, peer: Phone) -> None:
    taken = []

    def take() -> None:
        for call in peer.incoming_calls():
            call.answer()
            taken.append(call.wait_ended().by)

    thread = threading.Thread(target=take)
    thread.start()

    def called() -> bool:
        try:
            with ours.call(address(peer)):
                return True
        except Unavailable:  # nobody asks for calls yet
            return False

    assert within(2, called)
    assert called()
    assert within(2, lambda: len(taken) == 2)
    peer.close()
    thread.join(2)
    assert not thread.is_alive() and taken == ["remote", "remote"]


# -- errors ---------------------------------------------------------------------------------------------------------------


def test_errors_are_those_of_the_native_phone(ours: Phone, peer: Phone, tmp_path: Path) -> None:
    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        call.wait_ended()

    with pytest.raises(ConfigurationError):
        ours.call("620")
    with pytest.raises(ConfigurationError):
        ours.call(address(peer), subject="two\r\nlines")
    with pytest.raises(InvalidState):
        ours.wait_registered()
    with ours.call(address(peer)) as call:
        with pytest.raises(MediaError):
            call.play(tmp_path / "missing.wav")
        with pytest.raises(ConfigurationError):
            call.send_digits("x")
        with pytest.raises(InvalidState):
            call.answer()
    with pytest.raises(InvalidState, match="not started"):
        Phone().call("sip:a@127.0.0.1")


def test_the_end_of_a_call_leaves_its_block_without_a_traceback(ours: Phone, peer: Phone) -> None:
    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        time.sleep(0.2)

    with ours.call(address(peer)) as call:
        call.play(Tone(440, duration=30))
        pytest.fail("the other side hangs up before")
    assert call.end is not None and call.end.by == "remote"
    with pytest.raises(CallEnded), ours.call(address(peer)) as second:
        second.wait_ended()
        raise CallEnded(call.end)  # of another call


def test_a_block_left_by_an_exception_hangs_up(ours: Phone, peer: Phone) -> None:
    ended: queue.Queue[Any] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        ended.put(call.wait_ended())

    with pytest.raises(ZeroDivisionError), ours.call(address(peer)):
        raise ZeroDivisionError
    assert ended.get(timeout=5).by == "remote"


def test_a_start_that_fails_leaves_nothing(peer: Phone) -> None:
    taken = peer.addresses[0].split(":", 1)[1]
    phone = Phone(listen=(taken,))
    with pytest.raises(NetworkError):
        phone.start()
    assert not phone.running
    phone.close()


def test_a_registrar_that_is_silent_or_refuses() -> None:
    with Phone(listen=HERE, accept_from=("192.0.2.1",)) as silent:
        host_port = silent.addresses[0].split(":", 1)[1]
        phone = Phone(f"sip:bell@{host_port}", password="SECRET", listen=HERE, transport="udp")
        began = time.monotonic()
        with pytest.raises(ServerUnreachable):
            phone.start(timeout=0.5)
        assert time.monotonic() - began < 3.0
    with house("bell") as server:
        with pytest.raises(AuthenticationError) as refused:
            Phone(server.aor("bell"), password="WRONG", listen=HERE).start()
        assert "WRONG" not in refused.value.explain()
        seen: list[Any] = []
        phone = Phone(listen=HERE)
        phone.on_registration(lambda account, event: seen.append(account))
        with phone:
            account = phone.add_account(server.aor("bell"), password="secret-bell")
            assert phone.wait_registered().registered
            assert phone.accounts == [account] == seen
            phone.unregister()
            assert not account.registered
            assert within(2, lambda: server.told("unregistered", "bell") == 1)


# -- threads --------------------------------------------------------------------------------------------------------------


def test_twelve_threads_call_at_once_and_are_handled_at_once(ours: Phone, peer: Phone) -> None:
    together = threading.Barrier(12)
    heard: queue.Queue[str] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        together.wait(10)  # all twelve handlers run at the same time
        heard.put(call.gather(max_digits=2, timeout=5))

    failures: list[BaseException] = []

    def one(number: int) -> None:
        try:
            with ours.call(address(peer), ring_timeout=10) as call:
                call.send_digits(f"{number:02}")
                call.wait_ended()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failures
    assert sorted(heard.get(timeout=1) for _ in range(12)) == [f"{number:02}" for number in range(12)]


def test_a_handler_that_raises_hurts_only_its_own_call(ours: Phone, peer: Phone, caplog: pytest.LogCaptureFixture) -> None:
    started = threading.Event()

    def explode(call: Call) -> None:
        call.answer()
        raise KeyError("of the handler")

    def stop(call: Call) -> None:
        raise StopIteration

    def leave(call: Call) -> None:
        sys.exit("only this thread")

    def hold(call: Call) -> None:
        call.answer()
        started.set()
        call.wait_ended()

    answers = iter([hold, explode, stop, leave, hold])
    peer.on_call(lambda call: next(answers)(call))
    with ours.call(address(peer)) as good:
        assert started.wait(5)
        with ours.call(address(peer)) as bad:
            assert bad.wait_ended().by == "remote"
        assert [record for record in caplog.records if record.levelno >= logging.ERROR and "handler failed" in record.message]
        for status in (500, 480):
            with pytest.raises(CallFailed) as refused:
                ours.call(address(peer))
            assert refused.value.status == status
        with ours.call(address(peer)):
            assert good.end is None


def test_a_blocking_call_inside_the_phones_thread_is_refused(ours: Phone, peer: Phone) -> None:
    refused: queue.Queue[Any] = queue.Queue()

    @ours.on_call_event
    def observe(call: Call, event: Any) -> None:
        if isinstance(event, Answered):
            for verb in (call.hangup, ours.close, lambda: call.play(Tone(440))):
                try:
                    refused.put(verb())
                except InvalidState as error:
                    refused.put(error)

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        call.wait_ended()

    with ours.call(address(peer)):
        for _ in range(3):
            assert "own thread" in str(refused.get(timeout=5))


# -- the end --------------------------------------------------------------------------------------------------------------


def test_close_ends_what_waits_in_other_threads(ours: Phone, peer: Phone) -> None:
    ends: queue.Queue[Any] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        ends.put(call.wait_ended().by)

    def attempt(verb: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                ends.put(verb())
            except (CallEnded, InvalidState) as error:
                ends.put(type(error))

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    call = ours.call(address(peer))
    threads = [
        attempt(lambda: call.play(Tone(440, duration=60))),
        attempt(lambda: call.wait_digit()),
        attempt(lambda: call.wait_ended().by),
        attempt(lambda: len(list(call.events()))),
        attempt(lambda: list(ours.incoming_calls())),
    ]
    time.sleep(0.2)
    began = time.monotonic()
    closers = [attempt(ours.close) for _ in range(3)]
    ours.close()
    assert time.monotonic() - began < 2.0
    for thread in [*threads, *closers]:
        thread.join(2)
        assert not thread.is_alive()
    told = sorted(str(ends.get(timeout=2)) for _ in range(9))
    assert told == sorted(["[]", "3", "None", "None", "None", "local", "remote", str(CallEnded), str(CallEnded)])
    assert not ours.running
    with pytest.raises(InvalidState):
        ours.call(address(peer))
    with ours:  # and again
        with ours.call(address(peer)) as again:
            assert again.state == "answered"


def test_close_in_a_handler(ours: Phone, peer: Phone) -> None:
    took: queue.Queue[float] = queue.Queue()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        began = time.monotonic()
        peer.close()
        took.put(time.monotonic() - began)

    with ours.call(address(peer)) as call:
        assert call.wait_ended().by == "remote"
    assert took.get(timeout=5) < 2.0


def test_close_does_not_wait_for_a_handler_that_sleeps(ours: Phone, peer: Phone, caplog: pytest.LogCaptureFixture) -> None:
    wake = threading.Event()

    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        wake.wait(20)

    try:
        with ours.call(address(peer)):
            began = time.monotonic()
            peer.close()
            assert time.monotonic() - began < 2.3
            assert [record for record in caplog.records if "has not ended yet" in record.message]
    finally:
        wake.set()


def test_close_with_a_peer_that_does_not_answer_takes_two_seconds() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        phone = Phone(listen=HERE)
        phone.start()
        phone.dial(f"sip:nobody@127.0.0.1:{dead.getsockname()[1]}")
        began = time.monotonic()
        phone.close()
        assert time.monotonic() - began < 2.3


PROGRAM = """
import sys, threading, time
from flexosip import Tone
from flexosip.sync import Phone
try:
    with Phone(listen=("127.0.0.1:0",)) as phone:
        print("ready", flush=True)
        with phone.call(sys.argv[1]) as call:
            print("answered", flush=True)
            {waiting}
except KeyboardInterrupt:
    print("interrupted", *(thread.name for thread in threading.enumerate()), flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("waiting", "end"), [("ringing", 487), ("call.wait_ended()", 200), ("call.play(Tone(440, duration=60))", 200), ("time.sleep(60)", 200)]
)
def test_ctrl_c_while_waiting_hangs_up(peer: Phone, waiting: str, end: int, tmp_path: Path) -> None:
    ended: queue.Queue[Any] = queue.Queue()
    there = threading.Event()

    @peer.on_call
    def take(call: Call) -> None:
        if waiting == "ringing":
            call.ring()
        else:
            call.answer()
        there.set()
        ended.put(call.wait_ended())

    script = PROGRAM.format(waiting=waiting if waiting != "ringing" else "pass")
    with Program("-c", script, address(peer), folder=tmp_path) as program:
        program.wait_for("ready" if waiting == "ringing" else "answered")
        assert there.wait(5)
        time.sleep(0.1)
        began = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        finish = ended.get(timeout=5)
        assert (finish.by, finish.status) == ("remote", end)
        assert program.finish() == 130
        assert program.lines[-1] == "interrupted MainThread"
        assert time.monotonic() - began < 2.5


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        target = f"sip:nobody@127.0.0.1:{dead.getsockname()[1]}"
        with Program("-c", PROGRAM.format(waiting="pass"), target, folder=tmp_path) as program:
            program.wait_for("ready")
            time.sleep(0.2)
            program.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            began = time.monotonic()
            program.process.send_signal(signal.SIGINT)
            assert program.finish() == 130
            assert program.lines[-1] == "interrupted MainThread"
            assert time.monotonic() - began < 1.0


def test_a_program_that_forgets_to_close_ends_all_the_same(peer: Phone, tmp_path: Path) -> None:
    @peer.on_call
    def take(call: Call) -> None:
        call.answer()
        call.wait_ended()

    script = (
        "import sys\nfrom flexosip import Tone\nfrom flexosip.sync import Phone\nphone = Phone(listen=('127.0.0.1:0',))\nphone.start()\n"
        "phone.call(sys.argv[1]).play(Tone(440, duration=60), wait=False)\n"
    )
    with Program("-W", "error", "-c", script, address(peer), folder=tmp_path) as program:
        assert program.finish(10) == 0
        assert program.errors == ""
