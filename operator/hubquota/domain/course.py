"""How usage goes on from an instant: where it reaches and leaves a limit, and a forecast of few points.

Usage is what was held up to an instant less what was held up to where its window begins. Both only ever grow, so over
any stretch it lies between bounds that its two ends give; stretches that the bounds do not decide are halved. So the
exact instants cost a handful of looks at the history, never a walk through all of it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from hubquota.domain.timeline import Timeline
from hubquota.domain.windows import SECOND, Piece

#: Stretches told ahead (S20), and vertices of a forecast that a status holds.
MOST_BLOCKS: Final = 8
MOST_VERTICES: Final = 16
#: Of longer histories, a forecast looks at so many points only, and stays on the safe side in between.
_LOOKS: Final = 512


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch in which usage >= limit. ``until`` None: it does not end within the forecast."""

    start: int
    until: int | None


class Vertex(NamedTuple):
    """Usage at an instant; between two vertices it is linear. Two at one instant: it falls there."""

    at: int
    used: int


class Step(NamedTuple):
    """A limit that holds from ``start`` to just before ``end``."""

    start: int
    end: int
    limit: int


#: An instant and the usage then.
_Point = tuple[int, int]


class _Span(NamedTuple):
    """A stretch in which what is held changes nowhere, with what was held up to each end, and up to its window's."""

    piece: Piece
    start: int
    grown: int
    left: int
    end: int
    grown_then: int
    left_then: int


class Course:
    """Usage from ``now`` on over the ``pieces`` of a window.

    ``running``: whether what runs keeps running, or is stopped at ``now``. ``more``: base units that are held from now
    on beside what runs.
    """

    def __init__(
        self, timeline: Timeline, pieces: Sequence[Piece], now: int, *, running: bool = True, more: int = 0
    ) -> None:
        self._timeline, self._now, self._running, self._more = timeline, now, running, more
        self._pieces = pieces
        self._times = timeline.changes.times
        self._at_now = timeline.integral(now)
        self._cut: dict[tuple[int, int], list[_Span]] = {}

    @property
    def used(self) -> int:
        """Usage now, in base units x microseconds."""
        piece = self._pieces[0]
        return self._grown(self._now) - self._left(piece, self._now)

    def blocks(self, steps: Sequence[Step]) -> list[Block]:
        """The stretches ahead in which usage >= limit: eight (S20), and a ninth where there are more.

        ``until`` is the first whole second at which usage < limit (S4).
        """
        last = self._pieces[-1]
        found: list[Block] = []
        for start, end in _joined(self.reached(steps)):
            # Full again before the whole second at which the last stretch would have ended: one stretch.
            if found and found[-1].until is not None and start <= found[-1].until:
                start = found.pop().start
            if len(found) > MOST_BLOCKS:
                break
            known = end < last.end or last.closes
            found.append(Block(start, -(-end // SECOND) * SECOND if known else None))
        return found

    def reached(self, steps: Sequence[Step]) -> Iterator[tuple[int, int]]:
        """Where usage >= limit: from an instant to just before another, in order; some touch the next."""
        for piece in self._pieces:
            for step in steps:
                start, end = max(piece.start, step.start), min(piece.end, step.end)
                if start < end:
                    for span in self._spans(piece, start, end):
                        yield from self._search(span, step.limit)

    def first_drift(self, by: int) -> int | None:
        """The first instant at which usage differs by ``by`` from what it is now; None: not in the forecast."""
        used, end = self.used, self._pieces[-1].end
        up = next((start for start, _ in self.reached([Step(self._now, end, used + by)])), None)
        down = None
        if used >= by:
            _, until = next(_joined(self.reached([Step(self._now, end, used - by + 1)])))
            down = until if until < end or self._pieces[-1].closes else None
        return min((at for at in (up, down) if at is not None), default=None)

    def forecast(self, most: int = MOST_VERTICES) -> list[Vertex]:
        """Usage ahead in at most ``most`` vertices whose line is nowhere below it, and near it."""
        exact = [self._line(piece) for piece in self._pieces]
        room = most // len(exact)
        return [Vertex(*point) for line in exact for point in _shortened(line, room)]

    def _line(self, piece: Piece) -> list[_Point]:
        line: list[_Point] = []
        for span in self._spans(piece, piece.start, piece.end):
            points = self._looks(span)
            if line:
                points[0] = max(points[0], line.pop())
            line += points
        return line

    def _looks(self, span: _Span) -> list[_Point]:
        """All vertices of a span; of a long history some, raised so that nothing between them stands above the line."""
        low, high = self._within(span)
        places = range(low, high, max(1, (high - low) // _LOOKS))
        length, base, slope = span.piece.length or 0, span.grown, self._slope(span)
        out = [at + length for at in self._times[low : high : places.step]]
        looks = [
            (span.start, span.left),
            *zip(out, self._timeline.upto_each(places), strict=True),
            (span.end, span.left_then),
        ]
        if places.step == 1:
            looks = list(dict(looks).items())  # several changes at one instant are one look
        points = [(at, base + slope * (at - span.start) - left) for at, left in looks]
        if places.step == 1:
            return points
        # Between two looks the window may lose all that it loses there at the very end.
        gaps = [after - before for (_, before), (_, after) in pairwise(looks)]
        lifts = map(max, [0, *gaps], [*gaps, 0])
        return [(at, used + lift) for (at, used), lift in zip(points, lifts, strict=True)]

    def _search(self, span: _Span, limit: int) -> Iterator[tuple[int, int]]:
        """Where usage >= limit within a span: halved where its ends do not decide, until it is linear."""
        slope, length = self._slope(span), span.piece.length or 0
        rest = [(span.start, span.grown, span.left, span.end, span.grown_then, span.left_then, *self._within(span))]
        while rest:
            start, grown, left, end, grown_then, left_then, low, high = rest.pop()
            if grown_then - left < limit:
                continue
            if grown - left_then >= limit:
                yield start, end
            elif low == high:
                yield from _crossed((start, grown - left), (end, grown_then - left_then), limit)
            else:
                middle = (low + high) // 2
                at = self._times[middle] + length
                there = (grown + slope * (at - start), self._timeline.upto(middle))
                rest.append((at, *there, end, grown_then, left_then, middle + 1, high))
                rest.append((start, grown, left, at, *there, low, middle))

    def _within(self, span: _Span) -> tuple[int, int]:
        """The changes that leave the window within a span: from one place to just before another."""
        if span.piece.length is None:
            return 0, 0
        low = bisect_right(self._times, span.start - span.piece.length)
        return low, max(low, bisect_left(self._times, span.end - span.piece.length))

    def _slope(self, span: _Span) -> int:
        return (self._timeline.held(span.start) if self._running else 0) + self._more

    def _spans(self, piece: Piece, start: int, end: int) -> list[_Span]:
        """A stretch of a piece, cut where what is held will change: a pod whose end lies a little ahead."""
        found = self._cut.get((start, end))
        if found is None:
            found = self._cut[start, end] = list(self._spans_of(piece, start, end))
        return found

    def _spans_of(self, piece: Piece, start: int, end: int) -> Iterator[_Span]:
        cuts = [start, end]
        if self._running:
            ahead = self._times[bisect_right(self._times, start) : bisect_left(self._times, end)]
            cuts = sorted({*cuts, *ahead})
        for left, right in pairwise(cuts):
            yield _Span(
                piece,
                left,
                self._grown(left),
                self._left(piece, left),
                right,
                self._grown(right),
                self._left(piece, right),
            )

    def _grown(self, at: int) -> int:
        """What was held up to ``at``, if it lies ahead: as it goes on."""
        if at <= self._now:
            return self._timeline.integral(at)
        held = self._timeline.integral(at) if self._running else self._at_now
        return held + self._more * (at - self._now)

    def _left(self, piece: Piece, at: int) -> int:
        return self._grown(piece.anchor if piece.length is None else at - piece.length)


def _crossed(left: _Point, right: _Point, limit: int) -> Iterator[tuple[int, int]]:
    """Where usage >= limit between two points, with a straight line between them, to the microsecond."""
    (start, first), (end, last) = left, right
    if first >= limit and last >= limit:
        yield start, end
    elif first >= limit:
        yield start, start + (first - limit) * (end - start) // (first - last) + 1
    elif last >= limit:
        reached = start + -(-(limit - first) * (end - start) // (last - first))
        if reached < end:
            yield reached, end


def _joined(stretches: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Stretches that touch as one."""
    open_since, open_until = None, 0
    for start, end in stretches:
        if open_since is not None and start > open_until:
            yield open_since, open_until
            open_since = None
        if open_since is None:
            open_since = start
        open_until = max(open_until, end)
    if open_since is not None:
        yield open_since, open_until


def _shortened(line: Sequence[_Point], most: int) -> list[_Point]:
    """At most ``most`` points, denser near the start, raised by as much as those left out stand above the chords."""
    last = len(line) - 1
    if last < most:
        return list(line)
    kept = sorted({last * k * k // ((most - 1) * (most - 1)) for k in range(most)})
    above = [_above(line, first, second) for first, second in pairwise(kept)]
    lifts = map(max, [0, *above], [*above, 0])
    return [(line[place][0], line[place][1] + lift) for place, lift in zip(kept, lifts, strict=True)]


def _above(line: Sequence[_Point], first: int, last: int) -> int:
    """By how much the line between two of its points stands above their chord at most, rounded up; 0: nowhere."""
    if last - first == 1:
        return 0
    (at, used), (then, used_then) = line[first], line[last]
    span, rise = max(1, then - at), used_then - used
    highest = max([(level - used) * span - rise * (moment - at) for moment, level in line[first : last + 1]])
    return -(-highest // span)
