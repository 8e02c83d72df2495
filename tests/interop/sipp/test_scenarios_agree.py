"""The scenarios themselves: each caller against a callee of the same making, so that later only our side is in question."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Sipp

pytestmark = pytest.mark.peer("sipp")

needs_raw_sockets = pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root")

PAIRS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("uac_call", "uas_answer", {"seconds": 0.5}, {"options": ("-rtp_echo",)}),
    ("uac_call", "uas_play_wait_bye", {"seconds": 0.5, "audio": {"digits": "12#", "seconds": 0.4}}, {}),
    ("uac_call_wait_bye", "uas_play", {}, {"seconds": 0.5}),
    ("uac_call_authenticated", "uas_401", {"seconds": 0.2}, {}),
    ("uac_call_authenticated", "uas_407", {"seconds": 0.2}, {}),
    ("uac_call", "uas_early_media", {"seconds": 0.2}, {}),
    ("uac_setup", "uas_answer", {"calls": 20}, {"calls": 20}),
    ("uac_cancel", "uas_cancel", {}, {}),
    ("uac_cancel_crossed", "uas_cancel_race", {}, {}),
    ("uac_info", "uas_info", {}, {}),
    ("uac_info", "uas_serve", {}, {}),
    ("uac_delayed_offer", "uas_answer", {"seconds": 0.5}, {}),
    ("uac_serve", "uas_hold", {}, {}),
    ("uac_expect", "uas_refuse", {}, {"words": {"STATUS": "486 Busy Here"}}),
    ("uac_refer", "uas_referred", {"keys": {"refer_to": "sip:third@192.0.2.3"}}, {"words": {"STATUS": "200 OK"}}),
    ("uac_no_codec", "uas_refuse", {}, {"words": {"STATUS": "488 Not Acceptable Here"}}),
]
WITHOUT_RETRANSMISSION = [
    ("uac_lost_ack", "uas_answer", {"options": ("-nr",)}, {}),
    ("uac_call", "uas_repeat_200", {"seconds": 1}, {"options": ("-nr",)}),
]


@needs_raw_sockets
@pytest.mark.parametrize("transport", ["u1", "t1"])
@pytest.mark.parametrize(("caller", "callee", "calling", "called"), PAIRS, ids=lambda value: value if isinstance(value, str) else "")
async def test_caller_and_callee_agree(
    tmp_path: Path, caller: str, callee: str, calling: dict[str, Any], called: dict[str, Any], transport: str
) -> None:
    async with (
        Sipp(tmp_path / "callee", callee, transport=transport, **called) as uas,
        Sipp(tmp_path / "caller", caller, target=uas.address, transport=transport, **calling) as uac,
    ):
        await uac.done(20)
        await uas.done(20)
        assert uac.count("received", "SIP/2.0 ") > 0
        assert uas.count("received", "INVITE ") >= 1


@needs_raw_sockets
@pytest.mark.parametrize(
    ("caller", "callee", "calling", "called"), WITHOUT_RETRANSMISSION, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_caller_and_callee_agree_on_repeated_answers(
    tmp_path: Path, caller: str, callee: str, calling: dict[str, Any], called: dict[str, Any]
) -> None:
    async with (
        Sipp(tmp_path / "callee", callee, **called) as uas,
        Sipp(tmp_path / "caller", caller, target=uas.address, **calling) as uac,
    ):
        await uac.done(20)
        await uas.done(20)
        assert uas.count("sent", "SIP/2.0 200") >= 3
        assert uas.count("received", "ACK ") == (1 if caller == "uac_lost_ack" else 3)


async def test_a_wrong_password_is_refused_by_the_challenging_callee(tmp_path: Path) -> None:
    async with (
        Sipp(tmp_path / "callee", "uas_401", password="right") as uas,
        Sipp(tmp_path / "caller", "uac_call_authenticated", target=uas.address, password="wrong") as uac,
    ):
        with pytest.raises(AssertionError, match="403"):
            await uac.done(20)
