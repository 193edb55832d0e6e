"""How findings are mended: each only where the ledger still says what the audit read.

Nothing that was seen is changed in favour of a guess: an end that was seen stays, and one that is made up here is
estimated and bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import PodRecord, PolicyRevision
from hubquota.ledger import chronicle, rows
from hubquota.ledger.auditing.changes import columns, differing
from hubquota.ledger.auditing.findings import Mended, when
from hubquota.ledger.auditing.reading import Kept, read
from hubquota.ledger.ledger import take_in
from hubquota.ledger.merging import merged, taken_for_gone
from hubquota.ledger.tables import pods, policy_revisions


@dataclass(frozen=True, slots=True)
class TakeIn:
    """Take in what the cluster told of a pod, as the operator would: nothing that is known better is undone."""

    seen: PodRecord

    @property
    def says(self) -> str:
        """What it does."""
        return "take it in"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: the ledger knows it by now."""
        before = (await rows.load(connection, [self.seen.uid])).get(self.seen.uid)
        [after] = await take_in(connection, [self.seen])
        if before is None:
            return Mended(None, columns(after))
        if replace(before, last_seen=after.last_seen) == after:
            return None
        return Mended(*differing(columns(before), columns(after)))


@dataclass(frozen=True, slots=True)
class EndPod:
    """End a pod whose end nobody saw, unless anything was heard of it since it was read. It was gone by ``gone_by``."""

    known: PodRecord
    gone_by: int

    @property
    def says(self) -> str:
        """What it does."""
        return f"end it {when(self._ended.finished)}, estimated"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: the pod was heard of."""
        now = (await rows.load(connection, [self.known.uid])).get(self.known.uid)
        if now != self.known:
            return None
        after = merged(replace(now, end=None), self._ended)
        await rows.change(connection, [(now, after)])
        return Mended(*differing(columns(now), columns(after)))

    @property
    def _ended(self) -> PodRecord:
        return taken_for_gone(replace(self.known, end=None), self.gone_by)


@dataclass(frozen=True, slots=True)
class Reform:
    """Write a pod's row and stretches anew from what they say was seen: each stretch lasts until the next, the last
    until the pod's end, and digest and flags follow from these.
    """

    known: PodRecord

    @property
    def says(self) -> str:
        """What it does."""
        return "write it anew from what was seen"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: the pod is another by now, or right already."""
        before = await _locked(connection, self.known.uid)
        if before is None or before.record is None:
            return None
        now = before.record
        if replace(now, last_seen=self.known.last_seen) != self.known:
            return None
        after = merged(now, now)
        await rows.change(connection, [(now, after)])
        told = differing(_raw(before), _raw((await read(connection, pods.c.uid == now.uid))[0]))
        return Mended(*told) if told[1] else None


@dataclass(frozen=True, slots=True)
class CloseStretch:
    """End a stretch of a user, a membership or a policy where the next one begins, or where it is known to be over.

    ``key``: values of the table's primary key; ``was``: the end that was read.
    """

    table: Table
    key: tuple[tuple[str, Any], ...]
    was: int | None
    end: int

    @property
    def says(self) -> str:
        """What it does."""
        return f"end the earlier stretch {when(self.end)}"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: the stretch is another by now."""
        same = self.table.c.end.is_(None) if self.was is None else self.table.c.end == self.was
        changed = await connection.execute(update(self.table).where(self._which, same).values(end=self.end))
        if not changed.rowcount:
            return None
        where = dict(self.key)
        return Mended(where | {"end": self.was}, where | {"end": self.end})

    @property
    def _which(self) -> ColumnElement[bool]:
        return and_(*(self.table.c[name] == value for name, value in self.key))


@dataclass(frozen=True, slots=True)
class TakePolicy:
    """Note a generation of a policy that the cluster has, from now on: nobody saw since when it holds."""

    cluster: str
    seen: PolicyRevision

    @property
    def says(self) -> str:
        """What it does."""
        return f"note it from {when(self.seen.start)} on"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: it is known by now."""
        known = await chronicle.revisions(connection, policy_revisions.c.uid == self.seen.uid)
        if any(r.generation == self.seen.generation for r in known):
            return None
        await chronicle.see_policy(connection, self.cluster, self.seen)
        return Mended(None, {"generation": self.seen.generation, "start": self.seen.start})


@dataclass(frozen=True, slots=True)
class DropOrphans:
    """Delete rows of a pod that is not there; the record keeps what they said."""

    table: Table
    uid: str

    @property
    def says(self) -> str:
        """What it does."""
        return "delete them"

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it. None: the pod is there, or they are gone."""
        if (await connection.execute(select(pods.c.uid).where(pods.c.uid == self.uid))).first() is not None:
            return None
        mine = self.table.c.uid == self.uid
        held = [dict(row._mapping) for row in await connection.execute(select(self.table).where(mine))]
        await connection.execute(delete(self.table).where(mine))
        return Mended(held, None) if held else None


async def _locked(connection: AsyncConnection, uid: str) -> Kept | None:
    """A pod's row, which nobody else changes until the commit."""
    await connection.execute(select(pods.c.uid).where(pods.c.uid == uid).with_for_update())
    return next(iter(await read(connection, pods.c.uid == uid)), None)


def _raw(kept: Kept) -> Mapping[str, Any]:
    told = {} if kept.record is None else columns(kept.record)
    return told | {name: kept.row._mapping[name] for name in ("estimated", "bound", "how_ended", "digest")}
