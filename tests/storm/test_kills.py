"""Who is killed when."""

import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.storm import kills
from tests.storm.kills import Kill, Victim
from tests.testbed.patience import PATIENCE


class Part:
    """Nothing that runs, but can be killed. ``ready``: whether it has come back."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self.killed = 0
        self._ready = ready
        program: Any = SimpleNamespace(name="part", start=lambda: None, last_words=lambda: "")
        self.victim = Victim(program, self._looks, self._kill)

    def _kill(self) -> None:
        self.killed += 1

    async def _looks(self, _: float) -> bool:
        return self._ready()


def carried_out(slow: Part, other: Part, at: float) -> Awaitable[None]:
    wanted = {"slow": [Kill(0, 0, hasty=False)], "other": [Kill(at, 0, hasty=True)]}
    return kills.carry_out(wanted, {"slow": slow.victim, "other": other.victim}, lambda: None)


async def test_while_a_part_has_not_come_back_for_long_no_other_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_MERCY", 0)
    looks, back = list[int](), time.monotonic() + 2

    def ready() -> bool:
        looks.append(other.killed)
        return time.monotonic() > back

    slow, other = Part(ready), Part(lambda: True)
    await carried_out(slow, other, at=1)
    assert (set(looks), slow.killed, other.killed) == ({0}, 1, 1)


async def test_before_that_kills_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_MERCY", PATIENCE)
    slow = Part(lambda: other.killed > 0)
    other = Part(lambda: True)
    await carried_out(slow, other, at=0)
    assert (slow.killed, other.killed) == (1, 1)
