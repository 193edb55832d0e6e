"""A standing tells what is used, what is blocked ahead, and when it should be told anew."""

from hubquota.domain.policy import Enforcement, Policy, Scope
from hubquota.domain.standing import pool_state, standing
from hubquota.domain.usage import HOUR, Block, Segment

DAY = 24 * HOUR
EVERYONE = Scope(everyone=True)
NOBODY: frozenset[str] = frozenset()


def memory(limit: int, enforcement: Enforcement = Enforcement.DENY) -> Policy:
    return Policy("memory", EVERYONE, "memory", limit * HOUR, "GiB-hours", DAY, enforcement=enforcement)


def servers(limit: int) -> Policy:
    return Policy("servers", EVERYONE, "servers", limit, "servers", None)


def test_what_runs_now_is_blocked_when_it_reaches_the_limit() -> None:
    found = standing([memory(10)], "alice", NOBODY, {"memory": [Segment(2, 0)]}, 0, HOUR)
    state = found.quotas[0]
    assert (state.used, state.rate, found.verdict) == (2 * HOUR, 2, "Allowed")
    assert state.blocked == (Block(5 * HOUR, None),)
    assert state.blocked_if_stopped == ()


def test_a_used_up_quota_denies_and_stopping_frees_it_in_time() -> None:
    found = standing([memory(10)], "alice", NOBODY, {"memory": [Segment(2, 0)]}, 0, 6 * HOUR)
    assert found.verdict == "Denied"
    assert found.quotas[0].blocked_if_stopped == (Block(6 * HOUR, DAY + HOUR + 1_000_000),)


def test_observe_changes_no_verdict() -> None:
    assert standing([memory(0, Enforcement.OBSERVE)], "alice", NOBODY, {}, 0, HOUR).verdict == "Allowed"


def test_warn_warns() -> None:
    assert standing([memory(0, Enforcement.WARN)], "alice", NOBODY, {}, 0, HOUR).verdict == "Warned"


def test_usage_before_the_ledger_began_is_unknown() -> None:
    state = standing([memory(10)], "alice", NOBODY, {}, HOUR, 2 * HOUR).quotas[0]
    assert state.covered_since == HOUR


def test_a_standing_is_told_anew_at_each_hundredth_of_the_limit() -> None:
    found = standing([memory(100)], "alice", NOBODY, {"memory": [Segment(2, 0)]}, 0, HOUR)
    assert found.next_change() == HOUR + HOUR // 2


def test_an_idle_user_is_never_told_anew() -> None:
    assert standing([memory(100)], "alice", NOBODY, {}, 0, HOUR).next_change() is None


def test_servers_at_once_are_blocked_at_the_limit_and_freed_by_a_stop() -> None:
    held = {"servers": [Segment(1000, 0), Segment(1000, 0, HOUR // 2)]}
    one = standing([servers(1)], "alice", NOBODY, held, 0, HOUR)
    assert (one.quotas[0].used, one.verdict) == (1, "Denied")
    assert one.quotas[0].blocked_if_stopped == ()
    assert standing([servers(2)], "alice", NOBODY, held, 0, HOUR).verdict == "Allowed"


def test_a_pool_is_a_name_to_its_users_and_a_state_of_its_own() -> None:
    pool = Policy("pool", EVERYONE, "memory", 10 * HOUR, "GiB-hours", DAY, shared=True)
    assert standing([pool], "alice", NOBODY, {}, 0, HOUR).pools == ("pool",)
    state = pool_state(pool, [Segment(10, 0, HOUR)], 0, HOUR)
    assert state is not None
    assert state.blocked_at(HOUR)
