"""Calls that do not show who makes them (RFC 3323, RFC 3325 §7)."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import Busy, ConfigurationError, IdentityPolicy, Phone
from flexosip.sip.message import Request
from tests.network.stage import PEER, RawPeer, World, settle

MINE = f"sip:me@{PEER}"


def invite(target: str = "4711", *, aor: str | None = MINE, account: Any = None, **options: Any) -> Request:
    """The INVITE of such a call, as its server sees it."""
    seen: list[Request] = []

    async def story(phone: Phone, peer: RawPeer) -> None:
        if account is not None:
            phone.add_account(MINE, register=False, **account)
        call = await phone.dial(target, **options)
        request = await peer.request("INVITE")
        seen.append(request)
        peer.answer(request, 486)
        with pytest.raises(Busy):
            await call.wait_answered(5)
        await settle(phone)

    settings = {"aor": aor, "register": False, "display_name": "Bell"} if account is None and aor is not None else {}
    World().run_with_peer(story, **settings)
    return seen[0]


def told(request: Request) -> dict[str, str]:
    """What the request says of its caller."""
    names = ("Privacy", "P-Preferred-Identity", "P-Asserted-Identity", "Remote-Party-ID", "Diversion")
    return {name: value for name in names if (value := request.headers.get(name)) is not None}


def test_an_anonymous_call_has_the_from_of_the_rfc_and_asks_the_network_to_keep_the_secret() -> None:
    request = invite(anonymous=True)
    assert request.headers.get("From", ).startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=')  # type: ignore[union-attr]
    assert told(request) == {"Privacy": "id"}
    assert b"me@" not in bytes(request) and b"Bell" not in bytes(request)


def test_a_phone_without_account_can_be_anonymous_too() -> None:
    request = invite(f"sip:x@{PEER}", aor=None, anonymous=True)
    assert str(request.from_.uri) == "sip:anonymous@anonymous.invalid" and told(request) == {"Privacy": "id"}


def test_other_calls_say_who_makes_them() -> None:
    request = invite()
    assert str(request.from_.without_parameters()) == f'"Bell" <sip:me@{PEER}>' and told(request) == {}


@pytest.mark.parametrize(
    ("policy", "header"),
    [
        ("from", {}),
        ("diversion", {}),
        ("ppi", {"P-Preferred-Identity": f"<sip:me@{PEER}>"}),
        ("pai", {"P-Asserted-Identity": f"<sip:me@{PEER}>"}),
        ("rpid", {"Remote-Party-ID": f"<sip:me@{PEER}>;party=calling;screen=no;privacy=full"}),
    ],
)
def test_the_own_server_is_told_who_it_is_where_its_policy_wants_that(policy: str, header: dict[str, str]) -> None:
    request = invite(account={"identity_policy": policy}, anonymous=True)
    assert told(request) == {"Privacy": "id", **header}
    assert str(request.from_.uri) == "sip:anonymous@anonymous.invalid"


def test_nobody_but_the_own_server_is_told() -> None:
    """A call past the server, directly to somebody else's phone."""
    seen: list[Request] = []

    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.add_account("sip:me@10.0.0.8", register=False, identity_policy="ppi", caller_id="+4930")
        call = await phone.dial(f"sip:x@{PEER}", anonymous=True)
        seen.append(await peer.request("INVITE"))
        peer.answer(seen[0], 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)
    assert told(seen[0]) == {"Privacy": "id"} and b"+4930" not in bytes(seen[0])


def test_a_server_that_knows_its_users_by_the_from_gets_it_with_the_wish_for_privacy() -> None:
    request = invite(account={"identity_policy": IdentityPolicy("ppi", anonymous="header"), "caller_id": "+4930"}, anonymous=True)
    assert str(request.from_.uri) == MINE
    assert told(request) == {"Privacy": "id", "P-Preferred-Identity": f"<sip:+4930@{PEER}>"}


def test_or_a_code_is_dialled_in_front_of_the_number() -> None:
    request = invite(account={"identity_policy": IdentityPolicy(anonymous="prefix")}, anonymous=True)
    assert str(request.uri) == f"sip:*31%234711@{PEER}" == str(request.to.uri)
    assert told(request) == {} and str(request.from_.uri) == MINE
    shown = invite(account={"identity_policy": IdentityPolicy(anonymous="prefix")})
    assert str(shown.uri) == f"sip:4711@{PEER}"


@pytest.mark.parametrize(
    ("policy", "followed"),
    [(IdentityPolicy("ppi"), True), (IdentityPolicy("rpid"), True), (IdentityPolicy(anonymous="header"), False),
     (IdentityPolicy(anonymous="prefix"), False)],
)  # fmt: skip
def test_a_redirection_past_the_own_server_tells_nobody_who_calls(policy: IdentityPolicy, followed: bool) -> None:
    world = World()

    async def story(phone: Phone, server: RawPeer) -> None:
        stranger = await RawPeer.open(world.network, "10.0.0.66")
        phone.add_account(MINE, register=False, identity_policy=policy)
        call = await phone.dial("4711", anonymous=True)
        moved = (await server.request("INVITE")).create_response(302, to_tag="s", headers=[("Contact", "<sip:x@10.0.0.66>")])
        server.send(bytes(moved))
        if followed:
            request = await stranger.request("INVITE")
            assert told(request) == {"Privacy": "id"} and b"sip:me@" not in bytes(request)
            stranger.answer(request, 486)
        end = await call.wait_ended()
        assert end.status == (486 if followed else 302)
        assert bool(stranger.seen) is followed
        await settle(phone)
        stranger.close()

    world.run_with_peer(story)


@pytest.mark.parametrize("words", [{"number": "clip"}, {"anonymous": "yes"}, {"prefix": "*31#\r\n"}])
def test_a_policy_has_known_words(words: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="identity_policy"):
        IdentityPolicy(**words)
    with pytest.raises(ConfigurationError):
        IdentityPolicy.of("clip")
