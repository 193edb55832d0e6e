"""A launch is judged by times alone, and what a user reads is complete and escaped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hubquota.domain.usage import HOUR, SECOND, Segment, usage
from hypothesis import assume, given
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.standing import standing
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import quota_json

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL = hook.Launch("alice", "", "small", {"memory": 2**30})
GPU = hook.Launch("alice", "", "gpu", {"memory": 8 * 2**30, "nvidia.com/gpu": 1000})
RUNNING = [{"server": "", "pod": "jupyter-alice", "since": "2026-03-01T09:00:00Z"}]


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def quota(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {
        "name": "weekly",
        "policies": ["weekly"],
        "resource": "memory",
        "window": {"rolling": "7d"},
        "limit": "40",
        "used": "40",
        "unit": "GiB-hours",
        "enforcement": "Deny",
        "warnAt": 90,
        "message": "Ask <it@uni.edu>",
        "blocked": [{"from": at(-1), "until": at(3.34)}],
        "blockedIfStopped": [],
    } | more


def verdict(*quotas: dict[str, Any], launch: hook.Launch = SMALL, running: Any = ()) -> hook.Verdict:  # noqa: ANN401
    return hook.judge(quotas, running, launch, NOW)


def test_a_used_up_quota_refuses_until_it_is_free() -> None:
    found = verdict(quota())
    assert [q["name"] for q in found.refusing] == ["weekly"]
    assert found.until == hook.instant(at(3.34))


@pytest.mark.parametrize(
    "more",
    [
        {"blocked": [{"from": at(1)}]},
        {"blocked": [{"from": at(-2), "until": at(0)}]},
        {"resource": "nvidia.com/gpu"},
        {"exceptProfiles": ["small"]},
        {"enforcement": "Warn"},
        {"enforcement": "Observe"},
        {"enforcement": "OfALaterVersion"},
    ],
)
def test_what_does_not_refuse(more: dict[str, Any]) -> None:
    assert verdict(quota(**more)).refusing == []


def test_a_gpu_server_is_refused_where_the_small_one_starts() -> None:
    gpu = quota(resource="nvidia.com/gpu", unit="GPU-hours")
    assert verdict(gpu, launch=GPU).refusing
    assert not verdict(gpu).refusing


def test_the_retry_time_is_when_no_touched_quota_is_used_up() -> None:
    one = quota(blocked=[{"from": at(-1), "until": at(2)}])
    other = quota(blocked=[{"from": at(1), "until": at(5)}])
    untouched = quota(resource="cpu", blocked=[{"from": at(-1), "until": at(9)}])
    assert verdict(one, other, untouched).until == hook.instant(at(5))


def test_servers_at_once_do_not_count_the_one_that_is_relaunched() -> None:
    at_once = quota(resource="servers", unit="servers", used="1", limit="1")
    del at_once["window"]
    assert not verdict(at_once, running=RUNNING).refusing
    other = hook.Launch("alice", "second", "small", {})
    assert verdict(at_once, running=RUNNING, launch=other).refusing


def test_a_refusal_tells_which_quota_when_again_and_whom_to_ask() -> None:
    text, page = hook.refusal(verdict(quota()), [], NOW)
    assert text == (
        "Your quota is used up: 40 of 40 GiB-hours of memory in any 7 days (policy weekly). "
        "It will work again at 2026-03-01 15:20:24 UTC (in 3 h 21 min). Ask <it@uni.edu>"
    )
    assert '<time datetime="2026-03-01T15:20:24Z">' in page
    assert "Ask &lt;it@uni.edu&gt;" in page


def test_a_refusal_tells_what_helps_sooner() -> None:
    endless = quota(blocked=[{"from": at(-1)}], blockedIfStopped=[{"from": at(0), "until": at(2)}])
    text, _ = hook.refusal(verdict(endless), RUNNING, NOW)
    assert "if you stop them, it will work from 2026-03-01 14:00:00 UTC (in 2 h)" in text


def test_a_limit_of_zero_promises_nothing() -> None:
    text, _ = hook.refusal(verdict(quota(limit="0", blocked=[{"from": at(-1)}])), [], NOW)
    assert "The limit is 0" in text


def test_links_can_be_clicked_and_nothing_else_is_let_through() -> None:
    evil = "see https://it.uni.edu/quota?a=1&b=2 <script>alert(1)</script> javascript:x"
    _, page = hook.refusal(verdict(quota(message=evil)), [], NOW)
    assert '<a href="https://it.uni.edu/quota?a=1&amp;b=2" rel="noopener">' in page
    assert "<script>" not in page
    assert 'href="javascript' not in page


def test_progress_tells_what_is_left_and_how_long_it_lasts() -> None:
    free = quota(used="36", blocked=[], forecast=[{"at": at(0), "used": "36"}, {"at": at(168), "used": "36"}])
    text, _ = hook.progress_message(verdict(free), SMALL, NOW)
    assert text == (
        "Nearly used up: only 4 of 40 GiB-hours left in any 7 days; "
        "with this server it lasts 4 h, until 2026-03-01 16:00:00 UTC."
    )


def test_users_see_nothing_of_observe() -> None:
    assert hook.progress_message(verdict(quota(enforcement="Observe")), SMALL, NOW) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.2, "1 min"), (3600, "1 h"), (12_000, "3 h 20 min"), (90_000, "1 d 1 h")]
)
def test_a_duration_is_rounded_up(seconds: float, text: str) -> None:
    assert hook.duration(timedelta(seconds=seconds)) == text


@given(st.text(min_size=1, max_size=80))
def test_hook_and_operator_name_a_user_s_quota_alike(user: str) -> None:
    assert hook.user_quota_name(user) == user_quota_name(user)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.none() | st.integers(0, 100)), max_size=25),
    st.integers(1, 4),
    st.integers(1, 60),
)
def test_how_long_it_lasts_never_promises_more_than_there_is(
    past: list[tuple[int, int, int | None]], gib: int, limit: int
) -> None:
    now, window, minute = 6000 * SECOND, 7200 * SECOND, 60 * SECOND
    held = [
        Segment(g * 2**30, s * minute, None if n is None else min(now, (s + n) * minute))
        for g, s, n in past
        if s * minute < now
    ]
    policy = Policy("p", Scope(everyone=True), "memory", limit * 2**30 * HOUR // 10, "GiB-hours", window, "2h")
    state = standing([policy], "a", frozenset(), {"memory": held}, 0, now).quotas[0]
    assume(not state.blocked_at(now))
    launch = hook.Launch("a", "", "", {"memory": gib * 2**30})
    moment = datetime.fromtimestamp(now // SECOND, UTC)
    end = hook.lasts_until(quota_json(state), launch, moment)
    told = now + window if end is None else int(end.timestamp()) * SECOND
    for then in range(now, told, 97 * SECOND):
        assert usage([*held, Segment(gib * 2**30, now)], window, then) < state.quota.limit
