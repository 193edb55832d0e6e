"""What is older than anybody looks back is deleted, so that a ledger does not grow with the years.

Never inside a window of a policy that holds, nor inside a month that is not frozen. A running operator goes on: what
is deleted counts in none of its numbers, and each batch is a short transaction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Table, and_, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import Fixed
from hubquota.files.archive import archived, to_archive
from hubquota.ledger import rows
from hubquota.ledger.ledger import Ledger
from hubquota.ledger.policies import open_policies
from hubquota.ledger.rows import BATCH, batches
from hubquota.ledger.tables import decisions, hub_users, hubs, memberships, pods, policy_revisions
from hubquota.resources.policy import PolicySpec, to_policy

#: Gives the instant from which months are not frozen, at an instant (both microseconds since 1970).
Unfrozen = Callable[[int], int]
T = TypeVar("T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CannotPrune(Exception):
    """Something that still counts would be deleted; the message says what, and from when on one may prune."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each table were deleted, or would be."""

    pods: int = 0
    decisions: int = 0
    memberships: int = 0
    hub_users: int = 0
    policy_revisions: int = 0


def last_month(now: int) -> int:
    """The beginning of the last calendar month (UTC): as long as no report is frozen, this month and that one may
    still be told anew.
    """
    this = (_EPOCH + timedelta(microseconds=now)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = (this - timedelta(days=1)).replace(day=1)
    return int((last - _EPOCH).total_seconds()) * 1_000_000


async def limit(ledger: Ledger, hub: str, now: int, unfrozen: Unfrozen = last_month) -> tuple[int, str]:
    """The latest instant before which one may prune, and what begins there. Raises SQLAlchemyError."""
    async with ledger.reading() as connection:
        policies = await open_policies(connection, ledger.cluster, hub)
    limits = [(unfrozen(now), "a month that is not frozen")]
    for revision in policies:
        try:
            window = to_policy(revision.name, PolicySpec.model_validate(revision.spec)).window
        except ValueError:
            continue  # one that is not valid is not applied
        if window is not None and not (isinstance(window, Fixed) and window.end <= now):
            limits.append((window.opened(now), f"the window of policy {revision.name}"))
    return min(limits)


async def prune(
    ledger: Ledger,
    hub: str,
    before: int,
    now: int,
    archive: Path | None = None,
    *,
    unfrozen: Unfrozen = last_month,
    dry_run: bool = False,
) -> Pruned:
    """Delete what ended before ``before`` (microseconds, as ``now``); returns what was deleted.

    ``archive``: a file that must not be there; the pods are written to it, and it is on the disk, before any is
    deleted, and no other pod is. ``dry_run``: nothing is written or deleted. A pod that ended long ago and is still
    listed is kept until it is not.

    Raises CannotPrune, OSError or SQLAlchemyError. What was deleted until then is; it is all in the archive.
    """
    latest, what = await limit(ledger, hub, now, unfrozen)
    if before > latest:
        told = f"{rfc3339(before)} lies after {rfc3339(latest)}, where {what} begins: name an instant not after that"
        raise CannotPrune(f"hub {hub}: {told}")
    pruning = _Pruning(ledger, hub, before)
    if dry_run:
        return await pruning.counted()
    if archive is not None:
        await to_archive(archive, pruning.pods())
    return await pruning.done(archive)


@dataclass(frozen=True, slots=True)
class _Pruning:
    ledger: Ledger
    hub: str
    before: int

    async def pods(self) -> AsyncIterator[list[PodRecord]]:
        """The pods that are to be deleted, a few at a time, in the order in which they ended."""
        last = -1
        while (until := await self._boundary(last)) is not None:
            async with self.ledger.reading() as connection:
                query = select(pods).where(self._old_pods(), pods.c.finished > last, pods.c.finished <= until)
                batch = [pod async for pod in rows.stream(connection, query)]
            yield batch
            last = until

    async def counted(self) -> Pruned:
        """What there is to delete."""
        async with self.ledger.reading() as connection:
            found = {
                table.name: (await connection.execute(select(func.count()).select_from(table).where(old))).scalar_one()
                for table, old in ((pods, self._old_pods()), *self._others())
            }
        return Pruned(**found)

    async def done(self, archive: Path | None) -> Pruned:
        """Delete it."""
        if await self._boundary(-1) is not None:
            # First of all: what is told to be known is there, also if this ends in the middle.
            await self.ledger.writing(self._uncover)
        batches_ = self.pods() if archive is None else _each(archived(archive, BATCH))
        deleted = {"pods": sum([await self._gently(self._delete_pods, batch) async for batch in batches_])}
        for table, old in self._others():
            deleted[table.name] = await self._delete(table, old)
        return Pruned(**deleted)

    async def _boundary(self, last: int) -> int | None:
        """The end of the last pod of the next batch; None: there are no more. By the index alone."""
        ended = select(pods.c.finished).where(self._old_pods(), pods.c.finished > last).order_by(pods.c.finished)
        async with self.ledger.reading() as connection:
            ends = (await connection.execute(ended.limit(BATCH))).scalars().all()
        return ends[-1] if ends else None

    async def _uncover(self, connection: AsyncConnection) -> None:
        mine = and_(hubs.c.cluster == self.ledger.cluster, hubs.c.hub == self.hub, hubs.c.covered_since < self.before)
        await connection.execute(update(hubs).where(mine).values(covered_since=self.before))

    async def _delete_pods(self, connection: AsyncConnection, batch: Sequence[PodRecord]) -> int:
        """Delete those of them that still are as they were read."""
        now = await rows.load(connection, [pod.uid for pod in batch])
        same = [pod.uid for pod in batch if now.get(pod.uid) == pod]
        for some in batches(same):
            await connection.execute(delete(pods).where(pods.c.uid.in_(some)))
        return len(same)

    async def _delete(self, table: Table, old: ColumnElement[bool]) -> int:
        """Delete rows by their keys, a few at a time, until there are none."""
        key = tuple_(*table.primary_key)

        async def some(connection: AsyncConnection, _: None) -> int:
            query = select(*table.primary_key).where(old).limit(BATCH)
            keys = [tuple(row) for row in await connection.execute(query)]
            if keys:
                await connection.execute(delete(table).where(key.in_(keys)))
            return len(keys)

        total = 0
        while count := await self._gently(some, None):
            total += count
        return total

    async def _gently(self, work: Callable[[AsyncConnection, T], Awaitable[int]], what: T) -> int:
        """One transaction, and then a pause of the same length: half of the time is others'."""
        began = time.monotonic()
        count = await self.ledger.writing(lambda connection: work(connection, what))
        await asyncio.sleep(time.monotonic() - began)
        return count

    def _old_pods(self) -> ColumnElement[bool]:
        """One that was seen lately would be taken in again."""
        return and_(self._ours(pods), pods.c.finished < self.before, pods.c.last_seen < self.before)

    def _others(self) -> tuple[tuple[Table, ColumnElement[bool]], ...]:
        stretches = (memberships, hub_users, policy_revisions)
        ended = ((t, and_(self._ours(t), t.c.end < self.before)) for t in stretches)
        return (decisions, and_(self._ours(decisions), decisions.c.at < self.before)), *ended

    def _ours(self, table: Table) -> ColumnElement[bool]:
        return and_(table.c.cluster == self.ledger.cluster, table.c.hub == self.hub)


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
