"""How a standing came about: which policies hold and why, what was counted, and the arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from hubquota.domain.history import PodRecord
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.quotas import covering
from hubquota.domain.standing import QuotaState, Standing
from hubquota.domain.windows import Window


@dataclass(frozen=True, slots=True)
class Counted:
    """One stretch of one pod, as far as it lies in a window. ``amount``: base units held. ``runs``: it goes on."""

    pod: PodRecord
    amount: int
    start: int
    end: int
    runs: bool

    @property
    def used(self) -> int:
        """Base units x microseconds."""
        return self.amount * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class QuotaExplained:
    """One quota or pool with what was counted for it. ``opened``: the first instant that counts; None: no window."""

    state: QuotaState
    opened: int | None
    counted: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class PolicyExplained:
    """Whether and why a policy holds for a user, and what it does there."""

    policy: Policy
    holds: bool
    why: str
    role: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One user at one instant. ``quotas``: the user's own, then the pools that a launch would charge."""

    user: str
    groups: frozenset[str]
    standing: Standing
    policies: tuple[PolicyExplained, ...]
    quotas: tuple[QuotaExplained, ...]


def explain(
    meter: Meter, pods: Sequence[PodRecord], policies: Sequence[Policy], user: str, groups: frozenset[str], now: int
) -> Explanation:
    """Explain a user's standing at ``now``. ``pods``: the user's own, as they were known then; ``meter`` has them too.

    What others charged to a pool is in its number, but is not listed.
    """
    standing = meter.standing(policies, user, groups, now)
    pools = [s for p in policies if p.name in standing.pools and (s := meter.pool(p, now)) is not None]
    return Explanation(
        user=user,
        groups=groups,
        standing=standing,
        policies=tuple(_policy(p, policies, standing, user, groups) for p in sorted(policies, key=lambda p: p.name)),
        quotas=tuple(_quota(s, pods, now) for s in (*standing.quotas, *pools)),
    )


def counted(pods: Sequence[PodRecord], policy: Policy, window: Window, now: int) -> list[Counted]:
    """What of pods a policy counts in the window that is open at ``now``, in order of time."""
    opened = window.opened(now)
    found = []
    for pod in pods:
        for start, end in _spans(pod):
            until = now if end is None else min(end, now)
            held = {s.resource: s.request for s in pod.segments if s.start <= start and _later(s.end, start)}
            amount = policy.measure.amount(held)
            if amount and max(start, opened) < until:
                found.append(Counted(pod, amount, max(start, opened), until, end is None))
    return sorted(found, key=lambda c: (c.start, c.pod.uid))


def _quota(state: QuotaState, pods: Sequence[PodRecord], now: int) -> QuotaExplained:
    policy = state.quota.first
    if policy.window is None:
        return QuotaExplained(state, None, ())
    return QuotaExplained(state, policy.window.opened(now), tuple(counted(pods, policy, policy.window, now)))


def _policy(
    policy: Policy, all_policies: Sequence[Policy], standing: Standing, user: str, groups: frozenset[str]
) -> PolicyExplained:
    holds = policy in covering(all_policies, user, groups, standing.at)
    return PolicyExplained(
        policy, holds, _why(policy, user, groups, standing.at, holds), _role(policy, standing, holds)
    )


def _why(policy: Policy, user: str, groups: frozenset[str], now: int, holds: bool) -> str:
    if not policy.holds_at(now):
        return "its event is not under way"
    if policy.scope.fallback:
        return "fallback, and nothing else covers the user" if holds else "fallback, and another policy covers the user"
    if policy.scope.everyone:
        return "everyone"
    if user in policy.scope.users:
        return "names the user"
    through = policy.scope.through(user, groups)
    return f"group {', '.join(through)}" if through else "names neither the user nor a group of theirs"


def _role(policy: Policy, standing: Standing, holds: bool) -> str:
    if not holds:
        return ""
    if policy.shared:
        return "pool"
    for quota in (*standing.unlimited, *(s.quota for s in standing.quotas)):
        if (policy is quota.observed) or (quota.observed is None and policy in quota.policies):
            decides = (
                "decides" if policy in quota.deciders else f"outranked by {', '.join(p.name for p in quota.deciders)}"
            )
            return f"observes; {decides}" if policy.enforcement is Enforcement.OBSERVE else decides
    return ""


def _spans(pod: PodRecord) -> list[tuple[int, int | None]]:
    """A pod's life, cut where its allocation changed."""
    ends = {s.end if s.end is not None else pod.finished for s in pod.segments}
    cuts = sorted({s.start for s in pod.segments} | {end for end in ends if end is not None})
    last: list[int | None] = [None] if None in ends else []
    return list(zip(cuts, [*cuts[1:], *last], strict=False))


def _later(end: int | None, at: int) -> bool:
    return end is None or at < end
