"""Run a command's coroutine until it is done or a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from flexosip.cli.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from flexosip.observe import WireMessage

__all__ = ["observe_wire", "run_until_signal", "set_up_logging"]

wire_logger = logging.getLogger("flexosip.wire")

_LAST_MOMENT = 2.5
"""Seconds after a signal at which the process leaves whatever still runs (a name look-up in a thread can take half a minute)."""


def set_up_logging(verbose: int) -> None:
    """Log to standard error: warnings; with -v what happens; with -vv everything and the SIP messages."""
    level = logging.WARNING if verbose == 0 else logging.INFO if verbose == 1 else logging.DEBUG
    handler = logging.StreamHandler(sys.stderr)
    plain = "flexosip: %(message)s" if verbose == 0 else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(plain))
    logger = logging.getLogger("flexosip")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def observe_wire(subject: Any, verbose: int, *, hide_keys: bool = False) -> None:
    """With -vv log every SIP message of a phone or PBX, without its secrets; with `hide_keys` also without keys told by INFO."""
    if verbose >= 2:
        from flexosip.observe import mask_keys

        def log(message: WireMessage) -> None:
            wire_logger.debug("%s", dataclasses.replace(message, data=mask_keys(message.data)) if hide_keys else message)

        subject.on_wire(log)


def run_until_signal(command: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the command; SIGINT, SIGTERM and SIGHUP cancel it, so that its blocks hang up, unregister and close.

    A second signal ends the process at once.

    Returns:
        what the command returns, 130 after a signal.
    """
    received: list[int] = []

    async def run() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(command())
        added = []

        def interrupted(number: int) -> None:
            received.append(number)
            if len(received) > 1:
                _leave()
            _leave_later()
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            # loops without signal support (Windows) leave Ctrl-C to Python; outside the main thread there are no signals
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, interrupted, number)
                added.append(number)
        try:
            return await task
        except asyncio.CancelledError:
            if received:
                return INTERRUPTED
            raise
        finally:
            for number in added:
                loop.remove_signal_handler(number)

    try:
        code = asyncio.run(run())
    except KeyboardInterrupt:
        return INTERRUPTED
    return INTERRUPTED if received else code


def _leave_later() -> None:
    timer = threading.Timer(_LAST_MOMENT, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(INTERRUPTED)
