"""The threads of the media room: each is started here, so that whoever closes can wait until all have ended."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

__all__ = ["alive_threads", "start_thread"]

_started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    _started.add(thread)
    thread.start()
    return thread


def alive_threads() -> list[threading.Thread]:
    """Those that have not ended."""
    return [thread for thread in list(_started) if thread.is_alive()]
