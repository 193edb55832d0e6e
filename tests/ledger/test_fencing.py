"""Who has been taken for dead writes nothing more, however alive it is; commands write beside whoever serves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from hubquota.domain.history import PolicyRevision
from hubquota.ledger import Ledger, Superseded
from hubquota.ledger.tables import writers
from tests.ledger.pods import pod

NOW = 1_780_000_000_000_000


@pytest.fixture
async def other(url: str, ledger: Ledger) -> AsyncIterator[Ledger]:
    """The same ledger, as another process has it open."""
    async with await Ledger.open(url) as opened:
        yield opened


async def uids(ledger: Ledger) -> set[str]:
    return {found.uid async for found in ledger.pods_since("hub", 0)}


async def test_who_is_superseded_writes_nothing_and_says_by_whom(ledger: Ledger, other: Ledger) -> None:
    await ledger.take_over(["hub"], "first", NOW)
    await ledger.record([pod("a")])
    await other.take_over(["hub"], "second", NOW + 1)
    with pytest.raises(Superseded, match="second writes the ledger of default/hub now"):
        await ledger.record([pod("b")])
    with pytest.raises(Superseded):
        await ledger.end_missing("hub", set(), NOW * 2, NOW * 2)
    with pytest.raises(Superseded):
        await ledger.record_policy_revision(PolicyRevision("u", "hub", "p", 1, {}, NOW))
    await other.record([pod("c")])
    assert await uids(other) == {"a", "c"}
    assert [p.uid for p in await other.open_pods("hub")] == ["a", "c"]
    assert await other.policy_revisions("hub") == []


async def test_a_hub_of_several_that_another_serves_now_stops_the_writes_of_all(ledger: Ledger, other: Ledger) -> None:
    await ledger.take_over(["hub", "second"], "first", NOW)
    await other.take_over(["second"], "other", NOW)
    with pytest.raises(Superseded, match="default/second"):
        await ledger.record([pod("a")])


async def test_operators_of_different_hubs_write_side_by_side(ledger: Ledger, other: Ledger) -> None:
    await ledger.take_over(["hub"], "first", NOW)
    await other.take_over(["second"], "other", NOW)
    await asyncio.gather(ledger.record([pod("a")]), other.record([pod("b", hub="second")]))
    assert await uids(ledger) == {"a"}


async def test_who_takes_over_again_writes_again(ledger: Ledger, other: Ledger) -> None:
    for holder in (ledger, other, ledger):
        await holder.take_over(["hub"], "one of two", NOW)
    await ledger.record([pod("a")])
    async with ledger.reading() as connection:
        [row] = await connection.execute(select(writers))
    assert (row.scope, row.number, row.holder) == ("default/hub", 3, "one of two")


async def test_a_command_writes_beside_the_operator_and_takes_nothing_from_it(ledger: Ledger, other: Ledger) -> None:
    await ledger.take_over(["hub"], "operator", NOW)
    await other.record([pod("a")])
    await ledger.record([pod("b")])
    assert await uids(ledger) == {"a", "b"}


async def test_of_many_who_take_over_at_once_one_writes(url: str, ledger: Ledger) -> None:
    all_of_them = [await Ledger.open(url) for _ in range(5)]
    try:
        await asyncio.gather(*(one.take_over(["hub"], str(place), NOW) for place, one in enumerate(all_of_them)))
        done = await asyncio.gather(
            *(one.record([pod(str(place))]) for place, one in enumerate(all_of_them)), return_exceptions=True
        )
        assert sum(isinstance(d, Superseded) for d in done) == 4
        assert len(await uids(ledger)) == 1
    finally:
        for one in all_of_them:
            await one.close()
