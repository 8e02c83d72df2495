"""The event publication agent (RFC 3903 §4)."""

from __future__ import annotations

import random

import pytest

from flexosip.sip.digest import DigestClient
from flexosip.sip.event_headers import Event
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.publication import Publication, PublicationChange
from flexosip.sip.uri import SipUri
from tests.sip_agent import Agent


class Publishing(Agent):
    """An agent that has published `<open/>`; its PUBLISH is in `sent`."""

    def __init__(self, auth: DigestClient | None = None) -> None:
        super().__init__()
        self.changes: list[PublicationChange] = []
        self.done = 0
        self.publication = Publication(
            self.core,
            target=SipUri.parse("sip:us@example.com"),
            next_hop=SipUri.parse("sip:192.0.2.2"),
            event=Event("presence"),
            from_=NameAddr.parse("<sip:us@example.com>"),
            auth=auth,
            on_change=self.changes.append,
        )
        self.publication.publish(b"<open/>", "application/pidf+xml")
        self.sent = self.wire.take_request("PUBLISH")

    def ok(self, etag: str | None = "tag1", *, expires: int = 3600, to: Request | None = None) -> None:
        headers = [("Expires", str(expires))]
        if etag is not None:
            headers.append(("SIP-ETag", etag))
        self.reply(to or self.sent, 200, headers=tuple(headers))

    def remove(self) -> None:
        self.publication.remove(self._on_done)

    def _on_done(self) -> None:
        self.done += 1

    def next_publish(self, within: float) -> Request:
        scheduler = self.wire.scheduler
        end = scheduler.now + within
        while (due := scheduler.next_timeout()) is not None and due <= end:
            scheduler.handle_timeout(due)
            sent = self.wire.take()
            if sent:
                assert isinstance(sent[0], Request) and sent[0].method == "PUBLISH"
                return sent[0]
        raise AssertionError("no PUBLISH")


def test_the_first_publish_has_a_body_and_names_no_entity_tag() -> None:
    agent = Publishing()
    headers = agent.sent.headers
    assert (headers.get("Event"), headers.get("Expires"), "SIP-If-Match" in headers) == ("presence", "3600", False)
    assert agent.sent.body == b"<open/>" and str(agent.sent.uri) == "sip:us@example.com"
    assert agent.sent.contact is None
    agent.ok()
    assert agent.publication.state == "published" and agent.publication.etag == "tag1"


def test_a_refresh_names_the_entity_tag_and_has_no_body() -> None:
    agent = Publishing()
    agent.ok(expires=600)
    refresh = agent.next_publish(540)
    assert refresh.headers.get("SIP-If-Match") == "tag1" and not refresh.body and "Content-Type" not in refresh.headers
    agent.ok("tag2", to=refresh, expires=600)
    assert agent.next_publish(540).headers.get("SIP-If-Match") == "tag2"


def test_a_change_names_the_entity_tag_and_has_a_body() -> None:
    agent = Publishing()
    agent.ok()
    agent.publication.publish(b"<closed/>", "application/pidf+xml")
    change = agent.wire.take_request("PUBLISH")
    assert (change.headers.get("SIP-If-Match"), change.body) == ("tag1", b"<closed/>")


def test_changes_wait_for_the_answer_and_the_latest_counts() -> None:
    agent = Publishing()
    agent.publication.publish(b"2", "text/plain")
    agent.publication.publish(b"3", "text/plain")
    assert agent.wire.take() == []
    agent.ok()
    change = agent.wire.take_request("PUBLISH")
    assert (change.headers.get("SIP-If-Match"), change.body) == ("tag1", b"3")
    agent.ok("tag2", to=change)
    assert agent.wire.take() == []


def test_412_is_followed_by_a_first_publish_with_everything() -> None:
    agent = Publishing()
    agent.ok(expires=600)
    agent.reply(agent.next_publish(540), 412)
    again = agent.wire.take_request("PUBLISH")
    assert "SIP-If-Match" not in again.headers and again.body == b"<open/>"
    agent.ok("tag9", to=again)
    assert agent.publication.etag == "tag9"


def test_412_to_a_first_publish_is_a_failure_like_others() -> None:
    agent = Publishing()
    agent.reply(agent.sent, 412)
    assert agent.wire.take() == [] and agent.publication.state == "waiting"


def test_423_is_followed_by_a_publish_with_the_least_time_that_is_wanted() -> None:
    agent = Publishing()
    agent.reply(agent.sent, 423, headers=(("Min-Expires", "7200"),))
    again = agent.wire.take_request("PUBLISH")
    assert again.headers.get("Expires") == "7200" and again.body == b"<open/>"


def test_removing_says_expires_0_and_the_entity_tag_without_a_body() -> None:
    agent = Publishing()
    agent.ok()
    agent.remove()
    removal = agent.wire.take_request("PUBLISH")
    assert (removal.headers.get("Expires"), removal.headers.get("SIP-If-Match"), removal.body) == ("0", "tag1", b"")
    assert agent.done == 0
    agent.remove()
    agent.reply(removal, 200)
    assert agent.done == 2 and agent.publication.state == "idle"
    agent.wire.advance(40)
    assert agent.wire.scheduler.pending == 0


def test_removing_what_is_not_published_yet_waits_for_the_answer() -> None:
    agent = Publishing()
    agent.remove()
    assert agent.wire.take() == []
    agent.ok()
    removal = agent.wire.take_request("PUBLISH")
    assert removal.headers.get("Expires") == "0"
    agent.reply(removal, 412)
    assert agent.done == 1


def test_publishing_while_it_is_being_removed_publishes_anew() -> None:
    agent = Publishing()
    agent.ok()
    agent.remove()
    removal = agent.wire.take_request("PUBLISH")
    agent.publication.publish(b"again", "text/plain")
    agent.reply(removal, 200)
    again = agent.wire.take_request("PUBLISH")
    assert again.body == b"again" and "SIP-If-Match" not in again.headers
    agent.ok(to=again)
    assert agent.publication.state == "published"


@pytest.mark.parametrize("status", [403, 404, 405, 415, 489])
def test_what_trying_again_does_not_change_is_not_tried_again(status: int) -> None:
    agent = Publishing()
    agent.reply(agent.sent, status)
    assert agent.publication.state == "refused" and agent.changes[-1].status == status
    agent.wire.advance(4000)
    assert agent.wire.take() == []


def test_other_failures_are_tried_again_with_growing_waits_and_everything() -> None:
    agent = Publishing()
    agent.ok(expires=600)
    sent = agent.next_publish(540)
    waits = []
    for _ in range(6):
        agent.reply(sent, 500)
        waits.append(agent.changes[-1].retry_in or 0.0)
        sent = agent.next_publish(400)
        assert sent.body == b"<open/>" and "SIP-If-Match" not in sent.headers
    assert 2.5 <= waits[0] <= 5 and waits[-1] >= 80
    agent.reply(sent, 503, headers=(("Retry-After", "500"),))
    assert (agent.changes[-1].retry_in or 0.0) >= 500


def test_nobody_answers_is_told_as_our_own_finding() -> None:
    agent = Publishing()
    agent.wire.advance(33)
    assert agent.changes[-1].status == 408 and not agent.changes[-1].answered


def test_a_challenge_is_answered_with_the_next_cseq() -> None:
    agent = Publishing(DigestClient("us", "secret", random=random.Random(1)))
    agent.reply(agent.sent, 401, headers=(("WWW-Authenticate", 'Digest realm="x", nonce="1"'),))
    again = agent.wire.take_request("PUBLISH")
    assert again.headers.get("Authorization") and again.cseq.number == agent.sent.cseq.number + 1
    agent.ok(to=again, expires=600)
    assert agent.next_publish(540).cseq.number == again.cseq.number + 1


def test_a_server_without_usable_entity_tags_is_told_everything_each_time() -> None:
    for etag in (None, "two words", ""):
        agent = Publishing()
        agent.ok(etag, expires=600)
        refresh = agent.next_publish(540)
        assert refresh.body == b"<open/>" and "SIP-If-Match" not in refresh.headers


def test_dropping_it_is_silent_at_any_time() -> None:
    agent = Publishing()
    agent.publication.drop()
    agent.ok()
    agent.wire.advance(100)
    assert agent.wire.take() == [] and agent.changes == []
