"""The check that every test leaves nothing behind finds each kind of thing that can be left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LEAKY = '''
import asyncio, random, socket, threading, time
from flexosip.net.driver import SipDriver
from flexosip.sansio import Scheduler

KEPT = []

def nothing(*arguments): pass

def test_virtual_task(clock):
    async def story(): KEPT.append(asyncio.create_task(asyncio.sleep(50)))
    clock.run(story())

async def test_real_task():
    KEPT.append(asyncio.create_task(asyncio.sleep(50)))

def test_virtual_socket(network):
    network.host().bind_media("0.0.0.0", 0)

def test_descriptor():
    KEPT.append(socket.socket())

def test_thread():
    threading.Thread(target=time.sleep, args=(4,), daemon=True).start()

def test_driver(clock, network):
    async def story():
        driver = SipDriver(network.host(), Scheduler(), receive_datagram=nothing, receive_message=nothing, flow_failed=nothing)
        await driver.listen(["0.0.0.0:5060"])
        driver.scheduler.call_later(5, nothing)
    clock.run(story())

def test_clean(clock, network):
    async def story():
        driver = SipDriver(network.host(), Scheduler(), receive_datagram=nothing, receive_message=nothing, flow_failed=nothing)
        await driver.listen()
        await asyncio.sleep(5)
        await asyncio.to_thread(time.sleep, 0.01)
        await driver.close()
    clock.run(story())

async def test_clean_on_real_time():
    await asyncio.to_thread(time.sleep, 0.01)
'''


def test_each_kind_of_leak_fails_the_test_that_left_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.leaks import *\nfrom tests.virtual import *\n")
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    told = dict(re.findall(r"ERROR at teardown of (\w+) _+\nleft behind: (.*)", result.stdout))
    assert set(told) == {
        "test_virtual_task",
        "test_real_task",
        "test_virtual_socket",
        "test_descriptor",
        "test_thread",
        "test_driver",
    }, result.stdout + result.stderr
    assert "task" in told["test_virtual_task"]
    assert "task" in told["test_real_task"]
    assert "virtual socket" in told["test_virtual_socket"]
    assert "file descriptor socket" in told["test_descriptor"]
    assert "thread" in told["test_thread"]
    assert "timers" in told["test_driver"]
    assert "socket of a driver" in told["test_driver"]
