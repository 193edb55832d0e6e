"""Pods' records as rows and back."""

import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.ledger.tables import pod_groups, pods, segments

logger = logging.getLogger(__name__)

#: Pods read or written at once: well below the number of parameters that a statement may have.
BATCH: Final = 500
#: Columns that stand in the record under the same name.
_ALIKE: Final = tuple(
    c.name for c in pods.columns if c.name not in ("finished", "how_ended", "estimated", "bound", "digest")
)
#: Characters of a digest: PostgreSQL takes no more than some 2,700 bytes in a row of an index.
_LONGEST_DIGEST: Final = 1000
T = TypeVar("T")
#: Is told of a row that cannot be read: hub, uid, and what is wrong with it.
Aside = Callable[[str, str, str], None]


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, at most BATCH at a time."""
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def tell(hub: str, uid: str, fault: str) -> None:
    """Say that a pod's row cannot be read. Its neighbours go on without it."""
    logger.error("hub=%s pod=%s its row in the ledger cannot be read: %s: see hubquota ledger verify", hub, uid, fault)


async def load(connection: AsyncConnection, uids: Collection[str], aside: Aside = tell) -> dict[str, PodRecord]:
    """The records of these pods, as far as the ledger has them, by uid; their rows stay as read until the commit."""
    return {uid: record for uid, record in (await load_all(connection, uids, aside)).items() if record is not None}


async def load_all(
    connection: AsyncConnection, uids: Collection[str], aside: Aside = tell
) -> dict[str, PodRecord | None]:
    """The same, and None of those whose row is there but cannot be read."""
    found: dict[str, PodRecord | None] = {}
    for batch in batches(sorted(uids)):
        # One order for all, so that two writers wait for each other and never for ever.
        query = select(pods).where(pods.c.uid.in_(batch)).order_by(pods.c.uid).with_for_update()
        rows = (await connection.execute(query)).all()
        found |= dict.fromkeys(row.uid for row in rows)
        found |= {record.uid: record for record in await _records(connection, rows, aside)}
    return found


async def stream(connection: AsyncConnection, query: Select[Any], aside: Aside = tell) -> AsyncIterator[PodRecord]:
    """The records of a query for whole rows of ``pods``, read as they are asked for; without those set ``aside``."""
    async with connection.stream(query) as rows:
        async for batch in rows.partitions(BATCH):
            for record in await _records(connection, batch, aside):
                yield record


async def add(connection: AsyncConnection, records: Sequence[PodRecord]) -> None:
    """Write pods that the ledger does not have."""
    await _insert(connection, pods, [_row(r) for r in records])
    await _insert(connection, pod_groups, _group_rows(records))
    await _insert(connection, segments, _segment_rows(records))


async def change(connection: AsyncConnection, changes: Sequence[tuple[PodRecord, PodRecord]]) -> None:
    """Write pods that the ledger has, each as it was and as it is now. What is the same is not written."""
    statement = update(pods).where(pods.c.uid == bindparam("which"))
    for batch in batches(changes):
        await connection.execute(statement, [_row(now) | {"which": now.uid} for _, now in batch])
        regrouped = [now for was, now in batch if was.groups != now.groups]
        await _delete(connection, pod_groups, regrouped)
        await _insert(connection, pod_groups, _group_rows(regrouped))
        resized = [now for was, now in batch if was.segments != now.segments]
        await _delete(connection, segments, resized)
        await _insert(connection, segments, _segment_rows(resized))


async def touch(connection: AsyncConnection, uids: Collection[str], at: int) -> None:
    """Move ``last_seen`` of open pods forward to ``at``."""
    for batch in batches(sorted(uids)):
        live = (pods.c.uid.in_(batch), pods.c.finished.is_(None), pods.c.last_seen < at)
        await connection.execute(update(pods).where(*live).values(last_seen=at))


async def _insert(connection: AsyncConnection, table: Any, rows: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401
    for batch in batches(rows):
        await connection.execute(insert(table), batch)


async def _delete(connection: AsyncConnection, table: Any, records: Sequence[PodRecord]) -> None:  # noqa: ANN401
    if records:
        await connection.execute(delete(table).where(table.c.uid.in_([r.uid for r in records])))


def _row(record: PodRecord) -> dict[str, Any]:
    end = record.end
    return {name: getattr(record, name) for name in _ALIKE} | {
        "finished": end and end.at,
        "how_ended": end and end.how,
        "estimated": end is not None and end.bound is not None,
        "bound": end and end.bound,
        "digest": digest(record),
    }


def undigested(digest: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """What a digest tells: what the pod held, in base units by resource, and the groups whose pools it charged.

    Raises ValueError, TypeError or AttributeError where it is none.
    """
    held, groups = json.loads(digest)
    if not all(isinstance(amount, int) for amount in held.values()):
        raise ValueError("it tells amounts that are no whole numbers")
    return held, tuple(groups)


def digest(record: PodRecord) -> str | None:
    """What a start reads of the pod instead of its segments; None: it needs the segments."""
    whole = all((s.start, s.end) == (record.scheduled, record.finished) for s in record.segments)
    if record.finished is None or not whole:
        return None
    held = {s.resource: s.request for s in record.segments}
    told = json.dumps([held, record.charged_groups], separators=(",", ":"), sort_keys=True)
    return told if len(told) <= _LONGEST_DIGEST else None


def _group_rows(records: Iterable[PodRecord]) -> list[dict[str, Any]]:
    return [{"uid": r.uid, "group": group} for r in records for group in r.groups]


def _segment_rows(records: Iterable[PodRecord]) -> list[dict[str, Any]]:
    return [
        {"uid": r.uid, "resource": s.resource, "request": s.request, "limit": s.limit, "start": s.start, "end": s.end}
        for r in records
        for s in r.segments
    ]


async def _records(connection: AsyncConnection, rows: Sequence[Row[Any]], aside: Aside) -> list[PodRecord]:
    uids = [row.uid for row in rows]
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for uid, group in await connection.execute(select(pod_groups).where(pod_groups.c.uid.in_(uids))):
        groups[uid].append(group)
    held: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in await connection.execute(select(segments).where(segments.c.uid.in_(uids))):
        held[row.uid].append(row)
    found = []
    for row in rows:
        try:
            found.append(record_of(row, groups.get(row.uid, ()), held.get(row.uid, ())))
        except ValueError as fault:
            aside(row.hub, row.uid, str(fault))
    return found


def record_of(row: Row[Any], groups: Sequence[str], held: Sequence[Row[Any]]) -> PodRecord:
    """The record of a row of ``pods`` and its parts. Raises ValueError where they cannot be one."""
    end = None if row.finished is None else PodEnd(row.finished, HowEnded(row.how_ended), row.bound)
    columns = row._mapping
    fields = {name: columns[name] for name in _ALIKE}
    stretches = tuple(SegmentRecord(s.resource, s.request, s.limit, s.start, s.end) for s in held)
    return PodRecord(**fields, groups=tuple(groups), segments=stretches, end=end)
