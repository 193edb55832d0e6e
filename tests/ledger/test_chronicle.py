"""Who was in which group and what the policies said, as it was then."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table, select

from hubquota.domain.history import Membership, PolicyRevision
from hubquota.ledger import Ledger
from hubquota.ledger.chronicle import succession
from hubquota.ledger.tables import hub_users, memberships


def member(at: int, *groups: str) -> Membership:
    return Membership("hub", "alice", frozenset(groups), at)


def revision(generation: int, start: int, end: int | None = None) -> PolicyRevision:
    return PolicyRevision("p1", "hub", "weekly", generation, {"limit": {"value": generation}}, start, end)


async def rows(ledger: Ledger, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    query = select(*(table.c[name] for name in columns)).order_by(*(table.c[name] for name in columns))
    async with ledger._engine.begin() as connection:
        return [tuple(row) for row in await connection.execute(query)]


async def groups(ledger: Ledger) -> list[tuple[Any, ...]]:
    return await rows(ledger, memberships, "group", "start", "end")


async def test_a_membership_lasts_from_when_it_was_seen_to_when_it_was_gone(ledger: Ledger) -> None:
    await ledger.record_membership(member(100, "a", "b"), member(200, "b", "c"), member(300, "a"))
    assert await groups(ledger) == [("a", 100, 200), ("a", 300, None), ("b", 100, 300), ("c", 200, 300)]
    assert await rows(ledger, hub_users, "user", "start", "end") == [("alice", 100, None)]


async def test_an_older_or_repeated_sight_of_groups_changes_nothing(ledger: Ledger) -> None:
    await ledger.record_membership(member(100, "a"), member(200, "b"))
    before = await groups(ledger)
    await ledger.record_membership(member(150, "c"), member(200, "d"), member(200, "b"))
    assert await groups(ledger) == before


async def test_the_same_groups_again_go_on(ledger: Ledger) -> None:
    await ledger.record_membership(member(100, "a"))
    await ledger.record_membership(member(200, "a"))
    assert await groups(ledger) == [("a", 100, None)]


async def test_a_user_who_is_gone_is_in_no_group_until_seen_again(ledger: Ledger) -> None:
    await ledger.record_membership(member(100, "a"))
    await ledger.end_user("hub", "alice", 200)
    await ledger.end_user("hub", "alice", 250)
    await ledger.record_membership(member(150, "late"))
    assert await groups(ledger) == [("a", 100, 200)]
    await ledger.record_membership(member(300, "b"))
    assert await groups(ledger) == [("a", 100, 200), ("b", 300, None)]
    assert await rows(ledger, hub_users, "start", "end") == [(100, 200), (300, None)]


async def test_a_user_seen_again_since_is_not_gone(ledger: Ledger) -> None:
    await ledger.record_membership(member(100, "a"), member(300, "b"))
    await ledger.end_user("hub", "alice", 200)
    assert await groups(ledger) == [("a", 100, 300), ("b", 300, None)]
    assert await rows(ledger, hub_users, "start", "end") == [(100, None)]


async def test_a_user_is_one_row_however_often_seen(ledger: Ledger) -> None:
    for at in (100, 200, 50):
        await ledger.record_user("hub", "alice", at)
    await ledger.record_user("hub", "Alice", 100)
    assert await rows(ledger, hub_users, "user", "start", "end") == [("Alice", 100, None), ("alice", 100, None)]


async def test_each_generation_of_a_policy_holds_until_the_next(ledger: Ledger) -> None:
    for seen in (revision(1, 100), revision(2, 200), revision(2, 250), revision(1, 260)):
        await ledger.record_policy_revision(seen)
    assert await ledger.policy_revisions("hub") == [revision(1, 100, 200), revision(2, 200)]
    await ledger.end_policy("p1", 300)
    await ledger.end_policy("p1", 400)
    await ledger.end_policy("unknown", 400)
    assert await ledger.policy_revisions("hub") == [revision(1, 100, 200), revision(2, 200, 300)]
    assert await ledger.policy_revisions("other") == []


@given(st.permutations([revision(g, s) for g, s in [(1, 100), (1, 120), (2, 200), (4, 400), (4, 450), (5, 500)]]))
def test_the_order_in_which_generations_are_told_changes_nothing(seen: list[PolicyRevision]) -> None:
    known: list[PolicyRevision] = []
    for told in seen:
        known = succession(known, told)
    assert known == [revision(1, 100, 200), revision(2, 200, 400), revision(4, 400, 500), revision(5, 500)]


def test_a_generation_that_comes_late_does_not_bring_a_deleted_policy_back() -> None:
    assert succession([revision(1, 100, 300)], revision(2, 200)) == [revision(1, 100, 200), revision(2, 200, 300)]


def test_a_policy_seen_after_it_was_taken_for_gone_holds() -> None:
    assert succession([revision(1, 100, 300)], revision(2, 400))[-1] == revision(2, 400)


async def test_a_hub_is_covered_since_it_was_first_met(url: str) -> None:
    async with await Ledger.open(url) as ledger:
        assert await ledger.covered_since("hub", 100) == 100
        assert await ledger.covered_since("other", 200) == 200
    async with await Ledger.open(url) as ledger:
        assert await ledger.covered_since("hub", 300) == 100
