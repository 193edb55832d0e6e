"""The ledger: who held what, from when to when. Everything that reads or writes it goes through here."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import reduce
from typing import Any, Final, NamedTuple, Self, TypeVar, cast

from sqlalchemy import Select, or_, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as Late
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hubquota.domain.history import Backfill, DecisionRecord, Membership, PodRecord, PolicyRevision
from hubquota.ledger import backfills, chronicle, decisions, fencing, rows
from hubquota.ledger.engine import connect
from hubquota.ledger.faults import explained
from hubquota.ledger.merging import gone_by, merged, taken_for_gone
from hubquota.ledger.migrations import upgrade
from hubquota.ledger.tables import hub_users, hubs, pods, policy_revisions
from hubquota.ledger.wiping import wipe

T = TypeVar("T")
#: A pod that is over: its user, when it was placed and ended, and what ``rows.undigested`` reads.
Digest = tuple[str | None, int, int, str]
#: Of them, so many at a time: enough to be quick, few enough that the loop is held up for milliseconds.
_DIGESTS: Final = 5_000
#: Seconds that a write waits for its turn where the database is another machine's.
_TURN: Final = 20
#: Of PostgreSQL: another writer was first (a key is taken, a deadlock was undone, a serialisation failed).
_OVERTAKEN: Final = ("23505", "40P01", "40001")
#: So often is a write begun anew that was overtaken: each time another has got on.
_ATTEMPTS: Final = 20


class Filled(NamedTuple):
    """How many pods that Prometheus had the ledger did not know, knows better now, and knew as well before."""

    new: int
    changed: int
    same: int


class Ledger:
    """One cluster's part of a ledger. Each call is one transaction; a write that is repeated changes nothing.

    Every method raises sqlalchemy.exc.SQLAlchemyError where the database fails; nothing of that call is written then.
    Those that write raise Superseded where this ledger had taken over a hub, and another has since.
    """

    def __init__(self, engine: AsyncEngine, cluster: str) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writes=True)
        self._cluster = cluster
        self._turn = asyncio.Lock()
        self._unreadable: defaultdict[str, set[str]] = defaultdict(set)
        #: The numbers by which this ledger's writes are let through; none for commands.
        self._fences: dict[str, int] = {}

    @classmethod
    async def open(cls, url: str, cluster: str = "default") -> Self:
        """Connect, and bring the schema up to date. ``url``: an SQLAlchemy URL such as ``sqlite:///hubquota.db``.

        Raises LedgerError, whose one line says what to check; SchemaError where the schema is newer than this version.
        """
        engine = connect(url)
        try:
            await upgrade(engine)
        except SQLAlchemyError as fault:
            await engine.dispose()
            raise explained(fault) from None
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine, cluster)

    async def close(self) -> None:
        """Let go of all connections. Repeatable."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def take_over(self, hubs: Collection[str], holder: str, at: int) -> None:
        """Be the one operator that writes these hubs' part: from now on all others' writes raise Superseded.

        So do this one's, once another has taken over. ``holder``: who that is, for people.
        """
        scopes = [f"{self._cluster}/{hub}" for hub in hubs]
        self._fences = {}
        self._fences = await self._write(lambda connection: fencing.take_over(connection, scopes, holder, at))

    async def record(self, seen: Sequence[PodRecord]) -> list[PodRecord]:
        """Take in observations of pods, in any order. Returns what the ledger now says of each pod, once, by uid.

        An older observation never undoes an end, and what was seen first says whose the pod is.
        """
        return await self._write(lambda connection: take_in(connection, seen, self._set_aside))

    async def end_missing(self, hub: str, present: Collection[str], asked: int, received: int) -> list[PodRecord]:
        """End the open pods of a hub whose uid is not ``present`` in a listing; returns their records.

        ``asked`` and ``received``: when the listing was asked for and came. A pod seen since it was asked for is left
        alone: the listing may be older than it. The end is the instant by which it was due to be gone where that is
        known, else when it was last seen; estimated, and bounded by ``received``, or by the placement of the next pod
        of its name.
        """
        there = frozenset(present)
        query = self._open(hub).where(pods.c.last_seen < asked)

        async def end(connection: AsyncConnection) -> list[PodRecord]:
            gone = [pod async for pod in self._stream(connection, query) if pod.uid not in there]
            placed = await self._placed(connection, hub, there, gone) if gone else {}
            return await take_in(
                connection, [taken_for_gone(p, gone_by(p, placed.get(p.name, ()), received)) for p in gone]
            )

        return await self._write(end)

    async def fill_in(self, hub: str, pods: Sequence[PodRecord], read: Sequence[Backfill]) -> Filled:
        """Take in what Prometheus had of a hub's pods, and which stretches it spoke for.

        What was seen directly stands. Usage counts as known from further back where a stretch reaches up to it.
        """

        async def fill(connection: AsyncConnection) -> Filled:
            filled = _filled(*await _together(connection, pods))
            await take_in(connection, pods)
            await backfills.note(connection, self._cluster, read)
            await backfills.reach_back(connection, self._cluster, hub)
            return filled

        return await self._write(fill)

    async def would_fill_in(self, pods: Sequence[PodRecord]) -> Filled:
        """What ``fill_in`` would do, without doing it."""
        async with self._engine.begin() as connection:
            return _filled(*await _together(connection, pods))

    async def backfills(self, hub: str) -> list[Backfill]:
        """The stretches of a hub that were read from Prometheus without a hole, in their order."""
        async with self._engine.begin() as connection:
            return await backfills.known(connection, self._cluster, hub)

    async def touch_last_seen(self, uids: Collection[str], at: int) -> None:
        """Note that these open pods were there at ``at``. Pods that have ended, or were seen later, are left alone."""
        await self._write(lambda connection: rows.touch(connection, uids, at))

    async def open_pods(self, hub: str) -> list[PodRecord]:
        """The pods of a hub that are not known to have ended."""
        async with self._engine.begin() as connection:
            return [pod async for pod in rows.stream(connection, self._open(hub))]

    async def open_uids(self, hub: str) -> list[str]:
        """The uids of the same, also of rows that no record can be made of."""
        async with self._engine.begin() as connection:
            return list((await connection.execute(self._open(hub).with_only_columns(pods.c.uid))).scalars())

    async def pods_since(self, hub: str, since: int) -> AsyncIterator[PodRecord]:
        """The pods of a hub that held something after ``since``, a few at a time.

        Close it (``contextlib.aclosing``) where it may not be read to its end.
        """
        # Two queries, for a database uses no index for the end where one asks for "none or later" at once.
        async with self._engine.execution_options(patient=True).begin() as connection:
            for query in (self._open(hub), self._of(hub).where(pods.c.finished > since)):
                async for pod in self._stream(connection, query):
                    yield pod

    async def digests(self, hub: str, since: int, before: int) -> AsyncIterator[Sequence[Digest]]:
        """The pods of a hub that ended after ``since`` and were last seen before ``before``, thousands at a time.

        Only those that held the same all their lives; the others come from ``rest``.
        """
        query = self._past(hub, since, before).where(pods.c.digest.is_not(None))
        columns = query.with_only_columns(pods.c.user, pods.c.scheduled, pods.c.finished, pods.c.digest)
        async with self._engine.begin() as connection, connection.stream(columns) as found:
            async for batch in found.partitions(_DIGESTS):
                yield cast("Sequence[Digest]", batch)

    async def rest(self, hub: str, since: int, before: int) -> AsyncIterator[PodRecord]:
        """The pods of a hub that held something after ``since``, but for those that ``digests`` gives."""
        seen_since = self._of(hub).where(pods.c.finished > since, pods.c.last_seen >= before)
        changed = self._past(hub, since, before).where(pods.c.digest.is_(None))
        async with self._engine.begin() as connection:
            for query in (self._open(hub), seen_since, changed):
                async for pod in self._stream(connection, query):
                    yield pod

    async def pods_of(self, hub: str, user: str | None, since: int) -> list[PodRecord]:
        """One user's pods that held something after ``since``, in the order of their placement. None: nobody's."""
        whose = pods.c.user.is_(None) if user is None else pods.c.user == user
        lately = or_(pods.c.finished.is_(None), pods.c.finished > since)
        query = self._of(hub).where(whose, lately).order_by(pods.c.scheduled, pods.c.uid)
        async with self._engine.begin() as connection:
            return [pod async for pod in self._stream(connection, query)]

    async def hubs(self) -> list[str]:
        """The hubs that this cluster's part of the ledger knows, by name."""
        query = select(hubs.c.hub).where(hubs.c.cluster == self._cluster).order_by(hubs.c.hub)
        async with self._engine.begin() as connection:
            return list((await connection.execute(query)).scalars())

    async def users(self, hub: str) -> set[str]:
        """All users of a hub that were ever noted."""
        query = select(hub_users.c.user).where(hub_users.c.cluster == self._cluster, hub_users.c.hub == hub)
        async with self._engine.begin() as connection:
            return set((await connection.execute(query)).scalars())

    async def users_present(self, hub: str) -> set[str]:
        """The users whom a hub has, as far as is known."""
        t = hub_users
        query = select(t.c.user).where(t.c.cluster == self._cluster, t.c.hub == hub, t.c.end.is_(None))
        async with self._engine.begin() as connection:
            return set((await connection.execute(query)).scalars())

    async def covered(self, hub: str, at: int) -> int:
        """The instant from which usage of this hub is known; ``at`` where it is not known at all. Notes nothing."""
        query = select(hubs.c.covered_since).where(hubs.c.cluster == self._cluster, hubs.c.hub == hub)
        async with self._engine.begin() as connection:
            since: int | None = (await connection.execute(query)).scalar()
        return at if since is None else since

    async def groups_at(self, hub: str, at: int) -> dict[str, frozenset[str]]:
        """The groups of all users who were in any at an instant, as they were known then."""
        async with self._engine.begin() as connection:
            return await chronicle.groups_at(connection, self._cluster, hub, at)

    async def groups_of(self, hub: str, users: Sequence[str]) -> dict[str, frozenset[str]]:
        """The groups that these users are in, as far as the ledger knows the users at all."""
        async with self._engine.begin() as connection:
            return await chronicle.groups_of(connection, self._cluster, hub, users)

    async def history(self, hub: str, since: int) -> dict[str | None, list[PodRecord]]:
        """The same by user, each user's in the order of their placement. None: pods without a user."""
        by_user: defaultdict[str | None, list[PodRecord]] = defaultdict(list)
        async for pod in self.pods_since(hub, since):
            by_user[pod.user].append(pod)
        return {user: sorted(held, key=lambda pod: (pod.scheduled, pod.uid)) for user, held in by_user.items()}

    async def covered_since(self, hub: str, now: int) -> int:
        """The instant from which usage of this hub is known; ``now``, and from then on, where the hub is new."""
        return await self._write(lambda connection: chronicle.cover(connection, self._cluster, hub, now))

    async def record_user(self, hub: str, user: str, at: int) -> None:
        """Note that the hub has this user."""
        await self._write(lambda connection: chronicle.see_user(connection, self._cluster, hub, user, at))

    async def record_users(self, hub: str, seen: Mapping[str, int]) -> None:
        """Note that the hub has these users, each seen at an instant. Of their groups nothing is known by that."""

        async def note(connection: AsyncConnection) -> None:
            for user, at in sorted(seen.items()):
                await chronicle.see_user(connection, self._cluster, hub, user, at)

        await self._write(note)

    async def end_user(self, hub: str, user: str, at: int) -> None:
        """Note that the hub no longer has this user, who is then in no group either."""
        await self._write(lambda connection: chronicle.lose_user(connection, self._cluster, hub, user, at))

    async def record_membership(self, *seen: Membership) -> None:
        """Note the groups of users. What is not newer than the newest sight of a user changes nothing."""
        await self._write(lambda connection: chronicle.see_all_groups(connection, self._cluster, seen))

    async def record_policy_revision(self, seen: PolicyRevision) -> None:
        """Note one generation of a policy, which ends the one before it."""
        await self._write(lambda connection: chronicle.see_policy(connection, self._cluster, seen))

    async def end_policy(self, uid: str, at: int) -> None:
        """Note that a policy is gone."""
        await self._write(lambda connection: chronicle.lose_policy(connection, self._cluster, uid, at))

    async def policy_revisions(self, hub: str) -> list[PolicyRevision]:
        """All generations of a hub's policies, by name and generation."""
        t = policy_revisions
        async with self._engine.begin() as connection:
            return await chronicle.revisions(connection, (t.c.cluster == self._cluster) & (t.c.hub == hub))

    async def record_decisions(self, *told: DecisionRecord) -> list[DecisionRecord]:
        """Note decisions. Returns those whose id was not known; of the others nothing changes."""
        return await self._write(lambda connection: decisions.decide(connection, self._cluster, told))

    async def decisions_of(self, hub: str, user: str, start: int, end: int) -> list[DecisionRecord]:
        """What was decided of a user's launches from ``start`` to just before ``end``, in its order."""
        async with self._engine.begin() as connection:
            return await decisions.decided(connection, self._cluster, hub, user, start, end)

    async def decision_counts(self, hub: str) -> dict[decisions.Counted, int]:
        """How many decisions each policy of a hub made, by its uid and the kind of decision."""
        async with self._engine.begin() as connection:
            return await decisions.counted(connection, self._cluster, hub)

    @property
    def cluster(self) -> str:
        """Name of the cluster whose part of the ledger this is."""
        return self._cluster

    @property
    def shared(self) -> bool:
        """Whether processes of several machines may have it open."""
        return self._engine.dialect.name != "sqlite"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for whoever audits: to read by, for no longer than needed."""
        async with self._engine.execution_options(patient=True).begin() as connection:
            yield connection

    async def writing(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """One transaction for whoever mends; all of ``work`` is written, or nothing. It may be done more than once."""
        return await self._write(work, patient=True)

    async def tidy(self) -> str | None:
        """Take older versions of rows out of the database's files; what is still to be done, None: nothing."""
        return await wipe(self._engine)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]], *, patient: bool = False) -> T:
        """The one way to write: a transaction that is committed whole or not at all.

        A caller that is cancelled waits for its end: the driver's thread cannot be interrupted, and a transaction left
        to itself would lock out all others.
        """
        transaction = asyncio.create_task(self._transaction(work, patient=patient))
        try:
            return await asyncio.shield(transaction)
        except asyncio.CancelledError:
            await asyncio.wait([transaction])
            raise

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]], *, patient: bool = False) -> T:
        # In the order in which they were asked for; SQLite would let them race, and some lose until they time out.
        await self._my_turn()
        try:
            return await self._attempted(work, self._writing.execution_options(patient=patient))
        finally:
            self._turn.release()

    async def _my_turn(self) -> None:
        try:
            async with asyncio.timeout(None if self._engine.dialect.name == "sqlite" else _TURN):
                await self._turn.acquire()
        except TimeoutError:
            raise Late(f"the writes before this one were not done within {_TURN} s") from None

    async def _attempted(self, work: Callable[[AsyncConnection], Awaitable[T]], engine: AsyncEngine) -> T:
        """Once more where another process wrote the same at the same time: what it wrote is read then."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._committed(work, engine)
            except DBAPIError as fault:
                if getattr(fault.orig, "sqlstate", None) not in _OVERTAKEN:
                    raise
        return await self._committed(work, engine)

    async def _committed(self, work: Callable[[AsyncConnection], Awaitable[T]], engine: AsyncEngine) -> T:
        async with engine.begin() as connection:
            if self._fences:
                await fencing.check(connection, self._fences)
            return await work(connection)

    async def _placed(
        self, connection: AsyncConnection, hub: str, there: Collection[str], gone: Sequence[PodRecord]
    ) -> dict[str, set[int]]:
        """When pods were placed, by their names: those that are there, and all of the users whose pods are gone.

        The next of a name may be over as well.
        """
        placed: dict[str, set[int]] = defaultdict(set)
        named = self._of(hub).with_only_columns(pods.c.name, pods.c.scheduled)
        queries = [named.where(pods.c.uid.in_(batch)) for batch in rows.batches(sorted(there))]
        for batch in rows.batches(gone):
            users = {pod.user for pod in batch}
            whose = [pods.c.user.in_(users - {None}), *([pods.c.user.is_(None)] if None in users else [])]
            queries.append(named.where(or_(*whose), pods.c.name.in_({pod.name for pod in batch})))
        for query in queries:
            for name, scheduled in await connection.execute(query):
                placed[name].add(scheduled)
        return placed

    def unreadable(self, hub: str) -> int:
        """How many pods of a hub were met whose rows cannot be read; the log names each."""
        return len(self._unreadable[hub])

    def _set_aside(self, hub: str, uid: str, fault: str) -> None:
        if uid not in self._unreadable[hub]:
            self._unreadable[hub].add(uid)
            rows.tell(hub, uid, fault)

    def _stream(self, connection: AsyncConnection, query: Select[Any]) -> AsyncIterator[PodRecord]:
        return rows.stream(connection, query, self._set_aside)

    def _past(self, hub: str, since: int, before: int) -> Select[tuple[object, ...]]:
        return self._of(hub).where(pods.c.finished > since, pods.c.last_seen < before)

    def _of(self, hub: str) -> Select[tuple[object, ...]]:
        return select(pods).where(pods.c.cluster == self._cluster, pods.c.hub == hub)

    def _open(self, hub: str) -> Select[tuple[object, ...]]:
        return self._of(hub).where(pods.c.finished.is_(None))


async def take_in(
    connection: AsyncConnection, seen: Iterable[PodRecord], aside: rows.Aside = rows.tell
) -> list[PodRecord]:
    """What ``Ledger.record`` does, over a connection that writes.

    A row that cannot be read stays as it is: it may hold what is known of nowhere else.
    """
    there, now = await _together(connection, seen, aside)
    known = {uid: was for uid, was in there.items() if was is not None}
    await rows.add(connection, [pod for pod in now if pod.uid not in there])
    await rows.change(connection, [(known[pod.uid], pod) for pod in now if known.get(pod.uid, pod) != pod])
    return now


async def _together(
    connection: AsyncConnection, seen: Iterable[PodRecord], aside: rows.Aside = rows.tell
) -> tuple[dict[str, PodRecord | None], list[PodRecord]]:
    """What the ledger has of these pods, by uid, None: a row that cannot be read; and all with what was seen."""
    by_uid: defaultdict[str, list[PodRecord]] = defaultdict(list)
    for pod in seen:
        by_uid[pod.uid].append(pod)
    known = await rows.load_all(connection, by_uid, aside)
    # Merged with itself too, so that what is written is always of the same form.
    return known, [reduce(merged, by_uid[uid], known.get(uid) or by_uid[uid][0]) for uid in sorted(by_uid)]


def _filled(known: Mapping[str, PodRecord | None], now: Sequence[PodRecord]) -> Filled:
    changed = sum(known.get(pod.uid, pod) != pod for pod in now)
    return Filled(len(now) - len(known), changed, len(known) - changed)
