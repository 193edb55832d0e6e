"""What policies would have said of a history of pods: where everybody stood, and which launches they would have met.

Each launch is judged by usage as it really was: what a denied launch would not have used is not taken back.
"""

import heapq
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hubquota.domain.history import PodRecord
from hubquota.domain.launch import Launch, Verdict, judge
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy
from hubquota.domain.pooling import charges
from hubquota.domain.standing import QuotaState, Standing
from hubquota.domain.windows import DAY

#: How often what is over is put away, where it takes less room and time.
_SEAL: Final = DAY


@dataclass(frozen=True, slots=True)
class Replayed:
    """One launch of the history, and what it would have met."""

    pod: PodRecord
    verdict: Verdict


class Replay:
    """A history and the policies to judge it by.

    ``groups``: of users; None: as their launches told (S10).
    """

    def __init__(
        self, pods: Sequence[PodRecord], policies: Sequence[Policy], groups: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self._pods = sorted(pods, key=lambda p: (p.scheduled, p.uid))
        self._policies = list(policies)
        self._groups = groups
        self._covered = min((p.scheduled for p in self._pods), default=0)
        self._told: defaultdict[str, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        for pod in self._pods:
            if pod.user is not None:
                self._told[pod.user].append((pod.scheduled, frozenset(pod.groups)))

    def groups_of(self, user: str, at: int) -> frozenset[str]:
        """The groups of a user at an instant."""
        if self._groups is not None:
            return self._groups.get(user, frozenset())
        told = self._told.get(user, [])
        place = bisect_right(told, at, key=lambda t: t[0])
        return told[place - 1][1] if place else frozenset()

    def meter(self, at: int) -> Meter:
        """What was known at an instant."""
        meter = Meter(self._covered)
        meter.take(known for pod in self._pods if (known := known_at(pod, at)) is not None)
        return meter

    def standings(self, at: int) -> dict[str, Standing]:
        """Where everybody stood who had a pod by then, by name."""
        meter = self.meter(at)
        return {u: meter.standing(self._policies, u, self.groups_of(u, at), at) for u in sorted(meter.users())}

    def pools(self, at: int) -> dict[str, QuotaState]:
        """Where the Shared policies stood, by name; those that give a quota then."""
        meter = self.meter(at)
        states = {p.name: meter.pool(p, at) for p in self._policies if p.shared}
        return {name: state for name, state in states.items() if state is not None}

    def launches(self, start: int, end: int) -> Iterator[Replayed]:
        """Every server placed from ``start`` to just before ``end``, judged by what was known just before it."""
        story = _Story(Meter(self._covered))
        for pod in self._pods:
            if pod.scheduled >= end:
                return
            story.reach(pod.scheduled)
            if pod.scheduled >= start and pod.user is not None and pod.server is not None:
                yield Replayed(pod, self._judged(story.meter, pod, pod.user))
            story.begin(pod)

    def _judged(self, meter: Meter, pod: PodRecord, user: str) -> Verdict:
        at = pod.scheduled
        groups = frozenset(pod.groups) if self._groups is None else self.groups_of(user, at)
        held = {s.resource: s.request for s in pod.segments if s.start == at}
        if not meter.may_refuse(self._policies, user, groups, at):
            return Verdict((), (), (), at, at)
        standing = meter.standing(self._policies, user, groups, at)
        paying = tuple(groups) if pod.chosen_group is None else (pod.chosen_group,)
        charged = [p for p in self._policies if p.name in standing.pools and charges(p.scope, user, paying)]
        pools = [state for p in charged if (state := meter.pool(p, at)) is not None]
        return judge([*standing.quotas, *pools], Launch(held, pod.instance_type), at, standing.foreseen)


class _Story:
    """A meter that is told of pods as they were seen at the time."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._ahead: list[tuple[int, str, PodRecord]] = []
        self._sealed = 0

    def begin(self, pod: PodRecord) -> None:
        """A pod is placed; what will change of it is told when it happens."""
        self._tell(pod, pod.scheduled)
        changes = {s.start for s in pod.segments} | {pod.finished}
        for at in changes - {pod.scheduled, None}:
            heapq.heappush(self._ahead, (at or 0, pod.uid, pod))

    def reach(self, at: int) -> None:
        """All that happened up to an instant."""
        while self._ahead and self._ahead[0][0] <= at:
            moment, _, pod = heapq.heappop(self._ahead)
            self._tell(pod, moment)
        if at - self._sealed > _SEAL:
            self._sealed = at
            self.meter.seal(at - 1, lambda _: False)

    def _tell(self, pod: PodRecord, at: int) -> None:
        known = known_at(pod, at)
        if known is not None:
            self.meter.take([replace(known, first_seen=pod.scheduled, last_seen=at)])


def known_at(pod: PodRecord, at: int) -> PodRecord | None:
    """A pod as it was known at an instant; None: it was not placed yet."""
    if pod.scheduled > at:
        return None
    if pod.finished is not None and pod.finished <= at:
        return pod
    return replace(_running(pod), segments=tuple(s for s in _running(pod).segments if s.start <= at))


def _running(pod: PodRecord) -> PodRecord:
    """A pod as it was before its end was known."""
    if pod.finished is None:
        return pod
    segments = tuple(replace(s, end=None) if s.end == pod.finished else s for s in pod.segments)
    return replace(pod, end=None, segments=segments)
