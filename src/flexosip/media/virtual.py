"""The engine on a virtual clock: the same core, driven by timers of an event loop, everything in line and repeatable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random
from typing import Any

from flexosip.media.core import EngineCore
from flexosip.media.events import MediaEvent
from flexosip.media.ports import DatagramSocket
from flexosip.media.prompts import PromptCache
from flexosip.media.recorder import InlineWriter
from flexosip.media.statistics import EngineStatistics
from flexosip.media.stream import MediaStream

__all__ = ["VirtualEngine"]

logger = logging.getLogger(__name__)


class VirtualEngine:
    """An engine with the interface of `MediaEngine`.

    Args:
        call_at: `call_at(when, callback)` gives a handle with `cancel()`.
        time: seconds of the clock that `call_at` means.
        random: for SSRC, sequence numbers, timestamps and RTCP intervals.
    """

    def __init__(self, call_at: Callable[..., Any], time: Callable[[], float], *, random: Random | None = None) -> None:
        self._call_at = call_at
        self._time = time
        self._core = EngineCore(wall_clock=time, random=random if random is not None else Random(0), writer=InlineWriter(), virtual=True)
        self._prompts = PromptCache(in_line=True)
        self._streams: dict[int, MediaStream] = {}
        self._opened = 0
        self._timer: Any = None
        self._timer_at = 0.0

    def release(self) -> None:
        """Give the engine back; streams that are open still go on until they are closed."""

    @property
    def running(self) -> bool:
        """True while a stream is open."""
        return bool(self._core.channels) or bool(self._core.commands)

    def open_stream(
        self, rtp_socket: DatagramSocket, rtcp_socket: DatagramSocket, on_event: Callable[[MediaEvent], None], *, loop: Any = None
    ) -> MediaStream:
        """Give two sockets to the engine, which closes them in the end; `on_event` is called from timers of the clock."""
        self._opened += 1
        stream = MediaStream(self._opened, self._core, self._prompts, self._post, on_event, loop)
        self._streams[stream.id] = stream
        self._post(("open", stream.id, rtp_socket, rtcp_socket))
        return stream

    def statistics(self) -> EngineStatistics:
        """Figures of the engine."""
        return self._core.statistics()

    def _post(self, command: tuple[Any, ...]) -> None:
        self._core.commands.append(command)
        self._arm(self._time())

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._call_at(when, self._run)

    def _run(self) -> None:
        self._timer = None
        core = self._core
        core.tick(self._time())
        while core.outbox:
            outbox, core.outbox = core.outbox, []
            for stream_id, event in outbox:
                self._deliver(stream_id, event)
        deadline = core.next_deadline()
        if core.commands:
            self._arm(self._time())
        elif deadline is not None:
            self._arm(deadline)

    def _deliver(self, stream_id: int, event: MediaEvent) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        try:
            stream.deliver(event)
        except Exception:
            # A fault of one user's callback must not keep the events of other calls back.
            logger.exception("an event handler of media stream %d failed", stream_id)
        if stream.final_statistics is not None:
            self._streams.pop(stream_id, None)
