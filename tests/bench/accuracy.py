"""Metered usage against the truth: observations in a shuffled order and with repetitions, through ledger and meter."""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from hubquota.cluster.observing import observed
from hubquota.domain.history import PodRecord
from hubquota.domain.metering import Meter
from hubquota.ledger import Ledger
from tests.bench.history import DAY, HOUR, HUB, UNTIL, Hub, Life
from tests.bench.objects import Moment, moments, sight
from tests.bench.policies import PER_USER, POOLS, engine
from tests.bench.sampling import Sampling
from tests.bench.truth import Truth
from tests.domain import naive

_MICROS: Final = 1_000_000
#: Observations written at once.
_BATCH: Final = 1000
#: Of all observations, those that come twice.
_TWICE: Final = 0.3


@dataclass
class Wrong:
    """What a policy's usage differs by, over all users and instants asked for."""

    asked: int = 0
    most: int = 0
    users: set[str] = field(default_factory=set)

    def add(self, user: str, difference: int) -> None:
        """One more comparison."""
        self.asked += 1
        if difference:
            self.most = max(self.most, abs(difference))
            self.users.add(user)


@dataclass(frozen=True)
class Report:
    """``wrong``: by policy. ``seconds``: CPU time that observing and recording took; of one standing, microseconds."""

    pods: int
    observations: int
    wrong: dict[str, Wrong]
    cold: dict[str, Wrong]
    seconds: float
    standing: float

    @property
    def exact(self) -> bool:
        """Whether nothing differs anywhere."""
        return not any(w.users for w in [*self.wrong.values(), *self.cold.values()])


def instants(hub: Hub) -> list[int]:
    """When usage is asked for: at the end, and where a day or month begins or clocks are changed."""
    cairo, may = naive.second("2026-04-23T22:00:00Z"), naive.second("2026-04-30T22:00:00Z")
    edges = (UNTIL, UNTIL - 36 * HOUR, cairo, cairo + 1, may)
    return [at for at in edges if hub.start + DAY < at <= hub.until]


async def measure(hub: Hub, *, pools_first: bool = False) -> Report:
    """Meter a hub from shuffled observations, then again from what the ledger kept.

    ``pools_first``: pools are asked for before anything is heard, so that they are changed pod by pod. Where nothing
    comes in order that is slow.
    """
    lives = list(hub.lives())
    told = shuffled(hub, lives)
    meter, cold = Meter(0), Meter(0)
    for spec in POOLS if pools_first else ():
        meter.pool(engine(spec), 0)
    with tempfile.TemporaryDirectory() as folder:
        async with await Ledger.open(f"sqlite:///{Path(folder) / 'ledger.db'}") as ledger:
            before = time.process_time()
            for seen in _batches(told, lives):
                meter.take(await ledger.record(seen))
            seconds = time.process_time() - before
            for user, pods in (await ledger.history(HUB, 0)).items():
                cold.renew(user, pods)
    truth = Truth(lives)
    wrong = compare(meter, hub, truth)
    meter.seal((hub.until + DAY) * _MICROS, lambda uid: False)
    cold_wrong = compare(cold, hub, truth, islice(instants(hub), 1))
    put_away = compare(meter, hub, truth, islice(instants(hub), 1))
    for name, more in put_away.items():
        cold_wrong[name].users |= more.users
    return Report(len(lives), len(told), wrong, cold_wrong, seconds, _standing_takes(meter, hub))


def shuffled(hub: Hub, lives: Sequence[Life]) -> list[tuple[int, Moment]]:
    """What is heard of the pods, some of it twice, in no order."""
    luck = hub.luck("shuffle")
    told = [(i, moment) for i, life in enumerate(lives) for moment in moments(life, hub.until)]
    told += random.Random(luck.random()).sample(told, int(len(told) * _TWICE))
    luck.shuffle(told)
    return told


def compare(meter: Meter, hub: Hub, truth: Truth, at: Iterator[int] | None = None) -> dict[str, Wrong]:
    """What each policy's usage differs by from the truth."""
    wrong = {spec["name"]: Wrong() for spec in (*PER_USER, *POOLS)}
    policies, pools = [engine(s) for s in PER_USER], [(s, engine(s)) for s in POOLS]
    specs = {s["name"]: s for s in PER_USER}
    for now in at if at is not None else instants(hub):
        for member in hub.members():
            for state in meter.standing(policies, member.name, frozenset(), now * _MICROS).quotas:
                name = state.quota.name
                wrong[name].add(member.name, (state.used or 0) - truth.used(specs[name], member.name, now))
        for spec, policy in pools:
            found = meter.pool(policy, now * _MICROS)
            assert found is not None
            wrong[spec["name"]].add("a pool", (found.used or 0) - truth.pool(spec, now))
    return wrong


def _batches(told: Sequence[tuple[int, Moment]], lives: Sequence[Life]) -> Iterator[list[PodRecord]]:
    source = iter(told)
    while batch := list(islice(source, _BATCH)):
        seen = (observed(sight(lives[i], moment), "default") for i, moment in batch)
        yield [record for record in seen if record is not None]


def _standing_takes(meter: Meter, hub: Hub) -> float:
    policies, members = [engine(s) for s in PER_USER], hub.members()
    before = time.process_time()
    for member in members:
        meter.standing(policies, member.name, frozenset(), hub.until * _MICROS)
    return (time.process_time() - before) / len(members) * 1e6


@dataclass(frozen=True)
class Sampled:
    """Users in percent: charged for pods of others; whose own are missed; off by more than a hundredth."""

    others: float
    missed: float
    off: float
    worst: str


def sampled(hub: Hub) -> Sampled:
    """What sampling by names' prefixes would have charged for memory in 30 days."""
    lives = list(hub.lives())
    truth, sampling, spec = Truth(lives), Sampling(lives), PER_USER[1]
    since, members = hub.until - 30 * DAY, hub.members()
    in_window = partial(_in_window, since=since)
    others = missed = off = 0
    worst = (1.0, "nobody")
    for member in members:
        matched = [life for life in sampling.matched(member.name) if in_window(life)]
        servers = [life for life in truth.by_user[member.name] if life.server is not None and in_window(life)]
        others += any(life.user != member.name for life in matched)
        missed += not {life.uid for life in servers} <= {life.uid for life in matched}
        charged, right = sampling.memory(member.name, since, hub.until), truth.used(spec, member.name, hub.until)
        off += abs(charged - right) * 100 > right
        if right:
            worst = max(worst, (charged / right, member.name))
    percent = 100 / len(members)
    return Sampled(others * percent, missed * percent, off * percent, f"{worst[1]}, {worst[0]:,.1f} times")


def _in_window(life: Life, since: int) -> bool:
    return life.placed is not None and (life.ended is None or life.ended > since)


def run(hub: Hub) -> bool:
    """Print what was found; whether all of it is exact."""
    report = asyncio.run(measure(hub))
    users = hub.users
    print(f"accuracy: {users:,} users, {report.pods:,} pods in {hub.days} days, {report.observations:,} observations")
    print(f"  {'policy':<20}{'compared':>10}{'users wrong':>13}{'largest difference':>20}{'after a cold start':>20}")
    for name, wrong in report.wrong.items():
        print(f"  {name:<20}{wrong.asked:>10,}{len(wrong.users):>13}{wrong.most:>20}{len(report.cold[name].users):>20}")
    found = sampled(hub)
    print("  by prefix of the pod's name, every 60 s (memory, 30 days):")
    print(
        f"    users charged for others' pods {found.others:.1f} %, whose own servers are missed {found.missed:.1f} %,"
    )
    print(f"    whose charge is off by more than 1 % {found.off:.1f} %; worst: {found.worst}")
    each = report.seconds / report.observations * 1e6
    print(f"  CPU time: {each:,.0f} us an observation, {report.standing:,.0f} us a standing of {len(PER_USER)} quotas")
    return report.exact
