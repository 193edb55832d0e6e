"""Rows of pods as they are, also those that no record can be made of."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import PodRecord
from hubquota.ledger.ledger import Ledger
from hubquota.ledger.rows import BATCH, batches, record_of
from hubquota.ledger.tables import pod_groups, pods, segments


@dataclass(frozen=True, slots=True)
class Kept:
    """A pod's row and its record. ``record`` None: it cannot be one, for ``fault``."""

    row: Row[Any]
    record: PodRecord | None
    fault: str = ""

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return str(self.row.uid)


async def pages(ledger: Ledger, wanted: Callable[[str], bool]) -> AsyncIterator[list[Kept]]:
    """The pods of this cluster whose hub is ``wanted``, in the order of their uids, a few at a time.

    Each page is a transaction of its own, so that none is open for long.
    """
    last = ""
    while True:
        # By uid alone: another condition could lead a database to sort all that is left for each page.
        query = select(pods).where(pods.c.uid > last).order_by(pods.c.uid).limit(BATCH)
        async with ledger.reading() as connection:
            rows = (await connection.execute(query)).all()
            ours = [row for row in rows if row.cluster == ledger.cluster and wanted(row.hub)]
            yield await _whole(connection, ours)
        if len(rows) < BATCH:
            return
        last = rows[-1].uid


async def by_uid(ledger: Ledger, uids: Sequence[str]) -> dict[str, Kept]:
    """The rows of these pods, as far as there are any."""
    found: dict[str, Kept] = {}
    async with ledger.reading() as connection:
        for batch in batches(sorted(set(uids))):
            found |= {kept.uid: kept for kept in await read(connection, pods.c.uid.in_(batch))}
    return found


async def read(connection: AsyncConnection, which: ColumnElement[bool]) -> list[Kept]:
    """The rows of some pods: few enough for one statement."""
    return await _whole(connection, (await connection.execute(select(pods).where(which))).all())


async def _whole(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Kept]:
    uids = [row.uid for row in rows]
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for uid, group in await connection.execute(select(pod_groups).where(pod_groups.c.uid.in_(uids))):
        groups[uid].append(group)
    held: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in await connection.execute(select(segments).where(segments.c.uid.in_(uids))):
        held[row.uid].append(row)
    return [_kept(row, groups.get(row.uid, ()), held.get(row.uid, ())) for row in rows]


def _kept(row: Row[Any], groups: Sequence[str], held: Sequence[Row[Any]]) -> Kept:
    try:
        return Kept(row, record_of(row, groups, held))
    except ValueError as fault:
        return Kept(row, None, str(fault))
