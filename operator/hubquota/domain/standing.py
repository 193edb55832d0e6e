"""Where one user, or one pool, stands: what is used, and the stretches ahead in which a launch is refused."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hubquota.domain.allowance import Adjustment, Allowance, Hold
from hubquota.domain.course import MOST_BLOCKS, Block, Course, Vertex
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.quotas import Quota, combined, covering, per_user, pools
from hubquota.domain.timeline import Timeline
from hubquota.domain.windows import Calendar, Fixed, Window

#: A number is told anew when it has moved by a hundredth of the limit.
_DRIFT: Final = 100


@dataclass(frozen=True, slots=True)
class Level:
    """Something that has a size and no history: a home directory. ``used``: bytes at ``as_of``."""

    used: int
    as_of: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What somebody held, as far as quotas ask.

    ``timeline``: of a measure, changes in base units. ``servers``: servers at once, those on their way too.
    ``storage`` None: not known. ``covered_since``: the instant from which usage is known.
    """

    timeline: Callable[[Measure], Timeline]
    covered_since: int
    servers: int = 0
    storage: Level | None = None
    adjustments: Sequence[Adjustment] = ()
    holds: Sequence[Hold] = ()


@dataclass(frozen=True, slots=True)
class QuotaState:
    """One quota at one instant, with what is ahead.

    ``limit``: with adjustments. ``used``, ``held``: base units x microseconds, or a count or bytes where the quota has
    no window; ``used`` None: not known (storage). ``rate``: base units held now. ``covered_since``: the instant from
    which usage is known; before it, it is unknown, never 0 (S7). ``drifts``: the instant at which ``used`` will have
    moved by a hundredth of the limit; None: not within the forecast. ``foreseen``: ``blocked`` tells all up to this
    instant; None: for ever. ``groups``: those by which the deciding policies hold (S10).
    """

    quota: Quota
    limit: int
    used: int | None
    held: int
    rate: int
    covered_since: int
    blocked: tuple[Block, ...]
    blocked_if_stopped: tuple[Block, ...]
    forecast: tuple[Vertex, ...]
    drifts: int | None
    foreseen: int | None = None
    groups: tuple[str, ...] = ()

    def blocked_at(self, at: int) -> bool:
        """Whether it is exhausted at ``at`` if what runs keeps running."""
        return any(b.start <= at and (b.until is None or at < b.until) for b in self.blocked)

    def near_at(self, at: int) -> bool:
        """Whether its user counts as near its end, but not at it."""
        return not self.blocked_at(at) and ((self.used or 0) + self.held) * 100 >= self.limit * self.quota.warn_at

    def next_change(self, after: int) -> int | None:
        """The first instant after ``after`` at which the verdict, or the number by 1 %, differs; None: none known."""
        edges = (edge for b in self.blocked for edge in (b.start, b.until))
        return _first(*(e for e in (*edges, self.drifts) if e is not None and e > after))


@dataclass(frozen=True, slots=True)
class Standing:
    """All of one user's quotas, and the names of the pools that a launch would charge.

    ``observed_pools``: those of the pools that only observe, of which users see nothing (S14). ``unlimited``: quotas
    that an Override lifts. ``turns``: the next instant at which any event's policy begins or ends; None: there is none.
    ``foreseen``: the next instant at which, by an event, a policy holds that does not now; None: none does.
    """

    at: int
    quotas: tuple[QuotaState, ...]
    pools: tuple[str, ...]
    unlimited: tuple[Quota, ...] = ()
    turns: int | None = None
    foreseen: int | None = None
    observed_pools: frozenset[str] = frozenset()

    @property
    def at_once(self) -> bool:
        """Whether any quota counts servers at once, so that those on their way matter."""
        return any(state.quota.first.at_once for state in self.quotas)

    @property
    def verdict(self) -> str:
        """``Denied``, ``Warned`` or ``Allowed``: what a launch that asks for everything would meet now, pools aside."""
        hit = {s.quota.enforcement for s in self.quotas if s.blocked_at(self.at)}
        return "Denied" if Enforcement.DENY in hit else "Warned" if Enforcement.WARN in hit else "Allowed"

    def next_change(self) -> int | None:
        """When this standing should be written anew if nothing happens; None: not by itself."""
        return _first(self.turns, *(s.next_change(self.at) for s in self.quotas))


def standing(
    policies: Sequence[Policy],
    user: str,
    groups: frozenset[str],
    held: Holdings,
    now: int,
) -> Standing:
    """Where a user stands at ``now``."""
    covers = covering(policies, user, groups, now)
    quotas = per_user(covers)
    states = tuple(quota_state(q, held, now, user, groups) for q in quotas if q.limit is not None)
    unlimited = tuple(q for q in quotas if q.limit is None)
    turns = _turns(policies, now)
    joins = (at for at in turns if any(p not in covers for p in covering(policies, user, groups, at)))
    return Standing(
        at=now,
        quotas=states,
        pools=tuple(p.name for p in pools(covers)),
        unlimited=unlimited,
        turns=turns[0] if turns else None,
        foreseen=next(joins, None),
        observed_pools=frozenset(p.name for p in pools(covers) if p.enforcement is Enforcement.OBSERVE),
    )


def pool_state(policy: Policy, held: Holdings, now: int) -> QuotaState | None:
    """Where a Shared policy stands; None: it gives no quota now, or is unlimited."""
    if policy.limit is None or not policy.holds_at(now):
        return None
    return quota_state(combined([policy]), held, now)


def quota_state(
    quota: Quota,
    held: Holdings,
    now: int,
    user: str = "",
    groups: frozenset[str] = frozenset(),
) -> QuotaState:
    """One quota over one history. Raises ValueError for a quota without a limit."""
    if quota.limit is None:
        raise ValueError(f"{quota.name} is unlimited: it has no state")
    through = tuple(sorted({group for policy in quota.deciders for group in policy.scope.through(user, groups)}))
    allowance = Allowance(quota.limit, quota.first.measure, held.adjustments, held.holds)
    window = quota.first.window
    if window is None:
        return _counted(quota, allowance, held, now, through)
    return _over_time(quota, window, allowance, held, now, through)


def _over_time(
    quota: Quota,
    window: Window,
    allowance: Allowance,
    held: Holdings,
    now: int,
    through: tuple[str, ...],
) -> QuotaState:
    timeline = held.timeline(quota.first.measure)
    pieces = window.pieces(now)
    course = Course(timeline, pieces, now)
    rate = timeline.held(now)
    at_rest = Course(timeline, pieces, now, running=False) if rate else course
    steps = allowance.steps(now, pieces[-1].end)
    limit = allowance.limit_at(now)
    always = [Block(now, window.end if isinstance(window, Fixed) else None)] if quota.limit == 0 else None
    blocked = always or course.blocks(steps)
    cut = blocked[MOST_BLOCKS].start if len(blocked) > MOST_BLOCKS else None
    return QuotaState(
        quota=quota,
        limit=limit,
        used=course.used,
        held=allowance.held_at(now),
        rate=rate,
        covered_since=max(held.covered_since, window.opened(now)),
        blocked=tuple(blocked[:MOST_BLOCKS]),
        blocked_if_stopped=tuple((always or at_rest.blocks(steps))[:MOST_BLOCKS]),
        forecast=tuple(course.forecast()),
        drifts=_first(course.first_drift(max(1, limit // _DRIFT)), allowance.next_step(now)),
        foreseen=_first(cut, _horizon(window, pieces[-1].end, rate, quota.limit), allowance.next_step(pieces[-1].end)),
        groups=through,
    )


def _horizon(window: Window, end: int, rate: int, limit: int | None) -> int | None:
    """Where a forecast that reaches ``end`` stops to tell; None: what is to come is no other.

    Where nothing runs usage only falls, and in a rolling window that has passed once it stays as it is then. But each
    period begins anew, and what runs may use up one that is longer, or that is further ahead.
    """
    may = isinstance(window, Calendar) and limit is not None and rate * window.reach >= limit
    return end if may else None


def _counted(quota: Quota, allowance: Allowance, held: Holdings, now: int, through: tuple[str, ...]) -> QuotaState:
    """Servers at once (S23) and storage (S25): blocked while the limit is reached, for one cannot know until when."""
    servers = quota.first.at_once
    used = held.servers if servers else None if held.storage is None else held.storage.used
    limit, set_aside = allowance.limit_at(now), allowance.held_at(now)
    full = quota.limit == 0 or (used is not None and used + set_aside >= limit)
    stays_full = quota.limit == 0 or (full and not servers)
    return QuotaState(
        quota=quota,
        limit=limit,
        used=used,
        held=set_aside,
        rate=0,
        covered_since=held.covered_since,
        blocked=(Block(now, None),) if full else (),
        blocked_if_stopped=(Block(now, None),) if stays_full else (),
        forecast=(),
        drifts=allowance.next_step(now),
        groups=through,
    )


def _first(*instants: int | None) -> int | None:
    return min((at for at in instants if at is not None), default=None)


def _turns(policies: Iterable[Policy], now: int) -> list[int]:
    """When events begin or end from now on: one may cover the user, or free a fallback."""
    events = (p.window for p in policies if isinstance(p.window, Fixed))
    return sorted({at for event in events for at in (event.start, event.end) if at > now})
