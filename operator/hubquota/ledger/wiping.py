"""That what was written over is gone from the database's own files too, as far as a database lets us."""

from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_TABLES: Final = ("pods", "pod_groups", "hub_users", "memberships", "policy_revisions", "decisions", "adjustments")


async def zero(connection: AsyncConnection) -> None:
    """Have SQLite write zeros over what this connection deletes; nothing elsewhere."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("PRAGMA secure_delete = ON")


async def wipe(engine: AsyncEngine) -> str | None:
    """Take older versions of rows out of the files. None: it is done; else what is still to be done, for people."""
    try:
        return await (_sqlite(engine) if engine.dialect.name == "sqlite" else _postgresql(engine))
    except DBAPIError as fault:
        return f"the database could not tidy up ({fault.orig}): have it done when nobody else is at work"


async def _sqlite(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        if driver is None:
            return "the connection is closed"
        await driver.execute("VACUUM")  # not within a transaction
        busy, *_ = await (await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")).fetchone()
    if busy:
        return "somebody reads the ledger, so its -wal file still holds older rows: run PRAGMA wal_checkpoint(TRUNCATE)"
    return None


async def _postgresql(engine: AsyncEngine) -> str | None:
    from hubquota.ledger.postgresql import PATIENT

    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # For this connection alone, which is then closed: a large table takes longer than a statement may.
        await connection.exec_driver_sql(f"SET statement_timeout = '{PATIENT}s'")
        if (driver := (await connection.get_raw_connection()).driver_connection) is not None:
            driver.patience = PATIENT
        for table in (*_TABLES, "changes"):
            await connection.exec_driver_sql(f"VACUUM {table}")
        await connection.invalidate()
    return "PostgreSQL lets go of older rows; their bytes stay until it writes over them, in its files, WAL and backups"
