"""RFC 3261 §8.1.3.4, §19.1.5 and §21.3: following a redirection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Phone
from flexosip.errors import Busy, CallFailed, Declined, Unavailable
from flexosip.phone.events import Redirected
from flexosip.sip.message import Request
from tests.network.stage import RawPeer, World, sdp, settle

MINE = "sip:peer@10.0.0.9"


def contact(*values: str) -> tuple[tuple[str, str], ...]:
    return (("Contact", ", ".join(values)),)


async def outcome(phone: Phone, **options: Any) -> Any:
    """The call to the peer, answered, or the error."""
    try:
        return await phone.call(MINE, **options)
    except CallFailed as error:
        return error


async def redirect(peer: RawPeer, values: tuple[str, ...], status: int = 302) -> Request:
    """Send the caller elsewhere; its INVITE."""
    invite = await peer.request("INVITE")
    peer.answer(invite, status, headers=contact(*values))
    await peer.request("ACK")
    return invite


def run(values: tuple[str, ...], story: Any, status: int = 302, **settings: Any) -> None:
    """A phone calls the peer, who redirects it; then comes `story(phone, peer, first INVITE, task of the call)`."""

    async def main(phone: Phone, peer: RawPeer) -> None:
        task = asyncio.create_task(outcome(phone))
        first = await redirect(peer, values, status)
        await story(phone, peer, first, task)
        await settle(phone)

    World().run_with_peer(main, **settings)


async def take(peer: RawPeer, task: Any) -> Any:
    """Answer the next INVITE; it and the call."""
    invite = await peer.request("INVITE")
    peer.answer(invite, 200, sdp())
    await peer.request("ACK")
    return invite, await task


@pytest.mark.parametrize("status", [300, 301, 302])
def test_the_call_goes_on_to_the_contact_with_the_same_call_id_from_and_to_and_the_next_cseq(status: int) -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        second, call = await take(peer, task)
        assert str(second.uri) == "sip:other@10.0.0.9:5060"
        assert (second.call_id, second.from_.tag, str(second.to)) == (first.call_id, first.from_.tag, str(first.to))
        assert second.cseq.number == first.cseq.number + 1 and second.via.branch != first.via.branch
        assert second.body == first.body and second.to.tag is None and "Route" not in second.headers
        events = [event async for event in _events_so_far(call)]
        told = [event for event in events if isinstance(event, Redirected)]
        assert [(event.target, event.status) for event in told] == [("sip:other@10.0.0.9:5060", status)]
        await call.hangup()

    run(("<sip:other@10.0.0.9:5060>",), story, status)


async def _events_so_far(call: Any) -> Any:
    session = call._session
    for index in range(session.event_count):
        yield session.event(index)


def test_contacts_are_tried_by_their_q_and_the_next_when_one_refuses() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        for user, status in (("best", 486), ("middle", 404)):
            invite = await peer.request("INVITE")
            assert invite.uri.user == user
            peer.answer(invite, status)
            await peer.request("ACK")
        last, call = await take(peer, task)
        assert last.uri.user == "last"
        await call.hangup()

    run(("<sip:last@10.0.0.9>;q=0.1", "<sip:middle@10.0.0.9>;q=0.5", "<sip:best@10.0.0.9>;q=0.9"), story)


def test_when_all_refuse_the_last_refusal_is_the_outcome() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        for status in (404, 486):
            peer.answer(await peer.request("INVITE"), status)
        assert isinstance(await task, Busy)

    run(("<sip:a@10.0.0.9>", "<sip:b@10.0.0.9>"), story)


def test_a_6xx_ends_the_search() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        peer.answer(await peer.request("INVITE"), 603)
        assert isinstance(await task, Declined)
        assert peer.count("INVITE") == 2

    run(("<sip:a@10.0.0.9>", "<sip:b@10.0.0.9>"), story)


def test_a_target_is_never_called_twice() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        await redirect(peer, (f"<{MINE}>", "<sip:A@10.0.0.9>", "<sip:a@10.0.0.9>"))
        invite = await peer.request("INVITE")
        assert invite.uri.user == "A"
        peer.answer(invite, 302, headers=contact("<sip:a@10.0.0.9>", f"<{MINE}>"))
        error = await task
        assert error.status == 302 and peer.count("INVITE") == 3

    run(("<sip:a@10.0.0.9>", f"<{MINE}>"), story)


def test_after_five_redirections_the_call_has_failed() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        for number in range(100):
            try:
                invite = await peer.request("INVITE", 1)
            except AssertionError:
                break
            peer.answer(invite, 302, headers=contact(f"<sip:x{number}@10.0.0.9>"))
        error = await task
        assert error.status == 302 and peer.count("INVITE") == 6

    run(("<sip:x@10.0.0.9>",), story)


def test_headers_and_a_method_in_the_contact_do_not_get_into_our_request() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        second, call = await take(peer, task)
        assert str(second.uri) == "sip:other@10.0.0.9" and second.method == "INVITE"
        assert "Subject" not in second.headers and "X-Evil" not in second.headers
        await call.hangup()

    run(("<sip:other@10.0.0.9;method=BYE?Subject=x&X-Evil=1>",), story)


def test_380_is_a_failure() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        assert (await task).status == 380 and peer.count("INVITE") == 1

    run(("<sip:other@10.0.0.9>",), story, 380)


@pytest.mark.parametrize("value", ["<mailto:someone@example.com>", "<tel:+4930123>"])
def test_an_address_that_cannot_be_called_is_passed_over(value: str) -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        assert (await task).status == 302 and peer.count("INVITE") == 1

    run((value,), story)


def test_a_redirection_without_contact_is_a_failure() -> None:
    async def main(phone: Phone, peer: RawPeer) -> None:
        task = asyncio.create_task(outcome(phone))
        peer.answer(await peer.request("INVITE"), 302)
        assert (await task).status == 302
        await settle(phone)

    World().run_with_peer(main)


def test_305_takes_the_same_address_through_the_proxy() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        second, call = await take(peer, task)
        assert str(second.uri) == MINE and second.headers.get("Route") == "<sip:10.0.0.9:5060;lr>"
        await call.hangup()

    run(("<sip:10.0.0.9:5060>",), story, 305)


@pytest.mark.parametrize(
    ("status", "value"), [(302, "<sip:evil@10.0.0.66>"), (305, "<sip:10.0.0.66>"), (305, "<sip:10.0.0.9;maddr=10.0.0.66>")]
)
def test_credentials_do_not_follow_to_a_strangers_host(status: int, value: str) -> None:
    world = World()

    async def main(phone: Phone, server: RawPeer) -> None:
        stranger = await RawPeer.open(world.network, "10.0.0.66")
        task = asyncio.create_task(_called(phone, "4711"))
        invite = await server.request("INVITE")
        challenge = (("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'),)
        server.answer(invite, 401, headers=challenge)
        invite = await server.request("INVITE")
        assert "Authorization" in invite.headers
        server.answer(invite, status, headers=contact(value))
        foreign = await stranger.request("INVITE")
        assert "Authorization" not in foreign.headers and "Proxy-Authorization" not in foreign.headers
        assert "P-Preferred-Identity" not in foreign.headers
        stranger.answer(foreign, 401, headers=challenge)
        await task
        assert stranger.count("INVITE") == 1
        await settle(phone)
        stranger.close()

    world.run_with_peer(main, aor="sip:me@10.0.0.9", password="SECRET", register=False)


async def _called(phone: Phone, target: str) -> Any:
    try:
        return await phone.call(target)
    except Exception as error:
        return error


def test_a_call_that_is_given_up_is_not_followed() -> None:
    async def main(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        peer.answer(invite, 180)
        await call.wait_ringing(1)
        hanging_up = asyncio.create_task(call.hangup())
        await peer.request("CANCEL")
        peer.answer(invite, 302, headers=contact("<sip:other@10.0.0.9>"))
        await hanging_up
        assert peer.count("INVITE") == 1 and call.end is not None and call.end.by == "local"
        await settle(phone)

    World().run_with_peer(main)


def test_a_redirected_call_can_be_cancelled_where_it_rings() -> None:
    async def story(phone: Phone, peer: RawPeer, first: Request, task: Any) -> None:
        invite = await peer.request("INVITE")
        peer.answer(invite, 180)
        await asyncio.sleep(0.1)
        task.cancel()
        cancel = await peer.request("CANCEL")
        assert cancel.via.branch == invite.via.branch and str(cancel.uri) == "sip:other@10.0.0.9"
        peer.answer(cancel, 200)
        peer.answer(invite, 487)

    run(("<sip:other@10.0.0.9>",), story)


def test_a_redirection_to_an_address_that_does_not_answer_leads_to_the_next() -> None:
    async def main(phone: Phone, peer: RawPeer) -> None:
        task = asyncio.create_task(outcome(phone))
        await redirect(peer, ("<sip:gone@10.0.0.77>", "<sip:here@10.0.0.9>;q=0.5"))
        invite = await peer.request("INVITE", 40)
        assert invite.uri.user == "here"
        peer.answer(invite, 480)
        assert isinstance(await task, Unavailable)
        await settle(phone)

    World().run_with_peer(main)


def test_sound_heard_before_the_redirection_is_not_taken_for_the_answer() -> None:
    async def main(phone: Phone, peer: RawPeer) -> None:
        task = asyncio.create_task(outcome(phone))
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), tag="same")
        peer.answer(invite, 302, headers=contact("<sip:other@10.0.0.9>"))
        second = await peer.request("INVITE")
        # A 200 without a description must not be answered by what the first phone said.
        peer.answer(second, 200, tag="same")
        await peer.request("BYE")
        assert (await task).status == 488
        await settle(phone)

    World().run_with_peer(main)
