"""Kamailio with the project's configuration, tried with SIPp before our registrations are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.peers import Kamailio, Sipp

pytestmark = [pytest.mark.peer("sipp"), pytest.mark.peer("kamailio")]


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sipp_registers_and_unregisters(tmp_path: Path, transport: str) -> None:
    async with Kamailio(tmp_path / "kamailio") as kamailio:
        for _ in range(2):
            async with Sipp(
                tmp_path / "sipp", "uac_register", target=kamailio.address, password="secret-alice", transport=transport
            ) as sipp:
                await sipp.done()
            assert kamailio.contacts() == []
            await kamailio.restart()


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    async with (
        Kamailio(tmp_path / "kamailio") as kamailio,
        Sipp(tmp_path / "sipp", "uac_register", target=kamailio.address, password="wrong") as sipp,
    ):
        with pytest.raises(AssertionError, match="401"):
            await sipp.done()


async def test_a_short_registration_is_refused_with_423(tmp_path: Path) -> None:
    async with (
        Kamailio(tmp_path / "kamailio", min_expires=90) as kamailio,
        Sipp(tmp_path / "sipp", "uac_register", target=kamailio.address, password="secret-alice") as sipp,
    ):
        with pytest.raises(AssertionError, match="423"):
            await sipp.done()


async def test_it_challenges_with_sha_256(tmp_path: Path) -> None:
    async with (
        Kamailio(tmp_path / "kamailio", algorithm="SHA-256") as kamailio,
        Sipp(tmp_path / "sipp", "uac_register", target=kamailio.address) as sipp,
    ):
        with pytest.raises(AssertionError):  # SIPp of Debian 12 knows MD5 alone
            await sipp.done()
        assert any("algorithm=SHA-256" in text for way, text in sipp.messages if way == "received")
