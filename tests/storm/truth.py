"""What became of each pod of a storm, by the logs of the hub and of the fake kubelet."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hubquota.domain.pods import micros
from tests.storm.plans import Plan
from tests.testbed.edges import lines, of_pods
from tests.testbed.rest import Json

_SECOND: Final = 1_000_000
#: In the logs: what takes a pod away at once, whatever runs in it.
_REMOVALS: Final = ("forcing", "removing")


@dataclass(frozen=True, slots=True)
class Resize:
    """Other memory (bytes), asked for at ``asked``; ``taken``: when the API server had answered, None: it refused."""

    memory: int
    asked: int
    taken: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """One pod. All times are microseconds since 1970, None: it did not happen.

    ``scheduled`` and ``finished`` are the instants that the API server is told, in whole seconds; ``…_told``: when it
    had taken them. ``stopped``: it was over, with no container's end to tell. ``leaving``: from when on it may be gone;
    ``gone``: from when on it is.
    """

    uid: str
    plan: Plan
    scheduled: int | None = None
    scheduled_told: int | None = None
    finished: int | None = None
    finished_told: int | None = None
    stopped: int | None = None
    stopped_told: int | None = None
    leaving: int | None = None
    gone: int | None = None
    resizes: tuple[Resize, ...] = field(default_factory=tuple)

    @property
    def ended(self) -> int | None:
        """The earliest instant at which it may have been over; None: it goes on."""
        return min((at for at in (self.finished, self.stopped, self.leaving) if at is not None), default=None)

    @property
    def over_by(self) -> int | None:
        """The latest instant at which the API server had its end; None: it has not."""
        return min(
            (at for at in (self.finished_told, self.stopped_told, self.gone) if at is not None),
            default=None,
        )


def read(hub: Path, kubelet: Path, plans: Iterable[Plan]) -> list[Truth]:
    """All pods that were made."""
    by_number = {one.number: one for plan in plans for one in plan.chain()}
    entries = of_pods([*lines(hub), *lines(kubelet)])
    created = {line["uid"]: by_number.get(line["plan"]) for line in lines(hub) if line.get("event") == "created"}
    return [_truth(uid, plan, entries[uid]) for uid, plan in created.items() if plan is not None]


def _truth(uid: str, plan: Plan, entries: Iterable[Json]) -> Truth:
    noted = {(e["event"], e.get("number", 0)): e for e in entries if "event" in e}
    told = {(e["told"], e.get("number", 0)): _at(e) for e in entries if "told" in e}
    scheduled = _second(noted.get(("scheduled", 0)))
    leaves = list(_leaves(noted, told)) or list(_at_once(noted))
    gone = [told["forcing", 0]] if ("forcing", 0) in told else []
    gone += [_at(noted["deleted", 0])] if ("deleted", 0) in noted else []
    return Truth(
        uid,
        plan,
        scheduled,
        told.get(("scheduled", 0)),
        _second(noted.get(("finished", 0))),
        told.get(("finished", 0)),
        _at(noted["stopped", 0]) if ("stopped", 0) in noted else None,
        told.get(("stopped", 0)),
        min(leaves, default=None),
        min(gone, default=None),
        tuple(_resizes(noted, told)),
    )


def _leaves(noted: Mapping[tuple[str, int], Json], told: Mapping[tuple[str, int], int]) -> Iterator[int]:
    """From when on it may be gone, by each who may have taken it away."""
    yield from (_at(noted[event, 0]) for event in _REMOVALS if (event, 0) in noted)
    if ("deleting", 0) not in noted:
        return
    deleting = _at(noted["deleting", 0])
    # The API server lets a pod go at once that is on no node yet, or is over.
    if deleting < told.get(("scheduled", 0), deleting + 1):
        yield deleting
    for end in (_at(noted[event, 0]) for event in ("finished", "stopped") if (event, 0) in noted):
        if end <= told.get(("deleting", 0), end):
            yield max(deleting, end)


def _at_once(noted: Mapping[tuple[str, int], Json]) -> Iterator[int]:
    """From when on one may be gone that went by its deletion alone, without its kubelet.

    A busy API server grants no grace where it still has the pod in its cache as it was before it was bound.
    """
    if ("deleting", 0) in noted and ("deleted", 0) in noted:
        yield _at(noted["deleting", 0])


def _resizes(noted: Mapping[tuple[str, int], Json], told: Mapping[tuple[str, int], int]) -> Iterable[Resize]:
    for (event, number), entry in noted.items():
        if event == "asking":
            yield Resize(entry["memory"] * 2**20, _at(entry), told.get((event, number)))


def _second(entry: Json | None) -> int | None:
    return None if entry is None else micros(entry["at"])


def _at(entry: Json) -> int:
    return int(entry["time"] * _SECOND)
