"""An explanation adds up to what it explains, and says why each policy holds."""

from collections.abc import Sequence

from hypothesis import given

from hubquota.domain.explaining import Explanation, explain
from hubquota.domain.history import PodRecord
from hubquota.domain.measure import Measure
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Combine, Enforcement, Policy, Scope
from hubquota.domain.replaying import known_at
from hubquota.domain.windows import DAY, HOUR, Calendar, Fixed, Period, Rolling, Window
from tests.domain.histories import policy
from tests.ledger.pods import Life, lives

STAFF = frozenset({"staff"})


def of(pods: Sequence[PodRecord], *policies: Policy, now: int = 1200) -> Explanation:
    known = [k for p in pods if (k := known_at(p, now)) is not None]
    meter = Meter(0)
    meter.take(known)
    return explain(meter, known, policies, "alice", STAFF, now)


@given(lives())
def test_what_was_counted_adds_up_to_what_is_used(life: Life) -> None:
    pods = [PodRecord(**{f: getattr(life.seen[0], f) for f in PodRecord.__dataclass_fields__} | {"user": "alice"})]
    windows: list[Window] = [Rolling(700), Fixed(300, 5000), Calendar(Period.DAY, "UTC")]
    found = of(pods, *(policy(f"p{i}", window=window) for i, window in enumerate(windows)))
    assert len(found.quotas) == 3
    for quota in found.quotas:
        assert sum(c.used for c in quota.counted) == quota.state.used
        assert all(quota.opened is not None and quota.opened <= c.start < c.end <= 1200 for c in quota.counted)


def test_each_policy_says_why_it_holds_and_what_it_does() -> None:
    found = of(
        [],
        policy("all", 5 * HOUR),
        policy("group", 7 * HOUR, scope=Scope(groups=STAFF)),
        policy("named", 3 * HOUR, scope=Scope(users=frozenset({"alice"})), enforcement=Enforcement.OBSERVE),
        policy("other", scope=Scope(users=frozenset({"bob"}))),
        policy("event", window=Fixed(DAY, 2 * DAY)),
        policy("rest", scope=Scope(fallback=True)),
        policy("vip", None, combine=Combine.OVERRIDE, measure=Measure("cpu")),
        policy("pool", shared=True),
    )
    assert {p.policy.name: (p.holds, p.why, p.role) for p in found.policies} == {
        "all": (True, "everyone", "decides"),
        "event": (False, "its event is not under way", ""),
        "group": (True, "group staff", "outranked by all"),
        "named": (True, "names the user", "observes; decides"),
        "other": (False, "names neither the user nor a group of theirs", ""),
        "pool": (True, "everyone", "pool"),
        "rest": (False, "fallback, and another policy covers the user", ""),
        "vip": (True, "everyone", "decides"),
    }
