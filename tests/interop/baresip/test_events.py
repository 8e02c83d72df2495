"""Messages, presence and mailboxes between a Phone and baresip 1.0."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import MessageFailed, Phone
from flexosip.pbx import Pbx
from flexosip.phone.messaging.messages import Message
from flexosip.sip.message_summary import MessageCount, MessageSummary
from flexosip.sip.presence import Presence
from tests.interop.listening import sip_address
from tests.interop.peers import DOMAIN, Baresip
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("baresip")

LISTEN = "127.0.0.1:0"


async def test_messages_both_ways(tmp_path: Path) -> None:
    got: list[Message] = []
    async with Phone(listen=LISTEN) as phone:
        phone.on_message(lambda message: got.append(message))
        async with Baresip(tmp_path / "baresip", contacts=f"<sip:us@{sip_address(phone)}>\n", modules=("contact",)) as baresip:
            response = await phone.message(baresip.uri, "hello baresip")
            assert response.status == 200
            await wait_until(lambda: "hello baresip" in baresip.output, 5, "the message")
            await baresip.command("contact_next")
            await baresip.command("message", "hello flexosip")
            await wait_until(lambda: bool(got), 5, "a message of baresip")
            assert got[0].text == "hello flexosip"
            with pytest.raises(MessageFailed):
                await phone.message(baresip.uri, "x", content_type="application/strange")


async def test_presence_both_ways(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:
        presence = phone.notifier("presence")
        presence.update(Presence.simple("sip:us@127.0.0.1", True))
        contacts = f"<sip:us@{sip_address(phone)}>;presence=p2p\n"
        async with Baresip(tmp_path / "baresip", contacts=contacts, modules=("contact", "presence")) as baresip:
            await wait_until(lambda: bool(presence.subscribers), 15, "a subscription of baresip")
            async with phone.subscribe(baresip.uri, "presence") as subscription:
                assert subscription.latest is not None and isinstance(subscription.latest.parsed, Presence)
                assert subscription.state == "active"
            assert subscription.state == "terminated"
        await asyncio.sleep(0.1)


async def test_baresip_is_told_of_its_mailbox_by_our_pbx(tmp_path: Path) -> None:
    async with Pbx({"bob": "secret-bob"}, listen=(LISTEN,), realm=DOMAIN, algorithms=("MD5",)) as pbx:
        pbx.set_messages("bob", MessageSummary(True, None, (("voice", MessageCount(2, 1)),)))
        server = pbx.addresses[0].split(":", 1)[1]
        # At every second start baresip 1.0 has no credentials for its subscription, and repeats it without pause for ever.
        for start in range(8):
            async with Baresip(tmp_path / f"baresip{start}", registrar=server, account="mwi=yes", modules=("mwi",)) as baresip:
                for _ in range(30):
                    await asyncio.sleep(0.1)
                    if "2/1" in baresip.output:
                        pbx.set_messages("bob", MessageSummary(True, None, (("voice", MessageCount(7, 1)),)))
                        await wait_until(lambda: "7/1" in baresip.output, 5, "the next summary")
                        return
        raise AssertionError("baresip was not told")
