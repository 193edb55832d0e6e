"""A replay judges each launch by what was known just before it, and no later."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord
from hubquota.domain.launch import Launch, judge
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Enforcement, Policy, Scope
from hubquota.domain.replaying import Replay, known_at
from hubquota.domain.windows import DAY, HOUR, Rolling
from tests.domain.histories import policy
from tests.ledger.pods import holding, pod

MEMORY = policy("memory", 3 * HOUR, Rolling(5 * HOUR))
AT_ONCE = policy("at-once", 2, None, measure=Measure("servers"), unit="servers")
POOL = policy("pool", 9 * HOUR, Rolling(20 * HOUR), scope=Scope(groups=frozenset({"x"})), shared=True)
SHADOW = policy("shadow", 1 * HOUR, Rolling(5 * HOUR), enforcement=Enforcement.OBSERVE)


def server(uid: str, user: str, start: int, end: int | None, groups: tuple[str, ...] = (), **more: object) -> PodRecord:
    held = {"memory": 1, "servers": 1000}
    made = pod(uid, start, scheduled=start, user=user, groups=groups, segments=holding(start, held, end))
    made = replace(made, end=None if end is None else PodEnd(end, HowEnded.CONTAINERS))
    return replace(made, **more)  # type: ignore[arg-type]


def denied(pods: Sequence[PodRecord], *policies: Policy, start: int = 0, end: int = 10 * DAY) -> dict[str, list[str]]:
    found = Replay(pods, policies).launches(start, end)
    return {r.pod.uid: [s.quota.name for s in r.verdict.refusing] for r in found if not r.verdict.allowed}


def test_a_launch_is_denied_once_the_quota_is_used_up_and_allowed_when_it_is_free_again() -> None:
    pods = [
        server("1", "a", 0, 3 * HOUR),
        server("2", "a", 3 * HOUR, 3 * HOUR + 1),
        server("3", "a", 6 * HOUR, None),
        server("4", "b", 3 * HOUR, None),
    ]
    assert denied(pods, MEMORY) == {"2": ["memory"]}
    assert denied(pods, MEMORY, start=4 * HOUR) == {}


def test_servers_at_once_are_counted_as_they_were() -> None:
    pods = [server("1", "a", 0, HOUR), server("2", "a", 0, 2 * HOUR), server("3", "a", 1, None)]
    assert denied(pods[:3], AT_ONCE) == {"3": ["at-once"]}
    assert denied([*pods[:2], server("4", "a", HOUR, None)], AT_ONCE) == {}


def test_a_pool_is_charged_by_all_and_refuses_its_members_alone() -> None:
    pods = [
        server("1", "a", 0, 5 * HOUR, ("x",)),
        server("2", "b", 0, 5 * HOUR, ("x",)),
        server("3", "c", 5 * HOUR, None, ("x",)),
        server("4", "d", 5 * HOUR, None, ("y",)),
    ]
    assert denied(pods, POOL) == {"3": ["pool"]}
    assert set(Replay(pods, [POOL]).pools(5 * HOUR)) == {"pool"}


def test_what_would_be_denied_in_earnest_is_not_denied_by_observing() -> None:
    pods = [server("1", "a", 0, 2 * HOUR), server("2", "a", 2 * HOUR, None)]
    found = list(Replay(pods, [SHADOW]).launches(0, DAY))
    assert [[s.quota.name for s in r.verdict.shadow_refusing] for r in found] == [[], ["shadow"]]
    assert all(r.verdict.allowed for r in found)


def test_what_is_not_a_server_is_no_launch() -> None:
    assert list(Replay([server("1", "a", 0, None, server=None)], [MEMORY]).launches(0, DAY)) == []


def test_groups_are_those_of_the_last_launch_or_as_they_are_given() -> None:
    staff = policy("staff", 0, scope=Scope(groups=frozenset({"staff"})))
    pods = [server("1", "a", 0, 1, ("staff",)), server("2", "a", HOUR, None, ("guest",))]
    assert Replay(pods, [staff]).standings(HOUR - 1)["a"].verdict == "Denied"
    assert Replay(pods, [staff]).standings(HOUR)["a"].verdict == "Allowed"
    assert Replay(pods, [staff], {"a": frozenset({"staff"})}).standings(HOUR)["a"].verdict == "Denied"


@st.composite
def histories(draw: st.DrawFn) -> list[PodRecord]:
    made = []
    for i in range(draw(st.integers(1, 10))):
        start = draw(st.integers(0, 100)) * HOUR
        length = draw(st.none() | st.integers(0, 60))
        end = None if length is None else start + length * HOUR
        user, groups = draw(st.sampled_from("ab")), draw(st.sampled_from([(), ("x",)]))
        made.append(server(str(i), user, start, end, groups))
    return made


@given(histories())
def test_each_launch_is_judged_as_if_nothing_had_happened_since(pods: list[PodRecord]) -> None:
    policies = [MEMORY, AT_ONCE, POOL, SHADOW]
    for replayed in Replay(pods, policies).launches(0, 10 * DAY):
        at, mine = replayed.pod.scheduled, (replayed.pod.scheduled, replayed.pod.uid)
        before = [k for p in pods if (p.scheduled, p.uid) < mine and (k := known_at(p, at)) is not None]
        meter = Replay(before, policies).meter(at)
        standing = meter.standing(policies, replayed.pod.user or "", frozenset(replayed.pod.groups), at)
        pools = [s for p in policies if p.name in standing.pools and (s := meter.pool(p, at)) is not None]
        held = {s.resource: s.request for s in replayed.pod.segments}
        expected = judge([*standing.quotas, *pools], Launch(held), at)
        found = replayed.verdict
        assert [s.quota.name for s in found.refusing] == [s.quota.name for s in expected.refusing]
        assert (found.until, found.until_if_stopped) == (expected.until, expected.until_if_stopped)
