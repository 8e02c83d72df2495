"""One Asterisk for each kind of challenge, for all tests of this folder: starting it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.asterisk.peer import Asterisk, Servers

REFLECT = (
    "reflect,1,Set(MESSAGE(body)=heard-${MESSAGE(body)}) into lab",
    "reflect,2,MessageSend(pjsip:alice,pjsip:bob) into lab",
)


@pytest.fixture(scope="session")
def asterisk_by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The server that challenges by an algorithm."""
    servers: dict[str, Asterisk] = {}

    def by(algorithm: str) -> Asterisk:
        if algorithm not in servers:
            found = Asterisk(tmp_path_factory.mktemp(f"asterisk-{algorithm}"), algorithm=algorithm, dialplan=REFLECT)
            found.start()
            servers[algorithm] = found
        return servers[algorithm]

    yield by
    for found in servers.values():
        found.stop()


@pytest.fixture
def server(asterisk_by: Servers) -> Asterisk:
    """The server that challenges by MD5."""
    return asterisk_by("MD5")
