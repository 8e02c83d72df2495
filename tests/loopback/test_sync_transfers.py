"""Transfers with the blocking phone, over real sockets and the embedded PBX."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flexosip import TransferRefused
from flexosip.sync import Call, Phone
from tests.house import house, within


def answering(phone: Phone) -> list[Call]:
    """Let it answer everything."""
    calls: list[Call] = []

    @phone.on_call
    def answer(call: Call) -> None:
        calls.append(call)
        call.answer()
        call.wait_ended()

    return calls


def test_blind_and_attended_with_a_decision_in_a_thread() -> None:
    asked: list[Any] = []
    with house("bell", "kitchen", "attic") as pbx:
        with pbx.phone("bell") as bell, pbx.phone("kitchen") as kitchen, pbx.phone("attic") as attic:
            at_kitchen, at_attic = answering(kitchen), answering(attic)
            with pytest.raises(TransferRefused):
                bell.call("kitchen").transfer("attic")
            bell.calls[0].hangup()

            @kitchen.on_refer
            def decide(request: Any) -> bool:
                asked.append((request.target, type(request.call), threading.current_thread() is threading.main_thread()))
                return True

            call = bell.call("kitchen")
            result = call.transfer("attic")
            assert result.confirmed and call.end is not None
            assert asked == [(f"sip:attic@{pbx.host_port}", Call, False)]
            new = at_kitchen[-1].transferred_to
            assert isinstance(new, Call) and new.state == "answered"
            assert at_attic[-1].referred_by.uri.user == "bell"
            new.hangup()

            first, second = bell.call("kitchen"), bell.call("attic")
            assert first.transfer(second).confirmed and second.end is not None
            assert within(5, lambda: len(at_attic) == 3)
            assert at_attic[-1].replaces == at_attic[-2] and at_attic[-2].replaced_by == at_attic[-1]
            at_kitchen[-1].transferred_to.hangup()
