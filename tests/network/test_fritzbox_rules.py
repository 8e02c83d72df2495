"""What phones must know about a FRITZ!Box, rule by rule, against a box with the habits of real ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flexosip import Call, Phone, Reach, Tone
from flexosip.errors import AuthenticationError, Declined, FlexosipError, NoAnswer, ServerUnreachable, Unavailable
from flexosip.phone.profiles.server_rules import ServerRules
from flexosip.sip.message import Request
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import SipUri
from flexosip.testing import FakeFritzBox, Handset, RawPeer, Stage
from tests import corpus

BOX, BELL = "192.168.178.1", "192.168.178.20"


class House:
    """A box, a phone of it, and nothing else."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.network.name("fritz.box", BOX)

    @contextlib.asynccontextmanager
    async def box(self, *ips: str, **settings: Any) -> AsyncIterator[FakeFritzBox]:
        """The box at `ips`."""
        settings = {"users": {"bell": "secret"}, "handsets": [Handset("610", answers=1.0), Handset("611")], **settings}
        async with await FakeFritzBox.open(self.stage.host("box", *(ips or (BOX,))), **settings) as box:
            yield box

    def phone(self, user: str = "bell", password: str = "secret", *, ip: str = BELL, **settings: Any) -> Phone:
        """A phone made by the profile."""
        host = self.stage.host(user, ip)
        listen = f"[{ip}]:5060" if ":" in ip else f"{ip}:5060"
        return Phone.fritzbox(user, password, clock=self.stage.clock, network=host, listen=listen, **settings)

    def play(self, story: Any) -> None:
        self.stage.play(story)


@pytest.fixture
def house() -> House:
    return House()


def sizes(box: FakeFritzBox, method: str) -> list[int]:
    return [item.size for item in box.received if isinstance(item.message, Request) and item.message.method == method]


# -- registering ------------------------------------------------------------------------------------------------------


def test_the_request_uri_of_a_register_has_no_user_part(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone():
            assert [str(request.uri) for request in box.requests("REGISTER")] == ["sip:fritz.box", "sip:fritz.box"]
            assert "bell" in box.devices

    house.play(story())


def test_a_register_with_a_user_part_gets_no_answer_at_all(house: House) -> None:
    async def story() -> None:
        async with house.box(users={"IPVoip123": "secret"}) as box:
            peer = await RawPeer.open(house.stage.host("peer", BELL))
            try:
                data = corpus.path("devices/fritzbox-register-with-user-in-ruri.sip").read_bytes().replace(b"192.0.2.20", BELL.encode())
                peer.send(data, (BOX, 5060))
                await peer.expect_nothing(5)
                assert [why for _, why in box.dropped] == ["a user part in the Request-URI"]
            finally:
                peer.close()

    house.play(story())


def test_nothing_but_an_invite_is_acknowledged(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            phone.accounts[0].registration.refresh()  # type: ignore[union-attr]
            await asyncio.sleep(1)
            with pytest.raises(NoAnswer):
                await phone.call("**611", ring_timeout=2)
            await phone.unregister()
            invites = {(request.via.branch, request.call_id) for request in box.requests("INVITE")}
            acknowledged = {(request.via.branch, request.call_id) for request in box.requests("ACK")}
            assert acknowledged == invites
            assert box.stray == 0

    house.play(story())


def test_who_acknowledges_registers_is_told_481_and_then_locked_out_for_a_while(house: House) -> None:
    """The box itself: what a phone must never get into."""

    async def story() -> None:
        async with house.box() as box:
            peer = await RawPeer.open(house.stage.host("peer", BELL))
            try:
                peer.remote = (BOX, 5060)
                for number in range(3):
                    options = {"call_id": f"r{number}", "uri": "sip:fritz.box"}
                    peer.ask("REGISTER", **options, branch=f"z9hG4bKr{number}", cseq=1)
                    peer.ask("ACK", **options, branch=f"z9hG4bKa{number}", cseq=1)
                    if number < 2:
                        await peer.expect(481)
                await asyncio.sleep(1)
                assert box.locked_out(BELL)
                peer.ask("OPTIONS", call_id="o", uri="sip:fritz.box")
                await asyncio.sleep(1)
                assert peer.count(200) == 0
                await asyncio.sleep(300)
                peer.ask("OPTIONS", call_id="p", uri="sip:fritz.box")
                await peer.expect(200)
            finally:
                peer.close()

    house.play(story())


def test_the_credentials_come_with_the_same_call_id_and_a_higher_cseq(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone(expires=60):
            await asyncio.sleep(200)
            registers = box.requests("REGISTER")
            assert len(registers) >= 4
            assert len({request.call_id for request in registers}) == 1
            numbers = [request.cseq.number for request in registers]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    house.play(story())


def test_a_challenge_without_qop_and_algorithm_is_answered_as_rfc_2069_has_it(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone():
            credentials = box.credentials(box.requests("REGISTER")[-1])
            assert credentials is not None
            assert not {"qop", "nc", "cnonce"} & set(credentials)

    house.play(story())


def test_the_challenge_of_a_real_box_is_understood() -> None:
    response: Any = parse_message(corpus.path("devices/fritzos-401-invite.sip").read_bytes())
    assert response.status == 401
    value = response.headers.get("WWW-Authenticate")
    assert 'realm="fritz.box"' in value
    assert "qop" not in value


def test_a_wrong_user_gets_no_answer_and_the_error_says_that_there_was_none(house: House) -> None:
    async def story() -> None:
        async with house.box() as box:
            phone = house.phone("belll")
            with pytest.raises(ServerUnreachable, match=r"fritz\.box.* gave no answer"):
                await phone.start(timeout=10)
            assert {why for _, why in box.dropped} == {"a user that it does not know"}

    house.play(story())


def test_a_wrong_password_is_tried_once_and_told_as_what_it_is(house: House) -> None:
    async def story() -> None:
        async with house.box() as box:
            with pytest.raises(AuthenticationError):
                await house.phone(password="wrong").start()
            assert len(box.requests("REGISTER")) == 2
            assert box.stray == 0

    house.play(story())


def test_the_register_is_minimal(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone():
            for request in box.requests("REGISTER"):
                contact = request.headers.get("Contact") or ""
                assert not any(word in contact for word in ("+sip", "reg-id", ";ob", "gruu"))
                assert "outbound" not in request.headers.get_all("Supported")
            assert max(sizes(box, "REGISTER")) < 700
            assert not box.dropped

    house.play(story())


def test_a_box_that_wants_a_minimal_register_is_silent_towards_outbound(house: House) -> None:
    async def story() -> None:
        async with house.box() as box:
            with pytest.raises(ServerUnreachable):
                await house.phone(reach=Reach(outbound=True)).start(timeout=8)
            assert {why for _, why in box.dropped} == {"no minimal REGISTER"}

    house.play(story())


def test_a_box_listens_to_its_own_house_only(house: House) -> None:
    async def story() -> None:
        async with house.box() as box:
            with pytest.raises(ServerUnreachable):
                await house.phone(ip="203.0.113.20").start(timeout=5)
            assert {why for _, why in box.dropped} == {"not from the house"}

    house.play(story())


def test_in_the_house_nobody_is_asked_for_a_public_address_and_nothing_is_kept_open(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            before = len(box.received)
            await asyncio.sleep(120)
            assert len(box.received) == before
            async with phone.call("**610"):
                invite = box.requests("INVITE")[-1]
                assert f"c=IN IP4 {BELL}".encode() in invite.body
                assert b"a=candidate" not in invite.body
                assert phone.reach.stun_server is None

    house.play(story())


# -- calling ----------------------------------------------------------------------------------------------------------


def test_an_invite_stays_below_1300_octets_with_credentials_and_all_that_can_be_asked_for(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone(display_name="Front door of the house", user_agent="doorbell 1.0") as phone:
            options: Any = {"subject": "Somebody is at the front door", "auto_answer": True, "alert": "doorbell"}
            async with phone.call("**610", **options):
                assert max(sizes(box, "INVITE")) < 1300
                assert not box.dropped

    house.play(story())


def test_few_codecs_are_offered_and_telephone_event_is_among_them(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone, phone.call("**610"):
            line = next(line for line in box.requests("INVITE")[-1].body.split(b"\r\n") if line.startswith(b"m=audio"))
            assert set(line.split()[3:]) <= {b"9", b"8", b"0", b"101"}
            assert {b"8", b"101"} <= set(line.split()[3:])

    house.play(story())


def test_an_invite_that_is_too_large_is_lost_and_not_sent_by_tcp_which_the_box_refuses(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            with pytest.raises(FlexosipError):
                await phone.call("**610", headers={"X-Long": "x" * 900}, ring_timeout=40)
            assert box.dropped
            assert all(why.endswith("its fragments are dropped") for _, why in box.dropped)
            assert {message.transport for message in house.stage.messages} == {"udp"}

    house.play(story())


def test_star_star_nine_rings_all_phones_and_star_star_610_one(house: House) -> None:
    async def story() -> None:
        async with house.box(handsets=[Handset("610", answers=1), Handset("611")]) as box, house.phone() as phone:
            async with phone.call("**610"):
                assert [handset.rang for handset in box.handsets.values()] == [True, False]
            async with phone.call("**9"):
                assert [len(handset.calls) for handset in box.handsets.values()] == [2, 1]
            assert [request.uri.user for request in box.requests("INVITE") if isinstance(request.uri, SipUri)][-1] == "**9"
            assert phone.accounts[0].server_rules.everybody == "**9"

    house.play(story())


def test_plain_digits_are_no_phone_of_the_house_183_and_then_480(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            with pytest.raises(Unavailable) as refused:
                await phone.call("610")
            assert refused.value.status == 480
            assert "(**620)" in refused.value.explain()
            assert not box.handsets["610"].rang

    house.play(story())


def test_the_star_is_never_escaped_and_the_hash_is_unless_told_otherwise(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            for raw in (False, True):
                phone.accounts[0].server_rules = ServerRules(raw_hash=raw)
                with pytest.raises(FlexosipError):
                    await phone.call("*31#**611", ring_timeout=1)
            lines = [request.start_line for request in box.requests("INVITE")]
            assert {line.split()[1] for line in lines} == {"sip:*31%23**611@fritz.box", "sip:*31#**611@fritz.box"}

    house.play(story())


def test_who_wants_to_be_anonymous_dials_star_31_hash(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            with pytest.raises(FlexosipError):
                await phone.call("**611", anonymous=True, ring_timeout=1)
            invite = box.requests("INVITE")[-1]
            assert invite.start_line.split()[1] == "sip:*31%23**611@fritz.box"
            assert str(invite.from_.uri) == "sip:bell@fritz.box"

    house.play(story())


def test_telephone_event_is_sent_by_the_number_of_the_box_and_its_sound_port_is_found(house: House) -> None:
    async def story() -> None:
        async with house.box(answer_changes=False) as box, house.phone() as phone, phone.call("**610") as call:
            (theirs,) = box.calls
            assert theirs.sound is not None
            assert theirs.sound_port == 7078
            await call.send_digits("5#")
            await asyncio.sleep(0.2)
            packets = theirs.sound.receive()
            assert packets
            assert {packet.payload[0] for packet in packets if packet.payload_type == 100} == {5, 11}
            assert not [packet for packet in packets if packet.payload_type == 101]

    house.play(story())


def test_static_types_without_rtpmap_are_understood(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone, phone.call("**610") as call:
            assert call.codec == "PCMA"
            assert "rtpmap:8" not in box.description(box.calls[0])

    house.play(story())


def test_the_description_of_the_200_counts_where_the_183_had_another(house: House) -> None:
    async def story() -> None:
        async with house.box(answer_changes=True) as box, house.phone() as phone, phone.call("**610") as call:
            (theirs,) = box.calls
            assert theirs.sound is not None
            assert theirs.sound_port == 7080
            playing = call.play(Tone(1000))
            await asyncio.sleep(0.5)
            assert len(theirs.sound.receive()) > 10
            playing.stop()

    house.play(story())


def test_a_session_timer_of_600_seconds_is_kept_alive_by_whom_the_answer_names(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone(media_timeout=None) as phone, phone.call("**610") as call:
            for _ in range(10):
                await asyncio.sleep(50)
                assert call.end is None
            refreshes = [request for request in box.received if getattr(request.message, "method", "") in ("UPDATE", "INVITE")]
            assert [item for item in refreshes if item.at > 200]

    house.play(story())


def test_the_stale_200_of_the_call_before_does_not_answer_the_next(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            async with phone.call("**610") as first:
                pass
            call = await phone.dial("**611")
            await call.wait_ringing()
            await asyncio.sleep(5)
            assert call.answered_at is None and call.end is None
            await call.hangup()
            assert first.end is not None
            # What is acknowledged once more is the call that it belongs to, or nothing; never a new one.
            assert box.stray == 0
            assert {request.call_id for request in box.requests("BYE")} == {box.calls[0].invite.call_id}

    house.play(story())


def test_a_phone_that_declines_is_told_as_such(house: House) -> None:
    async def story() -> None:
        async with house.box(handsets=[Handset("610", declines=1.0)]), house.phone() as phone:
            with pytest.raises(Declined):
                await phone.call("**610")

    house.play(story())


# -- being called -----------------------------------------------------------------------------------------------------


def test_a_call_with_an_opaque_contact_session_timer_and_the_called_number_is_taken_and_ended(house: House) -> None:
    seen: list[Call] = []

    async def story() -> None:
        async with house.box() as box, house.phone() as phone:

            @phone.on_call
            async def answer(call: Call) -> None:
                seen.append(call)
                await call.answer()
                await call.wait_ended()

            theirs = await box.call("bell", caller="040855992611", called="070419491403")
            assert theirs.remote_sound is not None
            await asyncio.sleep(1)
            assert (await theirs.bye()).status == 200
            await asyncio.sleep(1)
            (call,) = seen
            assert call.headers.get("P-Called-Party-ID") == "<sip:070419491403@fritz.box>"
            assert call.end is not None and call.end.by == "remote"

    house.play(story())


@pytest.mark.parametrize("formats", ["8 0 100", "0 8 100", "9 8 0 2 102 100"])
def test_keys_come_by_rfc_4733_under_the_number_of_the_box(house: House, formats: str) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            pressed: asyncio.Queue[str] = asyncio.Queue()

            @phone.on_call
            async def answer(call: Call) -> None:
                await call.answer()
                async for digit in call.digits():
                    pressed.put_nowait(digit)

            theirs = await box.call("bell", formats=formats)
            assert theirs.takes_events
            await box.press(theirs, "42#")
            await asyncio.sleep(0.5)
            assert [pressed.get_nowait() for _ in range(3)] == ["4", "2", "#"]
            assert pressed.empty()
            await theirs.bye()

    house.play(story())


def test_keys_come_by_info_where_telephone_event_is_not_in_the_answer(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:
            pressed: list[str] = []

            @phone.on_call
            async def answer(call: Call) -> None:
                await call.answer()
                async for digit in call.digits():
                    pressed.append(digit)

            theirs = await box.call("bell")
            theirs.takes_events = False
            await box.press(theirs, "5*")
            await asyncio.sleep(0.5)
            assert pressed == ["5", "*"]
            await theirs.bye()

    house.play(story())


def test_a_profile_may_say_that_keys_go_by_info_though_telephone_event_was_agreed(house: House) -> None:
    async def story() -> None:
        rules = ServerRules(digits="info")
        async with house.box() as box, house.phone(server_rules=rules) as phone, phone.call("**610") as call:
            await call.send_digits("7")
            assert [request.body for request in box.calls[0].requests if request.method == "INFO"] == [b"Signal=7\r\nDuration=100\r\n"]
            await call.send_digits("8", via="rfc4733")
            assert len(box.requests("INFO")) == 1

    house.play(story())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n"),
        ("application/dtmf-relay", "Signal= 5\r\n"),
        ("application/dtmf", "5"),
        ("application/dtmf", "d=5\r\n"),
    ],
)
def test_all_bodies_of_info_that_boxes_and_phones_send_are_keys(house: House, content_type: str, body: str) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone, phone.call("**610") as call:
            assert (await box.calls[0].ask("INFO", body, content_type)).status == 200
            async with asyncio.timeout(1):
                assert await anext(call.digits()) == "5"

    house.play(story())


def test_a_handset_that_has_g726_only_gets_488(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone() as phone:

            @phone.on_call
            async def answer(call: Call) -> None:
                await call.answer()

            with pytest.raises(AssertionError, match="488"):
                await box.call("bell", formats="2")

    house.play(story())


# -- IPv6 -------------------------------------------------------------------------------------------------------------


def test_received_in_brackets_and_a_box_found_by_its_unique_local_address(house: House) -> None:
    async def story() -> None:
        box_ip, bell_ip = "fd00::1", "fd00::20"
        house.stage.network.name("fritz.box", box_ip)
        async with house.box(box_ip) as box, house.phone(ip=bell_ip) as phone:
            answers = house.stage.messages
            assert any(b"received=[fd00::20]" in message.data for message in answers)

            @phone.on_call
            async def answer(call: Call) -> None:
                await call.answer()
                await call.wait_ended()

            async with phone.call("**610"):
                assert b"c=IN IP6 fd00::20" in box.requests("INVITE")[-1].body
            theirs = await box.call("bell")
            assert "@fd00::1" in theirs.invite.call_id
            await theirs.bye()

    house.play(story())


# -- the life of a bell at a box --------------------------------------------------------------------------------------


def test_a_box_that_was_restarted_knows_the_phone_again_within_its_registration(house: House) -> None:
    async def story() -> None:
        async with house.box() as box, house.phone():
            box.devices.clear()
            box._challenges.clear()
            await asyncio.sleep(301)
            assert "bell" in box.devices

    house.play(story())


def test_a_phone_that_leaves_is_unregistered(house: House) -> None:
    async def story() -> None:
        async with house.box() as box:
            async with house.phone():
                assert "bell" in box.devices
            assert not box.devices
            assert box.stray == 0

    house.play(story())
