"""What a launch would meet: refused or not, by which quotas, from when on it works, and how long what is left lasts.

The hook answers the same from the status alone; this is for whom no status was written: replay, explanation, tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubquota.domain.allowance import Allowance
from hubquota.domain.course import Block, Course
from hubquota.domain.measure import STORAGE
from hubquota.domain.policy import Enforcement
from hubquota.domain.standing import Holdings, QuotaState


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be launched.

    ``request``: base units by resource, only what is asked for; a server also asks for one server (1000 thousandths).
    ``profile`` empty: none was chosen. ``relaunched``: how many of the servers that are counted now it replaces, for a
    server's own earlier pod never counts against it (S23).
    """

    request: Mapping[str, int]
    profile: str = ""
    relaunched: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a launch: each quota that is exhausted, by what it does.

    ``until``: the first instant at which no quota that denies and is touched is exhausted (S20), now where it is
    allowed; None: not within the forecasts. ``until_if_stopped``: the same if all that runs were stopped now.
    """

    refusing: tuple[QuotaState, ...]
    warning: tuple[QuotaState, ...]
    shadow_refusing: tuple[QuotaState, ...]
    until: int | None
    until_if_stopped: int | None

    @property
    def allowed(self) -> bool:
        """Whether it starts."""
        return not self.refusing


def judge(states: Sequence[QuotaState], launch: Launch, now: int, foreseen: int | None = None) -> Verdict:
    """Judge a launch by all states that it may touch: the user's quotas and the pools that it would charge.

    ``foreseen``: up to when these are all that there are; None: for ever.
    """
    touched = [s for s in states if touches(s, launch)]
    hit = [s for s in touched if exhausted(s, launch, now)]
    denying = [s for s in touched if s.quota.enforcement is Enforcement.DENY]
    return Verdict(
        refusing=tuple(s for s in hit if s.quota.enforcement is Enforcement.DENY),
        warning=tuple(s for s in hit if s.quota.enforcement is Enforcement.WARN),
        shadow_refusing=tuple(s for s in hit if s.quota.enforcement is Enforcement.OBSERVE),
        until=_first_open(
            [s.blocked for s in denying if s.quota.first.window or s in hit],
            now,
            min((at for at in (foreseen, *(s.foreseen for s in denying)) if at is not None), default=None),
        ),
        until_if_stopped=_first_open([s.blocked_if_stopped for s in denying], now, foreseen),
    )


def touches(state: QuotaState, launch: Launch) -> bool:
    """Whether a launch touches a quota: it asks for what is counted, and its profile is not excepted (S19)."""
    if launch.profile and launch.profile in state.quota.except_profiles:
        return False
    measure = state.quota.first.measure
    return measure.resource == STORAGE or measure.amount(launch.request) > 0


def exhausted(state: QuotaState, launch: Launch, now: int) -> bool:
    """Whether a quota is exhausted for this launch at ``now``."""
    if state.quota.first.at_once:
        return (state.used or 0) - launch.relaunched + state.held + 1 > state.limit
    return state.blocked_at(now)


def lasts_until(state: QuotaState, held: Holdings, launch: Launch, now: int) -> int | None:
    """When a quota with a window will be exhausted with the launch running beside what runs; None: not foreseen."""
    quota, window = state.quota, state.quota.first.window
    if window is None or quota.limit is None:
        return None
    measure = quota.first.measure
    pieces = window.pieces(now)
    course = Course(held.timeline(measure), pieces, now, more=measure.amount(launch.request))
    steps = Allowance(quota.limit, measure, held.adjustments, held.holds).steps(now, pieces[-1].end)
    return next((start for start, _ in course.reached(steps)), None)


def _first_open(blocked: Sequence[Sequence[Block]], now: int, foreseen: int | None) -> int | None:
    """The first instant from ``now`` on at which none is blocked; None: it is not within what is ``foreseen``."""
    at = now
    while foreseen is None or at < foreseen or at == now:
        over = [b.until for blocks in blocked for b in blocks if b.start <= at and (b.until is None or at < b.until)]
        if not over:
            return at
        ends = [until for until in over if until is not None]
        if len(ends) < len(over):
            return None
        at = max(ends)
    return None
