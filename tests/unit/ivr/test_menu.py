"""Prompts, keys and menus with a caller on stage, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flexosip.errors import CallEnded, ConfigurationError
from flexosip.ivr import AGAIN, BACK, Digits
from flexosip.ivr.menu import gather, menu
from tests.unit.ivr.stage import StageCall, perform

# -- gather -----------------------------------------------------------------------------------------------------------


def test_gather_plays_the_prompt_and_returns_what_is_entered() -> None:
    async def scene(call: StageCall) -> Digits:
        call.press("4", at=3.5)
        call.press("2", at=4.0)
        return await gather(call, "menu.wav", max_digits=2)

    digits, call = perform(scene, menu=3.0)
    assert digits == "42" and digits.reason == "max_digits"
    assert call.heard == [("menu", 0.0, 3.0)]


def test_a_key_cuts_the_prompt_short() -> None:
    async def scene(call: StageCall) -> Digits:
        call.press("5", at=1.25)
        return await gather(call, ["one.wav", "two.wav"], max_digits=1)

    digits, call = perform(scene)
    assert digits == "5"
    assert call.heard == [("one", 0.0, 1.0), ("two", 1.0, 1.25)]


def test_without_barge_in_the_prompt_is_heard_out_and_the_keys_count_after_it() -> None:
    async def scene(call: StageCall) -> tuple[Digits, float]:
        call.press("5", at=1.0)
        digits = await gather(call, "menu.wav", max_digits=1, barge_in=False)
        return digits, call.loop.time()

    (digits, end), call = perform(scene, menu=3.0)
    assert (digits, end) == ("5", 3.0) and call.heard == [("menu", 0.0, 3.0)]


def test_keys_typed_ahead_count_and_spare_the_prompt() -> None:
    async def scene(call: StageCall) -> tuple[Digits, Digits]:
        call.press("1234")
        return await gather(call, "first.wav", max_digits=2), await gather(call, "second.wav", max_digits=2)

    (first, second), call = perform(scene)
    assert (first, second) == ("12", "34") and call.heard == []


def test_keys_beyond_the_entry_stay_for_the_next_reader() -> None:
    async def scene(call: StageCall) -> tuple[Digits, str]:
        call.press("12#7")
        return await gather(call, max_digits=8), await call.wait_digit()

    (digits, rest), _ = perform(scene)
    assert (digits, digits.reason, rest) == ("12", "terminator", "7")


def test_silence_repeats_the_prompt_and_then_is_the_result() -> None:
    async def scene(call: StageCall) -> tuple[Digits, float]:
        digits = await gather(call, "menu.wav", max_digits=1, timeout=4, tries=3)
        return digits, call.loop.time()

    (digits, end), call = perform(scene, menu=2.0)
    assert digits == "" and digits.reason == "timeout"
    assert call.heard == [("menu", 0.0, 2.0), ("menu", 6.0, 8.0), ("menu", 12.0, 14.0)]
    assert end == pytest.approx(18.0)


def test_a_pause_after_a_digit_ends_the_entry_at_its_time() -> None:
    async def scene(call: StageCall) -> tuple[Digits, float]:
        call.press("1", at=1.0)
        digits = await gather(call, max_digits=4, between=1.5)
        return digits, call.loop.time()

    (digits, end), _ = perform(scene)
    assert (digits, digits.reason) == ("1", "between") and end == pytest.approx(2.5)


def test_hanging_up_in_the_prompt_and_after_it_ends_the_entry() -> None:
    for at in (0.5, 2.0):

        async def scene(call: StageCall, at: float = at) -> str:
            call.hang_up(at)
            with pytest.raises(CallEnded):
                await gather(call, "menu.wav", max_digits=1)
            return "ended"

        assert perform(scene)[0] == "ended"


def test_a_missing_prompt_is_an_error_and_nothing_is_left_playing() -> None:
    for barge_in in (True, False):

        async def scene(call: StageCall, barge_in: bool = barge_in) -> None:
            with pytest.raises(FileNotFoundError):
                await gather(call, ["one.wav", "missing.wav"], max_digits=1, barge_in=barge_in)

        perform(scene)


@pytest.mark.parametrize("barge_in", [True, False])
def test_a_cancelled_gather_leaves_no_sound_and_no_reader(barge_in: bool) -> None:
    async def scene(call: StageCall) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await gather(call, ["one.wav", "two.wav"], max_digits=1, barge_in=barge_in)
        call.press("7")
        return await call.wait_digit()

    key, call = perform(scene)
    assert key == "7" and call.heard == [("one", 0.0, 0.4)]


def test_a_key_at_the_very_end_of_the_prompt_is_not_lost() -> None:
    for at in (2.0 - 1e-9, 2.0, 2.0 + 1e-9):

        async def scene(call: StageCall, at: float = at) -> Digits:
            call.press("3", at=at)
            return await gather(call, "menu.wav", max_digits=1)

        assert perform(scene, menu=2.0)[0] == "3"


def test_frames_in_a_list_are_one_sound() -> None:
    frames = [b"\0\0" * 160, b"\0\0" * 160]

    async def scene(call: StageCall) -> list[Any]:
        await gather(call, frames, max_digits=1, timeout=0)
        return [item[0] for item in call.heard]

    assert perform(scene)[0] == [str(frames)]


# -- menu -------------------------------------------------------------------------------------------------------------


def test_a_handler_with_and_without_the_call_plain_and_async_gives_the_result() -> None:
    async def with_call(call: StageCall) -> str:
        await call.play("done.wav")
        return "async"

    choices: dict[str, Any] = {"1": with_call, "2": lambda: "plain", "3": lambda call: type(call).__name__, "4": None, "5": lambda x=1: x}
    for keys, wanted in (("1", "async"), ("2", "plain"), ("3", "StageCall"), ("4", "4"), ("5", 1)):

        async def scene(call: StageCall, keys: str = keys) -> Any:
            call.press(keys, at=0.5)
            return await menu(call, choices, prompt="menu.wav")

        result, call = perform(scene)
        assert result == wanted and call.heard[0] == ("menu", 0.0, 0.5)


def test_a_sound_is_played_and_the_menu_offered_again() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("1", at=2.5)
        call.press("9", at=8.0)
        return await menu(call, {"prompt": "menu.wav", "1": Path("hours.wav"), "9": None})

    result, call = perform(scene, menu=2.0, hours=3.0)
    assert result == "9" and result.reason == "choice"
    assert call.heard == [("menu", 0.0, 2.0), ("hours", 2.5, 5.5), ("menu", 5.5, 7.5)]


def test_a_key_during_a_sound_is_the_next_choice() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("1", at=0.5)
        call.press("9", at=1.0)
        return await menu(call, {"prompt": "menu.wav", "1": ["hours.wav", "more.wav"], "9": None})

    result, call = perform(scene, menu=2.0, hours=3.0)
    assert result == "9" and call.heard == [("menu", 0.0, 0.5), ("hours", 0.5, 1.0)]


def test_a_wrong_key_is_told_and_the_menu_offered_again() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("7", at=0.5)
        call.press("1", at=3.0)
        return await menu(call, {"1": None}, prompt="menu.wav", invalid="wrong.wav")

    result, call = perform(scene)
    assert result == "1"
    assert call.heard == [("menu", 0.0, 0.5), ("wrong", 0.5, 1.5), ("menu", 1.5, 2.5)]


@pytest.mark.parametrize(("keys", "reason"), [("", "timeout"), ("777", "invalid")])
def test_a_menu_gives_up_after_its_tries(keys: str, reason: str) -> None:
    async def scene(call: StageCall) -> Any:
        call.press(keys)
        return await menu(call, {"1": None}, prompt="menu.wav", timeout=2, tries=3)

    result, call = perform(scene)
    assert result == "" and result.reason == reason
    assert len(call.heard) == (3 if reason == "timeout" else 0)


def test_a_right_key_gives_the_caller_all_tries_again() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("7717719")
        return await menu(call, {"1": lambda: AGAIN, "9": None}, tries=3)

    assert perform(scene)[0] == "9"


def test_a_menu_in_the_menu_has_its_own_prompt_and_a_way_back() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("2", at=0.5)
        call.press("*", at=1.0)
        call.press("2", at=1.5)
        call.press("1", at=4.0)
        return await menu(call, {"prompt": "main.wav", "2": {"prompt": "sub.wav", "timeout": 9, "1": lambda: "deep", "*": BACK}})

    result, call = perform(scene)
    assert result == "deep"
    assert call.heard == [("main", 0.0, 0.5), ("sub", 0.5, 1.0), ("main", 1.0, 1.5), ("sub", 1.5, 2.5)]


def test_keys_typed_ahead_go_down_the_menus_without_a_prompt() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("21")
        return await menu(call, {"prompt": "main.wav", "2": {"prompt": "sub.wav", "1": lambda: "deep"}})

    result, call = perform(scene)
    assert result == "deep" and call.heard == []


def test_back_from_the_topmost_menu_and_silence_in_a_lower_one_end_everything() -> None:
    async def back(call: StageCall) -> Any:
        call.press("*")
        return await menu(call, {"*": BACK})

    async def silence(call: StageCall) -> Any:
        call.press("1")
        return await menu(call, {"1": {"2": None}}, tries=1, timeout=1)

    assert perform(back)[0] is BACK
    result = perform(silence)[0]
    assert result == "" and result.reason == "timeout"


def test_keys_of_several_digits() -> None:
    async def scene(call: StageCall) -> Any:
        call.press("1", at=1.0)
        call.press("2", at=2.0)
        first = await menu(call, {"1": None, "12": None}, between=1.5)
        call.press("1", at=4.0)
        return first, await menu(call, {"1": None, "12": None}, between=1.5), call.loop.time()

    (first, second, end), _ = perform(scene)
    assert (first, second) == ("12", "1") and end == pytest.approx(5.5)


def test_an_error_of_a_handler_reaches_the_caller_of_the_menu() -> None:
    def broken() -> None:
        raise ValueError("mine")

    async def scene(call: StageCall) -> None:
        call.press("1")
        with pytest.raises(ValueError, match="mine"):
            await menu(call, {"1": broken})

    perform(scene)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"prompt": "x.wav"},
        {"": None},
        {"x": None},
        {"1": {}},
        {"1": {"y": None}},
        {1: None},
        {"promt": "x.wav", "1": None},
        {"1": None, "tries": 0},
    ],
)
def test_mistakes_in_a_menu_are_found_before_the_caller_hears_anything(choices: Any) -> None:
    async def scene(call: StageCall) -> None:
        with pytest.raises(ConfigurationError):
            await menu(call, choices, prompt="menu.wav")

    assert perform(scene)[1].heard == []


def test_a_coroutine_instead_of_a_function_is_a_mistake() -> None:
    async def handler() -> None: ...

    async def scene(call: StageCall) -> None:
        coroutine = handler()
        with pytest.raises(ConfigurationError, match="without calling it"):
            await menu(call, {"1": coroutine})
        coroutine.close()

    perform(scene)
