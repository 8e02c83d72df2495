"""Many calls at a steady rate, and a report. For targets on this machine or on a virtual network; it refuses all others.

    report = await load(phone, "sip:10.0.0.2", calls=1000, rate=50, talk=2.0)
    assert report.answered == 1000 and report.setup(0.99) < 0.1, report
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from flexosip.errors import CallEnded, ConfigurationError, FlexosipError
from flexosip.net.address import is_loopback
from flexosip.phone.phone import Phone
from flexosip.simulation import VirtualHost
from flexosip.sip.uri import SipUri

__all__ = ["LoadReport", "load"]

_MOST_CALLS = 1_000_000
_FASTEST = 1000.0


@dataclass(slots=True)
class LoadReport:
    """How it went."""

    placed: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """How many calls failed in which way, for example `486 Busy` or `NoAnswer`."""
    dropped: int = 0
    """Answered calls that the other side, or an error, ended before their time."""
    skipped: int = 0
    """Calls that were due while `at_once` others lasted: never placed."""
    most_at_once: int = 0
    seconds: float = 0.0
    """From the first call to the end of the last."""
    setups: list[float] = field(default_factory=list)
    """Seconds from INVITE to answer, of each answered call."""

    def setup(self, quantile: float) -> float:
        """Set-up time below which this part of the answered calls lies, seconds: `setup(0.99)`.

        Raises:
            ConfigurationError: none was answered, or the quantile is not from 0 to 1.
        """
        if not self.setups or not 0.0 <= quantile <= 1.0:
            raise ConfigurationError(f"setup({quantile}): {len(self.setups)} calls were answered; a quantile is from 0 to 1.")
        ordered = sorted(self.setups)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]

    def __str__(self) -> str:
        told = [f"{self.placed} calls in {self.seconds:.1f} s, {self.answered} answered, at most {self.most_at_once} at once"]
        if self.setups:
            told.append(f"set-up {self.setup(0.5) * 1000:.0f} ms (half), {self.setup(0.99) * 1000:.0f} ms (99 %)")
        told += [f"{count} {what}" for what, count in self.failed.most_common()]
        told += [f"{self.dropped} dropped"] * bool(self.dropped) + [f"{self.skipped} skipped"] * bool(self.skipped)
        return "; ".join(told)


async def load(
    phone: Phone,
    target: str,
    *,
    calls: int,
    rate: float,
    talk: float = 1.0,
    ring_timeout: float = 30.0,
    at_once: int = 1000,
) -> LoadReport:
    """Place `calls` calls, `rate` a second, each held for `talk` seconds.

    Args:
        phone: started, on a virtual network, or for a target on a loopback address.
        target: what is called, see `Phone.call`.
        at_once: calls at the same time at most; what is due beyond is skipped and counted, so the rate stays honest.

    Raises:
        ConfigurationError: the target is elsewhere, or a number is out of bounds (1 to 1,000,000 calls, up to 1000 a second).
    """
    if not 1 <= calls <= _MOST_CALLS or not 0 < rate <= _FASTEST or talk < 0 or at_once < 1:
        raise ConfigurationError(f"load(calls={calls}, rate={rate}, talk={talk}, at_once={at_once}): out of bounds.")
    _check_target(phone, target)
    report = LoadReport()
    loop = phone.loop
    begin = loop.time()
    under_way: set[asyncio.Task[None]] = set()
    try:
        for number in range(calls):
            # By the clock, not by pauses: a slow round does not slow the rate.
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            if len(under_way) >= at_once:
                report.skipped += 1
                continue
            report.placed += 1
            task = loop.create_task(_one_call(phone, target, talk, ring_timeout, report))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            report.most_at_once = max(report.most_at_once, len(under_way))
        while under_way:
            await asyncio.wait(under_way)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    report.seconds = loop.time() - begin
    return report


async def _one_call(phone: Phone, target: str, talk: float, ring_timeout: float, report: LoadReport) -> None:
    call = phone.call(target, ring_timeout=ring_timeout)
    begin = phone.loop.time()
    try:
        async with call:
            report.answered += 1
            report.setups.append(phone.loop.time() - begin)
            try:
                async with asyncio.timeout(talk):
                    await call.wait_ended()
                report.dropped += 1
            except TimeoutError:
                pass  # it lasted as long as it should
    except CallEnded as ended:
        report.failed[str(ended.end)] += 1
    except FlexosipError as error:
        status = getattr(error, "status", None)
        report.failed[f"{status} {type(error).__name__}" if status else type(error).__name__] += 1


def _check_target(phone: Phone, target: str) -> None:
    if isinstance(phone.signalling.network, VirtualHost):
        return
    account = phone.find_account(None)
    uri = phone.target_uri(target, account)
    places = [uri.host] if isinstance(uri, SipUri) else []
    if account is not None and account.server is not None:
        places.append(account.server.host)
    elif account is None and phone._direct_proxy is not None:
        places.append(phone._direct_proxy.host)
    elsewhere = [place for place in places if place != "localhost" and not is_loopback(place)]
    if elsewhere or not places:
        raise ConfigurationError(
            f"load() calls nobody but this machine or a virtual network, and {elsewhere[0] if elsewhere else target} is neither.",
            advice="Run the load generator on the machine under test, with the target at 127.0.0.1.",
        )
