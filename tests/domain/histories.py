"""Histories for tests of the engine: a few lines make what somebody held."""

from collections.abc import Sequence
from dataclasses import replace

from hubquota.domain.course import Course
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.shapes import Shapes
from hubquota.domain.standing import Holdings, Level
from hubquota.domain.timeline import Changes, Stretch, Timeline
from hubquota.domain.windows import DAY, HOUR, Rolling, Window

EVERYONE = Scope(everyone=True)
NOBODY: frozenset[str] = frozenset()
#: Amount, start, end (None: it runs).
Segment = tuple[int, int, int | None]
A_DAY = Rolling(DAY, "1d")


def timeline(segments: Sequence[Segment]) -> Timeline:
    """What was held over time, one shape for each segment."""
    amounts = [amount for amount, _, _ in segments]
    return Timeline(Changes(Stretch(i, start, end) for i, (_, start, end) in enumerate(segments)), amounts)


def course(segments: Sequence[Segment], window: Window, now: int, *, running: bool = True, more: int = 0) -> Course:
    """Usage from now on."""
    return Course(timeline(segments), window.pieces(now), now, running=running, more=more)


def holdings(
    lives: Sequence[tuple[dict[str, int], int, int | None]] = (),
    covered_since: int = 0,
    servers: int = 0,
    storage: int | None = None,
) -> Holdings:
    """What somebody held: allocation (base units by resource), start, end (None: it runs)."""
    shapes = Shapes()
    changes = Changes([Stretch(shapes.index(held), start, end) for held, start, end in lives])
    level = None if storage is None else Level(storage, 0)
    return Holdings(lambda m: Timeline(changes, shapes.amounts(m)), covered_since, servers, level)


def policy(name: str = "p", limit: int | None = 10 * HOUR, window: Window | None = A_DAY, **more: object) -> Policy:
    """A policy of everybody's memory: base units x microseconds in a day."""
    made = Policy(name, EVERYONE, Measure("memory"), limit, "GiB-hours", window)
    return replace(made, **more)  # type: ignore[arg-type]
