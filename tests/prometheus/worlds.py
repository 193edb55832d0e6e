"""One made-up hub as several clusters, by how it is scraped."""

from collections.abc import Sequence
from typing import Any, Final

from tests.bench.history import HOUR, Hub
from tests.bench.scraping import Scraping

HUB: Final = Hub(users=30, days=1, seed=5)
HUB_LIVES: Final = list(HUB.lives())
#: A stretch in which nothing was scraped.
HOLE: Final = (HUB.start + 9 * HOUR, HUB.start + 9 * HOUR + 2400)


def _scraping(cluster: str, interval: int = 60, **more: Any) -> Scraping:  # noqa: ANN401 - any of its fields
    source = {"cluster": cluster, "job": "kube-state-metrics", "instance": "10.1.2.3:8080"} | more.pop("source", {})
    start, end = more.pop("start", HUB.start), more.pop("end", HUB.until)
    return Scraping(start, end, interval, source=source, **more)


SCRAPINGS: Final[dict[str, Sequence[Scraping]]] = {
    "15s": [_scraping("15s", 15)],
    "30s": [_scraping("30s", 30)],
    "60s": [_scraping("60s")],
    "5min": [_scraping("5min", 300)],
    # Two kube-state-metrics, each scraped by two Prometheus; one pair slower than the other.
    "pairs": [
        _scraping("pairs", interval, offset=offset, source={"instance": instance, "replica": replica})
        for instance, interval, offset in (("10.1.2.3:8080", 60, 0.4), ("10.1.2.4:8080", 60, 20.9))
        for replica, offset in (("a", offset), ("b", offset + 7.3))
    ],
    "hole": [_scraping("hole", gaps=[HOLE])],
    "late": [_scraping("late", start=HUB.start + 6 * HOUR)],
    "renamed": [
        _scraping(
            "renamed",
            renamed={
                "namespace": "exported_namespace",
                "pod": "exported_pod",
                "kube_pod_status_phase": "site:pod_phase",
                "annotation_hub_jupyter_org_username": "owner",
            },
        )
    ],
    "labels": [_scraping("labels", options={"annotations": None, "labels": True})],
    "mute": [_scraping("mute", options={"annotations": None})],
    "no uid": [_scraping("no uid", without=["uid"])],
    "no phase": [_scraping("no phase", without=["kube_pod_status_phase"])],
    "no info": [_scraping("no info", without=["kube_pod_info"])],
    "no requests": [_scraping("no requests", without=["kube_pod_container_resource_requests"])],
    "no times": [_scraping("no times", without=["kube_pod_status_scheduled_time", "kube_pod_completion_time"])],
}

#: Texts that a question could trip over; each is a label of a series ``odd``.
ODD: Final = [
    '"',
    "\\",
    '"} or vector(1) or {a="',
    "\n",
    "\x01",
    "\x7f",
    "`",
    "'",
    "é李\U0001f600",
    "a\u2028b",
    ".*",
    "$1",
]
