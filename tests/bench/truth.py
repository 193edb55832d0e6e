"""What the pods of a made-up hub held, added up from what was decided, second for second.

Nothing of the engine is used: policies are read, and periods found, in the naive way of ``tests.domain.naive``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from hubquota.domain.measure import CREDIT
from tests.bench.history import Life
from tests.bench.profiles import PROFILES
from tests.domain import naive

Spec = naive.Spec
_MICROS: Final = 1_000_000
#: Base units of one GiB, credit, or of anything else.
_BASE: Final = {"memory": 2**30, "credits": CREDIT}


class Truth:
    """The pods of a hub, by user. None: those without one."""

    def __init__(self, lives: Iterable[Life]) -> None:
        self.by_user: defaultdict[str | None, list[Life]] = defaultdict(list)
        for life in lives:
            if life.placed is not None:
                self.by_user[life.user].append(life)

    def used(self, spec: Spec, user: str, at: int) -> int:
        """What a user has used of a policy's resource in its window, in base units x microseconds."""
        return used(spec, self.by_user.get(user, ()), at)

    def pool(self, spec: Spec, at: int) -> int:
        """The same of a pool."""
        return used(spec, self.charged(spec), at)

    def charged(self, spec: Spec) -> list[Life]:
        """The pods that a pool is charged by."""
        lives = (life for mine in self.by_user.values() for life in mine)
        return [life for life in lives if naive.pays(spec, _payer(life))]


def used(spec: Spec, lives: Iterable[Life], at: int, *, known: int | None = None) -> int:
    """What these pods held in a policy's window, in base units x microseconds.

    ``known``: an instant up to which things happened as they did; what ran then runs on. None: ``at``.
    """
    since = naive.openings(spec["window"], at, at)[-1]
    total = sum(
        _grains(spec, profile) * max(0, min(at, at if end is None else end) - max(since, start))
        for life in lives
        for start, end, profile in pieces(life, at if known is None else known)
    )
    exact = Fraction(total * _BASE.get(spec["resource"], 1000) * _MICROS, naive.GRAINS)
    assert exact.denominator == 1
    return exact.numerator


def pieces(life: Life, known: int) -> Sequence[tuple[int, int | None, int]]:
    """The stretches of a pod's life, as far as they are known at an instant: start, end (None: it runs), profile."""
    if life.placed is None or life.placed > known:
        return ()
    end = life.ended if life.ended is not None and life.ended <= known else None
    if not life.resizes:
        return ((life.placed, end, life.profile),)
    starts = [(life.placed, life.profile), *(resize for resize in life.resizes if resize[0] <= known)]
    stops: list[int | None] = [*(start for start, _ in starts[1:]), end]
    return [(start, stop, profile) for (start, profile), stop in zip(starts, stops, strict=True)]


def allocation(profile: int) -> Mapping[str, int]:
    """What a pod of a profile holds, base units by resource."""
    return PROFILES[profile].held


def _grains(spec: Spec, profile: int) -> int:
    key = (spec["name"], profile)
    if key not in _KNOWN:
        _KNOWN[key] = naive.grains(spec, allocation(profile))
    return _KNOWN[key]


_KNOWN: dict[Any, int] = {}


def _payer(life: Life) -> naive.Held:
    return naive.Held(life.user, {}, 0, None, life.charged)
