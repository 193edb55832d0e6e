"""A ledger that is broken by hand says so; what can be mended is mended once, with a record of what it was."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import Executable, insert, update

from hubquota.domain.history import HowEnded, Membership, PodEnd, PodRecord, PolicyRevision, SegmentRecord
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.findings import Finding, Kind
from hubquota.ledger.auditing.inside import audit
from hubquota.ledger.auditing.lives import segment_faults
from hubquota.ledger.auditing.repairing import repair
from hubquota.ledger.merging import merged
from hubquota.ledger.tables import changes, hub_users, hubs, memberships, pod_groups, pods, policy_revisions, segments
from tests.auditing.conftest import Break, Rows
from tests.ledger.pods import Life, lives, pod

DELETED = HowEnded.DELETED
END = PodEnd(200, DELETED)


def kinds(found: Sequence[Finding]) -> list[str]:
    return sorted(f.kind for f in found)


async def mended(ledger: Ledger) -> list[Finding]:
    """What is still found after a repair."""
    await repair(ledger, await audit(ledger), 1000, "ann")
    return await audit(ledger)


@given(lives())
def test_no_life_that_the_ledger_makes_of_observations_has_a_fault(life: Life) -> None:
    known = life.seen[0]
    for seen in life.seen:
        known = merged(known, seen)
    assert list(segment_faults(known)) == []


async def test_a_ledger_as_the_operator_writes_it_is_clean(ledger: Ledger) -> None:
    await ledger.record([pod("1", held={"cpu": 1}), pod("1", 150, held={"cpu": 2}), pod("2", 200, end=END)])
    await ledger.record([pod("3", groups=("a",)), pod("3", 300, end=PodEnd(250, HowEnded.CONTAINERS))])
    await ledger.end_missing("hub", ["1"], 1000, 1100)
    await ledger.record_membership(Membership("hub", "alice", frozenset("ab"), 10))
    await ledger.record_membership(Membership("hub", "alice", frozenset("b"), 20))
    await ledger.end_user("hub", "alice", 30)
    await ledger.record_membership(Membership("hub", "alice", frozenset("a"), 40))
    for generation, at in ((1, 10), (2, 20)):
        await ledger.record_policy_revision(PolicyRevision("p", "hub", "weekly", generation, {}, at))
    assert await audit(ledger) == []


def _segments(**values: Any) -> Executable:  # noqa: ANN401 - any column
    return update(segments).where(segments.c.uid == "u1", segments.c.start == 50).values(**values)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (_segments(end=120), "memory: nothing is told from .*120Z to .*150Z"),
        (_segments(end=160), "memory: two stretches overlap at .*150Z"),
        (_segments(end=None), "memory: two stretches overlap"),
        (_segments(start=40), "memory: a stretch begins .*040Z, before the pod was placed .*050Z"),
        (_segments(end=45), "memory: a stretch runs backwards"),
        (update(segments).where(segments.c.start == 150).values(end=190), "the last stretch ends .*190Z, the pod"),
        (update(segments).where(segments.c.start == 150).values(end=None), "the last stretch ends never, the pod"),
        (update(segments).where(segments.c.start == 150).values(end=300), "the last stretch ends .*300Z, the pod"),
    ],
    ids=["gap", "overlap", "open", "early", "backwards", "short", "endless", "late"],
)
async def test_stretches_that_do_not_follow_each_other_are_told_and_mended(
    ledger: Ledger, break_it: Break, statement: Executable, told: str, rows: Rows
) -> None:
    [whole] = await ledger.record([pod(held={"memory": 1}), pod(at=150, held={"memory": 2}), pod(at=200, end=END)])
    await break_it(statement)
    [found] = await audit(ledger)
    assert found.kind is Kind.SEGMENTS
    assert re.search(told, found.found), found.found
    assert await mended(ledger) == []
    assert (await ledger.history("hub", 0))["alice"] == [whole]
    [change] = await rows(changes)
    assert (change["by"], change["action"], change["what"], change["at"]) == ("ann", "repair", "u1", 1000)
    assert change["before"]["segments"] != change["after"]["segments"]


async def test_a_digest_that_says_otherwise_is_told_and_written_anew(ledger: Ledger, break_it: Break) -> None:
    await ledger.record([pod("u1", end=END, at=200), pod("u2", end=END, at=200), pod("u3"), pod("u4", end=END, at=200)])
    wrong = '[{"memory":1},[]]'
    await break_it(
        update(pods).where(pods.c.uid == "u1").values(digest=wrong),
        update(pods).where(pods.c.uid == "u2").values(digest="{"),
        update(pods).where(pods.c.uid == "u3").values(digest=wrong),
        update(pods).where(pods.c.uid == "u4").values(digest=None),  # as ledgers have it that are older than digests
    )
    found = await audit(ledger)
    assert [(f.kind, f.what) for f in found] == [(Kind.DIGEST, "u1"), (Kind.DIGEST, "u2"), (Kind.DIGEST, "u3")]
    assert wrong in found[0].found
    assert await mended(ledger) == []
    assert [d async for batch in ledger.digests("hub", 0, 1000) for *_, d in batch] == [
        f'[{{"memory":{2**30}}},[]]'
    ] * 2


async def test_what_a_row_says_of_its_end_fits_together(ledger: Ledger, break_it: Break, rows: Rows) -> None:
    await ledger.record([pod("u1", end=END, at=200), pod("u2")])
    await break_it(
        update(pods).where(pods.c.uid == "u1").values(estimated=True),
        update(pods).where(pods.c.uid == "u2").values(bound=7),
    )
    assert kinds(await audit(ledger)) == [Kind.FLAGS] * 2
    assert await mended(ledger) == []
    assert [(r["estimated"], r["bound"]) for r in await rows(pods)] == [(False, None)] * 2


async def test_a_row_that_cannot_be_a_pod_is_told_and_left_and_its_neighbours_are_looked_at(
    ledger: Ledger, break_it: Break
) -> None:
    await ledger.record([pod(f"u{i}", end=END, at=200) for i in range(1, 6)])
    await break_it(
        update(pods).where(pods.c.uid == "u1").values(finished=10),
        update(pods).where(pods.c.uid == "u2").values(how_ended=None),
        update(segments).where(segments.c.uid == "u3").values(request=-1),
        update(pods).where(pods.c.uid == "u4").values(first_seen=900),
        update(pods).where(pods.c.uid == "u5").values(digest="?"),
    )
    found = await audit(ledger)
    assert kinds(found) == [Kind.DIGEST, *[Kind.UNREADABLE] * 4]
    assert "cannot end at 10" in found[0].found
    assert kinds(await mended(ledger)) == [Kind.UNREADABLE] * 4


def _named(uid: str, start: int, end: PodEnd | None, **more: Any) -> PodRecord:  # noqa: ANN401 - any field
    at = more.pop("at", end.at if end else start)
    return pod(uid, at * 1, name="jupyter-alice", scheduled=start, end=end, **more)


@pytest.mark.parametrize(
    ("first", "mends_to"),
    [
        (_named("1", 0, None, at=5 * SECOND), PodEnd(5 * SECOND, HowEnded.LAST_SEEN, 11 * SECOND)),
        (
            _named("1", 0, PodEnd(30 * SECOND, HowEnded.DELETION_TIMESTAMP, 40 * SECOND), at=5 * SECOND),
            PodEnd(5 * SECOND, HowEnded.LAST_SEEN, 11 * SECOND),
        ),
        (
            _named("1", 0, None, at=5 * SECOND, deletion=8 * SECOND),
            PodEnd(8 * SECOND, HowEnded.DELETION_TIMESTAMP, 11 * SECOND),
        ),
        (_named("1", 0, PodEnd(30 * SECOND, DELETED)), None),
        (_named("1", 0, None, at=20 * SECOND), None),
    ],
    ids=["open", "estimated", "due", "seen to end", "seen later"],
)
async def test_two_pods_of_one_name_did_not_live_at_once(
    ledger: Ledger, first: PodRecord, mends_to: PodEnd | None
) -> None:
    await ledger.record([first, _named("2", 10 * SECOND, None), pod("3", name="other", scheduled=0)])
    [found] = await audit(ledger)
    assert (found.kind, found.what, found.mend is not None) == (Kind.OVERLAPPING_LIVES, "1", mends_to is not None)
    assert len(await mended(ledger)) == (mends_to is None)
    [known] = [p for p in await ledger.pods_of("hub", "alice", -1) if p.uid == "1"]
    assert known.end == (mends_to or first.end)


async def test_a_pod_that_was_replaced_while_nobody_watched_was_gone_when_the_next_was_placed(ledger: Ledger) -> None:
    due = _named("1", 0, None, at=5 * SECOND, deletion=35 * SECOND)
    await ledger.record([due, _named("2", 10 * SECOND, None, at=60 * SECOND)])
    [known] = await ledger.end_missing("hub", ["2"], 50 * SECOND, 60 * SECOND)
    # The cluster tells whole seconds: it was placed within the second that began then.
    assert known.end == PodEnd(11 * SECOND, HowEnded.DELETION_TIMESTAMP, 11 * SECOND)
    assert await audit(ledger) == []


async def test_the_same_name_in_time_or_in_another_hub_is_no_overlap(ledger: Ledger) -> None:
    await ledger.covered_since("other", 0)
    # The cluster tells whole seconds, and we heard of the deletion a little later.
    await ledger.record([_named("1", 0, PodEnd(12 * SECOND, DELETED)), _named("2", 10 * SECOND, None)])
    await ledger.record([_named("3", 0, None, hub="other")])
    assert await audit(ledger) == []


async def test_a_pod_that_should_have_ended_long_ago_is_told_beside_the_next_of_its_name_only(ledger: Ledger) -> None:
    later = [_named(str(n), n * 10 * SECOND, PodEnd((n * 10 + 5) * SECOND, DELETED)) for n in (1, 2, 3)]
    await ledger.record([_named("0", 0, None, at=SECOND), *later])
    [found] = await audit(ledger)
    assert "(1) was placed" in found.found
    assert await mended(ledger) == []


STRETCH = {"cluster": "default", "hub": "hub", "user": "alice"}


async def test_stretches_that_overlap_are_closed_where_the_next_begins(
    ledger: Ledger, break_it: Break, rows: Rows
) -> None:
    await break_it(
        insert(hub_users).values([STRETCH | {"start": 10, "end": None}, STRETCH | {"start": 20, "end": 60}]),
        insert(memberships).values(
            [
                STRETCH | {"group": "a", "start": 10, "end": 40},
                STRETCH | {"group": "a", "start": 30, "end": None},
                STRETCH | {"group": "b", "start": 10, "end": 15},
            ]
        ),
        insert(policy_revisions).values(
            [_generation("p", 1, 10, None), _generation("p", 2, 20, None), _generation("q", 1, 30, None)]
        ),
    )
    found = await audit(ledger)
    assert kinds(found) == [Kind.STRETCHES] * 5
    assert await mended(ledger) == []
    assert [(r["start"], r["end"]) for r in await rows(hub_users)] == [(10, 20), (20, 60)]
    held = [(r["group"], r["start"], r["end"]) for r in await rows(memberships)]
    # Who is gone is in no group.
    assert held == [("a", 10, 30), ("a", 30, 60), ("b", 10, 15)]
    assert [r["end"] for r in await rows(policy_revisions)] == [20, 30, None]


def _generation(uid: str, generation: int, start: int, end: int | None) -> dict[str, Any]:
    values = {"uid": uid, "generation": generation, "start": start, "end": end}
    return values | {"cluster": "default", "hub": "hub", "name": "weekly", "spec": {}}


async def test_what_nobody_can_tell_right_from_wrong_is_left(ledger: Ledger, break_it: Break) -> None:
    await ledger.record([pod(hub="lost")])
    await break_it(
        insert(hub_users).values(STRETCH | {"start": 30, "end": 10}),
        insert(memberships).values(STRETCH | {"user": "bob", "group": "a", "start": 30, "end": None}),
    )
    found = await audit(ledger)
    assert kinds(found) == [Kind.ORPHAN, Kind.STRETCHES, Kind.UNKNOWN_HUB]
    assert [f.mend for f in found] == [None] * 3
    assert kinds(await mended(ledger)) == kinds(found)


async def test_rows_of_a_pod_that_is_not_there_go_and_their_record_stays(
    ledger: Ledger, break_it: Break, rows: Rows
) -> None:
    await break_it(
        insert(segments).values(uid="x", resource="cpu", start=1, end=2, request=3),
        insert(pod_groups).values(uid="x", group="a"),
    )
    assert kinds(await audit(ledger)) == [Kind.ORPHAN] * 2
    assert await mended(ledger) == []
    told = [c["before"] for c in await rows(changes)]
    assert [{"uid": "x", "group": "a"}] in told
    assert [{"uid": "x", "resource": "cpu", "start": 1, "end": 2, "request": 3, "limit": None}] in told


async def test_one_hub_can_be_looked_at_alone(ledger: Ledger, break_it: Break) -> None:
    await ledger.covered_since("other", 0)
    await ledger.record([pod("1", end=END, at=200), pod("2", end=END, at=200, hub="other")])
    await break_it(update(pods).values(digest="?"))
    assert [f.what for f in await audit(ledger, ["other"])] == ["2"]
    assert [f.what for f in await audit(ledger)] == ["1", "2"]


async def test_pods_of_another_cluster_are_another_s(ledger: Ledger, break_it: Break, url: str) -> None:
    await ledger.record([pod(end=END, at=200)])
    await break_it(update(pods).values(digest="?"))
    async with await Ledger.open(url, "other") as other:
        assert await audit(other) == []


async def test_more_pods_than_a_page_are_all_looked_at(ledger: Ledger, break_it: Break) -> None:
    await ledger.record([pod(f"u{i:04}", end=END, at=200) for i in range(1203)])
    await break_it(update(pods).where(pods.c.uid.in_(["u0000", "u0500", "u1202"])).values(digest="?"))
    assert [f.what for f in await audit(ledger)] == ["u0000", "u0500", "u1202"]


async def test_a_mend_gives_way_to_what_was_written_since(ledger: Ledger, break_it: Break, rows: Rows) -> None:
    await ledger.record([_named("1", 0, None, at=5 * SECOND), _named("2", 10 * SECOND, None)])
    await ledger.record([pod("3", held={"cpu": 1}), pod("3", 150, held={"cpu": 2})])
    await break_it(
        update(segments).where(segments.c.start == 50).values(end=120),
        insert(hub_users).values([STRETCH | {"start": 10, "end": None}, STRETCH | {"start": 20, "end": None}]),
    )
    found = await audit(ledger)
    assert kinds(found) == [Kind.OVERLAPPING_LIVES, Kind.SEGMENTS, Kind.STRETCHES]
    await ledger.record([_named("1", 0, PodEnd(9 * SECOND, HowEnded.CONTAINERS), at=9 * SECOND)])
    await ledger.record([pod("3", 180, held={"cpu": 3})])
    await break_it(update(hub_users).where(hub_users.c.start == 10).values(end=15))
    before = await rows(pods), await rows(segments), await rows(hub_users)
    done = await repair(ledger, found, 1000, "ann")
    assert (kinds(done.stale), done.mended) == (kinds(found), [])
    assert (await rows(pods), await rows(segments), await rows(hub_users)) == before
    assert await rows(changes) == []


async def test_a_pod_that_is_wrong_in_another_way_by_now_is_looked_at_again_first(
    ledger: Ledger, break_it: Break, rows: Rows
) -> None:
    await ledger.record([pod(held={"cpu": 1}), pod(at=150, held={"cpu": 2})])
    await break_it(update(segments).where(segments.c.start == 50).values(end=120))
    found = await audit(ledger)
    await break_it(update(segments).where(segments.c.start == 50).values(end=130))
    assert kinds((await repair(ledger, found, 1000, "ann")).stale) == [Kind.SEGMENTS]
    assert [row["end"] for row in await rows(segments)] == [130, None]


async def test_a_mend_of_stretches_keeps_what_was_heard_meanwhile_of_a_pod_that_lives(
    ledger: Ledger, break_it: Break
) -> None:
    await ledger.record([pod(held={"cpu": 1}), pod(at=150, held={"cpu": 2})])
    await break_it(update(segments).where(segments.c.start == 50).values(end=120))
    found = await audit(ledger)
    await ledger.touch_last_seen(["u1"], 500)
    assert kinds((await repair(ledger, found, 1000, "ann")).mended) == [Kind.SEGMENTS]
    [known] = await ledger.open_pods("hub")
    assert known.last_seen == 500
    assert known.segments == (SegmentRecord("cpu", 1, None, 50, 150), SegmentRecord("cpu", 2, None, 150, None))


async def test_a_hub_that_the_ledger_does_not_know_is_told_by_each_table(ledger: Ledger, break_it: Break) -> None:
    await ledger.record([pod()])
    await ledger.record_user("hub", "alice", 1)
    await break_it(hubs.delete())
    assert [(f.kind, f.name) for f in await audit(ledger)] == [
        (Kind.UNKNOWN_HUB, "pods"),
        (Kind.UNKNOWN_HUB, "hub_users"),
    ]
