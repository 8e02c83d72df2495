"""Who calls and who is called, seen by two phones, and by one phone that a raw peer lies to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Call, CallEnded, ConfigurationError, Phone
from flexosip.phone.events import IdentityChanged
from flexosip.sip.identity import number_of
from tests.network.stage import PEER, RawPeer, World, sdp, settle

TALKS: Any = (("P-Asserted-Identity", '"Bank" <sip:+4911@bank.example>'), ("Remote-Party-ID", "<sip:+4922@x.example>;screen=yes"))


async def called(phone: Phone, peer: RawPeer, **options: Any) -> Call:
    """The call that the peer made."""
    calls = phone.incoming_calls()
    waiting = asyncio.ensure_future(anext(calls))
    await asyncio.sleep(0.05)
    peer.ask("INVITE", sdp(), **options)
    call = await waiting
    await calls.aclose()  # type: ignore[attr-defined]
    return call


@pytest.mark.parametrize(("trusted", "number"), [((), "peer"), (PEER, "+4911"), (("10.0.0.0/24",), "+4911"), (("10.1.0.0/16",), "peer")])
def test_the_word_of_a_stranger_is_a_claim_and_that_of_a_trusted_peer_an_assertion(trusted: Any, number: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await called(phone, peer, headers=TALKS)
        identity = call.identity
        assert identity is not None and identity.number == number and identity.trusted is (number != "peer")
        assert (identity.asserted is None) is (number == "peer")
        assert identity.claimed is not None and number_of(identity.claimed.uri) == "peer"
        assert {claim.source for claim in identity.claims} == {"From", "P-Asserted-Identity", "Remote-Party-ID"}
        assert call.identity is identity
        await call.reject(486)
        await settle(phone)

    World().run_with_peer(story, trusted_peers=trusted)


def test_the_server_of_the_account_is_believed_and_others_are_not() -> None:
    world = World()

    async def story(phone: Phone, peer: RawPeer) -> None:
        # Calling out makes the server known, as registering would.
        out = await phone.dial("4711")
        peer.answer(await peer.request("INVITE"), 486)
        await out.wait_ended()
        contact = f"sip:{phone.accounts[0].contact_user}@10.0.0.1"
        headers = (*TALKS, ("P-Called-Party-ID", "<sip:620@x>"))
        call = await called(phone, peer, uri=contact, headers=headers)
        assert call.identity is not None and call.identity.number == "+4911" and call.identity.called == "620"
        await call.reject(486)
        stranger = await RawPeer.open(world.network, "10.0.0.77")
        call = await called(phone, stranger, uri=contact, call_id="x", headers=headers)
        assert call.identity is not None and call.identity.number == "peer" and call.identity.called == "flexosip"
        await call.reject(486)
        await settle(phone)
        stranger.close()

    world.run_with_peer(story, aor=f"sip:me@{PEER}", register=False)


def test_who_has_answered_is_known_and_told_once() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = phone.call("sip:9@10.0.0.9")
        assert call.identity is None
        call = await phone.dial("sip:9@10.0.0.9")
        assert call.identity is not None and (call.identity.number, call.identity.source) == ("9", "To")
        invite = await peer.request("INVITE")
        hall = (("P-Asserted-Identity", '"Hall" <sip:12@pbx.example>'),)
        peer.answer(invite, 180, headers=hall)
        await call.wait_ringing(5)
        assert call.identity.number == "12" and call.identity.display_name == "Hall"
        peer.answer(invite, 200, sdp(), headers=hall)
        await call.wait_answered(5)
        ack = await peer.request("ACK")
        peer.within(ack, "INVITE", sdp(version=2), headers=(("Remote-Party-ID", "<sip:13@pbx.example>;party=called;screen=yes"),))
        await peer.response(200, "INVITE")
        peer.within(ack, "ACK")
        assert call.identity.number == "13"
        changes = []
        await call.hangup()
        async for event in call.events():
            if isinstance(event, IdentityChanged):
                changes.append(event.identity.number)
        assert changes == ["12", "13"]
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story, trusted_peers=PEER)


def test_the_name_of_a_fork_that_only_rang_is_not_that_of_who_has_answered() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:9@10.0.0.9")
        invite = await peer.request("INVITE")
        peer.answer(invite, 180, tag="hall", headers=(("P-Asserted-Identity", '"Hall" <sip:12@pbx.example>'),))
        await call.wait_ringing(5)
        assert call.identity is not None and call.identity.number == "12"
        peer.answer(invite, 180, tag="hall")
        peer.answer(invite, 200, sdp(), tag="attic")
        await call.wait_answered(5)
        assert call.identity.number == "9" and call.identity.asserted is None
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story, trusted_peers=PEER)


def test_a_changed_from_within_the_call_is_another_person_and_stands_in_our_to() -> None:
    """RFC 4916 §4.4; a stranger's word is a claim there too."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:9@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered(5)
        ack = await peer.request("ACK")
        data = peer.within(ack, "INVITE", sdp(version=2), headers=TALKS)
        data = data.replace(b"From: <sip:peer@10.0.0.9>", b'From: "Eve" <sip:eve@10.0.0.9>')
        await peer.response(200, "INVITE")
        peer.within(ack, "ACK")
        assert call.identity is not None and call.identity.number == "peer"
        data = data.replace(b"CSeq: 100", b"CSeq: 101").replace(b"branch=z9hG4bKraw", b"branch=z9hG4bKagain")
        peer.send(data)
        await peer.response(200, "INVITE")
        peer.send(data.replace(b"INVITE", b"ACK").split(b"Content-Type")[0].replace(b"\r\n\r\n", b"\r\n") + b"Content-Length: 0\r\n\r\n")
        assert call.identity.number == "eve" and call.identity.display_name == "Eve" and call.identity.asserted is None
        await call.hangup()
        bye = await peer.request("BYE")
        assert str(bye.to.uri) == "sip:eve@10.0.0.9" and bye.to.tag == "peer"
        peer.answer(bye, 200)
        await settle(phone)

    World().run_with_peer(story)


# -- reasons, headers and data both ways ------------------------------------------------------------------------------


def test_a_refusal_tells_phrase_cause_and_when_to_come_again() -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        @callee.on_call
        async def refuse(call: Call) -> None:
            await call.reject(480, "At lunch", cause=19, retry_after=12.2, headers={"X-Until": "13:00"}, uui=b"\x04no")

        call = await caller.dial(target)
        end = await call.wait_ended()
        assert (end.status, end.q850_cause, end.q850) == (480, 19, 19)
        headers = call.response_headers
        assert headers is not None and headers.get("Retry-After") == "13" and headers.get("X-Until") == "13:00"
        assert [value.content for value in call.user_to_user] == [b"\x04no"]

    World().run(story)


def test_headers_and_data_travel_both_ways() -> None:
    seen: dict[str, Any] = {}

    async def story(caller: Phone, callee: Phone, target: str) -> None:
        @callee.on_call
        async def take(call: Call) -> None:
            seen["invite"] = call.headers.get("X-Door") if call.headers is not None else None
            seen["uui"] = [value.text for value in call.user_to_user]
            await call.ring(headers={"X-Bell": "1"})
            await call.answer(headers={"X-Room": "7"}, uui="Grüße")
            await call.wait_ended()
            seen["end"] = [value.text for value in call.user_to_user]
            seen["q850"] = (call.end.q850_cause, call.end.reason) if call.end is not None else None

        call = await caller.call(target, headers={"X-Door": "front"}, uui="ref 4711")
        assert call.response_headers is not None and call.response_headers.get("X-Room") == "7"
        assert [value.text for value in call.user_to_user] == ["Grüße"]
        await call.hangup(cause=16, text="Bye now", headers={"X-Why": "done"}, uui=b"end")
        await asyncio.sleep(0.2)
        await settle(caller, callee)
        assert seen == {"invite": "front", "uui": ["ref 4711"], "end": ["ref 4711", "end"], "q850": (16, "Bye now")}

    World().run(story)


@pytest.mark.parametrize("name", ["Via", "v", "CSeq", "call-id", "Contact", "m", "Require", "Session-Expires", "x", "Content-Type", "RSeq"])
def test_headers_of_the_machines_are_refused_by_name(name: str) -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        with pytest.raises(ConfigurationError, match="written by the library"):
            caller.call(target, headers={name: "1"})

    World().run(story)


@pytest.mark.parametrize("bad", [{"X-A": "a\r\nVia: x"}, {"X A": "1"}, {"": "1"}])
def test_headers_that_could_forge_others_are_refused_in_every_verb(bad: dict[str, str]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await called(phone, peer)
        for verb in (call.ring, call.progress, call.answer, call.reject, call.hangup):
            with pytest.raises(ConfigurationError):
                await verb(headers=bad)  # type: ignore[operator]
        with pytest.raises(ConfigurationError):
            await call.reject(486, "Bu\r\nsy")
        with pytest.raises(ConfigurationError):
            await call.hangup(cause=16, text="a\nb")
        with pytest.raises(ConfigurationError):
            await call.hangup(text="no cause")
        with pytest.raises(ConfigurationError):
            await call.hangup(cause=200)
        with pytest.raises(ConfigurationError):
            await call.reject(uui=b"")
        with pytest.raises(ConfigurationError):
            await call.reject(uui=b"1" * 129)
        with pytest.raises(ConfigurationError):
            await call.reject(retry_after=-1)
        assert call.end is None and peer.count(486) == 0
        await call.hangup(cause=17)
        refusal = await peer.response(486)
        assert refusal.headers.get("Reason") == 'Q.850;cause=17;text="User busy"'
        peer.within(refusal, "ACK", cseq=1)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("target", "contacts"),
    [
        ("sip:2@x.example", ["<sip:2@x.example>"]),
        (["sip:2@x.example", "sip:3@x.example"], ["<sip:2@x.example>;q=1", "<sip:3@x.example>;q=0.9"]),
        ([("sip:2@x.example", 0.25), ("sip:3@x.example", 1)], ["<sip:2@x.example>;q=0.25", "<sip:3@x.example>;q=1"]),
        (("sip:2@x.example", 0.5), ["<sip:2@x.example>;q=0.5"]),
        (("sip:2@x.example", "sip:3@x.example"), ["<sip:2@x.example>;q=1", "<sip:3@x.example>;q=0.9"]),
    ],
)
def test_a_redirection_names_its_targets_in_order(target: Any, contacts: list[str]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await called(phone, peer)
        await call.redirect(target, headers={"X-Why": "moved"})
        moved = await peer.response(302)
        assert moved.headers.get_all("Contact") == contacts and moved.headers.get("X-Why") == "moved"
        peer.within(moved, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story)


def test_a_redirection_needs_targets_and_a_status_of_its_own() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await called(phone, peer)
        for target, options in (([], {}), ([("sip:2@x.example", 2)], {}), ("sip:2@x.example", {"status": 305}), ("2", {})):
            with pytest.raises(ConfigurationError):
                await call.redirect(target, **options)  # type: ignore[arg-type]
        assert call.end is None
        await call.redirect("sip:2@x.example", status=301)
        moved = await peer.response(301)
        peer.within(moved, "ACK", cseq=1)
        with pytest.raises(CallEnded):
            await call.redirect("sip:2@x.example")

    World().run_with_peer(story)


def test_the_one_who_is_cancelled_learns_that_it_was_answered_elsewhere() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await called(phone, peer)
        invite = "z9hG4bKraw1"
        peer.ask("CANCEL", branch=invite, cseq=1, headers=(("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),))
        end = await call.wait_ended()
        assert end.answered_elsewhere and str(end) == "answered elsewhere" and end.by == "remote"
        terminated = await peer.response(487)
        peer.within(terminated, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story)
