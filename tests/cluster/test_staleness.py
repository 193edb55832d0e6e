"""After a restart a status is left as it is as long as it says the truth, and only as long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.cluster.staleness import still_true, used_as_told
from hubquota.domain.policy import Policy
from hubquota.domain.standing import standing
from hubquota.domain.windows import DAY, HOUR, Rolling
from hubquota.resources.status import user_status
from tests.domain.histories import NOBODY, holdings, policy

GIB = 2**30
WEEKLY = policy("weekly", 40 * GIB * HOUR, Rolling(7 * DAY, "7d"))
Lives = list[tuple[dict[str, int], int, int | None]]


def at(now: int, lives: Lives, *policies: Policy, generation: int = 1) -> dict[str, Any]:
    return user_status(standing(policies or (WEEKLY,), "a", NOBODY, holdings(lives), now), [], generation)


def test_what_an_idle_user_was_told_stays_true_while_the_window_empties() -> None:
    lives: Lives = [({"memory": 10 * GIB}, DAY, DAY + 5 * HOUR)]
    told = at(2 * DAY, lives)
    assert told["quotas"][0]["blocked"] == [{"from": "1970-01-03T00:00:00Z", "until": "1970-01-09T01:00:01Z"}]
    assert still_true(told, at(3 * DAY, lives), 3 * DAY)
    assert still_true(told, at(8 * DAY, lives), 8 * DAY)
    after = 8 * DAY + 2 * HOUR
    assert not still_true(told, at(after, lives), after), "the launch meets another answer"


@pytest.mark.parametrize(
    "other",
    [
        at(3 * DAY, [({"memory": 10 * GIB}, DAY, None)]),
        at(3 * DAY, [({"memory": 9 * GIB}, DAY, DAY + 5 * HOUR)]),
        at(3 * DAY, [({"memory": 10 * GIB}, DAY, DAY + 5 * HOUR)], policy("weekly", 50 * GIB * HOUR, WEEKLY.window)),
        at(3 * DAY, [({"memory": 10 * GIB}, DAY, DAY + 5 * HOUR)], WEEKLY, policy("other", 10**30)),
        at(3 * DAY, [({"memory": 10 * GIB}, DAY, DAY + 5 * HOUR)], generation=2),
    ],
    ids=["it runs on", "its verdict differs", "another limit", "one policy more", "another spec"],
)
def test_whatever_happened_meanwhile_makes_it_untrue(other: dict[str, Any]) -> None:
    told = at(2 * DAY, [({"memory": 10 * GIB}, DAY, DAY + 5 * HOUR)])
    assert not still_true(told, other, 3 * DAY)


def test_one_that_was_ignored_or_never_told_is_not_true() -> None:
    true = at(3 * DAY, [])
    assert not still_true({}, true, 3 * DAY)
    assert not still_true(true | {"conditions": [{"type": "Ready"}]}, true, 3 * DAY)
    assert still_true(true, true, 3 * DAY)


@given(st.integers(1, 60), st.integers(0, 8 * 24))
def test_a_number_is_told_anew_once_it_is_off_by_a_hundredth(hours: int, later: int) -> None:
    lives: Lives = [({"memory": GIB}, DAY, DAY + hours * HOUR)]
    told = at(5 * DAY, lives)
    now = 5 * DAY + later * HOUR
    state = standing((WEEKLY,), "a", NOBODY, holdings(lives), now, used_as_told(told)).quotas[0]
    off = abs((state.used or 0) - hours * GIB * HOUR) >= WEEKLY.limit // 100  # type: ignore[operator]
    assert off is (state.drifts is not None and state.drifts <= now)
