"""What jupyterhub-usage-quotas asks Prometheus for, as it would be there, and what it makes of it.

Requests of containers, every minute from a pod's placement to its end. Pods that are dead but not deleted, which it
charges too, are left out, in its favour. The series are all that Prometheus has: in a real one there is more to read.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import names
from tests.bench.history import HOUR, Life
from tests.bench.objects import pod
from tests.testbed.kube_state_metrics import told_of_pod
from tests.testbed.prometheus import PrometheusServer

#: Seconds between scrapes, which the peer takes for granted, and between the instants that it asks about.
INTERVAL: Final = 60
#: As a Prometheus that keeps 31 days has its older samples: blocks of 54 hours.
BLOCK: Final = 54 * HOUR
#: Flags of a Prometheus with such blocks. A look back of one scrape stands for the marks that a real one sets where a
#: series ends, and that promtool cannot write: else each pod would be charged five minutes too much.
FLAGS: Final = (f"--storage.tsdb.max-block-duration={BLOCK}s", f"--query.lookback-delta={INTERVAL}s")
_METRIC: Final = "kube_pod_container_resource_requests"
_SOURCE: Final = {"job": "kube-state-metrics", "instance": "10.1.2.3:8080"}
#: A scrape comes at no whole second.
_OFFSET: Final = "417"
#: Bytes and cores that a person writes, in what the peer counts with.
_UNITS: Final = {"memory": 2**30, "cpu": 1}


class Series(NamedTuple):
    """One container's request of one resource: the line up to its instant, and when it is scraped."""

    pod: str
    resource: str
    value: float
    line: str
    scrapes: range


def series(lives: Iterable[Life], until: int) -> list[Series]:
    """All that is told of some pods. What runs is taken to run until ``until``."""
    return [told for life in lives if life.placed is not None for told in _of(life, until)]


def _of(life: Life, until: int) -> Iterator[Series]:
    end = until if life.ended is None else life.ended
    first, last = -(-(life.placed or 0) // INTERVAL), -(-end // INTERVAL)
    scrapes = range(first * INTERVAL, last * INTERVAL, INTERVAL)
    for told in told_of_pod(pod(life, life.placed or 0), annotations=None):
        resource = told.labels.get("resource", "")
        if told.metric == _METRIC and resource in _UNITS and scrapes:
            yield Series(life.name, resource, told.value, told.line(**_SOURCE), scrapes)


def fill(server: PrometheusServer, told: Sequence[Series], folder: Path) -> int:
    """Have Prometheus take it in, block by block; returns how many samples there were. Before it starts."""
    folder.mkdir(parents=True, exist_ok=True)
    first = min(s.scrapes[0] for s in told) // BLOCK
    last = max(s.scrapes[-1] for s in told) // BLOCK
    count = 0
    for block in range(first, last + 1):
        file = folder / f"{block}.om"
        count += _write(file, told, block * BLOCK, (block + 1) * BLOCK)
        server.fill(file, block=BLOCK)
        file.unlink()
    return count


def _write(file: Path, told: Iterable[Series], start: int, end: int) -> int:
    count = 0
    with file.open("w") as out:
        for one in told:
            scrapes = _within(one.scrapes, start, end)
            count += len(scrapes)
            out.writelines(f"{one.line} {at}.{_OFFSET}\n" for at in scrapes)
        out.write("# EOF\n")
    return count


def _within(scrapes: range, start: int, end: int) -> range:
    return range(max(scrapes.start, start), min(scrapes.stop, end), INTERVAL)


class Counted:
    """What the peer makes of it: all pods whose names begin as the user's do, every minute."""

    def __init__(self, told: Iterable[Series]) -> None:
        self._told = sorted(told, key=lambda one: one.pod)
        self._names = [one.pod for one in self._told]

    def samples(self, user: str, since: int, at: int) -> int:
        """How many samples it is given of a user, of one resource."""
        return sum(len(_within(s.scrapes, since, at)) for s in self._of(user) if s.resource == "memory")

    def used(self, user: str, resource: str, since: int, at: int) -> float:
        """GiB-hours or CPU-hours."""
        found = (s for s in self._of(user) if s.resource == resource)
        total = sum(s.value * len(_within(s.scrapes, since, at)) for s in found)
        return total * INTERVAL / HOUR / _UNITS[resource]

    def _of(self, user: str) -> Iterator[Series]:
        prefix = f"jupyter-{names.slug(user)}"
        for place in range(bisect_left(self._names, prefix), len(self._told)):
            if not self._names[place].startswith(prefix):
                return
            yield self._told[place]
