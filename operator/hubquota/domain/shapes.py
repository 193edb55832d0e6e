"""The few different allocations that all the pods of a hub come to, each told once.

A hub's pods come from a handful of profiles, so a stretch of a pod's life needs no more than an index to say what it
held.
"""

from collections.abc import Mapping

from hubquota.domain.history import PodRecord, SegmentRecord
from hubquota.domain.measure import Measure
from hubquota.domain.timeline import Stretch


class Shapes:
    """Allocations (base units by resource) by index."""

    def __init__(self) -> None:
        self._places: dict[tuple[tuple[str, int], ...], int] = {}
        self._allocations: list[Mapping[str, int]] = []
        self._amounts: dict[Measure, list[int]] = {}

    def index(self, allocation: Mapping[str, int]) -> int:
        """The index of an allocation; a new one for one that was not seen yet."""
        key = tuple(sorted(allocation.items()))
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._allocations)
            self._allocations.append(dict(key))
            for measure, amounts in self._amounts.items():
                amounts.append(measure.amount(allocation))
        return place

    def allocation(self, place: int) -> Mapping[str, int]:
        """The allocation of an index."""
        return self._allocations[place]

    def amounts(self, measure: Measure) -> list[int]:
        """What each allocation counts for, by index; the list grows as allocations are added."""
        if measure not in self._amounts:
            self._amounts[measure] = [measure.amount(allocation) for allocation in self._allocations]
        return self._amounts[measure]

    def stretches(self, pod: PodRecord) -> list[Stretch]:
        """A pod's life, cut where its allocation changed."""
        lives = [(s.start, s.end if s.end is not None else pod.finished, s) for s in pod.segments]
        spans = {(start, end) for start, end, _ in lives}
        if len(spans) == 1:
            ((start, end),) = spans
            return [Stretch(self.index({s.resource: s.request for _, _, s in lives}), start, end)]
        return self._cut(lives, pod.finished)

    def _cut(self, lives: list[tuple[int, int | None, SegmentRecord]], finished: int | None) -> list[Stretch]:
        edges = sorted({at for start, end, _ in lives for at in (start, end) if at is not None})
        made = []
        for start, end in zip(edges, [*edges[1:], None], strict=True):
            held = {
                s.resource: s.request
                for since, until, s in lives
                if since <= start and (until is None or start < until)
            }
            if held:
                made.append(Stretch(self.index(held), start, end if end is not None else finished))
        return made
