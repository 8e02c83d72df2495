"""RFC 4475 and RFC 5118: the messages of the RFCs themselves, each with the verdict of the corpus index."""

from __future__ import annotations

import pytest

from flexosip.sip.message import Request, Response
from flexosip.sip.parser import SipParseError, check_message, parse_message
from tests.corpus import Entry, entries, parameters

STATUS = {
    "badaspec": 400,
    "baddate": 400,
    "baddn": 400,
    "badinv01": 400,
    "badvers": 505,
    "clerr": 400,
    "escruri": 400,
    "insuf": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "mcl01": 400,
    "mismatch01": 400,
    "mismatch02": 501,
    "multi01": 400,
    "ncl": 400,
    "novelsc": 416,
    "quotbal": 400,
    "regbadct": 400,
    "scalar02": 400,
    "trws": 400,
    "unkscm": 416,
    "ipv6-bad": 400,
}
"""Status of the answer to each invalid request."""
DROPPED = {"bigcode", "scalarlg"}
"""Invalid responses: they have no answer."""
TOLERATED = {"badbranch", "inv2543", "unksm2", "ipv6-bug-abnf-3-colons", "port-ambiguous"}
"""Files with the verdict "either" that we accept."""

MISLABELLED = {
    # The index was made by checks of the headers that are there; these files have a fault that it does not look for.
    "jsip/DeliverRequestEventWithBadHeaderTest-01.sip": "Contact without a scheme",
    "jsip/TransactionAlreadyExistsExceptionTest-01.sip": "Contact without a scheme",
    "nksip/t06_torture2-12.sip": "the message baddn of RFC 4475",
    "resiprocate/testSipMessage-07.sip": "Via without a transport",
    "sipsorcery/BufferUtilsUnitTest-01.sip": "space in the Request-URI",
}
NOT_OURS = {
    # Well-formed; what is wrong with it is what it asks for.
    "devices/fritzbox-register-with-user-in-ruri.sip",
}


def judge(data: bytes) -> Request | Response | SipParseError:
    try:
        message = parse_message(data)
        check_message(message)
    except SipParseError as error:
        return error
    return message


@pytest.mark.parametrize("entry", parameters("sip", "rfc4475/") + parameters("sip", "rfc5118/"))
def test_rfc_message_gets_exactly_its_verdict(entry: Entry) -> None:
    name = entry.name.rpartition("/")[2].partition(".")[0]
    if name == "test":
        pytest.skip("not a message of the RFC")
    result = judge(entry.data)
    if name in STATUS:
        assert isinstance(result, SipParseError) and result.status_hint == STATUS[name]
        assert result.message is not None, "it could not be answered"
    elif name in DROPPED:
        assert isinstance(result, SipParseError) and result.message is None
    else:
        assert entry.verdict == "valid" or name in TOLERATED
        assert not isinstance(result, SipParseError), result


@pytest.mark.parametrize("entry", parameters("sip"))
def test_corpus_message_is_accepted_or_refused_as_the_index_says(entry: Entry) -> None:
    result = judge(entry.data)
    if isinstance(result, SipParseError):
        assert entry.verdict != "valid" or entry.name in MISLABELLED, result
    else:
        assert entry.verdict != "invalid" or entry.name in NOT_OURS


def test_nearly_all_sloppy_but_clear_messages_are_accepted() -> None:
    # A parser that refuses whatever is not perfect would pass the test above.
    either = [entry for entry in entries("sip") if entry.verdict == "either" and "Content-Length larger" not in entry.notes]
    if not either:
        pytest.skip("the corpus ../shared/corpus is absent")
    refused = [entry.name for entry in either if isinstance(judge(entry.data), SipParseError)]
    assert len(refused) < len(either) * 0.6, refused
