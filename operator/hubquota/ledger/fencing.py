"""Who writes a hub's part of the ledger: an operator that was cut off, paused or thought dead is kept from it.

A Lease cannot do that alone: who holds one may be stopped between looking at it and writing. So each operator that
begins to serve a hub takes the next number for it, and every transaction of an operator asks whether its number still
is the last. Commands have no number: they write beside an operator, row by row.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.ledger.tables import writers


class Superseded(Exception):
    """Another operator has begun to write this part of the ledger; nothing was written, and this one should end."""


async def take_over(connection: AsyncConnection, scopes: Collection[str], holder: str, at: int) -> dict[str, int]:
    """Take the next number for each scope. Returns them; whoever holds an earlier one is superseded."""
    numbers: dict[str, int] = {}
    for scope in sorted(scopes):  # one order for all, so that two never wait for each other
        changed = {"number": writers.c.number + 1, "holder": holder, "since": at}
        taken = update(writers).where(writers.c.scope == scope).values(changed).returning(writers.c.number)
        number: int | None = (await connection.execute(taken)).scalar()
        if number is None:
            number = 1
            await connection.execute(insert(writers).values(scope=scope, number=number, holder=holder, since=at))
        numbers[scope] = number
    return numbers


async def check(connection: AsyncConnection, held: Mapping[str, int]) -> None:
    """Make sure until the commit that these numbers are the last. Raises Superseded."""
    query = select(writers).where(writers.c.scope.in_(held)).order_by(writers.c.scope).with_for_update(read=True)
    for row in await connection.execute(query):
        if row.number != held[row.scope]:
            raise Superseded(f"{row.holder} writes the ledger of {row.scope} now: this operator was taken for dead")
