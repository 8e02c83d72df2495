"""RFC 4475 and RFC 5118 on the wire: each message gets exactly the answer of the table, by each transport, from a phone and a registrar.

The messages are the RFCs' own where the shared corpus is present, and renderings of each rule in other words everywhere.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip.net.network import Network
from flexosip.net.real import RealNetwork
from flexosip.sip.message import Response
from flexosip.sip.parser import SipParseError
from tests.conformance.torture_on_the_wire.renderings import RENDERINGS
from tests.conformance.torture_on_the_wire.torture import (
    ROLES,
    TRANSPORTS,
    Expected,
    Sender,
    address_of,
    addressed,
    authorized,
    expected,
    make,
    table,
    understood,
)
from tests.corpus import parameters

# Of a message in pieces a stream tells nothing for a while: long enough that an answer would have come.
PATIENCE = 0.1


def corpus() -> list[Any]:
    found = parameters("sip", "rfc4475/") + parameters("sip", "rfc5118/")
    return [case for case in found if case.id != "rfc4475/test.dat"]  # not a message of the RFC, but of its archive


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("entry", corpus())
async def test_message_of_the_rfc_gets_the_answer_of_the_table(entry: Any, role: str, transport: str) -> None:
    name = entry.name.rpartition("/")[2].rpartition(".")[0]
    await judge(RealNetwork(), name, entry.data, role, transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", RENDERINGS)
async def test_rendering_of_the_rule_gets_the_answer_of_the_table(name: str, role: str, transport: str) -> None:
    await judge(RealNetwork(), name, RENDERINGS[name], role, transport)


def test_every_message_of_both_rfcs_is_in_the_table_and_rendered() -> None:
    rows = table()
    assert sum(row["section"].startswith("RFC 4475") for row in rows.values()) == 49
    assert sum(row["section"].startswith("RFC 5118") for row in rows.values()) == 12
    assert list(RENDERINGS) == list(rows)


async def judge(network: Network, name: str, data: bytes, role: str, transport: str) -> None:
    """Send the message to a fresh phone or registrar and compare everything that comes back with the table."""
    wanted = expected(name, role, transport)
    async with make(role, network, transport=transport) as server:
        async with Sender(network, transport, address_of(server, transport)) as sender:
            branch = sender.send(data)
            if wanted.closed == "later":
                await asyncio.sleep(PATIENCE)
                assert (sender.received, sender.closed) == ([], False)
            else:
                await _compare(sender, data, branch, wanted)
            if wanted.closed is None and wanted.registered is not None:
                await _register(sender, data, wanted)
        # Whatever it was: the next one is served.
        async with Sender(network, transport, address_of(server, transport)) as sender:
            await sender.probe()


async def _compare(sender: Sender, data: bytes, branch: str, wanted: Expected) -> None:
    await sender.until(lambda: len(sender.finals()) >= len(wanted.statuses))
    if wanted.closed is not None:
        await sender.until(lambda: sender.closed)
    else:
        # Messages are worked on in their order: what is not there when this is answered does not come any more.
        await sender.probe()
    answers = sender.finals()
    assert [answer.status for answer in answers] == list(wanted.statuses)
    if not answers:
        return
    _check_copied(addressed(data, sender.transport, sender.port, branch), answers[0])
    if wanted.header is not None:
        key, _, value = wanted.header.partition(": ")
        assert answers[0].headers.get_all(key) == value.split(", ")
    for answer in answers:
        if (answer.headers.get("CSeq") or "").endswith("INVITE") and not sender.closed:
            final = await sender.finish_call(data, answer)
            assert final == answer.status


def _check_copied(sent: bytes, answer: Response) -> None:
    """RFC 3261 §8.2.6.2: Via, From, Call-ID and CSeq come back, To with a tag; and the source was noted (§18.2.1)."""
    request = understood(sent)
    assert answer.via.received == "127.0.0.1"
    assert (answer.via.host, answer.via.port, answer.via.branch) == (request.via.host, request.via.port, request.via.branch)
    for header in ("From", "Call-ID", "CSeq"):
        assert answer.headers.get_lines(header) == request.headers.get_lines(header)
    assert answer.headers.get_all("Via")[1:] == request.headers.get_all("Via")[1:]
    try:
        to = request.to
    except SipParseError:
        return  # missing or malformed: there is nothing that a tag could be put behind
    assert (to.tag or answer.to.tag) == answer.to.tag is not None


async def _register(sender: Sender, data: bytes, wanted: Expected) -> None:
    challenge = sender.finals()[0]
    before = len(sender.finals())
    sender.send(authorized(data, challenge))
    await sender.until(lambda: len(sender.finals()) > before)
    answer = sender.finals()[before]
    assert answer.status == wanted.registered
    if wanted.binding is not None:
        assert any(wanted.binding in value for value in answer.headers.get_all("Contact")), answer.headers.get_all("Contact")
