"""A made-up hub as Prometheus has it that scraped kube-state-metrics, as files that promtool takes in."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench.history import HUB, Life
from tests.bench.objects import pod
from tests.testbed.kube_state_metrics import Told, told_of_namespace, told_of_pod
from tests.testbed.prometheus import BLOCK

#: Besides the hub's pods: its namespace, and a pod of another.
_ELSEWHERE: Final = [
    told_of_namespace(HUB, 1.0),
    *told_of_pod(
        {
            "metadata": {
                "namespace": "kube-system",
                "name": "dns",
                "uid": "dns",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"nodeName": "n", "containers": [{"name": "dns", "resources": {"requests": {"memory": "70Mi"}}}]},
            "status": {"phase": "Running"},
        }
    ),
]
#: A scrape comes at no whole second.
_OFFSET: Final = 0.417


@dataclass(frozen=True)
class Scraping:
    """Scrapes from ``start`` to ``end``, every ``interval`` seconds but for ``gaps`` (from, to).

    ``source``: labels of who is scraped and who scrapes. ``options``: what ``told_of_pod`` takes.
    """

    start: int
    end: int
    interval: int = 30
    offset: float = _OFFSET
    source: dict[str, str] = field(default_factory=lambda: {"job": "kube-state-metrics", "instance": "10.1.2.3:8080"})
    gaps: Sequence[tuple[int, int]] = ()
    without: Sequence[str] = ()
    """Labels and metrics that are not kept."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Labels and metrics that are kept under other names."""
    options: dict[str, Any] = field(default_factory=dict)

    def times(self) -> Iterator[float]:
        """All scrapes."""
        for at in range(self.start, self.end, self.interval):
            if not any(start <= at < end for start, end in self.gaps):
                yield at + self.offset


def write(lives: Sequence[Life], scrapings: Iterable[Scraping], folder: Path) -> list[Path]:
    """Write one file for each block that promtool makes."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks: defaultdict[int, list[tuple[float, Scraping]]] = defaultdict(list)
    for scraping in scrapings:
        for at in scraping.times():
            blocks[int(at) // BLOCK].append((at, scraping))
    return [_write(lives, scrapes, folder / f"{number}.om") for number, scrapes in sorted(blocks.items())]


def _write(lives: Sequence[Life], scrapes: list[tuple[float, Scraping]], file: Path) -> Path:
    scrapes.sort(key=lambda scrape: scrape[0])
    first, last = scrapes[0][0], scrapes[-1][0]
    here = [_Scraped(life) for life in lives if life.created <= last and (life.gone is None or life.gone > first)]
    with file.open("w") as out:
        for at, scraping in scrapes:
            stamp = f" {at:.3f}\n"
            out.writelines(line + stamp for line in _lines(_ELSEWHERE, scraping))
            for scraped in here:
                out.writelines(line + stamp for line in scraped.lines(at, scraping))
        out.write("# EOF\n")
    return file


class _Scraped:
    """One pod, of which the same is told until something changes."""

    def __init__(self, life: Life) -> None:
        self._life = life
        moments = {life.created, life.placed, life.ended, life.restarted, *(at for at, _ in life.resizes)}
        moments |= {None if life.placed is None else life.placed + 3}
        moments |= {None if life.restarted is None else life.restarted + 1}
        self._moments = sorted(at for at in moments if at is not None)
        self._told: dict[tuple[int, int], list[str]] = {}

    def lines(self, at: float, scraping: Scraping) -> list[str]:
        """All that is told of it at an instant."""
        life = self._life
        if at < life.created or (life.gone is not None and at >= life.gone):
            return []
        state = bisect_right(self._moments, at)
        key = (state, id(scraping))
        if key not in self._told:
            told = told_of_pod(pod(life, self._moments[state - 1]), **scraping.options)
            self._told[key] = _lines(told, scraping)
        return self._told[key]


def _lines(told: Iterable[Told], scraping: Scraping) -> list[str]:
    return [_line(t, scraping) for t in told if t.metric not in scraping.without]


def _line(told: Told, scraping: Scraping) -> str:
    here = scraping.renamed
    kept = {here.get(name, name): value for name, value in told.labels.items() if name not in scraping.without}
    return Told(here.get(told.metric, told.metric), kept, told.value).line(**scraping.source)
