"""Pods' records as tests need them, and the lives that hypothesis draws."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord


def pod(uid: str = "u1", at: int = 100, **fields: Any) -> PodRecord:  # noqa: ANN401 - any field of the record
    """The observation of alice's server at ``at``: placed at 50, it holds 1 GiB; other fields as given."""
    held = fields.pop("held", {"memory": 2**30})
    scheduled = fields.setdefault("scheduled", 50)
    given: dict[str, Any] = {
        "cluster": "default",
        "hub": "hub",
        "name": f"jupyter-{uid}",
        "user": "alice",
        "server": "",
        "first_seen": at,
        "last_seen": at,
        "segments": holding(scheduled, held),
    }
    return PodRecord(uid=uid, **(given | fields))


def with_every_field(**more: Any) -> PodRecord:  # noqa: ANN401 - any field of the record
    """A pod of which everything is told that is told of some."""
    told: dict[str, Any] = {
        "server": "named",
        "groups": ("b", "a"),
        "chosen_group": "a",
        "component": "jupyter",
        "component_name": "nb",
        "instance_type": "gpu",
        "image": "img:1",
        "node": "n1",
        "node_labels": {"zone": "a"},
        "hook_version": "0.1",
        "decision": "d1",
        "deletion": 400,
    }
    return pod(**(told | more))


def holding(start: int, held: Mapping[str, int], end: int | None = None) -> tuple[SegmentRecord, ...]:
    """One segment for each resource."""
    return tuple(SegmentRecord(resource, amount, None, start, end) for resource, amount in held.items())


class Life(NamedTuple):
    """A pod's life as it was, and what was seen of it, each observation at an instant of its own."""

    uid: str
    scheduled: int
    resizes: tuple[int, ...]
    end: PodEnd | None
    seen: tuple[PodRecord, ...]


@st.composite
def lives(draw: st.DrawFn, uid: str = "u1") -> Life:
    """A life with resizes, seen at some instants, ended or not; estimates of its end as listings would make them."""
    scheduled = draw(st.integers(0, 100))
    resizes = tuple(sorted(draw(st.sets(st.integers(scheduled + 1, 1000), max_size=3))))
    ended = draw(st.one_of(st.none(), st.integers(max((scheduled, *resizes)), 1200)))
    how = draw(st.sampled_from([HowEnded.CONTAINERS, HowEnded.DELETED]))
    end = None if ended is None else PodEnd(ended, how)
    instants = draw(st.sets(st.integers(scheduled, 1500), min_size=1, max_size=6))
    seen = [_sight(uid, scheduled, resizes, end, at) for at in sorted(instants)]
    guesses = draw(st.lists(st.tuples(st.sampled_from(seen), st.integers(0, 300)), max_size=2))
    return Life(uid, scheduled, resizes, end, (*seen, *(_guess(record, later) for record, later in guesses)))


def _sight(uid: str, scheduled: int, resizes: tuple[int, ...], end: PodEnd | None, at: int) -> PodRecord:
    amount = 1 + sum(1 for resize in resizes if resize <= at)
    known = end if end is not None and end.at <= at else None
    # Somebody edits the annotations later; what was seen first counts.
    return pod(uid, at, scheduled=scheduled, held={"memory": amount}, end=known, user=f"seen at {at}")


def _guess(record: PodRecord, later: int) -> PodRecord:
    """The same observation, taken for gone by a listing that missed it."""
    at = record.last_seen
    return pod(
        record.uid,
        at,
        scheduled=record.scheduled,
        segments=record.segments,
        user=record.user,
        end=record.end or PodEnd(max(at, record.scheduled), HowEnded.LAST_SEEN, at + later),
    )
