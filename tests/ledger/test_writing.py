"""A write is whole or nothing, and whoever writes at the same time, or stops in the middle, hinders nobody for long."""

import asyncio
import gc

import pytest
from sqlalchemy.exc import DBAPIError

from hubquota.ledger import Ledger
from tests.ledger.pods import pod

#: Makes a database refuse to write the last that a pod needs.
FULL = {
    "sqlite": ["CREATE TRIGGER full BEFORE INSERT ON segments BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
    "postgresql": [
        "CREATE FUNCTION disk_full() RETURNS trigger AS $$ BEGIN RAISE 'disk full'; END $$ LANGUAGE plpgsql",
        'CREATE TRIGGER "full" BEFORE INSERT ON segments EXECUTE FUNCTION disk_full()',
    ],
}


async def test_a_failed_write_leaves_nothing_of_its_call_behind(ledger: Ledger) -> None:
    async with ledger._writing.begin() as connection:  # segments are written last
        for statement in FULL[connection.dialect.name]:
            await connection.exec_driver_sql(statement)
    with pytest.raises(DBAPIError, match="disk full"):
        await ledger.record([pod("u1")])
    assert await ledger.open_pods("hub") == []


async def test_writers_at_once_wait_for_each_other(url: str) -> None:
    async with await Ledger.open(url) as one, await Ledger.open(url) as two:
        await asyncio.gather(*(ledger.record([pod(at=100 + i)]) for i in range(20) for ledger in (one, two)))
        [record] = await one.open_pods("hub")
        assert (record.first_seen, record.last_seen) == (100, 119)


async def test_hundreds_of_writes_at_once_all_come_through(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubquota.ledger.ledger._TURN", 3600)
    await asyncio.gather(*(ledger.record([pod(f"u{i}")]) for i in range(300)))
    assert len(await ledger.open_pods("hub")) == 300


async def test_a_write_that_is_cancelled_at_any_moment_locks_out_nobody(ledger: Ledger) -> None:
    for turn in range(40):
        write = asyncio.create_task(ledger.record([pod(f"{turn}/{i}") for i in range(500)]))
        await asyncio.sleep(turn * 0.001)
        write.cancel()
        await asyncio.wait([write])
        async with asyncio.timeout(8):  # a lock that stays is waited for 10 s
            await ledger.record([pod()])
    assert len(await ledger.open_pods("hub")) % 500 == 1


# Its cursors went with the connection, which is given up.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"
)
async def test_a_read_that_is_cancelled_locks_out_nobody(ledger: Ledger) -> None:
    await ledger.record([pod(f"u{i}") for i in range(2000)])
    for turn in range(20):
        read = asyncio.create_task(ledger.history("hub", 0))
        await asyncio.sleep(turn * 0.003)
        read.cancel()
        await asyncio.wait([read])
        async with asyncio.timeout(8):
            await ledger.record([pod("other", at=100 + turn)])
    del read
    gc.collect()  # what was given up is no warning of the next test's
