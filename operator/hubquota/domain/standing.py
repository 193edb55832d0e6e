"""Where one user, or one pool, stands: what is used, and the stretches ahead in which a launch is refused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.quotas import Quota, combined, covering, per_user, pools
from hubquota.domain.usage import Block, Segment, Vertex, blocks, forecast, next_drift, rate, simplified, stopped

#: Per resource what somebody's pods held; ``servers`` as 1000 (thousandths of a server) for each pod.
Holdings = Mapping[str, Sequence[Segment]]


@dataclass(frozen=True, slots=True)
class QuotaState:
    """One quota at one instant, with what is ahead.

    ``used``: base units x microseconds, or a count where the quota has no window. ``rate``: base units held now.
    ``covered_since``: the instant from which usage is known; before it, it is unknown, never 0 (S7).
    ``drifts``: the instant at which ``used`` will have moved by a hundredth of the limit; None: not within a window.
    """

    quota: Quota
    used: int
    rate: int
    covered_since: int
    blocked: tuple[Block, ...]
    blocked_if_stopped: tuple[Block, ...]
    forecast: tuple[Vertex, ...]
    drifts: int | None

    def blocked_at(self, at: int) -> bool:
        """Whether it is exhausted at ``at`` if what runs keeps running."""
        return any(b.start <= at and (b.until is None or at < b.until) for b in self.blocked)

    def next_change(self, after: int) -> int | None:
        """The first instant after ``after`` at which the verdict, or the number by 1 %, differs; None: none known."""
        edges = (edge for b in self.blocked for edge in (b.start, b.until))
        return min((e for e in (*edges, self.drifts) if e is not None and e > after), default=None)


@dataclass(frozen=True, slots=True)
class Standing:
    """All of one user's quotas, and the names of the pools that a launch would charge."""

    at: int
    quotas: tuple[QuotaState, ...]
    pools: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """``Denied``, ``Warned`` or ``Allowed``: what a launch that asks for everything would meet now."""
        hit = {s.quota.first.enforcement for s in self.quotas if s.blocked_at(self.at)}
        return "Denied" if Enforcement.DENY in hit else "Warned" if Enforcement.WARN in hit else "Allowed"

    def next_change(self) -> int | None:
        """When this standing should be written anew if nothing happens; None: not by itself."""
        return min((c for s in self.quotas if (c := s.next_change(self.at)) is not None), default=None)


def standing(
    policies: Iterable[Policy], user: str, groups: frozenset[str], held: Holdings, covered_since: int, now: int
) -> Standing:
    """Where a user stands at ``now``. ``covered_since``: the instant from which the ledger knows this hub."""
    covers = covering(policies, user, groups)
    states = tuple(quota_state(q, held.get(q.first.resource, ()), covered_since, now) for q in per_user(covers))
    return Standing(now, states, tuple(p.name for p in pools(covers)))


def pool_state(policy: Policy, held: Sequence[Segment], covered_since: int, now: int) -> QuotaState | None:
    """Where a Shared policy stands; None: it is unlimited."""
    quota = combined([policy])
    return None if quota is None else quota_state(quota, held, covered_since, now)


def quota_state(quota: Quota, held: Sequence[Segment], covered_since: int, now: int) -> QuotaState:
    """One quota over one history."""
    window = quota.first.window
    if window is None:
        return _counted(quota, held, covered_since, now)
    relevant = [s for s in held if s.end is None or s.end > now - window]
    ahead = forecast(relevant, window, now)
    at_rest = forecast(stopped(relevant, now), window, now)
    return QuotaState(
        quota=quota,
        used=ahead[0].used,
        rate=rate(relevant, now),
        covered_since=max(covered_since, now - window),
        blocked=tuple(blocks(ahead, quota.limit)),
        blocked_if_stopped=tuple(blocks(at_rest, quota.limit)),
        forecast=tuple(simplified(ahead)),
        drifts=next_drift(ahead, max(1, quota.limit // 100)),
    )


def _counted(quota: Quota, held: Sequence[Segment], covered_since: int, now: int) -> QuotaState:
    """Servers at once (S23): blocked as long as there are as many as the limit, for one cannot know until when."""
    count = sum(1 for s in held if s.start <= now and (s.end is None or now < s.end))
    return QuotaState(
        quota=quota,
        used=count,
        rate=0,
        covered_since=covered_since,
        blocked=(Block(now, None),) if count >= quota.limit else (),
        blocked_if_stopped=(Block(now, None),) if quota.limit == 0 else (),
        forecast=(),
        drifts=None,
    )
