"""What is published of rounds is what statistics calls it."""

import math
import random
from itertools import pairwise

from tests.bench.hook.rounds import Middle, figures, middle, percentile, times
from tests.bench.hook.workers import Round


def round_of(*milliseconds: float, pause: float = 1) -> Round:
    return Round(tuple(ms / 1000 for ms in milliseconds), ("",) * len(milliseconds), pause / 1000, pause / 500, 0, 0)


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile(range(1, 101), 99) == 99
    assert percentile(range(1, 101), 50) == 50
    assert percentile([3.0, 1.0, 2.0], 50) == 2
    assert percentile([3.0, 1.0, 2.0], 99) == 3
    assert percentile([7.0], 50) == 7


def test_the_interval_of_twenty_rounds_is_from_the_sixth_to_the_fifteenth() -> None:
    # From the binomial distribution's tables: P(at most 5 of 20) = 0.0207, at most 6 = 0.0577.
    assert middle(range(1, 21)) == Middle(10.5, 6, 15)


def test_of_few_rounds_the_interval_is_all_of_them() -> None:
    assert middle([5, 1, 3]) == Middle(3, 1, 5)
    assert middle(range(6)) == Middle(2.5, 0, 5)


def test_the_true_median_lies_in_the_interval_at_least_as_often_as_is_said() -> None:
    luck, tries = random.Random(1), 2000
    held = 0
    for _ in range(tries):
        found = middle([luck.expovariate(1) for _ in range(20)])
        held += found.low <= math.log(2) <= found.high
    assert held / tries > 0.94


def test_more_rounds_narrow_the_interval() -> None:
    widths = [(found := middle([n / count for n in range(count)])).high - found.low for count in (10, 20, 40, 80)]
    assert all(more > fewer for more, fewer in pairwise(widths))


def test_times_are_of_rounds_that_followed_each_other() -> None:
    # The machine slows down on the way: each round is ten times the other's beside it all the same.
    slower = [round_of(10 * n, 20 * n, pause=30 * n) for n in range(1, 21)]
    faster = [round_of(n, 2 * n, pause=n) for n in range(1, 21)]
    found = times(slower, faster)
    assert [round(value, 9) for value in found.p50] == [10, 10, 10]
    assert [round(value, 9) for value in found.pause] == [30, 30, 30]
    assert round(figures(faster).p99.median, 9) == 21
