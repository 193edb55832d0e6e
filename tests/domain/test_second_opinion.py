"""The engine says what counting second by second says: usage, exhaustion, retry times, combinations and pools."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from hubquota.domain.course import MOST_BLOCKS, Block
from hubquota.domain.launch import Launch, judge, lasts_until
from hubquota.domain.metering import Meter
from hubquota.domain.standing import Holdings, QuotaState
from hubquota.domain.units import unit_size
from hubquota.domain.windows import SECOND
from tests.domain import naive
from tests.domain.drawn import (
    USER,
    Case,
    cases,
    days,
    drawn,
    enforced,
    events,
    launches,
    policies,
    policy,
    rfc3339,
    rolling,
    scoped,
    specs,
)
from tests.domain.naive import Held, Stretch


def told(blocks: Sequence[Block], tick: int = 1) -> list[Stretch]:
    """The engine's stretches, as they are seen at each tick."""
    found: list[Stretch] = []
    for block in blocks:
        since = -(-block.start // (tick * SECOND)) * tick
        until = None if block.until is None else -(-block.until // (tick * SECOND)) * tick
        if found and found[-1][1] == since:
            since = found.pop()[0]
        if until is None or since < until:
            found.append((since, until))
    return found


def counted(case: Case, spec: naive.Spec, *, stopped: bool = False) -> list[Stretch]:
    """The blocked seconds within the forecast, counted one by one."""
    end = naive.horizon(spec["window"], case.now)
    course, limit = case.until(spec, end + case.tick, stopped=stopped), naive.limit(spec)
    assert limit is not None
    if limit == 0:
        return [(case.now, end if "fixed" in spec["window"] else None)]
    # A period's or event's forecast ends just before it does: at its end usage starts anew, or the quota is over.
    closes = "rolling" not in spec["window"]
    return naive.stretches(
        lambda at: course.exhausted(at, limit) and not (closes and at == end), case.now, end, case.tick
    )


def agree(case: Case, spec: naive.Spec, state: QuotaState) -> None:
    """The engine's state of one policy is what counting gives."""
    end = naive.horizon(spec["window"], case.now)
    unit = naive.UNITS.get(state.quota.first.unit, 1) * naive.GRAINS
    engine = Fraction(state.used or 0, unit_size(state.quota.first.unit)) * naive.HOUR * unit
    assert engine == case.until(spec, end + case.tick).used(case.now)
    for blocks, stopped in ((state.blocked, False), (state.blocked_if_stopped, True)):
        found, expected = told(blocks, case.tick), counted(case, spec, stopped=stopped)
        if len(blocks) == MOST_BLOCKS:
            last = blocks[-1].until or end * SECOND
            expected = [(since, until) for since, until in expected if since * SECOND <= last]
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(st.data(), cases())
def test_rolling_windows_and_events_are_what_counting_gives(data: st.DataObject, case: Case) -> None:
    spec = data.draw(specs("p", rolling() | events(case)))
    state = case.meter().standing([policy(spec)], USER, frozenset(), case.now * SECOND).quotas
    assert len(state) == naive.holds(spec, case.now)
    if state:
        agree(case, spec, state[0])


@settings(max_examples=40, deadline=None)
@given(st.data(), cases())
def test_days_are_what_counting_gives_also_where_clocks_are_changed(data: st.DataObject, case: Case) -> None:
    spec = data.draw(specs("p", days(case)))
    agree(case, spec, case.meter().standing([policy(spec)], USER, frozenset(), case.now * SECOND).quotas[0])


@settings(max_examples=15, deadline=None)
@given(st.data(), cases(tick=900, reach=60 * 24 * naive.HOUR), st.sampled_from(["Week", "Month"]), st.booleans())
def test_weeks_and_months_are_what_counting_quarter_hours_gives(
    data: st.DataObject, case: Case, period: str, sunday: bool
) -> None:
    window = {"calendar": period, "timeZone": case.zone}
    if period == "Week" and sunday:
        window["weekStart"] = "Sunday"
    spec = data.draw(specs("p", st.just(window)))
    spec["limit"]["value"] = data.draw(st.integers(0, 20_000))
    agree(case, spec, case.meter().standing([policy(spec)], USER, frozenset(), case.now * SECOND).quotas[0])


# --- Combining --------------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(drawn(scoped, 6), st.sets(st.sampled_from(["x", "y", "z"])))
def test_policies_combine_as_the_sentences_say(given_specs: list[dict[str, Any]], groups: set[str]) -> None:
    mine = frozenset(groups)
    found = Meter(0).standing(policies(given_specs), USER, mine, 0)
    engine = {
        (
            frozenset(p.name for p in q.policies),
            frozenset(p.name for p in q.deciders),
            None if q.limit is None else Fraction(q.limit, unit_size(q.first.unit)),
            q.enforcement.value,
            q.observed and q.observed.name,
            q.conflict,
            q.except_profiles,
            q.warn_at,
        )
        for q in [s.quota for s in found.quotas] + list(found.unlimited)
    }
    counted = {
        (q.policies, q.deciding, q.limit and q.limit / (naive.GRAINS * naive.HOUR), *q[4:])
        for q in naive.quotas(given_specs, USER, mine, 0)
    }
    assert engine == counted


# --- Pools ------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.data(), cases(most=8, users=["alice", "alice2", None]), st.sampled_from([0, 1, 2, 3]))
def test_pools_are_charged_by_what_was_recorded_at_launch(data: st.DataObject, case: Case, which: int) -> None:
    scope = [{"everyone": True}, {"groups": ["x"]}, {"groups": ["x", "y"]}, {"users": ["alice"], "groups": ["y"]}][
        which
    ]
    spec = data.draw(specs("pool", rolling(), {"scope": scope, "sharing": "Shared"}))
    paying = [pod for pod in case.pods if naive.pays(spec, pod)]
    state = case.meter().pool(policy(spec), case.now * SECOND)
    assert state is not None
    agree(Case(case.zone, case.now, paying, case.tick), spec, state)


# --- Launches ---------------------------------------------------------------------------------------------------------


class Future:
    """What a user's launch would meet at each tick from ``now`` to ``last``, counted one by one."""

    def __init__(self, case: Case, given_specs: Sequence[naive.Spec], launch: Launch, *, stopped: bool = False) -> None:
        self.case, self.specs, self.launch, self.stopped = case, given_specs, launch, stopped
        windows = [s["window"] for s in given_specs if naive.holds(s, case.now)]
        ends = [naive.horizon(window, case.now) for window in windows]
        #: The least and the furthest that any forecast reaches.
        self.surely, self.last = min(ends, default=case.now), max(ends, default=case.now)
        self._courses: dict[str, naive.Course] = {}
        self._quotas: dict[tuple[bool, ...], list[naive.Quota]] = {}

    def refusing(self, at: int, how: str = "Deny") -> set[frozenset[str]]:
        """The quotas, by the names of their policies, that are exhausted at an instant."""
        return {q.policies for q in self._touched(at) if q.enforcement == how and self._exhausted(q, at)}

    def opens(self) -> int | None:
        """The first instant at which the launch is allowed; None: not within any forecast."""
        ticks = range(self.case.now, self.last + 1, self.case.tick)
        return next((at for at in ticks if not self.refusing(at)), None)

    def _exhausted(self, quota: naive.Quota, at: int) -> bool:
        assert quota.limit is not None
        name = quota.spec["name"]
        if name not in self._courses:
            self._courses[name] = self.case.until(quota.spec, self.last + self.case.tick, stopped=self.stopped)
        return quota.limit == 0 or self._courses[name].exhausted(at, quota.limit)

    def _touched(self, at: int) -> list[naive.Quota]:
        """The quotas of an instant that the launch touches: they change where an event begins or ends."""
        there = tuple(naive.holds(s, at) for s in self.specs)
        if there not in self._quotas:
            quotas = naive.quotas(self.specs, USER, frozenset(), at)
            request, profile = self.launch.request, self.launch.profile
            self._quotas[there] = [q for q in quotas if q.limit is not None and naive.touched(q, request, profile)]
        return self._quotas[there]


def same_verdict(case: Case, given_specs: Sequence[naive.Spec], launch: Launch) -> None:
    """The engine's verdict is what counting gives, and so are the instants that it tells."""
    meter, now = case.meter(), case.now * SECOND
    standing = meter.standing(policies(given_specs), USER, frozenset(), now)
    states = standing.quotas
    verdict = judge(states, launch, now, standing.foreseen)
    future = Future(case, given_specs, launch)
    for hit, how in (
        (verdict.refusing, "Deny"),
        (verdict.warning, "Warn"),
        (verdict.shadow_refusing, "Observe"),
    ):
        assert {frozenset(p.name for p in s.quota.policies) for s in hit} == future.refusing(case.now, how)
    cuts = [s.foreseen for s in states if s.foreseen is not None and len(s.blocked) == MOST_BLOCKS]
    right_time(verdict.until, future, min(cuts, default=None))
    right_time(verdict.until_if_stopped, Future(case, given_specs, launch, stopped=True))


def right_time(told: int | None, future: Future, cut: int | None = None) -> None:
    """A told instant is the first that is open; none is told only where none is within all forecasts.

    ``cut``: where a quota has more stretches than are told; None: it has not.
    """
    opens, now, tick = future.opens(), future.case.now, future.case.tick
    if told is None:
        assert opens is None or opens >= future.surely or (cut is not None and opens * SECOND >= cut)
        return
    at, rest = divmod(told, SECOND)
    assert rest == 0
    assert not future.refusing(at)
    assert at == now or future.refusing(at - 1)
    # Between two ticks nobody looked.
    assert opens == at if tick == 1 else opens is None or opens > at - tick


@settings(max_examples=120, deadline=None)
@given(st.data(), cases(most=4), launches())
def test_launches_meet_what_counting_says_and_are_told_the_first_open_second(
    data: st.DataObject, case: Case, launch: Launch
) -> None:
    given_specs = data.draw(drawn(lambda name: enforced(name, rolling()), 4))
    same_verdict(case, given_specs, launch)


@settings(max_examples=15, deadline=None)
@given(st.data(), cases(most=3), launches())
def test_launches_under_days_and_hours_together(data: st.DataObject, case: Case, launch: Launch) -> None:
    given_specs = data.draw(drawn(lambda name: enforced(name, days(case) | rolling()), 2))
    same_verdict(case, given_specs, launch)


@settings(max_examples=60, deadline=None)
@given(st.data(), cases(tick=900, reach=72 * naive.HOUR), launches())
def test_launches_under_windows_of_very_different_lengths(data: st.DataObject, case: Case, launch: Launch) -> None:
    day = {"calendar": "Day", "timeZone": case.zone}
    together = data.draw(st.sampled_from([[{"rolling": "7d"}, {"rolling": "36h"}], [{"rolling": "7d"}, day]]))
    given_specs = data.draw(drawn(lambda name: enforced(name, st.sampled_from(together)), 3))
    for spec in given_specs:
        used = case.until(spec, naive.horizon(spec["window"], case.now)).used(case.now) // (naive.GRAINS * naive.HOUR)
        spec["limit"]["value"] = data.draw(st.integers(0, 400) | st.integers(used // 2, used))
    same_verdict(case, given_specs, launch)


@settings(max_examples=60, deadline=None)
@given(st.data(), cases(most=4), launches())
def test_the_rest_lasts_until_the_second_at_which_it_is_used_up(
    data: st.DataObject, case: Case, launch: Launch
) -> None:
    spec = data.draw(specs("p", rolling()))
    now, end = case.now * SECOND, naive.horizon(spec["window"], case.now)
    meter = case.meter()
    state = meter.standing([policy(spec)], USER, frozenset(), now).quotas[0]
    held = Holdings(meter._timelines(meter._accounts[USER]), 0)
    found = lasts_until(state, held, launch, now)
    course = case.until(spec, end + 1, more=[Held(USER, launch.request, case.now)])
    limit = naive.limit(spec) or Fraction(0)
    expected = next((at for at in range(case.now, end) if course.exhausted(at, limit)), None)
    assert (found if found is None else -(-found // SECOND)) == expected


# --- Cases that the above would hardly draw ---------------------------------------------------------------------------

BERLIN_NOON: Final = naive.second("2026-05-04T10:00:00Z")
ONE_CPU: Final = {"cpu": 1000, "servers": 1000}


def cpu(name: str, hours: str, window: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "name": name,
        "scope": {"everyone": True},
        "resource": "cpu",
        "limit": {"value": hours, "unit": "CPU-hours"},
        "window": window,
    } | more


def test_no_time_is_told_at_which_a_day_further_ahead_than_its_forecast_would_be_used_up() -> None:
    # A server of last week fills the month's hours until day 5; the one that runs uses up each day at 20:00.
    ran = Held(USER, {"cpu": 100_000}, BERLIN_NOON - 30 * 24 * 3600 + 5 * 24 * 3600, BERLIN_NOON - 24 * 24 * 3600)
    runs = Held(USER, ONE_CPU, BERLIN_NOON - 3600)
    day = cpu("day", "8", {"calendar": "Day", "timeZone": "Europe/Berlin"})
    case = Case("Europe/Berlin", BERLIN_NOON, [ran, runs], 900)
    same_verdict(case, [cpu("month", "2300", {"rolling": "30d"}), day], Launch(ONE_CPU))


def test_no_time_is_told_past_the_stretches_of_which_one_knows() -> None:
    # What runs adds as much in six minutes as leaves the window with each of ten short pods: ten stretches and gaps.
    # The memory is free again within the last of them.
    now = BERLIN_NOON
    short = [Held(USER, {"cpu": 6000}, now - 3600 + i * 360, now - 3600 + i * 360 + 60) for i in range(10)]
    long = Held(USER, {"memory": 2**30}, now - 7200, now - 3600 + 57 * 60)
    case = Case("Europe/Berlin", now, [*short, Held(USER, {"cpu": 1000}, now), long])
    memory = cpu("memory", "0.01", {"rolling": "1h"}, resource="memory", limit={"value": "0.01", "unit": "GiB-hours"})
    launch = Launch({"cpu": 1000, "memory": 2**30})
    same_verdict(case, [cpu("cpu", "0.93", {"rolling": "1h"}), memory], launch)


def test_no_time_is_told_within_an_event_to_come_that_lets_nobody_start() -> None:
    ran = Held(USER, ONE_CPU, BERLIN_NOON - 3600, BERLIN_NOON)
    soon = {"fixed": {"start": rfc3339(BERLIN_NOON + 60), "end": rfc3339(BERLIN_NOON + 7200)}}
    case = Case("Europe/Berlin", BERLIN_NOON, [ran])
    same_verdict(case, [cpu("hour", "0.5", {"rolling": "1h"}), cpu("exam", "0", soon)], Launch(ONE_CPU))


def test_no_time_is_told_at_which_the_fallback_that_an_event_displaced_is_used_up() -> None:
    ran = Held(USER, ONE_CPU, BERLIN_NOON - 3600, BERLIN_NOON)
    event = {"fixed": {"start": rfc3339(BERLIN_NOON - 7200), "end": rfc3339(BERLIN_NOON + 60)}}
    fallback = cpu("rest", "0.5", {"rolling": "1h"}, scope={"fallback": True})
    case = Case("Europe/Berlin", BERLIN_NOON, [ran])
    same_verdict(case, [cpu("event", "1", event), fallback], Launch(ONE_CPU))
