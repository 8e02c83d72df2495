"""RFC 3891 §3: which dialog a Replaces means, and what is answered when it means none."""

from __future__ import annotations

import pytest

from flexosip.sip.dialog import DialogId
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request
from flexosip.sip.refer_subscription import DialogReferrals
from flexosip.sip.replaces import Replaces, ReplacesRefused, find_replaced
from flexosip.sip.uri import SipUri
from tests.sip_agent import Agent


def status_of(replaces: Replaces, agent: Agent, ended: tuple[DialogId, ...] = ()) -> int:
    with pytest.raises(ReplacesRefused) as caught:
        find_replaced(replaces, agent.core.dialogs, ended)
    return caught.value.status


@pytest.mark.parametrize("direction", ["outgoing", "incoming"])
def test_the_to_tag_is_ours_and_the_from_tag_the_peers(direction: str) -> None:
    agent = Agent()
    usage = agent.answered_call() if direction == "outgoing" else agent.answered()
    dialog = usage.dialog
    assert dialog is not None
    assert find_replaced(Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag), agent.core.dialogs) is usage
    assert status_of(Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag), agent) == 481
    # And the peer is given the other view, which it looks up in the same way.
    assert Replaces.for_peer(dialog) == Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag)


def test_an_answered_call_is_not_replaced_early_only() -> None:
    agent = Agent()
    dialog = agent.answered_call().dialog
    assert dialog is not None
    assert status_of(Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag, early_only=True), agent) == 486


@pytest.mark.parametrize("early_only", [False, True])
def test_an_early_dialog_that_we_made_can_be_replaced(early_only: bool) -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, tag="fork")
    assert find_replaced(Replaces("c1", "ours", "fork", early_only), agent.core.dialogs) is usage
    assert status_of(Replaces("c1", "ours", "other"), agent) == 481


def test_an_early_dialog_that_the_peer_made_cannot() -> None:
    agent = Agent()
    usage = agent.called()
    usage.provisional(180)
    dialog = usage.dialog
    assert dialog is not None
    assert status_of(Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag), agent) == 481


def test_a_call_that_has_ended_is_declined_while_its_bye_is_on_the_way_and_as_long_as_it_is_remembered() -> None:
    agent = Agent()
    usage = agent.answered_call()
    dialog = usage.dialog
    assert dialog is not None
    wanted = Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag)
    usage.hangup()
    assert status_of(wanted, agent) == 603
    agent.reply(agent.wire.take_request("BYE"), 200)
    assert status_of(wanted, agent) == 481
    assert status_of(wanted, agent, (dialog.id,)) == 603


def test_a_dialog_that_no_invite_made_is_not_matched() -> None:
    agent = Agent()
    dialog = agent.answered_call().dialog
    assert dialog is not None
    agent.core.dialogs[dialog.id] = DialogReferrals(agent.core, dialog)
    assert status_of(Replaces(dialog.call_id, dialog.local_tag, dialog.remote_tag), agent) == 481


def test_a_tag_of_0_matches_a_peer_without_tag() -> None:
    agent = Agent()
    usage = agent.answered(from_tag=None)
    dialog = usage.dialog
    assert dialog is not None and dialog.remote_tag == ""
    assert find_replaced(Replaces(dialog.call_id, dialog.local_tag, "0"), agent.core.dialogs) is usage


@pytest.mark.parametrize(
    "headers",
    [
        (("Replaces", "a;to-tag=1;from-tag=2"), ("Replaces", "b;to-tag=1;from-tag=2")),
        (("Replaces", "a;to-tag=1;from-tag=2"), ("Join", "a;to-tag=1;from-tag=2")),
        (("Replaces", "a;to-tag=1"),),
        (("Replaces", "a;from-tag=1"),),
        (("Replaces", "a;to-tag=1;to-tag=2;from-tag=3"),),
        (("Replaces", "to-tag=1;from-tag=3"),),
        (("Replaces", ";to-tag=1;from-tag=3"),),
        (("Replaces", "a;to-tag;from-tag=3"),),
        (("Replaces", ""),),
    ],
)
def test_what_is_malformed_or_contradicts_itself_is_400(headers: tuple[tuple[str, str], ...]) -> None:
    request = Request("INVITE", SipUri.parse("sip:a@b"), headers)
    with pytest.raises(SipParseError) as caught:
        Replaces.of(request)
    assert caught.value.status_hint == 400


def test_an_invite_without_replaces_means_nobody() -> None:
    assert Replaces.of(Request("INVITE", SipUri.parse("sip:a@b"))) is None
