"""A history counts the same whether it was told at once, or change by change, or is long."""

import random

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain import timeline as timelines
from hubquota.domain.timeline import Changes, Stretch, Timeline

AMOUNTS = [1, 10, 100]
stretches = st.lists(
    st.builds(
        lambda shape, start, length: Stretch(shape, start, None if length is None else start + length),
        st.integers(0, 2),
        st.integers(0, 50),
        st.none() | st.integers(0, 30),
    ),
    max_size=40,
)


def naive(told: list[Stretch], at: int) -> int:
    return sum(
        AMOUNTS[s.shape] * max(0, (at if s.end is None else min(at, s.end)) - s.start) for s in told if s.start < at
    )


@given(stretches, st.integers(1, 20), st.integers(0, 100))
def test_the_integral_is_what_was_held_so_far_however_seldom_it_is_kept(
    told: list[Stretch], stride: int, at: int
) -> None:
    timeline = Timeline(Changes(told), AMOUNTS, stride)
    assert timeline.integral(at) == naive(told, at)
    assert timeline.held(at) == naive(told, at + 1) - naive(told, at)


@given(stretches, st.randoms(), st.integers(1, 20))
def test_changes_may_come_and_go_one_by_one(told: list[Stretch], luck: random.Random, stride: int) -> None:
    timeline = Timeline(Changes(told), AMOUNTS, stride)
    kept = list(told)
    for _ in range(10):
        if kept and luck.random() < 0.5:
            gone = kept.pop(luck.randrange(len(kept)))
            places = [timeline.changes.remove(gone.start, gone.shape)]
            if gone.end is not None:
                places.append(timeline.changes.remove(gone.end, ~gone.shape))
        else:
            new = Stretch(luck.randrange(3), luck.randrange(60), None)
            kept.append(new)
            places = [timeline.changes.add(new.start, new.shape)]
        timeline.refresh(min(places))
        at = luck.randrange(100)
        assert timeline.integral(at) == naive(kept, at)


@given(stretches, st.integers(1, 30))
def test_a_long_history_is_sorted_piece_by_piece(told: list[Stretch], piece: int) -> None:
    whole, size = Changes(told), timelines._PIECE
    try:
        timelines._PIECE = piece  # type: ignore[misc]
        pieces = Changes(told)
    finally:
        timelines._PIECE = size  # type: ignore[misc]
    assert (pieces.times, pieces.codes) == (whole.times, whole.codes)
