"""What is to become of each pod of a storm, drawn from a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from typing import Final

from tests.testbed.lives import Life, Step


class Way(StrEnum):
    """How a pod ends, in words for the table of results."""

    EXITS = "its containers exit"
    FAILS = "its containers fail"
    KEPT = "finished, never deleted"
    EVICTED = "evicted"
    REJECTED = "rejected by the kubelet"
    DELETED = "deleted with grace"
    FORCED = "deleted with grace 0"
    UNSTARTED = "never started"
    UNPLACED = "never placed"
    LOST = "node lost, forced out later"
    RUNS_ON = "runs on"


@dataclass(frozen=True, slots=True)
class Delete:
    """The hub deletes the pod ``after`` so many seconds of its life. ``grace``: seconds, 0: at once."""

    after: float
    grace: int


@dataclass(frozen=True, slots=True)
class Resize:
    """The hub asks for other memory (MiB) in place."""

    after: float
    memory: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One pod. ``at``: seconds from the storm's beginning, of one made ``again`` under a name from when it is free.

    ``memory`` in MiB, ``cpu`` in thousandths.
    """

    number: int
    way: Way
    at: float
    name: str
    user: str
    server: str
    groups: tuple[str, ...]
    memory: int
    cpu: int
    life: Life
    acts: tuple[Delete | Resize, ...] = ()
    again: "Plan | None" = None

    @property
    def calm(self) -> bool:
        """Whether it lives when nothing is killed any more."""
        return self.number >= _FIRST_CALM

    def chain(self) -> Iterator["Plan"]:
        """This pod, and all that are made again under its name."""
        yield self
        if self.again is not None:
            yield from self.again.chain()


_NAMES: Final = ("u{}", "ünï-{}", "user{}@uni.example", "U{}", "a{}--b", "u{}0")
_GROUPS: Final = ("students", "staff", "gpu-users")
#: How often pods end in which way, in percent.
_SHARES: Final = {
    Way.EXITS: 16,
    Way.FAILS: 5,
    Way.KEPT: 6,
    Way.EVICTED: 6,
    Way.REJECTED: 4,
    Way.DELETED: 30,
    Way.FORCED: 12,
    Way.UNSTARTED: 6,
    Way.UNPLACED: 4,
    Way.LOST: 6,
    Way.RUNS_ON: 5,
}
_STEPS: Final = {
    Way.EXITS: Step.FINISH,
    Way.KEPT: Step.FINISH,
    Way.FAILS: Step.FAIL,
    Way.EVICTED: Step.EVICT,
    Way.REJECTED: Step.REJECT,
    Way.LOST: Step.LOSE,
}
#: Of those, the ways in which a kubelet tells the end.
_TOLD: Final = (Way.EXITS, Way.FAILS, Way.DELETED, Way.EVICTED, Way.KEPT)
#: Seconds that a pod of a storm lives at most.
_LONGEST: Final = 20.0
#: The first number of the pods of the calm after a storm.
_FIRST_CALM: Final = 1_000_001
#: Ways that leave the name free for another pod.
_FREES: Final = frozenset(Way) - {Way.KEPT, Way.RUNS_ON}


def drawn(seed: int, hub: str, pods: int, seconds: float) -> list[Plan]:
    """Plans of so many pods of a hub, whose lives begin within so many seconds."""
    draw = _Draw(random.Random(f"{seed} pods of {hub}"), count(1), min(_LONGEST, max(5.0, seconds / 5)))
    users = [_NAMES[i % len(_NAMES)].format(i) for i in range(max(10, pods // 8))]
    plans: list[Plan] = []
    while (left := pods - sum(1 for plan in plans for _ in plan.chain())) > 0:
        plan = draw.plan(draw.chance.choice(users), draw.chance.uniform(0, seconds))
        again = draw.chance.random() < 0.2 and plan.way in _FREES and left > 1 and plan.at < 0.7 * seconds
        plans.append(replace(plan, again=draw.again(plan)) if again else plan)
    return plans


def calm(seed: int, hub: str, pods: int) -> list[Plan]:
    """Plans of pods of a hub that end within seconds in ways that are told, for when nothing is killed any more."""
    draw = _Draw(random.Random(f"{seed} calm of {hub}"), count(_FIRST_CALM), 3.0)
    return [draw.plan(f"calm{i % 9}", draw.chance.uniform(0, 3), draw.chance.choice(_TOLD)) for i in range(pods)]


@dataclass(frozen=True, slots=True)
class _Draw:
    """Where plans come from. ``longest``: seconds that a pod lives."""

    chance: random.Random
    numbers: Iterator[int]
    longest: float

    def plan(self, user: str, at: float, way: Way | None = None, name: str = "") -> Plan:
        chance, number = self.chance, next(self.numbers)
        way = way or chance.choices(list(_SHARES), list(_SHARES.values()))[0]
        lasts = min(self.longest, 0.5 + chance.expovariate(1 / 7))
        memory = chance.choice((64, 128, 256, 512))
        return Plan(
            number,
            way,
            at,
            name or f"jupyter-{number}",
            user,
            server=chance.choice(("", "", "second")),
            groups=tuple(g for g in _GROUPS if chance.random() < 0.4),
            memory=memory,
            cpu=chance.choice((50, 100, 250)),
            life=_life(chance, way, lasts),
            acts=tuple(sorted(_acts(chance, way, lasts, memory, self.longest), key=lambda act: act.after)),
        )

    def again(self, plan: Plan) -> Plan:
        """Another pod of the same user, made under the same name as soon as it is free."""
        return replace(self.plan(plan.user, 0, name=plan.name), server=plan.server)


def _life(chance: random.Random, way: Way, lasts: float) -> Life:
    runs = way not in (Way.UNPLACED, Way.UNSTARTED)
    restarts = [(chance.uniform(0, lasts), Step.RESTART) for _ in range(chance.choice((0, 0, 0, 1, 2)) if runs else 0)]
    ends = [(lasts, _STEPS[way])] if way in _STEPS else []
    steps = sorted([*restarts, *ends], key=lambda step: step[0])
    return Life(placed=way is not Way.UNPLACED, started=runs, takes=chance.uniform(0, 2), steps=tuple(steps))


def _acts(chance: random.Random, way: Way, lasts: float, memory: int, longest: float) -> Iterator[Delete | Resize]:
    if way not in (Way.UNPLACED, Way.UNSTARTED, Way.REJECTED) and chance.random() < 0.15:
        for factor in chance.sample((2, 3, 4), chance.choice((1, 2))):
            yield Resize(chance.uniform(0, lasts), memory * factor)
    # The hub deletes what has ended at once or some seconds later, as it happens to look.
    later = lasts + chance.choice((0.0, chance.uniform(0, longest / 8), chance.uniform(0, longest / 2)))
    deletes: dict[Way, Callable[[], tuple[Delete, ...]]] = {
        Way.DELETED: lambda: (Delete(lasts, chance.choice((1, 3, 30))),),
        Way.FORCED: lambda: (Delete(lasts, 0),),
        Way.LOST: lambda: (Delete(lasts + 1, 1), Delete(lasts + chance.uniform(2, 8), 0)),
        Way.KEPT: tuple,
        Way.RUNS_ON: tuple,
    }
    yield from deletes.get(way, lambda: (Delete(later, chance.choice((0, 1, 30))),))()
