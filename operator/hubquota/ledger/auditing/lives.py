"""What is wrong with one pod's row and its parts, whatever the cluster says. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hubquota.domain.history import PodRecord, SegmentRecord
from hubquota.ledger.auditing.findings import Finding, Kind, when
from hubquota.ledger.auditing.mending import Reform
from hubquota.ledger.auditing.reading import Kept
from hubquota.ledger.merging import merged
from hubquota.ledger.rows import digest, undigested


def faults(kept: Kept) -> Iterator[Finding]:
    """What is wrong with a pod's row and its parts."""
    row, record = kept.row, kept.record
    if record is None:
        yield Finding(Kind.UNREADABLE, row.hub, kept.uid, row.name, kept.fault)
        return
    reform = Reform(record)
    if (told := _flags(kept)) is not None:
        yield Finding(Kind.FLAGS, row.hub, kept.uid, row.name, told, reform)
    if wrong := list(segment_faults(record)):
        mendable = not any(segment_faults(merged(record, record)))
        yield Finding(Kind.SEGMENTS, row.hub, kept.uid, row.name, "; ".join(wrong), reform if mendable else None)
    elif (told := _digest(kept, record)) is not None:
        yield Finding(Kind.DIGEST, row.hub, kept.uid, row.name, told, reform)


def segment_faults(pod: PodRecord) -> Iterator[str]:
    """What is wrong with the stretches of a pod's allocation, resource by resource."""
    by_resource: defaultdict[str, list[SegmentRecord]] = defaultdict(list)
    for segment in pod.segments:
        by_resource[segment.resource].append(segment)
    for resource, held in by_resource.items():
        yield from (f"{resource}: {fault}" for fault in _stretch_faults(pod, held))


def _stretch_faults(pod: PodRecord, held: Sequence[SegmentRecord]) -> Iterator[str]:
    finished = pod.finished
    # A resize that was seen after the end held for no time.
    held = [s for s in held if not (finished is not None and s.start == s.end and s.start >= finished)]
    for s in held:
        if s.end is not None and s.end < s.start:
            yield f"a stretch runs backwards, from {when(s.start)} to {when(s.end)}"
        if s.start < pod.scheduled:
            yield f"a stretch begins {when(s.start)}, before the pod was placed {when(pod.scheduled)}"
    for one, following in pairwise(held):
        if one.end is None or one.end > following.start:
            yield f"two stretches overlap at {when(following.start)}"
        elif one.end < following.start:
            yield f"nothing is told from {when(one.end)} to {when(following.start)}"
    if held and held[-1].end != finished:
        yield f"the last stretch ends {when(held[-1].end)}, the pod {when(finished)}"


def _flags(kept: Kept) -> str | None:
    """Columns about the end that contradict each other."""
    row = kept.row
    if row.finished is None and (row.how_ended is not None or row.bound is not None or row.estimated):
        return "it has not ended, and yet it is told how its end was learnt"
    if row.finished is not None and row.estimated != (row.bound is not None):
        said = "estimated" if row.estimated else "certain"
        return f"its end is told to be {said}, and the instant by which it was gone is {when(row.bound)}"
    return None


def _digest(kept: Kept, record: PodRecord) -> str | None:
    """What the digest says otherwise than segments and groups. One that is absent is not wrong: they are read then."""
    told, right = kept.row.digest, digest(record)
    if told is None or told == right:
        return None
    try:
        same = right is not None and undigested(told) == undigested(right)
    except (ValueError, TypeError):
        same = False
    return None if same else f"the digest says {told}, segments and groups say {right or 'more than one digest can'}"
