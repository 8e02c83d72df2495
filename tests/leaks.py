"""After every test that passed: nothing is left. No socket, task, thread, timer or file descriptor.

Virtual networks and clocks, and drivers, are found wherever a test makes them. A test that means to leave something
behind has to clean it up itself; there is no way to be excused.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from flexosip.net.driver import SipDriver
from flexosip.simulation import VirtualClock, VirtualNetwork

__all__ = ["nothing_is_left", "pytest_runtest_call", "pytest_runtest_makereport"]

_PATIENCE = 2.0
"""Real seconds that threads may take to end and descriptors to close after the test."""

_passed = pytest.StashKey[bool]()
_tasks_left = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compare what is there after the test with what was there before it."""
    networks = _instances_of(VirtualNetwork, monkeypatch)
    clocks = _instances_of(VirtualClock, monkeypatch)
    drivers = _instances_of(SipDriver, monkeypatch)
    threads = set(threading.enumerate())
    descriptors = _descriptors()
    yield
    if not request.node.stash.get(_passed, False):
        return
    left = [f"task {name}" for name in request.node.stash.get(_tasks_left, [])]
    left += [f"task {name}" for clock in clocks for name in clock.unfinished]
    left += [f"virtual socket {open_socket!r}" for network in networks for open_socket in network.open_sockets]
    left += [f"socket of a driver, {address}" for driver in drivers for address in driver.addresses]
    left += [f"timers of a driver's scheduler: {_waiting(driver)}" for driver in drivers if driver.scheduler.pending]
    left += _threads_left(threads) + _descriptors_left(descriptors)
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def pytest_runtest_call(item: pytest.Item) -> None:
    """Let a coroutine test tell which tasks it leaves: its loop is gone when the fixture looks."""
    test = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(test):
        return

    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        for _ in range(5):  # tasks that were cancelled at the very end
            await asyncio.sleep(0)
        item.stash[_tasks_left] = [repr(task) for task in asyncio.all_tasks() - before]

    item.obj = watched  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remember whether the test passed: a failed one may leave anything."""
    report = yield
    if call.when == "call":
        item.stash[_passed] = report.passed
    return report


def _instances_of(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list to which every instance made from now on is added."""
    made: list[Any] = []
    original = kind.__init__

    @functools.wraps(original)
    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(kind, "__init__", noted)
    return made


def _waiting(driver: SipDriver) -> str:
    """What the timers would call: only that helps to find who left them."""
    callbacks = [timer.callback for _, _, timer in driver.scheduler._heap if timer.callback is not None]
    return ", ".join(getattr(callback, "__qualname__", repr(callback)) for callback in callbacks)


def _threads_left(before: set[threading.Thread]) -> list[str]:
    deadline = time.monotonic() + _PATIENCE
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [f"thread {thread.name}" for thread in set(threading.enumerate()) - before]


def _descriptors() -> dict[str, str]:
    """What each file descriptor of this process is; empty where the system does not tell."""
    found = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return {}
    for number in numbers:
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the one that listed the others
    return found


def _descriptors_left(before: dict[str, str]) -> list[str]:
    deadline = time.monotonic() + _PATIENCE
    collected = False
    while True:
        now = _descriptors()
        if len(now) <= len(before):
            return []
        if not collected:
            gc.collect()
            collected = True
        elif time.monotonic() >= deadline:
            return [f"file descriptor {target}" for number, target in now.items() if before.get(number) != target]
        else:
            time.sleep(0.01)
