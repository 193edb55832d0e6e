"""How much a quota allows at each instant: its limit, with what was granted beside it and what is set aside.

Nothing grants or sets aside anything yet; the engine takes both as inputs, so that it need not change when something
does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hubquota.domain.course import Step
from hubquota.domain.measure import Measure


@dataclass(frozen=True, slots=True)
class Adjustment:
    """More (or, if negative, less) of a measure, from ``start`` to just before ``until``; None: for good.

    ``amount``: base units x microseconds, or a count or bytes where quotas of the measure have no window.
    """

    measure: Measure
    amount: int
    start: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What a launch under way has set aside until it is settled, at ``until`` at the latest. ``amount`` as above."""

    measure: Measure
    amount: int
    start: int
    until: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """One quota's limit over time. ``base``: what the policies grant; where it is 0, nothing is added (S5)."""

    base: int
    measure: Measure
    adjustments: Sequence[Adjustment] = ()
    holds: Sequence[Hold] = ()

    def limit_at(self, at: int) -> int:
        """What is granted in all at ``at``; never less than 0."""
        if self.base == 0:
            return 0
        return max(0, self.base + sum(a.amount for a in self.adjustments if self._counts(a, at)))

    def held_at(self, at: int) -> int:
        """What is set aside at ``at``."""
        return sum(h.amount for h in self.holds if self._counts(h, at))

    def steps(self, now: int, end: int) -> list[Step]:
        """What usage may reach from ``now`` to ``end``: the limit less what is set aside, as it changes."""
        cuts = sorted({now, end, *(at for at in self._edges() if now < at < end)})
        return [Step(start, stop, self.limit_at(start) - self.held_at(start)) for start, stop in pairwise(cuts)]

    def next_step(self, now: int) -> int | None:
        """When the allowance changes next; None: it does not."""
        return min((at for at in self._edges() if at > now), default=None)

    def _edges(self) -> list[int]:
        both: list[Adjustment | Hold] = [*self.adjustments, *self.holds]
        edges = (at for given in both if given.measure == self.measure for at in (given.start, given.until))
        return [at for at in edges if at is not None]

    def _counts(self, given: Adjustment | Hold, at: int) -> bool:
        return given.measure == self.measure and given.start <= at and (given.until is None or at < given.until)
