"""A refusal says what helps, and only that; and what in it is a link, and which amounts are told as they are."""

import re
from typing import Any

import pytest

import hubquota_hook as hook
from tests.hub.test_judging import NOW, RUNNING, at, quota, said, verdict

DASK: dict[str, Any] = {"pod": "dask-worker-1", "since": "2026-03-01T09:00:00Z"}


def stretch(until: float | None = None) -> list[dict[str, str]]:
    """One in which it is used up, from now on. None: it has no end."""
    return [{"from": at(0)} | ({} if until is None else {"until": at(until)})]


def again(running: Any = RUNNING, **more: Any) -> str:  # noqa: ANN401
    """What a refusal says of when it works again."""
    text, page = said(verdict(quota(message="", **more), running=running), running)
    assert re.sub("<[^>]+>", "", page) == text
    return text.partition("(policy weekly). ")[2]


@pytest.mark.parametrize(
    ("blocked", "if_stopped", "words"),
    [
        (3.34, 1, "now, it will work from 2026-03-01 13:00:00 UTC (in 1 h)."),
        (3.34, 0, "now, it will work at once."),
        (3.34, 3.34, None),
        (3.34, 5, None),
        (3.34, None, None),
    ],
)
def test_it_is_said_that_stopping_helps_where_it_helps(
    blocked: float, if_stopped: float | None, words: str | None
) -> None:
    told = again(blocked=stretch(blocked), blockedIfStopped=stretch(if_stopped) if if_stopped != 0 else [])
    first = "It will work again at 2026-03-01 15:20:24 UTC (in 3 h 21 min)."
    assert told == (f"{first} If you stop your running servers (“default”) {words}" if words else first)


@pytest.mark.parametrize("blocked", [3.34, None])
def test_nothing_is_said_of_stopping_where_nothing_runs(blocked: float | None) -> None:
    told = again([], blocked=stretch(blocked), blockedIfStopped=stretch(1))
    assert "stop" not in told
    assert told == (
        "It will work again at 2026-03-01 15:20:24 UTC (in 3 h 21 min)."
        if blocked
        else "It cannot be told yet when it will work again."
    )


@pytest.mark.parametrize(
    ("running", "words"),
    [
        (RUNNING, "your running servers (“default”)"),
        ([{"server": "b"}, {"server": ""}], "your running servers (“b”, “default”)"),
        ([*RUNNING, DASK], "what you run (“default”, the pod dask-worker-1)"),
        ([DASK], "what you run (the pod dask-worker-1)"),
        ([{"server": f"s{n}"} for n in range(5)], "your running servers (“s0”, “s1”, “s2”, “s3”, “s4”)"),
        (
            [{"server": f"s{n}"} for n in range(7)],
            "your running servers (“s0”, “s1”, “s2”, “s3”, “s4”, and 2 more)",
        ),
        (
            [*({"server": f"s{n}"} for n in range(4)), DASK, {"pod": "w2"}],
            "what you run (“s0”, “s1”, “s2”, “s3”, the pod dask-worker-1, and 1 more)",
        ),
    ],
)
@pytest.mark.parametrize("blocked", [3.34, None])
def test_what_runs_is_told_by_name(running: Any, words: str, blocked: float | None) -> None:  # noqa: ANN401
    told = again(running, blocked=stretch(blocked), blockedIfStopped=[])
    sentence = f"If you stop {words} now, " if blocked else f"It stays so as long as {words} run: if you stop them, "
    assert f"{sentence}it will work at once." in told


@pytest.mark.parametrize("if_stopped", [[], stretch(2)])
def test_nobody_is_told_that_a_pool_opens_by_stopping_what_they_run_themselves(if_stopped: Any) -> None:  # noqa: ANN401
    pool = {"shared": True, "blockedIfStopped": if_stopped}
    assert again(**pool, blocked=stretch()) == (
        "It stays so as long as the servers of all who share it run on (policy weekly)."
    )
    assert again(**pool, blocked=stretch(3.34)) == "It will work again at 2026-03-01 15:20:24 UTC (in 3 h 21 min)."


def test_beside_a_pool_stopping_helps_for_one_s_own_quota_once_the_pool_is_open() -> None:
    pool = quota(name="pool", message="", shared=True, blocked=stretch(2), blockedIfStopped=[])
    own = quota(message="", blocked=stretch(), blockedIfStopped=stretch(1))
    text, _ = said(verdict(own, pool), RUNNING)
    assert text.endswith("if you stop them, it will work from 2026-03-01 14:00:00 UTC (in 2 h).")


@pytest.mark.parametrize(
    ("message", "link", "after"),
    [
        ("See https://it.uni.edu/quotas.", "https://it.uni.edu/quotas", "."),
        ("See <https://it.uni.edu/quotas>", "https://it.uni.edu/quotas", "&gt;"),
        ("See (https://x.edu/a).", "https://x.edu/a", ")."),
        ("See 'https://a.b/c'!", "https://a.b/c", "&#x27;!"),
        ('See "https://a.b/c?d=1&e=2"', "https://a.b/c?d=1&amp;e=2", "&quot;"),
        ("See [https://a.b/c], or", "https://a.b/c", "], or"),
        ("Ask mailto:it@uni.edu?", "mailto:it@uni.edu", "?"),
    ],
)
def test_a_link_ends_where_the_sentence_goes_on(message: str, link: str, after: str) -> None:
    _, page = said(verdict(quota(message=message)), [])
    assert page.endswith(f'<a href="{link}" rel="noopener">{link}</a>{after}</p>')


@pytest.mark.parametrize("reason", [hook.FOREIGN, hook.UNUSABLE, hook.FAILED])
def test_what_a_refusal_quotes_of_a_user_s_choice_is_no_link(reason: str) -> None:
    quoted = "No such profile: https://evil.example/'login' <b>, mailto:evil@example.com"
    text, page = hook.rendered(hook.HubQuota(), hook.plain_refusal(reason, quoted))
    assert text == quoted
    assert page == ("<p>No such profile: https://evil.example/&#x27;login&#x27; &lt;b&gt;, mailto:evil@example.com</p>")


@pytest.mark.parametrize(
    ("limit", "used", "words"),
    [
        ("1.25", "1.259", "1.2 of 1.25 GiB-hours"),
        ("7.75", "7.79", "7.7 of 7.75 GiB-hours"),
        ("1000.000001", "1000.05", "1,000 of 1,000.000001 GiB-hours"),
        ("40.0", "41", "41 of 40 GiB-hours"),
        ("0.25", "0.259", "0.25 of 0.25 GiB-hours"),
    ],
)
def test_a_limit_is_told_as_it_is_and_what_is_used_is_cut(limit: str, used: str, words: str) -> None:
    for text in said(verdict(quota(limit=limit, used=used)), []):
        assert f"used up: {words} of memory" in text
    left = quota(limit=limit, used="0", blocked=[])
    assert (
        f"{hook.exact(limit)} GiB-hours left"
        in hook.progress_message(verdict(left), hook.Launch("a", "", "", {"memory": 1}), NOW)[0]
    )
