"""Calls that others take over, and calls that we take over: INVITE with Replaces (RFC 3891), pickup (RFC 5359 §2.15)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Call, Callers, CallFailed, CallReplaced, ConfigurationError, InvalidState, Phone, ReplaceRequest, Replaces
from flexosip.phone.events import Replaced
from flexosip.sip.dialog_info import WatchedDialog
from flexosip.sip.message import Request
from tests.network.stage import RawPeer, World, sdp, settle
from tests.network.test_caller_auth import REAL, USERS, authorized
from tests.network.transfer_stage import B, C, Trio, answered_by_peer, answering, events_of, soon


def replacing(dialog: Request, *, early_only: bool = False, tag: str = "peer") -> tuple[tuple[str, str], ...]:
    """The header that names the phone's call with the peer, as the phone knows it; `dialog` is the phone's INVITE."""
    return (("Replaces", f"{dialog.call_id};to-tag={dialog.from_.tag};from-tag={tag}{';early-only' if early_only else ''}"),)


def taking(phone: Phone) -> list[Call]:
    """What `phone` takes; the handler answers everything, also what is answered already."""
    return answering(phone)


async def takeover(peer: RawPeer, headers: tuple[tuple[str, str], ...], status: int, **options: Any) -> Any:
    """An INVITE of somebody at the peer's place with `headers`; its final answer."""
    peer.ask("INVITE", sdp(7200), call_id=options.pop("call_id", "new-1"), from_tag="third", headers=headers, **options)
    return await peer.response(status, "INVITE")


async def cleared(phone: Phone, peer: RawPeer, *calls: Call) -> None:
    for call in calls:
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
    await settle(phone)


def test_a_call_is_taken_over_the_old_one_ends_and_the_application_goes_on_with_the_new_one() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        answer = await takeover(peer, (*replacing(dialog), ("Require", "replaces")), 200)
        assert peer.count("BYE") == 0, "the old call lasts until the new one is acknowledged"
        peer.within(answer, "ACK", cseq=1, tag="third")
        bye = await peer.request("BYE")
        assert bye.call_id == dialog.call_id
        peer.answer(bye, 200)
        await soon()
        (new,) = taken
        assert new.state == "answered" and new.replaces is old and old.replaced_by is new
        assert old.end is not None and old.end.reason == "Replaced"
        assert [event.call for event in await events_of(old) if isinstance(event, Replaced)] == [new]
        await cleared(phone, peer, new)

    World().run_with_peer(story)


def test_a_new_caller_whose_sound_we_do_not_understand_leaves_the_old_call_as_it_is() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        peer.ask("INVITE", sdp(7200, formats="9"), call_id="new-1", from_tag="third", headers=replacing(dialog))
        await peer.response(488, "INVITE")
        await soon()
        assert old.state == "answered" and not taken and old.replaced_by is None
        await cleared(phone, peer, old)

    World().run_with_peer(story)


def test_a_new_caller_that_never_acknowledges_leaves_the_old_call_as_it_is() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        await takeover(peer, replacing(dialog), 200)
        await asyncio.sleep(40)
        assert old.state == "answered" and not taken
        await peer.request("BYE")  # of the new call
        await cleared(phone, peer, old)

    World().run_with_peer(story, media_timeout=None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (lambda d: (("Replaces", f"{d.call_id};to-tag=wrong;from-tag=peer"),), 481),
        (lambda d: (("Replaces", f"other;to-tag={d.from_.tag};from-tag=peer"),), 481),
        (lambda d: (("Replaces", f"{d.call_id};to-tag=peer;from-tag={d.from_.tag}"),), 481),
        (lambda d: replacing(d, early_only=True), 486),
        (lambda d: (*replacing(d), *replacing(d)), 400),
        (lambda d: (*replacing(d), ("Join", f"{d.call_id};to-tag={d.from_.tag};from-tag=peer")), 400),
        (lambda d: (("Replaces", f"{d.call_id};from-tag=peer"),), 400),
        (lambda d: (("Replaces", ";;;"),), 400),
    ],
    ids=["wrong tag", "wrong call", "tags seen from the other side", "early-only", "two", "with Join", "no to-tag", "nonsense"],
)
def test_what_cannot_be_replaced_is_refused_and_the_call_goes_on(headers: Any, status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        await takeover(peer, headers(dialog), status)
        await soon()
        assert old.state == "answered" and not taken
        await cleared(phone, peer, old)

    World().run_with_peer(story)


def test_a_call_that_has_ended_is_declined() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        await old.hangup()
        bye = await peer.request("BYE")
        await takeover(peer, replacing(dialog), 603)
        peer.answer(bye, 200)
        await soon(1)
        await takeover(peer, replacing(dialog), 603, call_id="new-2", cseq=2)
        await settle(phone)

    World().run_with_peer(story)


def test_replaces_in_another_request_than_invite_is_malformed() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        old, dialog = await answered_by_peer(phone, peer)
        peer.within(dialog, "INFO", cseq=5, headers=replacing(dialog))
        await peer.response(400, "INFO")
        await cleared(phone, peer, old)

    World().run_with_peer(story)


def test_nobody_is_replaced_when_nobody_would_talk_to_the_new_caller() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        old, dialog = await answered_by_peer(phone, peer)
        await takeover(peer, replacing(dialog), 480)
        assert old.state == "answered"
        await cleared(phone, peer, old)

    World().run_with_peer(story)


# -- who may ------------------------------------------------------------------------------------------------------------------


async def from_elsewhere(phone: Phone, peer: RawPeer, status: int) -> Call:
    """Somebody at a third address knows the call's id; the call."""
    taking(phone)
    old, dialog = await answered_by_peer(phone, peer)
    third = await RawPeer.open(phone._network.network, "10.0.0.77")
    third.ask("INVITE", sdp(7200, host="10.0.0.77"), call_id="theft", from_tag="third", headers=replacing(dialog))
    response = await third.response(status, "INVITE")
    if status == 200:
        third.within(response, "ACK", cseq=1, tag="third")
        peer.answer(await peer.request("BYE"), 200)
        await soon()
        third.within(response, "BYE", cseq=2, tag="third")
        await third.response(200, "BYE")
        await soon()
    third.close()
    return old


def test_by_default_the_id_of_a_call_is_not_enough_to_take_it_over() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        old = await from_elsewhere(phone, peer, 403)
        assert old.state == "answered"
        await cleared(phone, peer, old)

    World().run_with_peer(story)


def test_a_program_may_trust_the_id_alone() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        assert (await from_elsewhere(phone, peer, 200)).end.reason == "Replaced"
        await settle(phone)

    World().run_with_peer(story, accept_replaces=True)


def test_who_has_proved_who_it_is_may_take_over_from_elsewhere() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        third = await RawPeer.open(phone._network.network, "10.0.0.77")
        headers = (*replacing(dialog), *REAL)
        third.ask("INVITE", sdp(7200, host="10.0.0.77"), call_id="proved", from_tag="third", headers=headers)
        challenge = await third.response(401, "INVITE")
        third.ask("INVITE", sdp(7200), call_id="proved", from_tag="third", cseq=2, headers=(*headers, authorized(challenge)))
        response = await third.response(200, "INVITE")
        third.within(response, "ACK", cseq=2, tag="third")
        peer.answer(await peer.request("BYE"), 200)
        assert old.end is not None and old.end.reason == "Replaced"
        third.within(response, "BYE", cseq=3, tag="third")
        await third.response(200, "BYE")
        await settle(phone)
        third.close()

    World().run_with_peer(story, callers=Callers(require_auth=USERS))


@pytest.mark.parametrize(("answer", "status"), [(True, 200), (False, 403)])
def test_a_program_may_decide_itself(answer: bool, status: int) -> None:
    asked: list[ReplaceRequest] = []

    async def decide(request: ReplaceRequest) -> bool:
        asked.append(request)
        await asyncio.sleep(0.1)
        return answer

    async def story(phone: Phone, peer: RawPeer) -> None:
        old = await from_elsewhere(phone, peer, status)
        (request,) = asked
        assert request.call is old and request.source == "10.0.0.77" and "10.0.0.77" in str(request.caller.uri)
        if old.end is None:
            await cleared(phone, peer, old)
        await settle(phone)

    World().run_with_peer(story, accept_replaces=decide)


def test_a_phone_that_does_not_do_it_says_so_and_takes_the_call_for_any_other() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old, dialog = await answered_by_peer(phone, peer)
        assert "replaces" not in dialog.supported
        await takeover(peer, (*replacing(dialog), ("Require", "replaces")), 420)
        answer = await takeover(peer, replacing(dialog), 200, call_id="new-2", cseq=2)
        peer.within(answer, "ACK", cseq=2, tag="third")
        await soon()
        assert old.state == "answered" and taken[0].replaces is None
        await cleared(phone, peer, old, taken[0])

    World().run_with_peer(story, accept_replaces=False)


def test_a_phone_that_does_it_says_so() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        old, dialog = await answered_by_peer(phone, peer)
        assert "replaces" in dialog.supported
        await cleared(phone, peer, old)

    World().run_with_peer(story)


# -- while it rings -----------------------------------------------------------------------------------------------------------


def test_a_call_of_ours_that_rings_is_picked_up_by_another_phone() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        taken = taking(phone)
        old = await phone.dial("sip:peer@10.0.0.9")
        invite = await peer.request("INVITE")
        peer.answer(invite, 180)
        await old.wait_ringing()
        waiting = asyncio.ensure_future(old.wait_answered(60))
        answer = await takeover(peer, (*replacing(invite, early_only=True), ("Require", "replaces")), 200)
        peer.within(answer, "ACK", cseq=1, tag="third")
        cancel = await peer.request("CANCEL")
        peer.answer(cancel, 200)
        peer.answer(invite, 487)
        with pytest.raises(CallReplaced) as caught:
            await waiting
        assert caught.value.call is taken[0] and caught.value.call.state == "answered"
        assert "error.call" in caught.value.explain()
        await cleared(phone, peer, taken[0])

    World().run_with_peer(story)


def test_a_call_that_rings_at_us_cannot_be_replaced() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait_ended()

        peer.ask("INVITE", sdp())
        ringing = await peer.response(180, "INVITE")
        header = (("Replaces", f"raw-1;to-tag={ringing.to.tag};from-tag=peer"),)
        await takeover(peer, header, 481)
        peer.ask("CANCEL", "", cseq=1, branch="z9hG4bKraw1")
        await settle(phone)

    World().run_with_peer(story)


# -- we take over ---------------------------------------------------------------------------------------------------------------


def test_a_call_is_moved_to_another_address_of_the_same_party() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_c = answering(c)
        first = await a.call(C)
        second = await a.call(C, replaces=first)
        end = await first.wait_ended()
        assert end.by == "remote" and second.state == "answered"
        assert at_c[1].replaces == at_c[0]
        await second.hangup()

    Trio().run(story)


def test_the_invite_names_the_call_and_requires_that_it_is_understood() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9", replaces="x@y;to-tag=1;from-tag=2;early-only")
        invite = await peer.request("INVITE")
        assert invite.headers.get_lines("Replaces") == ["x@y;to-tag=1;from-tag=2;early-only"]
        assert invite.require == {"replaces"}
        peer.answer(invite, 481)
        with pytest.raises(CallFailed) as caught:
            await call.wait_answered(5)
        assert caught.value.status == 481
        await settle(phone)

    World().run_with_peer(story)


def test_what_names_no_call_is_refused_before_anything_is_sent() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        with pytest.raises(ConfigurationError, match="call-id;to-tag"):
            a.call(C, replaces="nonsense")

        @b.on_call
        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait_ended()

        ringing = await a.dial(B)
        await ringing.wait_ringing()
        with pytest.raises(InvalidState):
            a.call(C, replaces=ringing)

    Trio().run(story)


# -- pickup ---------------------------------------------------------------------------------------------------------------------


def watched(call_id: str | None, local_tag: str | None, remote_tag: str | None, remote_uri: str | None, **more: Any) -> WatchedDialog:
    """What dialog-info tells of a call that rings at a watched extension."""
    fields = {"id": "1", "state": "early", "direction": "recipient", **more}
    return WatchedDialog(**fields, call_id=call_id, local_tag=local_tag, remote_tag=remote_tag, remote_uri=remote_uri)


def test_a_call_that_rings_at_a_watched_extension_is_taken_from_its_caller() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_c: list[Call] = []

        @b.on_call
        async def ring(call: Call) -> None:
            at_c.append(call)
            await call.ring()
            await call.wait_ended()

        at_a = answering(a)
        a.transfers.accept_replaces = True
        ringing = await a.dial(B)
        await ringing.wait_ringing()
        await soon()
        dialog = at_c[0]._session.usage.dialog
        picked = await c.pickup(watched(dialog.call_id, dialog.local_tag, dialog.remote_tag, str(dialog.remote.uri)))
        with pytest.raises(CallReplaced) as caught:
            await ringing.wait_answered(5)
        assert caught.value.call is at_a[0] and picked.state == "answered"
        assert (await at_c[0].wait_ended()).status == 487
        await picked.hangup()

    Trio().run(story)


def test_what_a_lamp_shows_ringing_is_picked_up() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        b.notifier("dialog")

        @b.on_call
        async def ring(call: Call) -> None:
            await call.ring()
            await call.wait_ended()

        at_a = answering(a)
        a.transfers.accept_replaces = True
        async with c.watch(B) as lamp:
            ringing = await a.dial(B)
            async for state in lamp:
                if state.dialogs and state.dialogs[0].ringing:
                    break
            picked = await c.pickup(state.dialogs[0])
            with pytest.raises(CallReplaced):
                await ringing.wait_answered(5)
            assert picked.state == at_a[0].state == "answered"
            async for state in lamp:
                if not state.dialogs:
                    break
            await picked.hangup()

    Trio().run(story)


def test_a_call_that_was_answered_in_the_meantime_is_not_torn_away() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        at_b = answering(b)
        answering(a)
        a.transfers.accept_replaces = True
        call = await a.call(B)
        await soon()
        dialog = at_b[0]._session.usage.dialog
        with pytest.raises(CallFailed) as caught:
            await c.pickup(watched(dialog.call_id, dialog.local_tag, dialog.remote_tag, str(dialog.remote.uri)))
        assert caught.value.status == 486
        assert call.state == "answered"

    Trio().run(story)


def test_pickup_says_what_is_missing() -> None:
    async def story(a: Phone, b: Phone, c: Phone) -> None:
        with pytest.raises(InvalidState, match="not called any more"):
            c.pickup(watched("x", "1", "2", "sip:a@10.0.0.1", state="confirmed"))
        with pytest.raises(ConfigurationError, match="pickup code"):
            c.pickup(watched(None, None, None, "sip:a@10.0.0.1"))
        with pytest.raises(ConfigurationError, match="pickup code"):
            c.pickup(watched("x", "1", "2", None))
        with pytest.raises(ConfigurationError, match="pickup_code"):
            c.pickup("620")
        with pytest.raises(ConfigurationError):
            c.pickup(watched("x y", "1", "2", "sip:a@10.0.0.1"))

    Trio().run(story)


def test_an_extension_is_dialled_behind_the_pickup_code() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        account = phone.add_account("sip:bell@10.0.0.9", register=False, pickup_code="*8")
        call = phone.pickup("620", account=account)
        call._start()
        invite = await peer.request("INVITE")
        assert str(invite.uri) == "sip:*8620@10.0.0.9" and "Replaces" not in invite.headers
        peer.answer(invite, 404)
        with pytest.raises(CallFailed):
            await call.wait_answered(5)
        await settle(phone)

    World().run_with_peer(story)


def test_the_value_is_what_the_grammar_allows() -> None:
    value = Replaces.parse("98732@sip.example.com ;from-tag=r33th4x0r;to-tag=ff87ff;x=1;early-only")
    assert value == Replaces("98732@sip.example.com", "ff87ff", "r33th4x0r", early_only=True)
    assert str(value) == "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only"
    for parts in (("", "a", "b"), ("a b", "a", "b"), ("a", "", "b"), ("a", "b;c", "b"), ("a\r\nEvil: 1", "b", "c"), ("x" * 600, "a", "b")):
        with pytest.raises(ValueError):
            Replaces(*parts)
