"""Since when and until when a hub had a user, in the ledger."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from sqlalchemy import select

from hubquota.cluster.members import Seen
from hubquota.cluster.memberships import Memberships
from hubquota.domain.history import Membership
from hubquota.ledger import Ledger
from hubquota.ledger.tables import hub_users
from tests.ledger import conftest as of_ledgers
from tests.testbed.patience import PATIENCE

new_url, url, ledger = of_ledgers.new_url, of_ledgers.url, of_ledgers.ledger


class Bench:
    """What is to be noted of a hub, and what is."""

    def __init__(self, ledger: Ledger) -> None:
        self.now, self.ledger = 100, ledger
        self.memberships = Memberships(ledger, "hub", lambda: self.now)

    def seen(self, user: str, *groups: str, at: int | None = None) -> None:
        one = Seen(user, "uid", "1", 1, 0, user, frozenset(groups), at)
        self.memberships.note([one])

    async def presence(self) -> list[tuple[Any, ...]]:
        query = select(hub_users.c.user, hub_users.c.start, hub_users.c.end).where(hub_users.c.hub == "hub")
        async with self.ledger.reading() as connection:
            return [tuple(row) for row in await connection.execute(query.order_by("user", "start"))]

    async def noted(self, *rows: tuple[Any, ...]) -> None:
        """Write what waits, until it is just this."""
        async with asyncio.timeout(PATIENCE), running(self.memberships.run):
            while await self.presence() != list(rows):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(job: Callable[[], Any]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(job())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def bench(ledger: Ledger) -> Bench:
    return Bench(ledger)


async def test_a_user_is_there_until_the_user_quota_is_gone_and_again_from_then_on(bench: Bench) -> None:
    bench.seen("alice", "students")
    await bench.noted(("alice", 100, None))
    bench.now = 200
    bench.memberships.lose("alice")
    await bench.noted(("alice", 100, 200))
    assert await bench.ledger.groups_at("hub", 250) == {}
    assert await bench.ledger.groups_at("hub", 150) == {"alice": frozenset({"students"})}
    bench.now = 300
    bench.seen("alice", "students")
    await bench.noted(("alice", 100, 200), ("alice", 300, None))


async def test_the_hub_s_first_word_counts_though_the_user_was_seen_a_moment_later(bench: Bench) -> None:
    bench.seen("alice")  # made by the operator, which knows no groups
    await bench.noted(("alice", 100, None))
    bench.seen("alice", "students", at=90)
    async with asyncio.timeout(PATIENCE), running(bench.memberships.run):
        while await bench.ledger.groups_at("hub", 95) != {"alice": frozenset({"students"})}:
            await asyncio.sleep(0.01)
    bench.now = 200
    bench.seen("alice")  # and who is in no group any more, is so from when that was seen
    async with asyncio.timeout(PATIENCE), running(bench.memberships.run):
        while await bench.ledger.groups_at("hub", 200):
            await asyncio.sleep(0.01)
    assert await bench.ledger.groups_at("hub", 199) == {"alice": frozenset({"students"})}


async def test_who_came_and_went_before_it_was_noted_was_there_and_who_came_back_stays(bench: Bench) -> None:
    for user in ("alice", "bob"):
        bench.seen(user, "g")
    bench.now = 200
    bench.memberships.lose("alice")
    bench.memberships.lose("bob")
    bench.seen("bob", "g", at=150)
    await bench.noted(("alice", 100, 200), ("bob", 150, None))


async def test_who_went_while_nobody_looked_is_gone_by_the_next_listing(bench: Bench) -> None:
    await bench.ledger.record_membership(*(Membership("hub", u, frozenset("g"), 50) for u in ("alice", "bob")))
    await bench.ledger.record_user("other", "alice", 50)
    bench.seen("carol")
    bench.memberships.only({"bob", "carol"}.__contains__)
    await bench.noted(("alice", 50, 100), ("bob", 50, None), ("carol", 100, None))
    assert await bench.ledger.users_present("hub") == {"bob", "carol"}
    assert await bench.ledger.users_present("other") == {"alice"}


async def test_where_there_is_nothing_to_note_the_ledger_is_not_asked() -> None:
    """Every status that is written is told by the watch of UserQuotas, and changes nobody's groups."""
    ledger = Mock(spec=Ledger, end_user=AsyncMock())
    memberships = Memberships(ledger, "hub", lambda: 100)
    async with running(memberships.run):
        memberships.note([])
        memberships.lose("alice")
        async with asyncio.timeout(PATIENCE):
            while not ledger.end_user.await_count:
                await asyncio.sleep(0.01)
    assert ledger.groups_of.call_count == 0
    assert not memberships._woken.is_set()
