"""RFC 5589: the flows of blind and attended transfer, message by message, as the transferor sends them."""

from __future__ import annotations

import asyncio

import pytest

from flexosip import Call, CallEnded, CallFailed, Phone
from flexosip.phone.events import Transferred
from flexosip.sip.message import Request
from flexosip.sip.refer import ReferTo
from tests.network.stage import RawPeer, World, sdp, settle
from tests.network.transfer_stage import C, answered_by_peer, events_of, notify, soon

DONE = "terminated;reason=noresource"


def requests(peer: RawPeer) -> list[str]:
    return [message.method for message in peer.seen if isinstance(message, Request)]


def test_basic_transfer_holds_refers_waits_and_hangs_up() -> None:
    """§6.1: hold, REFER, NOTIFY 100, NOTIFY 200, BYE."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered_by_peer(phone, peer)
        transfer = asyncio.ensure_future(call.transfer(C, hold=True))
        hold = await peer.request("INVITE")
        assert b"a=sendonly" in hold.body
        peer.answer(hold, 200, sdp(direction="recvonly", version=2))
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1)
        notify(peer, refer, "200 OK", cseq=2, state=DONE)
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).confirmed
        assert requests(peer) == ["INVITE", "ACK", "INVITE", "ACK", "REFER", "BYE"]
        await settle(phone)

    World().run_with_peer(story)


def test_failed_transfer_takes_the_call_off_hold() -> None:
    """§6.3: the target is busy; the transferor goes on talking."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered_by_peer(phone, peer)
        transfer = asyncio.ensure_future(call.transfer(C, hold=True))
        peer.answer(await peer.request("INVITE"), 200, sdp(direction="recvonly", version=2))
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        notify(peer, refer, "486 Busy Here", cseq=1, state=DONE)
        resume = await peer.request("INVITE")
        assert b"a=sendrecv" in resume.body
        peer.answer(resume, 200, sdp(version=3))
        with pytest.raises(CallFailed) as caught:
            await transfer
        assert caught.value.status == 486 and call.state == "answered"
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_a_peer_that_takes_no_hold_is_transferred_all_the_same() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered_by_peer(phone, peer)
        transfer = asyncio.ensure_future(call.transfer(C, hold=True))
        peer.answer(await peer.request("INVITE"), 488)
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        notify(peer, refer, "200 OK", cseq=1, state=DONE)
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).confirmed
        await settle(phone)

    World().run_with_peer(story)


async def two_calls(phone: Phone, peer: RawPeer) -> tuple[Call, Call, RawPeer, Request]:
    """(call with the transferee, call with the target, the target, the INVITE that it got)."""
    target = await RawPeer.open(phone._network.network, "10.0.0.8")
    to_target = await phone.dial("sip:target@10.0.0.8")
    invite = await target.request("INVITE")
    target.answer(invite, 200, sdp(host="10.0.0.8"), tag="target")
    await target.request("ACK")
    to_transferee, _ = await answered_by_peer(phone, peer)
    return to_transferee, to_target, target, invite


def test_attended_transfer_names_the_call_with_the_target_as_the_target_knows_it() -> None:
    """§7.3: Refer-To is the target's Contact with an escaped Replaces; the target ends our call with it, we end the other."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        to_transferee, to_target, target, invite = await two_calls(phone, peer)
        transfer = asyncio.ensure_future(to_transferee.transfer(to_target))
        hold = await peer.request("INVITE")
        peer.answer(hold, 200, sdp(direction="recvonly", version=2))
        held = await target.request("INVITE")
        target.answer(held, 200, sdp(host="10.0.0.8", direction="recvonly", version=2), tag="target")
        refer = await peer.request("REFER")
        refer_to = ReferTo.of(refer)
        assert str(refer_to.uri) == "sip:peer@10.0.0.8:5060"
        assert refer_to.replaces is not None
        assert (refer_to.replaces.call_id, refer_to.replaces.to_tag, refer_to.replaces.from_tag) == (
            invite.call_id,
            "target",
            invite.from_.tag,
        )
        assert "Require=replaces" in (refer.headers.get("Refer-To") or "")
        peer.answer(refer, 202)
        notify(peer, refer, "100 Trying", cseq=1)
        target.within(invite, "BYE", cseq=1, tag="target")
        await target.response(200, "BYE")
        notify(peer, refer, "200 OK", cseq=2, state=DONE)
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).confirmed
        assert to_target.end is not None and to_target.end.by == "remote"
        await settle(phone)
        target.close()

    World().run_with_peer(story)


def test_attended_transfer_ends_the_call_with_a_target_that_does_not() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        to_transferee, to_target, target, _ = await two_calls(phone, peer)
        transfer = asyncio.ensure_future(to_transferee.transfer(to_target, hold=False))
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        notify(peer, refer, "200 OK", cseq=2, state=DONE)
        peer.answer(await peer.request("BYE"), 200)
        target.answer(await target.request("BYE"), 200)
        assert (await transfer).confirmed and to_target.end.by == "local"
        await settle(phone)
        target.close()

    World().run_with_peer(story)


def test_attended_transfer_that_the_target_does_not_understand_restores_both_calls() -> None:
    """§7.4: the target answers 420 to Require: replaces; both calls go on."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        to_transferee, to_target, target, _ = await two_calls(phone, peer)
        transfer = asyncio.ensure_future(to_transferee.transfer(to_target))
        peer.answer(await peer.request("INVITE"), 200, sdp(direction="recvonly", version=2))
        target.answer(await target.request("INVITE"), 200, sdp(host="10.0.0.8", direction="recvonly", version=2), tag="target")
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        notify(peer, refer, "420 Bad Extension", cseq=1, state=DONE)
        for party, host in ((peer, "10.0.0.9"), (target, "10.0.0.8")):
            resume = await party.request("INVITE")
            assert b"a=sendrecv" in resume.body
            party.answer(resume, 200, sdp(host=host, version=3), tag="target" if party is target else "peer")
        with pytest.raises(CallFailed):
            await transfer
        assert to_transferee.state == to_target.state == "answered"
        for call, party in ((to_transferee, peer), (to_target, target)):
            await call.hangup()
            party.answer(await party.request("BYE"), 200)
        await soon()
        await settle(phone)
        target.close()

    World().run_with_peer(story)


@pytest.mark.parametrize("taken", [True, False])
def test_attended_transfer_of_which_nothing_is_told_is_done_if_the_target_ends_our_call_with_it(taken: bool) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        to_transferee, to_target, target, invite = await two_calls(phone, peer)
        transfer = asyncio.ensure_future(to_transferee.transfer(to_target, hold=False))
        refer = await peer.request("REFER")
        peer.answer(refer, 202)
        await soon()
        if taken:
            target.within(invite, "BYE", cseq=1, tag="target")
            await target.response(200, "BYE")
        peer.within(refer, "BYE", cseq=1)
        await peer.response(200, "BYE")
        if taken:
            assert not (await transfer).confirmed
            assert any(isinstance(event, Transferred) for event in await events_of(to_transferee))
        else:
            with pytest.raises(CallEnded):
                await transfer
            assert to_target.state == "answered"
            assert not any(isinstance(event, Transferred) for event in await events_of(to_transferee))
            await to_target.hangup()
            target.answer(await target.request("BYE"), 200)
        await settle(phone)
        target.close()

    World().run_with_peer(story)


def test_attended_transfer_without_report_waits_for_the_target_to_end_our_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        to_transferee, to_target, target, invite = await two_calls(phone, peer)
        transfer = asyncio.ensure_future(to_transferee.transfer(to_target, hold=False, report=False))
        refer = await peer.request("REFER")
        peer.answer(refer, 202, headers=(("Refer-Sub", "false"),))
        await asyncio.sleep(10)
        assert to_transferee.state == to_target.state == "answered"
        target.within(invite, "BYE", cseq=1, tag="target")
        await target.response(200, "BYE")
        peer.answer(await peer.request("BYE"), 200)
        assert (await transfer).status == 202
        await settle(phone)
        target.close()

    World().run_with_peer(story)


def test_a_transfer_without_report_lets_go_as_soon_as_it_is_agreed() -> None:
    """RFC 4488: no NOTIFY is asked for; the call ends after a moment for the other side's BYE."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered_by_peer(phone, peer)
        transfer = asyncio.ensure_future(call.transfer(C, report=False))
        refer = await peer.request("REFER")
        assert refer.headers.get("Refer-Sub") == "false" and "norefersub" in refer.supported
        peer.answer(refer, 202, headers=(("Refer-Sub", "false"),))
        peer.answer(await peer.request("BYE"), 200)
        result = await transfer
        assert (result.status, result.confirmed) == (202, False)
        await settle(phone)

    World().run_with_peer(story)
