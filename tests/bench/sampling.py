"""What the same hub's users would be charged by sampling: how jupyterhub-usage-quotas 0.2.1 counts, in our own words.

It asks Prometheus once for every evaluation interval (60 s) what was requested by all pods whose names begin with
``jupyter-`` and the user's slug, wherever that ends, and takes each answer for the whole interval. Pods that are not
placed are left out. Finished pods whose objects linger, which it charges too where kube-state-metrics still shows
their requests, are left out here, in its favour.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from tests.bench import names
from tests.bench.history import Life
from tests.bench.truth import allocation, pieces

INTERVAL: Final = 60
_MICROS: Final = 1_000_000


class Sampling:
    """All pods by name."""

    def __init__(self, lives: Iterable[Life]) -> None:
        self._pods = sorted((life for life in lives if life.placed is not None), key=lambda life: life.name)
        self._names = [life.name for life in self._pods]

    def matched(self, user: str) -> list[Life]:
        """The pods that are taken for the user's."""
        prefix = f"jupyter-{names.slug(user)}"
        start = bisect_left(self._names, prefix)
        return [life for life in self._pods[start : self._end(prefix)] if life.name.startswith(prefix)]

    def memory(self, user: str, since: int, at: int) -> int:
        """Bytes x microseconds that the user is charged for a window."""
        return sum(
            allocation(profile).get("memory", 0) * _samples(max(since, start), at if end is None else min(at, end))
            for life in self.matched(user)
            for start, end, profile in pieces(life, at)
        ) * (INTERVAL * _MICROS)

    def _end(self, prefix: str) -> int:
        return bisect_left(self._names, prefix + "\U0010ffff")


def _samples(start: int, end: int) -> int:
    """How many of the instants at which one asks lie in a stretch."""
    return max(0, -(-end // INTERVAL) - -(-start // INTERVAL))
