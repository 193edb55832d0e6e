"""``hubquota backfill`` as an admin runs it, on a real Prometheus."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hubquota.cli import main
from hubquota.cli.backfilled import Found, as_text
from hubquota.domain.history import Backfill, HowEnded, PodEnd, PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.ledger import Ledger
from tests.bench.history import HOUR, HUB
from tests.ledger.pods import holding, pod
from tests.prometheus.conftest import Pretender
from tests.prometheus.worlds import HOLE, HUB_LIVES
from tests.prometheus.worlds import HUB as MADE
from tests.testbed.prometheus import PrometheusServer

MICROS = 1_000_000
SINCE, UNTIL = rfc3339(MADE.start * MICROS), rfc3339(MADE.until * MICROS)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty ledger that the command finds by its settings."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", url)
    in_ledger(url, lambda ledger: ledger.hubs())
    return url


@pytest.fixture
def backfill(url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., Result]:
    """Run it on one cluster of the real Prometheus."""

    def run(cluster: str, *args: str, ends: int = 0) -> Result:
        server: PrometheusServer = request.getfixturevalue("prometheus")
        monkeypatch.setenv("HUBQUOTA_PROMETHEUS_URL", server.url)
        monkeypatch.setenv("HUBQUOTA_PROMETHEUS_SELECTOR", json.dumps({"cluster": cluster}))
        done = CliRunner().invoke(main, ["backfill", "--since", SINCE, "--until", UNTIL, *args])
        assert done.exit_code == ends, done.output
        return done

    return run


def in_ledger(url: str, work: Callable[[Ledger], Any]) -> Any:  # noqa: ANN401 - what the work gives
    async def opened() -> Any:  # noqa: ANN401
        async with await Ledger.open(url) as ledger:
            return await work(ledger)

    return asyncio.run(opened())


def pods(url: str) -> list[PodRecord]:
    async def all_of(found: AsyncIterator[PodRecord]) -> list[PodRecord]:
        return sorted([p async for p in found], key=lambda p: p.uid)

    return in_ledger(url, lambda ledger: all_of(ledger.pods_since(HUB, 0)))  # type: ignore[no-any-return]


@pytest.mark.prometheus
def test_history_is_taken_in_once_and_again_changes_nothing(backfill: Callable[..., Result], url: str) -> None:
    in_ledger(url, lambda ledger: ledger.covered_since(HUB, MADE.until * MICROS))
    [first] = json.loads(backfill("60s", "--output", "json").stdout)
    known = pods(url)
    assert first["pods"] == {"new": len(known), "changed": 0, "same": 0}
    assert (first["read"], first["notSeen"], first["notes"]) == ([{"from": SINCE, "to": UNTIL}], [], [])
    assert (first["scrapeIntervalSeconds"], first["coveredSince"]) == (60, SINCE)
    assert 0 < first["togetherAtMostSeconds"] <= 60 * first["estimatedEnds"]
    assert first["ofThemInHoles"] == 0
    [again] = json.loads(backfill("60s", "--output", "json").stdout)
    assert (again["pods"]["new"], again["readBefore"], again["read"]) == (0, [{"from": SINCE, "to": UNTIL}], [])
    [anew] = json.loads(backfill("60s", "--again", "--output", "json").stdout)
    assert anew["pods"] == {"new": 0, "changed": 0, "same": len(known)}
    assert pods(url) == known


@pytest.mark.prometheus
def test_a_hole_that_the_ledger_has_is_filled_and_what_it_saw_stands(backfill: Callable[..., Result], url: str) -> None:
    lives = [life for life in HUB_LIVES if life.server is not None and life.placed and life.ended and not life.resizes]
    lives = [life for life in lives if (life.ended or 0) - (life.placed or 0) > HOUR][:2]
    seen, lost = [_seen(life.uid, (life.placed or 0) * MICROS) for life in lives]
    at = seen.last_seen
    told = [
        _with_end(seen, PodEnd(at, HowEnded.DELETED)),
        _with_end(lost, PodEnd(lost.last_seen, HowEnded.LAST_SEEN, 2**60)),
    ]
    in_ledger(url, lambda ledger: ledger.record(told))
    [found] = json.loads(backfill("60s", "--hub", HUB, "--output", "json").stdout)
    assert found["pods"]["changed"] == 1
    by_uid = {p.uid: p for p in pods(url)}
    assert by_uid[seen.uid].end == PodEnd(at, HowEnded.DELETED)
    mended = by_uid[lost.uid]
    assert (mended.user, mended.backfilled) == ("alice", False)
    assert mended.end is not None
    assert mended.end.how is HowEnded.BACKFILL
    assert -60 * MICROS <= mended.end.at - (lives[1].ended or 0) * MICROS <= 0
    assert [(s.request, s.end) for s in mended.segments] == [(7, mended.end.at)]


def _seen(uid: str, placed: int) -> PodRecord:
    """Seen directly for ten minutes, holding what no profile has."""
    return pod(uid, placed + 600 * MICROS, scheduled=placed, held={"memory": 7}, first_seen=placed, node="n")


def _with_end(record: PodRecord, end: PodEnd) -> PodRecord:
    return pod(
        record.uid,
        record.last_seen,
        scheduled=record.scheduled,
        first_seen=record.first_seen,
        segments=holding(record.scheduled, {"memory": 7}, end.at),
        end=end,
        node="n",
    )


@pytest.mark.prometheus
def test_a_run_that_breaks_off_keeps_what_it_read_and_the_next_goes_on(
    backfill: Callable[..., Result],
    prometheus: PrometheusServer,
    pretender: Pretender,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretender.passes_on = (prometheus.url, 60)
    pretender.says(400, {"status": "error", "errorType": "bad_data", "error": "no more"})
    monkeypatch.setenv("HUBQUOTA_PROMETHEUS_URL", pretender.url)
    monkeypatch.setenv("HUBQUOTA_PROMETHEUS_SELECTOR", '{"cluster": "60s"}')
    done = asked("--since", SINCE, "--until", UNTIL, "--hub", HUB)
    assert (done.exit_code, "is kept: run this again to go on" in done.output) == (1, True)
    kept = pods(url)
    assert kept
    assert all(pod.end is not None for pod in kept)
    backfill("60s", "--hub", HUB)
    together = pods(url)
    assert len(together) > len(kept)
    backfill("60s", "--hub", HUB, "--again")
    assert pods(url) == together


@pytest.mark.prometheus
def test_a_dry_run_tells_and_takes_nothing(backfill: Callable[..., Result], url: str) -> None:
    told = backfill("60s", "--hub", HUB, "--dry-run").stdout
    assert "new, 0 known better now" in told
    assert "had this been no dry run" in told
    assert pods(url) == []
    assert in_ledger(url, lambda ledger: ledger.backfills(HUB)) == []


@pytest.mark.prometheus
def test_what_prometheus_keeps_no_more_is_named_and_not_counted_as_known(
    backfill: Callable[..., Result], url: str
) -> None:
    in_ledger(url, lambda ledger: ledger.covered_since(HUB, MADE.until * MICROS))
    told = backfill("late", ends=3).stdout
    oldest = "2026-05-01T16:00:00.417000Z"
    assert f"not seen: {SINCE} to {oldest}" in told
    assert f"usage is known since {oldest}" in told


@pytest.mark.prometheus
def test_usage_is_known_only_back_to_a_hole(backfill: Callable[..., Result], url: str) -> None:
    in_ledger(url, lambda ledger: ledger.covered_since(HUB, MADE.until * MICROS))
    [found] = json.loads(backfill("hole", "--output", "json", ends=3).stdout)
    [hole] = found["notSeen"]
    assert found["coveredSince"] == hole["to"]
    assert datetime.fromtimestamp(HOLE[0], UTC).isoformat()[:16] == "2026-05-01T19:00"
    assert hole == {"from": "2026-05-01T18:59:00.417000Z", "to": "2026-05-01T19:40:00.417000Z"}


def test_an_end_that_is_not_known_to_within_two_scrapes_lies_in_a_hole() -> None:
    found = Found("hub", 0, 100 * MICROS, interval=30 * MICROS, widths=[30 * MICROS, 60 * MICROS, 3600 * MICROS])
    assert found.in_holes == 1
    assert "3 ends are estimated, 1 of them in holes; together at most 1.0 h" in as_text(found, dry=False)


@pytest.mark.prometheus
def test_a_hub_that_no_operator_served_yet_is_not_said_to_be_known(backfill: Callable[..., Result], url: str) -> None:
    assert "no operator has served this hub yet" in backfill("60s", "--hub", HUB).stdout
    assert in_ledger(url, lambda ledger: ledger.hubs()) == []
    # The operator comes later: what was read reaches up to it.
    in_ledger(url, lambda ledger: ledger.covered_since(HUB, MADE.until * MICROS))
    assert f"usage is known since {SINCE}" in backfill("60s").stdout


@pytest.mark.prometheus
def test_a_namespace_of_which_there_is_nothing_is_not_taken_for_a_quiet_one(backfill: Callable[..., Result]) -> None:
    assert f"not seen: {SINCE} to {UNTIL}" in backfill("60s", "--hub", "hbu", ends=3).stdout


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("cluster", "told"),
    [("mute", "--metric-annotations-allowlist=pods="), ("no uid", "kube-state-metrics tells it since 2.1")],
)
def test_what_is_lacking_at_kube_state_metrics_is_told(
    backfill: Callable[..., Result], cluster: str, told: str
) -> None:
    assert told in backfill(cluster, "--hub", HUB, ends=3).stdout


@pytest.mark.prometheus
def test_several_hubs_are_read_and_progress_is_told_apart(backfill: Callable[..., Result]) -> None:
    done = backfill("60s", "--hub", HUB, "--hub", "other", "--output", "json", ends=3)
    assert [found["hub"] for found in json.loads(done.stdout)] == [HUB, "other"]
    assert done.stderr.splitlines()[0].startswith(HUB)


def asked(*args: str) -> Result:
    return CliRunner().invoke(main, ["backfill", *args])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--since", "2026-01-01T00:00:00"], "has no time zone: write one"),
        (["--since", "yesterday"], "write an instant such as"),
        (["--since", "2999-01-01T00:00:00Z"], "--since must lie before"),
        (["--since", SINCE, "--until", SINCE], "--since must lie before --until"),
        (["--since", SINCE, "--until", "2999-01-01T00:00:00Z"], "--until lies in the future: leave it out"),
        ([], "Missing option '--since'"),
    ],
)
def test_a_wrong_instant_is_refused_with_what_to_write(url: str, args: Sequence[str], told: str) -> None:
    done = asked(*args)
    assert (done.exit_code, told in done.output) == (2, True), done.output


def test_without_an_address_it_says_which_setting_to_write(url: str) -> None:
    done = asked("--since", SINCE)
    assert (done.exit_code, "prometheus_url" in done.output) == (1, True)


def test_without_a_hub_it_says_how_to_name_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBQUOTA_PROMETHEUS_URL", "http://127.0.0.1:9")
    done = asked("--since", SINCE)
    assert (done.exit_code, "name its namespace with --hub" in done.output) == (1, True)


def test_what_prometheus_says_is_passed_on_as_one_line(
    url: str, pretender: Pretender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBQUOTA_PROMETHEUS_URL", pretender.url)
    pretender.says(400, {"status": "error", "errorType": "bad_data", "error": "no\nsuch\x1b[31m thing"})
    done = asked("--since", SINCE, "--hub", HUB)
    assert done.exit_code == 1
    assert r"no\nsuch\x1b[31m thing" in done.output


async def test_a_stretch_that_grows_stays_one_and_never_shrinks(tmp_path: Path) -> None:
    async with await Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for end in (200, 400, 300):
            await ledger.fill_in("hub", [], [Backfill("hub", 100, end, "http://p", 60, 999)])
        assert [(b.start, b.end) for b in await ledger.backfills("hub")] == [(100, 400)]
        assert await ledger.backfills("other") == []


@pytest.mark.parametrize(
    ("stretches", "since"),
    [
        ([(100, 1000)], 100),
        ([(100, 999)], 1000),
        ([(100, 500), (500, 1000)], 100),
        ([(100, 499), (500, 1000)], 500),
        ([(100, 2000)], 100),
        ([(1000, 2000)], 1000),
        ([(100, 700), (300, 1000), (600, 800)], 100),
        ([], 1000),
    ],
)
async def test_usage_is_known_as_far_back_as_stretches_reach_without_a_hole(
    tmp_path: Path, stretches: list[tuple[int, int]], since: int
) -> None:
    async with await Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        await ledger.covered_since("hub", 1000)
        await ledger.fill_in("hub", [], [Backfill("hub", a, b, "http://p", 60, 999) for a, b in stretches])
        assert await ledger.covered("hub", 5) == since
