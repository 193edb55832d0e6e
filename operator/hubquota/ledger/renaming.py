"""A renamed user's history moves to the new name: nothing of it is new, only whose it is (S11)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, Table, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.ledger.auditing.changes import RENAMED, Change, note
from hubquota.ledger.ledger import Ledger
from hubquota.ledger.policies import open_policies
from hubquota.ledger.tables import adjustments, decisions, hub_users, memberships, pods

#: Tables whose rows are a user's, in the order in which they are written.
OF_USERS: Final = (pods, hub_users, memberships, decisions, adjustments)


class CannotRename(Exception):
    """The user cannot be renamed so; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """What was moved: how many rows of each table; and the policies in force that still name the old name."""

    moved: Mapping[str, int]
    naming: tuple[str, ...]


async def rename(ledger: Ledger, hub: str, old: str, new: str, *, merge: bool, at: int, by: str) -> Renamed:
    """Move all of ``old`` to ``new``, in one transaction. ``merge``: also where ``new`` has a history of its own.

    ``at``: now; ``by``: who asked for it. Raises CannotRename or SQLAlchemyError; nothing is changed then.
    """

    async def work(connection: AsyncConnection) -> Renamed:
        moving = _Rename(connection, ledger.cluster, hub, old, new, at)
        moved = await moving.done(merge=merge)
        counts = {name: len(ids) for name, ids in moved.items()}
        told = {"user": new} | moved
        await note(connection, ledger.cluster, Change(hub, at, by, RENAMED, old, {"user": old}, told, ""))
        policies = await open_policies(connection, ledger.cluster, hub)
        return Renamed(counts, tuple(p.name for p in policies if old in _named(p.spec)))

    return await ledger.writing(work)


async def known(connection: AsyncConnection, cluster: str, hub: str, user: str) -> bool:
    """Whether the ledger has anything of a user."""
    for table in OF_USERS:
        query = select(table.c.user).where(_of(table, cluster, hub, user)).limit(1)
        if (await connection.execute(query)).first() is not None:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of something; ``end`` None: it goes on."""

    start: int
    end: int | None


def united(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time in stretches that do not touch each other."""
    made: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda s: s.start):
        last = made[-1] if made else None
        if last is None or (last.end is not None and last.end < stretch.start):
            made.append(stretch)
        elif last.end is not None and (stretch.end is None or stretch.end > last.end):
            made[-1] = replace(last, end=stretch.end)
    return made


@dataclass(frozen=True, slots=True)
class _Rename:
    connection: AsyncConnection
    cluster: str
    hub: str
    old: str
    new: str
    at: int

    async def done(self, *, merge: bool) -> dict[str, list[Any]]:
        """The ids of what was moved, by table."""
        if not await known(self.connection, self.cluster, self.hub, self.old):
            raise CannotRename(f"the ledger knows no user “{self.old}” of the hub {self.hub}")
        if not merge and await known(self.connection, self.cluster, self.hub, self.new):
            raise CannotRename(f"“{self.new}” has a history already: give --merge to have one of both")
        moved = {"pods": await self._moved(pods, "uid")}
        moved |= {t.name: await self._moved(t, "id") for t in (decisions, adjustments)}
        present = [row for row in await self._rows(hub_users, self.new) if row.end is None]
        moved["hub_users"] = await self._moved_users(still=not present)
        moved["memberships"] = await self._moved_memberships(still=not present)
        return moved

    async def _moved(self, table: Table, identity: str) -> list[str]:
        mine, column = _of(table, self.cluster, self.hub, self.old), table.c[identity]
        # In the order in which all who write several take them.
        query = select(column).where(mine).order_by(column).with_for_update()
        ids = list((await self.connection.execute(query)).scalars())
        await self.connection.execute(update(table).where(mine).values(user=self.new))
        return ids

    async def _moved_users(self, *, still: bool) -> list[Any]:
        """``still``: the hub is not known to have the new user, so the old one's presence is theirs."""
        old, new = await self._rows(hub_users, self.old), await self._rows(hub_users, self.new)
        stretches = united([*self._closed(old, still=still), *map(_stretch, new)])
        await self._replace(hub_users)
        told = max((row.groups_at for row in (old if still else new) if row.groups_at is not None), default=None)
        await self._insert(hub_users, [self._row(s) | {"groups_at": told} for s in stretches])
        return [{"start": row.start, "end": row.end} for row in old]

    async def _moved_memberships(self, *, still: bool) -> list[Any]:
        old, new = await self._rows(memberships, self.old), await self._rows(memberships, self.new)
        held: defaultdict[str, list[Stretch]] = defaultdict(list)
        for row, stretch in zip(old, self._closed(old, still=still), strict=True):
            held[row.group].append(stretch)
        for row in new:
            held[row.group].append(_stretch(row))
        await self._replace(memberships)
        made = [self._row(s) | {"group": group} for group, told in held.items() for s in united(told)]
        await self._insert(memberships, made)
        return [{"group": row.group, "start": row.start, "end": row.end} for row in old]

    async def _rows(self, table: Table, user: str) -> Sequence[Row[Any]]:
        query = select(table).where(_of(table, self.cluster, self.hub, user)).order_by(table.c.start)
        return (await self.connection.execute(query.with_for_update())).all()

    def _closed(self, rows: Sequence[Row[Any]], *, still: bool) -> list[Stretch]:
        """The old name's stretches; those that go on end now, where the new name's tell what is."""
        return [_stretch(r) if still or r.end is not None else Stretch(r.start, max(r.start, self.at)) for r in rows]

    async def _replace(self, table: Table) -> None:
        for user in (self.old, self.new):
            await self.connection.execute(delete(table).where(_of(table, self.cluster, self.hub, user)))

    async def _insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            await self.connection.execute(insert(table), rows)

    def _row(self, stretch: Stretch) -> dict[str, Any]:
        who = {"cluster": self.cluster, "hub": self.hub, "user": self.new}
        return who | {"start": stretch.start, "end": stretch.end}


def _stretch(row: Row[Any]) -> Stretch:
    return Stretch(row.start, row.end)


def _named(spec: Mapping[str, Any]) -> Sequence[str]:
    users: Sequence[str] = (spec.get("scope") or {}).get("users") or ()
    return users


def _of(table: Table, cluster: str, hub: str, user: str) -> Any:  # noqa: ANN401 - a condition
    return and_(table.c.cluster == cluster, table.c.hub == hub, table.c.user == user)
