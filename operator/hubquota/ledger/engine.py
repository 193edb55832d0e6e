"""Connections to the ledger's database, with what SQLite needs to be safe and exact."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

#: The drivers that are tried and shipped, by what an admin writes before ``://``.
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_BUSY_MILLISECONDS: Final = 10_000


def connect(url: str) -> AsyncEngine:
    """An engine for an SQLAlchemy URL such as ``sqlite:///hubquota.db``. Nothing is opened yet.

    Raises sqlalchemy.exc.ArgumentError where it cannot be read as one, ValueError for a database that is not served.
    """
    engine = create_async_engine(_with_driver(make_url(url)))
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine


def missing(url: str) -> Path | None:
    """The file of an SQLite ledger that is not there; None: it is there, or the database is another."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    file = Path(parsed.database)
    return None if file.exists() else file


def _with_driver(url: URL) -> URL:
    database = url.get_backend_name()
    if database not in _DRIVERS:
        raise ValueError(f"the ledger cannot live in {database}: write a URL of sqlite or postgresql")
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
