"""Connections to PostgreSQL on which nothing is waited for for ever, whatever becomes of the server."""

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

#: Seconds that one statement may take, by the server's own clock.
STATEMENT: Final = 10
#: Seconds until a server is given up that does not say either that a statement took too long: it hangs.
ANSWER: Final = 12
#: Seconds for an upgrade of the schema and for whoever reads or changes all of history.
PATIENT: Final = 3600
_CONNECT: Final = 4

#: What libpq does, by its own names; a URL's parameters win over these.
_DEFAULTS: Final[dict[str, Any]] = {
    "connect_timeout": _CONNECT,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
    "application_name": "hubquota",
    # In order: a statement, a wait for another's lock, a transaction whose owner is cut off and holds locks.
    "options": f"-c statement_timeout={STATEMENT}s -c lock_timeout={STATEMENT}s "
    f"-c idle_in_transaction_session_timeout={STATEMENT}s",
}
#: Few, for an operator's reads and its one write at a time; a server has a hundred for all.
POOL: Final[dict[str, Any]] = {
    "pool_size": 3,
    "max_overflow": 5,
    "pool_timeout": 10,
    "pool_recycle": 1800,
    "pool_pre_ping": True,
}
RV = TypeVar("RV")


class Cursor(psycopg.AsyncServerCursor[Any]):
    """One that says nothing of not being closed where its connection is gone: the server has closed it."""

    def __del__(self, *_: object) -> None:
        if not self.connection.closed:
            super().__del__()


class Bounded(psycopg.AsyncConnection[Any]):
    """A connection that is given up when the server does not answer within ``patience`` seconds."""

    patience: float = ANSWER

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - as they are
        super().__init__(*args, **more)
        self.server_cursor_factory = Cursor

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - as it is called
    ) -> RV:
        """As psycopg has it, but never for ever. Raises psycopg.OperationalError."""
        try:
            return await super().wait(gen, interval, self.patience if timeout is None else timeout)
        except _WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            told = f"PostgreSQL did not answer within {self.patience:.0f} s, so the connection was given up"
            raise psycopg.OperationalError(told) from None


def arguments(query: dict[str, Any]) -> dict[str, Any]:
    """What to connect by, beside a URL with these parameters."""
    return {name: value for name, value in _DEFAULTS.items() if name not in query} | {
        "async_creator_fn": Bounded.connect
    }


def bound(engine: AsyncEngine) -> None:
    """Give each transaction of this engine its time: the execution options ``migrates`` and ``patient`` give more."""
    event.listen(engine.sync_engine, "begin", _begin)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    patient = options.get("patient") or options.get("migrates")
    driver = connection.connection.driver_connection
    if driver is not None:
        driver.patience = PATIENT if patient else ANSWER
    if patient:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{PATIENT}s'")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{PATIENT}s'")
