"""What the pods of one hub held, by user, in memory: what the ledger keeps, in the form that the engine counts.

Most of a hub's history is pods that are gone for good. Of these a few numbers are kept, some 24 bytes a pod; only pods
that may still be heard of are kept as records.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache

from hubquota.domain.history import PodRecord
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.pooling import Pool
from hubquota.domain.quotas import covering, per_user, pools
from hubquota.domain.shapes import Shapes
from hubquota.domain.standing import Holdings, Level, QuotaState, Standing, pool_state, standing
from hubquota.domain.timeline import Changes, Stretch, Timeline

#: Whose pods they are; None: nobody's, they may still be charged to their groups (S17).
Owner = str | None


@dataclass(slots=True)
class Past:
    """Pods that are gone for good, a row for each stretch. ``charges``: indices of the groups that paid."""

    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    shapes: "array[int]" = field(default_factory=lambda: array("i"))
    charges: "array[int]" = field(default_factory=lambda: array("i"))

    def add(self, stretch: Stretch, charge: int) -> None:
        """One more row. Raises ValueError for a stretch that goes on."""
        if stretch.end is None:
            raise ValueError("what goes on is not past")
        self.starts.append(stretch.start)
        self.ends.append(stretch.end)
        self.shapes.append(stretch.shape)
        self.charges.append(charge)

    def since(self, at: int) -> "Past":
        """Without what ended before ``at``."""
        kept = [i for i, end in enumerate(self.ends) if end > at]
        columns = (self.starts, self.ends, self.shapes, self.charges)
        return Past(*(array(column.typecode, (column[i] for i in kept)) for column in columns))

    def stretches(self) -> Iterator[Stretch]:
        """All rows."""
        return map(Stretch, self.shapes, self.starts, self.ends)


@dataclass(slots=True)
class Account:
    """One user's pods. ``pending``: servers on their way, by uid: they count at once, but hold nothing yet (S23)."""

    past: Past = field(default_factory=Past)
    live: dict[str, PodRecord] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is known of this user."""
        return not (self.past.starts or self.live or self.pending)


class Meter:
    """The history of one hub. ``covered_since``: the instant from which it is known (microseconds)."""

    def __init__(self, covered_since: int) -> None:
        self.covered_since = covered_since
        self.sealed_before = -1
        """Pods first seen up to this instant, and not among the living, are in the past or were never known."""
        self._shapes = Shapes()
        self._groups: dict[tuple[str, ...], int] = {}
        self._accounts: defaultdict[Owner, Account] = defaultdict(Account)
        self._pools: dict[Scope, Pool] = {}
        self._open: set[str] = set()
        #: Whose pods are kept as records, by uid.
        self._whose: dict[str, Owner] = {}

    def take(self, pods: Iterable[PodRecord]) -> tuple[set[str], set[Owner]]:
        """Take in what the ledger says of pods.

        Returns the users for whom that is news; and those of whom a pod has come back from the past, whose history
        should be read from the ledger anew (``renew``).
        """
        concerned: set[str] = set()
        doubtful: set[Owner] = set()
        for pod in pods:
            account = self._accounts[pod.user]
            before = account.live.get(pod.uid)
            late = before is None or before.first_seen > self.sealed_before
            if late and pod.first_seen <= self.sealed_before:
                doubtful.add(pod.user)
                continue
            self._keep(account, pod)
            awaited = account.pending.pop(pod.uid, None) is not None
            if awaited or before is None or replace(before, last_seen=pod.last_seen) != pod:
                self._charge(before, pod)
                if pod.user is not None:
                    concerned.add(pod.user)
        return concerned, doubtful

    def kind(self, held: Mapping[str, int], groups: tuple[str, ...]) -> tuple[int, int]:
        """What ``load`` takes for pods that held this (base units by resource) and charged these groups' pools."""
        return self._shapes.index(held), self._charge_of(groups)

    def load(self, pods: Iterable[tuple[Owner, int, int, tuple[int, int]]]) -> None:
        """Take in pods that are gone for good and whose allocation never changed: user, start, end, ``kind``.

        Before any pool is asked for.
        """
        accounts = self._accounts
        for user, start, end, (shape, charge) in pods:
            past = accounts[user].past
            past.starts.append(start)
            past.ends.append(end)
            past.shapes.append(shape)
            past.charges.append(charge)

    def restore(self, pods: Iterable[PodRecord]) -> None:
        """Take in pods that the ledger had at the start. Before any pool is asked for."""
        for pod in pods:
            self._settle(self._accounts[pod.user], pod)

    def renew(self, user: Owner, pods: Iterable[PodRecord]) -> None:
        """Forget a user's pods and take in these instead: all that the ledger has."""
        account = self._accounts[user]
        self._open -= account.live.keys()
        for uid in account.live:
            self._whose.pop(uid, None)
        account.past, account.live = Past(), {}
        self.restore(pods)
        self._pools.clear()

    def seal(self, before: int, present: Callable[[str], bool]) -> None:
        """Move what ended, was last seen before ``before`` and is not ``present`` any more (by uid) into the past."""
        self.sealed_before = max(self.sealed_before, before)
        for account in self._accounts.values():
            ended = [p for p in account.live.values() if p.end is not None and p.last_seen < before]
            for pod in [p for p in ended if not present(p.uid)]:
                del account.live[pod.uid], self._whose[pod.uid]
                self._put_away(account, pod)

    def expect(self, user: str, uid: str, server: str) -> bool:
        """A server of the user is on its way; returns whether that is news."""
        pending = self._accounts[user].pending
        news = uid not in pending
        pending[uid] = server
        return news

    def pending(self, user: str) -> list[str]:
        """The names of the user's servers that are on their way."""
        account = self._accounts.get(user)
        return sorted(account.pending.values()) if account else []

    def drop(self, user: str, uid: str) -> bool:
        """A pod is on its way no more; returns whether it was."""
        account = self._accounts.get(user)
        return account is not None and account.pending.pop(uid, None) is not None

    def drop_all(self, uids: Set[str]) -> set[str]:
        """Pods are on their way no more; returns the users of those that were."""
        waiting = ((user, account.pending.keys() & uids) for user, account in self._accounts.items())
        dropped = [(user, uid) for user, found in waiting if user is not None for uid in found]
        return {user for user, uid in dropped if self.drop(user, uid)}

    def take_over(self, earlier: "Meter") -> None:
        """Take over what this one was not told: the pods on their way, and those that ended long ago and linger."""
        for user, account in earlier._accounts.items():
            if account.pending:
                self._accounts[user].pending = dict(account.pending)
            lingering = [p for p in account.live.values() if p.last_seen > self.sealed_before]
            for pod in [p for p in lingering if p.uid not in self._whose]:
                self._keep(self._accounts[user], pod)

    def users(self) -> set[str]:
        """Everybody who held something, or is about to."""
        return {user for user, account in self._accounts.items() if user is not None and not account.empty}

    def running(self, user: str) -> list[PodRecord]:
        """The user's pods that hold something now, in the order of their placement."""
        account = self._accounts.get(user)
        live = (pod for pod in account.live.values() if pod.end is None) if account else ()
        return sorted(live, key=lambda pod: (pod.scheduled, pod.uid))

    @property
    def open_count(self) -> int:
        """How many pods hold something now."""
        return len(self._open)

    def known(self, uid: str) -> PodRecord | None:
        """What was told of a pod; None: nothing, or it is gone for good."""
        return self._accounts[self._whose[uid]].live[uid] if uid in self._whose else None

    def open_pods(self) -> list[PodRecord]:
        """The pods that hold something now."""
        return [self._accounts[self._whose[uid]].live[uid] for uid in self._open]

    def known_pods(self) -> Iterator[PodRecord]:
        """The pods of which more may be told: that hold something, or ended not long ago."""
        return (self._accounts[owner].live[uid] for uid, owner in self._whose.items())

    def is_open(self, user: Owner, uid: str) -> bool:
        """Whether this pod of the user holds something now, as far as was told."""
        account = self._accounts.get(user)
        pod = account.live.get(uid) if account else None
        return pod is not None and pod.end is None

    def last_held(self, user: str, now: int) -> int | None:
        """The last instant at which a pod of the user held something: ``now`` while one does or is on its way.

        None: none did that is known.
        """
        account = self._accounts.get(user)
        if account is None:
            return None
        if account.pending:
            return now
        ends = [now if pod.finished is None else pod.finished for pod in account.live.values()]
        return max([*ends, *account.past.ends], default=None)

    def changed_since(self, user: str, at: int) -> bool:
        """Whether a pod of the user began or ended after ``at``, or is on its way."""
        account = self._accounts.get(user) or Account()
        live = (t for p in account.live.values() for s in p.segments for t in (s.start, s.end, p.finished))
        edges = (*account.past.starts, *account.past.ends, *(t for t in live if t is not None))
        return bool(account.pending) or any(edge > at for edge in edges)

    def held_since(self, user: str, at: int) -> frozenset[str]:
        """The resources of which the user's pods held some after ``at``."""
        account = self._accounts.get(user) or Account()
        past = {shape for shape, end in zip(account.past.shapes, account.past.ends, strict=True) if end > at}
        live = {s.resource for p in account.live.values() if p.finished is None or p.finished > at for s in p.segments}
        return frozenset(live.union(*(self._shapes.allocation(shape) for shape in past)))

    def groups(self) -> set[str]:
        """Every group that a pod was charged to."""
        live = {g for account in self._accounts.values() for pod in account.live.values() for g in pod.groups}
        return live.union(*self._groups)

    def owners(self) -> list[Owner]:
        """All of whom something is known, None too."""
        return list(self._accounts)

    def forget(self, before: int, owners: Iterable[Owner]) -> None:
        """Let go of these owners' pods that ended before an instant that no window reaches.

        Pools that were asked for keep them: what no window reaches changes no number.
        """
        for user in owners:
            account = self._accounts.get(user)
            if account is None:
                continue
            account.past = account.past.since(before)
            if account.empty:
                del self._accounts[user]

    def standing(
        self,
        policies: Sequence[Policy],
        user: str,
        groups: frozenset[str],
        now: int,
        storage: Level | None = None,
    ) -> Standing:
        """Where a user stands."""
        account = self._accounts.get(user) or Account()
        at_once = sum(p.end is None and p.server is not None for p in account.live.values()) + len(account.pending)
        holdings = Holdings(self._timelines(account), self.covered_since, at_once, storage)
        return standing(policies, user, groups, holdings, now)

    def may_refuse(self, policies: Sequence[Policy], user: str, groups: frozenset[str], now: int) -> bool:
        """Whether a quota or pool of a user is exhausted at ``now``, or is counted at once; cheaper than a standing."""
        covers = covering(policies, user, groups, now)
        timelines = self._timelines(self._accounts.get(user) or Account())
        for quota in per_user(covers):
            if quota.limit is not None and _may_be_exhausted(quota.first, quota.limit, timelines, now):
                return True
        return any(
            _may_be_exhausted(p, p.limit, self._pool(p).timeline, now) for p in pools(covers) if p.limit is not None
        )

    def pool(self, policy: Policy, now: int) -> QuotaState | None:
        """Where a Shared policy stands (S15 to S17); None: it gives no quota now, or is unlimited."""
        return pool_state(policy, Holdings(self._pool(policy).timeline, self.covered_since), now)

    def _pool(self, policy: Policy) -> Pool:
        pool = self._pools.get(policy.scope)
        if pool is None:
            pool = self._pools[policy.scope] = Pool(policy.scope, self._shapes, self._everything())
        return pool

    def _timelines(self, account: Account) -> Callable[[Measure], Timeline]:
        """One user's timelines, made as they are asked for, over one list of changes."""

        @cache
        def changes() -> Changes:
            live = (s for pod in account.live.values() for s in self._shapes.stretches(pod))
            return Changes(live, (account.past.starts, account.past.ends, account.past.shapes))

        @cache
        def timeline(measure: Measure) -> Timeline:
            return Timeline(changes(), self._shapes.amounts(measure))

        return timeline

    def _everything(self) -> Iterator[tuple[Owner, tuple[str, ...], Stretch]]:
        groups = list(self._groups)
        for user, account in self._accounts.items():
            for charge, stretch in zip(account.past.charges, account.past.stretches(), strict=True):
                yield user, groups[charge], stretch
            for pod in account.live.values():
                for stretch in self._shapes.stretches(pod):
                    yield user, pod.charged_groups, stretch

    def _charge(self, before: PodRecord | None, pod: PodRecord) -> None:
        for pool in self._pools.values():
            pool.change(before, pod)

    def _settle(self, account: Account, pod: PodRecord) -> None:
        if pod.end is None or pod.last_seen >= self.sealed_before:
            self._keep(account, pod)
        else:
            self._put_away(account, pod)

    def _keep(self, account: Account, pod: PodRecord) -> None:
        account.live[pod.uid] = pod
        self._whose[pod.uid] = pod.user
        if pod.end is None:
            self._open.add(pod.uid)
        else:
            self._open.discard(pod.uid)

    def _put_away(self, account: Account, pod: PodRecord) -> None:
        for stretch in self._shapes.stretches(pod):
            account.past.add(stretch, self._charge_of(pod.charged_groups))

    def _charge_of(self, groups: tuple[str, ...]) -> int:
        return self._groups.setdefault(groups, len(self._groups))


def _may_be_exhausted(policy: Policy, limit: int, timeline: Callable[[Measure], Timeline], now: int) -> bool:
    if policy.window is None or limit == 0:
        return True
    held = timeline(policy.measure)
    return held.integral(now) - held.integral(policy.window.opened(now)) >= limit
