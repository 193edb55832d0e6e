"""Usage over a window is exact, and so are the instants at which a limit blocks and frees."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain import course as courses
from hubquota.domain.course import MOST_BLOCKS, MOST_VERTICES, Block, Step, Vertex
from hubquota.domain.windows import HOUR, SECOND, Calendar, Fixed, Period, Rolling, Window
from tests.domain.histories import Segment, course

NOW = 60 * SECOND


def seconds() -> st.SearchStrategy[int]:
    return st.integers(0, 60).map(lambda s: s * SECOND)


@st.composite
def lives(draw: st.DrawFn) -> list[Segment]:
    """Segments of the past minute, some of them still running, some ending a little ahead."""
    made: list[Segment] = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(seconds())
        length = draw(st.none() | seconds())
        end = None if length is None else min(start + length, NOW + 5 * SECOND)
        made.append((draw(st.integers(0, 4)), start, end))
    return made


def windows() -> st.SearchStrategy[Window]:
    """Rolling ones, an event that is under way, and a day, whose midnight is 1970-01-02T00:00:00Z."""
    rolling = st.integers(1, 60).map(lambda s: Rolling(s * SECOND))
    fixed = st.builds(lambda a, b: Fixed(a * SECOND, NOW + b * SECOND), st.integers(0, 60), st.integers(1, 60))
    return rolling | fixed


def naive_usage(segments: list[Segment], window: Window, at: int) -> int:
    """Second by second, without any of the engine's thoughts."""
    total = 0
    for second in range(window.opened(at) // SECOND, at // SECOND):
        instant = second * SECOND
        total += sum(a * SECOND for a, start, end in segments if start <= instant and (end is None or instant < end))
    return total


def to_the_microsecond(segments: list[Segment], window: Window, at: int) -> int:
    opened = window.opened(at)
    return sum(a * max(0, min(at, at if end is None else end) - max(opened, start)) for a, start, end in segments)


def blocks(segments: list[Segment], window: Window, limit: int, now: int = NOW) -> list[Block]:
    end = window.pieces(now)[-1].end
    return course(segments, window, now).blocks([Step(now, end, limit)])


def blocked_at(found: list[Block], at: int) -> bool:
    return any(b.start <= at and (b.until is None or at < b.until) for b in found)


def test_a_running_server_blocks_when_the_limit_is_reached_and_until_is_not_promised() -> None:
    assert blocks([(2, 0, None)], Rolling(10 * HOUR), 4 * HOUR, HOUR) == [Block(2 * HOUR, None)]


def test_a_finished_server_frees_at_the_first_whole_second_below_the_limit() -> None:
    assert blocks([(1, 0, HOUR)], Rolling(2 * HOUR), HOUR, HOUR) == [Block(HOUR, 2 * HOUR + SECOND)]


def test_an_event_s_block_ends_with_the_event() -> None:
    assert blocks([(1, 0, HOUR)], Fixed(0, 5 * HOUR), HOUR, 2 * HOUR) == [Block(2 * HOUR, 5 * HOUR)]


def test_a_day_frees_at_midnight_and_a_server_that_runs_on_uses_up_the_next() -> None:
    day = Calendar(Period.DAY, "UTC")
    assert blocks([(1, 0, None)], day, 20 * HOUR, HOUR) == [
        Block(20 * HOUR, 24 * HOUR),
        Block(44 * HOUR, 48 * HOUR),
    ]


@given(lives(), windows())
def test_usage_equals_the_count_second_by_second(segments: list[Segment], window: Window) -> None:
    now = 66 * SECOND if isinstance(window, Rolling) else NOW
    assert course(segments, window, now).used == naive_usage(segments, window, now)


@given(lives(), windows(), st.integers(1, 200))
def test_a_told_stretch_is_blocked_and_nothing_else_is(segments: list[Segment], window: Window, limit: int) -> None:
    found = blocks(segments, window, limit * SECOND)
    horizon = (window.pieces(NOW)[-1].end - NOW) // SECOND
    for step in range(horizon if len(found) < MOST_BLOCKS else 0):
        at = NOW + step * SECOND
        assert blocked_at(found, at) == (naive_usage(segments, window, at) >= limit * SECOND), f"{step} s ahead"


@given(lives(), windows(), st.integers(1, 200))
def test_what_is_stopped_now_uses_no_more(segments: list[Segment], window: Window, limit: int) -> None:
    halted = [(a, s, NOW if e is None else min(NOW, e)) for a, s, e in segments if s <= NOW]
    end = window.pieces(NOW)[-1].end
    steps = [Step(NOW, end, limit * SECOND)]
    at_rest = course(segments, window, NOW, running=False)
    assert at_rest.blocks(steps) == course(halted, window, NOW).blocks(steps)
    assert at_rest.forecast() == course(halted, window, NOW).forecast()


@given(lives(), windows(), st.integers(0, 5), st.integers(1, 200))
def test_a_launch_beside_what_runs_is_as_if_it_ran(
    segments: list[Segment], window: Window, more: int, limit: int
) -> None:
    steps = [Step(NOW, window.pieces(NOW)[-1].end, limit * SECOND)]
    beside = course(segments, window, NOW, more=more)
    assert beside.blocks(steps) == course([*segments, (more, NOW, None)], window, NOW).blocks(steps)


@given(lives(), windows(), st.integers(0, 60))
def test_the_forecast_is_never_below_what_usage_then_turns_out_to_be(
    segments: list[Segment], window: Window, ahead: int
) -> None:
    line = course(segments, window, NOW).forecast()
    at = min(NOW + ahead * SECOND, line[-1].at - SECOND)
    expected = naive_usage(segments, window, at)
    assert interpolated(line, at) >= expected
    if len(line) < MOST_VERTICES:
        assert interpolated(line, at) == expected


@given(lives(), windows(), st.integers(1, 100))
def test_drift_is_the_first_instant_at_which_usage_has_moved_so_far(
    segments: list[Segment], window: Window, by: int
) -> None:
    found = course(segments, window, NOW).first_drift(by * SECOND)
    used = naive_usage(segments, window, NOW)
    end = window.pieces(NOW)[-1].end
    for at in range(NOW, end, SECOND):
        moved = abs(naive_usage(segments, window, at) - used) >= by * SECOND
        assert moved <= (found is not None and found <= at), f"it has moved at {at}, {found} was told"
    if found is not None and found < end:
        assert abs(to_the_microsecond(segments, window, found) - used) >= by * SECOND
        assert abs(to_the_microsecond(segments, window, found - 1) - used) < by * SECOND


@given(st.lists(st.integers(0, 100), min_size=2, max_size=60), st.integers(2, MOST_VERTICES))
def test_a_shortened_forecast_is_never_below_the_exact_one(levels: list[int], most: int) -> None:
    exact = [(i * 10, level) for i, level in enumerate(levels)]
    short = [Vertex(*point) for point in courses._shortened(exact, most)]
    assert len(short) <= most
    assert (short[0].at, short[-1].at) == (exact[0][0], exact[-1][0])
    assert all(interpolated(short, at) >= used for at, used in exact)


@given(st.lists(st.integers(1, 3), min_size=30, max_size=60), st.integers(1, 8))
def test_a_long_history_is_looked_at_in_places_and_its_forecast_stays_on_the_safe_side(
    lengths: list[int], looks: int
) -> None:
    segments: list[Segment] = []
    at = 0
    for length in lengths:
        segments.append((length, at, at + length * SECOND))
        at += 2 * length * SECOND
    window, whole = Rolling(at + SECOND), courses._LOOKS
    exact = course(segments, window, at).forecast(10_000)
    try:
        courses._LOOKS = looks  # type: ignore[misc]
        short = course(segments, window, at).forecast(10_000)
    finally:
        courses._LOOKS = whole  # type: ignore[misc]
    assert len(short) < len(exact)
    assert all(interpolated(short, v.at) >= v.used for v in exact)


def test_only_where_usage_begins_anew_has_a_forecast_two_points_at_one_instant() -> None:
    twice: list[Segment] = [(1, 0, HOUR), (2, 0, HOUR)]
    rolling = course(twice, Rolling(5 * HOUR), 2 * HOUR).forecast()
    assert [v.at for v in rolling] == [2 * HOUR, 5 * HOUR, 6 * HOUR, 7 * HOUR]
    day = course(twice, Calendar(Period.DAY, "UTC"), 2 * HOUR).forecast()
    assert [v.at // HOUR for v in day] == [2, 24, 24, 48]


def test_a_stretch_that_fills_again_within_the_second_is_one_stretch() -> None:
    half = SECOND // 2
    dips: list[Segment] = [(4, 0, half), (4, half + 2, 4 * SECOND)]
    found = blocks(dips, Rolling(4 * SECOND), 13 * SECOND, 4 * SECOND)
    assert found == [Block(4 * SECOND, 5 * SECOND)]


def interpolated(line: list[Vertex], at: int) -> Fraction:
    """The line's level at an instant; where it falls at that instant, the level after the fall."""
    for left, right in reversed(list(pairwise(line))):
        if left.at <= at <= right.at and left.at < right.at:
            return left.used + Fraction((right.used - left.used) * (at - left.at), right.at - left.at)
    return Fraction(line[0].used)
