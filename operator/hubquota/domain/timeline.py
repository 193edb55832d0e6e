"""What was held over time, and its exact integral.

A history is a list of changes: at an instant, so much more or less is held. The integral of what is held is kept
along it, so that the integral up to any instant costs a bisection and a short walk, whether the history is of one user
or of a whole hub. All instants are integer microseconds since 1970-01-01T00:00:00Z.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from operator import invert, mul, neg, sub
from typing import Final, NamedTuple

#: Changes that are sorted, or counted, at a time.
_PIECE: Final = 20_000
#: Base units held from a change on, and the integral up to it.
_State = tuple[int, int]
#: Stretches that are over, by column: when they began and ended, and their shapes.
Over = tuple["array[int]", "array[int]", "array[int]"]


class Stretch(NamedTuple):
    """A stretch in which something of one ``shape`` (an index) was held. ``end`` None: it goes on."""

    shape: int
    start: int
    end: int | None


class Changes:
    """When stretches began and ended, in order of time; what they held is told by amounts for each shape.

    A code is a shape's index where it began, and its complement where it ended.
    """

    __slots__ = ("codes", "times")

    def __init__(self, stretches: Iterable[Stretch] = (), over: Over | None = None) -> None:
        starts, ends, shapes = over or (array("q"), array("q"), array("i"))
        times, codes = starts + ends, shapes + array("i", map(invert, shapes))
        for shape, start, end in stretches:
            times.append(start)
            codes.append(shape)
            if end is not None:
                times.append(end)
                codes.append(~shape)
        self.times, self.codes = _in_order(times, codes)

    def add(self, at: int, code: int) -> int:
        """Take in one more change; returns its place. Cheap where it is near the end."""
        place = bisect_right(self.times, at)
        self.times.insert(place, at)
        self.codes.insert(place, code)
        return place

    def remove(self, at: int, code: int) -> int:
        """Take back a change; returns its place. Raises KeyError where there is none such."""
        place = bisect_right(self.times, at) - 1
        while place >= 0 and self.times[place] == at:
            if self.codes[place] == code:
                del self.times[place], self.codes[place]
                return place
            place -= 1
        raise KeyError((at, code))


class Timeline:
    """The changes of a history as one measure counts them. ``amounts``: base units held, by shape.

    ``stride``: the integral is kept at every so many changes; a longer one takes less memory and longer look-ups.
    """

    __slots__ = ("_amounts", "_held", "_stride", "_totals", "changes")

    def __init__(self, changes: Changes, amounts: Sequence[int], stride: int = 1) -> None:
        self.changes = changes
        self._amounts, self._stride = amounts, stride
        #: For every change of which it is kept: what is held from it on, and the integral up to it.
        self._held: list[int] = []
        self._totals: list[int] = []
        self.refresh(0)

    def refresh(self, place: int) -> None:
        """Count anew from the change at ``place`` on: it, or one after it, is new."""
        kept = -(-place // self._stride)
        del self._held[kept:], self._totals[kept:]
        done = (len(self._held) - 1) * self._stride + 1 if self._held else 0
        held, total = (self._held[-1], self._totals[-1]) if self._held else (0, 0)
        for first in range(done, len(self.changes.times), _PIECE):
            helds, totals = self._counted(first, held, total)
            held, total = helds[-1], totals[-1]
            kept = -first % self._stride
            self._held += helds[kept :: self._stride]
            self._totals += totals[kept :: self._stride]

    def _counted(self, first: int, held: int, total: int) -> tuple[list[int], list[int]]:
        """A piece of the changes, after one from which ``held`` was held: column by column, which is fast."""
        times = self.changes.times[first : first + _PIECE]
        codes = self.changes.codes[first : first + _PIECE]
        # A complement counts from the end.
        signed = [*self._amounts, *map(neg, reversed(self._amounts))]
        helds = list(accumulate(map(signed.__getitem__, codes), initial=held))
        gaps = map(sub, times, chain(self.changes.times[max(0, first - 1) : max(1, first)], times))
        totals = list(accumulate(map(mul, helds, gaps), initial=total))
        return helds[1:], totals[1:]

    def integral(self, at: int) -> int:
        """Base units x microseconds held up to ``at``, if what runs after the last change keeps running."""
        place = bisect_right(self.changes.times, at) - 1
        if place < 0:
            return 0
        held, total = self._after(place)
        return total + held * (at - self.changes.times[place])

    def upto(self, place: int) -> int:
        """The integral up to the change at ``place``."""
        return self._totals[place] if self._stride == 1 else self._after(place)[1]

    def upto_each(self, places: range) -> list[int]:
        """The same for several changes, in order."""
        if self._stride == 1:
            return self._totals[places.start : places.stop : places.step]
        return [self.upto(place) for place in places]

    def held(self, at: int) -> int:
        """Base units held at ``at``."""
        place = bisect_right(self.changes.times, at) - 1
        return self._after(place)[0] if place >= 0 else 0

    def _after(self, place: int) -> _State:
        kept, beyond = divmod(place, self._stride)
        held, total = self._held[kept], self._totals[kept]
        times, codes, amounts = self.changes.times, self.changes.codes, self._amounts
        for i in range(place - beyond + 1, place + 1):
            total += held * (times[i] - times[i - 1])
            code = codes[i]
            held += amounts[code] if code >= 0 else -amounts[~code]
        return held, total


def _in_order(times: "array[int]", codes: "array[int]") -> "tuple[array[int], array[int]]":
    """Changes by time. A long history is sorted piece by piece: one list of millions of numbers takes 200 MB."""
    ordered, beside = array("q"), array("i")
    for piece in _pieces(times):
        order = sorted(piece, key=times.__getitem__)
        ordered.extend(map(times.__getitem__, order))
        beside.extend(map(codes.__getitem__, order))
    return ordered, beside


def _pieces(times: "array[int]") -> Sequence[Sequence[int]]:
    """The places of changes, those of each stretch of time together, the earlier stretches first."""
    if len(times) <= _PIECE:
        return [range(len(times))]
    count, low = len(times) // _PIECE + 1, min(times)
    width = (max(times) - low) // count + 1
    parts = [array("i") for _ in range(count)]
    for place, at in enumerate(times):
        parts[(at - low) // width].append(place)
    return parts
