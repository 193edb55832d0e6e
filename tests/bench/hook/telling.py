"""The tables of docs/benchmarks.md, as the benchmark prints them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from tests.bench.hook.cells import Cell, Compared
from tests.bench.hook.first import Opening
from tests.bench.hook.rounds import Figures, Middle, percentile

_PEER: Final = "jupyterhub-usage-quotas"
#: What each table is of.
_FIGURES: Final[tuple[tuple[str, Callable[[Figures], Middle]], ...]] = (
    ("decision, p50, ms", lambda found: found.p50),
    ("decision, p99, ms", lambda found: found.p99),
    ("the hub's loop stood still, ms", lambda found: found.pause),
    ("CPU of the hub's process a launch, ms", lambda found: found.cpu),
)


def lines(found: Compared, seconds: float) -> Iterator[str]:
    """One cell, as soon as it is known. The load is that of the last minute, this benchmark's among it."""
    load = f"load {os.getloadavg()[0]:.1f}"
    yield f"  {_named(found.cell)}: {found.refused:,} of {found.all:,} launches were refused ({seconds:.0f} s, {load}):"
    for what, of in _FIGURES:
        yield f"    {what}: {_spread(of(found.peer))} and {_spread(of(found.ours))}, {_spread(of(found.times))} times"
    yield from (f"    WRONG: {fault}" for fault in found.wrong[:5])


def tables(compared: Sequence[Compared]) -> Iterator[str]:
    """One table for each figure, and one of memory: their lines."""
    for what, of in _FIGURES:
        yield from _head(what, _PEER, "hubquota", "times", "95 %")
        for one in compared:
            theirs, ours, times = of(one.peer), of(one.ours), of(one.times)
            yield _row(_named(one.cell), _spread(theirs), _spread(ours), _short(times.median), _between(times))
        yield ""
    yield from _head("memory more than before", "launches", _PEER, "hubquota")
    for one in compared:
        yield _row(_named(one.cell), f"{one.all:,}", _mib(one.peer_memory), _mib(one.our_memory))


def behind(compared: Iterable[Compared]) -> Iterator[str]:
    """Where ours does not take less time, by the whole interval."""
    for one in compared:
        for what, of in _FIGURES:
            if of(one.times).low <= 1:
                yield f"BEHIND, or not surely ahead: {what}: {_named(one.cell)}: {_spread(of(one.times))} times"


def openings(found: Iterable[Opening]) -> Iterator[str]:
    """The table of first launches."""
    yield from _head("first launches at once", "failover", "p50", "last", "stood still", "refused", "unjudged", "told")
    for one in found:
        who = "a pool could refuse them" if one.pool else "no pool could refuse them"
        seconds = one.came.seconds
        yield _row(
            f"{len(seconds)}, {who}",
            "open" if one.failover_open else "closed",
            f"{1000 * percentile(seconds, 50):.0f} ms",
            f"{1000 * max(seconds):.0f} ms",
            f"{1000 * one.came.pause:.0f} ms",
            str(one.refused),
            str(one.came.unanswered),
            str(one.told),
        )


def _named(cell: Cell) -> str:
    policies = "1 policy" if cell.policies == 1 else f"{cell.policies} policies"
    who = "heavy" if cell.heavy else "light"
    return f"{cell.users:,} users, {policies}, {who}, {cell.at_once} at once"


def _spread(of: Middle) -> str:
    return f"{_short(of.median)} ({_between(of)})"


def _between(of: Middle) -> str:
    return f"{_short(of.low)}–{_short(of.high)}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.{1 if number >= 2 else 2}f}"


def _mib(kib: int) -> str:
    return f"{kib / 1024:.1f} MiB"


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
