"""Connecting to a server that has several addresses: the next one is tried beside the first as soon as that takes long.

A broken IPv6 then costs a quarter of a second instead of a time-out.

RFC 8305 §5
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import zip_longest
from typing import TypeVar

from flexosip.errors import NetworkError
from flexosip.net.address import Address, is_ipv6

__all__ = ["connect_first", "interleaved"]

T = TypeVar("T")

_STAGGER = 0.25
"""Seconds between two tries; RFC 8305 §8 recommends 250 ms."""


def interleaved(remotes: Sequence[Address]) -> list[Address]:
    """The addresses with families taking turns, the family of the first one first (RFC 8305 §4)."""
    if not remotes:
        return []
    first = [remote for remote in remotes if is_ipv6(remote[0]) == is_ipv6(remotes[0][0])]
    other = [remote for remote in remotes if remote not in first]
    return [remote for pair in zip_longest(first, other) for remote in pair if remote is not None]


async def connect_first(
    remotes: Sequence[Address], connect: Callable[[Address], Awaitable[T]], failed: Callable[[Address, NetworkError], None]
) -> T:
    """What `connect` gives for the first address that can be connected to; the other tries are cancelled.

    Args:
        failed: told of each address that failed.

    Raises:
        NetworkError: of the first address, when all failed; or there is none.
    """
    waiting = interleaved(remotes)
    running: dict[asyncio.Future[T], Address] = {}
    failure: NetworkError | None = None
    try:
        while waiting or running:
            if waiting:
                remote = waiting.pop(0)
                running[asyncio.ensure_future(connect(remote))] = remote
            done, _ = await asyncio.wait(running, timeout=_STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                remote = running.pop(task)
                try:
                    return task.result()
                except NetworkError as error:
                    failure = failure or error
                    failed(remote, error)
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in running:
            if not task.cancelled():
                task.exception()  # it ended in the same moment as the one that was taken
    raise failure or NetworkError("There is no address to connect to.")
