"""The nine steps of FlexoSIP: a phone as an event loop with callbacks, for who knows the C library.

    1 listen   2 register   3 wait_registered   4 call   5 handle_event
    6 event_invite   7 event_answered   8 event_dtmf   9 event_terminated

The callbacks run inside `handle_event`, in the thread that calls it, and may use the library. Sound and signalling have threads
of their own: audio never stutters, however long a callback or the loop's body takes. Many calls can be up; verbs without
`call=` mean the current one: the one whose callback runs, else the latest.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from flexosip.errors import CallEnded, ConfigurationError, FlexosipError, InvalidState
from flexosip.net.tls import TlsSettings
from flexosip.phone.call import Call as AsyncCall
from flexosip.phone.call import Source
from flexosip.phone.events import Answered, CallEvent, DigitPressed, Ended
from flexosip.phone.settings import tls_settings
from flexosip.sync import Call, Phone, Playback

__all__ = ["FlexoSIP"]

logger = logging.getLogger(__name__)


class FlexoSIP:
    """Subclass it and override the events you care for."""

    def __init__(self) -> None:
        self.running = True
        """False after `quit` or a signal: the condition of the event loop."""
        self._phone: Phone | None = None
        self._transport: str | None = None
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._calls: list[Call] = []
        self._current: Call | None = None
        self._registered: set[Any] = set()
        self._signals: dict[int, Any] = {}

    # -- the steps ----------------------------------------------------------------------------------------------------

    def listen(
        self,
        transport: str = "udp",
        port: int = 5060,
        host: str = "0.0.0.0",
        *,
        tls_ca: str | None = None,
        tls_certificate: str | None = None,
        tls_key: str | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        """Step 1: open the SIP port. SIGINT, SIGHUP and SIGTERM from now on hang up, unregister and end the program.

        Args:
            transport: `udp`, `tcp`, `tls`, `ws` or `wss`: what requests are sent by. UDP and TCP are listened to; with `tls` or `wss` and a
                certificate, that instead.
            port: 0 takes a free one; 5061 is usual for `tls`.
            tls_ca, tls_certificate, tls_key: PEM files: the authority that servers are checked against, our own certificate and its key.
            tls: all of the TLS settings, instead of these.
        """
        if self._phone is not None:
            raise InvalidState("listen() was called already.")
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"listen(port={port}): a port is 0 to 65535.")
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        settings = tls_settings(tls, tls_ca, tls_certificate, tls_key)
        if transport in ("tls", "wss") and settings.certificate is not None:
            address = f"{transport}:{address}"
        phone = Phone(listen=(address,), transport=transport, tls=settings)
        # In the phone's thread: they only queue what handle_event does later.
        phone.on_call_event(self._call_event)
        phone.on_registration(self._registration_event)
        phone._phone.on_call(self._incoming)
        self._phone, self._transport = phone, None if transport == "udp" else transport
        try:
            phone.start()
        except BaseException:
            self._phone = None
            raise
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
                if number is not None:
                    self._signals[number] = signal.signal(number, self._signalled)

    def register(self, uri: str, registrar: str | None, login: str | None, password: str | None) -> None:
        """Step 2: register `uri` in the background.

        Args:
            uri: `sip:user@host`. registrar: `sip:host`; None: the host of `uri`. login, password: the credentials.
        """
        self._require().add_account(uri, registrar=registrar, auth_user=login, password=password, transport=self._transport)

    def wait_registered(self, timeout: float = 15.0) -> None:
        """Step 3: wait for the registrar.

        Raises:
            AuthenticationError, RegistrationFailed, NetworkError: why not.
        """
        self._require().wait_registered(timeout)

    def call(self, uri: str | None, destination: str, name: str | None = None) -> Call:
        """Step 4: call `destination` as `uri` (one of the registered accounts; None: the first); `name` is the subject."""
        phone = self._require()
        account = uri if uri is not None and phone.accounts else None
        call = phone.dial(destination, subject=name, account=account)
        self._remember(call)
        return call

    def handle_event(self, timeout: float = 0.01) -> bool:
        """Step 5: run the callbacks of what has happened; waits up to `timeout` seconds. True if there was something."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return False
        while True:
            event()
            if not self.running:
                return True
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return True

    # -- the events, to be overridden ---------------------------------------------------------------------------------

    def event_invite(self, call: Call) -> int:
        """Step 6: somebody calls. 180: it rings, `answer()` takes it, also later; 200 answers at once; 486 declines."""
        logger.info("incoming call from %s", call.remote)
        return 180

    def event_answered(self, call: Call) -> None:
        """Step 7: a call is up."""
        logger.info("answered: %s", call.remote)

    def event_dtmf(self, digit: str) -> None:
        """Step 8: the other side pressed a key."""
        logger.info("digit %s", digit)

    def event_terminated(self, call: Call) -> None:
        """Step 9: a call is over, or was never answered; `call.end` tells why."""
        logger.info("ended: %s", call.end)

    def event_registered(self) -> None:
        """An account is registered."""
        logger.info("registered")

    # -- verbs --------------------------------------------------------------------------------------------------------

    def play(self, file: Source, call: Call | None = None) -> Playback:
        """Queue a sound; returns at once."""
        return self._chosen(call).play(file, wait=False)

    def play_after_delay(self, milliseconds: float, file: Source, call: Call | None = None) -> Playback:
        """Queue a pause and a sound; returns at once."""
        return self._chosen(call).play(file, delay=milliseconds / 1000, wait=False)

    def stop_playing(self, call: Call | None = None) -> float:
        """Empty the play queue; the seconds of it that were really sent."""
        return self._chosen(call).stop_playing()

    def send_dtmf(self, digit: str, call: Call | None = None) -> None:
        """Press keys."""
        self._chosen(call).send_digits(digit)

    def answer(self, call: Call | None = None) -> None:
        """Take a ringing call."""
        self._chosen(call).answer()

    def ringback(self, call: Call | None = None) -> None:
        """Tell the caller that it rings."""
        self._chosen(call).ring()

    def terminate(self, call: Call | None = None) -> None:
        """Hang up."""
        self._chosen(call).hangup()

    def unregister(self) -> None:
        """Take the registrations away; calls go on."""
        self._require().unregister()

    def quit(self) -> None:
        """Hang up, unregister, close, and end the loop: `running` becomes False."""
        self.running = False
        phone, self._phone = self._phone, None
        if phone is not None:
            phone.close()
        if threading.current_thread() is threading.main_thread():
            for number, previous in self._signals.items():
                signal.signal(number, previous)
            self._signals.clear()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _require(self) -> Phone:
        if self._phone is None:
            raise InvalidState("The phone does not listen.", advice="Call listen() first.")
        return self._phone

    def _chosen(self, call: Call | None) -> Call:
        if call is not None:
            return call
        if self._current is not None:
            return self._current
        if not self._calls:
            raise InvalidState("There is no call.")
        return self._calls[-1]

    def _remember(self, call: Call) -> Call:
        for known in self._calls:
            if known == call:
                return known
        self._calls.append(call)
        return call

    def _run_event(self, call: Call | None, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Run a callback for `call`; one that raises hurts only its own call."""
        previous, self._current = self._current, call
        try:
            return callback(*arguments)
        except CallEnded as ended:
            if call is None or ended.end is not call.end:
                raise
        except Exception as error:
            if call is None:
                raise
            text = error.explain() if isinstance(error, FlexosipError) else repr(error)
            logger.error("a callback failed, its call is ended: %s", text, exc_info=not isinstance(error, FlexosipError))
            with contextlib.suppress(FlexosipError):
                call.hangup()
        finally:
            self._current = previous
        return None

    async def _incoming(self, native: AsyncCall) -> None:
        """In the phone's thread; a call lasts as long as its handler."""
        phone = self._phone
        if phone is not None:
            call = phone._wrap(native)
            self._events.put(lambda: self._invited(self._remember(call)))
            await native.wait_ended()

    def _invited(self, call: Call) -> None:
        if call.end is not None:
            return
        status = self._run_event(call, self.event_invite, call)
        if call.end is not None or call.answered_at is not None or status is None:
            return
        self._run_event(call, self._react, call, int(status))

    @staticmethod
    def _react(call: Call, status: int) -> None:
        if status < 180:
            return
        if status == 183:
            call.progress()
        elif status < 200:
            call.ring()
        elif status < 300:
            call.answer()
        else:
            call.reject(status)

    def _call_event(self, call: Call, event: CallEvent) -> None:
        """In the phone's thread."""
        if isinstance(event, (Answered, DigitPressed, Ended)):
            self._events.put(lambda: self._dispatch(self._remember(call), event))

    def _dispatch(self, call: Call, event: CallEvent) -> None:
        if isinstance(event, Answered):
            self._run_event(call, self.event_answered, call)
        elif isinstance(event, DigitPressed):
            self._run_event(call, self.event_dtmf, event.digit)
        else:
            self._calls = [known for known in self._calls if known is not call]
            self._run_event(call, self.event_terminated, call)

    def _registration_event(self, account: Any, event: Any) -> None:
        known = account in self._registered
        if account.registered and not known:
            self._registered.add(account)
            self._events.put(lambda: self._run_event(None, self.event_registered))
        elif not account.registered and known:
            self._registered.discard(account)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        logger.info("signal %d: hanging up and unregistering", number)
        with contextlib.suppress(FlexosipError, OSError):
            self.quit()
        raise SystemExit(128 + number)
