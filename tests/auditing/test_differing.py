"""What ledger and cluster say otherwise of one pod, and what may be mended of it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hubquota.cluster.differing import Difference, Pair, differences, policy_differences
from hubquota.domain.history import HowEnded, PodEnd, PodRecord, PolicyRevision
from hubquota.ledger.auditing.changes import Aliases
from hubquota.ledger.auditing.findings import Kind
from hubquota.ledger.auditing.mending import EndPod, TakeIn
from hubquota.ledger.auditing.reading import Kept
from hubquota.ledger.merging import merged
from tests.ledger.pods import pod

NOBODY = Aliases(frozenset(), frozenset())
CONTAINERS, DELETED, LAST_SEEN = HowEnded.CONTAINERS, HowEnded.DELETED, HowEnded.LAST_SEEN


def between(known: PodRecord | None, seen: PodRecord | None, *, there: bool = True, aliases: Aliases = NOBODY) -> Any:  # noqa: ANN401 - a list or its only member
    kept = None if known is None else Kept(cast("Any", SimpleNamespace(uid=known.uid)), merged(known, known))
    found = differences(Pair(kept, seen, there, aliases, 900))
    return found[0] if len(found) == 1 else found


def told(difference: Difference) -> tuple[Kind, bool, int]:
    """Kind, whether it can be mended, and since when the ledger could have known."""
    return difference.finding.kind, difference.finding.mend is not None, difference.since


def test_what_was_heard_and_what_is_there_say_the_same() -> None:
    assert between(pod(), pod(at=800)) == []
    assert between(pod(at=300, end=PodEnd(200, CONTAINERS)), pod(at=800, end=PodEnd(200, CONTAINERS))) == []
    # Its object lingers, and nothing tells when its containers ended: the first word counts.
    assert between(pod(at=300, end=PodEnd(300, DELETED)), pod(at=800, end=PodEnd(800, DELETED))) == []
    assert between(pod(at=300, end=PodEnd(200, LAST_SEEN, 300)), None, there=False) == []
    assert between(None, None) == []


def test_a_resize_that_the_ledger_has_is_no_difference() -> None:
    known = merged(pod(held={"cpu": 1, "nvidia.com/gpu": 1000}), pod(at=200, held={"cpu": 2}))
    assert between(known, pod(at=800, held={"cpu": 2})) == []


def test_a_pod_that_the_ledger_lacks_is_taken_in() -> None:
    found = between(None, pod(at=800))
    assert told(found) == (Kind.MISSING_POD, True, 50)
    assert "user alice, it holds 1073741824 memory" in found.finding.found
    assert "nobody's" in between(None, pod(user=None)).finding.found


def test_a_pod_that_is_gone_ends_with_an_estimate() -> None:
    found = between(pod(at=300), None, there=False)
    assert (told(found), found.finding.mend) == ((Kind.GONE_POD, True, 300), EndPod(pod(at=300), 900))


def test_a_pod_that_lost_its_annotations_is_told_and_goes_on() -> None:
    assert told(between(pod(at=300), None)) == (Kind.OWNER, False, 300)


@pytest.mark.parametrize("change", [{"user": "bob"}, {"groups": ("a",)}, {"server": "x"}, {"chosen_group": "a"}])
def test_an_annotation_that_was_edited_later_is_told_and_counts_for_nothing(change: dict[str, Any]) -> None:
    found = between(pod(), pod(at=800, **change))
    assert told(found) == (Kind.OWNER, False, 0)
    assert next(iter(change)) in found.finding.found


def test_what_was_seen_goes_before_what_was_backfilled() -> None:
    assert told(between(pod(user="bob", backfilled=True), pod(at=800))) == (Kind.OWNER, True, 0)


def test_who_was_renamed_or_forgotten_is_no_difference() -> None:
    assert between(pod(user="bob"), pod(at=800), aliases=Aliases(frozenset({("alice", "bob")}), frozenset())) == []
    assert between(pod(user="x", name="x-1"), pod(at=800), aliases=Aliases(frozenset(), frozenset({"x"}))) == []
    assert told(
        between(pod(user="eve"), pod(at=800), aliases=Aliases(frozenset({("alice", "bob")}), frozenset({"x"})))
    ) == (
        Kind.OWNER,
        False,
        0,
    )


@pytest.mark.parametrize(("scheduled", "mends"), [(40, True), (60, False)])
def test_the_earliest_placement_counts(scheduled: int, mends: bool) -> None:
    found = between(pod(), pod(at=800, scheduled=scheduled))
    assert told(found) == (Kind.START, mends, 0)


@pytest.mark.parametrize(
    ("known", "seen", "mends", "since"),
    [
        (None, PodEnd(700, CONTAINERS), True, 700),
        (PodEnd(200, LAST_SEEN, 300), None, True, 300),
        (PodEnd(200, LAST_SEEN, 300), PodEnd(180, CONTAINERS), True, 300),
        (PodEnd(200, DELETED), PodEnd(180, CONTAINERS), True, 0),
        (PodEnd(200, CONTAINERS), PodEnd(210, CONTAINERS), True, 0),
        (PodEnd(200, CONTAINERS), PodEnd(180, CONTAINERS), False, 0),
        (PodEnd(200, CONTAINERS), None, False, 0),
    ],
    ids=["open", "thought gone", "estimated", "better known", "later", "earlier", "lives"],
)
def test_ends_that_differ_are_mended_by_what_is_known_better(
    known: PodEnd | None, seen: PodEnd | None, mends: bool, since: int
) -> None:
    found = between(pod(at=200, end=known), pod(at=800, end=seen))
    assert told(found) == (Kind.END, mends, since)
    assert isinstance(found.finding.mend, TakeIn) is mends


def test_an_allocation_that_differs_is_a_resize_that_was_missed() -> None:
    found = between(pod(held={"cpu": 1}), pod(at=800, held={"cpu": 1, "memory": 5}))
    assert told(found) == (Kind.ALLOCATION, True, 0)
    assert "1 cpu in the ledger, 1 cpu, 5 memory in the cluster" in found.finding.found


def test_what_a_pod_held_that_is_over_is_not_made_up() -> None:
    end = PodEnd(200, CONTAINERS)
    assert told(between(pod(at=200, end=end), pod(at=800, end=end, held={"memory": 1}))) == (Kind.ALLOCATION, False, 0)


def test_of_a_row_that_cannot_be_read_nothing_is_told_here() -> None:
    kept = Kept(cast("Any", SimpleNamespace(uid="u1")), None, "broken")
    assert differences(Pair(kept, pod(), True, NOBODY, 900)) == []


def test_policies_are_those_of_the_cluster() -> None:
    def revision(uid: str, generation: int, end: int | None = None) -> PolicyRevision:
        return PolicyRevision(uid, "hub", uid, generation, {}, 100 * generation, end)

    known = [revision("gone", 1, 200), revision("gone", 2), revision("same", 1), revision("over", 1, 150)]
    known += [revision("edited", 1), revision("ended", 1, 150)]
    there = {r.uid: r for r in [revision("same", 1), revision("edited", 2), revision("new", 1), revision("ended", 1)]}
    found = policy_differences("default", known, there, 900)
    assert [(d.finding.what, d.finding.kind, d.finding.mend is not None) for d in found] == [
        ("gone", Kind.GONE_POLICY, True),
        ("edited", Kind.MISSING_POLICY, True),
        ("new", Kind.MISSING_POLICY, True),
        ("ended", Kind.MISSING_POLICY, False),
    ]
    assert policy_differences("default", [replace(known[2])], {"same": known[2]}, 900) == []
