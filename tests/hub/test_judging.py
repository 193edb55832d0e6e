"""A launch is judged by times alone, and what a user reads is complete and escaped."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.domain.quotas import combined
from hubquota.domain.standing import quota_state
from hubquota.domain.windows import HOUR, SECOND, Calendar, Fixed, Period, Rolling, Window
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import quota_json
from tests.domain.histories import holdings, policy
from tests.domain.test_course import to_the_microsecond

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


def said(found: hook.Verdict, running: Any) -> tuple[str, str]:  # noqa: ANN401
    """A refusal in the words that it has without an admin's templates."""
    return hook.rendered(hook.HubQuota(), hook.refusal(found, running, NOW))


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


def test_of_several_used_up_quotas_the_one_that_decides_comes_first() -> None:
    soon = quota(name="soon", blocked=[{"from": at(-1), "until": at(2)}])
    late = quota(name="late", blocked=[{"from": at(-2), "until": at(5)}, {"from": at(8)}])
    never = quota(name="never", blocked=[{"from": at(-1)}])
    assert [q["name"] for q in verdict(soon, late).refusing] == ["late", "soon"]
    text, page = said(verdict(soon, never, late), [])
    for words in (text, page):
        assert words.index("(policy never)") < words.index("(policy late)") < words.index("(policy soon)")


def test_servers_at_once_do_not_count_the_one_that_is_relaunched() -> None:
    at_once = quota(resource="servers", unit="servers", used="1", limit="1")
    del at_once["window"]
    assert not verdict(at_once, running=RUNNING).refusing
    other = hook.Launch("alice", "second", "small", {})
    assert verdict(at_once, running=RUNNING, launch=other).refusing


def test_a_refusal_tells_which_quota_when_again_and_whom_to_ask() -> None:
    text, page = said(verdict(quota()), [])
    assert text == (
        "Your quota is used up: 40 of 40 GiB-hours of memory in any 7 days (policy weekly). "
        "It will work again at 2026-03-01 15:20:24 UTC (in 3 h 21 min). Ask <it@uni.edu>"
    )
    assert '<time datetime="2026-03-01T15:20:24Z">' in page
    assert "Ask &lt;it@uni.edu&gt;" in page


def test_a_refusal_names_the_group_by_which_a_policy_holds() -> None:
    text, page = said(verdict(quota(group="<lab>")), [])
    assert "(policy weekly, group <lab>)" in text
    assert "(policy weekly, group &lt;lab&gt;)" in page


def test_of_devices_it_is_said_which_are_left() -> None:
    mig = quota(resource="nvidia.com/mig-1g.5gb", unit="device-hours", used="1", blocked=[])
    asks = hook.Launch("alice", "", "", {"nvidia.com/mig-1g.5gb": 1000})
    text, _ = hook.progress_message(verdict(mig, launch=asks), asks, NOW)
    assert text == "39 of 40 device-hours of nvidia.com/mig-1g.5gb left in any 7 days."


def test_a_refusal_tells_what_helps_sooner() -> None:
    endless = quota(blocked=[{"from": at(-1)}], blockedIfStopped=[{"from": at(0), "until": at(2)}])
    text, _ = said(verdict(endless), RUNNING)
    assert "if you stop them, it will work from 2026-03-01 14:00:00 UTC (in 2 h)" in text


def test_a_limit_of_zero_promises_nothing() -> None:
    text, _ = said(verdict(quota(limit="0", blocked=[{"from": at(-1)}])), [])
    assert "The limit is 0" in text


def test_links_can_be_clicked_and_nothing_else_is_let_through() -> None:
    evil = "see https://it.uni.edu/quota?a=1&b=2 <script>alert(1)</script> javascript:x"
    _, page = said(verdict(quota(message=evil)), [])
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


@pytest.mark.parametrize("enforcement", ["Deny", "Warn"])
@pytest.mark.parametrize(
    ("used", "warn_at", "nearly"),
    [("36", 90, True), ("35.9", 90, False), ("20", 50, True), ("19.9", 50, False), ("39", 99, False)],
)
def test_from_where_a_policy_says_on_what_is_left_is_said_in_stronger_words(
    enforcement: str, used: str, warn_at: int, nearly: bool
) -> None:
    left = quota(enforcement=enforcement, used=used, warnAt=warn_at, blocked=[])
    words = (
        f"{'Nearly used up: only ' if nearly else ''}{Decimal(40) - Decimal(used)} of 40 GiB-hours left in any 7 days."
    )
    assert hook.progress_message(verdict(left), SMALL, NOW) == (words, words)


def test_where_a_policy_only_warns_a_server_starts_with_a_warning() -> None:
    words = "Warning: Your quota is used up: 41.5 of 40 GiB-hours of memory in any 7 days (policy weekly)."
    assert hook.progress_message(verdict(quota(enforcement="Warn", used="41.5")), SMALL, NOW) == (words, words)


@pytest.mark.parametrize("enforcement", ["Observe", "OfALaterVersion"])
@pytest.mark.parametrize("left", [{}, {"used": "20", "blocked": []}, {"used": "38", "blocked": []}])
def test_users_see_nothing_of_observe(enforcement: str, left: dict[str, Any]) -> None:
    assert hook.progress_message(verdict(quota(enforcement=enforcement, **left)), SMALL, NOW) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.2, "1 min"), (3600, "1 h"), (12_000, "3 h 20 min"), (90_000, "1 d 1 h"), (100_000, "1 d 4 h")],
)
def test_a_duration_is_rounded_up(seconds: float, text: str) -> None:
    assert hook.duration(timedelta(seconds=seconds)) == text


@given(st.text(min_size=1, max_size=80))
def test_hook_and_operator_name_a_user_s_quota_alike(user: str) -> None:
    assert hook.user_quota_name(user) == user_quota_name(user)


PER_HOUR = {"memory": "0.25", "cpu": "1", "nvidia.com/gpu": "30", "servers": "0.5"}
WEIGHTS = [{"resource": r, "perHour": p} for r, p in PER_HOUR.items()]


def test_credits_are_asked_for_by_whatever_has_a_price() -> None:
    credits = quota(resource="credits", unit="credits", weights=WEIGHTS)
    assert hook.per_hour(credits, GPU) == 2 + 30 + Decimal("0.5")
    unpriced = quota(resource="credits", unit="credits", weights=[{"resource": "cpu", "perHour": "1"}])
    assert not hook.touches(unpriced, SMALL)


def test_a_full_home_directory_refuses_whatever_is_asked_for_and_says_what_helps() -> None:
    full = quota(resource="storage", unit="GiB", exceptProfiles=["tiny"])
    full["blocked"] = full["blockedIfStopped"] = [{"from": at(-1)}]
    del full["window"]
    text, _ = said(verdict(full), RUNNING)
    assert "40 of 40 GiB of storage (policy weekly)" in text
    assert "when you have deleted files; these profiles still start: tiny." in text


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"calendar": "Month", "timeZone": "Europe/Berlin"}, "of memory this month (Europe/Berlin) (policy"),
        (
            {"fixed": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}},
            "of memory from 2026-03-01 00:00:00 UTC to 2026-03-02 00:00:00 UTC (policy",
        ),
    ],
)
def test_every_window_is_said_in_words(window: dict[str, Any], words: str) -> None:
    assert words in said(verdict(quota(window=window)), [])[0]


def test_no_time_is_told_past_what_is_foreseen() -> None:
    month = quota(blocked=[{"from": at(-1), "until": at(100)}])
    day = quota(name="day", window={"calendar": "Day", "timeZone": "UTC"}, blocked=[], foreseenUntil=at(36))
    assert verdict(month).until == hook.instant(at(100))
    assert verdict(month, day).until is None
    assert hook.judge([month], (), SMALL, NOW, hook.instant(at(99))).until is None
    assert hook.judge([month], (), SMALL, NOW, hook.instant(at(101))).until == hook.instant(at(100))


def test_a_server_that_only_replaces_itself_is_no_reason_to_wait() -> None:
    at_once = quota(resource="servers", unit="servers", limit="1", used="1", blocked=[{"from": at(-1)}])
    del at_once["window"]
    found = verdict(at_once, quota(), running=RUNNING)
    assert ([q["resource"] for q in found.refusing], found.until) == (["memory"], hook.instant(at(3.34)))


windows = st.sampled_from(
    [
        Rolling(7200 * SECOND, "2h"),
        Fixed(0, 9000 * SECOND),
        Calendar(Period.DAY, "Etc/GMT+2"),  # the next midnight there is 7200
        Calendar(Period.DAY, "Asia/Kathmandu"),
    ]
)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.none() | st.integers(0, 100)), max_size=25),
    st.integers(1, 4),
    st.integers(1, 60),
    windows,
)
def test_how_long_it_lasts_never_promises_more_than_there_is(
    past: list[tuple[int, int, int | None]], gib: int, limit: int, window: Window
) -> None:
    now, minute = 6000 * SECOND, 60 * SECOND
    held = [
        ({"memory": g * 2**30}, s * minute, None if n is None else min(now, (s + n) * minute))
        for g, s, n in past
        if s * minute < now
    ]
    of = policy("p", limit * 2**30 * HOUR // 10, window)
    state = quota_state(combined([of]), holdings(held), now)
    assume(not state.blocked_at(now))
    launch = hook.Launch("a", "", "", {"memory": gib * 2**30})
    moment = datetime.fromtimestamp(now // SECOND, UTC)
    end = hook.lasts_until(quota_json(state), launch, moment)
    beside = [*((held["memory"], start, stop) for held, start, stop in held), (gib * 2**30, now, None)]
    told = window.pieces(now)[-1].end if end is None else int(end.timestamp()) * SECOND
    for then in range(now, told, 97 * SECOND):
        assert to_the_microsecond(beside, window, then) < state.limit
