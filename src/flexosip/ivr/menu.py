"""Prompts and keys on a live call: `gather` and `menu`.

    choice = await call.menu({
        "prompt": "welcome.wav",            # "for opening hours press 1, for a message 2, for the departments 3"
        "invalid": "no-such-key.wav",
        "1": "opening-hours.wav",           # a sound: played, then the menu is offered again
        "2": leave_message,                 # a function: leave_message(call); its result ends the menu
        "3": {                              # a menu within the menu, with its own prompt
            "prompt": "departments.wav",
            "1": sales,
            "2": repairs,
            "*": BACK,                      # up again
        },
        "9": None,                          # nothing to do: the menu ends and returns "9"
    })

See `menu` for the rules.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from flexosip.errors import ConfigurationError
from flexosip.ivr.collect import KEYS, ChoiceCollector, DigitCollector, Digits

__all__ = ["AGAIN", "BACK", "IvrCall", "MenuStep", "gather", "menu"]


class _Playback(Protocol):
    def stop(self) -> Any: ...
    def __await__(self) -> Any: ...


class IvrCall(Protocol):
    """What of a `Call` is needed here."""

    def play(self, source: Any) -> _Playback:
        """Queue a sound at once."""

    def stop_playing(self) -> Any:
        """Empty the play queue."""

    async def wait_digit(self, timeout: float | None = None) -> str:
        """The next key, typed ahead or to come; TimeoutError after `timeout` seconds."""


class MenuStep(enum.Enum):
    """Where a menu goes on after a key; as the action of a key, or as the result of its handler."""

    AGAIN = "again"
    """Offer the same menu again."""
    BACK = "back"
    """Offer the menu above; the topmost menu ends and returns BACK."""


AGAIN = MenuStep.AGAIN
BACK = MenuStep.BACK

_OPTIONS = ("prompt", "invalid", "timeout", "between", "tries", "barge_in")


def _sources(prompt: Any) -> list[Any]:
    """The sounds of a prompt: none, one, or a list or tuple of several. (A list of bytes is one sound: its frames.)"""
    if prompt is None:
        return []
    if isinstance(prompt, (list, tuple)) and not any(isinstance(item, (bytes, bytearray, memoryview)) for item in prompt):
        return list(prompt)
    return [prompt]


async def gather(
    call: IvrCall,
    prompt: Any = None,
    *,
    max_digits: int,
    timeout: float | None = 5.0,
    between: float | None = None,
    terminator: str = "#",
    tries: int = 1,
    barge_in: bool = True,
) -> Digits:
    """Play `prompt` and collect digits.

    Keys typed ahead count, and then the prompt is not played at all. What is typed beyond the entry stays for the next reader: with
    `max_digits=4`, the "#" of "2468#" would be the first key of the next entry; ask for one digit more, or for no terminator.

    Args:
        prompt: a source for `call.play`, or a list of several, played one after the other; None: only listen.
        max_digits: the entry is complete with so many.
        timeout: seconds of silence after the prompt; None: wait as long as the call lasts.
        between: seconds after a digit before the entry is taken as it is (default 3).
        terminator: keys that end the entry; they are not part of it. "" for none.
        tries: how often the prompt is played when the caller stays silent.
        barge_in: a key cuts the prompt (and all else in the play queue) short. Otherwise keys count after it.

    Returns:
        `Digits`, a `str`: "" when the caller stayed silent. `.reason` tells "max_digits", "terminator", "between" or "timeout".

    Raises:
        CallEnded: the call ended before. MediaError: the prompt is missing or cannot be read.
    """
    collector = DigitCollector(
        max_digits=max_digits, timeout=timeout, between=between, terminator=terminator, tries=tries, barge_in=barge_in
    )
    return await _collect(call, _sources(prompt), collector)


async def _collect(call: IvrCall, sources: list[Any], collector: DigitCollector) -> Digits:
    clock = asyncio.get_running_loop().time
    collector.begin()
    while collector.result is None:
        if collector.prompting:
            digit = await _play_prompt(call, sources, collector.barge_in)
            if digit is None:
                collector.prompt_ended(clock())
                continue
        else:
            deadline = collector.next_timeout()
            try:
                digit = await call.wait_digit(None if deadline is None else max(0.0, deadline - clock()))
            except TimeoutError:
                # A loop's timer may fire a moment early; the deadline has passed all the same.
                collector.handle_timeout(clock() if deadline is None else max(clock(), deadline))
                continue
        collector.receive_digit(digit, clock())
    return collector.result


async def _play_prompt(call: IvrCall, sources: list[Any], barge_in: bool) -> str | None:
    """Play to the end, or to the first key, which is returned. Nothing is left playing or waiting, however this ends."""
    if not sources:
        return None
    if not barge_in:
        await _play_all(call, sources)
        return None
    try:
        return await call.wait_digit(0)
    except TimeoutError:
        pass  # nothing typed ahead
    sound = asyncio.ensure_future(_play_all(call, sources))
    key = asyncio.ensure_future(call.wait_digit(None))
    try:
        await asyncio.wait((sound, key), return_when=asyncio.FIRST_COMPLETED)
        if key.done() and key.exception() is None:
            call.stop_playing()
    finally:
        sound.cancel()
        key.cancel()
        await asyncio.gather(sound, key, return_exceptions=True)
    # A key that came while we cleaned up is done by now: it is not lost.
    if not key.cancelled():
        return key.result()
    if not sound.cancelled():
        sound.result()
    return None


async def _play_all(call: IvrCall, sources: list[Any]) -> None:
    playbacks: list[_Playback] = []
    try:
        for source in sources:
            playbacks.append(call.play(source))  # noqa: PERF401 - what is queued is stopped when the next one fails
        for playback in playbacks:
            await playback
    except BaseException:
        for playback in playbacks:
            playback.stop()
        raise


async def menu(
    call: IvrCall,
    choices: Mapping[str, Any],
    *,
    prompt: Any = None,
    invalid: Any = None,
    timeout: float | None = 5.0,
    between: float | None = None,
    tries: int = 3,
    barge_in: bool = True,
) -> Any:
    """Offer choices until one of them ends the menu.

    `choices` maps keys ("1", "*", also "12") to actions:

    - a function, plain or async, with or without the call as its parameter: it is called, and its result ends the menu and is
      returned; `AGAIN` and `BACK` as results steer the menu instead;
    - a sound (a path or whatever else `call.play` takes, or a list of them): it is played, then the menu is offered again. A key
      pressed meanwhile stops it and is the next choice;
    - a mapping: a menu within the menu. It inherits the settings; its own stand in it as "prompt", "invalid", "timeout", "between",
      "tries", "barge_in". Its result is that of the whole menu;
    - `AGAIN` or `BACK`: the same menu again, or the one above;
    - None: the menu ends and returns the key.

    The same settings may stand in the outer mapping, instead of the arguments here.

    Args:
        choices: see above.
        prompt: what is played before each choice.
        invalid: played after a key that the menu does not have; then the prompt follows.
        timeout: seconds of silence after the prompt before it is repeated.
        between: seconds to wait for a second digit where a key may go on ("1" beside "12").
        tries: how many times in a row the caller may stay silent or press a wrong key.
        barge_in: keys cut prompts and sounds short.

    Returns:
        The result of the function that was called, or the key; when the tries are used up an empty `Digits`, whose `.reason` is
        "timeout" or "invalid".

    Raises:
        ConfigurationError: a key or an action makes no sense; it is raised before anything is played.
        CallEnded: the caller hung up.
    """
    settings = {"prompt": prompt, "invalid": invalid, "timeout": timeout, "between": between, "tries": tries, "barge_in": barge_in}
    _check({**settings, **choices}, "")
    return await _run(call, choices, settings)


def _check(choices: Mapping[str, Any], where: str) -> None:
    """Find mistakes before the caller does."""
    keys = [key for key in choices if key not in _OPTIONS]
    if not keys:
        raise ConfigurationError(f"The menu{where} has no key.")
    if choices.get("tries", 1) < 1:
        raise ConfigurationError(f"tries={choices['tries']!r} in the menu{where}: at least one try is needed.")
    for key in keys:
        if not isinstance(key, str) or not key or any(digit not in KEYS for digit in key):
            raise ConfigurationError(f"Menu key {key!r}{where}: a key is made of {KEYS}; settings are {', '.join(_OPTIONS)}.")
        action = choices[key]
        if isinstance(action, Mapping):
            _check(action, f"{where} under {key!r}")
        elif inspect.isawaitable(action):
            raise ConfigurationError(f"Menu key {key!r}{where}: give the function itself, without calling it.")


async def _run(call: IvrCall, choices: Mapping[str, Any], inherited: Mapping[str, Any]) -> Any:
    settings = {**inherited, **{name: choices[name] for name in _OPTIONS if name in choices}}
    actions = {key: action for key, action in choices.items() if key not in _OPTIONS}
    prompt, failures = _sources(settings["prompt"]), 0
    opening = prompt
    while True:
        collector = ChoiceCollector(actions, timeout=settings["timeout"], between=settings["between"], barge_in=settings["barge_in"])
        digits = await _collect(call, opening, collector)
        opening = prompt
        if digits.reason != "choice":
            failures += 1
            if failures >= settings["tries"]:
                return Digits("", digits.reason)
            if digits.reason == "invalid":
                opening = [*_sources(settings["invalid"]), *prompt]
            continue
        failures = 0
        action = actions[digits]
        if action is None:
            return digits
        if isinstance(action, Mapping):
            result = await _run(call, action, {**settings, "prompt": None})
            if result is BACK:
                continue
            return result
        if isinstance(action, MenuStep) or callable(action):
            step = action if isinstance(action, MenuStep) else await _handle(call, action)
            if step is not AGAIN:
                return step
            continue
        opening = [*_sources(action), *prompt]


async def _handle(call: IvrCall, action: Callable[..., Any]) -> Any:
    result = action(call) if _wants_call(action) else action()
    return await result if isinstance(result, Awaitable) else result


def _wants_call(action: Callable[..., Any]) -> bool:
    """True unless the function can be called without an argument only."""
    try:
        parameters = inspect.signature(action).parameters.values()
    except (TypeError, ValueError):
        return True  # some functions written in C do not tell
    return any(
        parameter.kind is parameter.VAR_POSITIONAL
        or (parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and parameter.default is parameter.empty)
        for parameter in parameters
    )
