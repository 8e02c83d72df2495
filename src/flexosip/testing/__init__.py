"""For tests of telephony: phones that hear, a network that fails on demand, peers that misbehave, an hour in a second.

    async def test_the_door_is_answered(phone):
        door, kitchen = await phone("door"), await phone("kitchen")
        kitchen.answers(after=2, play="hello.wav")
        async with door.call("kitchen") as call:
            await call.heard("hello.wav", within=3)

plugin.py       the pytest fixtures `phone`, `pbx`, `network`; the ladder of a test that failed
stage.py        Stage: clock, network, PBX, phones; nothing may be left at the end
phones.py       TestPhone, TestCall: what was heard, asserted
hearing.py      Ear: all that a call heard, in numbers and words
bad_phones      a catalogue of phones that misbehave
peer.py         RawPeer: every message, every packet by hand
capture.py      SIP read back from a pcap file
load.py         many calls, and a report
replay.py       a recorded call again
recognition.py  is this prompt in what was heard
providers       FakeFritzBox, FakeTelekom, FakeTwilioTrunk: servers with the habits of real ones

Only `plugin.py` needs pytest. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexosip.testing import bad_phones as bad_phones
    from flexosip.testing.capture import Capture as Capture
    from flexosip.testing.capture import read_pcap as read_pcap
    from flexosip.testing.hearing import Ear as Ear
    from flexosip.testing.hearing import Stretch as Stretch
    from flexosip.testing.peer import RawPeer as RawPeer
    from flexosip.testing.peer import RawSound as RawSound
    from flexosip.testing.peer import sdp as sdp
    from flexosip.testing.phones import Expectation as Expectation
    from flexosip.testing.phones import TestCall as TestCall
    from flexosip.testing.phones import TestPhone as TestPhone
    from flexosip.testing.providers.fritzbox import FakeFritzBox as FakeFritzBox
    from flexosip.testing.providers.fritzbox import Handset as Handset
    from flexosip.testing.providers.server import FakeServer as FakeServer
    from flexosip.testing.providers.telekom import FakeTelekom as FakeTelekom
    from flexosip.testing.providers.twilio import FakeTwilioTrunk as FakeTwilioTrunk
    from flexosip.testing.recognition import Found as Found
    from flexosip.testing.recognition import Prompt as Prompt
    from flexosip.testing.replay import Replay as Replay
    from flexosip.testing.stage import Leftovers as Leftovers
    from flexosip.testing.stage import Stage as Stage
    from flexosip.testing.stage import left_of as left_of
    from flexosip.testing.stage import settle as settle

_HOMES = {
    "capture": ("Capture", "read_pcap"),
    "hearing": ("Ear", "Stretch"),
    "peer": ("RawPeer", "RawSound", "sdp"),
    "phones": ("Expectation", "TestCall", "TestPhone"),
    "providers": ("FakeFritzBox", "FakeServer", "FakeTelekom", "FakeTwilioTrunk", "Handset"),
    "recognition": ("Found", "Prompt"),
    "replay": ("Replay",),
    "stage": ("Leftovers", "Stage", "left_of", "settle"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "bad_phones"])


def __getattr__(name: str) -> Any:
    if name == "bad_phones":
        return importlib.import_module("flexosip.testing.bad_phones")
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'flexosip.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flexosip.testing.{module}"), name)
    globals()[name] = value
    return value
