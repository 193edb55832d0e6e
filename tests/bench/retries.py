"""Told retry times against what then happens: for every launch of a made-up hub that its policies refuse.

Each launch is judged just before it, with what was known then. A second before the told instant it is still refused,
and at that instant it is allowed, if what ran goes on running as was told; usage at both instants is also added up
from the truth. Where the user's servers would stop at once, but stop later, the launch is still refused at the instant
that was told for that, and the one that is told anew is right.
"""

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from hubquota.cluster.observing import observed
from hubquota.domain.history import HowEnded, PodEnd, PodRecord
from hubquota.domain.launch import Launch, Verdict, judge
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy
from hubquota.domain.standing import QuotaState
from hubquota.domain.units import unit_size
from hubquota.ledger.merging import merged
from tests.bench.history import DAY, HOUR, Hub, Life, Member
from tests.bench.objects import Moment, moments, sight
from tests.bench.policies import EVERYONE, calendar, engine, pool, rolling, spec
from tests.bench.profiles import PROFILES
from tests.bench.truth import Truth, used
from tests.domain import naive

_MICROS: Final = 1_000_000
#: A server that was to stop at once stops so much later.
_LATE: Final = 2 * HOUR
#: Before, hardly anything is used.
_WARM_UP: Final = 3 * DAY


class Violation(Exception):
    """A told instant was wrong; the message says which, for whom and why."""


@dataclass(frozen=True)
class Rules:
    """Policies under which a hub's launches are judged."""

    name: str
    per_user: Sequence[naive.Spec]
    pools: Sequence[naive.Spec] = ()


#: Sets of policies whose forecasts reach as far as the instants that they make up together.
RULES: Final = (
    Rules(
        "rolling",
        (
            spec("memory-7d", "memory", "GiB-hours", rolling("7d")),
            spec("cpu-7d", "cpu", "CPU-hours", rolling("7d")),
            spec("credits-2d", "credits", "credits", rolling("2d")),
            spec("gpu-7d", "nvidia.com/gpu", "GPU-hours", rolling("7d")),
        ),
    ),
    Rules(
        "days",
        (
            spec("cpu-day", "cpu", "CPU-hours", calendar("Day", "Africa/Cairo")),
            spec("memory-day", "memory", "GiB-hours", calendar("Day", "America/Sao_Paulo")),
            spec("memory-12h", "memory", "GiB-hours", rolling("12h")),
        ),
    ),
    Rules(
        "months",
        (
            spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin")),
            spec("cpu-month", "cpu", "CPU-hours", calendar("Month", "Europe/Berlin")),
        ),
    ),
    Rules(
        "pools",
        (spec("memory-7d", "memory", "GiB-hours", rolling("7d")),),
        (
            pool("everyone", "memory", "GiB-hours", rolling("3d"), EVERYONE),
            pool("staff", "cpu", "CPU-hours", rolling("7d"), {"groups": ["staff"]}),
            pool("courses", "memory", "GiB-hours", rolling("1d"), {"groups": ["course-0", "course-1", "course-2"]}),
        ),
    ),
)
#: Of these a Day's forecast ends long before what a rolling window tells.
MIXED: Final = Rules("mixed", (*RULES[0].per_user, *RULES[1].per_user))


@dataclass
class Found:
    """How often what was seen."""

    launches: int = 0
    denied: int = 0
    counts: "Counter[str]" = field(default_factory=Counter)


def fitted(rules: Rules, hub: Hub, share: float = 0.05) -> Rules:
    """The same with limits that about so many of the launches that touch them would meet used up."""
    lives = [life for life in hub.lives() if life.server is not None and life.created > hub.start + _WARM_UP]
    asked = hub.luck("limits").sample(lives, min(len(lives), 400))
    truth = Truth(hub.lives())
    return Rules(
        rules.name,
        [_fitted(s, [truth.by_user[life.user] for life in asked], asked, share) for s in rules.per_user],
        [_fitted(s, [truth.charged(s)] * len(asked), asked, share / 3) for s in rules.pools],
    )


def _fitted(made: naive.Spec, paying: Sequence[list[Life]], asked: Sequence[Life], share: float) -> naive.Spec:
    levels = sorted(used(made, lives, life.created) for lives, life in zip(paying, asked, strict=True))
    level = Fraction(max(levels[int(len(levels) * (1 - share))], 1), unit_size(made["limit"]["unit"]))
    # Thousandths of a unit, but never 0.
    value = max(1, round(level * 1000))
    return {**made, "limit": {**made["limit"], "value": f"{value // 1000}.{value % 1000:03d}"}}


class Case:
    """One refused launch: who, when, what it asks for, and what was known then."""

    def __init__(self, trial: "Trial", member: Member, life: Life) -> None:
        self.trial, self.member, self.life, self.now = trial, member, life, life.created
        self.groups = frozenset(member.groups(life.created))
        held = PROFILES[life.profile].held
        self.launch = Launch({**held, "servers": 1000}, PROFILES[life.profile].name)

    def judged(self, at: int, meter: Meter | None = None) -> Verdict:
        """The engine's verdict at an instant, if what runs as far as is known runs on."""
        meter, micros = meter or self.trial.meter, at * _MICROS
        states = list(meter.standing(self.trial.per_user, self.member.name, self.groups, micros).quotas)
        states += self.pools(micros)
        return judge(states, self.launch, micros)

    def exhausted(self, at: int, lives: Sequence[Life] | None = None) -> list[str]:
        """The quotas that the launch touches and that are used up, by the truth."""
        return [s["name"] for s in self.touched() if self._used(s, at, lives) >= self._limit(s)]

    def fault(self, what: str) -> Violation:
        """What to say of a told instant that was wrong."""
        return Violation(f"{self.trial.rules.name}: {self.member.name!r} at {self.now} ({self.life.uid}): {what}")

    def pools(self, micros: int) -> Iterator[QuotaState]:
        """The states of the pools that it would charge."""
        for made, policy in self.trial.pools:
            if self._charges(made):
                state = self.trial.meter.pool(policy, micros)
                assert state is not None
                yield state

    def _charges(self, made: naive.Spec) -> bool:
        return naive.pays(made, naive.Held(self.member.name, {}, 0, None, self.life.charged))

    def touched(self) -> Iterator[naive.Spec]:
        """The policies that it touches (S18, S19)."""
        request = self.launch.request
        rules = self.trial.rules
        for made in [*rules.per_user, *(p for p in rules.pools if self._charges(p))]:
            mine = made.get("sharing") == "Shared" or naive.covers(made, self.member.name, self.groups)
            if mine and naive.grains(made, request) > 0:
                yield made

    def _used(self, made: naive.Spec, at: int, lives: Sequence[Life] | None) -> int:
        if lives is not None:
            return used(made, lives, at)
        pool = made.get("sharing") == "Shared"
        paying = self.trial.charged[made["name"]] if pool else self.trial.truth.by_user[self.member.name]
        # Of what was launched in this very second not all is known yet.
        known = [life for life in paying if life.uid in self.trial.records]
        return used(made, known, at, known=self.now)

    def _limit(self, made: naive.Spec) -> int:
        limit = self.trial.limits[made["name"]]
        assert limit is not None
        return limit


class Trial:
    """A hub's history told in order, under some rules, and each launch judged before it."""

    def __init__(self, hub: Hub, rules: Rules, every: int = 1) -> None:
        self.hub, self.rules, self.every = hub, rules, every
        self.lives = list(hub.lives())
        self.members = {member.name: member for member in hub.members()}
        self.truth = Truth(self.lives)
        self.per_user = [engine(s) for s in rules.per_user]
        self.pools: list[tuple[naive.Spec, Policy]] = [(s, engine(s)) for s in rules.pools]
        self.charged = {s["name"]: self.truth.charged(s) for s in rules.pools}
        policies = [*self.per_user, *(p for _, p in self.pools)]
        self.limits = {p.name: p.limit for p in policies}
        self.meter = Meter(0)
        self.records: dict[str, PodRecord] = {}
        self.mine: defaultdict[str | None, list[str]] = defaultdict(list)
        self.there: set[str] = set()
        self.found = Found()

    def run(self) -> Found:
        """Judge all launches. Raises Violation for the first told instant that is wrong."""
        hour = 0
        for at, i, moment in self._events():
            life = self.lives[i]
            if moment.at == life.created and life.server is not None and life.uid not in self.there:
                self.there.add(life.uid)
                if at > self.hub.start + _WARM_UP:
                    self._launched(Case(self, self.members[life.user or ""], life))
            self._heard(life, moment)
            if at // HOUR > hour:
                hour = at // HOUR
                self.meter.seal((at - HOUR) * _MICROS, self.there.__contains__)
        return self.found

    def known(self, user: str | None) -> list[PodRecord]:
        """All records of a user's pods."""
        return [self.records[uid] for uid in self.mine[user]]

    def _events(self) -> Iterator[tuple[int, int, Moment]]:
        # What ends in a second is heard of before what is launched in it.
        streams = (
            [((m.at, m.at == life.created), i, m) for m in moments(life, self.hub.until)]
            for i, life in enumerate(self.lives)
        )
        for (at, _), i, moment in heapq.merge(*streams):
            yield at, i, moment

    def _heard(self, life: Life, moment: Moment) -> None:
        if moment.gone:
            self.there.discard(life.uid)
        record = observed(sight(life, moment), "default")
        if record is None:
            return
        if record.uid not in self.records:
            self.mine[record.user].append(record.uid)
        self.records[record.uid] = merged(self.records.get(record.uid, record), record)
        _, doubtful = self.meter.take([self.records[record.uid]])
        for user in doubtful:
            self.meter.renew(user, self.known(user))

    def _launched(self, case: Case) -> None:
        verdict = case.judged(case.now)
        self.found.launches += 1
        used_up = case.exhausted(case.now)
        if {s.quota.name for s in verdict.refusing} != set(used_up):
            raise case.fault(f"refused by {[s.quota.name for s in verdict.refusing]}, but {used_up} are used up")
        if verdict.allowed:
            return
        self.found.denied += 1
        if self.found.denied % self.every:
            return
        self.found.counts["told times tried"] += 1
        self.found.counts["with two quotas used up at once"] += len(used_up) > 1
        self._as_told(case, verdict.until)
        self._stopped_late(case, verdict.until_if_stopped)

    def _as_told(self, case: Case, until: int | None) -> None:
        if until is None:
            self.found.counts["no time told, for none is foreseen"] += 1
            self._never(case)
            return
        at, rest = divmod(until, _MICROS)
        if rest or at <= case.now:
            raise case.fault(f"{until} is no whole second after now")
        running = bool(self.meter.running(case.member.name))
        self.found.counts["a server kept running"] += running
        for instant, allowed in ((at - 1, False), (at, True)):
            used_up = case.exhausted(instant)
            if case.judged(instant).allowed != allowed or (not used_up) != allowed:
                raise case.fault(f"told {at}, {instant - at} s from it {used_up} are used up")

    def _never(self, case: Case) -> None:
        """Refused at each hour of the shortest forecast."""
        touched = list(case.touched())
        end = min(naive.horizon(s["window"], case.now) for s in touched)
        for at in range(case.now, end, HOUR):
            if not case.exhausted(at):
                raise case.fault(f"no time is told, but at {at} nothing is used up")

    def _stopped_late(self, case: Case, until: int | None) -> None:
        """What runs was to stop now, and stops later."""
        running = self.meter.running(case.member.name)
        if until is None or not running or self.pools:
            return
        old, stop = until // _MICROS, case.now + _LATE
        lives, meter = self._stopping(case, stop), Meter(0)
        meter.take(_ended(record, stop * _MICROS) for record in self.known(case.member.name))
        later = case.exhausted(old, lives)
        if case.judged(old, meter).allowed == bool(later):
            raise case.fault(f"stopped late, {later} are used up at {old}, and the engine says otherwise")
        self.found.counts["stopped late: still refused at the old instant"] += bool(later)
        self.found.counts["stopped late: allowed at it all the same"] += not later
        self._told_anew(case, old, stop, lives, meter)

    def _told_anew(self, case: Case, old: int, stop: int, lives: Sequence[Life], meter: Meter) -> None:
        verdict = case.judged(stop, meter)
        if verdict.allowed or verdict.until is None:
            return
        new = verdict.until // _MICROS
        if new < old or case.exhausted(new, lives) or not case.exhausted(new - 1, lives):
            raise case.fault(f"stopped late at {stop}, told {new} anew after {old}")
        self.found.counts["stopped late: the instant told anew is right"] += 1

    def _stopping(self, case: Case, stop: int) -> list[Life]:
        """The user's pods as known now, of which those that run stop at an instant."""
        known = [life for life in self.truth.by_user[case.member.name] if life.uid in self.records]
        return [_stopped(life, case.now, stop) for life in known]


def _stopped(life: Life, now: int, at: int) -> Life:
    """As it goes on from ``now`` until it stops: without the resizes that really came then."""
    if life.ended is not None and life.ended <= now:
        return life
    return life._replace(ended=at, resizes=tuple(resize for resize in life.resizes if resize[0] <= now))


def _ended(record: PodRecord, at: int) -> PodRecord:
    if record.end is not None:
        return record
    segments = tuple(replace(s, end=at) if s.end is None else s for s in record.segments)
    return replace(record, end=PodEnd(at, HowEnded.CONTAINERS), segments=segments)


def run(hub: Hub, rules: Sequence[Rules] = RULES, every: int = 1) -> bool:
    """Print what was found; whether all told instants were right."""
    for each in rules:
        trial = Trial(hub, fitted(each, hub), every)
        before = time.process_time()
        try:
            found = trial.run()
        except Violation as fault:
            print(f"retries: WRONG: {fault}")
            return False
        share = found.denied / found.launches * 100
        print(f"retries, {each.name}: {found.launches:,} launches judged, {found.denied:,} refused ({share:.1f} %)")
        for what, count in sorted(found.counts.items()):
            print(f"  {what:<52}{count:>8,}")
        print(f"  {'told instants that were wrong':<52}{0:>8}  ({time.process_time() - before:,.0f} s of CPU time)")
    return True
