"""Our phone with each phone of the catalogue of bad ones, in both directions: the call goes as the catalogue says, and nothing is left."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import ConfigurationError
from flexosip.testing import Stage, TestPhone, bad_phones

CALLED = [name for name, kind in bad_phones.CATALOGUE.items() if kind.when_called is not None]
CALLING = [name for name, kind in bad_phones.CATALOGUE.items() if kind.when_calling is not None]


def with_bad_phone(name: str, story: Any) -> Any:
    stage = Stage(seed=3)

    async def main() -> Any:
        phone = await stage.phone(media_timeout=10.0)
        return await story(phone, await bad_phones.open_bad_phone(stage, name))

    result = stage.play(main())
    return result, stage.ladder()


@pytest.mark.parametrize("name", CALLED)
def test_a_bad_phone_is_called(name: str) -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> Any:
        return await bad.is_called_by(phone)

    went, ladder = with_bad_phone(name, story)
    assert went == bad_phones.CATALOGUE[name].when_called, ladder


@pytest.mark.parametrize("name", CALLING)
def test_a_bad_phone_calls(name: str) -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> Any:
        return await bad.calls(phone)

    went, ladder = with_bad_phone(name, story)
    assert went == bad_phones.CATALOGUE[name].when_calling, ladder


@pytest.mark.parametrize("name", ["drops-the-marker", "loses-key-ends", "only-key-ends", "keys-by-info"])
def test_every_key_of_a_bad_phone_is_told_once(name: str) -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> str:
        async with phone.call(bad.uri) as call:
            await call.heard_digits("47")
            await call.assert_level(-20, seconds=1.0)
            return "".join(event.digit for event in call.pressed)

    assert with_bad_phone(name, story)[0] == "47"


def test_a_session_survives_glare_when_we_hold() -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> None:
        async with phone.call(bad.uri) as call:
            await call.hold()
            await call.resume()
            assert call.end is None
        assert bad.refused == 3  # type: ignore[attr-defined]

    with_bad_phone("reinvite-glare", story)


def test_the_five_hundred_unasked_notifies_get_no_more_than_one_answer_each() -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> None:
        await bad.calls(phone)
        assert bad.peer.count(200) <= 2 and len(bad.peer.seen) < 520

    with_bad_phone("floods-notify", story)


@pytest.mark.parametrize(("name", "most"), [("challenges-for-ever", 2), ("unknown-digest-algorithm", 2), ("repeats-200", 1)])
def test_a_bad_phone_makes_nobody_call_again_and_again(name: str, most: int) -> None:
    async def story(phone: TestPhone, bad: bad_phones.PlainPhone) -> int:
        await bad.is_called_by(phone)
        return bad.peer.count("INVITE")

    assert with_bad_phone(name, story)[0] <= most


def test_credentials_of_the_account_are_kept_from_a_stranger_who_challenges() -> None:
    stage = Stage()

    async def story() -> None:
        phone = await stage.phone("alice")
        bad = await bad_phones.open_bad_phone(stage, "challenges-for-ever")
        await bad.is_called_by(phone)
        assert all("Authorization" not in message.headers for message in bad.peer.seen)

    stage.play(story())


def test_every_bad_phone_says_what_is_wrong_with_it_and_what_a_good_one_does() -> None:
    assert len(bad_phones.CATALOGUE) >= 25
    for name, kind in bad_phones.CATALOGUE.items():
        assert name == kind.name and kind.good and kind.__doc__, name
        assert kind.when_called is not None or kind.when_calling is not None


def test_an_unknown_bad_phone_is_told_with_the_names_that_there_are() -> None:
    stage = Stage()

    async def story() -> None:
        with pytest.raises(ConfigurationError, match="never-acks"):
            await bad_phones.open_bad_phone(stage, "well-behaved")

    stage.play(story())
