"""What rounds come to: medians, and the interval in which the true median lies."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.bench.hook.workers import Round

#: How sure an interval is.
_SURE: Final = 0.95
_PERCENTS: Final = (50, 99)


class Middle(NamedTuple):
    """A median, and the interval of 95 % around it."""

    median: float
    low: float
    high: float


class Figures(NamedTuple):
    """What is told of a hook's rounds, all in milliseconds, or of how many times one takes what the other takes.

    ``pause``: how long the hub's loop did not turn, at the longest. ``cpu``: of the hub's process, for each launch.
    """

    p50: Middle
    p99: Middle
    pause: Middle
    cpu: Middle


def figures(rounds: Sequence[Round]) -> Figures:
    """Of one hook."""
    return Figures(*(middle([1000 * of(one) for one in rounds]) for of in _FIGURES))


def times(slower: Sequence[Round], faster: Sequence[Round]) -> Figures:
    """How many times the ``faster`` one's the ``slower`` one's is, round by round, of rounds that alternated."""
    pairs = list(zip(slower, faster, strict=True))
    return Figures(*(middle([of(one) / of(other) for one, other in pairs]) for of in _FIGURES))


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of the values do not exceed; of few, the 99th is the largest."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def middle(values: Sequence[float]) -> Middle:
    """The median, and the values between which it lies, whatever the values are spread like.

    Of fewer than six values no two are so sure, and the interval is all of them.
    """
    ordered, count = sorted(values), len(values)
    out = _outside(count)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return Middle(median, ordered[out], ordered[count - 1 - out])


def _outside(count: int) -> int:
    """How many of the values may be left out at each end: each is above the median as a coin shows heads."""
    left, chance = 0, 0.5**count
    while 2 * chance <= 1 - _SURE:
        left += 1
        chance += math.comb(count, left) * 0.5**count
    return max(0, left - 1)


def _percentile(percent: int) -> Callable[[Round], float]:
    return lambda one: percentile(one.seconds, percent)


#: Seconds.
_FIGURES: Final[tuple[Callable[[Round], float], ...]] = (
    *map(_percentile, _PERCENTS),
    lambda one: one.pause,
    lambda one: one.cpu / len(one.seconds),
)
