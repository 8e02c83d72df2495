"""`flexosip message` and `flexosip watch` against another phone, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from flexosip import AuthenticationError, MessageFailed, NetworkError, Phone, SubscriptionFailed
from flexosip.cli.exit_codes import exit_code
from flexosip.phone.messaging.messages import Message
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sip.presence import Presence
from tests.unit.cli.conftest import PEER, TARGET, Bench


def prepared(prepare: Callable[[Phone], None]) -> Any:
    """A peer that was prepared by that function."""

    @contextlib.asynccontextmanager
    async def peer(bench: Bench) -> AsyncIterator[Phone]:
        phone = Phone(clock=bench.clock, network=bench.host(PEER), listen=(f"{PEER}:5060",))
        prepare(phone)
        async with phone:
            yield phone

    return peer


def test_message_delivers_its_text(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Message] = []

    def prepare(phone: Phone) -> None:
        phone.on_message(types=("text/plain", "application/json"))(lambda message: got.append(message))

    assert bench.run("message", TARGET, "Hello, wörld", "--json", peer=prepared(prepare)) == 0
    assert got[0].text == "Hello, wörld"
    assert [(event["target"], event["status"]) for event in bench.told("message_sent")] == [(TARGET, 200)]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert bench.run("message", TARGET, "-", "--type", "application/json", peer=prepared(prepare)) == 0
    assert (got[1].text, got[1].content_type) == ('{"a": 1}', "application/json")
    assert "Delivered" in bench.out


def test_message_tells_why_not(bench: Bench) -> None:
    assert bench.run("message", TARGET, "hello", "--json", peer=prepared(lambda phone: None)) == 8
    assert "405" in bench.told("error")[0]["message"]
    assert bench.run("message", TARGET, "x" * 1400, peer=prepared(lambda phone: None)) == 2
    assert bench.run("message", TARGET, "x", "--type", "nonsense", peer=prepared(lambda phone: None)) == 2


def test_watch_follows_a_line(bench: Bench) -> None:
    def prepare(phone: Phone) -> None:
        phone.notifier("dialog")

        @phone.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(2)

    @contextlib.asynccontextmanager
    async def peer(bench: Bench) -> AsyncIterator[None]:
        async with prepared(prepare)(bench):
            caller = Phone(clock=bench.clock, network=bench.host("10.0.0.3"))

            async def call() -> None:
                await asyncio.sleep(1)
                async with caller:
                    await caller.ring(TARGET, 1)

            calling = asyncio.ensure_future(call())
            yield
            calling.cancel()

    assert bench.run("watch", TARGET, "--json", peer=peer, interrupt_after=10) == 130
    assert [event["state"] for event in bench.told("state")] == ["idle", "early", "idle"]
    (call,) = bench.told("state")[1]["calls"]
    assert (call["state"], call["direction"]) == ("early", "recipient")


def test_watch_once_tells_a_mailbox_and_presence(bench: Bench) -> None:
    def prepare(phone: Phone) -> None:
        phone.notifier("message-summary").update(MessageSummary(True, None, (("voice", MessageCount(2, 5, 1)),)))
        phone.notifier("presence").update(Presence.simple("sip:peer@10.0.0.2", True, note="at lunch", activity="meal"))

    assert bench.run("watch", TARGET, "--what", "mailbox", "--once", "--json", peer=prepared(prepare)) == 0
    (state,) = bench.told("state")
    assert (state["state"], state["voice_new"], state["voice_old"], state["urgent"]) == ("waiting", 2, 5, 1)
    assert bench.run("watch", TARGET, "--what", "presence", "--once", peer=prepared(prepare)) == 0
    assert f"{TARGET}: meal: at lunch" in bench.out


def test_watch_tells_why_not(bench: Bench) -> None:
    assert bench.run("watch", TARGET, "--json", peer=prepared(lambda phone: None)) == 8
    assert "405" in bench.told("error")[0]["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MessageFailed("x", status=415), 8),
        (MessageFailed("x", status=403), 4),
        (MessageFailed("x", status=480), 3),
        (SubscriptionFailed("x", status=489), 8),
        (SubscriptionFailed("x", status=503), 6),
        (NetworkError("x"), 6),
        (AuthenticationError("x"), 5),
    ],
)
def test_the_exit_code_tells_the_kind_of_failure(error: Exception, code: int) -> None:
    assert exit_code(error) == code
