"""What a user reads promises no more than the engine says there is: neither amount nor time.

Be it while a server starts, or in a refusal that says what helps.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.domain import launch as launching
from hubquota.domain.standing import QuotaState
from hubquota.domain.units import unit_size
from hubquota.domain.windows import SECOND
from hubquota.resources.status import quota_json, user_status
from tests.domain import drawn
from tests.domain.drawn import ALLOCATIONS, USER, Case, cases
from tests.domain.naive import Held

SAID = re.compile(r"(?:Nearly used up: only )?([\d.,]+) of [\d.,]+ \S+(?: of \S+)? left")
LASTS = re.compile(r"with this server it lasts (.+), until (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\.")
SECONDS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
#: Amounts in a status are cut to so much of a unit, and so is what runs per hour.
CUT = Fraction(2, 10**6)


def written(case: Case, *specs: dict[str, Any]) -> tuple[dict[str, Any], hook.Shared]:
    """A UserQuota, and the policies, as the operator writes them at the case's instant."""
    policies, meter, at = drawn.policies(specs), case.meter(), case.now * SECOND
    running = [{"server": f"s{n}"} for n, pod in enumerate(case.pods) if pod.user == USER and runs(pod, case.now)]
    status = user_status(meter.standing(policies, USER, frozenset(), at), running, 1)
    told = {}
    for spec, policy in zip(specs, policies, strict=True):
        pool = meter.pool(policy, at) if policy.shared else None
        told[policy.name] = {"spec": spec, "metadata": {}, "status": {} if pool is None else {"pool": quota_json(pool)}}
    stored = json.loads(json.dumps({"user_quota": {"spec": {"user": USER}, "status": status}, "policies": told}))
    return stored["user_quota"], hook.Shared(stored["policies"], None, datetime.fromtimestamp(case.now, UTC))


def runs(pod: Held, now: int) -> bool:
    return pod.start <= now and (pod.end is None or now < pod.end)


def engine(case: Case, spec: dict[str, Any], now: int, *more: Held) -> QuotaState | None:
    """What the engine says of the quota at ``now`` (seconds), with more running; None: it gives none then."""
    policy, meter = drawn.policy(spec), replace(case, pods=[*case.pods, *more]).meter()
    if policy.shared:
        return meter.pool(policy, now * SECOND)
    states = meter.standing([policy], USER, frozenset(), now * SECOND).quotas
    return states[0] if states else None


def seconds(words: str) -> int:
    """``1 d 3 h`` as seconds."""
    parts = words.split(" ")
    return sum(int(n) * SECONDS[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(ALLOCATIONS), st.just(0) | st.integers(0, 2 * 3600))
def test_neither_what_is_left_nor_how_long_it_lasts_is_more_than_there_is(
    data: st.DataObject, allocation: dict[str, int], later: int
) -> None:
    case = data.draw(cases(users=[USER, "bob"]))
    window = drawn.rolling() | drawn.days(case) | drawn.events(case)
    spec = data.draw(drawn.specs("p", window, data.draw(st.sampled_from([{}, {"sharing": "Shared"}]))))
    known, shared = written(case, spec)
    now = case.now + later
    launch = hook.Launch(USER, "", "", allocation)
    shared = replace(shared, now=datetime.fromtimestamp(now, UTC))
    verdict = hook._answer(known, shared, launch).verdict
    text, _ = hook.progress_message(verdict, launch, shared.now)
    truth = engine(case, spec, now)
    if not (verdict.open and text) or truth is None:
        return
    said = SAID.match(text)
    assert said, text
    left = Fraction(truth.limit - (truth.used or 0), unit_size(truth.quota.first.unit))
    assert Fraction(said[1].replace(",", "")) <= max(left, Fraction(0)) + CUT * (1 + Fraction(later, 3600)), text
    if lasts := LASTS.search(text):
        beside = engine(case, spec, now, Held(USER, allocation | {"servers": 1000}, now))
        assert beside is not None
        ends = beside.blocked[0].start if beside.blocked else None
        until = int(datetime.fromisoformat(f"{lasts[2]}+00:00").timestamp())
        assert ends is None or until * SECOND <= ends, text
        assert ends is None or (now + seconds(lasts[1])) * SECOND <= ends, text
    else:
        assert "last" not in text


HELPS = re.compile(r"[Ii]f you stop .+, it will work (?:at once|from (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC)")


def verdict_of(case: Case, specs: Sequence[dict[str, Any]], request: Mapping[str, int], now: int) -> launching.Verdict:
    """What the engine says of a launch at ``now`` (seconds)."""
    meter, policies = case.meter(), drawn.policies(specs)
    standing = meter.standing(policies, USER, frozenset(), now * SECOND)
    pools = [pool for policy in policies if policy.shared and (pool := meter.pool(policy, now * SECOND))]
    launch = launching.Launch({**request, "servers": 1000})
    return launching.judge([*standing.quotas, *pools], launch, now * SECOND, standing.foreseen)


@st.composite
def nearly_used(draw: st.DrawFn, /, case: Case, name: str, most: int, **more: object) -> dict[str, Any]:
    """A policy of a rolling window, with a limit of half of what is used up to ``most`` halves."""
    spec = draw(drawn.specs(name, drawn.rolling(), more))
    state = engine(case, spec, case.now)
    used = 0 if state is None else (state.used or 0) * 1000 // unit_size(state.quota.first.unit)
    spec["limit"]["value"] = f"{Decimal(draw(st.integers(used // 2, used * most // 2 + 1))) / 1000:.3f}"
    return spec


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), cases(users=[USER, "bob"]), st.sampled_from(ALLOCATIONS), st.integers(0, 7200))
def test_who_stops_what_runs_as_a_refusal_says_can_launch_then_though_others_of_a_pool_run_on(
    data: st.DataObject, case: Case, allocation: dict[str, int], since: int
) -> None:
    case = replace(case, pods=[*case.pods, Held(USER, allocation | {"servers": 1000}, case.now - since)])
    specs = [data.draw(nearly_used(case, "own", 2)), data.draw(nearly_used(case, "pool", 4, sharing="Shared"))]
    known, shared = written(case, *specs)
    answer = hook._answer(known, shared, hook.Launch(USER, "", "", allocation))
    text = " ".join(hook.refusal(answer.verdict, answer.running, answer.now).paragraphs)
    if not (helps := HELPS.search(text)):
        return
    until = int(datetime.fromisoformat(f"{helps[1]}+00:00").timestamp()) if helps[1] else case.now
    pods = [pod._replace(end=min(case.now, pod.end or case.now)) if pod.user == USER else pod for pod in case.pods]
    stopped = replace(case, pods=pods)
    assert not verdict_of(stopped, specs, allocation, until).refusing, text
    first = verdict_of(stopped, specs, allocation, case.now).until
    assert first is not None
    assert first <= until * SECOND, text
    pool = engine(case, specs[1], case.now)
    assert first == until * SECOND or (pool is not None and pool.blocked), text


def left(limit: str, used: str, per_hour: str, hours: int) -> str:
    """What is said so many hours after a status, of memory that is used by 1 GiB an hour more from now on."""
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ends = {
        "at": f"{since + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}",
        "used": str(Decimal(used) + Decimal(per_hour) * 168),
    }
    told: dict[str, Any] = {
        "resource": "memory",
        "unit": "GiB-hours",
        "window": {"rolling": "7d"},
        "limit": limit,
        "used": used,
    }
    told |= {"perHour": per_hour, "forecast": [{"at": f"{since:%Y-%m-%dT%H:%M:%SZ}", "used": used}, ends]}
    launch = hook.Launch("a", "", "", {"memory": 2**30})
    return hook.progress_message(hook.Verdict(open=[told]), launch, since + timedelta(hours=hours))[0]


@pytest.mark.parametrize(
    ("limit", "used", "per_hour", "hours", "words"),
    [
        ("40", "12.5", "0", 0, "27.5 of 40 GiB-hours left in any 7 days; with this server it lasts 1 d 3 h, until"),
        ("40", "38.02", "0", 0, "lasts 1 h 58 min, until 2026-03-01 13:58:48 UTC."),
        ("40", "39.999", "0", 0, "lasts 3 s, until"),
        ("40", "10", "2", 5, "20 of 40 GiB-hours left in any 7 days; with this server it lasts 6 h 40 min, until"),
    ],
)
def test_it_is_said_for_the_instant_at_which_it_is_read(
    limit: str, used: str, per_hour: str, hours: int, words: str
) -> None:
    assert words in left(limit, used, per_hour, hours)
