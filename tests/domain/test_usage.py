"""Usage over a rolling window is exact, and so are the instants at which a limit blocks and frees."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.usage import (
    HOUR,
    MOST_BLOCKS,
    MOST_VERTICES,
    SECOND,
    Block,
    Segment,
    Vertex,
    blocks,
    forecast,
    next_drift,
    simplified,
    stopped,
    usage,
)


def seconds() -> st.SearchStrategy[int]:
    return st.integers(0, 60).map(lambda s: s * SECOND)


@st.composite
def lives(draw: st.DrawFn) -> list[Segment]:
    """Segments of the past minute, some of them still running."""
    made = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(seconds())
        length = draw(st.none() | seconds())
        made.append(Segment(draw(st.integers(0, 4)), start, None if length is None else start + length))
    return made


def naive_usage(segments: list[Segment], window: int, at: int) -> int:
    """Second by second, without any of the engine's thoughts."""
    total = 0
    for second in range((at - window) // SECOND, at // SECOND):
        instant = second * SECOND
        total += sum(s.amount * SECOND for s in segments if s.start <= instant and (s.end is None or instant < s.end))
    return total


def blocked_at(found: list[Block], at: int) -> bool:
    return any(b.start <= at and (b.until is None or at < b.until) for b in found)


def test_a_running_server_blocks_when_the_limit_is_reached_and_until_is_not_promised() -> None:
    found = blocks(forecast([Segment(2, 0)], 10 * HOUR, HOUR), 4 * HOUR)
    assert found == [Block(2 * HOUR, None)]


def test_a_finished_server_frees_at_the_first_whole_second_below_the_limit() -> None:
    found = blocks(forecast([Segment(1, 0, HOUR)], 2 * HOUR, HOUR), HOUR)
    assert found == [Block(HOUR, 2 * HOUR + SECOND)]


def test_a_limit_of_zero_is_exhausted_at_every_instant() -> None:
    assert blocks(forecast([], HOUR, 5), 0) == [Block(5, None)]


@given(lives(), st.integers(1, 60))
def test_usage_equals_the_count_second_by_second(segments: list[Segment], window: int) -> None:
    now = 120 * SECOND
    assert usage(segments, window * SECOND, now) == naive_usage(segments, window * SECOND, now)


@given(lives(), st.integers(1, 60), st.integers(1, 200))
def test_a_told_stretch_is_blocked_and_nothing_else_is(segments: list[Segment], window: int, limit: int) -> None:
    now, span = 60 * SECOND, window * SECOND
    known = [s for s in segments if s.end is None or s.end <= now]
    found = blocks(forecast(known, span, now), limit * SECOND)
    for step in range(window if len(found) < MOST_BLOCKS else 0):
        at = now + step * SECOND
        exhausted = naive_usage(known, span, at) >= limit * SECOND
        assert blocked_at(found, at) == exhausted, f"{step} s ahead"


@given(lives(), st.integers(1, 60), st.integers(0, 60))
def test_the_forecast_is_what_usage_then_turns_out_to_be(segments: list[Segment], window: int, ahead: int) -> None:
    now, span = 60 * SECOND, window * SECOND
    known = [s for s in segments if s.end is None or s.end <= now]
    at = now + min(ahead, window) * SECOND
    assert interpolated(forecast(known, span, now), at) == naive_usage(known, span, at)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=60), st.integers(2, MOST_VERTICES))
def test_a_shortened_forecast_is_never_below_the_exact_one(levels: list[int], most: int) -> None:
    exact = [Vertex(i * 10, level) for i, level in enumerate(levels)]
    short = simplified(exact, most)
    assert len(short) <= most
    assert (short[0].at, short[-1].at) == (exact[0].at, exact[-1].at)
    assert all(interpolated(short, v.at) >= v.used for v in exact)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=MOST_VERTICES))
def test_a_short_forecast_is_kept_as_it_is(levels: list[int]) -> None:
    exact = [Vertex(i * 10, level) for i, level in enumerate(levels)]
    assert simplified(exact) == exact


def test_a_stretch_that_fills_again_within_the_second_is_one_stretch() -> None:
    dip = [Vertex(0, 10), Vertex(SECOND // 2, 9), Vertex(SECOND // 2 + 2, 10), Vertex(5 * SECOND, 0)]
    assert blocks(dip, 10) == [Block(0, SECOND)]


def test_drift_is_told_to_the_microsecond_in_both_directions() -> None:
    assert next_drift([Vertex(0, 5), Vertex(10, 5), Vertex(20, 15)], 4) == 14
    assert next_drift([Vertex(0, 5), Vertex(10, 0)], 4) == 8
    assert next_drift([Vertex(0, 5), Vertex(10, 6)], 4) is None


def test_stopping_ends_what_runs_and_nothing_else() -> None:
    assert stopped([Segment(1, 0), Segment(1, 0, 3)], 9) == [Segment(1, 0, 9), Segment(1, 0, 3)]


def interpolated(vertices: list[Vertex], at: int) -> Fraction:
    for left, right in pairwise(vertices):
        if left.at <= at <= right.at:
            return left.used + Fraction((right.used - left.used) * (at - left.at), max(1, right.at - left.at))
    raise AssertionError(f"{at} is outside the forecast")
