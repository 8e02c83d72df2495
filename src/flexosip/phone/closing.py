"""The end of a phone: calls and registrations are ended in good order, then every socket and task is freed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.phone.phone import Phone
    from flexosip.phone.signalling import Signalling

__all__ = ["close_phone", "unregister", "wait_closed"]

logger = logging.getLogger(__name__)

_CLOSE_WAIT = 1.5
"""Seconds that `close_phone` gives BYE, CANCEL and the un-REGISTER; with what then still has to end it takes at most 2."""


async def unregister(phone: Phone) -> None:
    """Take all registrations away, waiting up to 1.5 s; calls go on."""
    pending = []
    for account in phone.accounts:
        if account.registration is not None:
            done = phone.loop.create_future()
            account.stop(lambda done=done: None if done.done() else done.set_result(None))  # type: ignore[misc]
            pending.append(done)
    if pending:
        await asyncio.wait(pending, timeout=_CLOSE_WAIT)
    for account in phone.accounts:
        account.registration = None
        account.event = None


async def wait_closed(closing: asyncio.Task[None], closers: set[asyncio.Task[Any]]) -> None:
    """Wait for `closing`; the waiting task is in `closers` meanwhile.

    Who is cancelled while waiting for it is so when it is done: half closed, the phone could never be closed again.
    """
    current = asyncio.current_task()
    assert current is not None
    closers.add(current)
    cancelled: asyncio.CancelledError | None = None
    try:
        while not closing.done():
            try:
                await asyncio.wait((closing,))
            except asyncio.CancelledError as error:
                cancelled = error
    finally:
        closers.discard(current)
    if cancelled is not None:
        raise cancelled
    closing.result()


async def close_phone(phone: Phone, signalling: Signalling) -> None:
    """End all calls, unregister, free every socket and task; at most 2 s."""
    phone._incoming.stop()
    for session in list(phone._sessions):
        try:
            session.hangup()
        except Exception:
            logger.exception("a call could not be ended in good order")
    phone.stop_events()
    registered = [account for account in phone.accounts if account.registration is not None]
    unregistered = [phone.loop.create_future() for _ in registered]
    for account, done in zip(registered, unregistered, strict=True):
        account.stop(lambda done=done: None if done.done() else done.set_result(None))  # type: ignore[misc]
    try:
        async with asyncio.timeout(_CLOSE_WAIT):
            while phone._sessions:
                await next(iter(phone._sessions)).changed()
            if unregistered:
                await asyncio.wait(unregistered)
            await signalling.wait_settled()
    except TimeoutError:
        silent = sum(not done.done() for done in unregistered)
        logger.info("closing without waiting longer for %d calls and %d registrars", len(phone._sessions), silent)
    finally:
        await _release(phone, signalling)


async def _release(phone: Phone, signalling: Signalling) -> None:
    try:
        for session in list(phone._sessions):
            session.abandon()
        phone.drop_events()
        await phone._incoming.end_tasks(phone._closers)
        for account in phone.accounts:
            account.registration = None
            account.event = None
    finally:
        try:
            await signalling.close()
        finally:
            phone._signalling = None
            phone._closing = None
