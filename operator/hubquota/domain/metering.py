"""What the pods of one hub held, by user, in memory: what the ledger keeps, in the form that the engine counts."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace

from hubquota.domain.history import PodRecord
from hubquota.domain.policy import Policy
from hubquota.domain.standing import Holdings, QuotaState, Standing, pool_state, standing
from hubquota.domain.usage import Segment


class Meter:
    """The history of one hub. ``covered_since``: the instant from which it is known (microseconds)."""

    def __init__(self, covered_since: int) -> None:
        self.covered_since = covered_since
        self._by_user: defaultdict[str | None, dict[str, PodRecord]] = defaultdict(dict)
        #: Pods on their way, by user and uid: they are servers at once, though they hold nothing yet (S23).
        self._pending: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def take(self, pods: Iterable[PodRecord]) -> set[str]:
        """Take in what the ledger says of pods; returns the users for whom that is news."""
        concerned = set()
        for pod in pods:
            before = self._by_user[pod.user].get(pod.uid)
            self._by_user[pod.user][pod.uid] = pod
            if pod.user is not None:
                self._pending[pod.user].pop(pod.uid, None)
                if before is None or replace(before, last_seen=pod.last_seen) != pod:
                    concerned.add(pod.user)
        return concerned

    def expect(self, user: str, uid: str, since: int) -> None:
        """A pod of the user is on its way."""
        self._pending[user].setdefault(uid, since)

    def drop(self, user: str, uid: str) -> None:
        """A pod that was on its way is gone."""
        self._pending[user].pop(uid, None)

    def users(self) -> set[str]:
        """Everybody who held something, or is about to."""
        return {user for user, pods in self._by_user.items() if pods and user is not None} | {
            user for user, uids in self._pending.items() if uids
        }

    def running(self, user: str) -> list[PodRecord]:
        """The user's pods that hold something now, in the order of their placement."""
        live = (pod for pod in self._by_user[user].values() if pod.end is None)
        return sorted(live, key=lambda pod: (pod.scheduled, pod.uid))

    def last_held(self, user: str, now: int) -> int | None:
        """The last instant at which a pod of the user held something: ``now`` while one does or is on its way.

        None: none did that is known.
        """
        if self._pending.get(user):
            return now
        ends = (now if pod.finished is None else pod.finished for pod in self._by_user.get(user, {}).values())
        return max(ends, default=None)

    def open_uids(self) -> set[str]:
        """The uids of all pods that hold something now."""
        return {uid for pods in self._by_user.values() for uid, pod in pods.items() if pod.end is None}

    def forget(self, before: int) -> None:
        """Let go of pods that ended before an instant that no window reaches."""
        for user, pods in list(self._by_user.items()):
            self._by_user[user] = {u: p for u, p in pods.items() if p.finished is None or p.finished > before}

    def standing(self, policies: Collection[Policy], user: str, groups: frozenset[str], now: int) -> Standing:
        """Where a user stands."""
        held = dict(self._holdings(self._by_user[user].values()))
        pending = [Segment(1000, min(since, now)) for since in self._pending[user].values()]
        at_once = [p for p in policies if p.window is None]
        over_time = standing([p for p in policies if p.window is not None], user, groups, held, self.covered_since, now)
        if not at_once:
            return over_time
        counted = {"servers": [*held.get("servers", []), *pending]}
        also = standing(at_once, user, groups, counted, self.covered_since, now)
        return replace(over_time, quotas=over_time.quotas + also.quotas, pools=over_time.pools + also.pools)

    def pool(self, policy: Policy, now: int) -> QuotaState | None:
        """Where a Shared policy stands (S15 to S17); None: it is unlimited."""
        charged = (pod for pods in self._by_user.values() for pod in pods.values() if _charges(pod, policy))
        return pool_state(policy, self._holdings(charged).get(policy.resource, ()), self.covered_since, now)

    def _holdings(self, pods: Iterable[PodRecord]) -> Holdings:
        held: defaultdict[str, list[Segment]] = defaultdict(list)
        for pod in pods:
            for segment in pod.segments:
                end = segment.end if segment.end is not None else pod.finished
                held[segment.resource].append(Segment(segment.request, segment.start, end))
        return held


def _charges(pod: PodRecord, policy: Policy) -> bool:
    """Whether a pod charges a pool: by the groups it was launched with, or because its user is named."""
    scope = policy.scope
    named = pod.user is not None and (scope.everyone or pod.user in scope.users)
    return named or not scope.groups.isdisjoint(pod.charged_groups)
