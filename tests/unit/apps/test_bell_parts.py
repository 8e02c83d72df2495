"""Triggers, store, unit and prompts of the bell."""

from __future__ import annotations

import array
import asyncio
import configparser
import json
import math
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexosip.apps.bell.config import PROMPT_NAMES, TriggerSettings
from flexosip.apps.bell.store import Store, default_store_path
from flexosip.apps.bell.triggers import GpioTrigger, StdinTrigger, TriggerUnavailable, create_trigger
from flexosip.apps.bell.unit import unit_text
from flexosip.errors import MissingExtra

PROMPTS = Path(__file__).parents[3] / "src" / "flexosip" / "apps" / "bell" / "prompts"


# ---- GPIO


@pytest.fixture
def pins() -> Iterator[Any]:
    gpiozero = pytest.importorskip("gpiozero")
    mock = pytest.importorskip("gpiozero.pins.mock")
    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = mock.MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


@pytest.mark.parametrize("level", [0, 1])
async def test_the_edge_of_a_level_is_told_in_the_loop_and_so_is_its_end(pins: Any, level: int) -> None:
    told: list[str] = []
    trigger = create_trigger(TriggerSettings("gpio", 17, level))
    pin = pins.pin(17)
    trigger.start(lambda: told.append("edge"), lambda: told.append("release"))
    go = pin.drive_high if level else pin.drive_low
    rest = pin.drive_low if level else pin.drive_high
    for _ in range(2):
        go()
        rest()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == ["edge", "release", "edge", "release"]
    trigger.stop()
    trigger.stop()
    go()
    await asyncio.sleep(0)
    assert len(told) == 4


async def test_the_pin_is_pulled_to_rest(pins: Any) -> None:
    for number, (level, pull) in enumerate(((0, "up"), (1, "down"))):
        trigger = GpioTrigger(number, level, "x")
        trigger.start(lambda: None, lambda: None)
        assert pins.pin(number).pull == pull
        trigger.stop()


async def test_a_pin_that_is_in_use_is_unavailable(pins: Any) -> None:
    first, second = GpioTrigger(17, 1, "gpio17"), GpioTrigger(17, 1, "gpio17")
    first.start(lambda: None, lambda: None)
    with pytest.raises(TriggerUnavailable, match="gpio17 cannot be used"):
        second.start(lambda: None, lambda: None)
    first.stop()


async def test_without_gpiozero_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def require(extra: str, module: str, purpose: str) -> Any:
        raise MissingExtra(extra, purpose)

    monkeypatch.setattr("flexosip.apps.bell.triggers.require", require)
    with pytest.raises(TriggerUnavailable) as caught:
        GpioTrigger(17, 1, "gpio17").start(lambda: None, lambda: None)
    assert "pip install 'flexosip[gpio]'" in caught.value.explain()


# ---- standard input


async def test_return_is_an_edge_and_the_end_is_none() -> None:
    reading, writing = os.pipe()
    told: list[str] = []
    trigger = StdinTrigger(reading)
    trigger.start(lambda: told.append("edge"), lambda: None)

    async def settle() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    for data, edges in ((b"\n", 1), (b"\n\n\n", 2), (b"abc", 2), (b"def\n", 3)):
        os.write(writing, data)
        await settle()
        assert len(told) == edges
    os.close(writing)
    await settle()
    assert len(told) == 3
    trigger.stop()
    os.close(reading)


async def test_a_closed_standard_input_is_unavailable_and_an_empty_one_is_not() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(TriggerUnavailable, match="standard input is closed"):
        StdinTrigger(reading).start(lambda: None, lambda: None)
    null = os.open(os.devnull, os.O_RDONLY)
    told: list[str] = []
    trigger = StdinTrigger(null)
    trigger.start(lambda: told.append("edge"), lambda: None)
    await asyncio.sleep(0)
    trigger.stop()
    os.close(null)
    assert told == []


# ---- store


def test_what_was_saved_is_loaded_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "b.json")
    assert store.load() == {}
    store.save({"mode": "once"})
    store.save({"mode": "forever"})
    assert Store(store.path).load() == {"mode": "forever"}
    assert [path.name for path in store.path.parent.iterdir()] == ["b.json"]
    assert store.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'"x"'])
def test_a_broken_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content)
    assert Store(path).load() == {}


def test_a_file_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("x")
    store = Store(tmp_path / "file" / "b.json")
    store.save({})
    store.save({})
    assert len(caplog.records) == 1
    assert "will not survive a restart" in caplog.text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "b.json")
    store.save({"mode": "once"})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    store.save({"mode": "forever"})
    assert json.loads(store.path.read_text()) == {"mode": "once"}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_place_of_the_store_follows_systemd_then_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    assert default_store_path("sip:bell@fritz.box") == Path("/x/state/flexosip/bell-bell@fritz.box.json")
    assert default_store_path("sip:../../etc@h/x").parent == Path("/x/state/flexosip")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/flexosip:/other")
    assert default_store_path(None) == Path("/var/lib/flexosip/bell-local.json")


# ---- unit


def test_the_unit_is_well_formed_and_starts_the_bell() -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit_text(Path("/etc/my bells/bell 100%.toml"), python="/opt/flexosip/bin/python3"))
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Service"]["ExecStart"] == '/opt/flexosip/bin/python3 -m flexosip bell --json --config "/etc/my bells/bell 100%%.toml"'
    assert parser["Service"]["StateDirectory"] == "flexosip"
    assert parser["Service"]["SupplementaryGroups"] == "gpio"
    assert "LoadCredential" not in parser["Service"]


def test_the_unit_hands_over_the_password_file_and_leaves_out_absent_groups() -> None:
    text = unit_text(groups=(), credentials=[Path("/etc/flexosip/bell.password")])
    assert "LoadCredential=bell.password:/etc/flexosip/bell.password\n" in text
    assert "SupplementaryGroups" not in text


# ---- prompts


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_prompts_are_short_and_at_a_pleasant_level(language: str, name: str) -> None:
    with wave.open(str(PROMPTS / language / f"{name}.wav")) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (16000, 1, 2)
        samples = array.array("h", reader.readframes(reader.getnframes()))
    assert 0.5 < len(samples) / 16000 < 3.5
    assert max(map(abs, samples)) < 32767 * 0.9
    level = 10 * math.log10(sum(sample * sample for sample in samples) / len(samples) / 32768**2)
    assert -25 < level < -16


def test_all_prompts_together_are_small() -> None:
    assert sum(path.stat().st_size for path in PROMPTS.rglob("*.wav")) < 2_500_000
