"""Usage as a real Prometheus gives it back, against the truth: what scraping loses, and what it may not lose."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hubquota.domain.history import PodRecord, SegmentRecord
from hubquota.ledger import Ledger
from hubquota.prometheus.client import Prometheus
from hubquota.prometheus.promql import Names
from hubquota.prometheus.questions import Questions
from hubquota.prometheus.reading import Piece, Reading
from hubquota.prometheus.resources import Resources
from hubquota.prometheus.slugs import Users
from hubquota.settings import Settings
from tests.bench.history import HUB, Hub, Life
from tests.bench.profiles import PROFILES
from tests.bench.scraping import Scraping, write
from tests.bench.truth import allocation, pieces
from tests.testbed.prometheus import PrometheusServer

_MICROS: Final = 1_000_000
#: What is asked for a whole pod is told by none of kube-state-metrics' series.
UNTOLD: Final = frozenset(place for place, profile in enumerate(PROFILES) if profile.name == "shared")
#: How long a hub is scraped at most: what a day of it takes on disk is some 80 MB for 40 users.
_DAYS: Final = 3


@dataclass
class Compared:
    """A backfilled hub beside the true one. Lengths in seconds, amounts of memory in byte-seconds.

    ``unseen``: pods that lived between two scrapes. ``edges``: how far starts and ends were off at most.
    ``mischarged``: users who were charged for a pod of another. ``wrong``: pods with another allocation than the true
    one, but for those that ask for the pod as a whole (``untold``).
    """

    pods: int = 0
    unseen: int = 0
    estimated: int = 0
    edges: float = 0.0
    beyond_bound: int = 0
    true: float = 0.0
    found: float = 0.0
    mischarged: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    untold: int = 0
    invented: set[str] = field(default_factory=set)

    @property
    def off(self) -> float:
        """How much of the memory that was held is missing, in percent; negative: how much is too much."""
        return (self.true - self.found) / self.true * 100


def compare(lives: Iterable[Life], records: Mapping[str, PodRecord], scrapes: Sequence[float], until: int) -> Compared:
    """Each pod that was there at a scrape, as it was and as it was found."""
    result, left = Compared(), dict(records)
    for life in lives:
        if life.placed is None:
            continue
        record = left.pop(life.uid, None)
        if life.profile in UNTOLD:
            result.untold += 1
        else:
            result.true += held(life, until)
        if record is None:
            result.unseen += 1
            if shown(life, scrapes):
                result.wrong.append(f"{life.uid} was scraped and not found")
            continue
        _one(result, life, record, until)
    result.invented = set(left)
    return result


def shown(life: Life, scrapes: Sequence[float]) -> bool:
    """Whether a scrape showed it placed."""
    return life.placed is not None and any(
        life.placed <= at and (life.gone is None or at < life.gone) for at in scrapes
    )


def held(life: Life, until: int) -> float:
    """What it held of memory, in byte-seconds."""
    return sum(
        allocation(profile).get("memory", 0) * ((until if end is None else end) - start)
        for start, end, profile in pieces(life, until)
    )


def _one(result: Compared, life: Life, record: PodRecord, until: int) -> None:
    result.pods += 1
    if record.user != life.user:
        result.mischarged.add(record.user or "nobody")
    end, bound = _end(record, until)
    result.estimated += record.end is not None and record.end.bound is not None
    true_end = until if life.ended is None else life.ended
    edges = (record.scheduled / _MICROS - (life.placed or 0), end / _MICROS - true_end)
    result.edges = max(result.edges, *map(abs, edges))
    result.beyond_bound += not end <= true_end * _MICROS <= bound
    if life.profile not in UNTOLD:
        _held(result, life, record)
        result.found += sum(
            s.request * ((until * _MICROS if s.end is None else s.end) - s.start) / _MICROS
            for s in record.segments
            if s.resource == "memory"
        )


def _end(record: PodRecord, until: int) -> tuple[int, int]:
    """When it ended, and by when at the latest; of one that was not seen to end: from when on it may have."""
    if record.end is None:
        return record.last_seen, until * _MICROS
    return record.end.at, record.end.at if record.end.bound is None else record.end.bound


def _held(result: Compared, life: Life, record: PodRecord) -> None:
    true = [dict(allocation(profile)) for _, _, profile in pieces(life, life.ended or record.last_seen // _MICROS)]
    starts = sorted({s.start for s in record.segments})
    found = [
        {s.resource: s.request for s in record.segments if s.resource != "servers" and _lasts(s, start)}
        for start in starts
    ]
    if [f for f in found if f] != [t for t in true if t]:
        result.wrong.append(f"{life.uid} held {true}, found {found}")


def _lasts(segment: SegmentRecord, at: int) -> bool:
    return segment.start <= at and (segment.end is None or segment.end > at or segment.end == segment.start)


async def pods_of(server: PrometheusServer, hub: Hub, **settings: Any) -> dict[str, PodRecord]:  # noqa: ANN401
    """All pods of a hub, as a ledger keeps them after a backfill."""
    since, until = hub.start * _MICROS, hub.until * _MICROS
    with tempfile.TemporaryDirectory() as folder:
        async with await Ledger.open(f"sqlite:///{Path(folder) / 'ledger.db'}") as ledger:
            async for piece in read(server, since, until, until, **settings):
                await ledger.record(piece.pods)
            return {pod.uid: pod async for pod in ledger.pods_since(HUB, 0)}


async def read(
    server: PrometheusServer,
    since: int,
    until: int,
    now: int,
    users: Iterable[str] = (),
    **settings: Any,  # noqa: ANN401
) -> AsyncIterator[Piece]:
    """What one reading gives, piece by piece."""
    told = Settings(prometheus_url=server.url, **settings)
    async with Prometheus(told) as prometheus:
        questions = Questions(prometheus, Names(told.prometheus_names, told.prometheus_selector), HUB)
        resources, labels = Resources(told.prometheus_resources), Users(told.prometheus_user_labels, users)
        reading = Reading(questions, HUB, "default", resources, labels, int(told.prometheus_gap * _MICROS))
        async for piece in reading.pieces(since, until, now):
            yield piece


def filled(server: PrometheusServer, lives: Sequence[Life], scrapings: Iterable[Scraping], folder: Path) -> None:
    """Fill a Prometheus block by block, so that no more than one has to lie on the disk as text."""
    for file in write(lives, scrapings, folder):
        server.fill(file)
        file.unlink()


def run(hub: Hub) -> bool:
    """Print what is lost; whether nothing is that need not be."""
    hub = replace(hub, days=min(hub.days, _DAYS))
    lives = list(hub.lives())
    print(f"backfill: {hub.users:,} users, {len(lives):,} pods in {hub.days} days, from a real Prometheus")
    heads = (
        "scraped every",
        "pods",
        "unseen",
        "estimated ends",
        "furthest edge",
        "memory missing",
        "others' pods",
        "takes",
    )
    print("  " + "".join(f"{head:>16}" for head in heads))
    exact = [_one_interval(hub, lives, interval) for interval in (15, 30, 60, 300)]
    return all(exact)


def _one_interval(hub: Hub, lives: Sequence[Life], interval: int) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scraping = Scraping(hub.start, hub.until, interval)
        server = PrometheusServer(folder / "prometheus")
        filled(server, lives, [scraping], folder / "samples")
        server.start()
        try:
            before = time.perf_counter()
            found = asyncio.run(pods_of(server, hub))
            seconds = time.perf_counter() - before
        finally:
            server.stop()
    told = compare(lives, found, list(scraping.times()), hub.until)
    cells = (f"{interval} s", told.pods, told.unseen, told.estimated, f"{told.edges:.0f} s", f"{told.off:.3f} %")
    print("  " + "".join(f"{cell:>16}" for cell in (*cells, len(told.mischarged), f"{seconds:.1f} s")))
    for wrong in told.wrong[:5]:
        print(f"  WRONG: {wrong}")
    return told.edges <= interval and not (told.mischarged or told.wrong or told.invented or told.beyond_bound)
