"""Which part is killed when, drawn from a seed; and the doing of it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

from tests.storm.size import SHARES, Size, kind_of
from tests.testbed.processes import NotReady, Program

#: Seconds for a part to come back.
_PATIENCE: Final = 300.0
#: Seconds after which the others are left alone until it has: on a slow machine they would be killed faster than they
#: start, and a storm in which nobody gets to work tells nothing.
_MERCY: Final = 45.0


@dataclass(frozen=True, slots=True)
class Kill:
    """``at``: seconds from the storm's beginning, or when the part is ready, unless it is ``hasty``: that one may hit
    it while it starts. ``down``: seconds until it is started again.
    """

    at: float
    down: float
    hasty: bool


@dataclass
class Victim:
    """A part that is killed and started again. ``ready``: whether it has done its work since an instant.

    ``kill``: where it is more than the one program.
    """

    program: Program
    ready: Callable[[float], Awaitable[bool]]
    kill: Callable[[], None] | None = None
    killed: list[float] = field(default_factory=list)
    """When, in seconds since 1970."""


def schedule(size: Size) -> dict[str, list[Kill]]:
    """All kills of a storm, by part and in their order: of each its share."""
    chance = random.Random(f"{size.seed} kills")
    shares = {part: SHARES[kind_of(part)] for part in size.parts}
    counts = {part: size.kills * share // sum(shares.values()) for part, share in shares.items()}
    for part in islice(cycle(counts), size.kills - sum(counts.values())):
        counts[part] += 1
    return {part: _drawn(chance, count, size.seconds) for part, count in counts.items()}


def _drawn(chance: random.Random, kills: int, seconds: float) -> list[Kill]:
    times = sorted(chance.uniform(1, seconds) for _ in range(kills))
    return [Kill(at, chance.choice((0.0, 0.0, chance.uniform(0, 3))), chance.random() < 0.25) for at in times]


async def carry_out(
    kills: Mapping[str, Sequence[Kill]], victims: Mapping[str, Victim], told: Callable[[], None]
) -> None:
    """All kills, each part's one after the other. ``told`` is called at each. Raises NotReady."""
    begun, truce = time.monotonic(), Truce()
    async with asyncio.TaskGroup() as group:
        for part, ones in kills.items():
            group.create_task(_end_again_and_again(ones, victims[part], begun, told, truce))


class Truce:
    """Nobody is killed while a part has not come back for long."""

    def __init__(self) -> None:
        self._askers = 0
        self._over = asyncio.Event()
        self._over.set()

    async def until_ready(self, victim: Victim) -> None:
        """Wait until a part has done its work since it was last killed. Raises NotReady."""
        try:
            async with asyncio.timeout(_MERCY):
                return await until_ready(victim)
        except TimeoutError:
            self._begin()
        try:
            await until_ready(victim)
        finally:
            self._end()

    async def over(self) -> None:
        """Wait until no part needs one."""
        await self._over.wait()

    def _begin(self) -> None:
        self._askers += 1
        self._over.clear()

    def _end(self) -> None:
        self._askers -= 1
        if not self._askers:
            self._over.set()


async def _end_again_and_again(
    kills: Sequence[Kill], victim: Victim, begun: float, told: Callable[[], None], truce: Truce
) -> None:
    for kill in kills:
        await asyncio.sleep(begun + kill.at - time.monotonic())
        if not kill.hasty:
            await truce.until_ready(victim)
        await truce.over()
        victim.killed.append(time.time())
        await asyncio.to_thread(victim.kill or victim.program.kill)
        told()
        await asyncio.sleep(kill.down)
        victim.program.start()


async def until_ready(victim: Victim, since: float = 0) -> None:
    """Wait until a part has done its work since it was last killed, and since an instant (seconds since 1970).

    Raises NotReady with its last words.
    """
    deadline = time.monotonic() + _PATIENCE
    while not await victim.ready(max([since, *victim.killed])):
        if time.monotonic() > deadline:
            raise NotReady(f"{victim.program.name} has not come back:\n{victim.program.last_words()}")
        await asyncio.sleep(0.1)
