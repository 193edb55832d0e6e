"""Ledger beside truth, pod by pod: what is wrong, in words, and what the ledger knew of how many."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.pods import rfc3339
from tests.storm.plans import Way
from tests.storm.truth import Truth

_SECOND: Final = 1_000_000
#: Truth and API server keep whole seconds, and a sight comes later than what it shows: as S29 allows.
_SLACK: Final = 5 * _SECOND


@dataclass(frozen=True, slots=True)
class Listing:
    """That the operator listed all pods and has written what it saw. ``asked`` and ``by``: in microseconds."""

    asked: int
    by: int


class Known(StrEnum):
    """What the ledger knows of a pod's end."""

    EXACT = "to the second"
    HEARD = "when it was gone"
    ESTIMATED = "estimated"
    RUNNING = "runs on"
    NOTHING = "not placed"
    UNSEEN = "came and went unseen"


@dataclass(frozen=True)
class Compared:
    """``faults`` by uid. ``known``: how many pods of each way were known how.

    Seconds, the most of each: ``furthest`` that an end which the kubelet told is off, ``widest`` that an estimate is
    open, ``latest`` that one was heard to be gone after it was.
    """

    faults: Mapping[str, Sequence[str]]
    known: Mapping[tuple[Way, Known], int]
    furthest: float
    widest: float
    latest: float


def compare(truths: Sequence[Truth], records: Iterable[PodRecord], listings: Sequence[Listing]) -> Compared:
    """Judge each pod's row by what became of it, and by what the operator must have seen of it."""
    by_uid = {record.uid: record for record in records}
    wrong = {uid: ["it has a row, and was never made"] for uid in by_uid.keys() - {t.uid for t in truths}}
    known: Counter[tuple[Way, Known]] = Counter()
    for truth in truths:
        record = by_uid.get(truth.uid)
        kind = _known(record, truth)
        faults = list(_faults(truth, record, listings))
        # One that the hub deleted before it was placed is nobody's to see.
        if truth.plan.calm and truth.scheduled_told is not None and kind not in (Known.EXACT, Known.HEARD):
            faults.append(f"it is known as: {kind}; though nothing was killed any more")
        if faults:
            wrong[truth.uid] = faults
        known[truth.plan.way, kind] += 1
    return Compared(wrong, known, *_measured([(truth, by_uid[truth.uid]) for truth in truths if truth.uid in by_uid]))


def _measured(pairs: Iterable[tuple[Truth, PodRecord]]) -> tuple[float, float, float]:
    """How far off, open and late ends are at most, in seconds."""
    furthest, widest, latest = 0, 0, 0
    for truth, record in pairs:
        if (end := record.end) is None or truth.ended is None:
            continue
        widest = max(widest, (end.bound or end.at) - end.at)
        if end.how is HowEnded.CONTAINERS:
            furthest = max(furthest, abs(end.at - (truth.finished or 0)))
        elif end.bound is None:
            latest = max(latest, end.at - (truth.over_by or end.at))
    return furthest / _SECOND, widest / _SECOND, latest / _SECOND


def _known(record: PodRecord | None, truth: Truth) -> Known:
    if record is None:
        return Known.NOTHING if truth.scheduled is None else Known.UNSEEN
    if record.end is None:
        return Known.RUNNING
    if record.end.bound is not None:
        return Known.ESTIMATED
    return Known.EXACT if record.end.how is HowEnded.CONTAINERS else Known.HEARD


def _faults(truth: Truth, record: PodRecord | None, listings: Sequence[Listing]) -> Iterator[str]:
    if record is None:
        if _listed(truth.scheduled_told, truth.leaving, listings):
            yield "it has no row, and was listed while it held something"
        return
    if truth.scheduled is None:
        yield "it has a row, and was never placed"
        return
    yield from _attribution(truth, record)
    if record.scheduled != truth.scheduled:
        yield f"placed {rfc3339(record.scheduled)}, not {rfc3339(truth.scheduled)}"
    yield from _end(truth, record, listings)
    yield from _stretches(truth, record, listings)


def _attribution(truth: Truth, record: PodRecord) -> Iterator[str]:
    plan = truth.plan
    expected = (plan.name, plan.user, plan.server, tuple(sorted(plan.groups)))
    if (record.name, record.user, record.server, record.groups) != expected:
        yield f"it is {(record.name, record.user, record.server, record.groups)}'s, not {expected}'s"


def _end(truth: Truth, record: PodRecord, listings: Sequence[Listing]) -> Iterator[str]:
    end = record.end
    if truth.ended is None or truth.over_by is None:
        if end is not None:
            yield f"it ended {_words(end)}, and runs on"
        return
    if end is None:
        yield f"it runs on, and was over by {rfc3339(truth.over_by)}"
    elif end.bound is not None:
        yield from _estimate(truth, record, end, listings)
    elif end.how is HowEnded.CONTAINERS:
        if end.at != truth.finished:
            yield f"it ended {_words(end)}, not {rfc3339(truth.finished or 0)}"
    elif truth.finished_told is not None and (truth.leaving is None or truth.finished_told <= truth.leaving):
        yield f"it ended {_words(end)}, and its last sight told {rfc3339(truth.finished or 0)}"
    elif not truth.ended - _SECOND <= end.at <= truth.over_by + _SLACK:
        yield f"it ended {_words(end)}, not within {_span(truth.ended, truth.over_by)}"


def _estimate(truth: Truth, record: PodRecord, end: PodEnd, listings: Sequence[Listing]) -> Iterator[str]:
    """It must lie where the end can be, and be made only where nobody could know better."""
    ended, over_by = truth.ended or 0, truth.over_by or 0
    if _listed(truth.finished_told, truth.leaving, listings):
        yield f"it ended {_words(end)}, and was listed when {rfc3339(truth.finished or 0)} was told"
    if record.last_seen > over_by + _SLACK:
        yield f"last seen {rfc3339(record.last_seen)}, and was over by {rfc3339(over_by)}"
    if end.bound is not None and end.bound < ended:
        yield f"it ended {_words(end)}, before {rfc3339(ended)}"
    if end.at < record.last_seen:
        yield f"it ended {_words(end)}, before it was last seen {rfc3339(record.last_seen)}"


def _stretches(truth: Truth, record: PodRecord, listings: Sequence[Listing]) -> Iterator[str]:
    expected = {"memory": truth.plan.memory * 2**20, "cpu": truth.plan.cpu, "servers": 1000}
    if {s.resource for s in record.segments} != expected.keys():
        yield f"it holds {sorted({s.resource for s in record.segments})}"
        return
    for resource, amount in expected.items():
        stretches = [s for s in record.segments if s.resource == resource]
        yield from _whole(record, [s for s in stretches if _lasts(s, record)])
        held = [s.request for s in stretches]
        if resource == "memory":
            yield from _resized(truth, stretches, amount, listings)
        elif held != [amount]:
            yield f"it holds {held} of {resource}, not {amount}"


def _lasts(stretch: SegmentRecord, record: PodRecord) -> bool:
    """Whether a stretch is more than a resize that was seen after the end, which held nothing for no time."""
    return stretch.start != stretch.end or stretch.start == record.scheduled


def _whole(record: PodRecord, stretches: Sequence[SegmentRecord]) -> Iterator[str]:
    """One stretch after the other, from the placement to the end."""
    edges = [record.scheduled, *(s.end for s in stretches[:-1]), record.finished]
    found = [(s.start, s.end) for s in stretches]
    if found != list(pairwise(edges)):
        yield f"its stretches of {stretches[0].resource} are {found}, and it lived {edges}"


def _resized(
    truth: Truth, stretches: Sequence[SegmentRecord], first: int, listings: Sequence[Listing]
) -> Iterator[str]:
    """It held what was asked for, and nothing sooner. What is larger comes back while the smaller is not in force."""
    held = [s.request for s in stretches]
    asked = {first: 0} | {resize.memory: resize.asked for resize in truth.resizes}
    if not asked.keys() >= set(held):
        yield f"it held {held} bytes, and was resized {truth.resizes} from {first}"
        return
    for stretch in stretches[1:]:
        if stretch.start < asked[stretch.request] - _SECOND:
            yield f"it held {stretch.request} bytes from {rfc3339(stretch.start)}, before anybody asked"
    last = max((r for r in truth.resizes if r.taken is not None), key=lambda r: r.asked, default=None)
    if last is not None and _listed(last.taken, truth.ended, listings) and held[-1] < last.memory:
        yield f"it held {held} bytes, and was listed when {last} had been taken"


def _listed(told: int | None, until: int | None, listings: Iterable[Listing]) -> bool:
    """Whether a listing must show what was told, as it was told before and not gone until after."""
    if told is None:
        return False
    return any(told <= listing.asked and (until is None or listing.by <= until) for listing in listings)


def _words(end: PodEnd) -> str:
    guess = "" if end.bound is None else f", estimated, gone by {rfc3339(end.bound)}"
    return f"{rfc3339(end.at)} ({end.how}{guess})"


def _span(first: int, last: int) -> str:
    return f"{rfc3339(first)} .. {rfc3339(last)}"
