"""What an error says to somebody who sees it for the first time: the cause that it is, and a step that helps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from flexosip import (
    AuthenticationError,
    ConfigurationError,
    FlexosipError,
    MessageFailed,
    Phone,
    SubscriptionFailed,
    Tone,
    TransferRefused,
)
from flexosip.pbx import Pbx
from flexosip.phone.media.media_session import describe
from flexosip.simulation import VirtualClock, VirtualNetwork

PBX, OURS = "10.0.0.1", "10.0.0.2"
BELL = f"sip:bell@{PBX}"


def failure(story: Callable[[Phone], Awaitable[object]], aor: str | None = None, password: str | None = None) -> FlexosipError:
    """What goes wrong for a phone beside a PBX whose user `house` is there."""
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=1)

    async def main() -> FlexosipError:
        users = {"bell": "ding", "house": "dong"}
        async with Pbx(users, listen=(f"{PBX}:5060",), network=network.host(PBX)):
            house = Phone(f"sip:house@{PBX}", password="dong", clock=clock, network=network.host("10.0.0.3"))

            @house.on_call
            async def answer(call: object) -> None:
                await call.answer()  # type: ignore[attr-defined]
                await call.wait_ended()  # type: ignore[attr-defined]

            async with house:
                with pytest.raises(FlexosipError) as caught:
                    async with Phone(aor, password=password, clock=clock, network=network.host(OURS)) as phone:
                        await story(phone)
        return caught.value

    return clock.run(main())


async def nothing(phone: Phone) -> None:
    """Registering is enough."""


def test_a_registration_without_a_password_says_that_it_is_missing() -> None:
    error = failure(nothing, BELL)
    assert isinstance(error, AuthenticationError) and error.status == 401
    assert "wants a password" in str(error) and "refuses" not in str(error)
    assert "--password-file" in error.explain() and "FLEXOSIP_PASSWORD" in error.explain()


def test_a_wrong_password_is_called_refused() -> None:
    error = failure(nothing, BELL, "dang")
    assert "refuses the credentials" in str(error) and "user name or the password" in error.explain()


@pytest.mark.parametrize(
    "story",
    [
        lambda phone: phone.call(f"sip:house@{PBX}"),
        lambda phone: phone.message(f"sip:house@{PBX}", "hello"),
        lambda phone: phone.watch(f"sip:house@{PBX}").__aenter__(),
    ],
)
def test_without_an_account_the_missing_account_is_named(story: Callable[[Phone], Awaitable[object]]) -> None:
    error = failure(story)
    assert isinstance(error, AuthenticationError) and error.status in (401, 407)
    assert "wants a user name and a password" in str(error) and "wrong" not in error.explain()
    assert "--account" in error.explain()


def test_a_phone_that_takes_no_messages_is_still_a_phone() -> None:
    error = failure(lambda phone: phone.message("house", "hello"), BELL, "ding")
    assert isinstance(error, MessageFailed) and error.status == 405
    assert "takes no text messages" in error.explain() and "no phone" not in error.explain()


def test_a_phone_that_tells_no_state_is_still_a_phone() -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=1)

    async def main() -> None:
        there = Phone(listen="10.0.0.3:5060", clock=clock, network=network.host("10.0.0.3"))
        async with there, Phone(clock=clock, network=network.host(OURS)) as phone:
            with pytest.raises(SubscriptionFailed) as caught:
                await phone.watch("sip:house@10.0.0.3")
            assert caught.value.status == 405
            assert "does not tell its state" in caught.value.explain() and "no phone" not in caught.value.explain()

    clock.run(main())


def test_a_refused_transfer_speaks_of_transfers() -> None:
    async def story(phone: Phone) -> None:
        async with phone.call("house") as call:
            await call.transfer("bell")

    error = failure(story, BELL, "ding")
    assert isinstance(error, TransferRefused) and error.status == 405
    assert "not allow transfers" in error.explain() and "no phone" not in error.explain()


@pytest.mark.parametrize("target", ["http://10.0.0.1", "https://example.org/x", "wss://example.org"])
def test_the_address_of_a_web_page_is_no_target(target: str) -> None:
    error = failure(lambda phone: phone.call(target), BELL, "ding")
    assert isinstance(error, ConfigurationError)
    assert "sip:" in error.explain()


def test_an_account_whose_port_is_none_ends_its_sentence() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Phone("sip:bell@10.0.0.1:99999")
    assert "ort out of range. " in caught.value.explain()
    with pytest.raises(ConfigurationError) as caught:
        Phone("sip:bell@10.0.0.1", registrar="10.0.0.1:99999")
    assert "ange. " in caught.value.explain() or "65535" in caught.value.explain()


def test_a_tone_is_described_as_people_would() -> None:
    assert describe(Tone(440)) == "tone 440 Hz"
    assert describe(Tone((697, 1209.5))) == "tone 697+1209.5 Hz"
    assert describe(Tone(cadence=(((425.0,), 0.48), ((), 0.48)))) == "tone 425 Hz with pauses"
    assert describe(Tone(cadence=(((950.0,), 0.3), ((1400.0,), 0.3)))) == "tones 950, 1400 Hz"


@pytest.mark.parametrize("name", ["callers", "limits", "call_policy", "reach", "availability", "tls"])
def test_a_group_of_settings_of_another_type_is_refused_before_anything_is_opened(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Phone(**{name: "everything"})
    assert str(caught.value).startswith(f"{name}='everything': give ")


@pytest.mark.parametrize("target", [None, 620, b"620"])
def test_a_target_that_is_no_text_is_refused_with_what_is(target: object) -> None:
    error = failure(lambda phone: phone.call(target), BELL, "ding")  # type: ignore[arg-type]
    assert isinstance(error, ConfigurationError) and "sip:" in error.explain()
