"""The bell: a trigger rings phones, a call in hears and changes the mode. Made of the library's public API only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flexosip.apps.bell.access import Access, Gate, Verdict
from flexosip.apps.bell.config import BellConfig
from flexosip.apps.bell.state import Announcement, BellState, ModeChanged, Swallowed, Triggered, TriggerPending
from flexosip.apps.bell.store import Store, default_store_path
from flexosip.apps.bell.triggers import Trigger, TriggerUnavailable, create_trigger
from flexosip.apps.policy_settings import policy_to_phone
from flexosip.apps.profile_settings import profile_reach
from flexosip.apps.reach_settings import reach_of
from flexosip.errors import AuthenticationError, ConfigurationError, FlexosipError, MediaError, MissingExtra

if TYPE_CHECKING:
    from flexosip import Call, Phone

__all__ = ["Bell", "Report", "create_phone"]

logger = logging.getLogger(__name__)

Report = Callable[..., None]
"""`report(event, **fields)`: what happens, for a log or for `--json`."""

_PIN_TIME = 60.0
"""Seconds a caller has to give the PIN."""
_REGISTER_WAIT = 15.0


def create_phone(config: BellConfig, **options: Any) -> Phone:
    """The phone of a bell; `options` go to `Phone` and win over the settings."""
    from flexosip import Phone

    account = config.account
    names = [destination.name for destination in config.destinations if destination.name]
    settings: dict[str, Any] = {
        "aor": account.aor,
        "password": account.password,
        "auth_user": account.auth_user,
        "realm": account.realm,
        "registrar": account.registrar,
        "proxy": account.proxy,
        "transport": account.transport,
        "tls_ca": account.tls_ca,
        "tls_certificate": account.tls_certificate,
        "tls_key": account.tls_key,
        "display_name": account.display_name or (names[0] if names else None),
    }
    if account.listen is not None:
        settings["listen"] = (account.listen,)
    elif account.aor is None:
        # without a registrar that knows our port, only the usual one can be called
        settings["listen"] = ("0.0.0.0:5060",)
    if account.reach:
        settings["reach"] = reach_of(account.reach)
    settings |= policy_to_phone(config.policy)
    if account.codecs:
        settings["codecs"] = account.codecs
    if account.profile is None or account.aor is None:
        return Phone(**{**settings, **options})
    if account.reach:
        settings["reach"] = profile_reach(account.profile, account.reach)
    whole = {**settings, "host": account.host, **options}
    return Phone.profile(account.profile, whole.pop("aor"), whole.pop("password"), **whole)


class Bell:
    """The device. Use it with `async with`, or call `run`.

    Args:
        config: the settings.
        phone: a phone that is not started; None: made from the settings.
        report: called with each event: `listening`, `incoming`, `mode`, `triggered`, `swallowed`, `pending`, `calling`, `rang`,
            `refused`, `locked`, `error`.
        store: where the mode is kept; None: see `default_store_path`.
        triggers: None: those of the settings.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        config: BellConfig,
        *,
        phone: Phone | None = None,
        report: Report | None = None,
        store: Store | None = None,
        triggers: list[Trigger] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.phone = phone if phone is not None else create_phone(config)
        self._report = report or _log
        self._store = store if store is not None else Store(default_store_path(config.account.aor))
        self._triggers = triggers if triggers is not None else [create_trigger(settings) for settings in config.triggers]
        self._started: list[Trigger] = []
        self._wall = wall
        self._state = BellState(cool_down=config.cool_down)
        self._access = Access(config.pin, config.callers)
        self._alert: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed_gates: set[str] = set()
        self._entered = False
        _check_prompts(config)

    # ---- life

    async def __aenter__(self) -> Bell:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Watch the triggers, take calls, register.

        A registrar that does not answer is tried again and again (after a power cut the bell is up before the router is).

        Raises:
            ConfigurationError: no trigger can be used.
            AuthenticationError: the registrar refuses user or password.
        """
        self._entered = True
        try:
            self._restore()
            self._start_triggers()
            self.phone.on_call(self._on_call)
            await self.phone.start(wait_registered=False)
            for listener in self.phone.addresses:
                transport, _, address = listener.partition(":")
                self._report("listening", address=address, transport=transport)
            self._settle()
            if self.config.account.aor is not None and any(account.register for account in self.phone.accounts):
                await self._registered()
        except BaseException:
            await self.close()
            raise

    async def _registered(self) -> None:
        try:
            await self.phone.wait_registered(_REGISTER_WAIT)
        except AuthenticationError:
            raise
        except FlexosipError as error:
            self._report("error", message=str(error), explain=f"{error.explain()} The bell keeps trying.")

    def _start_triggers(self) -> None:
        failed = []
        for trigger in self._triggers:
            source = trigger.source
            try:
                trigger.start(lambda source=source: self._edge(source), lambda source=source: self._release(source))  # type: ignore[misc]
            except TriggerUnavailable as error:
                failed.append(error)
                logger.warning("%s", error.explain())
            else:
                self._started.append(trigger)
        if failed and not self._started:
            raise ConfigurationError(
                "None of the bell's triggers can be used: " + " ".join(map(str, failed)),
                advice=failed[0].advice + ' Or use kind = "stdin".',
            )

    async def run(self) -> None:
        """Start, and be a bell until this is cancelled."""
        async with self:
            await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Stop watching, end calls, unregister; at most 2 s. Harmless when closed."""
        for trigger in self._started:
            trigger.stop()
        self._started.clear()
        self._disarm()
        if self._alert is not None:
            # The phone's close sends the CANCEL and waits for it.
            self._alert.cancel()
        if self._entered:
            await self.phone.close()
        if self._alert is not None:
            await asyncio.wait([self._alert], timeout=0.2)
        # the end of the alert may have armed it again
        self._disarm()

    # ---- triggers

    async def trigger(self, source: str = "program") -> None:
        """Set the bell off, as motion would."""
        self._edge(source)

    @property
    def mode(self) -> str:
        """`off`, `once`, `5min` or `forever`."""
        self._state.handle_timeout(self._now())
        return self._state.mode.value

    def _edge(self, source: str) -> None:
        self._state.trigger(source, self._now())
        self._settle()

    def _release(self, source: str) -> None:
        self._state.release(source, self._now())
        self._settle()

    async def _ring_all(self) -> None:
        """Ring the destinations one after the other until one answers or declines."""
        for destination in self.config.destinations:
            self._report("calling", target=destination.words)
            target = [destination.target, *destination.others] if destination.others else destination.target
            try:
                result = await self.phone.ring(target, destination.duration, subject=destination.name, confirm=destination.confirm)
            except FlexosipError as error:
                self._report("error", message=f"{destination.words}: {error}", explain=error.explain())
                continue
            self._report("rang", target=destination.words, outcome=str(result.outcome))
            if result.answered or result.declined:
                break

    def _alert_over(self, task: asyncio.Task[None]) -> None:
        self._alert = None
        if not task.cancelled() and task.exception() is not None:
            logger.error("the alert failed", exc_info=task.exception())
        self._state.alert_ended(self._now())
        self._settle()

    # ---- calls in

    async def _on_call(self, call: Call) -> None:
        now = self._now()
        self._report("incoming", **{"call_id": call.id, "from": str(call.remote.uri) if call.remote is not None else ""})
        if not self._access.allows(call.identity, has_server=self.config.account.aor is not None):
            self._report("refused", call_id=call.id, reason="caller")
            await call.reject(403)
            return
        if self._access.locked_for(now) > 0:
            self._report("refused", call_id=call.id, reason="locked")
            await call.reject(480)
            return
        gate = self._access.gate()
        if not gate.open:
            self._closed_gates.add(call.id)
        try:
            await call.answer()
            await self._converse(call, gate)
        finally:
            self._closed_gates.discard(call.id)

    async def _converse(self, call: Call, gate: Gate) -> None:
        """Talk with the caller until the call ends; before the right PIN nothing is said or changed. To return is to hang up."""
        if gate.open:
            self._say(call, self._state.call_in(self._now()))
        try:
            async with asyncio.timeout(None if gate.open else _PIN_TIME) as limit:
                async for digit in call.digits():
                    if gate.open:
                        call.stop_playing()
                        self._say(call, self._state.digit(digit, self._now()))
                        continue
                    verdict = gate.digit(digit, self._now())
                    if verdict is Verdict.OPEN:
                        limit.reschedule(None)
                        self._closed_gates.discard(call.id)
                        self._save()
                        self._say(call, self._state.call_in(self._now()))
                    elif verdict is Verdict.HANG_UP:
                        self._report("locked", call_id=call.id, seconds=round(self._access.locked_for(self._now())))
                        self._save()
                        return
        except TimeoutError:
            logger.info("no PIN within %g s", _PIN_TIME)

    def hides_digits(self, call_id: str) -> bool:
        """True while the keys of a call may be the PIN and so must not be shown."""
        return call_id in self._closed_gates

    def _say(self, call: Call, announcements: list[Announcement]) -> None:
        self._settle()
        for announcement in announcements:
            try:
                call.play(str(self.config.prompt(announcement.prompt)), delay=announcement.delay)
            except (MediaError, MissingExtra) as error:
                self._report("error", message=str(error), explain=error.explain())

    # ---- the state and the world

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _settle(self) -> None:
        """Do what the state asks for, keep it, and arm its timer."""
        changed = False
        while (event := self._state.poll_event()) is not None:
            if isinstance(event, ModeChanged):
                changed = True
                self._report("mode", mode=event.mode.value, by=event.by)
                if event.by == "digit" and event.mode == "off" and self._alert is not None:
                    # Who switches the bell off does not want to hear it any longer.
                    self._alert.cancel()
            elif isinstance(event, Triggered):
                self._report("triggered", source=event.source)
                self._alert = asyncio.get_running_loop().create_task(self._ring_all())
                self._alert.add_done_callback(self._alert_over)
            elif isinstance(event, Swallowed):
                self._report("swallowed", source=event.source, reason=event.reason)
            elif isinstance(event, TriggerPending):
                self._report("pending", source=event.source)
        if changed:
            self._save()
        self._arm()

    def _arm(self) -> None:
        self._disarm()
        when = self._state.next_timeout()
        if when is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._time_is_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        self._state.handle_timeout(self._now())
        self._settle()

    def _save(self) -> None:
        now, wall = self._now(), self._wall()
        self._store.save({**self._state.to_store(now, wall), "access": self._access.to_store(now, wall)})

    def _restore(self) -> None:
        stored = self._store.load()
        now, wall = self._now(), self._wall()
        self._state.restore(stored, now, wall)
        access = stored.get("access")
        if isinstance(access, dict):
            self._access.restore(access, now, wall)


def _check_prompts(config: BellConfig) -> None:
    """Refuse at the start a recording that could not be played later."""
    from flexosip.extras import available

    for path in config.prompts.values():
        if path.suffix.lower() not in (".wav", ".wave") and not available("soundfile"):
            raise MissingExtra("audio", f"The prompt {path}")


def _log(event: str, **fields: Any) -> None:
    logger.info("%s %s", event, " ".join(f"{key}={value}" for key, value in fields.items()))
