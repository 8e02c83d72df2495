"""Each command against another phone, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flexosip import CallEnded, Phone, Tone
from flexosip.audio.wav import WavWriter
from flexosip.pbx import Pbx
from tests.hearing import hear
from tests.unit.cli.conftest import OURS, PEER, TARGET, Bench, peer_phone

PROMPTS = Path(__file__).parents[3] / "src" / "flexosip" / "apps" / "bell" / "prompts" / "en"


async def answering(call: Any) -> None:
    """Answers and waits."""
    await call.answer()
    await call.wait_ended()


async def ringing(call: Any) -> None:
    """Rings for ever."""
    await call.ring()
    await call.wait_ended()


# ---- call


def test_call_plays_in_order_presses_beside_it_and_hangs_up(bench: Bench) -> None:
    pressed = []

    async def handler(call: Any) -> None:
        await call.answer()
        async for digit in call.digits():
            pressed.append(digit)

    files = [str(PROMPTS / "welcome.wav"), str(PROMPTS / "off.wav")]
    code = bench.run("call", TARGET, "--play", files[0], "--play", files[1], "--digits", "12#", "--json", peer=peer_phone(handler))
    assert code == 0
    assert pressed == ["1", "2", "#"]
    assert [event["source"] for event in bench.told("played")] == files
    names = [event["event"] for event in bench.events]
    assert names[names.index("calling") :] == ["calling", "answered", "playing", "played", "playing", "played", "ended"]
    (ended,) = bench.told("ended")
    assert (ended["by"], ended["status"]) == ("local", 200)
    assert 2.5 < ended["duration"] < 3.5
    assert ended["statistics"]["packets_sent"] > 100
    assert bench.told("listening")[0]["address"].startswith("0.0.0.0:")


def test_call_ends_exactly_at_its_duration(bench: Bench) -> None:
    assert bench.run("call", TARGET, "--tone", "440", "--duration", "7", "--json", peer=peer_phone(answering)) == 0
    assert bench.told("ended")[0]["duration"] == pytest.approx(7.0, abs=0.03)
    assert bench.run("call", TARGET, "--digits", "1", "--duration", "3", "--json", peer=peer_phone(answering)) == 0
    assert bench.told("ended")[0]["duration"] == pytest.approx(3.0, abs=0.03)


def test_call_with_nothing_to_do_lasts_until_the_other_side_hangs_up_and_prints_its_digits(bench: Bench) -> None:
    async def handler(call: Any) -> None:
        await call.answer()
        await call.send_digits("42")
        await asyncio.sleep(5)

    assert bench.run("call", TARGET, "--json", peer=peer_phone(handler)) == 0
    assert [(event["digit"], event["via"]) for event in bench.told("digit")] == [("4", "rfc4733"), ("2", "rfc4733")]
    assert bench.told("ended")[0]["by"] == "remote"
    assert bench.run("call", TARGET, peer=peer_phone(handler)) == 0
    assert "Key 4\nKey 2\n" in bench.out


def test_the_other_side_may_hang_up_in_the_middle_of_all(bench: Bench) -> None:
    async def handler(call: Any) -> None:
        await call.answer()
        await asyncio.sleep(0.7)

    assert bench.run("call", TARGET, "--play", str(PROMPTS / "welcome.wav"), "--digits", "1w2w3w4", peer=peer_phone(handler)) == 0
    assert bench.err == ""


def test_call_transfers_when_it_has_played(bench: Bench) -> None:
    @contextlib.asynccontextmanager
    async def two(bench: Bench) -> AsyncIterator[None]:
        peer = Phone(clock=bench.clock, network=bench.host(PEER), listen=(f"{PEER}:5060",), accept_transfers=True)
        third = Phone(clock=bench.clock, network=bench.host("10.0.0.3"), listen=("10.0.0.3:5060",))
        peer.on_call(answering)
        third.on_call(answering)
        async with peer, third:
            yield
            await asyncio.sleep(3)
            assert [str(call.remote.uri) for call in peer.calls if call.remote is not None] == ["sip:third@10.0.0.3"]

    play = str(PROMPTS / "off.wav")
    assert bench.run("call", TARGET, "--play", play, "--transfer", "sip:third@10.0.0.3", "--json", peer=two) == 0
    names = [event["event"] for event in bench.events]
    assert names[names.index("answered") :] == ["answered", "playing", "played", "transferred", "ended"]
    (told,) = bench.told("transferred")
    assert (told["target"], told["status"], told["confirmed"]) == ("sip:third@10.0.0.3", 200, True)
    assert bench.run("call", TARGET, "--transfer", "sip:third@10.0.0.3", peer=two) == 0
    assert "Transferred to sip:third@10.0.0.3\n" in bench.out


def test_a_transfer_that_is_refused_is_told_and_the_call_is_ended(bench: Bench) -> None:
    assert bench.run("call", TARGET, "--transfer", "sip:third@10.0.0.3", "--json", peer=peer_phone(answering)) == 8
    (error,) = bench.told("error")
    assert "does not take the transfer" in error["message"] and "405" in error["message"]
    assert bench.told("ended")[0]["by"] == "local"
    assert not bench.told("transferred")


def test_call_records_both_sides(bench: Bench, tmp_path: Path) -> None:
    async def handler(call: Any) -> None:
        await call.answer()
        call.play(Tone(1000))
        await call.wait_ended()

    path = tmp_path / "both.wav"
    assert bench.run("call", TARGET, "--tone", "440", "--duration", "3", "--record", str(path), peer=peer_phone(handler)) == 0
    sound = hear(path)
    assert sound.tone(1000, 0.5, 2.5, track=0) > -20
    assert sound.tone(440, 0.5, 2.5, track=1) > -20


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is place for a second of every recording."""
    write = WavWriter.write

    def full(self: WavWriter, pcm: bytes) -> None:
        if self.duration > 1.0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, pcm)

    monkeypatch.setattr(WavWriter, "write", full)


def test_a_recording_that_is_cut_short_does_not_end_the_call_but_is_an_error(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch)
    path = str(tmp_path / "short.wav")
    assert bench.run("call", TARGET, "--tone", "440", "--duration", "4", "--record", path, "--json", peer=peer_phone(answering)) == 7
    assert bench.told("ended")[0]["duration"] == pytest.approx(4.0, abs=0.03)
    assert bench.told("recorded")[0]["error"] == "No space left on device"
    (error,) = bench.told("error")
    assert "short.wav was cut short after 1." in error["message"]

    async def story(phone: Phone) -> None:
        async with phone.call(f"sip:x@{OURS}") as call:
            await call.wait_ended()

    code = bench.run("answer", "--duration", "4", "--calls", "1", "--record", path, "--json", peer=lambda bench: caller(bench, story))
    assert code == 7
    assert bench.told("ended")[0]["duration"] == pytest.approx(4.0, abs=0.03)
    assert "short.wav was cut short after 1." in bench.told("error")[0]["message"]


@pytest.mark.parametrize(("status", "code"), [(486, 4), (603, 4), (404, 8), (480, 3), (488, 7), (503, 6), (420, 8)])
def test_a_refused_call_is_told_and_has_its_exit_code(bench: Bench, status: int, code: int) -> None:
    async def handler(call: Any) -> None:
        await call.reject(status)

    assert bench.run("call", TARGET, "--json", peer=peer_phone(handler)) == code
    assert bench.told("ended")[0]["status"] == status
    (error,) = bench.told("error")
    assert error["explain"]
    assert bench.err.count("flexosip: ") == 1


def test_nobody_answers_within_the_ring_timeout(bench: Bench) -> None:
    assert bench.run("call", TARGET, "--ring-timeout", "5", "--json", peer=peer_phone(ringing)) == 3
    assert [event["status"] for event in bench.told("ringing")] == [180]
    assert "Nobody answered" in bench.told("error")[0]["explain"]


def test_an_interrupted_call_is_given_up(bench: Bench) -> None:
    ends = []

    async def handler(call: Any) -> None:
        await call.ring()
        try:
            ends.append(await call.wait_ended())
        except CallEnded as ended:
            ends.append(ended.end)

    assert bench.run("call", TARGET, peer=peer_phone(handler), interrupt_after=3) == 130
    assert [(end.by, end.status) for end in ends] == [("remote", 487)]


# ---- answer


@contextlib.asynccontextmanager
async def caller(bench: Bench, story: Any) -> AsyncIterator[None]:
    """A phone at PEER that runs `story(phone)` beside the command."""
    async with Phone(clock=bench.clock, network=bench.host(PEER), listen=(f"{PEER}:5060",)) as phone:

        async def later() -> None:
            await asyncio.sleep(0.5)
            await story(phone)

        task = asyncio.create_task(later())
        yield
        await task


def test_answer_takes_n_calls_and_exits(bench: Bench, tmp_path: Path) -> None:
    async def story(phone: Phone) -> None:
        for digit in "12":
            async with phone.call(f"sip:x@{OURS}") as call:
                await call.send_digits(digit)
                await asyncio.sleep(1)

    path = tmp_path / "heard.wav"
    code = bench.run("answer", "--tone", "440", "--calls", "2", "--record", str(path), "--json", peer=lambda bench: caller(bench, story))
    assert code == 0
    assert [event["digit"] for event in bench.told("digit")] == ["1", "2"]
    assert len(bench.told("incoming")) == len(bench.told("ended")) == 2
    assert bench.told("incoming")[0]["from"].startswith("sip:")
    assert bench.told("listening")[0] == {**bench.told("listening")[0], "address": "0.0.0.0:5060", "transport": "udp"}
    assert path.is_file()
    assert (tmp_path / "heard-2.wav").is_file()


def test_answer_hangs_up_at_the_duration_of_each_call(bench: Bench) -> None:
    ends = []

    async def story(phone: Phone) -> None:
        async with phone.call(f"sip:x@{OURS}") as call:
            ends.append(await call.wait_ended())

    assert bench.run("answer", "--duration", "4", "--calls", "1", "--json", peer=lambda bench: caller(bench, story)) == 0
    assert bench.told("ended")[0]["duration"] == pytest.approx(4.0, abs=0.03)
    assert ends[0].by == "remote"


def test_answer_echoes(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "echo.wav"

    async def story(phone: Phone) -> None:
        async with phone.call(f"sip:x@{OURS}") as call:
            call.record(path, side="in")
            await call.play(Tone(700, duration=2.0))
            await asyncio.sleep(0.5)

    assert bench.run("answer", "--echo", "--calls", "1", peer=lambda bench: caller(bench, story)) == 0
    assert hear(path).tone(700, 0.5, 1.8) > -20


def test_answer_listens_where_it_is_told(bench: Bench) -> None:
    async def story(phone: Phone) -> None:
        async with phone.call(f"sip:x@{OURS}:5099"):
            pass

    assert bench.run("answer", "--listen", f"{OURS}:5099", "--calls", "1", peer=lambda bench: caller(bench, story)) == 0


# ---- register, ring, pbx


@contextlib.asynccontextmanager
async def exchange(bench: Bench) -> AsyncIterator[Pbx]:
    """A PBX at PEER with two users."""
    async with Pbx({"bell": "geheim", "house": "geheim"}, listen=(f"{PEER}:5060",), network=bench.host(PEER)) as pbx:
        yield pbx


def test_register_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXOSIP_PASSWORD", "geheim")
    assert bench.run("register", "--once", "--account", f"sip:bell@{PEER}", "--json", peer=exchange) == 0
    (registered,) = bench.told("registered")
    assert (registered["aor"], registered["expires"]) == (f"sip:bell@{PEER}", 3600)
    assert bench.told("unregistered")[0]["aor"] == f"sip:bell@{PEER}"


def test_a_wrong_password_is_exit_code_5_and_is_not_repeated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXOSIP_PASSWORD", "swordfish")
    assert bench.run("register", "--once", "--account", f"sip:bell@{PEER}", "--json", "-vv", peer=exchange) == 5
    (failed,) = bench.told("registration_failed")
    assert failed["status"] == 401
    assert failed["explain"]
    assert "swordfish" not in bench.out + bench.err
    assert "REGISTER sip:" in bench.err
    assert 'response="****' in bench.err


def test_register_stays_until_it_is_interrupted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXOSIP_PASSWORD", "geheim")
    assert bench.run("register", "--account", f"sip:bell@{PEER}", "--json", peer=exchange, interrupt_after=8000) == 130
    assert len(bench.told("registered")) == 1
    assert len(bench.told("unregistered")) == 1


def test_an_unreachable_registrar_is_exit_code_6(bench: Bench) -> None:
    assert bench.run("register", "--once", "--account", "sip:bell@10.9.9.9", "--json") == 6
    assert bench.told("error")


@pytest.mark.parametrize(("behaviour", "code"), [("answer", 0), ("decline", 4), ("ignore", 3)])
def test_ring(bench: Bench, behaviour: str, code: int) -> None:
    async def handler(call: Any) -> None:
        await call.ring()
        await asyncio.sleep(2)
        if behaviour == "answer":
            await call.answer()
        elif behaviour == "decline":
            await call.reject(603)
        await call.wait_ended()

    assert bench.run("ring", TARGET, "--duration", "10", "--json", peer=peer_phone(handler)) == code
    assert len(bench.told("ringing")) == 1
    assert bench.told("calling")[0]["target"] == TARGET


def test_call_asks_for_an_answer_and_shows_nobody(bench: Bench) -> None:
    seen: list[Any] = []

    async def handler(call: Any) -> None:
        seen.append((call.identity.anonymous, call.headers.get("Answer-Mode"), call.headers.get_all("Alert-Info")))
        await call.answer()
        await call.wait_ended()

    words = ["call", TARGET, "--auto-answer", "--alert", "doorbell", "--anonymous", "--duration", "1", "--json"]
    assert bench.run(*words, peer=peer_phone(handler)) == 0
    assert seen == [
        (True, "Auto", ["<http://127.0.0.1>;info=alert-autoanswer;delay=0", "<http://127.0.0.1/doorbell>;info=doorbell"])
    ]
    assert bench.run("call", TARGET, "--alert", "two words") == 2


def test_ring_several_and_then_others(bench: Bench) -> None:
    @contextlib.asynccontextmanager
    async def three(bench: Bench) -> Any:
        async with contextlib.AsyncExitStack() as stack:
            for ip in ("10.0.0.21", "10.0.0.22", "10.0.0.23"):
                phone = Phone(clock=bench.clock, network=bench.host(ip), listen=(f"{ip}:5060",))
                phone.on_call(answering if ip.endswith("23") else ringing)
                await stack.enter_async_context(phone)
            yield
            await asyncio.sleep(0.5)

    words = ["ring", "sip:a@10.0.0.21", "sip:b@10.0.0.22", "--then", "sip:c@10.0.0.23", "--duration", "5", "--json"]
    assert bench.run(*words, peer=three) == 0
    assert [(event["target"][4], event["outcome"]) for event in bench.told("rang")] == [
        ("a", "rang_out"), ("b", "rang_out"), ("c", "answered"),
    ]  # fmt: skip
    assert [event["target"][4] for event in bench.told("calling")] == ["a", "b"]


def test_ring_with_a_key_is_not_answered_by_who_presses_none(bench: Bench) -> None:
    assert bench.run("ring", TARGET, "--confirm", "1", "--duration", "20", "--json", peer=peer_phone(answering)) == 3
    assert [event["outcome"] for event in bench.told("rang")] == ["unconfirmed"]
    assert bench.run("ring", TARGET, "--confirm", "12") == 2
    assert bench.run("ring", TARGET, "--confirm-prompt", "x.wav") == 2


def test_pbx_tells_who_registers(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import flexosip.pbx

    users = tmp_path / "users"
    users.write_text("# ours\n\nbell:geheim\n", encoding="utf-8")
    real = flexosip.pbx.Pbx
    monkeypatch.setattr(flexosip.pbx, "Pbx", lambda *words, **more: real(*words, **more, network=bench.network.host("10.0.0.9")))

    @contextlib.asynccontextmanager
    async def phones(bench: Bench) -> AsyncIterator[None]:
        async def later() -> None:
            await asyncio.sleep(1)
            for user, password in (("bell", "geheim"), ("house", "offen")):
                host = bench.network.host()
                async with Phone(f"sip:{user}@10.0.0.9", password=password, network=host, clock=bench.clock):
                    pass

        task = asyncio.create_task(later())
        yield
        await task

    words = ("--listen", "10.0.0.9:5060", "--users-file", str(users), "--user", "house:offen", "--json")
    assert bench.run("pbx", *words, peer=phones, interrupt_after=10) == 130
    assert [event["address"] for event in bench.told("listening")] == ["10.0.0.9:5060", "10.0.0.9:5060"]
    assert [event["aor"] for event in bench.told("registered")] == ["sip:bell@10.0.0.9:5060", "sip:house@10.0.0.9:5060"]
    assert [event["expires"] for event in bench.told("registered")] == [3600, 3600]
    assert "geheim" not in bench.out + bench.err


@pytest.mark.parametrize("text", ["bell\n", ":x\n", "a:b\nbell:\n", "a:b\na:c\n"])
def test_a_broken_users_file_is_told_with_its_line(bench: Bench, tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    assert bench.run("pbx", "--users-file", str(tmp_path / "users")) == 2
    assert f"users:{text.count(chr(10))}: " in bench.err


# ---- bell

BELL = f"""\
[account]
aor = "sip:bell@{PEER}"
password = "geheim"
[[destination]]
target = "**9"
duration = 5
[[trigger]]
kind = "stdin"
"""


class House:
    """A PBX and a house phone beside the bell's command; the story is told by `tell(phone, press_return)`."""

    def __init__(self, tell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tell = tell
        self._edges: list[Any] = []
        house = self

        class Stdin:
            """Standard input as the story wants it."""

            source = "stdin"

            def start(self, on_edge: Any, on_release: Any) -> None:
                house._edges.append(on_edge)

            def stop(self) -> None:
                house._edges.clear()

        monkeypatch.setattr("flexosip.apps.bell.bell.create_trigger", lambda settings: Stdin())

    def press_return(self) -> None:
        for edge in self._edges:
            edge()

    @contextlib.asynccontextmanager
    async def __call__(self, bench: Bench) -> AsyncIterator[None]:
        async with exchange(bench):
            phone = Phone(f"sip:house@{PEER}", password="geheim", network=bench.host("10.0.0.3"), clock=bench.clock)
            self.rung: list[float] = []

            @phone.on_call
            async def ring(call: Any) -> None:
                self.rung.append(bench.clock.time())
                await call.ring()
                await call.wait_ended()

            async with phone:

                async def later() -> None:
                    await asyncio.sleep(2)
                    await self._tell(phone, self.press_return)

                task = asyncio.create_task(later())
                yield
                await task


def test_bell_tells_its_story(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(phone: Phone, press_return: Any) -> None:
        press_return()
        async with phone.call("bell") as call:
            await asyncio.sleep(5)
            await call.send_digits("5")
            await asyncio.sleep(3)
        await asyncio.sleep(1)
        press_return()
        await asyncio.sleep(2)
        press_return()
        await asyncio.sleep(10)

    (tmp_path / "bell.toml").write_text(BELL, encoding="utf-8")
    house = House(tell, monkeypatch)
    assert bench.run("bell", "--json", peer=house, interrupt_after=40) == 130
    story = [
        (event["event"], event.get("mode") or event.get("digit") or event.get("source") or event.get("target"))
        for event in bench.events
        if event["event"] not in ("listening", "playing", "played")
    ]
    assert story == [
        ("registered", None),
        ("pending", "stdin"),
        ("incoming", None),
        ("answered", None),
        ("mode", "once"),
        ("swallowed", "stdin"),
        ("digit", "5"),
        ("mode", "5min"),
        ("ended", None),
        ("triggered", "stdin"),
        ("calling", "**9"),
        ("ringing", None),
        ("swallowed", "stdin"),
        ("ended", None),
        ("rang", "**9"),
        ("unregistered", None),
    ]
    assert [Path(event["source"]).stem for event in bench.told("played")] == ["welcome", "on", "5min"]
    assert len(house.rung) == 1


def test_the_pin_is_not_shown(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(phone: Phone, press_return: Any) -> None:
        async with phone.call("bell") as call:
            await call.send_digits("24")
            await call.send_digits("68", via="info")
            await call.send_digits("#9")
            await asyncio.sleep(1)

    (tmp_path / "bell.toml").write_text(BELL + '[access]\npin = "2468"\n', encoding="utf-8")
    assert bench.run("bell", "--json", "-vv", peer=House(tell, monkeypatch), interrupt_after=20) == 130
    assert "Signal=*\n" in bench.err
    assert "Signal=6" not in bench.err
    assert [event["digit"] for event in bench.told("digit")] == ["9"]
    assert [event["mode"] for event in bench.told("mode")] == ["once", "forever"]


def test_the_ini_of_the_original_drives_the_bell(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(phone: Phone, press_return: Any) -> None:
        async with phone.call("bell"):
            await asyncio.sleep(1)
        press_return()
        await asyncio.sleep(20)

    (tmp_path / "cowbell.ini").write_text(
        f"[registration]\nuri = sip:bell@{PEER}\nregistrar = sip:{PEER}\nlogin = bell\npassword = geheim\n"
        f"[alert]\ndestination = sip:**9@{PEER}\nname = Door bell\nduration = 10\n[trigger]\ngpio = 17\nlevel = 1\n[media]\n"
    )
    house = House(tell, monkeypatch)
    assert bench.run("bell", "--json", peer=house, interrupt_after=40) == 130
    assert len(house.rung) == 1
    assert [event["mode"] for event in bench.told("mode")] == ["once", "off"]


def test_a_bell_with_a_wrong_password_is_exit_code_5(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(phone: Phone, press_return: Any) -> None:
        pass

    (tmp_path / "bell.toml").write_text(BELL.replace("geheim", "swordfish"), encoding="utf-8")
    assert bench.run("bell", "--json", peer=House(tell, monkeypatch)) == 5
    assert "swordfish" not in bench.out + bench.err


def test_a_bell_without_a_usable_trigger_is_exit_code_2(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flexosip.errors import MissingExtra

    def require(extra: str, module: str, purpose: str) -> Any:
        raise MissingExtra(extra, purpose)

    monkeypatch.setattr("flexosip.apps.bell.triggers.require", require)
    (tmp_path / "bell.toml").write_text(BELL.replace('kind = "stdin"', 'kind = "gpio"\npin = 17'), encoding="utf-8")
    assert bench.run("bell", "--json") == 2
    assert "pip install 'flexosip[gpio]'" in bench.err


def test_bell_prints_a_unit_for_its_settings(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "bell.toml"
    path.write_text(BELL.replace('password = "geheim"', 'password_file = "pw"'), encoding="utf-8")
    assert bench.run("bell", "--print-unit", "--config", str(path)) == 0
    assert f"-m flexosip bell --json --config {path}\n" in bench.out
    assert f"LoadCredential=pw:{tmp_path}/pw\n" in bench.out
