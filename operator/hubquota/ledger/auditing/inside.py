"""What is wrong within a ledger, whatever the cluster says: the whole of it is read once."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, Table, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import LARGEST, PodRecord
from hubquota.domain.windows import SECOND
from hubquota.ledger.auditing import lives, stretches
from hubquota.ledger.auditing.findings import Finding, Kind, in_both, when
from hubquota.ledger.auditing.mending import DropOrphans, EndPod
from hubquota.ledger.auditing.reading import Kept, by_uid, pages, read
from hubquota.ledger.ledger import Ledger
from hubquota.ledger.merging import gone_before
from hubquota.ledger.rows import batches
from hubquota.ledger.tables import adjustments, decisions, hubs, pod_groups, pods, segments

#: How far the end of a pod that we heard of may lie after the placement of the next of its name: the cluster tells
#: whole seconds, and what it tells comes some seconds late (S29).
_TOLERANCE: Final = 6 * SECOND
#: Tables that have rows of hubs, and the columns that say what a row is about.
_OF_HUBS: Final = (pods, *(kind.table for kind in (stretches.USERS, stretches.MEMBERSHIPS, stretches.GENERATIONS)))


async def audit(ledger: Ledger, only: Collection[str] = ()) -> list[Finding]:
    """All that is wrong within the ledger; ``only``: in these hubs, empty: in all that this cluster has rows of.

    It may be asked while others write: what is found is looked at again, and told if it is still so. Raises
    SQLAlchemyError.
    """
    found = await _look(ledger, only)
    return [*await _again(ledger, only, found)] if found else []


async def _look(ledger: Ledger, only: Collection[str]) -> list[Finding]:
    found: list[Finding] = []
    async for page in pages(ledger, lambda hub: not only or hub in only):
        found += [fault for kept in page for fault in lives.faults(kept)]
    return found + await _of_tables(ledger, only)


async def _again(ledger: Ledger, only: Collection[str], found: Sequence[Finding]) -> list[Finding]:
    """A second look at what was found: rows of one pod may have been read before and after a write."""
    rows = await by_uid(ledger, [f.what for f in found])
    second = [fault for _, kept in sorted(rows.items()) for fault in lives.faults(kept)] + await _of_tables(
        ledger, only
    )
    return in_both(found, second, lambda f: (f.key, f.name, f.found))


async def _of_tables(ledger: Ledger, only: Collection[str]) -> list[Finding]:
    async with ledger.reading() as connection:
        users, members, policies = [
            await _rows(connection, ledger.cluster, kind, only)
            for kind in (stretches.USERS, stretches.MEMBERSHIPS, stretches.GENERATIONS)
        ]
        found = [
            *stretches.faults(stretches.USERS, users),
            *stretches.faults(stretches.MEMBERSHIPS, members),
            *stretches.faults(stretches.GENERATIONS, policies),
            *stretches.policies_of_one_name(policies),
            *stretches.memberships_without_users(members, users),
            *await _overlapping(connection, ledger.cluster, only),
            *await _unknown_hubs(connection, ledger.cluster, only),
        ]
        # They are of no hub, so nobody who asks for one is told of them.
        return (
            found if only else [*found, *await _orphans(connection, pod_groups), *await _orphans(connection, segments)]
        )


async def _rows(
    connection: AsyncConnection, cluster: str, kind: stretches.Of, only: Collection[str]
) -> Sequence[Row[Any]]:
    t = kind.table
    query = select(t).where(t.c.cluster == cluster).order_by(*(t.c[name] for name in (*kind.one, kind.order)))
    return (await connection.execute(query.where(t.c.hub.in_(only)) if only else query)).all()


async def _overlapping(connection: AsyncConnection, cluster: str, only: Collection[str]) -> list[Finding]:
    """Pods of one name that lived at the same time. The database finds the names: it sorts better than we do."""
    ends = func.coalesce(pods.c.finished, literal(LARGEST))
    earlier = func.max(ends).over(
        partition_by=(pods.c.hub, pods.c.name), order_by=(pods.c.scheduled, pods.c.uid), rows=(None, -1)
    )
    ours = pods.c.cluster == cluster
    lived = select(pods.c.hub, pods.c.name, pods.c.scheduled, earlier.label("until")).where(ours)
    lived_ = (lived.where(pods.c.hub.in_(only)) if only else lived).subquery()
    query = select(lived_.c.hub, lived_.c.name).where(lived_.c.until > lived_.c.scheduled + _TOLERANCE).distinct()
    named = (await connection.execute(query)).all()
    found: list[Finding] = []
    for batch in batches(sorted({row.name for row in named})):
        found += _overlaps(await read(connection, ours & pods.c.name.in_(batch)), {(r.hub, r.name) for r in named})
    return found


def _overlaps(rows: Sequence[Kept], named: Collection[tuple[str, str]]) -> Iterator[Finding]:
    records = [kept.record for kept in rows if kept.record is not None]
    records = [record for record in records if (record.hub, record.name) in named]
    for _, alike in groupby(sorted(records, key=_by_name), lambda r: (r.hub, r.name)):
        pods_ = iter(alike)
        before = next(pods_)
        for pod in pods_:
            if overlap := _until(before) > pod.scheduled + _TOLERANCE:
                yield _overlap(before, pod)
            before = pod if overlap or _until(pod) >= _until(before) else before


def _by_name(pod: PodRecord) -> tuple[str, str, int, str]:
    return pod.hub, pod.name, pod.scheduled, pod.uid


def _until(pod: PodRecord) -> int:
    return LARGEST if pod.finished is None else pod.finished


def _overlap(one: PodRecord, then: PodRecord) -> Finding:
    """A cluster has one pod of a name, so the earlier was gone when the later was placed."""
    found = f"it ended {when(one.finished)}, and another of its name ({then.uid}) was placed {when(then.scheduled)}"
    guessed = one.end is None or one.end.bound is not None
    # Of one that was seen after the other was placed, nobody can tell what is wrong.
    mend = EndPod(one, gone_before(then.scheduled)) if guessed and one.last_seen <= then.scheduled else None
    return Finding(Kind.OVERLAPPING_LIVES, one.hub, one.uid, one.name, found, mend)


async def _unknown_hubs(connection: AsyncConnection, cluster: str, only: Collection[str]) -> list[Finding]:
    known = set((await connection.execute(select(hubs.c.hub).where(hubs.c.cluster == cluster))).scalars())
    found: list[Finding] = []
    for table in (*_OF_HUBS, decisions, adjustments):
        named = (await connection.execute(select(table.c.hub).where(table.c.cluster == cluster).distinct())).scalars()
        for hub in sorted(set(named) - known):
            if not only or hub in only:
                told = f"the table {table.name} has rows of it, and since when it is known is not told"
                found.append(Finding(Kind.UNKNOWN_HUB, hub, hub, table.name, told))
    return found


async def _orphans(connection: AsyncConnection, table: Table) -> list[Finding]:
    there = select(pods.c.uid).where(pods.c.uid == table.c.uid).exists()
    uids = (await connection.execute(select(table.c.uid).where(~there).distinct())).scalars()
    told = f"the table {table.name} has rows of a pod that is not there"
    return [Finding(Kind.ORPHAN, "", uid, table.name, told, DropOrphans(table, uid)) for uid in sorted(uids)]
