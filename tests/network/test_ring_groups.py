"""Several phones ring at once, and others after them: who answers first has the call, and nobody rings on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import (
    AuthenticationError,
    Busy,
    Call,
    CallEnded,
    CallFailed,
    ConfigurationError,
    Confirmation,
    Declined,
    InvalidState,
    MediaError,
    NetworkError,
    NoAnswer,
    NotFound,
    Phone,
)
from flexosip.phone.dialling.ring_group import stages_of
from flexosip.phone.events import Answered
from flexosip.sip.message import Request
from tests.network.stage import RawPeer, World, sdp, settle

A, B, C = ("sip:a@10.0.0.21", "sip:b@10.0.0.22", "sip:c@10.0.0.23")
REASON = 'SIP;cause=200;text="Call completed elsewhere"'
Group = Callable[[Phone, "Peers"], Awaitable[Any]]


class Peers:
    """Three raw peers, whom nobody but the test answers for."""

    def __init__(self, a: RawPeer, b: RawPeer, c: RawPeer) -> None:
        self.a, self.b, self.c = a, b, c

    def __iter__(self) -> Any:
        return iter((self.a, self.b, self.c))


def run(story: Group, **settings: Any) -> None:
    """Run `story(phone, peers)`."""
    world = World()

    async def main() -> None:
        async with world.phone("10.0.0.1", **settings) as phone:
            peers = Peers(*[await RawPeer.open(world.network, f"10.0.0.{number}") for number in (21, 22, 23)])
            await story(phone, peers)
            await settle(phone)
            for peer in peers:
                peer.close()

    world.run_alone(main)


async def cancelled(peer: RawPeer, invite: Request, *, reason: str | None = REASON) -> None:
    """The phone gives up the call to `peer`, and why."""
    cancel = await peer.request("CANCEL", timeout=30)
    assert cancel.headers.get("Reason") == reason
    peer.answer(cancel, 200)
    peer.answer(invite, 487)


async def ended(peer: RawPeer, *, reason: str | None = None) -> None:
    """The phone ends the answered call."""
    bye = await peer.request("BYE", timeout=30)
    assert bye.headers.get("Reason") == reason
    peer.answer(bye, 200)


async def ringing(*peers: RawPeer) -> list[Request]:
    """All of them ring."""
    invites = [await peer.request("INVITE", timeout=60) for peer in peers]
    for peer, invite in zip(peers, invites, strict=True):
        peer.answer(invite, 180)
    return invites


def outcomes(result: Any) -> list[tuple[str, str]]:
    return [(attempt.target[4], str(attempt.outcome)) for attempt in result.attempts]


def test_the_first_who_answers_has_the_call_and_the_others_learn_that_it_is_no_missed_call() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B, C], ring_timeout=20)._establish())
        invites = await ringing(*peers)
        peers.b.answer(invites[1], 200, sdp(host="10.0.0.22"))
        call = await task
        assert call.remote is not None and str(call.remote.uri) == B and call.answered_at is not None
        await cancelled(peers.a, invites[0])
        await cancelled(peers.c, invites[2])
        await asyncio.sleep(0.2)
        assert phone.calls == [call]
        await call.hangup()
        await ended(peers.b)

    run(story)


def test_leaving_the_block_hangs_up_the_call_that_was_answered() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        async def answer() -> None:
            invites = await ringing(peers.a, peers.b)
            peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
            await cancelled(peers.b, invites[1])

        helper = asyncio.create_task(answer())
        group = phone.call([A, B])
        async with group as call:
            assert type(call) is Call and str(call.remote.uri) == A  # type: ignore[union-attr]
        assert call.end is not None and call.end.by == "local"
        await ended(peers.a)
        await helper
        assert [attempt.outcome for attempt in group.attempts] == ["answered", "elsewhere"]  # type: ignore[attr-defined]

    run(story)


def test_ring_tells_who_answered_and_what_became_of_each() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B, C], 20))
        invites = await ringing(*peers)
        peers.a.answer(invites[0], 486)
        await asyncio.sleep(1)
        peers.c.answer(invites[2], 200, sdp(host="10.0.0.23"))
        await ended(peers.c)
        await cancelled(peers.b, invites[1])
        result = await task
        assert result.answered and result.status == 200 and result.answered_by == C
        assert outcomes(result) == [("a", "declined"), ("b", "elsewhere"), ("c", "answered")]
        assert result.attempts[0].status == 486 and result.attempts[0].reason == "Busy Here"
        assert result.attempts[0].seconds < result.attempts[2].seconds <= result.seconds

    run(story)


def test_when_nobody_answers_the_next_list_rings() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B], 5, then=[C]))
        invites = await ringing(peers.a, peers.b)
        for peer, invite in zip((peers.a, peers.b), invites, strict=True):
            await cancelled(peer, invite, reason=None)
        [invite] = await ringing(peers.c)
        peers.c.answer(invite, 200, sdp(host="10.0.0.23"))
        await ended(peers.c)
        result = await task
        assert result.answered_by == C and outcomes(result) == [("a", "rang_out"), ("b", "rang_out"), ("c", "answered")]
        assert result.seconds > 5

    run(story)


def test_when_all_have_refused_the_next_list_rings_at_once() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring(A, 60, then=[[B], [C]]))
        [invite] = await ringing(peers.a)
        peers.a.answer(invite, 480)
        [invite] = await ringing(peers.b)
        peers.b.answer(invite, 603)
        [invite] = await ringing(peers.c)
        peers.c.answer(invite, 486)
        result = await task
        assert result.declined and result.status == 603 and result.seconds < 5
        assert outcomes(result) == [("a", "rang_out"), ("b", "declined"), ("c", "declined")]

    run(story)


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ((486, 486, 600), Busy), ((486, 603, 404), Declined), ((404, 486, 480), Busy), ((404, 480, 503), NotFound),
        ((503, 500, 503), CallFailed), ((401, 486, 404), AuthenticationError), ((503, 480, 486), Busy),
    ],
)  # fmt: skip
def test_the_best_refusal_is_that_of_all(statuses: tuple[int, ...], error: type[Exception]) -> None:
    """RFC 3261 §16.7 step 6; those who were quicker do not decide."""

    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B, C])._establish())
        for peer, status in zip(peers, statuses, strict=True):
            peer.answer(await peer.request("INVITE"), status)
        with pytest.raises(error):
            await task

    run(story)


def test_one_who_rang_in_vain_says_more_than_one_who_was_busy() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B], 5))
        invites = await ringing(peers.a, peers.b)
        peers.a.answer(invites[0], 486)
        await cancelled(peers.b, invites[1], reason=None)
        result = await task
        assert result.outcome == "rang_out" and result.status == 487
        task = asyncio.create_task(phone.ring([A, B], 5))
        invites = await ringing(peers.a, peers.b)
        peers.a.answer(invites[0], 603)
        await cancelled(peers.b, invites[1], reason=None)
        assert (await task).declined

    run(story)


def test_a_target_that_cannot_be_reached_does_not_stop_the_others() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, "sip:x@nowhere.invalid"], 20))
        [invite] = await ringing(peers.a)
        await asyncio.sleep(3)
        peers.a.answer(invite, 200, sdp(host="10.0.0.21"))
        await ended(peers.a)
        result = await task
        assert result.answered_by == A and result.attempts[1].outcome == "failed"
        with pytest.raises(NetworkError):
            await phone.ring(["sip:x@nowhere.invalid", "sip:y@nowhere.invalid"], 20)

    run(story)


# -- confirming -------------------------------------------------------------------------------------------------------


async def press(peer: RawPeer, ack: Request, key: str, cseq: int) -> None:
    """The peer presses a key (INFO)."""
    peer.within(ack, "INFO", f"Signal={key}\r\nDuration=100\r\n", cseq=cseq, content_type="application/dtmf-relay")
    await peer.response(200, "INFO")


def test_a_mailbox_cannot_win_and_a_person_with_the_key_does() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B], ring_timeout=30, confirm="1")._establish())
        invites = await ringing(peers.a, peers.b)
        peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
        await peers.a.request("ACK")
        # The mailbox speaks and says nothing with keys; the other phone goes on ringing, then a person takes it.
        await asyncio.sleep(10)
        assert peers.b.count("CANCEL") == 0 and not task.done()
        peers.b.answer(invites[1], 200, sdp(host="10.0.0.22"))
        ack = await peers.b.request("ACK")
        await press(peers.b, ack, "5", 100)
        await asyncio.sleep(1)
        assert not task.done()
        await press(peers.b, ack, "1", 101)
        call = await task
        assert str(call.remote.uri) == B  # type: ignore[union-attr]
        await ended(peers.a, reason=REASON)
        await call.hangup()
        await ended(peers.b)

    run(story)


def test_who_does_not_confirm_in_time_is_hung_up_and_the_others_ring_on() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B], 25, then=[C], confirm=Confirmation("*", timeout=8)))
        invites = await ringing(peers.a, peers.b)
        peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
        await peers.a.request("ACK")
        await ended(peers.a)
        assert peers.b.count("CANCEL") == 0
        await cancelled(peers.b, invites[1], reason=None)
        [invite] = await ringing(peers.c)
        peers.c.answer(invite, 200, sdp(host="10.0.0.23"))
        ack = await peers.c.request("ACK")
        await press(peers.c, ack, "*", 100)
        await ended(peers.c)
        result = await task
        assert outcomes(result) == [("a", "unconfirmed"), ("b", "rang_out"), ("c", "answered")] and result.answered_by == C

    run(story)


def test_who_hangs_up_instead_of_confirming_has_not_taken_it() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring(A, 20, confirm="1"))
        [invite] = await ringing(peers.a)
        peers.a.answer(invite, 200, sdp(host="10.0.0.21"))
        ack = await peers.a.request("ACK")
        await asyncio.sleep(2)
        peers.a.within(ack, "BYE")
        result = await task
        assert result.outcome == "rang_out" and outcomes(result) == [("a", "unconfirmed")] and result.answered_by is None

    run(story)


def test_the_one_who_answers_hears_beeps_until_the_key() -> None:
    from tests.hearing import level

    async def story(phone: Phone, peers: Peers) -> None:
        sound = peers.a.sound()
        task = asyncio.create_task(phone.call(A, confirm="1")._establish())
        [invite] = await ringing(peers.a)
        peers.a.answer(invite, 200, sdp(host="10.0.0.21"))
        ack = await peers.a.request("ACK")
        await asyncio.sleep(2.5)
        heard = [packet.payload for packet in sound.receive()]
        assert len(heard) > 10
        await press(peers.a, ack, "1", 100)
        call = await task
        await asyncio.sleep(0.2)
        sound.receive()
        await asyncio.sleep(3)
        from flexosip.codecs import create

        pcm = b"".join(create("PCMA", 8000).decode(payload) for payload in heard)
        after = b"".join(create("PCMA", 8000).decode(packet.payload) for packet in sound.receive())
        assert level(pcm) > -30 and (not after or level(after) < -60)
        await call.hangup()
        await ended(peers.a)
        sound.close()

    run(story)


# -- races ------------------------------------------------------------------------------------------------------------


def test_two_who_answer_in_the_same_moment_get_one_call_and_one_bye() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B])._establish())
        invites = await ringing(peers.a, peers.b)
        peers.b.answer(invites[1], 200, sdp(host="10.0.0.22"))
        peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
        call = await task
        winner, loser = (peers.a, peers.b) if str(call.remote.uri) == A else (peers.b, peers.a)  # type: ignore[union-attr]
        await loser.request("ACK")
        await ended(loser, reason=REASON)
        assert winner.count("BYE") == 0
        await call.hangup()
        await ended(winner)

    run(story)


def test_an_answer_that_crosses_our_cancel_is_ended_with_its_reason() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B])._establish())
        invites = await ringing(peers.a, peers.b)
        peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
        call = await task
        cancel = await peers.b.request("CANCEL")
        peers.b.answer(invites[1], 200, sdp(host="10.0.0.22"))
        peers.b.answer(cancel, 200)
        await peers.b.request("ACK")
        await ended(peers.b, reason=REASON)
        assert call.end is None
        await call.hangup()
        await ended(peers.a)

    run(story)


@pytest.mark.parametrize("confirm", [None, "1"])
def test_closing_the_phone_ends_all_ringing(confirm: str | None) -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B], 0, then=[C], confirm=confirm))
        invites = await ringing(peers.a, peers.b)
        if confirm is not None:
            peers.a.answer(invites[0], 200, sdp(host="10.0.0.21"))
            await peers.a.request("ACK")
        closing = asyncio.create_task(phone.close())
        if confirm is None:
            await cancelled(peers.a, invites[0], reason=None)
        else:
            await ended(peers.a)
        await cancelled(peers.b, invites[1], reason=None)
        await closing
        with pytest.raises(CallEnded):
            await task
        assert peers.c.count("INVITE") == 0
        await phone.start()

    run(story)


def test_who_gives_up_waiting_gives_up_all_calls() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B], then=[C])._establish())
        invites = await ringing(peers.a, peers.b)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for peer, invite in zip((peers.a, peers.b), invites, strict=True):
            await cancelled(peer, invite, reason=None)
        await asyncio.sleep(5)
        assert peers.c.count("INVITE") == 0 and phone.calls == []

    run(story)


def test_lines_that_are_not_there_are_told_target_by_target() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.ring([A, B], 20))
        [invite] = await ringing(peers.a)
        peers.a.answer(invite, 200, sdp(host="10.0.0.21"))
        await ended(peers.a)
        result = await task
        assert result.answered_by == A and result.attempts[1].outcome == "failed" and "lines" in result.attempts[1].reason
        async with asyncio.timeout(5):
            task = asyncio.create_task(phone.call(A)._establish())
            [invite] = await ringing(peers.a)
            with pytest.raises(InvalidState):
                await phone.ring([A, B], 20)
            peers.a.answer(invite, 486)
            with pytest.raises(Busy):
                await task

    run(story, max_calls=1)


# -- what it is told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "then", "stages"),
    [
        ("a", (), (("a",),)),
        (["a", "b"], (), (("a", "b"),)),
        ("a", ["b", "c"], (("a",), ("b", "c"))),
        (["a"], [["b"], ["c", "d"]], (("a",), ("b",), ("c", "d"))),
        ("a", ["b", ["c"]], (("a",), ("b",), ("c",))),
    ],
)
def test_lists_that_ring_one_after_the_other(target: Any, then: Any, stages: Any) -> None:
    assert stages_of(target, then) == stages


@pytest.mark.parametrize(("target", "then"), [([], ()), ("a", "b"), ("a", [[]]), ([], ["a"])])
def test_lists_that_make_no_sense(target: Any, then: Any) -> None:
    with pytest.raises(ConfigurationError):
        stages_of(target, then)


@pytest.mark.parametrize("key", ["", "12", "x", "#\r"])
def test_a_confirmation_is_one_key(key: str) -> None:
    with pytest.raises(ConfigurationError):
        Confirmation(key)
    with pytest.raises(ConfigurationError):
        Confirmation("1", timeout=0)
    with pytest.raises(ConfigurationError):
        Confirmation("1", iter(()))  # type: ignore[arg-type]


def test_a_mistake_in_the_last_list_is_told_before_anybody_rings() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        with pytest.raises(ConfigurationError):
            await phone.ring(A, 20, then=[[B], ["620"]])
        with pytest.raises(MediaError):
            await phone.ring(A, 20, confirm=Confirmation("1", "missing.wav"))
        with pytest.raises(ConfigurationError):
            await phone.dial([A, B])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            await phone.call([A, B]).wait_ringing()
        await asyncio.sleep(1)
        assert not any(peer.seen for peer in peers)

    run(story)


def test_no_answer_of_a_group_says_within_what_time() -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        task = asyncio.create_task(phone.call([A, B], ring_timeout=4)._establish())
        invites = await ringing(peers.a, peers.b)
        for peer, invite in zip((peers.a, peers.b), invites, strict=True):
            await cancelled(peer, invite, reason=None)
        with pytest.raises(NoAnswer, match="4 seconds"):
            await task

    run(story)


@pytest.mark.parametrize("steps", range(12))
def test_given_up_in_the_moment_of_the_answer_nothing_stays_up(steps: int) -> None:
    async def story(phone: Phone, peers: Peers) -> None:
        answered = asyncio.Event()
        phone.on_call_event(lambda call, event: answered.set() if isinstance(event, Answered) else None)
        taken: list[Call] = []

        async def ring() -> None:
            taken.append(await phone.call([A, B]))

        task = asyncio.create_task(ring())
        invite, other = await peers.a.request("INVITE"), await peers.b.request("INVITE")
        peers.b.answer(other, 180)
        peers.a.answer(invite, 200, sdp(host="10.0.0.21"))
        await answered.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        peers.b.answer(await peers.b.request("CANCEL"), 200)
        peers.b.answer(other, 487)
        for call in taken:
            await call.hangup()
        peers.a.answer(await peers.a.request("BYE"), 200)

    run(story)
