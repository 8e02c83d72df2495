"""Transfers among phones, and against a scripted peer that does what real ones do. RFC 3515, RFC 5589."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import (
    Busy,
    Call,
    CallEnded,
    CallFailed,
    ConfigurationError,
    InvalidState,
    NetworkError,
    Phone,
    TransferRefused,
    TransferTimeout,
)
from flexosip.phone.events import Replaced, TransferProgress, Transferred, TransferRequested
from tests.network.stage import RawPeer, World, settle
from tests.network.transfer_stage import B, C, Trio, answered_by_peer, answering, events_of, notify, soon

# -- three phones ----------------------------------------------------------------------------------------------------------


def test_a_blind_transfer_connects_the_other_two_and_ends_our_call() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        call = await a.call(B)
        result = await call.transfer(C)
        assert (result.status, result.confirmed, result.target) == (200, True, C)
        assert call.end is not None and call.end.status == 200
        new = at_b[0].transferred_to
        assert new is not None and new.state == "answered" and new.direction == "outgoing"
        assert at_c[0].state == "answered"
        assert str(at_c[0].referred_by.uri).startswith("sip:flexosip@10.0.0.1")
        kinds = [type(event).__name__ for event in await events_of(call)]
        assert kinds[-2:] == ["Transferred", "Ended"] and "TransferProgress" in kinds
        assert [event.status for event in await events_of(call) if isinstance(event, TransferProgress)][-1] == 180
        assert any(isinstance(event, TransferRequested) and event.call is new for event in await events_of(at_b[0]))
        await new.hangup()

    Trio().run(story)


@pytest.mark.parametrize("line", [{}, {"delay": 0.05, "jitter": 0.02}, {"loss": 0.2}], ids=["clean", "slow", "lossy"])
def test_an_attended_transfer_connects_the_parties_and_ends_both_calls(line: dict[str, Any]) -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        to_b, to_c = await a.call(B), await a.call(C)
        result = await to_b.transfer(to_c)
        assert result.confirmed and result.status == 200
        assert to_b.end is not None and to_c.end is not None
        old, new = at_c
        assert new.replaces == old and old.replaced_by == new and new.state == "answered"
        assert old.end.reason == "Replaced"
        assert isinstance((await events_of(old))[-2], Replaced)
        assert at_b[0].transferred_to.state == "answered"
        await new.hangup()

    Trio(**line).run(story)


def test_while_an_attended_transfer_is_made_both_parties_are_on_hold() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        to_b, to_c = await a.call(B), await a.call(C)
        await to_b.transfer(to_c)
        assert "Held" in [type(event).__name__ for event in await events_of(at_b[0])]
        assert "Held" in [type(event).__name__ for event in await events_of(at_c[0])]
        await at_b[0].transferred_to.hangup()

    Trio().run(story)


def test_a_busy_target_raises_busy_and_the_call_goes_on_off_hold() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b = answering(b)

        @c.on_call
        async def busy(call: Call) -> None:
            await call.reject(486)

        call = await a.call(B)
        with pytest.raises(Busy, match=r"transfer to sip:c@10\.0\.0\.3 failed: 486"):
            await call.transfer(C, hold=True)
        assert call.state == "answered" and not at_b[0].held
        assert not any(isinstance(event, Transferred) for event in [call._session.event(i) for i in range(call._session.event_count)])
        # And it can be tried again.
        answering(c)
        assert (await call.transfer(C)).confirmed
        await at_b[0].transferred_to.hangup()

    Trio().run(story)


def test_an_attended_transfer_that_fails_restores_both_calls() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        to_b, to_c = await a.call(B), await a.call(C)
        with pytest.raises(CallFailed) as caught:
            await to_b.transfer(to_c)
        assert caught.value.status == 403
        assert to_b.state == to_c.state == "answered"
        assert not at_b[0].held and not at_c[0].held
        assert len(at_c) == 1

    trio = Trio()

    async def main() -> None:
        async with (
            trio.world.phone("10.0.0.1") as a,
            trio.world.phone("10.0.0.2", accept_transfers=True) as b,
            trio.world.phone("10.0.0.3") as c,  # accept_replaces="auto": b is neither server nor peer
        ):
            await story(a, b, c)
            await settle(a, b, c)

    trio.world.run_alone(main)


def test_who_takes_no_transfers_refuses_and_the_call_goes_on() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        answering(b)
        call = await a.call(B)
        with pytest.raises(TransferRefused) as caught:
            await call.transfer(C)
        assert caught.value.status == 405
        assert "transfer" in caught.value.explain()
        assert call.state == "answered"

    Trio().run(story, b={"accept_transfers": False})


def test_a_transfer_to_itself_to_an_unanswered_or_to_an_ended_call_is_refused_here() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        answering(b)

        @c.on_call
        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait_ended()

        call = await a.call(B)
        with pytest.raises(InvalidState, match="itself"):
            await call.transfer(call)
        ringing = await a.dial(C)
        await ringing.wait_ringing()
        with pytest.raises(InvalidState, match="not answered"):
            await call.transfer(ringing)
        await ringing.hangup()
        with pytest.raises(CallEnded):
            await call.transfer(ringing)
        with pytest.raises(InvalidState):
            await a.call(C).transfer(B)
        with pytest.raises(ConfigurationError):
            await call.transfer("sip:x@host\r\nEvil: 1")
        with pytest.raises(ConfigurationError):
            await call.transfer(C, timeout=0)
        assert call.state == "answered"

    Trio().run(story)


def test_both_ends_of_one_call_cannot_be_transferred_to_each_other() -> None:
    """A phone that called itself would tell itself to replace the very call it is in."""

    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_a = answering(a)
        call = await a.call("sip:a@10.0.0.1")
        await soon()
        with pytest.raises(InvalidState, match="same call"):
            await call.transfer(at_a[0])

    Trio().run(story)


def test_a_second_transfer_waits_for_the_first_and_cancelling_the_wait_does_not_take_it_back() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        call = await a.call(B)
        waiting = asyncio.ensure_future(call.transfer(C))
        await asyncio.sleep(0)
        with pytest.raises(InvalidState, match="already"):
            await call.transfer(C)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        end = await call.wait_ended()
        assert end.status == 200 and at_c
        await at_b[0].transferred_to.hangup()

    Trio().run(story)


def test_both_sides_transfer_at_once_and_each_is_told_the_truth() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        a.transfers.handler = lambda request: True
        a.transfers.announce()
        call = await a.call(B)
        await soon()
        results = await asyncio.gather(call.transfer(C), at_b[0].transfer(C), return_exceptions=True)
        assert all(not isinstance(result, BaseException) or isinstance(result, (CallFailed, CallEnded)) for result in results), results
        assert call.end is not None
        await soon(5)
        assert len(at_c) == 2

    Trio().run(story)


@pytest.mark.parametrize("seed", range(12))
def test_over_a_line_that_loses_a_third_each_transfer_ends_with_the_truth_and_nothing_is_left(seed: int) -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b, at_c = answering(b), answering(c)
        try:
            call = await a.call(B, ring_timeout=60)
            if seed % 2:
                result = await call.transfer(C)
            else:
                result = await call.transfer(await a.call(C, ring_timeout=60))
        except (CallFailed, CallEnded, NetworkError) as error:
            # The loss may cost a call or an answer, but then nobody claims that it was done.
            assert not isinstance(error, CallEnded) or error.end is not None
            return
        assert call.end is not None
        new = at_b[0].transferred_to
        assert new is not None
        if result.confirmed:
            assert new.answered_at is not None and at_c[-1].answered_at is not None

    Trio(loss=0.33, seed=seed).run(story, media_timeout=None, b={"media_timeout": None})


# -- a scripted peer is transferred -----------------------------------------------------------------------------------------


async def referring(phone: Phone, peer: RawPeer, **options: Any) -> tuple[Call, Any, asyncio.Future[Any]]:
    """(call, REFER that the peer got, the transfer in progress)."""
    call, _ = await answered_by_peer(phone, peer)
    transfer = asyncio.ensure_future(call.transfer(C, **options))
    return call, await peer.request("REFER"), transfer


def test_refer_names_target_and_referrer_in_the_dialog_of_the_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        assert refer.headers.get("Refer-To") == f"<{C}>"
        assert refer.headers.get("Referred-By") == "<sip:flexosip@10.0.0.1:5060>"
        assert refer.to.tag == "peer" and refer.contact is not None
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1)
        await peer.response(200, "NOTIFY")
        notify(peer, refer, "200 OK", cseq=2, state="terminated;reason=noresource")
        await peer.response(200, "NOTIFY")
        peer.answer(await peer.request("BYE"), 200)
        result = await transfer
        assert result.confirmed and call.end.by == "local"
        await settle(phone)

    World().run_with_peer(story)


def test_a_bye_right_behind_the_final_notify_does_not_hide_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "200 OK", cseq=1, state="terminated;reason=noresource")
        await asyncio.sleep(0.000019)
        peer.within(refer, "BYE", cseq=2)
        result = await transfer
        assert result.confirmed and result.status == 200
        assert call.end.by == "remote"
        assert [event.confirmed for event in await events_of(call) if isinstance(event, Transferred)] == [True]
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(("final", "outcome"), [("200 OK", "done"), ("486 Busy Here", "busy")])
def test_a_notify_after_the_bye_is_answered_200_and_counts(final: str, outcome: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1)
        await peer.response(200, "NOTIFY")
        peer.within(refer, "BYE", cseq=2)
        await peer.response(200, "BYE")
        await soon(0.5)
        notify(peer, refer, final, cseq=3, state="terminated;reason=noresource")
        await peer.response(200, "NOTIFY")
        if outcome == "done":
            assert (await transfer).confirmed
        else:
            with pytest.raises(Busy):
                await transfer
        assert call.end is not None
        await settle(phone)

    World().run_with_peer(story)


def test_a_bye_without_a_final_notify_is_unknown_and_probably_done() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        await soon()
        peer.within(refer, "BYE", cseq=2)
        result = await transfer
        assert (result.status, result.confirmed) == (202, False)
        told = [event for event in await events_of(call) if isinstance(event, Transferred)]
        assert len(told) == 1 and not told[0].confirmed
        # What still comes, much later, is answered all the same.
        notify(peer, refer, "200 OK", cseq=3, state="terminated;reason=noresource")
        await peer.response(200, "NOTIFY")
        # And with that it is over.
        notify(peer, refer, "200 OK", cseq=4, state="terminated;reason=noresource")
        await peer.response(481, "NOTIFY")
        await settle(phone)

    World().run_with_peer(story)


def test_a_notify_before_the_202_counts() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, refer, transfer = await referring(phone, peer)
        notify(peer, refer, "100 Trying", cseq=1)
        await peer.response(200, "NOTIFY")
        notify(peer, refer, "200 OK", cseq=2, state="terminated;reason=noresource")
        await peer.response(200, "NOTIFY")
        await soon()
        peer.answer(refer, 202)
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).confirmed
        await settle(phone)

    World().run_with_peer(story)


def test_a_notify_that_was_overtaken_by_a_later_one_changes_nothing() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "200 OK", cseq=3, state="active;expires=60")
        await peer.response(200, "NOTIFY")
        notify(peer, refer, "180 Ringing", cseq=2)
        await peer.response(500, "NOTIFY")
        notify(peer, refer, "486 Busy Here", cseq=4, state="terminated;reason=noresource")
        await peer.response(200, "NOTIFY")
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).status == 200
        await settle(phone)

    World().run_with_peer(story)


def test_the_peer_that_never_notifies_is_waited_for_as_long_as_asked_and_the_call_goes_on() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer, timeout=20)
        peer.answer(refer, 202)
        started = phone.loop.time()
        with pytest.raises(TransferTimeout, match="nothing final within 20 seconds") as caught:
            await transfer
        assert phone.loop.time() - started == pytest.approx(20, abs=0.1)
        assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, CallFailed)
        assert call.state == "answered"
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_a_subscription_that_ends_without_a_final_status_is_no_success() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1, state="terminated;reason=timeout")
        with pytest.raises(TransferTimeout, match="stopped telling"):
            await transfer
        assert call.state == "answered"
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_a_subscription_that_ends_without_a_final_status_and_then_a_bye_is_probably_done() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1, state="terminated;reason=noresource")
        await soon()
        peer.within(refer, "BYE", cseq=2)
        assert not (await transfer).confirmed
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("status", [403, 405, 501, 603])
def test_a_refused_refer_is_told_with_its_status_and_the_call_goes_on(status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, status)
        with pytest.raises(TransferRefused) as caught:
            await transfer
        assert caught.value.status == status
        assert call.state == "answered"
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_the_peer_that_does_not_know_the_call_any_more_ends_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 481)
        with pytest.raises(CallEnded):
            await transfer
        assert call.end.status == 481
        peer.answer(await peer.request("BYE"), 481)
        await settle(phone)

    World().run_with_peer(story)


def test_the_call_is_kept_until_the_target_has_answered_and_then_we_say_bye_after_a_grace() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "180 Ringing", cseq=1)
        await peer.response(200, "NOTIFY")
        await asyncio.sleep(30)
        assert call.state == "answered" and peer.count("BYE") == 0
        notify(peer, refer, "200 OK", cseq=2, state="terminated;reason=noresource")
        told = phone.loop.time()
        bye = await peer.request("BYE")
        assert 1.0 <= phone.loop.time() - told <= 2.0
        peer.answer(bye, 200)
        assert (await transfer).confirmed
        await settle(phone)

    World().run_with_peer(story, media_timeout=None)


def test_hanging_up_meanwhile_ends_the_wait() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        await soon()
        await call.hangup()
        with pytest.raises(CallEnded):
            await transfer
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_closing_the_phone_meanwhile_ends_the_wait() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        await soon()
        await phone.close()
        with pytest.raises(CallEnded):
            await transfer

    World().run_with_peer(story)


def test_the_notify_of_a_stranger_or_of_another_package_is_refused_and_changes_nothing() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, refer, transfer = await referring(phone, peer)
        peer.answer(refer, 202)
        notify(peer, refer, "200 OK", cseq=1, tag="someone")
        await peer.response(481, "NOTIFY")
        notify(peer, refer, "200 OK", cseq=2, event="refer;id=4711")
        await peer.response(481, "NOTIFY")
        of_refer = (("Event", "refer"), ("Subscription-State", "active"))
        peer.within(refer, "NOTIFY", "x", cseq=3, content_type="text/plain", headers=of_refer)
        await peer.response(415, "NOTIFY")
        peer.within(refer, "NOTIFY", "nonsense", cseq=4, content_type="message/sipfrag", headers=of_refer)
        await peer.response(400, "NOTIFY")
        await soon()
        assert not transfer.done() and call.state == "answered"
        notify(peer, refer, "603 Decline\x00\x1b[31m", cseq=5, state="terminated;reason=noresource")
        with pytest.raises(CallFailed) as caught:
            await transfer
        assert "\x1b" not in str(caught.value)
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)
