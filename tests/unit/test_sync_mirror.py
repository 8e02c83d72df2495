"""The blocking phone has the names and parameters of the native one; what differs on purpose is listed here."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from flexosip.phone.call import Call as AsyncCall
from flexosip.phone.media.audio_stream import AudioStream as AsyncAudioStream
from flexosip.phone.media.playback import Playback as AsyncPlayback
from flexosip.phone.media.playback import Recording as AsyncRecording
from flexosip.phone.phone import Phone as AsyncPhone
from flexosip.sync import AudioStream, Call, Phone, Playback, Recording

PAIRS = [(AsyncPhone, Phone), (AsyncCall, Call), (AsyncPlayback, Playback), (AsyncRecording, Recording), (AsyncAudioStream, AudioStream)]

NATIVE_ONLY = {
    # for the library's own rooms, which live in the loop
    AsyncPhone: {
        "account_called", "allow_text", "call_class", "call_ended", "configure_events", "contact", "contact_on", "core",
        "create_media", "drop_events", "find_account", "identity_towards", "incoming", "loop", "messages", "notifiers",
        "observe_call_event", "options_status", "peers", "publications", "registration_changed", "signalling", "standard_headers",
        "stop_events", "subscriptions", "target_uri", "trusts", "wire_observers",
    },
}  # fmt: skip
SYNC_ONLY = {
    Phone: {"accounts"},
    Playback: {"completed", "source", "wait"},
    Recording: {"path", "seconds", "wait"},
    AudioStream: {"dropped_frames", "rate"},
}
"""`wait` stands for `await`; the others are attributes of the native objects."""
PARAMETERS_MORE = {"play": {"wait"}, "tone": {"wait"}}
PARAMETERS_LESS = {"Phone": {"clock"}}
"""The blocking phone runs in real time."""


def names(kind: type[Any]) -> set[str]:
    """Public methods and properties."""
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("native", "blocking"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_names_are_the_same(native: type[Any], blocking: type[Any]) -> None:
    missing = names(native) - names(blocking) - NATIVE_ONLY.get(native, set())
    assert not missing
    added = names(blocking) - names(native) - SYNC_ONLY.get(blocking, set())
    assert not added


@pytest.mark.parametrize(("native", "blocking"), PAIRS, ids=lambda kind: kind.__name__)
def test_what_is_listed_as_different_is_different(native: type[Any], blocking: type[Any]) -> None:
    assert NATIVE_ONLY.get(native, set()) <= names(native) - names(blocking)
    assert SYNC_ONLY.get(blocking, set()) <= names(blocking) - names(native)


def shape(function: Any, without: frozenset[str] | set[str] = frozenset()) -> list[tuple[str, Any, Any]]:
    """(name, kind, default) of each parameter."""
    parameters = inspect.signature(function).parameters.values()
    return [(item.name, item.kind, item.default) for item in parameters if item.name not in without]


METHODS = [
    (native, blocking, name)
    for native, blocking in PAIRS
    for name in sorted(names(native) & names(blocking))
    if inspect.isfunction(getattr(native, name))
]


@pytest.mark.parametrize(("native", "blocking", "name"), METHODS, ids=lambda item: getattr(item, "__name__", item))
def test_the_parameters_are_the_same(native: type[Any], blocking: type[Any], name: str) -> None:
    more = PARAMETERS_MORE.get(name, set())
    assert more <= set(inspect.signature(getattr(blocking, name)).parameters)
    assert shape(getattr(blocking, name), more) == shape(getattr(native, name))


def test_a_property_is_a_property_in_both() -> None:
    for native, blocking in PAIRS:
        for name in names(native) & names(blocking):
            assert isinstance(getattr(native, name), property) == isinstance(getattr(blocking, name), property), name


def test_the_phone_is_made_of_the_same_arguments() -> None:
    assert shape(AsyncPhone, PARAMETERS_LESS["Phone"]) == shape(Phone)
    with pytest.raises(TypeError):
        Phone(clock=object())  # type: ignore[call-arg]


def test_nothing_of_the_blocking_phone_is_to_be_awaited() -> None:
    for _, blocking in PAIRS:
        for name in names(blocking):
            assert not inspect.iscoroutinefunction(getattr(blocking, name)), name
            assert not inspect.isasyncgenfunction(getattr(blocking, name)), name
