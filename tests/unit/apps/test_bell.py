"""The whole bell on a phone that only remembers, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flexosip.apps.bell import Bell, BellConfig, Destination, Store
from flexosip.apps.bell.triggers import TriggerUnavailable
from flexosip.errors import AuthenticationError, ConfigurationError, MissingExtra, NotFound, ServerUnreachable
from flexosip.simulation.clock import VirtualClock
from tests.unit.apps.fakes import FakePhone

ONE = (Destination("**9", 10.0, "Door bell"),)


class Scene:
    """A bell and what it reported."""

    def __init__(self, tmp_path: Path, config: BellConfig, phone: FakePhone | None = None) -> None:
        self.phone = phone or FakePhone()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.wall = 1_000_000.0
        self.bell = Bell(
            config,
            phone=self.phone,  # type: ignore[arg-type]
            report=lambda event, **fields: self.events.append((event, fields)),
            store=Store(tmp_path / "state" / "bell.json"),
            triggers=[],
            wall=lambda: self.wall + asyncio.get_running_loop().time(),
        )

    def told(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        return [event for event in self.events if not names or event[0] in names]

    def play(self, story: Callable[[Scene], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.bell:
                await story(self)
            assert not self.phone.running
            await asyncio.sleep(0.3)
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            assert left == []

        VirtualClock().run(run())


def test_a_call_in_is_answered_and_told_what_it_did(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        assert call.prompts == [("welcome", 0.5), ("on", 0.2)]
        assert scene.bell.mode == "once"
        call.press("5")
        await asyncio.sleep(0.01)
        assert len(call.stopped) == 1
        assert call.prompts[2:] == [("5min", 0.3)]
        call.press("7")
        await asyncio.sleep(0.01)
        assert len(call.stopped) == 2
        assert len(call.prompts) == 3
        call.hang_up()

    scene = Scene(tmp_path, BellConfig(ONE))
    scene.play(story)
    assert scene.told("mode") == [("mode", {"mode": "once", "by": "call"}), ("mode", {"mode": "5min", "by": "digit"})]


def test_a_trigger_rings_the_destination_for_its_duration(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        (await scene.phone.call_in()).hang_up()
        await asyncio.sleep(5)
        await scene.bell.trigger("gpio17")
        await asyncio.sleep(60)
        assert scene.phone.rings == [(pytest.approx(5.01), "**9", 10.0, "Door bell")]
        await scene.bell.trigger("gpio17")
        await asyncio.sleep(60)
        assert len(scene.phone.rings) == 1

    scene = Scene(tmp_path, BellConfig(ONE))
    scene.play(story)
    assert scene.told("triggered", "mode", "calling", "rang", "pending")[1:] == [
        ("triggered", {"source": "gpio17"}),
        ("mode", {"mode": "off", "by": "trigger"}),
        ("calling", {"target": "**9"}),
        ("rang", {"target": "**9", "outcome": "rang_out"}),
        ("pending", {"source": "gpio17"}),
    ]


def test_forever_rings_again_and_again_but_not_while_it_rings(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        call.press("9")
        call.hang_up()
        await asyncio.sleep(1)
        for _ in range(3):
            await scene.bell.trigger()
            await asyncio.sleep(8)
            await scene.bell.trigger()
            await asyncio.sleep(8)

    scene = Scene(tmp_path, BellConfig(ONE))
    scene.play(story)
    assert len(scene.phone.rings) == 3
    assert scene.told("swallowed") == [("swallowed", {"source": "program", "reason": "ringing"})] * 3


def test_five_minutes_end_by_themselves(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        call.press("5")
        await asyncio.sleep(299)
        assert scene.bell.mode == "5min"
        await asyncio.sleep(2)
        assert scene.events[-1] == ("mode", {"mode": "off", "by": "time"})
        call.hang_up()

    Scene(tmp_path, BellConfig(ONE)).play(story)


@pytest.mark.parametrize(
    ("outcome", "rung"), [("answered", 1), ("declined", 1), ("rang_out", 2), (NotFound("no such number", status=404), 2)]
)
def test_destinations_are_rung_in_order_until_one_answers_or_declines(tmp_path: Path, outcome: str | Exception, rung: int) -> None:
    async def story(scene: Scene) -> None:
        (await scene.phone.call_in()).hang_up()
        await scene.bell.trigger()
        await asyncio.sleep(60)

    config = BellConfig((Destination("**610", 10.0), Destination("**620", 5.0)))
    scene = Scene(tmp_path, config, FakePhone(script={"**610": (3.0, outcome)}))
    scene.play(story)
    assert [ring[1] for ring in scene.phone.rings] == ["**610", "**620"][:rung]
    assert len(scene.told("error")) == isinstance(outcome, Exception)


def test_a_destination_of_several_rings_them_at_once_and_may_want_a_key(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        (await scene.phone.call_in()).hang_up()
        await scene.bell.trigger()
        await asyncio.sleep(60)

    config = BellConfig((Destination("**610", 10.0, None, ("**611", "**612"), "1"), Destination("**9", 5.0)))
    scene = Scene(tmp_path, config, FakePhone(script={"**9": (3.0, "answered")}))
    scene.play(story)
    assert [ring[1] for ring in scene.phone.rings] == ["**610 and **611 and **612", "**9"]
    assert scene.phone.confirmed == ["1", None]
    assert [event["target"] for name, event in scene.told("calling")] == ["**610, **611, **612", "**9"]


def test_a_ring_without_end_ends_when_the_bell_is_switched_off(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        call.press("9")
        await asyncio.sleep(1)
        await scene.bell.trigger()
        await asyncio.sleep(1000)
        assert scene.phone.cancelled == []
        call.press("0")
        await asyncio.sleep(1)
        assert len(scene.phone.cancelled) == 1
        call.press("9")
        await asyncio.sleep(1)
        await scene.bell.trigger()
        await asyncio.sleep(1)
        assert len(scene.phone.rings) == 2

    Scene(tmp_path, BellConfig((Destination("**9", 0.0),))).play(story)


def test_closing_ends_a_ring(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.phone.call_in()
        await scene.bell.trigger()
        await asyncio.sleep(1)

    scene = Scene(tmp_path, BellConfig(ONE))
    scene.play(story)
    assert len(scene.phone.cancelled) == 1


def test_the_mode_survives_a_restart(tmp_path: Path) -> None:
    async def switch_on(scene: Scene) -> None:
        call = await scene.phone.call_in()
        call.press("9")
        await asyncio.sleep(0.1)

    async def look(scene: Scene) -> None:
        assert scene.bell.mode == "forever"

    Scene(tmp_path, BellConfig(ONE)).play(switch_on)
    again = Scene(tmp_path, BellConfig(ONE))
    again.play(look)
    assert again.told("mode") == [("mode", {"mode": "forever", "by": "restart"})]


def test_with_a_pin_nothing_is_said_or_changed_before_it(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        await asyncio.sleep(5)
        call.press("9")
        call.press("#")
        await asyncio.sleep(0.1)
        assert (call.prompts, scene.bell.mode, call.stopped) == ([], "off", [])
        assert scene.bell.hides_digits(call.id)
        call.press("2468#5")
        await asyncio.sleep(0.1)
        assert call.prompts == [("welcome", 0.5), ("on", 0.2), ("5min", 0.3)]
        assert not scene.bell.hides_digits(call.id)
        await asyncio.sleep(200)
        assert not call.ended.is_set()
        call.hang_up()

    Scene(tmp_path, BellConfig(ONE, pin="2468")).play(story)


def test_three_wrong_pins_end_the_call_and_the_next_is_refused_for_a_while(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        call.press("1#2#3#")
        await asyncio.sleep(0.1)
        assert call.ended.is_set()
        assert call.prompts == []
        assert (await scene.phone.call_in()).rejected == 480
        await asyncio.sleep(60)
        late = await scene.phone.call_in()
        late.press("2468#")
        await asyncio.sleep(0.1)
        assert late.prompts[0] == ("welcome", 0.5)
        late.hang_up()

    scene = Scene(tmp_path, BellConfig(ONE, pin="2468"))
    scene.play(story)
    assert [event for event, _ in scene.told("locked", "refused")] == ["locked", "refused"]


def test_a_lock_out_does_not_end_by_pulling_the_plug(tmp_path: Path) -> None:
    async def guess(scene: Scene) -> None:
        (await scene.phone.call_in()).press("1#2#3#")
        await asyncio.sleep(0.1)

    async def again(scene: Scene) -> None:
        assert (await scene.phone.call_in()).rejected == 480

    Scene(tmp_path, BellConfig(ONE, pin="2468")).play(guess)
    Scene(tmp_path, BellConfig(ONE, pin="2468")).play(again)


def test_who_gives_no_pin_is_hung_up_after_a_minute(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        call = await scene.phone.call_in()
        await asyncio.sleep(59)
        assert not call.ended.is_set()
        await asyncio.sleep(2)
        assert call.ended.is_set()

    Scene(tmp_path, BellConfig(ONE, pin="2468")).play(story)


def test_callers_who_are_not_on_the_list_are_refused(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        stranger = await scene.phone.call_in("+49176555")
        assert (stranger.rejected, stranger.answered_at, scene.bell.mode) == (403, None, "off")
        friend = await scene.phone.call_in("**620")
        assert friend.rejected is None
        assert scene.bell.mode == "once"
        friend.hang_up()

    Scene(tmp_path, BellConfig(ONE, callers=("**6*",))).play(story)


def test_a_wrong_password_ends_the_bell_and_a_silent_registrar_does_not(tmp_path: Path) -> None:
    from flexosip.apps.bell import AccountSettings

    async def nothing(scene: Scene) -> None:
        assert scene.phone.running

    config = BellConfig(ONE, account=AccountSettings(aor="sip:bell@home.test"))
    phone = FakePhone(registration_error=AuthenticationError("refused"))
    with pytest.raises(AuthenticationError):
        Scene(tmp_path, config, phone).play(nothing)
    assert not phone.running
    scene = Scene(tmp_path, config, FakePhone(registration_error=ServerUnreachable("no answer")))
    scene.play(nothing)
    assert scene.events[0] == ("listening", {"address": "192.0.2.17:5060", "transport": "udp"})
    assert scene.events[1][0] == "error"
    assert "keeps trying" in scene.events[1][1]["explain"]


class _Trigger:
    """A trigger that is there or not."""

    def __init__(self, source: str, error: TriggerUnavailable | None = None) -> None:
        self.source = source
        self._error = error
        self.edge: Callable[[], None] | None = None

    def start(self, on_edge: Callable[[], None], on_release: Callable[[], None]) -> None:
        if self._error is not None:
            raise self._error
        self.edge = on_edge

    def stop(self) -> None:
        self.edge = None


def test_an_unavailable_trigger_is_one_warning_and_none_left_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = _Trigger("gpio17", TriggerUnavailable("The trigger gpio17 cannot be used: no pins.", advice="Buy a Raspberry Pi."))
    stdin = _Trigger("stdin")

    async def run(triggers: list[Any]) -> None:
        phone: Any = FakePhone()
        bell = Bell(BellConfig(ONE), phone=phone, report=lambda event, **fields: None, store=Store(tmp_path / "x"), triggers=triggers)
        async with bell:
            assert stdin.edge is not None
        assert stdin.edge is None

    VirtualClock().run(run([gone, stdin]))
    assert [record.getMessage() for record in caplog.records] == ["The trigger gpio17 cannot be used: no pins. Buy a Raspberry Pi."]
    with pytest.raises(
        ConfigurationError, match="None of the bell's triggers can be used: The trigger gpio17 cannot be used: no pins"
    ) as caught:
        VirtualClock().run(run([gone]))
    assert "stdin" in caught.value.explain()


def test_a_recording_that_needs_an_extra_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexosip.extras.available", lambda module: False)
    with pytest.raises(MissingExtra, match=r"hello\.ogg"):
        Scene(tmp_path, BellConfig(ONE, prompts={"welcome": tmp_path / "hello.ogg"}))
