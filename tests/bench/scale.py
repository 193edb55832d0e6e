"""A large hub's meter: what it takes in memory and time to hold its history, and to say where everybody stands."""

import resource
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final, TypeVar

from hubquota.cluster.observing import observed
from hubquota.domain.metering import Meter
from tests.bench.history import Hub, Life
from tests.bench.objects import Moment, sight
from tests.bench.policies import EVERYONE, calendar, engine, pool, rolling, spec
from tests.bench.profiles import PROFILES

_MICROS: Final = 1_000_000
#: What a hub may have: three quotas for everybody, and one pool that all of them pay into.
POLICIES: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d"), 1000),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin"), 4000),
)
_POOL: Final = pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE, 100_000)
T = TypeVar("T")


def loaded(lives: Iterable[Life]) -> Meter:
    """A meter that holds a hub's history: what is over as numbers, what runs as records."""
    meter = Meter(0)

    @cache
    def kind(profile: int, groups: frozenset[str]) -> tuple[int, int]:
        return meter.kind({**PROFILES[profile].held, "servers": 1000}, tuple(sorted(groups)))

    for life in lives:
        if life.placed is None:
            continue
        if life.ended is not None and not life.resizes:
            gone = (life.user, life.placed * _MICROS, life.ended * _MICROS, kind(life.profile, life.charged))
            meter.load([gone])
        elif (record := observed(sight(life, Moment(life.placed)), "default")) is not None and life.ended is None:
            meter.take([record])
    return meter


def run(hub: Hub) -> bool:
    """Print how long it takes, and how much memory this process had at most until then, beside what it began with."""
    base = most_memory()
    pods, walking = _timed(lambda: sum(1 for _ in hub.lives()))
    print(f"scale: {hub.users:,} users, {pods:,} pods in {hub.days} days")
    _print(base, "walk through the made-up history", walking)
    meter, loading = _timed(lambda: loaded(hub.lives()))
    _print(base, "load it (the walk taken off)", loading - walking)
    members, policies = hub.members(), [engine(s) for s in POLICIES]
    now = hub.until * _MICROS

    def all_stand() -> None:
        for member in members:
            meter.standing(policies, member.name, frozenset(), now)

    _, standing = _timed(all_stand)
    _print(base, f"standing of all users, {len(policies)} quotas each", standing)
    _print(base, "  a user, on average", standing / len(members), "us")
    everyone = engine(_POOL)
    _print(base, "an everyone pool, the first time", _timed(lambda: meter.pool(everyone, now))[1])
    _print(base, "  and again", _timed(lambda: meter.pool(everyone, now))[1], "us")
    return True


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    before = time.process_time()
    made = work()
    return made, time.process_time() - before


def most_memory() -> int:
    """The most memory that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _print(base: int, what: str, seconds: float, unit: str = "s") -> None:
    told = f"{seconds * 1e6:>12,.0f} us" if unit == "us" else f"{seconds:>12,.1f} s "
    print(f"  {what:<42}{told} CPU  {most_memory() - base:>6,} MiB more at most")
