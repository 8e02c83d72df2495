"""Being transferred by a scripted peer: who may, what is refused, what is told. RFC 3515, RFC 3892, RFC 4488, RFC 7614."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Call, ConfigurationError, Phone, TransferRequest
from flexosip.phone.events import TransferRequested
from flexosip.sip.message import Request
from tests.network.stage import RawPeer, World, sdp, settle
from tests.network.transfer_stage import answered_by_peer, events_of, refer, soon

TARGET = "<sip:target@10.0.0.9>"


async def told(peer: RawPeer) -> Request:
    """The next NOTIFY, answered."""
    request = await peer.request("NOTIFY")
    peer.answer(request, 200)
    return request


async def hung_up(phone: Phone, peer: RawPeer, *calls: Call) -> None:
    for call in calls:
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
    await settle(phone)


@pytest.mark.parametrize("transport_of_call", ["outgoing", "incoming"])
def test_a_referred_call_is_made_and_told_of_until_the_target_has_answered(transport_of_call: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        if transport_of_call == "outgoing":
            call, dialog = await answered_by_peer(phone, peer)
        else:
            taken: list[Call] = []

            @phone.on_call
            async def answer(call: Call) -> None:
                taken.append(call)
                await call.answer()
                await call.wait_ended()

            dialog = await peer.call()  # type: ignore[assignment]
            await soon()
            call = taken[0]
        refer(peer, dialog, "<sip:target@10.0.0.9?Subject=hello&X-Evil=1&From=%3Csip%3Aother%40x%3E>")
        accepted = await peer.response(202, "REFER")
        assert accepted.contact is not None
        first = await told(peer)
        assert first.headers.get("Event") == "refer" and first.content_type == "message/sipfrag"
        assert first.body == b"SIP/2.0 100 Trying\r\n"
        assert (first.headers.get("Subscription-State") or "").startswith("active;expires=")
        invite = await peer.request("INVITE")
        assert str(invite.uri) == "sip:target@10.0.0.9"
        assert invite.headers.get("Referred-By") == "<sip:peer@10.0.0.9>"
        assert invite.headers.get("Subject") == "hello"
        assert "X-Evil" not in invite.headers and invite.headers.get_lines("From")[0].startswith("<sip:flexosip@")
        peer.answer(invite, 180, tag="t")
        assert (await told(peer)).body == b"SIP/2.0 180 Ringing\r\n"
        peer.answer(invite, 200, sdp(7100), tag="t")
        await peer.request("ACK")
        last = await told(peer)
        assert last.body == b"SIP/2.0 200 OK\r\n"
        assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
        new = call.transferred_to
        assert new is not None and new.state == "answered"
        # The one who transferred us hangs up.
        peer.within(dialog, "BYE", cseq=101)
        await peer.response(200, "BYE")
        event = next(event for event in await events_of(call) if isinstance(event, TransferRequested))
        assert (event.call, event.target, event.referred_by) == (new, "sip:target@10.0.0.9", "sip:peer@10.0.0.9")
        await hung_up(phone, peer, new)

    World().run_with_peer(story, accept_transfers=True)


def test_when_nobody_says_bye_after_the_target_has_answered_we_do() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(7100), tag="t")
        bye = await peer.request("BYE", timeout=10)
        assert bye.call_id == dialog.call_id
        peer.answer(bye, 200)
        assert call.end.by == "local"
        assert call.transferred_to is not None
        for message in list(peer.seen):
            if isinstance(message, Request) and message.method == "NOTIFY":
                peer.answer(message, 200)
        await hung_up(phone, peer, call.transferred_to)

    World().run_with_peer(story, accept_transfers=True)


def test_a_target_that_is_busy_is_told_and_the_old_call_goes_on() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        await told(peer)
        peer.answer(await peer.request("INVITE"), 486, tag="t")
        last = await told(peer)
        assert last.body == b"SIP/2.0 486 Busy Here\r\n"
        assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
        await soon(6)
        assert call.state == "answered" and call.transferred_to.end.status == 486
        # And it may be tried once more: the second subscription is told apart by its CSeq (RFC 3515 §2.4.6).
        refer(peer, dialog, TARGET, cseq=101)
        assert (await told(peer)).headers.get("Event") == "refer;id=101"
        peer.answer(await peer.request("INVITE"), 404, tag="t")
        assert (await told(peer)).headers.get("Event") == "refer;id=101"
        await hung_up(phone, peer, call)

    World().run_with_peer(story, accept_transfers=True)


def test_a_lost_notify_is_repeated_and_the_next_one_waits_for_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        first = await peer.request("NOTIFY")  # lost: no answer
        invite = await peer.request("INVITE")
        peer.answer(invite, 180, tag="t")
        peer.answer(invite, 200, sdp(7100), tag="t")
        again = await peer.request("NOTIFY")
        assert again.cseq == first.cseq and again.via.branch == first.via.branch
        peer.answer(again, 200)
        last = await told(peer)
        # What happened in between is told in one: the final status.
        assert last.body.startswith(b"SIP/2.0 200") and last.cseq.number == first.cseq.number + 1
        peer.within(dialog, "BYE", cseq=101)
        await peer.response(200, "BYE")
        await hung_up(phone, peer, call.transferred_to)

    World().run_with_peer(story, accept_transfers=True)


def test_who_hangs_up_right_behind_the_refer_is_told_all_the_same() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        await peer.response(202)
        await told(peer)
        peer.within(dialog, "BYE", cseq=101)
        await peer.response(200, "BYE")
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(7100), tag="t")
        last = await told(peer)
        assert last.call_id == dialog.call_id and last.body.startswith(b"SIP/2.0 200")
        assert call.end.by == "remote"
        await hung_up(phone, peer, call.transferred_to)

    World().run_with_peer(story, accept_transfers=True)


def test_who_does_not_want_to_know_after_its_bye_ends_the_subscription_but_not_the_new_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        peer.answer(await peer.request("NOTIFY"), 481)
        invite = await peer.request("INVITE")
        peer.answer(invite, 180, tag="t")
        peer.answer(invite, 200, sdp(7100), tag="t")
        await soon(1)
        assert peer.count("NOTIFY") == 1
        assert call.state == "answered"  # 481 to a NOTIFY says nothing about the call (RFC 5057 §5)
        peer.within(dialog, "BYE", cseq=101)
        await hung_up(phone, peer, call.transferred_to)

    World().run_with_peer(story, accept_transfers=True)


# -- policy ---------------------------------------------------------------------------------------------------------------


async def refused(phone: Phone, peer: RawPeer, status: int, to: str = TARGET, **options: Any) -> None:
    """The peer's REFER gets `status`, and nobody is called."""
    call, dialog = await answered_by_peer(phone, peer)
    calls = peer.count("INVITE")
    refer(peer, dialog, to, **options)
    await peer.response(status, "REFER", timeout=40)
    await soon()
    assert peer.count("INVITE") == calls and peer.count("NOTIFY") == 0
    assert call.state == "answered" and call.transferred_to is None
    await hung_up(phone, peer, call)


def test_by_default_nobody_transfers_us_and_refer_is_not_announced() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        await refused(phone, peer, 405)
        invite = next(message for message in peer.seen if isinstance(message, Request) and message.method == "INVITE")
        assert "REFER" not in invite.allow and "NOTIFY" in invite.allow

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("<mailto:a@b>", 416),
        ("<http://example.com/>", 416),
        ("<sip:x@10.0.0.9;method=BYE>", 403),
        ("<sip:x@10.0.0.9;method=MESSAGE>", 403),
        ("nonsense", 400),
        ("<sip:x@10.0.0.9?Replaces=abc>", 400),
        ("<sip:x@10.0.0.9?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc&Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", 400),
        ("<sip:x@10.0.0.9?Subject=a%0D%0AEvil%3A%201>", 400),
        ("<sip:x@10.0.0.9?" + "&".join(f"h{n}=1" for n in range(40)) + ">", 400),
    ],
)
def test_a_refer_to_what_cannot_or_may_not_be_called_is_refused(to: str, status: int) -> None:
    World().run_with_peer(lambda phone, peer: refused(phone, peer, status, to), accept_transfers=True)


def test_a_refer_without_or_with_two_refer_to_is_malformed() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, dialog = await answered_by_peer(phone, peer)
        peer.within(dialog, "REFER", cseq=100)
        await peer.response(400, "REFER")
        refer(peer, dialog, TARGET, cseq=101, headers=(("Refer-To", TARGET),))
        await peer.response(400, "REFER")
        peer.within(dialog, "BYE", cseq=102)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, accept_transfers=True)


def test_a_refer_to_replace_the_very_call_it_comes_in_is_refused() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, dialog = await answered_by_peer(phone, peer)
        for cseq, (to_tag, from_tag) in enumerate((("peer", dialog.from_.tag), (dialog.from_.tag, "peer")), 100):
            value = f"{dialog.call_id}%3Bto-tag%3D{to_tag}%3Bfrom-tag%3D{from_tag}"
            refer(peer, dialog, f"<sip:x@10.0.0.9?Replaces={value}>", cseq=cseq)
            await peer.response(400, "REFER")
        peer.within(dialog, "BYE", cseq=105)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, accept_transfers=True)


def test_the_program_decides_about_each_transfer() -> None:
    asked: list[TransferRequest] = []

    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_refer
        async def decide(request: TransferRequest) -> bool:
            asked.append(request)
            await asyncio.sleep(0.1)
            return False

        await refused(phone, peer, 603)
        assert asked[0].target == "sip:target@10.0.0.9" and asked[0].call is not None and not asked[0].attended
        assert str(asked[0].referred_by.uri) == "sip:peer@10.0.0.9" and asked[0].source == "10.0.0.9"

    World().run_with_peer(story)


@pytest.mark.parametrize("fault", ["raises", "hangs"])
def test_a_decision_that_fails_or_takes_too_long_is_a_no(fault: str) -> None:
    async def decide(request: TransferRequest) -> bool:
        if fault == "raises":
            raise RuntimeError("no idea")
        await asyncio.sleep(3600)
        return True

    World().run_with_peer(lambda phone, peer: refused(phone, peer, 603), accept_transfers=decide)


def test_the_functions_of_a_call_come_before_those_of_the_phone_and_may_bring_a_call_of_their_own() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        own: list[Call] = []

        @call.on_transfer
        def decide(request: TransferRequest) -> Call:
            own.append(phone.call("sip:operator@10.0.0.9", subject="transferred"))
            return own[0]

        refer(peer, dialog, TARGET)
        await peer.response(202, "REFER")
        invite = await peer.request("INVITE")
        assert str(invite.uri) == "sip:operator@10.0.0.9" and invite.headers.get("Subject") == "transferred"
        assert invite.headers.get("Referred-By") == "<sip:peer@10.0.0.9>"
        peer.answer(invite, 200, sdp(7100), tag="t")
        await soon()
        assert call.transferred_to is own[0] and own[0].state == "answered"
        peer.within(dialog, "BYE", cseq=101)
        for message in list(peer.seen):
            if isinstance(message, Request) and message.method == "NOTIFY":
                peer.answer(message, 200)
        await told(peer)
        await hung_up(phone, peer, own[0])

    World().run_with_peer(story)


def test_a_refer_from_another_address_is_refused_whatever_it_knows() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        thief = await RawPeer.open(phone._network.network, "10.0.0.66")
        thief.within(dialog, "REFER", cseq=100, headers=(("Refer-To", "<sip:premium@10.0.0.66>"),))
        await thief.response(403, "REFER")
        assert thief.count("INVITE") == 0 and call.state == "answered"
        thief.close()
        await hung_up(phone, peer, call)

    World().run_with_peer(story, accept_transfers=True)


def test_a_second_refer_meanwhile_waits() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        await told(peer)
        refer(peer, dialog, "<sip:another@10.0.0.9>", cseq=101)
        await peer.response(491, "REFER")
        peer.answer(await peer.request("INVITE"), 486, tag="t")
        await told(peer)
        await hung_up(phone, peer, call)

    World().run_with_peer(story, accept_transfers=True)


def test_transfers_in_a_circle_come_to_an_end() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        for number in range(5):
            refer(peer, dialog, f"<sip:next{number}@10.0.0.9>")
            invite = await peer.request("INVITE")
            peer.answer(await peer.request("NOTIFY"), 481)
            peer.answer(invite, 200, sdp(7100 + 2 * number))
            await soon()
            peer.within(dialog, "BYE", cseq=101)
            await peer.response(200, "BYE")
            call, dialog = call.transferred_to, invite
        refer(peer, dialog, "<sip:next6@10.0.0.9>")
        await peer.response(482, "REFER")
        await hung_up(phone, peer, call)

    World().run_with_peer(story, accept_transfers=True)


def test_the_number_of_lines_bounds_transfers_too() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        await peer.response(202, "REFER")
        await told(peer)
        assert (await told(peer)).body.startswith(b"SIP/2.0 503")
        assert peer.count("INVITE") == 1
        await hung_up(phone, peer, call)

    World().run_with_peer(story, accept_transfers=True, max_calls=1)


# -- no subscription, and refreshing one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(("Refer-Sub", "false"),), (("Require", "nosub"),)], ids=["RFC 4488", "RFC 7614"])
def test_who_asks_for_no_subscription_gets_none(headers: tuple[tuple[str, str], ...]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET, headers=headers)
        accepted = await peer.response(202, "REFER")
        assert accepted.headers.get("Refer-Sub") == ("false" if headers[0][0] == "Refer-Sub" else None)
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(7100), tag="t")
        peer.within(dialog, "BYE", cseq=101)
        await peer.response(200, "BYE")
        await soon()
        assert peer.count("NOTIFY") == 0
        await hung_up(phone, peer, call.transferred_to)

    World().run_with_peer(story, accept_transfers=True)


def test_a_subscriber_may_ask_for_more_time_or_for_no_more_news() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.core.extra_methods |= {"SUBSCRIBE"}
        _, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET)
        await told(peer)
        invite = await peer.request("INVITE")
        peer.within(dialog, "SUBSCRIBE", cseq=101, headers=(("Event", "refer"), ("Expires", "0")))
        await peer.response(200, "SUBSCRIBE")
        assert (await told(peer)).headers.get("Subscription-State") == "terminated;reason=timeout"
        peer.answer(invite, 486, tag="t")
        peer.within(dialog, "SUBSCRIBE", cseq=102, headers=(("Event", "presence"),))
        await peer.response(403, "SUBSCRIBE")
        await soon()
        assert peer.count("NOTIFY") == 2
        peer.within(dialog, "BYE", cseq=103)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, accept_transfers=True)


def test_an_explicit_subscription_is_not_offered_and_so_it_cannot_be_required() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        _, dialog = await answered_by_peer(phone, peer)
        refer(peer, dialog, TARGET, headers=(("Require", "explicitsub"),))
        assert (await peer.response(420, "REFER")).headers.get("Unsupported") == "explicitsub"
        peer.within(dialog, "BYE", cseq=101)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, accept_transfers=True)


# -- from outside of calls ---------------------------------------------------------------------------------------------------


def test_click_to_dial_needs_the_program_to_allow_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        peer.ask("REFER", headers=(("Refer-To", TARGET),), call_id="click-1")
        await peer.response(603, "REFER")
        made: list[Call] = []

        @phone.on_refer
        def decide(request: TransferRequest) -> Call | bool:
            assert request.call is None
            made.append(phone.call(request.target))
            return made[0]

        peer.ask("REFER", headers=(("Refer-To", TARGET),), call_id="click-2", from_tag="clicker")
        accepted = await peer.response(202, "REFER")
        assert accepted.to.tag
        first = await told(peer)
        assert first.call_id == "click-2" and first.to.tag == "clicker" and first.from_.tag == accepted.to.tag
        assert str(first.uri) == "sip:peer@10.0.0.9:5060"
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(7100), tag="t")
        last = await told(peer)
        assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
        await soon()
        assert made[0].state == "answered"
        await hung_up(phone, peer, made[0])

    World().run_with_peer(story, accept_transfers=True)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        Phone(accept_transfers="yes")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        Phone(accept_replaces="yes")
