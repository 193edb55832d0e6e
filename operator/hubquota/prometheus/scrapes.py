"""When kube-state-metrics was scraped, and so for which time Prometheus can speak. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median_low
from typing import Final

from hubquota.prometheus.answers import Series, instant

Stretch = tuple[int, int]

_SECOND: Final = 1_000_000
#: Where nothing tells how often is scraped.
_USUAL: Final = 60 * _SECOND
#: Between two scrapes at this many times the usual distance, nothing is taken to be missed.
_TOLERATED: Final = 2.5
#: Scrapes from which is learnt how often is scraped.
_REMEMBERED: Final = 200
#: A scrape that comes so much earlier than it should is the next one all the same.
_PUNCTUAL: Final = 0.9


class Scrapes:
    """Scrapes of one hub's namespace. ``gap``: microseconds between two of them without a hole, at the least.

    ``interval`` and ``shortest``: the usual distance between two scrapes by one and the same server, of the one that
    scrapes least and most often.
    """

    def __init__(self, gap: int) -> None:
        self._gap = gap
        self._at: list[int] = []
        self._recent: dict[frozenset[tuple[str, str]], list[int]] = {}
        self.interval = self.shortest = _USUAL
        self.seen: list[Stretch] = []
        """Without holes, in their order."""

    @property
    def bound(self) -> int:
        """How far two scrapes may lie apart without a hole between them."""
        return max(self._gap, int(_TOLERATED * self.interval))

    @property
    def last(self) -> int | None:
        """The last scrape."""
        return self._at[-1] if self._at else None

    def measure(self, told: Iterable[Series]) -> None:
        """Learn how often is scraped. Of each series, the values are the scrapes' times."""
        recent = {}
        for series in told:
            source = frozenset(series.labels.items())
            recent[source] = sorted({*self._recent.get(source, ()), *times(series)})[-_REMEMBERED:]
        self._recent = recent
        distances = [median_low(b - a for a, b in pairwise(known)) for known in recent.values() if len(known) > 2]
        if distances:
            self.interval, self.shortest = max(distances), min(distances)

    def take(self, told: Iterable[Series], until: int, *, speaks: bool) -> None:
        """Take in one more stretch's scrapes, up to ``until``: the last instant at which pods were looked for.

        ``speaks``: whether they tell of pods what has to be known.
        """
        newest = -1 if self.last is None else self.last
        fresh = sorted({at for series in told for at in times(series) if newest < at <= until})
        self._at += fresh
        if speaks:
            self.seen = joined([*self.seen, *((at, at) for at in fresh)], self.bound)

    def after(self, at: int) -> int | None:
        """The scrape that would have shown a pod which was shown last at an instant; None: there was none yet."""
        place = bisect_left(self._at, at + int(_PUNCTUAL * self.interval))
        return self._at[place] if place < len(self._at) else None

    def forget(self, before: int) -> None:
        """Let go of scrapes that nobody will ask for."""
        del self._at[: bisect_left(self._at, before)]


def times(series: Series) -> list[int]:
    """The scrapes that a series tells, whose values they are."""
    return sorted({instant(value) for _, value in series.samples})


def joined(stretches: Iterable[Stretch], apart: int = 0) -> list[Stretch]:
    """Stretches in their order, those put together that touch or lie at most ``apart`` from each other."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(whole: Stretch, seen: Iterable[Stretch]) -> list[Stretch]:
    """What of a stretch is in none of these."""
    left, at = [], whole[0]
    for start, end in joined(seen):
        if start > at:
            left.append((at, min(start, whole[1])))
        at = max(at, end)
        if at >= whole[1]:
            break
    if at < whole[1]:
        left.append((at, whole[1]))
    return [(start, end) for start, end in left if start < end]


def widened(seen: Sequence[Stretch], whole: Stretch, bound: int) -> list[Stretch]:
    """What was seen of a stretch, up to its very edges where no scrape is missing there."""
    found = [(max(start, whole[0]), min(end, whole[1])) for start, end in seen if end >= whole[0] and start <= whole[1]]
    if found and found[0][0] - whole[0] <= bound:
        found[0] = (whole[0], found[0][1])
    if found and whole[1] - found[-1][1] <= bound:
        found[-1] = (found[-1][0], whole[1])
    return [(start, end) for start, end in found if start < end]
