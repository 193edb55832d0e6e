"""Connections to the ledger's database, with what each database needs to be safe and exact."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

#: The drivers that are tried and shipped, by what an admin writes before ``://``.
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_BUSY_MILLISECONDS: Final = 10_000


def connect(url: str) -> AsyncEngine:
    """An engine for an SQLAlchemy URL such as ``sqlite:///hubquota.db``. Nothing is opened yet.

    Raises sqlalchemy.exc.ArgumentError where it cannot be read as one, or the database is none that is served.
    """
    parsed = _with_driver(_parsed(url))
    if parsed.get_backend_name() == "postgresql":
        # Only now: its driver need not be there for SQLite.
        from hubquota.ledger import postgresql

        engine = create_async_engine(
            parsed, connect_args=postgresql.arguments(dict(parsed.query)), hide_parameters=True, **postgresql.POOL
        )
        postgresql.bound(engine)
        return engine
    engine = create_async_engine(parsed)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def missing(url: str) -> Path | None:
    """The file of an SQLite ledger that is not there; None: it is there, or the database is another."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    file = Path(parsed.database)
    return None if file.exists() else file


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # its own words could hold a part of a password
        told = "database_url cannot be read: write sqlite:///FILE or postgresql://USER@HOST:5432/DATABASE"
        raise ArgumentError(f"{told}, with characters such as @ : / in a password as %40 %3A %2F") from None


def _with_driver(url: URL) -> URL:
    database = url.get_backend_name()
    if database not in _DRIVERS:
        raise ArgumentError(f"the ledger cannot live in {database}: write a URL of sqlite or postgresql")
    return url.set(drivername=_DRIVERS[database])


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
    # The driver would begin transactions by itself, and not around every statement.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # in WAL mode a lesser one would lose what was committed before a power cut
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Writers take their turn at the start: one that read first and wrote then would be refused, not made to wait.

    Foreign keys are off while migrating: there, tables are replaced by copies, which would take what refers to them.
    """
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA foreign_keys = {'OFF' if options.get('migrates') else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
