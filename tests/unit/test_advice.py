"""The one table of causes and remedies: complete, without repetition, and the source of what errors say."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from flexosip import errors
from flexosip.advice import advice_for, all_advice, status_advice
from flexosip.advice.errors import ERRORS
from flexosip.advice.statuses import STATUSES
from flexosip.errors import FlexosipError, RegistrationFailed, RequestFailed, Unavailable, call_failure
from flexosip.sip.headers import Headers
from flexosip.sip.status import REASON_PHRASES

ALL = all_advice()


@pytest.mark.parametrize("key", ALL)
def test_every_entry_has_a_cause_and_a_remedy_in_whole_sentences(key: str) -> None:
    advice = ALL[key]
    assert advice.remedy, "no remedy"
    # an error whose message is the cause needs no second one
    assert advice.cause or key.startswith("error ")
    for text in filter(None, (advice.cause, advice.remedy)):
        assert text == text.strip() and text[0] in "{" + text[0].upper()
        assert text.endswith((".", "?", "]'")) and "  " not in text, text
        assert len(text) <= 320


def test_no_text_is_there_twice() -> None:
    texts = Counter(text for advice in ALL.values() for text in (advice.cause, advice.remedy) if text)
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("status", [status for status in REASON_PHRASES if status >= 300])
def test_every_status_of_a_failure_has_its_own_words(status: int) -> None:
    assert str(status) in STATUSES
    advice = status_advice(status)
    assert advice == STATUSES[str(status)]
    assert advice is not None and RequestFailed(status=status).explain().endswith(advice.remedy)


@pytest.mark.parametrize(("status", "like"), [(499, "4xx"), (599, "5xx"), (699, "6xx"), (399, "3xx")])
def test_an_unknown_status_is_taken_for_one_of_its_class(status: int, like: str) -> None:
    assert status_advice(status) == STATUSES[like]


def test_success_needs_no_advice() -> None:
    assert status_advice(200) is None and status_advice(0) is None


def test_every_situation_can_come_about() -> None:
    """Each entry with a situation is what `status_advice` gives in it."""
    for key in STATUSES:
        number, _, situation = key.partition(" ")
        if not situation:
            continue
        circumstances: dict[str, object] = {
            "in the house": {"server": "fritz.box", "request": "INVITE"},
            "digits in the house": {"server": "192.168.178.1", "target": "620"},
            "digits": {"server": "sip.example.net", "target": "03012345"},
            "without password": {"credentials": False},
            "without account": {"account": False},
            "Retry-After": {"headers": Headers([("Retry-After", "120 (in two minutes)")])},
        }.get(situation, {"request": situation})
        advice = status_advice(int(number), **circumstances)  # type: ignore[arg-type]
        assert advice is not None and advice.remedy == STATUSES[key].remedy, key


def test_retry_after_is_told_in_seconds() -> None:
    advice = status_advice(503, headers=Headers([("Retry-After", "120;duration=60")]))
    assert advice is not None and "120 seconds" in advice.cause
    assert "{" not in str(status_advice(503, headers=Headers([("Retry-After", "soon")])))


def test_a_cause_of_the_telephone_network_says_more_than_the_status() -> None:
    reason = Headers([("Reason", 'Q.850;cause=17;text="User busy"')])
    advice = status_advice(503, headers=reason)
    assert advice is not None and advice.remedy == STATUSES["486"].remedy and "User busy" in advice.cause


def test_the_words_of_a_warning_are_told_and_cannot_steer_a_terminal() -> None:
    advice = status_advice(488, headers={"Warning": '304 host.example "no \x1b[2Jaudio \\"here\\""'})
    assert advice is not None and 'no ?[2Jaudio "here".' in advice.cause
    endless = status_advice(488, headers=Headers([("Warning", f'304 h "{"x" * 5000}"')]))
    assert endless is not None and len(endless.cause) < 400
    assert status_advice(488, headers=Headers([("Warning", "304 h no quotes")])) == STATUSES["488"]


@pytest.mark.parametrize(
    ("server", "target", "words"),
    [
        ("fritz.box", "sip:620@fritz.box", "**620"),
        ("sip.example.net", "+493012345", "country code"),
        ("sip.example.net", "sip:alice@sip.example.net", "switched off"),
    ],
)
def test_an_unreachable_number_is_explained_by_how_it_was_written(server: str, target: str, words: str) -> None:
    error = call_failure(480, "Temporarily Unavailable", server=server, target=target)
    assert isinstance(error, Unavailable) and words in error.explain()


def test_a_registration_is_refused_in_other_words_than_a_call() -> None:
    assert "locked the account" in RegistrationFailed("It failed.", status=403).explain()
    assert "barred" in call_failure(403, "Forbidden").explain()


def test_every_error_of_the_tree_takes_its_words_from_the_table() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FlexosipError)]
    own = {kind.__name__: kind.advice for kind in kinds if "advice" in vars(kind)}
    assert own == {name: str(advice_for(f"error {name}")) for name in ERRORS if name != "MissingExtra"}


def test_no_error_of_network_or_tls_has_words_of_its_own() -> None:
    from pathlib import Path

    import flexosip.net.failures as failures
    import flexosip.net.tls_failures as tls_failures

    for module in (failures, tls_failures):
        text = Path(module.__file__).read_text(encoding="utf-8")
        assert re.findall(r'advice=f?"', text) == []
        for name in re.findall(r'_advice\("([^"]+)"', text):
            assert f"network {name}" in ALL or f"certificate {name}" in ALL


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        advice_for("network of dreams")


def findings_table() -> str:
    """The catalogue as it stands in docs/doctor.md."""
    from flexosip.advice.findings import FINDINGS

    lines = ["| id | level | means | do |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind.level} | {kind.advice.cause} | {kind.advice.remedy} |" for name, kind in FINDINGS.items()]
    return "\n".join(lines)


def test_the_page_has_the_whole_catalogue() -> None:
    """On a difference put the output of `findings_table()` below the comment in docs/doctor.md."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert page.partition("test_advice.py -->\n\n")[2].strip() == findings_table()
