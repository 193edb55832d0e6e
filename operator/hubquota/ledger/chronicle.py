"""What cannot be learnt later: who was in which group, what the policies said, who used the hub.

Each function writes over the connection it is given and changes nothing where it is told what is known already.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from sqlalchemy import ColumnElement, Table, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import Membership, PolicyRevision
from hubquota.ledger.rows import batches
from hubquota.ledger.tables import hub_users, hubs, memberships, policy_revisions


async def cover(connection: AsyncConnection, cluster: str, hub: str, now: int) -> int:
    """The instant from which the ledger knows this hub: ``now`` where it is new."""
    known = select(hubs.c.covered_since).where(hubs.c.cluster == cluster, hubs.c.hub == hub).with_for_update()
    since: int | None = (await connection.execute(known)).scalar()
    if since is not None:
        return since
    await connection.execute(insert(hubs).values(cluster=cluster, hub=hub, covered_since=now))
    return now


async def see_user(connection: AsyncConnection, cluster: str, hub: str, user: str, at: int) -> int | None:
    """Note that the hub has this user; the instant of the newest sight of the user's groups, None: there was none."""
    query = select(hub_users).where(_of(hub_users, cluster, hub, user)).order_by(hub_users.c.start).with_for_update()
    rows = (await connection.execute(query)).all()
    if not rows or (rows[-1].end is not None and rows[-1].end < at):
        await connection.execute(insert(hub_users).values(cluster=cluster, hub=hub, user=user, start=at))
    return max((row.groups_at for row in rows if row.groups_at is not None), default=None)


async def lose_user(connection: AsyncConnection, cluster: str, hub: str, user: str, at: int) -> None:
    """Note that the hub no longer has this user, who is then in no group either. An older sight changes nothing."""
    last = and_(_of(hub_users, cluster, hub, user), hub_users.c.end.is_(None), hub_users.c.start <= at)
    older = or_(hub_users.c.groups_at.is_(None), hub_users.c.groups_at <= at)
    # Gone is also a sight of the user's groups: an older one that comes late does not bring any back.
    lost = await connection.execute(update(hub_users).where(last, older).values(end=at, groups_at=at))
    if lost.rowcount:
        left = and_(_of(memberships, cluster, hub, user), memberships.c.end.is_(None))
        await connection.execute(update(memberships).where(left).values(end=at))


async def see_groups(connection: AsyncConnection, cluster: str, seen: Membership) -> bool:
    """Note a user's groups. False, and nothing changes, where a newer sight of them is known, or this one."""
    newest = await see_user(connection, cluster, seen.hub, seen.user, seen.at)
    if newest is not None and newest >= seen.at:
        return False
    whose = _of(memberships, cluster, seen.hub, seen.user)
    query = select(memberships.c.group).where(whose, memberships.c.end.is_(None))
    known = set((await connection.execute(query)).scalars())
    left = and_(whose, memberships.c.end.is_(None), memberships.c.group.in_(known - seen.groups))
    await connection.execute(update(memberships).where(left).values(end=seen.at))
    who = {"cluster": cluster, "hub": seen.hub, "user": seen.user}
    if joined := [who | {"group": group, "start": seen.at} for group in sorted(seen.groups - known)]:
        await connection.execute(insert(memberships), joined)
    last = and_(_of(hub_users, cluster, seen.hub, seen.user), hub_users.c.end.is_(None))
    await connection.execute(update(hub_users).where(last).values(groups_at=seen.at))
    return True


async def see_all_groups(connection: AsyncConnection, cluster: str, seen: Iterable[Membership]) -> None:
    """Note the groups of several users, the older sights of each before the newer."""
    for membership in sorted(seen, key=lambda m: (m.hub, m.user, m.at)):
        await see_groups(connection, cluster, membership)


async def groups_at(connection: AsyncConnection, cluster: str, hub: str, at: int) -> dict[str, frozenset[str]]:
    """Of all users who were in any group at an instant, their groups."""
    t = memberships
    held = and_(t.c.cluster == cluster, t.c.hub == hub, t.c.start <= at, or_(t.c.end.is_(None), t.c.end > at))
    found: defaultdict[str, set[str]] = defaultdict(set)
    for user, group in await connection.execute(select(t.c.user, t.c.group).where(held)):
        found[user].add(group)
    return {user: frozenset(groups) for user, groups in found.items()}


async def groups_of(
    connection: AsyncConnection, cluster: str, hub: str, users: Sequence[str]
) -> dict[str, frozenset[str]]:
    """The groups of these users; users who were never noted, or whose groups were not, are left out."""
    found: dict[str, frozenset[str]] = {}
    for batch in batches(users):
        mine = and_(hub_users.c.cluster == cluster, hub_users.c.hub == hub, hub_users.c.user.in_(batch))
        noted = select(hub_users.c.user).where(mine, hub_users.c.end.is_(None), hub_users.c.groups_at.is_not(None))
        found |= dict.fromkeys((await connection.execute(noted)).scalars(), frozenset())
        t = memberships
        held = and_(t.c.cluster == cluster, t.c.hub == hub, t.c.user.in_(batch), t.c.end.is_(None))
        for user, group in await connection.execute(select(t.c.user, t.c.group).where(held)):
            if user in found:
                found[user] |= {group}
    return found


async def see_policy(connection: AsyncConnection, cluster: str, seen: PolicyRevision) -> None:
    """Note one generation of a policy; it ends the one before it."""
    known = await revisions(connection, policy_revisions.c.uid == seen.uid)
    await _write_policy(connection, cluster, known, succession(known, seen))


async def lose_policy(connection: AsyncConnection, cluster: str, uid: str, at: int) -> None:
    """Note that a policy is gone. Nothing happens where it is not known, or known to be gone."""
    known = await revisions(connection, policy_revisions.c.uid == uid)
    if known and known[-1].end is None:
        await _write_policy(connection, cluster, known, [*known[:-1], replace(known[-1], end=max(at, known[-1].start))])


async def revisions(connection: AsyncConnection, which: ColumnElement[bool]) -> list[PolicyRevision]:
    """Generations of policies, in order."""
    t = policy_revisions
    query = select(t).where(which).order_by(t.c.hub, t.c.name, t.c.uid, t.c.generation)
    return [
        PolicyRevision(row.uid, row.hub, row.name, row.generation, row.spec, row.start, row.end)
        for row in await connection.execute(query)
    ]


def succession(known: Iterable[PolicyRevision], seen: PolicyRevision) -> list[PolicyRevision]:
    """The generations of one policy with another sight of one: each holds until the next, the last until it is gone."""
    by_generation = {r.generation: r for r in known}
    last = by_generation[max(by_generation)] if by_generation else seen
    gone = last.end if seen.end is None else seen.end
    same = by_generation.get(seen.generation, seen)
    by_generation[seen.generation] = replace(same, start=min(same.start, seen.start))
    ordered: list[PolicyRevision] = []
    until = None if gone is not None and gone < seen.start and seen.generation > last.generation else gone
    for generation in sorted(by_generation, reverse=True):
        revision = by_generation[generation]
        start = revision.start if until is None else min(revision.start, until)
        ordered.insert(0, replace(revision, start=start, end=until))
        until = start
    return ordered


async def _write_policy(
    connection: AsyncConnection, cluster: str, was: list[PolicyRevision], now: list[PolicyRevision]
) -> None:
    for revision in now:
        if revision not in was:
            row = asdict(revision) | {"cluster": cluster}
            t = policy_revisions
            await connection.execute(delete(t).where(t.c.uid == revision.uid, t.c.generation == revision.generation))
            await connection.execute(insert(t).values(row))


def _of(table: Table, cluster: str, hub: str, user: str) -> ColumnElement[bool]:
    return and_(table.c.cluster == cluster, table.c.hub == hub, table.c.user == user)
