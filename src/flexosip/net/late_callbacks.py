"""Callbacks of a connection that may be set late: what happened before waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["LateCallbacks"]


class LateCallbacks:
    """`on_data` and `on_lost` of a `flexosip.net.network.StreamConnection`."""

    def __init__(self) -> None:
        self._on_data: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._lost: tuple[Exception | None] | None = None
        """The end, once it has come."""

    @property
    def on_data(self) -> Callable[[bytes], None] | None:
        """Called with each piece that arrives."""
        return self._on_data

    @on_data.setter
    def on_data(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_data = callback
        if callback is not None and self._early:
            early, self._early = self._early, []
            for piece in early:
                callback(piece)

    @property
    def on_lost(self) -> Callable[[Exception | None], None] | None:
        """Called once at the end; soon, if that was before it was set."""
        return self._on_lost

    @on_lost.setter
    def on_lost(self, callback: Callable[[Exception | None], None] | None) -> None:
        self._on_lost = callback
        if callback is not None and self._lost is not None:
            self._call_soon(callback, *self._lost)

    def _arrived(self, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)
        else:
            self._early.append(data)

    def _call_soon(self, callback: Callable[[Exception | None], None], error: Exception | None) -> None:
        # Never inside the call that caused it.
        asyncio.get_running_loop().call_soon(callback, error)
