"""What was read from Prometheus, and how far back a hub is known thereby.

Each function writes over the connection it is given.
"""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import Backfill
from hubquota.ledger.tables import backfills, hubs


async def known(connection: AsyncConnection, cluster: str, hub: str) -> list[Backfill]:
    """The stretches that were read, in their order."""
    t = backfills
    query = select(t).where(t.c.cluster == cluster, t.c.hub == hub).order_by(t.c.start)
    return [
        Backfill(row.hub, row.start, row.end, row.source, row.interval, row.recorded)
        for row in await connection.execute(query)
    ]


async def note(connection: AsyncConnection, cluster: str, read: Iterable[Backfill]) -> None:
    """Note stretches; one that begins where a known one does makes that longer, never shorter."""
    for stretch in read:
        t = backfills
        same = (t.c.cluster == cluster, t.c.hub == stretch.hub, t.c.start == stretch.start)
        end: int | None = (await connection.execute(select(t.c.end).where(*same).with_for_update())).scalar()
        if end is None:
            await connection.execute(insert(t).values(asdict(stretch) | {"cluster": cluster}))
        elif end < stretch.end:
            await connection.execute(update(t).where(*same).values(asdict(stretch)))


async def reach_back(connection: AsyncConnection, cluster: str, hub: str) -> None:
    """Move the instant from which a hub is known back over what was read without a hole up to it.

    Nothing happens where the hub is not known, for no operator has served it yet.
    """
    mine = (hubs.c.cluster == cluster, hubs.c.hub == hub)
    query = select(hubs.c.covered_since).where(*mine).with_for_update()
    known_since: int | None = (await connection.execute(query)).scalar()
    if known_since is None:
        return
    since = known_since
    for stretch in sorted(await known(connection, cluster, hub), key=lambda s: s.end, reverse=True):
        if stretch.start < since <= stretch.end:
            since = stretch.start
    if since < known_since:
        await connection.execute(update(hubs).where(*mine).values(covered_since=since))
