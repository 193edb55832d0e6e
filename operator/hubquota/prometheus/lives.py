"""Pods' lives, put together from what was seen of them in one stretch of time after the other. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from hubquota.domain.attribution import MARKS, SERVERNAME, USERNAME, attributed
from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.pods import allocation
from hubquota.prometheus.resources import Resources
from hubquota.prometheus.scrapes import Scrapes
from hubquota.prometheus.sightings import Ask, Changes, Sighting
from hubquota.prometheus.slugs import Users

#: How far a kubelet's clock may be ahead before its word for an end is not taken (S29), in microseconds.
_AHEAD: Final = 5_000_000


class Life:
    """One pod that was placed. ``first`` and ``last``: scrapes that showed it."""

    def __init__(self, sighting: Sighting) -> None:
        self.first, self.last = sighting.first or 0, sighting.last or 0
        self._all = sighting
        self._changes: Changes = []

    def is_somebodys(self, seen: Sighting) -> bool:
        """Whether anything tells whose it is."""
        return bool(self._all.marks or self._all.user_label or seen.marks or seen.user_label)

    def has_resized(self, seen: Sighting) -> bool:
        """Whether it asks for something else than before, or did not ask for the same all the time."""
        before = self._changes[-1][1] if self._changes else seen.most
        return bool(seen.most) and (before != seen.most or any(seen.most.get(a) != v for a, v in seen.least.items()))

    def see(self, seen: Sighting, changes: Changes) -> None:
        """Take in a later stretch of time, or the same. ``changes``: what it asked for in it, where that changed."""
        mine = self._all
        for which in ("alive", "finished", "scheduled", "started", "completed", "deletion"):
            if (at := getattr(seen, which)) is not None:
                mine.note(which, at)
        self.first, self.last = min(self.first, seen.first or self.first), max(self.last, seen.last or self.last)
        mine.node = mine.node or seen.node
        if seen.marked is not None:
            mine.mark(seen.marks, seen.marked)
        mine.user_label, mine.server_label = mine.user_label or seen.user_label, mine.server_label or seen.server_label
        mine.sidecars |= seen.sidecars
        fixed = {ask: value for ask, value in seen.most.items() if not ask.container}
        for at, asked in changes or [(seen.first or self.first, seen.most)]:
            self._ask(at, asked | fixed)

    def marks(self, users: Users) -> dict[str, str]:
        """The annotations that say whose it is; where there are none, what labels make of them."""
        marks = self._all.marks
        if any(mark in marks for mark in MARKS):
            return marks
        user = users.of(self._all.user_label)
        return {} if user is None else marks | {USERNAME: user, SERVERNAME: self._all.server_label}

    @property
    def finished(self) -> bool:
        """Whether it has finished, though its object may still be there."""
        return self._all.finished is not None

    @property
    def unread_label(self) -> str:
        """The label with a user, where no annotation tells one."""
        return "" if any(mark in self._all.marks for mark in MARKS) else self._all.user_label

    @property
    def start(self) -> int:
        """When it was placed: as its condition says, else when the kubelet took it up, else the first scrape."""
        told = [at for at in (self._all.scheduled, self._all.started) if at is not None]
        return min(told[0], self.first) if told else self.first

    def end(self, scrapes: Scrapes, *, final: bool) -> PodEnd | None:
        """When it ended; None: it lives, or may have been missed by a few scrapes. ``final``: no more will come."""
        mine = self._all
        alive = max(self.start, self._alive)
        if mine.finished is not None:
            told = mine.completed if self._is_sane(mine.completed, mine.finished) else None
            if told is not None and not mine.sidecars:
                return PodEnd(told, HowEnded.BACKFILL)
            # What is told is the end of the last container that is no sidecar.
            at = max(alive, told or alive)
            return PodEnd(at, HowEnded.BACKFILL, max(at, mine.finished))
        gone = scrapes.after(self.last)
        if gone is None or not (final or (scrapes.last or 0) - self.last > scrapes.bound):
            return None
        return PodEnd(alive, HowEnded.BACKFILL, max(alive, gone))

    def record(
        self, hub: str, cluster: str, marks: Mapping[str, str], resources: Resources, end: PodEnd | None
    ) -> PodRecord:
        """What the ledger should keep. Raises ValueError or TypeError where it makes no sense."""
        mine, start = self._all, self.start
        first = max(start, self.first)
        return PodRecord(
            uid=mine.uid,
            cluster=cluster,
            hub=hub,
            name=mine.name,
            scheduled=start,
            first_seen=first,
            last_seen=max(first, self._alive),
            node=mine.node,
            deletion=mine.deletion,
            end=end,
            segments=self._segments(resources, end, is_server=USERNAME in marks),
            backfilled=True,
            **asdict(attributed(marks)),
        )

    @property
    def _alive(self) -> int:
        """The last scrape that showed it not finished."""
        return self.last if self._all.alive is None else self._all.alive

    def _is_sane(self, end: int | None, heard: int) -> bool:
        return end is not None and self.start <= end <= heard + _AHEAD

    def _ask(self, at: int, asked: dict[Ask, float]) -> None:
        if asked and (not self._changes or self._changes[-1][1] != asked):
            self._changes.append((at, asked))

    def _segments(self, resources: Resources, end: PodEnd | None, *, is_server: bool) -> tuple[SegmentRecord, ...]:
        until = None if end is None else end.at
        held = [(at, _allocated(asked, self._all.sidecars, resources)) for at, asked in self._changes]
        found = [SegmentRecord("servers", 1000, None, self.start, until)] if is_server else []
        for resource in sorted({resource for _, amounts in held for resource in amounts}):
            edges = [self.start, *(max(at, self.start) for at, _ in held[1:])]
            stops = [*edges[1:], until]
            for start, stop, (_, amounts) in zip(edges, stops, held, strict=True):
                clipped = stop if until is None or stop is None else max(start, min(stop, until))
                found.append(SegmentRecord(resource, amounts.get(resource, 0), None, start, clipped))
        return tuple(found)


def _allocated(asked: Mapping[Ask, float], sidecars: set[str], resources: Resources) -> dict[str, int]:
    """What a pod holds that asks for this, reckoned as of a pod that the API server tells.

    In which order containers run before the others is not told: those that end are taken to come before those that go
    on, so that nothing is counted that may not have been held.
    """
    containers: dict[tuple[bool, str], dict[str, Any]] = {}
    overhead: dict[str, str] = {}
    for ask, value in asked.items():
        name = resources.name(ask.resource)
        if name is None:
            continue
        if not ask.container:
            overhead[name] = _quantity(name, value)
            continue
        container = containers.setdefault((ask.initial, ask.container), {"resources": {"requests": {}, "limits": {}}})
        container["resources"]["limits" if ask.limit else "requests"][name] = _quantity(name, value)
        if ask.initial and ask.container in sidecars:
            container["restartPolicy"] = "Always"
    initial = [c for (first, _), c in containers.items() if first]
    spec = {
        "containers": [c for (first, _), c in containers.items() if not first],
        "initContainers": sorted(initial, key=lambda container: "restartPolicy" in container),
        "overhead": overhead,
    }
    return allocation({"spec": spec})


def _quantity(resource: str, value: float) -> str:
    return str(round(value)) if resource == "memory" else f"{round(value * 1000)}m"
