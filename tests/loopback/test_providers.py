"""The fake FRITZ!Box on real sockets, for tests of programs that know nothing of a virtual network."""

from __future__ import annotations

from flexosip import Phone
from flexosip.testing import FakeFritzBox, Handset


async def test_a_phone_registers_and_rings_at_a_fake_box_on_loopback() -> None:
    handset = Handset("610", declines=0.2)
    async with await FakeFritzBox.open(port=0, users={"bell": "secret"}, handsets=[handset]) as box:
        async with Phone.fritzbox("bell", "secret", host=f"127.0.0.1:{box.port}", listen="127.0.0.1:0") as phone:
            assert "bell" in box.devices
            result = await phone.ring("**9", duration=5)
            assert result.outcome == "declined"
            assert handset.rang
        assert not box.devices
        assert not box.dropped
