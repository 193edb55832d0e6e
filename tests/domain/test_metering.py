"""A meter counts each pod once, for its user and for the pools that it was launched for, in whatever order it hears."""

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.measure import Measure
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.windows import DAY, HOUR
from tests.domain.histories import EVERYONE, NOBODY, policy

CPU = policy("p", 10_000 * HOUR, measure=Measure("cpu"), unit="CPU-hours")
SCOPES = (
    EVERYONE,
    Scope(groups=frozenset({"x"})),
    Scope(groups=frozenset({"x", "y"})),
    Scope(users=frozenset({"b"})),
    Scope(users=frozenset({"a"}), groups=frozenset({"y"})),
)


def pod(
    uid: str,
    user: str | None,
    start: int,
    end: int | None = None,
    groups: tuple[str, ...] = (),
    chosen: str | None = None,
) -> PodRecord:
    return PodRecord(
        uid=uid,
        cluster="c",
        hub="h",
        name=uid,
        user=user,
        server="",
        scheduled=start,
        first_seen=start,
        last_seen=start if end is None else end,
        groups=groups,
        chosen_group=chosen,
        end=None if end is None else PodEnd(end, HowEnded.CONTAINERS),
        segments=(SegmentRecord("cpu", 1000, None, start, end), SegmentRecord("servers", 1000, None, start, end)),
    )


def used(meter: Meter, user: str, at: int) -> int:
    return meter.standing([CPU], user, NOBODY, at).quotas[0].used or 0


def pool(scope: Scope) -> Policy:
    return replace(CPU, name="pool", scope=scope, shared=True)


def charged(meter: Meter, scope: Scope, at: int = DAY) -> int:
    state = meter.pool(pool(scope), at)
    assert state is not None
    return state.used or 0


def test_users_whose_names_begin_alike_are_not_mixed_up() -> None:
    meter = Meter(0)
    concerned, _ = meter.take([pod("1", "student1", 0, HOUR), pod("2", "student11", 0, 2 * HOUR)])
    assert concerned == {"student1", "student11"}
    assert (used(meter, "student1", DAY), used(meter, "student11", DAY)) == (1000 * HOUR, 2000 * HOUR)


def test_a_pod_seen_twice_counts_once_and_its_end_ends_it() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 0)])
    meter.take([pod("1", "a", 0, HOUR)])
    assert used(meter, "a", 3 * HOUR) == 1000 * HOUR
    assert meter.running("a") == []


def test_a_pod_that_is_merely_seen_again_is_no_news() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 0)])
    assert meter.take([replace(pod("1", "a", 0), last_seen=HOUR)]) == (set(), set())
    assert meter.take([pod("1", "a", 0, HOUR)]) == ({"a"}, set())


def test_a_pod_on_its_way_is_a_server_at_once_until_it_is_placed_or_gone() -> None:
    at_once = policy("s", 1, None, measure=Measure("servers"), unit="servers")
    meter = Meter(0)

    def count() -> int | None:
        return meter.standing([at_once], "a", NOBODY, HOUR).quotas[0].used

    meter.expect("a", "1", "")
    assert count() == 1
    meter.take([pod("1", "a", 0)])
    assert count() == 1
    meter.expect("a", "2", "")
    assert count() == 2
    meter.drop("a", "2")
    meter.take([replace(pod("3", "a", 0), server=None)])
    assert count() == 1, "what is not a server is none"


def test_who_was_told_of_a_server_on_its_way_is_told_that_it_is_none_any_more_though_its_pod_was_known() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 0, HOUR)])
    meter.expect("a", "1", "")
    assert meter.take([pod("1", "a", 0, HOUR)]) == ({"a"}, set())
    assert meter.take([pod("1", "a", 0, HOUR)]) == (set(), set())


def test_of_pods_that_are_gone_those_on_their_way_are_dropped_and_their_users_told() -> None:
    meter = Meter(0)
    for user, uid in (("a", "1"), ("a", "2"), ("b", "3")):
        meter.expect(user, uid, "")
    assert meter.drop_all({"1", "9"}) == {"a"}
    assert (len(meter.pending("a")), len(meter.pending("b"))) == (1, 1)


def test_a_group_s_pool_is_charged_by_the_groups_at_launch_and_once_a_pod() -> None:
    meter = Meter(0)
    meter.take(
        [
            pod("1", "a", 0, HOUR, ("x", "y")),
            pod("2", "a", 0, HOUR, ("x", "y"), chosen="y"),
            pod("3", None, 0, HOUR, ("x",)),
            pod("4", "b", 0, HOUR),
        ]
    )
    assert [charged(meter, scope) // (1000 * HOUR) for scope in SCOPES] == [3, 2, 3, 1, 2]


def test_a_pod_s_allocation_may_change_in_the_middle_of_its_life() -> None:
    segments = (
        SegmentRecord("cpu", 1000, None, 0, HOUR),
        SegmentRecord("cpu", 3000, None, HOUR, 2 * HOUR),
        SegmentRecord("memory", 5, None, 0, 2 * HOUR),
    )
    meter = Meter(0)
    meter.take([replace(pod("1", "a", 0, 2 * HOUR), segments=segments)])
    memory = replace(CPU, name="m", measure=Measure("memory"))
    found = meter.standing([CPU, memory], "a", NOBODY, DAY).quotas
    assert {s.quota.name: s.used for s in found} == {"p": 4000 * HOUR, "m": 10 * HOUR}


def test_what_no_window_reaches_is_let_go() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 0, HOUR), pod("2", "b", 0), pod("3", "c", 0, 3 * HOUR)])
    meter.seal(5 * HOUR, lambda _: False)
    meter.forget(2 * HOUR, meter.owners())
    assert meter.users() == {"b", "c"}
    assert meter.open_count == 1


def test_a_pod_that_comes_back_from_the_past_has_its_user_read_anew() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 1, HOUR), pod("2", "a", 2, HOUR)])
    meter.seal(2 * HOUR, lambda uid: uid == "2")
    late = pod("1", "a", 1, 3 * HOUR)
    assert meter.take([pod("2", "a", 2, HOUR), late]) == (set(), {"a"})
    meter.renew("a", [late, pod("2", "a", 2, HOUR)])
    assert used(meter, "a", DAY) == 1000 * (4 * HOUR - 3)


@st.composite
def histories(draw: st.DrawFn) -> list[PodRecord]:
    made = []
    for i in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, 20)) * HOUR
        length = draw(st.none() | st.integers(0, 10))
        end = None if length is None else start + length * HOUR
        groups = draw(st.sampled_from([(), ("x",), ("x", "y")]))
        user = draw(st.sampled_from(["a", "b", None]))
        made.append(pod(str(i), user, start, end, groups, draw(st.sampled_from([None, "y"]))))
    return made


def totals(meter: Meter) -> list[int]:
    return [used(meter, user, DAY) for user in ("a", "b")] + [charged(meter, scope) for scope in SCOPES]


def heard(meter: Meter, pods: Sequence[PodRecord], luck: random.Random) -> None:
    """Each pod's placement and then its end, some of them told again; between them of other pods."""
    told = [
        sight
        for p in pods
        for sight in [replace(pod(p.uid, p.user, p.scheduled, None, p.groups, p.chosen_group)), *([p] if p.end else [])]
        for _ in range(luck.randrange(1, 3))
    ]
    at = {id(sight): luck.random() for sight in told}
    for sight in sorted(told, key=lambda s: (s.end is not None, at[id(s)])):
        meter.take([sight])


@given(histories(), st.randoms())
def test_order_and_repetition_change_nothing_nor_does_what_is_put_away(
    pods: list[PodRecord], luck: random.Random
) -> None:
    whole, piecemeal = Meter(0), Meter(0)
    whole.take(pods)
    for scope in SCOPES:
        piecemeal.pool(pool(scope), 0)  # so that pools are kept up to date from now on
    heard(piecemeal, pods, luck)
    assert totals(piecemeal) == totals(whole)
    piecemeal.seal(DAY * 2, lambda uid: luck.random() < 0.5)
    assert totals(piecemeal) == totals(whole)
    piecemeal.renew("a", [p for p in pods if p.user == "a"])
    assert totals(piecemeal) == totals(whole)


@given(histories())
def test_what_users_used_is_what_their_pods_held(pods: list[PodRecord]) -> None:
    meter = Meter(0)
    meter.take(pods)
    mine = [p for p in pods if p.user is not None]
    held = sum(1000 * (min(DAY, DAY if p.finished is None else p.finished) - p.scheduled) for p in mine)
    assert used(meter, "a", DAY) + used(meter, "b", DAY) == held
    assert charged(meter, EVERYONE) == held
