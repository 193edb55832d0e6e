"""A standing tells what is used, what is blocked ahead, and when it should be told anew."""

import pytest

from hubquota.domain.allowance import Adjustment, Hold
from hubquota.domain.course import Block
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Combine, Enforcement, Policy, Scope
from hubquota.domain.standing import Holdings, Standing, pool_state, standing
from hubquota.domain.windows import DAY, HOUR, SECOND, Fixed
from tests.domain.histories import NOBODY, holdings, policy

MEMORY = Measure("memory")
TWO = [({"memory": 2}, 0, None)]


def of(held: Holdings, *policies: Policy, now: int = HOUR, groups: frozenset[str] = NOBODY) -> Standing:
    return standing(policies, "alice", groups, held, now)


def servers(limit: int) -> Policy:
    return policy("servers", limit, None, measure=Measure("servers"), unit="servers")


def test_what_runs_now_is_blocked_when_it_reaches_the_limit() -> None:
    found = of(holdings(TWO), policy())
    state = found.quotas[0]
    assert (state.used, state.rate, found.verdict) == (2 * HOUR, 2, "Allowed")
    assert state.blocked == (Block(5 * HOUR, None),)
    assert state.blocked_if_stopped == ()


def test_a_used_up_quota_denies_and_stopping_frees_it_in_time() -> None:
    found = of(holdings(TWO), policy(), now=6 * HOUR)
    assert found.verdict == "Denied"
    assert found.quotas[0].blocked_if_stopped == (Block(6 * HOUR, DAY + HOUR + SECOND),)


@pytest.mark.parametrize(
    ("enforcement", "verdict"),
    [(Enforcement.OBSERVE, "Allowed"), (Enforcement.WARN, "Warned"), (Enforcement.DENY, "Denied")],
)
def test_only_deny_denies(enforcement: Enforcement, verdict: str) -> None:
    assert of(holdings(), policy(limit=0, enforcement=enforcement)).verdict == verdict


@pytest.mark.parametrize(("window", "until"), [(Fixed(0, DAY), DAY), (policy().window, None)])
def test_a_limit_of_zero_is_exhausted_at_every_instant_of_its_window(window: Fixed, until: int | None) -> None:
    more = [Adjustment(MEMORY, 5, 0)]
    held = Holdings(holdings().timeline, 0, adjustments=more)
    state = of(held, policy(limit=0, window=window)).quotas[0]
    assert state.blocked == state.blocked_if_stopped == (Block(HOUR, until),)
    assert state.limit == 0


def test_an_override_without_a_limit_lifts_the_quota_and_says_so() -> None:
    found = of(holdings(TWO), policy("a", 1), policy("vip", None, combine=Combine.OVERRIDE))
    assert (found.verdict, found.quotas, [q.name for q in found.unlimited]) == ("Allowed", (), ["vip"])


def test_usage_before_the_ledger_began_is_unknown() -> None:
    assert of(holdings(covered_since=HOUR), policy(), now=2 * HOUR).quotas[0].covered_since == HOUR


def test_a_standing_is_told_anew_at_each_hundredth_of_the_limit() -> None:
    assert of(holdings(TWO), policy(limit=100 * HOUR)).next_change() == HOUR + HOUR // 2


def test_an_idle_user_is_never_told_anew() -> None:
    assert of(holdings(), policy()).next_change() is None


def test_a_standing_is_told_anew_when_an_event_begins_and_when_it_ends() -> None:
    event = policy("event", window=Fixed(2 * HOUR, 3 * HOUR))
    before, during = of(holdings(), event), of(holdings(), event, now=2 * HOUR)
    assert (before.quotas, before.next_change(), during.next_change()) == ((), 2 * HOUR, 3 * HOUR)


def test_servers_at_once_are_blocked_at_the_limit_and_freed_by_a_stop() -> None:
    one = of(holdings(servers=1), servers(1))
    assert (one.quotas[0].used, one.verdict) == (1, "Denied")
    assert one.quotas[0].blocked_if_stopped == ()
    assert of(holdings(servers=1), servers(2)).verdict == "Allowed"


@pytest.mark.parametrize(("used", "verdict"), [(None, "Allowed"), (9, "Allowed"), (10, "Denied"), (11, "Denied")])
def test_storage_is_a_level_that_stays_whatever_is_stopped(used: int | None, verdict: str) -> None:
    full = policy("home", 10, None, measure=Measure("storage"), unit="GiB")
    found = of(holdings(storage=used), full)
    assert (found.verdict, found.quotas[0].used) == (verdict, used)
    assert found.quotas[0].blocked == found.quotas[0].blocked_if_stopped


def test_an_adjustment_holds_from_its_start_to_its_end() -> None:
    more = [Adjustment(MEMORY, 6 * HOUR, 0, 7 * HOUR), Adjustment(Measure("cpu"), 99 * HOUR, 0)]
    held = Holdings(holdings(TWO).timeline, 0, adjustments=more)
    state = of(held, policy(), now=6 * HOUR).quotas[0]
    assert (state.limit, state.used) == (16 * HOUR, 12 * HOUR)
    assert state.blocked == (Block(7 * HOUR, None),)


def test_what_is_set_aside_counts_until_it_is_let_go() -> None:
    aside = [Hold(MEMORY, 9 * HOUR, 0, 2 * HOUR)]
    held = Holdings(holdings(TWO).timeline, 0, holds=aside)
    state = of(held, policy()).quotas[0]
    assert (state.held, state.blocked) == (9 * HOUR, (Block(HOUR, 2 * HOUR), Block(5 * HOUR, None)))


def test_the_deciding_group_is_named_where_a_group_decides() -> None:
    by_group = policy(scope=Scope(groups=frozenset({"x", "y", "z"})))
    assert of(holdings(), by_group, groups=frozenset({"y", "x", "a"})).quotas[0].groups == ("x", "y")
    assert of(holdings(), policy()).quotas[0].groups == ()


def test_a_pool_is_a_name_to_its_users_and_a_state_of_its_own() -> None:
    pool = policy("pool", shared=True)
    assert of(holdings(), pool).pools == ("pool",)
    state = pool_state(pool, holdings([({"memory": 10}, 0, HOUR)]), HOUR)
    assert state is not None
    assert state.blocked_at(HOUR)
