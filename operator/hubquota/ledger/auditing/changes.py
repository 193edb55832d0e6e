"""The record of what admins changed in a ledger: append-only."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import PodRecord
from hubquota.ledger.tables import changes

#: Actions that are about users.
RENAMED: Final = "rename"
FORGOTTEN: Final = "forget"


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``what``: uid of a pod or policy, or a user's name; ``by``: who ran the command.

    ``before`` and ``after``: the columns that changed; None: it was not there, it is gone.
    """

    hub: str
    at: int
    by: str
    action: str
    what: str
    before: Mapping[str, Any] | list[Any] | None
    after: Mapping[str, Any] | None
    reason: str


async def note(connection: AsyncConnection, cluster: str, change: Change) -> None:
    """Keep the record of a change, in the transaction of that change."""
    await connection.execute(insert(changes).values(asdict(change) | {"id": uuid.uuid4().hex, "cluster": cluster}))


def columns(pod: PodRecord) -> dict[str, Any]:
    """A pod's record as JSON: times in microseconds since 1970, amounts in base units."""
    told = asdict(pod)
    end = told.pop("end") or {"at": None, "how": None, "bound": None}
    return told | {"finished": end["at"], "how_ended": end["how"], "bound": end["bound"]}


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of both, the columns that differ."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


@dataclass(frozen=True, slots=True)
class Aliases:
    """Under which names the ledger keeps users whom a cluster's pods may still name otherwise."""

    renamed: frozenset[tuple[str, str]]
    forgotten: frozenset[str]

    def same(self, told: str | None, kept: str | None) -> bool:
        """Whether a user whom a pod tells of is the one whom the ledger has, as far as anybody may know."""
        return kept in self.forgotten or kept in self._later({told})

    def _later(self, names: set[str | None]) -> set[str | None]:
        """These names and all that they became."""
        more = names | {new for old, new in self.renamed if old in names}
        return names if more == names else self._later(more)


async def aliases(connection: AsyncConnection, cluster: str, hub: str) -> Aliases:
    """What was renamed and forgotten in a hub."""
    t = changes
    of_users = t.c.action.in_((RENAMED, FORGOTTEN))
    query = select(t.c.action, t.c.what, t.c.after).where(t.c.cluster == cluster, t.c.hub == hub, of_users)
    told = (await connection.execute(query)).all()
    return Aliases(
        frozenset((row.what, row.after["user"]) for row in told if row.action == RENAMED),
        frozenset(row.what for row in told if row.action == FORGOTTEN),
    )
