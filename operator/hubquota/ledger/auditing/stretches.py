"""Whether the stretches of users, memberships and policies follow each other. Pure, but for what the mends do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import Row, Table

from hubquota.ledger.auditing.findings import Finding, Kind, when
from hubquota.ledger.auditing.mending import CloseStretch
from hubquota.ledger.tables import hub_users, memberships, policy_revisions


@dataclass(frozen=True, slots=True)
class Of:
    """What a table's stretches are of: ``one`` are the columns that tell whose, ``what`` and ``name`` are shown."""

    table: Table
    one: tuple[str, ...]
    what: str
    name: str
    word: str
    order: str = "start"


USERS = Of(hub_users, ("hub", "user"), "user", "user", "the user's time in the hub")
MEMBERSHIPS = Of(memberships, ("hub", "user", "group"), "user", "group", "the membership")
GENERATIONS = Of(policy_revisions, ("hub", "uid"), "uid", "name", "the generation", "generation")


def faults(kind: Of, rows: Sequence[Row[Any]]) -> Iterator[Finding]:
    """What is wrong with the stretches of all of a kind; ``rows`` in their order, whose by whose."""
    for _, told in groupby(rows, lambda row: tuple(row._mapping[name] for name in kind.one)):
        mine = list(told)
        yield from (_backwards(kind, row) for row in mine if row.end is not None and row.end < row.start)
        yield from (_overlap(kind, one, then) for one, then in pairwise(mine) if _overlaps(one, then))


def policies_of_one_name(rows: Sequence[Row[Any]]) -> Iterator[Finding]:
    """Policies of one name at once: the earlier is gone, for a cluster has one. ``rows``: all generations."""
    last = {row.uid: row for row in rows}  # each policy's last generation
    first = {row.uid: row for row in reversed(rows)}
    named = sorted(last.values(), key=lambda row: (row.hub, row.name, first[row.uid].start))
    for one, then in pairwise(named):
        if (one.hub, one.name) == (then.hub, then.name) and _overlaps(one, first[then.uid]):
            yield _overlap(GENERATIONS, one, first[then.uid])


def _overlaps(one: Row[Any], then: Row[Any]) -> bool:
    return one.end is None or one.end > then.start


def _backwards(kind: Of, row: Row[Any]) -> Finding:
    found = f"{kind.word} runs backwards, from {when(row.start)} to {when(row.end)}"
    return Finding(Kind.STRETCHES, row.hub, row._mapping[kind.what], row._mapping[kind.name], found)


def _overlap(kind: Of, one: Row[Any], then: Row[Any]) -> Finding:
    found = f"{kind.word} from {when(one.start)} ends {when(one.end)}, and the next begins {when(then.start)}"
    mend = close(kind, one, then.start) if one.start <= then.start else None
    return Finding(Kind.STRETCHES, one.hub, one._mapping[kind.what], one._mapping[kind.name], found, mend)


def close(kind: Of, row: Row[Any], end: int) -> CloseStretch:
    """That this stretch ends at ``end``."""
    key = tuple((c.name, row._mapping[c.name]) for c in kind.table.primary_key)
    return CloseStretch(kind.table, key, row.end, end)


def memberships_without_users(members: Sequence[Row[Any]], users: Sequence[Row[Any]]) -> Iterator[Finding]:
    """Memberships of users whom the hub was never seen to have, or that go on though the user is gone."""
    last = {(row.hub, row.user): row for row in users}
    for row in members:
        user = last.get((row.hub, row.user))
        if user is None:
            found = f"the user is in the group {row.group}, and the hub was never seen to have this user"
            yield Finding(Kind.ORPHAN, row.hub, row.user, row.group, found)
        elif row.end is None and user.end is not None:
            found = f"the user is in the group {row.group}, and gone since {when(user.end)}"
            mend = close(MEMBERSHIPS, row, user.end) if row.start <= user.end else None
            yield Finding(Kind.STRETCHES, row.hub, row.user, row.group, found, mend)
