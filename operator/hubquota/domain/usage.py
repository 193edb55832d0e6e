"""Usage of one resource over rolling windows: exact integrals of allocation over time.

Times inside are integer microseconds since 1970-01-01T00:00:00Z; usage is base units x microseconds. Usage is
piecewise linear between the edges of segments, so one sweep over these edges gives the whole future; the instants at
which a limit is reached or left are computed from it, never sampled.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
#: Stretches told ahead (S20), and vertices of a forecast that a status holds.
MOST_BLOCKS: Final = 8
MOST_VERTICES: Final = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one pod's life with one allocation. ``end`` None: it still runs, and is taken to keep running."""

    amount: int
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch in which usage >= limit. ``until`` None: it does not end within the forecast."""

    start: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Vertex:
    """Usage at an instant; between two vertices it is linear."""

    at: int
    used: int


def usage(segments: Sequence[Segment], window: int, at: int) -> int:
    """Base units x microseconds held within the ``window`` microseconds before ``at``."""
    opened = at - window
    return sum(s.amount * max(0, _ended(s, at) - max(s.start, opened)) for s in segments)


def rate(segments: Sequence[Segment], at: int) -> int:
    """Base units held at ``at``: what usage grows by in each microsecond, before anything leaves the window."""
    return sum(s.amount for s in segments if s.start <= at and (s.end is None or at < s.end))


def stopped(segments: Sequence[Segment], at: int) -> list[Segment]:
    """The same history if all that runs were stopped at ``at``."""
    return [replace(s, end=at) if s.end is None else s for s in segments]


def forecast(segments: Sequence[Segment], window: int, now: int) -> list[Vertex]:
    """Usage from ``now`` to one window ahead if what runs keeps running: every vertex, in order."""
    turns = _turns(segments, window)
    slope = sum(change for at, change in turns.items() if at <= now)
    vertices = [Vertex(now, usage(segments, window, now))]
    horizon = now + window
    for at in sorted(at for at, change in turns.items() if now < at < horizon and change):
        vertices.append(_along(vertices[-1], slope, at))
        slope += turns[at]
    return [*vertices, _along(vertices[-1], slope, horizon)]


def blocks(vertices: Sequence[Vertex], limit: int) -> list[Block]:
    """The stretches of a forecast in which usage >= ``limit``, at most eight (S20).

    ``until`` is the first whole second at which usage < limit (S4). A limit of 0 is exhausted at every instant (S5).
    """
    if limit <= 0:
        return [Block(vertices[0].at, None)]
    found: list[Block] = []
    for at, exhausted in _verdicts(vertices, limit):
        if not exhausted:
            found[-1] = Block(found[-1].start, -(-at // SECOND) * SECOND)
        elif found and found[-1].until is not None and at <= found[-1].until:
            # Full again before the whole second at which the last stretch would have ended: one stretch.
            found[-1] = Block(found[-1].start, None)
        else:
            found.append(Block(at, None))
    return found[:MOST_BLOCKS]


def simplified(vertices: Sequence[Vertex], most: int = MOST_VERTICES) -> list[Vertex]:
    """At most ``most`` vertices whose line is nowhere below the forecast, and near it: never promises too much."""
    kept = [0, len(vertices) - 1]
    while len(kept) < min(most, len(vertices)):
        kept = sorted({*kept, max((_furthest(vertices, a, b) for a, b in pairwise(kept)), default=(0, 0))[1]})
    return _lifted(vertices, sorted(set(kept)))


def next_drift(vertices: Sequence[Vertex], step: int) -> int | None:
    """The first instant at which usage differs by ``step`` from what it is at the start; None: not in the forecast."""
    base = vertices[0].used
    for left, right in pairwise(vertices):
        if abs(right.used - base) >= step:
            goal = base + step if right.used > base else base - step
            return left.at + -(-abs(goal - left.used) * (right.at - left.at) // abs(right.used - left.used))
    return None


def _ended(segment: Segment, at: int) -> int:
    return at if segment.end is None else min(segment.end, at)


def _turns(segments: Sequence[Segment], window: int) -> Counter[int]:
    """By how much the slope of usage changes, and when: held from start to end, forgotten a window later."""
    turns: Counter[int] = Counter()
    for s in segments:
        turns[s.start] += s.amount
        turns[s.start + window] -= s.amount
        if s.end is not None:
            turns[s.end] -= s.amount
            turns[s.end + window] += s.amount
    return turns


def _along(vertex: Vertex, slope: int, at: int) -> Vertex:
    return Vertex(at, vertex.used + slope * (at - vertex.at))


def _verdicts(vertices: Sequence[Vertex], limit: int) -> Iterator[tuple[int, bool]]:
    """The start, if it is exhausted, and every instant at which the verdict changes."""
    if vertices[0].used >= limit:
        yield vertices[0].at, True
    for left, right in pairwise(vertices):
        if (left.used >= limit) != (right.used >= limit):
            yield _crossing(left, right, limit)


def _crossing(left: Vertex, right: Vertex, limit: int) -> tuple[int, bool]:
    """The first microsecond on the other side of the limit, and whether that side is exhausted."""
    span, rise = right.at - left.at, right.used - left.used
    if rise > 0:
        return left.at + -(-(limit - left.used) * span // rise), True
    return left.at + (left.used - limit) * span // -rise + 1, False


def _above(vertices: Sequence[Vertex], first: int, last: int, at: int) -> int:
    """By how much vertex ``at`` stands above the chord from ``first`` to ``last``, rounded up; negative: below."""
    left, right, middle = vertices[first], vertices[last], vertices[at]
    span = max(1, right.at - left.at)
    return -(-((middle.used - left.used) * span - (right.used - left.used) * (middle.at - left.at)) // span)


def _furthest(vertices: Sequence[Vertex], first: int, last: int) -> tuple[int, int]:
    """The vertex between two that is furthest from their chord: how far, and which."""
    between = ((abs(_above(vertices, first, last, i)), i) for i in range(first + 1, last))
    return max(between, default=(-1, first))


def _lifted(vertices: Sequence[Vertex], kept: Sequence[int]) -> list[Vertex]:
    """The kept vertices, raised by as much as those between them stand above the chords."""
    lifts = dict.fromkeys(kept, 0)
    for first, last in pairwise(kept):
        lift = max((_above(vertices, first, last, i) for i in range(first + 1, last)), default=0)
        lifts[first], lifts[last] = max(lifts[first], lift), max(lifts[last], lift)
    return [Vertex(vertices[i].at, vertices[i].used + lifts[i]) for i in kept]
