"""The body of message-summary (RFC 3842 §5.2)."""

from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message_summary import MessageCount, MessageSummary


def test_a_summary_tells_whether_messages_wait_where_and_how_many() -> None:
    summary = MessageSummary.parse(
        b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n"
    )
    assert summary == MessageSummary(True, "sip:alice@vmail.example.com", (("voice", MessageCount(2, 8, 0, 2)),))
    assert (summary.voice_new, summary.voice_old, summary.urgent) == (2, 8, 0)
    assert MessageSummary.parse(bytes(summary)) == summary


def test_counts_of_other_classes_and_without_urgent_ones_are_read() -> None:
    summary = MessageSummary.parse(b"messages-waiting : YES\nVoice-Message: 4/8\nFax-Message:1 / 0 ( 1 / 0 )\nX-Strange-Message: what\n")
    assert summary.waiting and summary.account is None
    assert summary.count("fax") == MessageCount(1, 0, 1, 0)
    assert summary.voice_new == 4
    assert summary.count("text") == MessageCount(0, 0)


def test_headers_of_single_messages_behind_the_summary_are_passed_over() -> None:
    body = b"Messages-Waiting: no\r\nVoice-Message: 0/1\r\n\r\nTo: <alice@atlanta.example.com>\r\nVoice-Message: 9/9\r\n"
    assert MessageSummary.parse(body) == MessageSummary(False, None, (("voice", MessageCount(0, 1)),))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Voice-Message: 1/0\r\n",
        b"Messages-Waiting: maybe\r\n",
        b"Messages-Waiting: yes\r\nVoice-Message: 1\r\n",
        b"Messages-Waiting: yes\r\nVoice-Message: -1/0\r\n",
        b"Messages-Waiting: yes\r\nVoice-Message: 99999999999999/0\r\n",
        b"Messages-Waiting: yes\r\n" + b"x" * 20000,
    ],
)
def test_a_malformed_summary_is_refused(body: bytes) -> None:
    with pytest.raises(SipParseError):
        MessageSummary.parse(body)


def test_a_summary_that_we_write_cannot_hold_a_line_break() -> None:
    with pytest.raises(ValueError):
        MessageSummary(True, "sip:a@b\r\nVoice-Message: 9/9")
    with pytest.raises(ValueError):
        MessageSummary(True, None, (("smoke", MessageCount(1, 0)),))
    with pytest.raises(ValueError):
        MessageSummary(True, None, (("voice", MessageCount(-1, 0)),))
