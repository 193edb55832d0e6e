"""What Prometheus had fills in what nobody saw, and never changes what was seen directly."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord
from hubquota.ledger import Ledger
from hubquota.ledger.merging import merged
from tests.ledger.pods import holding, pod, with_every_field

CONTAINERS, DELETED, BACKFILL = HowEnded.CONTAINERS, HowEnded.DELETED, HowEnded.BACKFILL
LAST_SEEN, DELETION = HowEnded.LAST_SEEN, HowEnded.DELETION_TIMESTAMP


def known(*seen: PodRecord) -> PodRecord:
    return reduce(merged, seen, seen[0])


def told(first: int = 60, last: int = 150, **fields: Any) -> PodRecord:  # noqa: ANN401 - any field of the record
    """The pod as Prometheus had it."""
    given: dict[str, Any] = {"user": "guessed", "groups": ("guessed",)}
    return pod(**(given | fields), first_seen=first, last_seen=last, backfilled=True)


def both_ways(*records: PodRecord) -> PodRecord:
    found = known(*records)
    assert known(*reversed(records)) == found
    assert known(found, *records) == found, "once more changes something"
    return found


@st.composite
def sights_and_what_prometheus_had(draw: st.DrawFn) -> list[PodRecord]:
    """A life, seen directly at some instants, missed by listings after its end, and scraped all along."""
    scheduled, length, interval = draw(st.integers(0, 50)), draw(st.integers(1, 300)), draw(st.integers(1, 60))
    end = scheduled + length
    alive = st.integers(scheduled, end)
    seen = [pod(at=at, scheduled=scheduled) for at in draw(st.lists(alive, max_size=3, unique=True))]
    listings = draw(st.lists(st.integers(end, end + 200), max_size=1))
    last = max((r.last_seen for r in seen), default=scheduled)
    estimates = [pod(at=last, scheduled=scheduled, end=PodEnd(last, LAST_SEEN, at)) for at in listings if seen]
    certain = [pod(at=end, scheduled=scheduled, end=PodEnd(end, DELETED))] if draw(st.booleans()) else []
    first = draw(alive)
    final = max(first, end - end % interval)
    # Scraped by two servers, of which one knew the end and one had to estimate it.
    ends = [None, PodEnd(final, BACKFILL, max(final, end) + interval), PodEnd(end, BACKFILL)]
    final = min(final, end)
    filled = [told(first, final, scheduled=scheduled, end=e) for e in draw(st.lists(st.sampled_from(ends), max_size=3))]
    return draw(st.permutations([*seen, *estimates, *certain, *filled])) or [pod(scheduled=scheduled, at=end)]


@given(sights_and_what_prometheus_had(), st.data())
def test_the_order_in_which_it_is_learnt_changes_nothing(seen: list[PodRecord], data: st.DataObject) -> None:
    again = data.draw(st.permutations([*seen, data.draw(st.sampled_from(seen))]))
    cut = data.draw(st.integers(1, len(again)))
    assert known(*again) == known(*seen)
    assert merged(known(*again[:cut]), known(*(again[cut:] or again))) == known(*seen)


def test_whose_it_is_where_it_was_and_what_it_held_is_as_it_was_seen() -> None:
    seen = with_every_field(at=100, held={"memory": 6, "nvidia.com/gpu": 1000})
    filled = told(20, 400, scheduled=40, held={"memory": 2, "cpu": 5}, node="other")
    found = both_ways(seen, filled)
    assert found == with_every_field(
        first_seen=100, last_seen=400, held={"memory": 6, "nvidia.com/gpu": 1000}, scheduled=seen.scheduled
    )


def test_the_node_and_the_deletion_that_nobody_noted_are_filled_in() -> None:
    found = both_ways(pod(at=100), told(node="n1", deletion=140))
    assert (found.node, found.deletion) == ("n1", 140)


@pytest.mark.parametrize("seen", [PodEnd(100, CONTAINERS), PodEnd(100, DELETED), PodEnd(100, HowEnded.RECEIPT)])
@pytest.mark.parametrize("filled", [PodEnd(150, BACKFILL, 180), PodEnd(150, BACKFILL), None])
def test_an_end_that_was_seen_stands(seen: PodEnd, filled: PodEnd | None) -> None:
    assert both_ways(pod(at=100, end=seen), told(end=filled)).end == seen


@pytest.mark.parametrize("how", [LAST_SEEN, DELETION])
@pytest.mark.parametrize("filled", [PodEnd(150, BACKFILL, 180), PodEnd(160, BACKFILL)])
def test_an_end_that_was_estimated_gives_way_to_what_prometheus_saw(how: HowEnded, filled: PodEnd) -> None:
    found = both_ways(pod(at=100, end=PodEnd(110, how, 300)), told(end=filled))
    assert found.end == filled
    assert found.segments == holding(50, {"memory": 2**30}, filled.at)


def test_what_prometheus_shows_after_a_pod_was_seen_to_be_gone_is_a_ghost() -> None:
    seen = pod(at=100, end=PodEnd(100, LAST_SEEN, 300))
    assert both_ways(seen, told(60, 900, end=PodEnd(900, BACKFILL, 930))).end == PodEnd(300, LAST_SEEN, 300)


def test_a_pod_that_lives_is_not_ended_by_prometheus_having_lost_it() -> None:
    assert both_ways(told(end=PodEnd(150, BACKFILL, 180)), pod(at=181)).end is None


def test_a_pod_that_prometheus_lost_and_found_again_has_not_ended() -> None:
    lost, found = told(60, 150, end=PodEnd(150, BACKFILL, 180)), told(400, 500)
    assert both_ways(lost, found).end is None
    assert merged(merged(pod(at=100), lost), found).end is None


def test_an_end_before_the_placement_that_was_seen_does_not_count() -> None:
    assert both_ways(pod(at=100, scheduled=90), told(scheduled=50, end=PodEnd(60, BACKFILL))).end is None


async def test_a_ledger_that_is_told_twice_is_the_same(ledger: Ledger) -> None:
    live, hole = pod("live", at=100), pod("hole", at=100, end=PodEnd(100, LAST_SEEN, 300))
    await ledger.record([live, hole])
    filled = [told(uid=uid, end=PodEnd(150, BACKFILL, 180)) for uid in ("before", "hole", "live")]
    first = await ledger.record(filled)
    assert await ledger.record(filled) == first
    assert {p.uid: (p.user, p.end, p.backfilled) for p in first} == {
        "before": ("guessed", PodEnd(150, BACKFILL, 180), True),
        "hole": ("alice", PodEnd(150, BACKFILL, 180), False),
        "live": ("alice", PodEnd(150, BACKFILL, 180), False),
    }
    [back] = await ledger.record([pod("live", at=200)])
    assert back.end is None
