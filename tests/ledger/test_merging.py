"""What is known of a pod does not depend on the order in which it was learnt."""

from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.ledger.merging import merged
from tests.ledger.pods import Life, holding, lives, pod

CONTAINERS, DELETED, LAST_SEEN = HowEnded.CONTAINERS, HowEnded.DELETED, HowEnded.LAST_SEEN


def known(*seen: PodRecord) -> PodRecord:
    return reduce(merged, seen, seen[0])


@given(lives(), st.data())
def test_order_and_repetition_of_observations_change_nothing(life: Life, data: st.DataObject) -> None:
    again = data.draw(st.permutations([*life.seen, *data.draw(st.lists(st.sampled_from(life.seen), max_size=4))]))
    assert known(*again) == known(*life.seen)


@given(lives(), st.data())
def test_it_does_not_matter_what_was_put_together_first(life: Life, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(life.seen))
    cut = data.draw(st.integers(1, len(shuffled)))
    left, right = shuffled[:cut], shuffled[cut:] or shuffled
    assert merged(known(*left), known(*right)) == known(*life.seen)


@given(lives())
def test_an_end_that_was_seen_is_never_undone(life: Life) -> None:
    told = [record.end for record in life.seen if record.end is not None and record.end.bound is None]
    if told:
        assert known(*life.seen).end == life.end


@given(lives())
def test_a_pod_seen_to_live_last_has_not_ended(life: Life) -> None:
    record = known(*life.seen)
    last = max(life.seen, key=lambda r: r.last_seen)
    guessed = [r.end.bound for r in life.seen if r.end is not None and r.end.bound is not None]
    if last.end is None and all(bound < last.last_seen for bound in guessed):
        assert record.end is None


@given(lives())
def test_segments_follow_each_other_from_the_placement_to_the_end(life: Life) -> None:
    record = known(*life.seen)
    assert record.segments[0].start == life.scheduled
    edges = [(s.start, s.end) for s in record.segments]
    for (_, end), (start, _) in pairwise(edges):
        assert end == start or (record.finished is not None and end is not None and end <= start)
    assert edges[-1][1] == (None if record.finished is None else max(edges[-1][0], record.finished))


def test_a_resize_starts_a_segment_when_it_is_seen() -> None:
    record = known(pod(at=100, held={"cpu": 1000}), pod(at=200, held={"cpu": 3000}), pod(at=300, held={"cpu": 1000}))
    assert record.segments == (
        SegmentRecord("cpu", 1000, None, 50, 200),
        SegmentRecord("cpu", 3000, None, 200, 300),
        SegmentRecord("cpu", 1000, None, 300, None),
    )


def test_a_resize_and_back_that_is_told_late_lasts_until_the_next_sight() -> None:
    record = known(pod(at=100, held={"cpu": 1}), pod(at=300, held={"cpu": 1}), pod(at=200, held={"cpu": 3}))
    assert [(s.request, s.start, s.end) for s in record.segments] == [(1, 50, 200), (3, 200, 300), (1, 300, None)]


def test_a_resource_that_comes_later_was_not_held_before() -> None:
    record = known(pod(at=100, held={}), pod(at=200, held={"cpu": 1000}), pod(at=300, held={"cpu": 1000}))
    assert record.segments == holding(200, {"cpu": 1000})


def test_whose_a_pod_is_was_said_when_it_was_first_seen() -> None:
    first = pod(at=100, user="alice", groups=("a",))
    assert known(pod(at=200, user="mallory", groups=("b",)), first).user == "alice"
    assert known(first, pod(at=200, user="mallory", groups=("b",))).groups == ("a",)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_earliest_placement_and_the_earliest_deletion_count(turn: int) -> None:
    told = [pod(at=100, scheduled=50), pod(at=200, scheduled=40, deletion=400), pod(at=300, deletion=350)]
    record = known(*told[::turn])
    assert (record.scheduled, record.segments[0].start, record.deletion) == (40, 40, 350)


def test_what_was_seen_goes_before_what_was_backfilled() -> None:
    assert known(pod(at=60, user="guessed", backfilled=True), pod(at=100)).user == "alice"


def test_a_later_sight_fills_in_the_labels_of_the_node() -> None:
    assert known(pod(at=100), pod(at=200, node="n1", node_labels={"zone": "a"})).node_labels == {"zone": "a"}


@pytest.mark.parametrize(
    ("ends", "best"),
    [
        ([PodEnd(200, DELETED), PodEnd(150, CONTAINERS)], PodEnd(150, CONTAINERS)),
        ([PodEnd(200, DELETED), PodEnd(210, DELETED)], PodEnd(200, DELETED)),
        ([PodEnd(150, CONTAINERS), PodEnd(160, CONTAINERS)], PodEnd(160, CONTAINERS)),
        ([PodEnd(100, LAST_SEEN, 300), PodEnd(250, DELETED)], PodEnd(250, DELETED)),
    ],
)
def test_the_best_known_end_counts(ends: list[PodEnd], best: PodEnd) -> None:
    assert known(*(pod(end=end) for end in ends)).end == best
    assert known(*(pod(end=end) for end in reversed(ends))).end == best


def test_an_estimated_end_falls_when_the_pod_is_seen_alive_after_it() -> None:
    assert known(pod(end=PodEnd(100, LAST_SEEN, 300)), pod(at=301)).end is None


def test_an_estimated_end_is_not_before_the_pod_was_last_seen() -> None:
    assert known(pod(end=PodEnd(100, LAST_SEEN, 300)), pod(at=250)).end == PodEnd(250, LAST_SEEN, 300)


def test_different_pods_are_not_put_together() -> None:
    with pytest.raises(ValueError, match="different pods"):
        merged(pod("u1"), pod("u2"))
