"""The caller scenarios that no scenario of ours answers, against baresip: they are right before our side is measured with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.interop.peers import Baresip, Kamailio, Sipp

pytestmark = [
    pytest.mark.peer("sipp"),
    pytest.mark.peer("baresip"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root"),
]


@pytest.mark.parametrize("scenario", ["uac_call", "uac_hold", "uac_options", "uac_no_codec", "uac_cancel_late"])
async def test_the_caller_is_served(tmp_path: Path, scenario: str) -> None:
    async with (
        Baresip(tmp_path / "baresip") as baresip,
        Sipp(tmp_path / "sipp", scenario, target=baresip.address, audio={"seconds": 2, "digits": "15#"}) as sipp,
    ):
        await sipp.done(20)
        if scenario == "uac_call":
            assert baresip.digits == "15#"


async def test_baresip_dials_holds_and_resumes(tmp_path: Path) -> None:
    """Its control port does what the tests of our side will ask of it."""
    async with (
        Sipp(tmp_path / "sipp", "uas_serve") as sipp,
        Baresip(tmp_path / "baresip") as baresip,
    ):
        await baresip.command("dial", f"sip:alice@{sipp.address}")
        await baresip.wait_event("CALL_ESTABLISHED")
        await baresip.command("hold")
        await baresip.command("resume")
        await baresip.command("hangup")
        await sipp.done()
        await baresip.wait_event("CALL_CLOSED")
        offers = [text for way, text in sipp.messages if way == "received" and text.startswith("INVITE ")]
        assert ["a=sendonly" in offer for offer in offers] == [False, True, False]


async def test_two_baresips_press_keys_and_record_each_others_tone(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "one", user="one", hz=440) as one, Baresip(tmp_path / "two", user="two", hz=1000) as two:
        await one.command("dial", two.uri)
        await one.wait_event("CALL_ESTABLISHED")
        await two.wait_event("CALL_ESTABLISHED")
        await one.press("4#")
        await two.press("90")
        await one.command("hangup")
        await two.wait_event("CALL_CLOSED")
        assert (one.digits, two.digits) == ("90", "4#")
        assert len(one.heard.read_bytes()) > 8000
        assert len(two.heard.read_bytes()) > 8000


@pytest.mark.peer("kamailio")
async def test_baresip_registers_and_is_called_through_kamailio(tmp_path: Path) -> None:
    async with Kamailio(tmp_path / "kamailio") as kamailio, Baresip(tmp_path / "baresip", registrar=kamailio.address) as baresip:
        await baresip.wait_registered()
        assert len(kamailio.contacts()) == 1
        caller = Sipp(tmp_path / "sipp", "uac_call_authenticated", target=kamailio.address, password="secret-alice")
        async with caller as sipp:
            await sipp.done()
        await baresip.wait_event("CALL_CLOSED")
