"""Usage of one resource over rolling windows: exact integrals of allocation over time.

Times inside are integer microseconds since 1970-01-01T00:00:00Z; usage is base units x microseconds. Usage is
piecewise linear between the edges of segments, so the instants at which a limit is reached or left are computed,
never sampled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

SECOND: Final = 1_000_000


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


def usage(segments: Sequence[Segment], window: int, at: int) -> int:
    """Base units x microseconds held within the ``window`` microseconds before ``at``."""
    opened = at - window
    return sum(s.amount * max(0, _ended(s, at) - max(s.start, opened)) for s in segments)


def blocks(segments: Sequence[Segment], window: int, limit: int, now: int) -> list[Block]:
    """The stretches from ``now`` to one window ahead in which usage >= ``limit`` (base units x microseconds).

    ``until`` is the first whole second at which usage < limit (S4). A limit of 0 is exhausted at every instant (S5).
    """
    if limit <= 0:
        return [Block(now, None)]
    found: list[Block] = []
    since: int | None = None
    for at, exhausted in _verdicts(segments, window, limit, now):
        if exhausted and since is None:
            since = at
        elif not exhausted and since is not None:
            found.append(Block(since, at))
            since = None
    return found if since is None else [*found, Block(since, None)]


def _ended(segment: Segment, at: int) -> int:
    return at if segment.end is None else min(segment.end, at)


def _verdicts(segments: Sequence[Segment], window: int, limit: int, now: int) -> Iterator[tuple[int, bool]]:
    """The verdict at ``now``, then the instants within one window at which it may change."""
    level = usage(segments, window, now)
    yield now, level >= limit
    edges = _edges(segments, window, now)
    for left, right in pairwise(edges):
        following = usage(segments, window, right)
        crossing = _crossing(left, level, right, following, limit)
        if crossing is not None:
            yield crossing
        level = following


def _edges(segments: Sequence[Segment], window: int, now: int) -> list[int]:
    """The instants from ``now`` to one window ahead at which the slope of usage may change, in order."""
    horizon = now + window
    turns = {
        t for s in segments for end in [s.end] for t in (s.start, s.start + window, end, end and end + window) if t
    }
    return sorted({now, horizon} | {t for t in turns if now < t < horizon})


def _crossing(left: int, level: int, right: int, following: int, limit: int) -> tuple[int, bool] | None:
    """Where usage, linear from ``left`` to ``right``, passes the limit, and whether it is exhausted from there on."""
    if (level >= limit) == (following >= limit):
        return None
    span, rise = right - left, following - level
    if rise > 0:  # the first microsecond at which usage >= limit
        return left + -(-(limit - level) * span // rise), True
    below = left + (level - limit) * span // -rise + 1  # the first microsecond at which usage < limit
    return -(-below // SECOND) * SECOND, False
