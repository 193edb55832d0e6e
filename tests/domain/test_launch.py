"""A launch is refused only by what it touches, and is told when it works, and how long what is left lasts."""

from hubquota.domain.course import Block
from hubquota.domain.launch import Launch, judge, lasts_until
from hubquota.domain.measure import Measure, credits_by
from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.quotas import combined
from hubquota.domain.standing import Holdings, QuotaState, quota_state
from hubquota.domain.windows import DAY, HOUR, SECOND, Calendar, Period
from tests.domain.histories import holdings, policy

NOW = 12 * HOUR
SMALL = Launch({"memory": 1, "servers": 1000}, "small")
GPU = Launch({"memory": 8, "nvidia.com/gpu": 1000, "servers": 1000}, "gpu")
USED_UP = holdings([({"memory": 10, "nvidia.com/gpu": 1000}, 0, HOUR)])


def state(held: Holdings, of: Policy, now: int = NOW) -> QuotaState:
    return quota_state(combined([of], of if of.enforcement is Enforcement.OBSERVE else None), held, now)


def test_a_launch_is_refused_by_what_it_asks_for_alone() -> None:
    gpu = state(USED_UP, policy(limit=1000 * HOUR, measure=Measure("nvidia.com/gpu"), unit="GPU-hours"))
    assert judge([gpu], GPU, NOW).refusing == (gpu,)
    assert judge([gpu], SMALL, NOW).allowed


def test_credits_are_touched_by_whatever_has_a_price() -> None:
    priced = state(holdings(), policy(limit=0, measure=credits_by({"nvidia.com/gpu": "1", "cpu": "0"})))
    assert not judge([priced], GPU, NOW).allowed
    assert judge([priced], Launch({"cpu": 1000, "servers": 1000}), NOW).allowed


def test_an_excepted_profile_is_never_refused() -> None:
    excepting = state(holdings(), policy(limit=0, except_profiles=frozenset({"small"})))
    assert judge([excepting], SMALL, NOW).allowed
    assert not judge([excepting], GPU, NOW).allowed


def test_only_deny_refuses() -> None:
    warns = state(USED_UP, policy("w", enforcement=Enforcement.WARN))
    observes = state(USED_UP, policy("o", enforcement=Enforcement.OBSERVE))
    found = judge([warns, observes], SMALL, NOW)
    assert (found.allowed, found.warning, found.shadow_refusing) == (True, (warns,), (observes,))
    assert found.until == NOW


def test_it_works_again_when_nothing_that_it_touches_is_used_up() -> None:
    first = state(USED_UP, policy("a"))
    second = state(holdings([({"memory": 10}, 3 * HOUR, 4 * HOUR)]), policy("b"))
    untouched = state(holdings(), policy("c", 0, measure=Measure("cpu")))
    assert judge([first], SMALL, NOW).until == DAY + SECOND
    assert judge([first, second, untouched], SMALL, NOW).until == DAY + 3 * HOUR + SECOND


def test_what_runs_may_keep_it_used_up_and_stopping_helps() -> None:
    held = holdings([({"memory": 10}, 0, None)])
    found = judge([state(held, policy())], SMALL, NOW)
    assert (found.until, found.until_if_stopped) == (None, DAY + 11 * HOUR + SECOND)


def test_a_server_s_own_earlier_pod_never_counts_against_its_relaunch() -> None:
    one = state(holdings(servers=1), policy(limit=1, window=None, measure=Measure("servers"), unit="servers"))
    assert not judge([one], SMALL, NOW).allowed
    assert judge([one], SMALL, NOW).until is None
    assert judge([one], Launch(SMALL.request, relaunched=1), NOW).until == NOW


def test_storage_refuses_whatever_is_asked_for() -> None:
    full = state(holdings(storage=10), policy(limit=10, window=None, measure=Measure("storage"), unit="GiB"))
    assert not judge([full], Launch({"servers": 1000}), NOW).allowed


def test_what_is_left_lasts_as_long_as_the_launch_and_what_runs_take_to_use_it_up() -> None:
    held = holdings([({"memory": 1}, 10 * HOUR, None)])
    now = state(held, policy())
    assert now.blocked == (Block(20 * HOUR, None),)
    assert lasts_until(now, held, SMALL, NOW) == 16 * HOUR
    assert lasts_until(now, held, Launch({"cpu": 1000}), NOW) == 20 * HOUR


def test_a_launch_that_never_uses_it_up_lasts_for_ever_as_far_as_is_foreseen() -> None:
    held = holdings()
    day = policy(window=Calendar(Period.DAY, "UTC"), limit=100 * HOUR)
    assert lasts_until(state(held, day), held, SMALL, NOW) is None
