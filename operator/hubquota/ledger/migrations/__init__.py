"""The ledger's schema, step by step; each release brings an older ledger up to date by itself."""

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from hubquota.ledger.faults import SchemaError
from hubquota.ledger.tables import metadata

_HERE: Final = Path(__file__).parent
#: The lock that whoever upgrades holds on a PostgreSQL database: any number, as long as it stays the same.
_LOCK: Final = 0x68756271756F7461


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the schema up to ``revision``, in one transaction. Nothing is written where it is there already.

    Raises SchemaError where the schema is of a newer version than this one.
    """
    if await at(engine) == head():
        return
    async with engine.execution_options(writes=True, migrates=True).begin() as connection:
        await connection.run_sync(_upgrade, revision)


async def at(engine: AsyncEngine) -> str | None:
    """The revision that the schema has; None: there is no ledger yet. Raises SchemaError where it is not known here."""
    async with engine.begin() as connection:
        return await connection.run_sync(_at)


def head() -> str:
    """The newest revision that this version knows."""
    return str(_scripts().get_current_head())


async def differences(engine: AsyncEngine) -> list[str]:
    """How the tables in the database differ from those that this version works on; other tables are left aside."""
    async with engine.begin() as connection:
        return await connection.run_sync(_differences)


def _differences(connection: Connection) -> list[str]:
    def ours(thing: Any, name: str | None, kind: str, _reflected: bool, _to: object) -> bool:  # noqa: ANN401
        table = name if kind == "table" else thing.table.name
        return table in metadata.tables

    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": ours})
    return [" ".join(str(step).split()) for step in compare_metadata(context, metadata)]


def _at(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f"the ledger's schema has the revision {revision}, and this version of hubquota knows those up to "
            f"{head()}: run the version that upgraded it, or a newer one"
        )
    return revision


def _upgrade(connection: Connection, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        # Who comes second waits, as long as it takes, and then finds nothing to do.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        _at(connection)
    command.upgrade(_config(connection), revision)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(None))


def _config(connection: Connection | None) -> Config:
    config = Config(attributes={"connection": connection})
    # Percent signs in a path would be read as an interpolation.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
