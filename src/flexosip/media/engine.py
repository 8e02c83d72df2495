"""The engine on a thread of its own: wakes at absolute deadlines, never for a single call, not at all without a stream.

User code in the event loop does not disturb the tick as long as it lets go of the interpreter within its switch interval
(5 ms; `set_switch_interval` can shorten that for the whole process).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any, ClassVar

from flexosip.media.core import EngineCore
from flexosip.media.events import MediaEvent
from flexosip.media.ports import DatagramSocket
from flexosip.media.prompts import PromptCache
from flexosip.media.recorder import ThreadWriter
from flexosip.media.statistics import EngineStatistics
from flexosip.media.stream import MediaStream, next_stream_id
from flexosip.media.threads import start_thread

__all__ = ["MediaEngine"]

logger = logging.getLogger(__name__)

LINGER_SECONDS = 1.0
"""How long the thread stays without a stream."""
_LONGEST_SLEEP = 0.02
"""Commands wait no longer than that, whatever the packet time."""


class MediaEngine:
    """All streams of a process, on one thread.

    Use `MediaEngine.shared().acquire()` and `release`; the thread exists only while there are streams.
    """

    _shared: ClassVar[MediaEngine | None] = None

    def __init__(self) -> None:
        self._writer = ThreadWriter()
        self._core = EngineCore(wall_clock=time.time, random=SystemRandom(), writer=self._writer)
        self._prompts = PromptCache.shared()
        self._streams: dict[int, MediaStream] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_up = threading.Event()
        self._idle = True
        self._users = 0

    @classmethod
    def shared(cls) -> MediaEngine:
        """The engine of this process."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def acquire(self) -> MediaEngine:
        """Count one more user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Count one user less; after the last one the threads end as soon as all streams are closed (`join` waits for that)."""
        with self._lock:
            self._users -= 1
            last = self._users <= 0
        if last:
            self._wake_up.set()
            self._writer.dismiss()
            self._prompts.dismiss()

    @property
    def users(self) -> int:
        """How many have acquired it."""
        return self._users

    def set_switch_interval(self, seconds: float) -> None:
        """Let user code hold the interpreter for no longer than `seconds` at a time while others wait (`sys.setswitchinterval`).

        0.0005 keeps packets on time beside busy Python code (under 2 % late instead of 20 %). It concerns the whole process,
        so only the application may ask for it.
        """
        sys.setswitchinterval(seconds)

    @property
    def running(self) -> bool:
        """True while the engine's thread exists."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def join(self, timeout: float = 2.0) -> bool:
        """Wait until the threads of the engine have ended; for the end of a program and for tests. False: they have not."""
        until = time.monotonic() + timeout
        thread = self._thread
        if thread is not None:
            self._wake_up.set()
            thread.join(timeout)
        self._writer.dismiss()
        self._prompts.dismiss()
        ended = self._writer.join(max(until - time.monotonic(), 0.0))
        return self._prompts.join(max(until - time.monotonic(), 0.0)) and ended and not self.running

    def open_stream(
        self, rtp_socket: DatagramSocket, rtcp_socket: DatagramSocket, on_event: Callable[[MediaEvent], None], *, loop: Any
    ) -> MediaStream:
        """Give two bound, non-blocking sockets to the engine, which closes them in the end.

        Args:
            on_event: called on `loop` with every event.
            loop: an asyncio loop (`call_soon_threadsafe`).
        """
        stream = MediaStream(next_stream_id(), self._core, self._prompts, self._post, on_event, loop)
        self._streams[stream.id] = stream
        self._post(("open", stream.id, rtp_socket, rtcp_socket))
        return stream

    def statistics(self) -> EngineStatistics:
        """Figures of the whole engine."""
        return self._core.statistics()

    # -- the user's threads ---------------------------------------------------------------------------------------

    def _post(self, command: tuple[Any, ...]) -> None:
        self._core.commands.append(command)
        # With a stream running the engine comes by within its packet time anyway: no wake-up, no switch of threads.
        if self._idle:
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                self._idle = False
                self._thread = start_thread(self._run, "flexosip-media")
        self._wake_up.set()

    # -- the engine's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        core = self._core
        clock = time.monotonic
        sleep = time.sleep
        while True:
            now = clock()
            try:
                core.tick(now)
            except Exception:
                # Streams catch their own faults: this is one of the engine itself. It must not silence all calls.
                logger.exception("the media engine failed in a tick")
            if core.outbox:
                self._tell()
            deadline = core.next_deadline()
            if deadline is not None:
                rest = deadline - clock()
                if rest > 0:
                    sleep(min(rest, _LONGEST_SLEEP))
            elif not self._rest():
                return

    def _rest(self) -> bool:
        """Sleep until a command comes; False: nobody needs the thread any more, and it has been given up."""
        self._idle = True
        if not self._core.commands:
            linger = LINGER_SECONDS if self._users > 0 else 0.0
            if not self._wake_up.wait(linger) or not self._core.commands:
                with self._lock:
                    # Under the lock: a command that comes now either is seen here or finds no thread and starts one.
                    if not self._core.commands and (not self._wake_up.is_set() or self._users <= 0):
                        self._thread = None
                        return False
        self._wake_up.clear()
        self._idle = False
        return True

    def _tell(self) -> None:
        """Hand the events over to the loops of their streams, one call a loop."""
        core = self._core
        outbox, core.outbox = core.outbox, []
        streams = self._streams
        batches: dict[Any, list[tuple[int, MediaEvent]]] = {}
        for item in outbox:
            stream = streams.get(item[0])
            if stream is not None:
                batches.setdefault(stream.loop, []).append(item)
        for loop, batch in batches.items():
            try:
                loop.call_soon_threadsafe(self._deliver, batch)
            except RuntimeError:
                # The loop was closed before its streams: nobody is left to be told. Give their ports back.
                self._abandon({stream_id for stream_id, _ in batch})

    def _abandon(self, stream_ids: set[int]) -> None:
        for stream_id in stream_ids:
            stream = self._streams.pop(stream_id, None)
            if stream is not None and not stream.closed:
                logger.warning("the event loop of media stream %d was closed before the stream", stream_id)
                stream.close()

    def _deliver(self, batch: list[tuple[int, MediaEvent]]) -> None:
        """On the user's loop."""
        for stream_id, event in batch:
            stream = self._streams.get(stream_id)
            if stream is None:
                continue
            try:
                stream.deliver(event)
            except Exception:
                # A fault of one user's callback must not keep the events of other calls back.
                logger.exception("an event handler of media stream %d failed", stream_id)
            if stream.final_statistics is not None:
                self._streams.pop(stream_id, None)
