"""Phones that misbehave, by name: what a phone under test must survive. Each can be called, and can call.

    @pytest.mark.parametrize("name", bad_phones.CATALOGUE)
    async def test_it_survives(sip_stage, phone, name):
        good = await phone()
        bad = await bad_phones.open_bad_phone(sip_stage, name)
        if bad.when_called is not None:
            assert await bad.is_called_by(good) == bad.when_called

The catalogue tells of each what is wrong with it (the docstring), how a call with it goes for a good phone (`when_called`,
`when_calling`; None where it misbehaves in the other direction only), and what a good phone does about it (`good`).

plain.py      PlainPhone: the same without faults
called.py     bad at being called
calling.py    bad at calling
wire.py       bad at writing messages
speaking.py   bad at sound and keys
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError
from flexosip.testing.bad_phones import called, calling, speaking, wire
from flexosip.testing.bad_phones.plain import Expected, PlainPhone

if TYPE_CHECKING:
    from flexosip.testing.stage import Stage

__all__ = ["CATALOGUE", "Expected", "PlainPhone", "open_bad_phone"]

CATALOGUE: dict[str, type[PlainPhone]] = {
    kind.name: kind
    for room in (called, calling, wire, speaking)
    for kind in vars(room).values()
    if isinstance(kind, type) and issubclass(kind, PlainPhone) and kind is not PlainPhone
}
"""The bad phones by name."""


async def open_bad_phone(stage: Stage, name: str) -> PlainPhone:
    """A bad phone on a machine of its own, ready; it calls the phone that was made last.

    Raises:
        ConfigurationError: none has this name.
    """
    kind = CATALOGUE.get(name)
    if kind is None:
        raise ConfigurationError(f"There is no bad phone {name!r}; there are {', '.join(sorted(CATALOGUE))}.")
    peer = await stage.peer(name)
    stage.parts.remove(peer)
    return stage.add(kind(peer))
