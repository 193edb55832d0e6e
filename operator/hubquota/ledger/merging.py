"""What two records of one pod come to together, whichever came first, however often each came.

Observations arrive late, twice, or again after a restart; so a pod's record is a join: its order, its grouping and its
repetition change nothing. (Of allocations, one case is left out: an observation that comes late from between two others
which agree with each other and not with it. A pod's observations come in order, so it does not arise. Of estimated
ends, one too: a pod seen to live after Prometheus had lost it, and missed by a listing after that, may be open for a
while: until the next listing.)

What Prometheus had fills in: it says when a pod ended whose end nobody saw; never whose it is, when it was placed or
what it held, where that was seen directly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.windows import SECOND

#: One allocation seen at one instant: when, request, limit.
Sight = tuple[int, int, int | None]
_ORDER: Final = {how: place for place, how in enumerate(HowEnded)}


def merged(left: PodRecord, right: PodRecord) -> PodRecord:
    """Both records of one pod as one. Raises ValueError if they are of different pods."""
    if left.uid != right.uid:
        raise ValueError(f"{left.uid} and {right.uid} are different pods")
    first, other = sorted((left, right), key=lambda r: (r.backfilled, r.first_seen))
    telling = [r for r in (first, other) if r.backfilled == first.backfilled]
    together = replace(
        first,  # what the hub wrote at creation counts, so whatever was seen first
        scheduled=min(r.scheduled for r in telling),
        first_seen=min(r.first_seen for r in telling),
        last_seen=_last_seen(first, other),
        node=first.node if first.node is not None else other.node,
        node_labels=first.node_labels if first.node_labels is not None else other.node_labels,
        deletion=_earlier(first.deletion, other.deletion),
        end=None,
    )
    ends = [e for e in (first.end, other.end) if e is not None and e.at >= together.scheduled]
    end = _end(ends, together.last_seen)
    return replace(together, end=end, segments=_segments(telling, together, end))


def _last_seen(first: PodRecord, other: PodRecord) -> int:
    """The later of both; but what Prometheus still showed after the pod was known to be gone is a ghost."""
    gone = first.end if other.backfilled and not first.backfilled else None
    if gone is None or gone.how is HowEnded.BACKFILL:
        return max(first.last_seen, other.last_seen)
    return max(first.last_seen, min(other.last_seen, gone.at if gone.bound is None else gone.bound))


def taken_for_gone(pod: PodRecord, gone_by: int) -> PodRecord:
    """An open pod that nobody saw end and that was gone by ``gone_by``.

    It ended when it was due to be gone where that is known, else when it was last seen; estimated, and bounded.
    """
    due = pod.deletion if pod.deletion is not None else pod.last_seen
    how = HowEnded.LAST_SEEN if pod.deletion is None else HowEnded.DELETION_TIMESTAMP
    at = max(pod.scheduled, pod.last_seen, min(due, gone_by))
    return replace(pod, end=PodEnd(at, how, max(at, gone_by)))


def gone_before(scheduled: int) -> int:
    """By when a pod was gone of whose name another was placed; the cluster tells whole seconds, cut."""
    return scheduled + SECOND


def gone_by(pod: PodRecord, placed: Iterable[int], latest: int) -> int:
    """By when a pod was gone that was missed: ``latest``, or when the next of its name was placed.

    ``placed``: when pods of its name were, itself included or not; a cluster has one pod of a name at a time.
    """
    return min((latest, *(gone_before(scheduled) for scheduled in placed if scheduled > pod.scheduled)))


def _earlier(left: int | None, right: int | None) -> int | None:
    return min((at for at in (left, right) if at is not None), default=None)


def _end(ends: Iterable[PodEnd], last_seen: int) -> PodEnd | None:
    """A certain end stays for ever; an estimated one falls when the pod is seen to live after it was thought gone."""
    ends = list(ends)
    certain = [e for e in ends if e.bound is None]
    if certain:
        return min(certain, key=_certainty)
    standing = [e for e in ends if e.bound is not None and e.bound >= last_seen]
    seen = [e for e in standing if e.how is not HowEnded.BACKFILL]
    # Prometheus looked twice a minute or so; but not where it contradicts what was seen.
    filled = [e for e in standing if e not in seen and all(s.bound is not None and e.at <= s.bound for s in seen)]
    latest = max(filled or seen, key=lambda e: (e.bound, e.at, _ORDER[e.how]), default=None)
    return None if latest is None else replace(latest, at=max(latest.at, last_seen))


def _certainty(end: PodEnd) -> tuple[int, int]:
    """The best known comes first. The last container's end is the latest told, what we heard is the first we heard."""
    return _ORDER[end.how], -end.at if end.how is HowEnded.CONTAINERS else end.at


def _segments(records: Sequence[PodRecord], both: PodRecord, end: PodEnd | None) -> tuple[SegmentRecord, ...]:
    resources = sorted({s.resource for r in records for s in r.segments})
    return tuple(
        segment
        for resource in resources
        for segment in _stretches(resource, [s for r in records for s in _sights(r, resource)], both.scheduled, end)
    )


def _sights(record: PodRecord, resource: str) -> list[Sight]:
    """When each allocation of a resource was seen for the first time, and the last one also for the last time."""
    held = [s for s in record.segments if s.resource == resource]
    sights: list[Sight] = [(_seen(s, record), s.request, s.limit) for s in held]
    if not held or held[0].start > record.scheduled:
        sights.insert(0, (record.first_seen, 0, None))
    _, request, limit = sights[-1]
    return [*sights, (max(record.last_seen, sights[-1][0]), request, limit)]


def _seen(segment: SegmentRecord, record: PodRecord) -> int:
    """A resize starts when it was seen; what was held from the start was seen later than it began."""
    return segment.start if segment.start > record.scheduled else record.first_seen


def _stretches(resource: str, sights: Iterable[Sight], scheduled: int, end: PodEnd | None) -> list[SegmentRecord]:
    """One segment from each change to the next; the first from the placement, the last to the pod's end."""
    starts: dict[int, tuple[int, int | None]] = {}
    last: tuple[int, int | None] = (0, None)
    for at, request, limit in sorted(sights, key=lambda s: (s[0], s[1], s[2] or 0)):
        if (request, limit) != last or not starts:
            starts[max(at, scheduled) if starts else scheduled] = last = (request, limit)
    edges = sorted(starts)
    until = None if end is None else end.at
    return [
        SegmentRecord(resource, *starts[start], start, _clipped(start, stop, until))
        for start, stop in zip(edges, [*edges[1:], None], strict=True)
        if start > scheduled or starts[start] != (0, None)
    ]


def _clipped(start: int, stop: int | None, until: int | None) -> int | None:
    """The next change or the pod's end, whichever comes first; a resize seen after the end held for no time."""
    ends = [at for at in (stop, until) if at is not None]
    return max(start, min(ends)) if ends else None
