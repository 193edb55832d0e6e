"""A user is forgotten: another name, drawn by lot, stands wherever theirs did. What was used stays, to the byte."""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Row, Table, Text, and_, bindparam, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.ledger.auditing.changes import FORGOTTEN, RENAMED, Change, note
from hubquota.ledger.ledger import Ledger
from hubquota.ledger.renaming import known
from hubquota.ledger.rows import batches
from hubquota.ledger.spelling import Spellings
from hubquota.ledger.tables import (
    adjustments,
    changes,
    decisions,
    hub_users,
    memberships,
    pod_groups,
    pods,
    policy_revisions,
)
from hubquota.ledger.wiping import zero

#: Columns of a user's pods in which the name may be a part; ``name`` and ``server`` are replaced as a whole.
_OF_PODS: Final = ("component", "component_name", "instance_type", "image", "hook_version", "decision")
#: Sentences that people or programs wrote, in which the name is replaced wherever it is a word, whoever's row it is.
_SENTENCES: Final[tuple[tuple[Table, tuple[str, ...]], ...]] = (
    (decisions, ("message", "profile")),
    (adjustments, ("reason", "by", "source", "voided_by")),
    (changes, ("by", "reason")),
)
#: Columns that name a hub or a cluster, and no user.
_NOBODY: Final = ("cluster", "hub")


class CannotForget(Exception):
    """The user cannot be forgotten now; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was changed: how many rows of each table; and where the name still stands, which is not ours to change."""

    changed: Mapping[str, int]
    left: tuple[str, ...]


async def forget(ledger: Ledger, hub: str, user: str, *, force: bool, at: int, by: str) -> Forgotten:
    """Put a pseudonym in the place of a user, in one transaction; which one is not told and not kept.

    ``force``: also while a pod of theirs runs. ``at``: now; ``by``: who asked for it. Raises CannotForget or
    SQLAlchemyError; nothing is changed then.
    """

    async def work(connection: AsyncConnection) -> Forgotten:
        await zero(connection)
        return await _Forgetting(connection, ledger.cluster, hub, user).done(at, by, force=force)

    return await ledger.writing(work)


class _Forgetting:
    def __init__(self, connection: AsyncConnection, cluster: str, hub: str, user: str) -> None:
        self._connection, self._cluster, self._hub, self._user = connection, cluster, hub, user
        self._pseudonym = f"forgotten-{secrets.token_hex(8)}"
        #: All names that the user ever had; and of these those that nobody else has now.
        self._former = self._names = {user}
        self._spellings = Spellings(self._names)
        #: What names of servers and pods have become.
        self._servers: dict[str, str] = {}
        self._pods_names: dict[str, str] = {}

    async def done(self, at: int, by: str, *, force: bool) -> Forgotten:
        if not await known(self._connection, self._cluster, self._hub, self._user):
            raise CannotForget(f"the ledger knows no user “{self._user}” of the hub {self._hub}")
        self._former = await self._all_names()
        others = [n for n in self._former - {self._user} if await known(self._connection, self._cluster, self._hub, n)]
        self._names = self._former - set(others)
        self._spellings = Spellings(self._names)
        mine = await self._pods()
        if not force and (running := [row.name for row in mine if row.finished is None]):
            names = ", ".join(running[:5])
            raise CannotForget(f"{len(running)} of their pods run ({names}): stop them first, or give --force")
        changed = {"pods": await self._forget_pods(mine)}
        changed |= {t.name: await self._rename(t) for t in (hub_users, memberships)}
        changed["decisions"] = await self._forget_decisions()
        changed["adjustments"] = await self._rename(adjustments)
        changed["policy_revisions"] = await self._forget_policies()
        await self._forget_changes({row.uid for row in mine})
        for table, columns in _SENTENCES:
            await self._forget_sentences(table, columns)
        by = self._replaced(by)
        change = Change(self._hub, at, by, FORGOTTEN, self._pseudonym, None, changed, "")
        await note(self._connection, self._cluster, change)
        return Forgotten(changed, tuple(await self._left()))

    async def _pods(self) -> Sequence[Row[Any]]:
        query = select(pods).where(self._of(pods), pods.c.user == self._user).order_by(pods.c.uid)
        return (await self._connection.execute(query.with_for_update())).all()

    async def _forget_pods(self, mine: Sequence[Row[Any]]) -> int:
        statement = update(pods).where(pods.c.uid == bindparam("which"))
        numbered = enumerate(sorted(mine, key=lambda row: (row.scheduled, row.uid)), 1)
        for batch in batches((self._pod(row, number) for number, row in numbered)):
            await self._connection.execute(statement, batch)
        return len(mine)

    def _pod(self, row: Row[Any], number: int) -> dict[str, Any]:
        told: dict[str, Any] = {name: self._replaced(row._mapping[name]) for name in _OF_PODS}
        name = self._pods_names[row.name] = f"{self._pseudonym}-{number}"
        told |= {"user": self._pseudonym, "name": name, "server": self._server(row.server)}
        return told | {"which": row.uid}

    def _server(self, name: str | None) -> str | None:
        """The default server has no name; all others get another."""
        return self._servers.setdefault(name, f"server-{len(self._servers) + 1}") if name else name

    def _replaced(self, text: str) -> str:
        return self._spellings.replaced(text, self._pseudonym)

    async def _rename(self, table: Table) -> int:
        mine = and_(self._of(table), table.c.user == self._user)
        return (await self._connection.execute(update(table).where(mine).values(user=self._pseudonym))).rowcount

    async def _forget_decisions(self) -> int:
        query = select(decisions.c.id, decisions.c.server).where(self._of(decisions), decisions.c.user == self._user)
        rows = (await self._connection.execute(query)).all()
        statement = update(decisions).where(decisions.c.id == bindparam("which"))
        told = ({"which": r.id, "user": self._pseudonym, "server": self._server(r.server)} for r in rows)
        for batch in batches(told):
            await self._connection.execute(statement, batch)
        return len(rows)

    async def _forget_policies(self) -> int:
        """In the scope the name is replaced as a whole, in the message where it is a word."""
        t = policy_revisions
        rows = (await self._connection.execute(select(t.c.uid, t.c.generation, t.c.spec).where(self._of(t)))).all()
        count = 0
        for uid, generation, spec in rows:
            if (now := self._spec(spec)) != spec:
                which = and_(t.c.uid == uid, t.c.generation == generation)
                await self._connection.execute(update(t).where(which).values(spec=now))
                count += 1
        return count

    def _spec(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        now, scope = dict(spec), spec.get("scope")
        if isinstance(scope, dict) and isinstance(users := scope.get("users"), list):
            now["scope"] = scope | {"users": [self._pseudonym if name in self._names else name for name in users]}
        if isinstance(message := spec.get("message"), str):
            now["message"] = self._replaced(message)
        return now

    async def _forget_changes(self, uids: Collection[str]) -> None:
        """What was changed of their pods, and of their name."""
        t = changes
        query = select(t.c.id, t.c.action, t.c.what, t.c.before, t.c.after, t.c.reason).where(self._of(t))
        rows = (await self._connection.execute(query)).all()
        for row in rows:
            own, names = row.what in uids, self._former if row.action == RENAMED else self._names
            now = {
                "what": self._pseudonym if row.what in names else row.what,
                "before": self._told(row.before, names, own=own),
                "after": self._told(row.after, names, own=own),
                "reason": self._quoted(row.reason) if own else row.reason,
            }
            if now != {name: row._mapping[name] for name in now}:
                await self._connection.execute(update(t).where(t.c.id == row.id).values(now))

    def _quoted(self, text: str) -> str:
        """A sentence about a pod of theirs, which quotes names of servers and pods."""
        for name, by in (self._servers | self._pods_names).items():
            text = text.replace(repr(name), repr(by))
        return text

    async def _all_names(self) -> set[str]:
        """The name, and all that became it by a rename."""
        t = changes
        query = select(t.c.what, t.c.after).where(self._of(t), t.c.action == RENAMED)
        renames = [(old, told["user"]) for old, told in await self._connection.execute(query)]
        names: set[str] = set()
        found = {self._user}
        while found - names:
            names |= found
            found = {old for old, new in renames if new in names}
        return names

    def _told(self, told: Any, names: Collection[str], *, own: bool) -> Any:  # noqa: ANN401 - any JSON
        """Columns of a pod or a user. ``own``: of a pod of theirs."""
        if not isinstance(told, dict):
            return told
        now: dict[str, Any] = {key: self._replaced(told[key]) for key in _OF_PODS if key in told}
        if told.get("user") in names:
            now["user"] = self._pseudonym
        if own:
            now |= {"name": self._pseudonym} if "name" in told else {}
            now |= {"server": self._server(told["server"])} if "server" in told else {}
        return told | now

    async def _forget_sentences(self, table: Table, columns: Sequence[str]) -> None:
        [identity] = table.primary_key
        query = select(identity, *(table.c[name] for name in columns))
        rows = await self._connection.execute(query.where(self._of(table), self._holds(table, columns)))
        for row in rows.all():
            was = {name: row._mapping[name] for name in columns}
            now = {name: text and self._replaced(text) for name, text in was.items()}
            if now != was:
                await self._connection.execute(update(table).where(identity == row[0]).values(now))

    async def _left(self) -> list[str]:
        """Columns where the name still is a word: of others, or of the hub."""
        found = []
        hubs_pods = select(pods.c.uid).where(self._of(pods))
        for table in (pods, pod_groups, memberships, hub_users, policy_revisions, decisions, adjustments, changes):
            ours = table.c.uid.in_(hubs_pods) if table is pod_groups else self._of(table)
            for column in table.columns:
                if isinstance(column.type, Text | JSON) and column.name not in _NOBODY:
                    query = select(cast(column, Text)).where(ours, self._holds(table, [column.name]))
                    texts = (await self._connection.execute(query)).scalars()
                    count = sum(1 for text in texts if self._spellings.stands_in([text, _unescaped(text)]))
                    found += [f"{table.name}.{column.name} ({count})"] if count else []
        return found

    def _holds(self, table: Table, columns: Iterable[str]) -> ColumnElement[bool]:
        """Whether any of the columns holds a spelling, as a word or within one."""
        # Also as JSON may be stored, and in capitals, as far as a database knows them.
        told = sorted({form for s in self._spellings.all for form in (s, json.dumps(s)[1:-1])})
        texts = [cast(table.c[name], Text) for name in columns]
        exact = [text.contains(form, autoescape=True) for text in texts for form in told]
        lower = [func.lower(text).contains(form.lower(), autoescape=True) for text in texts for form in told]
        return or_(*exact, *lower)

    def _of(self, table: Table) -> ColumnElement[bool]:
        return and_(table.c.cluster == self._cluster, table.c.hub == self._hub)


def _unescaped(text: str) -> str:
    """JSON with its characters as they are."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text
