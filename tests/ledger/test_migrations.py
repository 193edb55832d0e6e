"""The schema in the database is the one in the code, however the database came to it."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hubquota.ledger import Ledger, migrations
from hubquota.ledger.engine import connect
from hubquota.ledger.tables import metadata


def _revisions() -> list[str]:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def _schema(engine: AsyncEngine) -> list[str]:
    """All that the database says of its tables and indexes."""
    query = "SELECT sql FROM sqlite_master ORDER BY name"
    if engine.dialect.name == "postgresql":
        query = (
            "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable) AS told "
            "FROM information_schema.columns WHERE table_schema = 'public' "
            "UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY told"
        )
    async with engine.connect() as connection:
        return list((await connection.execute(text(query))).scalars())


@pytest.mark.parametrize("revision", [None, *_revisions()])
async def test_the_schema_is_the_models_after_an_upgrade_from_any_revision(url: str, revision: str | None) -> None:
    engine = connect(url)
    try:
        if revision is not None:
            await migrations.upgrade(engine, revision)
        await migrations.upgrade(engine)
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(url: str) -> None:
    engine = connect(url)
    try:
        await migrations.upgrade(engine)
        before = await _schema(engine)
        await migrations.upgrade(engine)
        assert await _schema(engine) == before
    finally:
        await engine.dispose()


def test_the_revisions_are_one_line_without_branches() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1


async def test_sqlite_is_set_up_to_lose_nothing(ledger: Ledger, tmp_path: Path) -> None:
    if ledger._engine.dialect.name != "sqlite":
        return
    async with ledger._engine.begin() as connection:
        found = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
    assert found == ["wal", 1, 2, 10_000]
    with sqlite3.connect(tmp_path / "hubquota.db") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()
