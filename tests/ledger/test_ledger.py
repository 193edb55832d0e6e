"""What went into the ledger comes out of it, once, whatever the order and however often it was told."""

import asyncio
from functools import reduce

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import ArgumentError

from hubquota.domain.history import LARGEST, HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.ledger.merging import merged
from tests.ledger.conftest import NewUrl
from tests.ledger.pods import Life, holding, lives, pod, with_every_field


async def test_a_record_comes_back_as_it_went_in(ledger: Ledger) -> None:
    told = with_every_field(
        segments=(SegmentRecord("memory", LARGEST, None, 50), SegmentRecord("cpu", 500, 2000, 50)),
    )
    assert await ledger.record([told]) == [told]
    assert await ledger.open_pods("hub") == [told]


async def test_a_pod_without_a_user_and_server_stays_without(ledger: Ledger) -> None:
    await ledger.record([pod(user=None, server=None, groups=("team",))])
    [record] = (await ledger.history("hub", 0))[None]
    assert (record.user, record.server, record.charged_groups) == (None, None, ("team",))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=lives("u1"), second=lives("u2"), data=st.data())
def test_any_order_of_observations_in_any_batches_gives_the_same_ledger(
    first: Life, second: Life, data: st.DataObject, new_url: NewUrl
) -> None:
    seen = [*first.seen, *second.seen]
    told = data.draw(st.permutations([*seen, *data.draw(st.lists(st.sampled_from(seen), max_size=4))]))
    size = data.draw(st.integers(1, len(told)))
    batches = [told[i : i + size] for i in range(0, len(told), size)]
    kept = asyncio.run(_kept(new_url(), batches))
    assert kept == [reduce(merged, life.seen, life.seen[0]) for life in (first, second)]


async def _kept(url: str, batches: list[list[PodRecord]]) -> list[PodRecord]:
    async with await Ledger.open(url) as ledger:
        for batch in batches:
            await ledger.record(batch)
        held = await ledger.history("hub", -1)
        return sorted((record for records in held.values() for record in records), key=lambda r: r.uid)


async def test_an_earlier_observation_that_comes_late_says_whose_the_pod_was(ledger: Ledger) -> None:
    await ledger.record([pod(at=200, user="mallory", groups=("b", "c"))])
    await ledger.record([pod(at=100, user="alice", groups=("a", "b"))])
    [record] = await ledger.open_pods("hub")
    assert (record.user, record.groups) == ("alice", ("a", "b"))


async def test_an_older_observation_does_not_undo_an_end(ledger: Ledger) -> None:
    end = PodEnd(200, HowEnded.CONTAINERS)
    await ledger.record([pod(at=210, end=end)])
    [record] = await ledger.record([pod(at=150)])
    assert record.end == end
    assert await ledger.open_pods("hub") == []


async def test_a_pod_missing_from_a_listing_ended_when_it_was_last_seen(ledger: Ledger) -> None:
    await ledger.record([pod("gone", at=100), pod("there", at=100), pod("new", at=301)])
    [record] = await ledger.end_missing("hub", ["there"], asked=300, received=310)
    assert record.end == PodEnd(100, HowEnded.LAST_SEEN, 310)
    assert record.segments == holding(50, {"memory": 2**30}, 100)
    assert sorted(p.uid for p in await ledger.open_pods("hub")) == ["new", "there"]


@pytest.mark.parametrize(
    ("deletion", "end"),
    [
        (200, PodEnd(200, HowEnded.DELETION_TIMESTAMP, 310)),
        (90, PodEnd(100, HowEnded.DELETION_TIMESTAMP, 310)),  # it was seen after it was due to be gone
        (500, PodEnd(310, HowEnded.DELETION_TIMESTAMP, 310)),  # it was gone before it was due
    ],
)
async def test_a_missing_pod_that_was_being_deleted_ended_when_it_was_due(
    ledger: Ledger, deletion: int, end: PodEnd
) -> None:
    await ledger.record([pod(at=100, deletion=deletion)])
    [record] = await ledger.end_missing("hub", [], asked=300, received=310)
    assert record.end == end


BEFORE = PodEnd(45 * SECOND, HowEnded.CONTAINERS)
OVER = PodEnd(250 * SECOND, HowEnded.CONTAINERS)


@pytest.mark.parametrize(
    ("end", "present"),
    [(None, ["new"]), (OVER, ["new"]), (OVER, [])],
    ids=["runs", "is over too", "is gone too"],
)
async def test_a_missing_pod_was_gone_when_another_of_its_name_was_placed(
    ledger: Ledger, end: PodEnd | None, present: list[str]
) -> None:
    old = pod("old", 100 * SECOND, name="jupyter-alice", scheduled=80 * SECOND, deletion=400 * SECOND)
    new = pod("new", 305 * SECOND, name="jupyter-alice", scheduled=200 * SECOND, end=end)
    await ledger.record([old, new])
    await ledger.record([pod("before", 60 * SECOND, name="jupyter-alice", scheduled=40 * SECOND, end=BEFORE)])
    [record] = await ledger.end_missing("hub", present, asked=300 * SECOND, received=310 * SECOND)
    assert record.end == PodEnd(201 * SECOND, HowEnded.DELETION_TIMESTAMP, 201 * SECOND)


async def test_a_listing_ends_no_pod_of_another_hub_or_cluster(ledger: Ledger) -> None:
    await ledger.record([pod("u1", hub="other"), pod("u2", cluster="other")])
    assert await ledger.end_missing("hub", [], asked=300, received=310) == []


async def test_the_same_listing_again_ends_nothing_more(ledger: Ledger) -> None:
    await ledger.record([pod()])
    await ledger.end_missing("hub", [], asked=300, received=310)
    assert await ledger.end_missing("hub", [], asked=400, received=410) == []


async def test_a_pod_taken_for_gone_that_is_seen_again_lives(ledger: Ledger) -> None:
    await ledger.record([pod()])
    await ledger.end_missing("hub", [], asked=300, received=310)
    [record] = await ledger.record([pod(at=320)])
    assert record.end is None
    assert record.segments == holding(50, {"memory": 2**30})


async def test_last_seen_moves_forward_only_and_not_after_the_end(ledger: Ledger) -> None:
    await ledger.record([pod("old"), pod("newer", at=500), pod("ended", end=PodEnd(90, HowEnded.DELETED))])
    await ledger.touch_last_seen(["old", "newer", "ended", "unknown"], 400)
    held = (await ledger.history("hub", 0))["alice"]
    assert {p.uid: p.last_seen for p in held} == {"old": 400, "newer": 500, "ended": 100}


async def test_history_holds_what_ended_after_its_start_by_user_in_order(ledger: Ledger) -> None:
    await ledger.record(
        [
            pod("late", scheduled=80),
            pod("early", scheduled=60, end=PodEnd(95, HowEnded.DELETED)),
            pod("over", end=PodEnd(90, HowEnded.DELETED)),
            pod("bob", user="bob"),
        ]
    )
    held = await ledger.history("hub", 90)
    assert {user: [p.uid for p in records] for user, records in held.items()} == {
        "alice": ["early", "late"],
        "bob": ["bob"],
    }


@pytest.mark.parametrize("ending", ["finished IS NULL", "finished > 5"])
async def test_no_query_for_a_hubs_pods_reads_those_that_ended_long_ago(ledger: Ledger, ending: str) -> None:
    if ledger._engine.dialect.name != "sqlite":
        return  # it chooses by what is in the tables: tests/auditing/test_plans.py has them full
    async with ledger._engine.begin() as connection:
        query = f"EXPLAIN QUERY PLAN SELECT * FROM pods WHERE cluster = 'c' AND hub = 'h' AND {ending}"
        plan = [row.detail for row in await connection.exec_driver_sql(query)]
    assert len(plan) == 1
    assert "ix_pods_hub_finished (cluster=? AND hub=? AND finished" in plan[0]


async def test_more_pods_than_a_statement_takes_are_kept_whole(ledger: Ledger) -> None:
    told = [pod(f"u{i:05}", groups=("a", "b")) for i in range(3000)]
    await ledger.record(told)
    await ledger.touch_last_seen([p.uid for p in told], 200)
    held = (await ledger.history("hub", 0))["alice"]
    assert len(held) == 3000
    assert all(p.last_seen == 200 and p.groups == ("a", "b") and len(p.segments) == 1 for p in held)
    assert len(await ledger.end_missing("hub", [], asked=300, received=310)) == 3000


async def test_a_ledger_is_the_same_after_it_was_closed_and_opened(url: str) -> None:
    async with await Ledger.open(url) as ledger:
        told = await ledger.record([pod("u1"), pod("u2", end=PodEnd(99, HowEnded.DELETED))])
    async with await Ledger.open(url) as ledger:
        assert (await ledger.history("hub", 0))["alice"] == told


async def test_a_database_that_is_not_served_is_refused_with_what_to_write() -> None:
    with pytest.raises(ArgumentError, match="sqlite or postgresql"):
        await Ledger.open("mysql://localhost/hubquota")
