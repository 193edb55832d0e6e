"""What was held over time, and its exact integral.

A history is a list of changes: at an instant, so much more or less is held. The integral of what is held is kept
along it, so that the integral up to any instant costs a bisection and a short walk, whether the history is of one user
or of a whole hub. All instants are integer microseconds since 1970-01-01T00:00:00Z.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

#: A code in the low bits of a sort key: more shapes than a hub can have, and room for the sign.
_CODE_BITS: Final = 32
_HALF: Final = 1 << (_CODE_BITS - 1)
_MASK: Final = (1 << _CODE_BITS) - 1
#: Changes that are sorted at a time.
_PIECE: Final = 20_000
#: An instant, base units held from it on, the integral up to it.
_State = tuple[int, int, int]


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

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        times, codes = array("q"), array("i")
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

    __slots__ = ("_amounts", "_kept", "_stride", "changes")

    def __init__(self, changes: Changes, amounts: Sequence[int], stride: int = 1) -> None:
        self.changes = changes
        self._amounts, self._stride = amounts, stride
        #: For every change of which it is kept: its instant, what is held from it on, and the integral up to it.
        self._kept: list[_State] = []
        self.refresh(0)

    def refresh(self, place: int) -> None:
        """Count anew from the change at ``place`` on: it, or one after it, is new."""
        stride, times, codes, amounts = self._stride, self.changes.times, self.changes.codes, self._amounts
        del self._kept[-(-place // stride) :]
        done = (len(self._kept) - 1) * stride + 1 if self._kept else 0
        at, held, total = self._kept[-1] if self._kept else (times[0] if times else 0, 0, 0)
        for i in range(done, len(times)):
            total += held * (times[i] - at)
            at, code = times[i], codes[i]
            held += amounts[code] if code >= 0 else -amounts[~code]
            if not i % stride:
                self._kept.append((at, held, total))

    def integral(self, at: int) -> int:
        """Base units x microseconds held up to ``at``, if what runs after the last change keeps running."""
        place = bisect_right(self.changes.times, at) - 1
        if place < 0:
            return 0
        since, held, total = self._after(place)
        return total + held * (at - since)

    def upto(self, place: int) -> int:
        """The integral up to the change at ``place``."""
        return self._after(place)[2]

    def held(self, at: int) -> int:
        """Base units held at ``at``."""
        place = bisect_right(self.changes.times, at) - 1
        return self._after(place)[1] if place >= 0 else 0

    def _after(self, place: int) -> _State:
        stride = self._stride
        state = self._kept[place // stride]
        if not place % stride:
            return state
        at, held, total = state
        times, codes, amounts = self.changes.times, self.changes.codes, self._amounts
        for i in range(place - place % stride + 1, place + 1):
            total += held * (times[i] - at)
            at, code = times[i], codes[i]
            held += amounts[code] if code >= 0 else -amounts[~code]
        return at, held, total


def _in_order(times: "array[int]", codes: "array[int]") -> "tuple[array[int], array[int]]":
    """Changes by time. A long history is sorted piece by piece: one list of millions of numbers takes 200 MB."""
    ordered, beside = array("q"), array("i")
    for piece in _pieces(times, codes):
        # One whole number for each change sorts several times faster than a pair.
        piece.sort()
        ordered.extend(key >> _CODE_BITS for key in piece)
        beside.extend((key & _MASK) - _HALF for key in piece)
    return ordered, beside


def _pieces(times: "array[int]", codes: "array[int]") -> Iterator[list[int]]:
    """The keys of changes, those of each stretch of time together, the earlier stretches first."""
    if len(times) <= _PIECE:
        yield [at << _CODE_BITS | code + _HALF for at, code in zip(times, codes, strict=True)]
        return
    count, low = len(times) // _PIECE + 1, min(times)
    width = (max(times) - low) // count + 1
    parts = [array("i") for _ in range(count)]
    for place, at in enumerate(times):
        parts[(at - low) // width].append(place)
    for part in parts:
        yield [times[place] << _CODE_BITS | codes[place] + _HALF for place in part]
