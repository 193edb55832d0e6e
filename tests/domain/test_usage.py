"""Usage over a rolling window is exact, and so are the instants at which a limit blocks and frees."""

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.usage import SECOND, Block, Segment, blocks, usage

HOUR = 3600 * SECOND


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
    found = blocks([Segment(2, 0)], 10 * HOUR, 4 * HOUR, HOUR)
    assert found == [Block(2 * HOUR, None)]


def test_a_finished_server_frees_at_the_first_whole_second_below_the_limit() -> None:
    found = blocks([Segment(1, 0, HOUR)], 2 * HOUR, HOUR, HOUR)
    assert found == [Block(HOUR, 2 * HOUR + SECOND)]


def test_a_limit_of_zero_is_exhausted_at_every_instant() -> None:
    assert blocks([], HOUR, 0, 5) == [Block(5, None)]


@given(lives(), st.integers(1, 60))
def test_usage_equals_the_count_second_by_second(segments: list[Segment], window: int) -> None:
    now = 120 * SECOND
    assert usage(segments, window * SECOND, now) == naive_usage(segments, window * SECOND, now)


@given(lives(), st.integers(1, 60), st.integers(1, 200))
def test_a_told_stretch_is_blocked_and_nothing_else_is(segments: list[Segment], window: int, limit: int) -> None:
    now, span = 60 * SECOND, window * SECOND
    ended = [s for s in segments if s.end is not None and s.end <= now]
    running = [Segment(s.amount, s.start) for s in segments if s.end is None]
    found = blocks(ended + running, span, limit * SECOND, now)
    for step in range(window + 1):
        at = now + step * SECOND
        exhausted = naive_usage(ended + running, span, at) >= limit * SECOND
        assert blocked_at(found, at) == exhausted, f"{step} s ahead"
