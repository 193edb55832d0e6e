"""What a real Prometheus gives back of a made-up hub is the truth, but for what lies between two scrapes."""

from functools import reduce
from itertools import pairwise
from typing import Any

import pytest

from hubquota.domain.history import HowEnded, PodRecord
from hubquota.ledger.merging import merged
from hubquota.prometheus.errors import PrometheusError
from tests.bench.backfilling import Compared, compare, pods_of, read
from tests.bench.history import HOUR
from tests.prometheus.worlds import HOLE, HUB, HUB_LIVES, SCRAPINGS
from tests.testbed.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus
MICROS = 1_000_000
_FOUND: dict[str, dict[str, PodRecord]] = {}
RENAMED = {
    "namespace": "exported_namespace",
    "pod": "exported_pod",
    "kube_pod_status_phase": "site:pod_phase",
    "annotation_hub_jupyter_org_username": "owner",
}


async def found(prometheus: PrometheusServer, cluster: str, **settings: Any) -> dict[str, PodRecord]:  # noqa: ANN401
    """All pods of a cluster, read once."""
    if cluster not in _FOUND:
        _FOUND[cluster] = await pods_of(prometheus, HUB, prometheus_selector={"cluster": cluster}, **settings)
    return _FOUND[cluster]


def beside_the_truth(records: dict[str, PodRecord], cluster: str) -> Compared:
    scrapes = sorted(at for scraping in SCRAPINGS[cluster] for at in scraping.times())
    return compare(HUB_LIVES, records, scrapes, HUB.until)


@pytest.mark.parametrize(("cluster", "interval"), [("15s", 15), ("30s", 30), ("60s", 60), ("5min", 300), ("pairs", 60)])
async def test_no_edge_is_off_by_more_than_a_scrape_and_nobody_pays_for_another(
    prometheus: PrometheusServer, cluster: str, interval: int
) -> None:
    told = beside_the_truth(await found(prometheus, cluster), cluster)
    assert told.edges <= interval
    assert told.beyond_bound == 0
    assert (told.mischarged, told.wrong, told.invented) == (set(), [], set())
    assert told.pods > 100
    assert 0 <= told.off < 3


async def test_several_servers_that_tell_the_same_count_once(prometheus: PrometheusServer) -> None:
    single, pairs = await found(prometheus, "60s"), await found(prometheus, "pairs")
    assert pairs.keys() >= single.keys()
    for uid, record in single.items():
        assert {(s.resource, s.request) for s in pairs[uid].segments} == {
            (s.resource, s.request) for s in record.segments
        }
        assert pairs[uid].scheduled == record.scheduled


async def test_a_stretch_without_scrapes_is_no_end_and_does_not_count_as_seen(prometheus: PrometheusServer) -> None:
    settings = {"prometheus_selector": {"cluster": "hole"}}
    pieces = [p async for p in read(prometheus, HUB.start * MICROS, HUB.until * MICROS, HUB.until * MICROS, **settings)]
    records = {pod.uid: pod for piece in pieces for pod in piece.pods}
    told = beside_the_truth(records, "hole")
    assert (told.mischarged, told.wrong, told.invented, told.beyond_bound) == (set(), [], set(), 0)
    assert told.edges <= HOLE[1] - HOLE[0] + 60
    [before, after] = pieces[-1].seen
    assert (before[0], after[1]) == (HUB.start * MICROS, HUB.until * MICROS)
    assert HOLE[0] - 60 <= before[1] / MICROS < HOLE[0]
    assert HOLE[1] <= after[0] / MICROS < HOLE[1] + 61
    through = [life for life in HUB_LIVES if life.placed and life.placed < HOLE[0] and (life.ended or 0) > HOLE[1] + 60]
    assert through
    for life in through:
        end = records[life.uid].end
        assert end is not None
        assert end.at / MICROS > HOLE[1]


async def test_a_reading_that_ends_with_a_hole_ends_nobody(prometheus: PrometheusServer) -> None:
    selector, until = {"cluster": "hole"}, int((HOLE[1] + 0.417) * MICROS)
    # As it begins, so it looks: up to the very scrape.
    since = int((HOLE[0] - 60 + 0.417) * MICROS)
    pieces = read(prometheus, since, until, until, prometheus_selector=selector)
    records = [pod for piece in [p async for p in pieces] for pod in piece.pods]
    lives = {life.uid: life for life in HUB_LIVES}
    through = [pod for pod in records if (lives[pod.uid].ended or 0) > HOLE[1]]
    assert through
    assert [pod.end for pod in through] == [None] * len(through)


async def test_what_prometheus_keeps_no_more_is_not_seen(prometheus: PrometheusServer) -> None:
    settings = {"prometheus_selector": {"cluster": "late"}}
    until = HUB.until * MICROS
    pieces = [p async for p in read(prometheus, HUB.start * MICROS, until, until, **settings)]
    [(start, end)] = pieces[-1].seen
    assert (start, end) == (int((HUB.start + 6 * HOUR + 0.417) * MICROS), until)
    told = beside_the_truth({pod.uid: pod for piece in pieces for pod in piece.pods}, "late")
    assert (told.mischarged, told.wrong, told.invented, told.beyond_bound) == (set(), [], set(), 0)
    assert told.edges <= 60


async def test_other_names_are_understood(prometheus: PrometheusServer) -> None:
    assert await found(prometheus, "renamed", prometheus_names=RENAMED) == await found(prometheus, "60s")


async def test_without_the_exact_times_every_edge_is_a_scrape(prometheus: PrometheusServer) -> None:
    told = beside_the_truth(await found(prometheus, "no times"), "no times")
    assert told.edges <= 60
    assert (told.mischarged, told.wrong) == (set(), [])
    assert told.estimated > 100


async def test_labels_alone_lead_to_users_whose_names_they_hold_and_to_those_who_are_known(
    prometheus: PrometheusServer,
) -> None:
    until, selector = HUB.until * MICROS, {"cluster": "labels"}
    users = {life.user for life in HUB_LIVES if life.user is not None}
    servers = {life.uid for life in HUB_LIVES if life.server is not None} & (await found(prometheus, "60s")).keys()
    for known in (frozenset[str](), frozenset(users)):
        pieces = read(prometheus, HUB.start * MICROS, until, until, known, prometheus_selector=selector)
        records = {pod.uid: pod for piece in [p async for p in pieces] for pod in piece.pods}
        assert beside_the_truth(records, "labels").mischarged == set()
        assert records
        assert (records.keys() == servers) is bool(known)


async def test_a_hub_whose_pods_say_not_whose_they_are_is_not_seen(prometheus: PrometheusServer) -> None:
    until, selector = HUB.until * MICROS, {"cluster": "mute"}
    pieces = [p async for p in read(prometheus, HUB.start * MICROS, until, until, prometheus_selector=selector)]
    assert [pod for piece in pieces for pod in piece.pods] == []
    assert pieces[-1].seen == []


async def test_pods_without_uid_are_not_taken_and_their_time_is_not_seen(prometheus: PrometheusServer) -> None:
    until, selector = HUB.until * MICROS, {"cluster": "no uid"}
    pieces = [p async for p in read(prometheus, HUB.start * MICROS, until, until, prometheus_selector=selector)]
    assert [pod for piece in pieces for pod in piece.pods] == []
    assert pieces[-1].seen == []


@pytest.mark.parametrize(("cluster", "metric"), [("no phase", "kube_pod_status_phase"), ("no info", "kube_pod_info")])
async def test_without_what_tells_lives_apart_nothing_is_taken(
    prometheus: PrometheusServer, cluster: str, metric: str
) -> None:
    with pytest.raises(PrometheusError, match=rf"^{metric} is not there: .* prometheus_names"):
        await found(prometheus, cluster)


async def test_time_in_which_nothing_tells_what_pods_hold_is_not_seen(prometheus: PrometheusServer) -> None:
    until, selector = HUB.until * MICROS, {"cluster": "no requests"}
    pieces = [p async for p in read(prometheus, HUB.start * MICROS, until, until, prometheus_selector=selector)]
    assert pieces[-1].seen == []


async def test_a_history_read_in_parts_is_the_one_read_at_once(prometheus: PrometheusServer) -> None:
    whole = await found(prometheus, "60s")
    ends = sorted(p.end.at for p in whole.values() if p.end is not None and p.end.bound is not None)
    # One of them right after the last scrape that showed a pod.
    cuts = [HUB.start * MICROS, ends[3] + 30 * MICROS, (HUB.start + 17 * HOUR + 1234) * MICROS, HUB.until * MICROS]
    assert cuts == sorted(cuts)
    parts: dict[str, PodRecord] = {}
    for start, end in pairwise(cuts):
        # As if it were run at the end of each: what lives then is open, and closed by the next.
        async for piece in read(prometheus, start, end, end, prometheus_selector={"cluster": "60s"}):
            for pod in piece.pods:
                parts[pod.uid] = merged(parts.get(pod.uid, pod), pod)
    assert parts == whole


async def test_of_pods_placed_before_the_end_all_of_their_lives_is_told(prometheus: PrometheusServer) -> None:
    whole, selector = await found(prometheus, "60s"), {"cluster": "60s"}
    until = (HUB.start + 5 * HOUR) * MICROS
    pieces = read(prometheus, HUB.start * MICROS, until, HUB.until * MICROS, prometheus_selector=selector)
    records = {pod.uid: pod for piece in [p async for p in pieces] for pod in piece.pods}
    early = {uid: pod for uid, pod in whole.items() if pod.scheduled < until}
    assert records.keys() == early.keys()
    assert {uid: merged(pod, pod) for uid, pod in records.items()} == early


async def test_what_is_kept_of_an_interrupted_reading_is_whole(prometheus: PrometheusServer) -> None:
    whole, selector = await found(prometheus, "60s"), {"cluster": "60s"}
    since, until = HUB.start * MICROS, HUB.until * MICROS
    kept: list[PodRecord] = []
    seen: list[tuple[int, int]] = []
    async for piece in read(prometheus, since, until, until, prometheus_selector=selector):
        kept, seen = kept + piece.pods, piece.seen
        assert all(pod.end is not None for pod in kept)
        if piece.end > since + 12 * HOUR * MICROS:
            break
    async for piece in read(prometheus, seen[-1][1], until, until, prometheus_selector=selector):
        kept += piece.pods
    together = {pod.uid: reduce(merged, [p for p in kept if p.uid == pod.uid], pod) for pod in kept}
    assert together == whole


async def test_all_that_is_told_is_marked_as_backfilled(prometheus: PrometheusServer) -> None:
    records = (await found(prometheus, "60s")).values()
    assert all(r.backfilled for r in records)
    assert {r.end.how for r in records if r.end is not None} == {HowEnded.BACKFILL}
