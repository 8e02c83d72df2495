"""Fake providers and routers: registrars and switches with the habits of real ones, as far as they were seen on the wire.

    box = await FakeFritzBox.open(network.host("192.168.178.1"), users={"bell": "secret"}, handsets=[Handset("610", answers=2.0)])
    async with Phone.fritzbox("bell", password="secret", host="192.168.178.1", ...) as phone:
        await phone.ring("**9")
        assert box.handsets["610"].rang

They run on the virtual network and on loopback. They judge and answer each message by hand: what a habit is, no machine would do.

server.py    FakeServer, FakeCall: what they have in common
fritzbox.py  FakeFritzBox, Handset
telekom.py   FakeTelekom
twilio.py    FakeTwilioTrunk
"""

from __future__ import annotations

from flexosip.testing.providers.fritzbox import FakeFritzBox, Handset
from flexosip.testing.providers.server import FakeCall, FakeServer
from flexosip.testing.providers.telekom import FakeTelekom
from flexosip.testing.providers.twilio import FakeTwilioTrunk

__all__ = ["FakeCall", "FakeFritzBox", "FakeServer", "FakeTelekom", "FakeTwilioTrunk", "Handset"]
