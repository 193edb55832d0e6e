"""A ledger of its own for each test, and ways to break it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Executable, Table, select

from hubquota.ledger import Ledger
from tests.ledger import conftest as of_ledgers

#: Wherever ledgers are tried.
new_url, url = of_ledgers.new_url, of_ledgers.url
Break = Callable[..., Awaitable[None]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """An empty ledger of cluster ``default`` that knows the hub ``hub`` since 0."""
    async with await Ledger.open(url) as opened:
        await opened.covered_since("hub", 0)
        yield opened


@pytest.fixture
def break_it(ledger: Ledger) -> Break:
    """Run statements that no part of ours would, past all keys."""

    async def run(*statements: Executable) -> None:
        engine = ledger._engine.execution_options(writes=True, migrates=True)  # SQLite: without foreign keys
        async with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)

    return run


@pytest.fixture
def rows(ledger: Ledger) -> Rows:
    """All rows of a table, in the order of its key."""

    async def read(table: Table, *columns: str) -> list[dict[str, Any]]:
        async with ledger.reading() as connection:
            found = await connection.execute(select(table).order_by(*table.primary_key))
            told = [dict(row._mapping) for row in found]
        return [{name: row[name] for name in columns or row} for row in told]

    return read
