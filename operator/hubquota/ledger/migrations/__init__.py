"""The ledger's schema, step by step; each release brings an older ledger up to date by itself."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

_HERE: Final = Path(__file__).parent


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the schema up to ``revision``, in one transaction. Nothing happens where it is there already."""
    async with engine.execution_options(writes=True, migrates=True).begin() as connection:
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    # Percent signs in a path would be read as an interpolation.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, revision)
