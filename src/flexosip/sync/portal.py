"""The way from any thread into a phone's event loop and back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from flexosip.errors import FlexosipError, InvalidState

__all__ = ["Portal"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Portal:
    """One thread that runs an event loop; any other thread has its work done there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # Reentrant: a signal handler may make a call while the main thread is making one.
        self._lock = threading.RLock()
        self._closed = False
        self._workers: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._serve, name="flexosip-phone", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            # Who still waits for something is told that it will not come.
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    @property
    def closed(self) -> bool:
        """True once no more work is taken."""
        return self._closed

    def submit(self, work: Awaitable[T]) -> concurrent.futures.Future[T]:
        """Have `work` done in the loop's thread.

        Raises:
            InvalidState: the phone is closed.
        """
        with self._lock:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(_as_coroutine(work), self._loop)
        _discard(work)
        raise InvalidState("The phone is closed.")

    def run(self, work: Awaitable[T]) -> T:
        """Await `work` in the loop's thread and return its result here; an interruption here cancels it there.

        Raises:
            InvalidState: the phone is closed, or gets closed meanwhile; or this is the loop's own thread.
        """
        if self.inside:
            _discard(work)
            raise InvalidState("A blocking call was made inside the phone's own thread.", advice="Do it in a thread of your own.")
        future = self.submit(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if self._closed:
                raise InvalidState("The phone was closed meanwhile.") from None
            raise
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Call a plain function in the loop's thread."""

        async def work() -> T:
            return function(*arguments, **keywords)

        return self.run(work())

    @property
    def inside(self) -> bool:
        """True in the loop's own thread, which must never wait for itself."""
        return threading.get_ident() == self._thread.ident

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The items of `source`, which lives in the loop's thread; the end of the phone ends it."""
        try:
            while not self._closed:
                try:
                    item = self.run(source.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and not self._closed:
                done = self.submit(close())
                if not self.inside:  # the garbage collector may end this generator in any thread
                    concurrent.futures.wait((done,))

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """Run blocking code in a thread of its own, however many there are already; its result, or what it raised.

        `sys.exit()` in there ends that thread, as it does in any thread.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T | None] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():
                if error is not None and not isinstance(error, FlexosipError):
                    logger.error("%s failed when its phone was closed", getattr(function, "__name__", function), exc_info=error)
            elif error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = function(*arguments)
            except SystemExit:
                pass  # in a thread it means the end of the thread
            except StopIteration as stop:  # no future takes it
                error = RuntimeError("a StopIteration was not caught")
                error.__cause__ = stop
            except BaseException as raised:
                error = raised
            finally:
                with self._lock:
                    self._workers.discard(threading.current_thread())
                try:
                    loop.call_soon_threadsafe(settle, result, error)
                except RuntimeError:  # the loop is closed
                    done.cancel()
                    settle(result, error)

        thread = threading.Thread(target=work, name="flexosip-handler", daemon=True)
        with self._lock:
            self._workers.add(thread)
        thread.start()
        return await done

    def close(self, deadline: float) -> None:
        """End the thread, and wait for it and for the handlers' threads until `deadline` (of `time.monotonic`)."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
            waiting = [self._thread, *self._workers]
        for thread in waiting:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.05))
                if thread.is_alive():
                    logger.warning("the phone is closed, but its thread %s has not ended yet", thread.name)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _discard(work: Awaitable[Any]) -> None:
    """A coroutine that is not run is closed, so that Python does not complain about it."""
    if inspect.iscoroutine(work):
        work.close()
