"""A storm's judge finds every kind of fault, and plans and kills hang on their seed alone."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from tests.storm import auditing, kills, plans
from tests.storm.comparing import Known, Listing, compare
from tests.storm.plans import Plan, Way
from tests.storm.size import SHARES, Database, Size, kind_of
from tests.storm.truth import Resize, Truth
from tests.testbed.lives import Life

SECOND = 1_000_000
MIB = 2**20
START, END = 1000 * SECOND, 1100 * SECOND
PLAN = Plan(1, Way.EXITS, 0, "jupyter-a", "alice", "", ("staff",), 64, 100, Life())
#: It lives when nothing is killed any more.
CALM = replace(PLAN, number=1_000_001)
#: It exited and was told so, is listed once, and then deleted.
TRUTH = Truth(
    "u1",
    PLAN,
    scheduled=START,
    scheduled_told=START + SECOND,
    finished=END,
    finished_told=END + SECOND // 2,
    leaving=END + 20 * SECOND,
    gone=END + 21 * SECOND,
)
BEFORE, AFTER = Listing(START + 50 * SECOND, START + 51 * SECOND), Listing(END + 2 * SECOND, END + 3 * SECOND)
#: The same, but that it was deleted as it was told, so that only who watched could know.
MISSED = replace(TRUTH, leaving=END + SECOND, gone=END + SECOND)
#: It was taken away while it ran.
FORCED = replace(TRUTH, finished=None, finished_told=None, leaving=END, gone=END + SECOND)


def row(end: PodEnd | None = PodEnd(END, HowEnded.CONTAINERS), last_seen: int = END - SECOND, **more: Any) -> PodRecord:  # noqa: ANN401, B008
    until = None if end is None else end.at
    held = {"memory": 64 * MIB, "cpu": 100, "servers": 1000}
    fields: dict[str, Any] = {
        "uid": "u1",
        "cluster": "default",
        "hub": "storm",
        "name": "jupyter-a",
        "user": "alice",
        "server": "",
        "groups": ("staff",),
        "scheduled": START,
        "first_seen": START + SECOND,
        "last_seen": last_seen,
        "end": end,
        "segments": tuple(SegmentRecord(r, amount, None, START, until) for r, amount in held.items()),
    }
    return PodRecord(**(fields | more))


def guess(at: int, bound: int, how: HowEnded = HowEnded.LAST_SEEN) -> PodEnd:
    return PodEnd(at, how, bound)


def faults(truth: Truth, record: PodRecord | None, *listings: Listing) -> list[str]:
    found = compare([truth], [] if record is None else [record], listings)
    return [fault for told in found.faults.values() for fault in told]


@pytest.mark.parametrize(
    ("truth", "record", "listings"),
    [
        (TRUTH, row(), (BEFORE, AFTER)),
        (MISSED, row(guess(END - SECOND, END + 9 * SECOND)), (BEFORE,)),
        (MISSED, row(guess(END + 8 * SECOND, END + 9 * SECOND, HowEnded.DELETION_TIMESTAMP)), (BEFORE,)),
        (FORCED, row(PodEnd(END + SECOND // 2, HowEnded.DELETED)), (BEFORE,)),
        (replace(TRUTH, finished=None, finished_told=None, leaving=None, gone=None), row(None), (BEFORE, AFTER)),
        (Truth("u1", PLAN), None, (BEFORE, AFTER)),
        (MISSED, None, ()),
        (replace(FORCED, plan=CALM, scheduled_told=None), None, (BEFORE, AFTER)),
    ],
    ids=["exact", "estimated", "due", "heard", "runs", "never placed", "unseen", "deleted before it was placed"],
)
def test_what_can_be_is_no_fault(truth: Truth, record: PodRecord | None, listings: tuple[Listing, ...]) -> None:
    assert faults(truth, record, *listings) == []


SHORT = tuple(SegmentRecord(r, n, None, START, END) for r, n in (("cpu", 100), ("memory", 64 * MIB)))
HOLE = (
    *SHORT[:1],
    SegmentRecord("servers", 1000, None, START, END),
    SegmentRecord("memory", 64 * MIB, None, START, END - 9),
    SegmentRecord("memory", 128 * MIB, None, END - 5, END),
)


@pytest.mark.parametrize(
    ("truth", "record", "listings", "words"),
    [
        (TRUTH, row(PodEnd(END + SECOND, HowEnded.CONTAINERS)), (), "not 1970-01-01T00:18:20Z"),
        (TRUTH, row(PodEnd(END + SECOND, HowEnded.DELETED)), (), "its last sight told 1970-01-01T00:18:20Z"),
        (TRUTH, row(guess(END - SECOND, END + 9 * SECOND)), (AFTER,), "was listed when 1970-01-01T00:18:20Z was told"),
        (MISSED, row(guess(START + SECOND, END - 9 * SECOND)), (), "before 1970-01-01T00:18:20Z"),
        (MISSED, row(guess(END, END + SECOND), last_seen=END + 9 * SECOND), (), "before it was last seen"),
        (FORCED, row(PodEnd(END + 9 * SECOND, HowEnded.DELETED)), (), "not within"),
        (FORCED, row(PodEnd(END - 9 * SECOND, HowEnded.DELETED)), (), "not within"),
        (FORCED, row(None), (), "it runs on, and was over by"),
        (replace(TRUTH, finished=None, finished_told=None, leaving=None, gone=None), row(), (), "and runs on"),
        (TRUTH, None, (BEFORE,), "it has no row"),
        (Truth("u1", PLAN), row(), (), "was never placed"),
        (TRUTH, row(scheduled=START + SECOND), (), "placed 1970-01-01T00:16:41Z, not 1970-01-01T00:16:40Z"),
        (TRUTH, row(user="bob"), (), "not ('jupyter-a', 'alice'"),
        (TRUTH, row(groups=()), (), "not ('jupyter-a', 'alice'"),
        (TRUTH, row(segments=SHORT), (), "it holds ['cpu', 'memory']"),
        (replace(TRUTH, resizes=(Resize(128 * MIB, START, None),)), row(segments=HOLE), (), "its stretches of memory"),
        (TRUTH, row(segments=HOLE), (), "was resized ()"),
        (replace(TRUTH, resizes=(Resize(128 * MIB, START, START),)), row(), (BEFORE,), "had been taken"),
        (replace(TRUTH, plan=CALM), None, (), "though nothing was killed any more"),
    ],
)
def test_each_fault_is_found(truth: Truth, record: PodRecord | None, listings: tuple[Listing, ...], words: str) -> None:
    assert words in "; ".join(faults(truth, record, *listings))


def test_a_row_of_a_pod_that_never_was_is_a_fault() -> None:
    assert compare([], [row()], ()).faults == {"u1": ["it has a row, and was never made"]}


def verified(code: int = 0, hubs: tuple[str, ...] = ("storm",), **found: list[Any]) -> list[str]:
    clean: dict[str, Any] = {"hubs": list(hubs), "differences": [], "young": [], "notMetered": []}
    return list(auditing.told(code, clean | found, ["storm"]))


def test_a_verify_that_looked_and_found_nothing_is_clean() -> None:
    assert verified() == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verified(1, differences=[{"kind": "Digest"}]), '{"kind": "Digest"}'),
        (verified(young=[{"kind": "End"}]), '{"kind": "End"}'),
        (verified(notMetered=["its annotation is no JSON"]), "no JSON"),
        (verified(1), "ended with 1, and told 0 differences"),
        (verified(hubs=("other",)), "has not looked at ['storm']"),
    ],
)
def test_whatever_else_a_verify_tells_is_a_fault(found: list[str], words: str) -> None:
    assert words in "; ".join(found)


def test_pods_are_counted_by_how_their_end_is_known() -> None:
    found = compare([MISSED], [row(guess(END - SECOND, END + 9 * SECOND))], ())
    assert (found.known, found.widest) == ({(Way.EXITS, Known.ESTIMATED): 1}, 10.0)


def test_plans_hang_on_their_seed_alone_and_hold_every_way_to_end() -> None:
    drawn = plans.drawn(3, "storm-1", 300, 60)
    made = [one for plan in drawn for one in plan.chain()]
    assert drawn == plans.drawn(3, "storm-1", 300, 60) != plans.drawn(4, "storm-1", 300, 60)
    assert drawn != plans.drawn(3, "storm-2", 300, 60)
    assert len(made) == len({one.number for one in made}) == 300
    assert {one.way for one in made} == set(Way)
    assert max(Counter(one.name for one in made).values()) > 1
    assert any(one.acts and isinstance(one.acts[0], plans.Resize) for one in made)


def test_kills_hang_on_their_seed_alone_and_hit_every_part() -> None:
    size = Size(3, 40, 300, (Database.SQLITE, Database.POSTGRESQL))
    drawn = kills.schedule(size)
    assert drawn == kills.schedule(size) != kills.schedule(replace(size, seed=4))
    assert sum(map(len, drawn.values())) == 40
    assert min(map(len, drawn.values())) >= 3
    assert {kind_of(part) for part in drawn} == SHARES.keys()


def test_each_hub_makes_its_share_of_the_pods() -> None:
    size = Size(3, 40, 302, (Database.SQLITE, Database.POSTGRESQL, Database.POSTGRESQL))
    assert (list(size.pods_of_hubs()), len(set(size.hubs))) == ([101, 101, 100], 3)
