"""RFC 3515, the recipient of a REFER: Refer-To, the NOTIFYs and their order, refreshing the subscription; RFC 3420 for their body."""

from __future__ import annotations

import pytest

from flexosip.errors import RemoteProtocolError
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.refer import ReferTo, create_sipfrag, parse_sipfrag, refer_to_value
from flexosip.sip.replaces import Replaces
from flexosip.sip.uri import SipUri, TelUri
from tests.corpus import Entry, parameters
from tests.referring import Referring


def referred(agent: Referring) -> Request:
    """The peer refers us; the first NOTIFY, sent at once with 100."""
    agent.of_peer("REFER", headers=(("Refer-To", "<sip:t@192.0.2.9>"),))
    agent.wire.take_response(202)
    agent.notifiers[-1].notify(100)
    return agent.wire.take_request("NOTIFY")


def test_the_first_notify_tells_100_and_how_long_the_subscription_lasts() -> None:
    agent = Referring("incoming")
    notify = referred(agent)
    assert notify.headers.get("Event") == "refer"
    assert notify.headers.get("Subscription-State") == "active;expires=180"
    assert notify.content_type == "message/sipfrag" and notify.body == b"SIP/2.0 100 Trying\r\n"
    assert notify.contact is not None


def test_one_notify_at_a_time_and_only_the_latest_waits() -> None:
    agent = Referring("incoming")
    first = referred(agent)
    for status in (180, 183, 181):
        agent.notifiers[0].notify(status)
    assert agent.wire.lines() == []
    agent.reply(first, 200)
    second = agent.wire.take_request("NOTIFY")
    assert second.body.startswith(b"SIP/2.0 181") and second.cseq.number == first.cseq.number + 1
    agent.notifiers[0].finish(200)
    agent.notifiers[0].notify(180)
    agent.reply(second, 200)
    last = agent.wire.take_request("NOTIFY")
    assert last.body == b"SIP/2.0 200 OK\r\n" and last.headers.get("Subscription-State") == "terminated;reason=noresource"
    agent.reply(last, 200)
    assert not agent.referrals.active


def test_the_second_refer_of_a_dialog_has_its_cseq_as_id() -> None:
    agent = Referring("incoming")
    agent.reply(referred(agent), 200)
    second = referred(agent)
    assert second.headers.get("Event") == f"refer;id={agent.peer_cseq}"


@pytest.mark.parametrize("status", [481, 489, 408])
def test_a_refused_notify_ends_the_subscription_but_not_the_call(status: int) -> None:
    agent = Referring("incoming")
    first = referred(agent)
    agent.notifiers[0].notify(180)
    agent.reply(first, status)
    assert agent.wire.lines() == [] and not agent.referrals.active and not agent.usage.ended


def test_a_subscription_that_nobody_refreshes_ends_with_the_last_that_is_known() -> None:
    agent = Referring("incoming")
    agent.reply(referred(agent), 200)
    agent.notifiers[0].notify(180)
    agent.reply(agent.wire.take_request("NOTIFY"), 200)
    agent.wire.advance(180)
    last = agent.wire.take_request("NOTIFY")
    assert last.body.startswith(b"SIP/2.0 180") and last.headers.get("Subscription-State") == "terminated;reason=timeout"


def test_subscribe_refreshes_and_ends_the_subscription() -> None:
    agent = Referring("incoming")
    agent.reply(referred(agent), 200)
    agent.wire.advance(100)
    agent.of_peer("SUBSCRIBE", headers=(("Event", "refer"), ("Expires", "60")))
    answer, notify = agent.wire.take()
    assert isinstance(answer, Response) and isinstance(notify, Request)
    assert (answer.status, answer.expires) == (200, 60) and answer.contact is not None
    assert notify.headers.get("Subscription-State") == "active;expires=60"
    agent.reply(notify, 200)
    agent.of_peer("SUBSCRIBE", headers=(("Event", "refer"), ("Expires", "0")))
    answer, notify = agent.wire.take()
    assert isinstance(notify, Request)
    assert notify.headers.get("Subscription-State") == "terminated;reason=timeout"
    agent.reply(notify, 200)
    agent.of_peer("SUBSCRIBE", headers=(("Event", "refer"),))
    assert agent.wire.take_response().status == 481
    agent.of_peer("SUBSCRIBE", headers=(("Event", "presence"),))
    assert agent.wire.take_response().status == 489


def test_the_referred_call_is_told_of_after_the_bye_too() -> None:
    agent = Referring("incoming")
    agent.reply(referred(agent), 200)
    agent.of_peer("BYE")
    agent.wire.take_response(200)
    agent.notifiers[0].finish(486)
    last = agent.wire.take_request("NOTIFY")
    assert last.body == b"SIP/2.0 486 Busy Here\r\n"
    agent.reply(last, 200)
    agent.settled()


# -- Refer-To ---------------------------------------------------------------------------------------------------------------


def test_refer_to_with_replaces_and_the_few_headers_that_are_allowed() -> None:
    value = ReferTo.parse(
        '"Attic" <sip:attic@house.example;transport=tcp;method=INVITE?Replaces=12%40x%3Bto-tag%3Da%3Bfrom-tag%3Db'
        "&Require=replaces&Subject=hi%20there&Route=%3Csip%3Aevil%3E&body=v%3D0>"
    )
    assert value.uri == SipUri.parse("sip:attic@house.example;transport=tcp") and value.display_name == "Attic"
    assert value.replaces == Replaces("12@x", "a", "b")
    assert value.invite_headers == (("Replaces", "12@x;to-tag=a;from-tag=b"), ("Require", "replaces"), ("Subject", "hi there"))
    assert value.ignored == ("route", "body")


def test_without_angle_brackets_the_parameters_are_meant_for_the_uri() -> None:
    refer_to = ReferTo.parse("sip:attic@house;transport=tls")
    assert isinstance(refer_to.uri, SipUri) and refer_to.uri.transport == "tls"


def test_what_is_written_is_read_back() -> None:
    replaces = Replaces("a%b@[::1]:5060", "x+y", "0", early_only=True)
    text = refer_to_value(SipUri.parse("sip:+4930@h;user=phone"), replaces)
    assert ";" not in text.partition("?")[2]
    read = ReferTo.parse(text)
    assert (read.replaces, str(read.uri), read.ignored) == (replaces, "sip:+4930@h;user=phone", ())


def test_a_telephone_number_can_be_referred_to() -> None:
    assert isinstance(ReferTo.parse("<tel:+4930123>").uri, TelUri)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("<mailto:a@b>", 416),
        ("<sip:a@b;method=BYE>", 403),
        ("<sip:a@b?Replaces=x>", 400),
        ("<sip:a@b?Replaces=x%3Bto-tag%3Da%3Bto-tag%3Db%3Bfrom-tag%3Dc>", 400),
        ("<sip:a@b?Join=x%3Bto-tag%3Da%3Bfrom-tag%3Dc>", 400),
        ("<sip:a@b?Subject=%00>", 400),
        ("<sip:a@b?" + "&".join(["a=1"] * 17) + ">", 400),
        ("a b", 400),
        ("", 400),
    ],
)
def test_refer_to_that_cannot_be_done(value: str, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ReferTo.parse(value)
    assert caught.value.status_hint == status


# -- message/sipfrag (RFC 3420) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"SIP/2.0 200 OK", (200, "OK")),
        (b"SIP/2.0 200 OK\r\n", (200, "OK")),
        (b"\r\nSIP/2.0 180 Ringing\n", (180, "Ringing")),
        (b"SIP/2.0 486\r\nContact: <sip:a@b>\r\n", (486, "")),
        (b"SIP/2.0 100 Trying \r\nVia: x\r\n\r\nbody", (100, "Trying")),
        (b"SIP/2.0 603 \xc3\xbc\x1b[31m\xff", (603, "\u00fc [31m\ufffd")),
        (b"SIP/2.0 200 " + b"x" * 10000, (200, "x" * 200)),
        (b"SIP/2.0 700 No", None),
        (b"SIP/2.0 20 No", None),
        (b"SIP/1.0 200 OK", None),
        (b"200 OK", None),
        (b"", None),
    ],
)
def test_the_status_line_of_a_sipfrag(body: bytes, told: tuple[int, str] | None) -> None:
    assert parse_sipfrag(body) == told


def test_a_sipfrag_of_ours_is_the_status_line_alone() -> None:
    assert create_sipfrag(180) == b"SIP/2.0 180 Ringing\r\n"
    assert create_sipfrag(486, "Busy\r\nEvil: 1") == b"SIP/2.0 486 Busy  Evil: 1\r\n"


@pytest.mark.parametrize("entry", parameters("sip", "rfc-flows/rfc3515"))
def test_the_messages_of_the_call_flows_are_understood(entry: Entry) -> None:
    message = parse_message(entry.data)
    if isinstance(message, Request) and message.method == "REFER":
        # The RFC leaves the target open: "(whatever URI)".
        with pytest.raises(RemoteProtocolError):
            ReferTo.of(message)
        message.headers.set("Refer-To", "<sip:whatever@example.com>")
        assert isinstance(ReferTo.of(message).uri, SipUri)
    elif isinstance(message, Request) and message.method == "NOTIFY":
        told = parse_sipfrag(message.body)
        assert told is not None and told[0] in (100, 200)
