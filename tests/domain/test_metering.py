"""A meter counts each pod once, for its user and for the pools that it was launched for."""

from dataclasses import replace

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.usage import HOUR

DAY = 24 * HOUR
NOBODY: frozenset[str] = frozenset()
EVERYONE = Policy("p", Scope(everyone=True), "cpu", 10_000 * HOUR, "CPU-hours", DAY)


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
        last_seen=start,
        groups=groups,
        chosen_group=chosen,
        end=None if end is None else PodEnd(end, HowEnded.CONTAINERS),
        segments=(SegmentRecord("cpu", 1000, None, start, end), SegmentRecord("servers", 1000, None, start, end)),
    )


def used(meter: Meter, user: str, at: int) -> int:
    return meter.standing([EVERYONE], user, NOBODY, at).quotas[0].used


def test_users_whose_names_begin_alike_are_not_mixed_up() -> None:
    meter = Meter(0)
    assert meter.take([pod("1", "student1", 0, HOUR), pod("2", "student11", 0, 2 * HOUR)]) == {"student1", "student11"}
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
    assert meter.take([replace(pod("1", "a", 0), last_seen=HOUR)]) == set()
    assert meter.take([pod("1", "a", 0, HOUR)]) == {"a"}


def test_a_pod_on_its_way_is_a_server_at_once_until_it_is_placed_or_gone() -> None:
    at_once = Policy("s", Scope(everyone=True), "servers", 1, "servers", None)
    meter = Meter(0)

    def count() -> int:
        return meter.standing([at_once], "a", NOBODY, HOUR).quotas[0].used

    meter.expect("a", "1", 0)
    assert count() == 1
    meter.take([pod("1", "a", 0)])
    assert count() == 1
    meter.expect("a", "2", 0)
    assert count() == 2
    meter.drop("a", "2")
    assert count() == 1


def pool(scope: Scope) -> Policy:
    return Policy("pool", scope, "cpu", 10_000 * HOUR, "CPU-hours", DAY, shared=True)


def charged(meter: Meter, scope: Scope) -> int:
    state = meter.pool(pool(scope), DAY)
    assert state is not None
    return state.used // (1000 * HOUR)


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
    assert charged(meter, Scope(groups=frozenset({"x"}))) == 2
    assert charged(meter, Scope(groups=frozenset({"x", "y"}))) == 3
    assert charged(meter, Scope(users=frozenset({"b"}))) == 1
    assert charged(meter, Scope(everyone=True)) == 3


def test_what_no_window_reaches_is_let_go() -> None:
    meter = Meter(0)
    meter.take([pod("1", "a", 0, HOUR), pod("2", "b", 0)])
    meter.forget(2 * HOUR)
    assert meter.users() == {"b"}
