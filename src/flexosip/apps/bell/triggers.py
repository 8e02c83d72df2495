"""What sets the bell off: the edge of a GPIO level, or Return on standard input."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Protocol

from flexosip.apps.bell.config import TriggerSettings
from flexosip.errors import FlexosipError
from flexosip.extras import require

__all__ = ["GpioTrigger", "StdinTrigger", "Trigger", "TriggerUnavailable", "create_trigger"]

logger = logging.getLogger(__name__)

_CHUNK = 4096


class TriggerUnavailable(FlexosipError):
    """A trigger cannot be used on this machine; the bell goes on with the others."""


class Trigger(Protocol):
    """A source of edges."""

    source: str

    def start(self, on_edge: Callable[[], None], on_release: Callable[[], None]) -> None:
        """Watch; both callbacks are called in the running event loop.

        Raises:
            TriggerUnavailable: it cannot be watched.
        """

    def stop(self) -> None:
        """Watch no longer. Harmless when not started."""


def create_trigger(settings: TriggerSettings) -> Trigger:
    """The trigger that the settings name; not started yet."""
    if settings.kind == "gpio":
        return GpioTrigger(settings.pin, settings.level, settings.source)
    return StdinTrigger()


class GpioTrigger:
    """The moment at which a pin reaches a level, by gpiozero (which knows lgpio, RPi.GPIO, pigpio and mock pins).

    The pin is pulled to the other level, so that an open contact is at rest; a motion detector drives it whatever the pull.
    """

    def __init__(self, pin: int, level: int, source: str) -> None:
        self.source = source
        self._pin = pin
        self._level = level
        self._device: Any = None

    def start(self, on_edge: Callable[[], None], on_release: Callable[[], None]) -> None:
        """Watch the pin."""
        loop = asyncio.get_running_loop()

        def within_loop(callback: Callable[[], None]) -> Callable[[], None]:
            # gpiozero calls back in a thread of its own, perhaps when the loop has just been closed
            def call() -> None:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(callback)

            return call

        try:
            gpiozero = require("gpio", "gpiozero", f"The trigger {self.source}")
            with warnings.catch_warnings():
                # it warns of every pin library that it does not find before the one it takes
                warnings.simplefilter("ignore")
                self._device = gpiozero.DigitalInputDevice(self._pin, pull_up=self._level == 0)
        except FlexosipError as error:
            raise TriggerUnavailable(f"The trigger {self.source} cannot be used: {error}", advice=error.advice) from error
        except Exception as error:  # gpiozero and each pin library below it have error trees of their own
            raise TriggerUnavailable(
                f"The trigger {self.source} cannot be used: {str(error).rstrip('.! ') or type(error).__name__}.",
                advice="Is this a Raspberry Pi, is lgpio installed, and may this user use /dev/gpiochip0 (group gpio)?",
            ) from error
        self._device.when_activated = within_loop(on_edge)
        self._device.when_deactivated = within_loop(on_release)

    def stop(self) -> None:
        """Free the pin."""
        if self._device is not None:
            self._device.close()
            self._device = None


class StdinTrigger:
    """Return on standard input, a terminal or a pipe. Its end is not an edge and does not end the bell.

    Args:
        fd: file descriptor to read; None: standard input.
    """

    source = "stdin"

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_edge: Callable[[], None] | None = None

    def start(self, on_edge: Callable[[], None], on_release: Callable[[], None]) -> None:
        """Watch the descriptor; several lines that arrive together are one edge."""
        try:
            fd = sys.stdin.fileno() if self._fd is None else self._fd
            os.fstat(fd)
        except (AttributeError, OSError, ValueError) as error:
            raise TriggerUnavailable("The trigger stdin cannot be used: standard input is closed.", advice="Leave it open.") from error
        self._fd = fd
        self._on_edge = on_edge
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(fd, self._readable)
        except PermissionError:
            # A plain file or /dev/null: always readable, which epoll refuses to watch. What it holds came before the bell and is no edge.
            logger.info("standard input is a file; it will not trigger anything")
            return
        except NotImplementedError as error:
            raise TriggerUnavailable("The trigger stdin cannot be used with this event loop.", advice="Use a SelectorEventLoop.") from error
        self._loop = loop

    def _readable(self) -> None:
        assert self._fd is not None
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            logger.info("standard input ended: %s", error)
            data = b""
        if not data:
            self.stop()
        elif b"\n" in data and self._on_edge is not None:
            self._on_edge()

    def stop(self) -> None:
        """Leave the descriptor alone."""
        if self._loop is not None and self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
