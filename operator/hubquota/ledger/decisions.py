"""What hooks decided: each decision once, and how many each policy made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import DecidingQuota, DecisionKind, DecisionRecord
from hubquota.ledger.rows import batches
from hubquota.ledger.tables import decision_counts, decisions

#: Uid of a policy, and what it did.
Counted = tuple[str, DecisionKind]


async def decide(connection: AsyncConnection, cluster: str, told: Sequence[DecisionRecord]) -> list[DecisionRecord]:
    """Note decisions. Returns those whose id was not known: Events are told more than once."""
    by_id = {decision.id: decision for decision in reversed(told)}
    news: list[DecisionRecord] = []
    for batch in batches(sorted(by_id)):  # in one order for all, so that two writers do not wait for each other
        query = select(decisions.c.id).where(decisions.c.id.in_(batch))
        known = set((await connection.execute(query)).scalars())
        if fresh := [by_id[i] for i in batch if i not in known]:
            await connection.execute(insert(decisions), [asdict(d) | {"cluster": cluster} for d in fresh])
            await _count(connection, cluster, fresh)
            news += fresh
    return news


async def decided(
    connection: AsyncConnection, cluster: str, hub: str, user: str, start: int, end: int
) -> list[DecisionRecord]:
    """What was decided of a user's launches from ``start`` to just before ``end``, in its order."""
    t = decisions
    mine = and_(t.c.cluster == cluster, t.c.hub == hub, t.c.user == user, t.c.at >= start, t.c.at < end)
    return [_record(row) for row in await connection.execute(select(t).where(mine).order_by(t.c.at, t.c.id))]


async def counted(connection: AsyncConnection, cluster: str, hub: str) -> dict[Counted, int]:
    """How many decisions each policy of a hub made, of each kind."""
    t = decision_counts
    query = select(t.c.policy, t.c.kind, t.c.count).where(t.c.cluster == cluster, t.c.hub == hub)
    return {(policy, kind): count for policy, kind, count in await connection.execute(query)}


def by_policy(told: Sequence[DecisionRecord]) -> "Counter[Counted]":
    """How many of these decisions each policy made, of each kind; a policy counts once in each."""
    return Counter((uid, d.kind) for d in told for uid in {q.uid for q in d.quotas if q.uid})


async def _count(connection: AsyncConnection, cluster: str, fresh: Sequence[DecisionRecord]) -> None:
    t = decision_counts
    for hub in sorted({d.hub for d in fresh}):
        for (policy, kind), count in sorted(by_policy([d for d in fresh if d.hub == hub]).items()):
            key = {"cluster": cluster, "hub": hub, "policy": policy, "kind": kind}
            row = and_(*(t.c[name] == value for name, value in key.items()))
            more = await connection.execute(update(t).where(row).values(count=t.c.count + count))
            if not more.rowcount:
                await connection.execute(insert(t).values(**key, count=count))


def _record(row: Row[Any]) -> DecisionRecord:
    fields = {name: value for name, value in row._mapping.items() if name != "cluster"}
    return DecisionRecord(**fields | {"quotas": tuple(map(_quota, row.quotas))})


def _quota(told: dict[str, Any] | str) -> DecidingQuota:
    """Before 0005 they were names."""
    return DecidingQuota(told) if isinstance(told, str) else DecidingQuota(**told)
