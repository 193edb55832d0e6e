"""What all the pods that a pool is charged by held together, kept up to date change by change (S15 to S17)."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from hubquota.domain.history import PodRecord
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Scope
from hubquota.domain.shapes import Shapes
from hubquota.domain.timeline import Changes, Stretch, Timeline

Edge = tuple[int, int]
#: Changes between two kept integrals: with a million pods, one at each change would take 200 MB.
_STRIDE: Final = 16


class Pool:
    """The history of one scope. ``charged``: for each stretch that is known so far its user and its groups."""

    def __init__(
        self, scope: Scope, shapes: Shapes, charged: Iterable[tuple[str | None, tuple[str, ...], Stretch]]
    ) -> None:
        self._scope, self._shapes = scope, shapes
        self._changes = Changes(stretch for user, groups, stretch in charged if charges(scope, user, groups))
        self._timelines: dict[Measure, Timeline] = {}

    def timeline(self, measure: Measure) -> Timeline:
        """What was held over time, as ``measure`` counts it."""
        if measure not in self._timelines:
            self._timelines[measure] = Timeline(self._changes, self._shapes.amounts(measure), _STRIDE)
        return self._timelines[measure]

    def change(self, before: PodRecord | None, after: PodRecord) -> None:
        """A pod is told anew. ``before`` None: it is new. Costs what differs, near the end of the history."""
        was, now = self._edges(before), self._edges(after)
        places = [self._changes.remove(*edge) for edge in (was - now).elements()]
        places += [self._changes.add(*edge) for edge in (now - was).elements()]
        if places:
            for timeline in self._timelines.values():
                timeline.refresh(min(places))

    def _edges(self, pod: PodRecord | None) -> "Counter[Edge]":
        if pod is None or not charges(self._scope, pod.user, pod.charged_groups):
            return Counter()
        edges: Counter[Edge] = Counter()
        for shape, start, end in self._shapes.stretches(pod):
            edges[start, shape] += 1
            if end is not None:
                edges[end, ~shape] += 1
        return edges


def charges(scope: Scope, user: str | None, groups: tuple[str, ...]) -> bool:
    """Whether a pod charges a pool: by the groups it was launched for, or because its user is named."""
    named = user is not None and (scope.everyone or user in scope.users)
    return named or not scope.groups.isdisjoint(groups)
