"""A renamed user starts anew, until an admin moves the history: then all of it counts for the new name (S11)."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.cluster.past import recalled
from hubquota.domain.history import DecisionKind, DecisionRecord, HowEnded, Membership, PodEnd, PolicyRevision
from hubquota.domain.policy import Policy
from hubquota.domain.windows import DAY, HOUR
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.changes import aliases
from hubquota.ledger.auditing.inside import audit
from hubquota.ledger.renaming import CannotRename, Renamed, Stretch, rename, united
from hubquota.ledger.tables import adjustments, changes, decisions, hub_users, memberships
from hubquota.resources.policy import PolicySpec, to_policy
from tests.auditing.conftest import Break, Rows
from tests.ledger.pods import holding, pod

NOW = 1000 * DAY
WEEKLY = {
    "scope": {"everyone": True},
    "resource": "memory",
    "limit": {"value": 10, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}
STUDENTS = WEEKLY | {"scope": {"groups": ["students"]}, "sharing": "Shared"}
#: Usage of one hour of the pods below.
HOURLY = 2**30 * HOUR


async def moved(ledger: Ledger, old: str = "alice", new: str = "bob", *, merge: bool = False) -> Renamed:
    return await rename(ledger, "hub", old, new, merge=merge, at=NOW, by="ann")


async def used(ledger: Ledger, user: str, spec: Mapping[str, object] = WEEKLY) -> int | None:
    """What an operator that starts now tells of a user, or of a pool."""
    meter = await recalled(ledger, "hub", NOW - 35 * DAY, NOW)
    policy: Policy = to_policy("weekly", PolicySpec.model_validate(spec))
    if policy.shared:
        pool = meter.pool(policy, NOW)
        return None if pool is None else pool.used
    [quota] = meter.standing([policy], user, frozenset(), NOW).quotas
    return quota.used


async def ran(ledger: Ledger, uid: str, user: str, hours: int, *, ended: bool = True) -> None:
    """A server of 1 GiB that ran for so many hours, in the group students."""
    start = NOW - DAY
    end = PodEnd(start + hours * HOUR, HowEnded.CONTAINERS) if ended else None
    seen = NOW - HOUR
    held = holding(start, {"memory": 2**30}, None if end is None else end.at)
    groups = ("students",)
    await ledger.record([pod(uid, seen, user=user, scheduled=start, end=end, segments=held, groups=groups)])
    await ledger.record_membership(Membership("hub", user, frozenset(groups), start))


async def test_a_renamed_user_starts_anew_and_after_the_move_has_all_that_was_used(ledger: Ledger) -> None:
    await ran(ledger, "1", "alice", 3)
    await ran(ledger, "2", "alice", 4)
    pool = await used(ledger, "", STUDENTS)
    assert (await used(ledger, "alice"), await used(ledger, "bob")) == (7 * HOURLY, 0)
    assert (await moved(ledger)).moved == {
        "pods": 2,
        "decisions": 0,
        "adjustments": 0,
        "hub_users": 1,
        "memberships": 1,
    }
    assert (await used(ledger, "alice"), await used(ledger, "bob")) == (0, 7 * HOURLY)
    # History never moves between groups.
    assert await used(ledger, "", STUDENTS) == pool == 7 * HOURLY
    assert await audit(ledger) == []


async def test_what_runs_under_the_old_name_goes_on_for_the_new(ledger: Ledger) -> None:
    await ran(ledger, "1", "alice", 0, ended=False)
    await moved(ledger)
    # The pod still says alice: what the ledger says of whose it is counts.
    await ran(ledger, "1", "alice", 5)
    assert (await used(ledger, "alice"), await used(ledger, "bob")) == (0, 5 * HOURLY)


async def test_a_server_that_the_new_name_starts_adds_to_what_the_old_one_used(ledger: Ledger) -> None:
    await ran(ledger, "1", "alice", 6)
    await ran(ledger, "2", "bob", 5)
    assert await used(ledger, "bob") == 5 * HOURLY
    with pytest.raises(CannotRename, match=r"“bob” has a history already: give --merge"):
        await moved(ledger)
    assert await used(ledger, "bob") == 5 * HOURLY
    await moved(ledger, merge=True)
    assert await used(ledger, "bob") == 11 * HOURLY


async def test_a_name_that_nobody_has_is_told_so(ledger: Ledger) -> None:
    with pytest.raises(CannotRename, match="knows no user “alice” of the hub hub"):
        await moved(ledger)


async def test_everything_of_the_user_moves_and_nothing_of_others(ledger: Ledger, break_it: Break, rows: Rows) -> None:
    await ran(ledger, "1", "alice", 1)
    await ran(ledger, "2", "carol", 1)
    for user in ("alice", "carol"):
        await ledger.record_decisions(
            DecisionRecord(user, "hub", user, "", DecisionKind.REFUSED, NOW, {}, (), "no more")
        )
        given_ = {"id": user, "cluster": "default", "hub": "hub", "user": user, "resource": "cpu", "amount": "1"}
        told = {"start": 1, "reason": "", "by": "ann", "source": "", "recorded": 1}
        await break_it(adjustments.insert().values(given_ | told))
    await ledger.covered_since("other", 0)
    await ledger.record([pod("3", hub="other")])
    done = await moved(ledger)
    assert done.moved == {"pods": 1, "decisions": 1, "adjustments": 1, "hub_users": 1, "memberships": 1}
    for table in (decisions, adjustments, hub_users, memberships):
        assert {row["user"] for row in await rows(table)} == {"bob", "carol"}
    assert [p.user for p in await ledger.open_pods("other")] == ["alice"]


async def test_the_move_is_recorded_with_what_was_moved(ledger: Ledger, rows: Rows) -> None:
    await ran(ledger, "1", "alice", 1)
    await moved(ledger)
    await moved(ledger, "bob", "carl")
    first, second = sorted(await rows(changes), key=lambda c: str(c["what"]))
    assert (first["what"], first["before"], first["after"]["user"]) == ("alice", {"user": "alice"}, "bob")
    assert (first["by"], first["at"], first["action"], first["after"]["pods"]) == ("ann", NOW, "rename", ["1"])
    assert second["what"] == "bob"
    async with ledger.reading() as connection:
        known_as = await aliases(connection, "default", "hub")
    assert [known_as.same(old, "carl") for old in ("alice", "bob", "carl", "dora", None)] == [True] * 3 + [False] * 2


async def test_policies_that_name_the_old_name_are_told(ledger: Ledger) -> None:
    await ran(ledger, "1", "alice", 1)
    for name, users in (("a", ["alice"]), ("b", ["bob"]), ("c", ["alice", "bob"])):
        await ledger.record_policy_revision(PolicyRevision(name, "hub", name, 1, {"scope": {"users": users}}, 1))
    await ledger.end_policy("c", 5)
    assert (await moved(ledger)).naming == ("a",)


async def test_where_both_have_a_history_the_new_name_s_groups_are_the_present_ones(ledger: Ledger, rows: Rows) -> None:
    await ledger.record_membership(Membership("hub", "alice", frozenset({"a", "b"}), 100))
    await ledger.record_membership(Membership("hub", "bob", frozenset({"b", "c"}), 200))
    await moved(ledger, merge=True)
    assert [(r["user"], r["start"], r["end"], r["groups_at"]) for r in await rows(hub_users)] == [
        ("bob", 100, None, 200)
    ]
    assert [(r["user"], r["group"], r["start"], r["end"]) for r in await rows(memberships)] == [
        ("bob", "a", 100, NOW),
        ("bob", "b", 100, None),
        ("bob", "c", 200, None),
    ]
    assert await audit(ledger) == []
    # The hub's next word counts as ever.
    await ledger.record_membership(Membership("hub", "bob", frozenset({"c"}), 300))
    assert await ledger.groups_of("hub", ["bob"]) == {"bob": frozenset({"c"})}


STRETCHES = st.lists(
    st.tuples(st.integers(0, 30), st.none() | st.integers(0, 20)).map(
        lambda t: Stretch(t[0], None if t[1] is None else t[0] + t[1])
    ),
    max_size=6,
)


@given(STRETCHES)
def test_stretches_together_cover_what_each_covers_and_do_not_touch(stretches: list[Stretch]) -> None:
    def covered(told: list[Stretch]) -> set[int]:
        return {t for s in told for t in range(60) if s.start <= t and (s.end is None or t < s.end)}

    made = united(stretches)
    assert covered(made) == covered(stretches)
    for one, then in pairwise(made):
        assert one.end is not None
        assert one.end < then.start
