"""What Prometheus says of one pod in one stretch of time, put together row by row. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hubquota.prometheus.answers import instant

Labels = Mapping[str, str]
#: Of the numbers that are instants, which are kept: the earliest or the latest told.
Instants = Literal["first", "last", "alive", "finished", "scheduled", "started", "completed", "deletion"]


class Ask(NamedTuple):
    """What is asked for: by which container (``""``: by the pod, as its overhead) and of which resource, as told.

    ``initial``: by one that runs before the others. ``limit``: it is the most that it may take.
    """

    container: str
    resource: str
    initial: bool = False
    limit: bool = False


#: What one pod asked for, from each change on.
Changes = list[tuple[int, dict[Ask, float]]]


@dataclass(slots=True)
class Sighting:
    """One pod in one stretch of time. Instants are microseconds since 1970; None: not told.

    ``first`` and ``last``: scrapes that showed it placed. ``alive``: the last that showed it not finished;
    ``finished``: the first that showed it finished. ``listed``: whether it was told where it is, if only that it is
    nowhere yet; ``told``: whether annotations or labels were told of it at all.
    ``marks``: its annotations as they were first seen, at ``marked``. ``least`` and ``most``: what it asked for (bytes,
    else cores or devices); ``least`` has only what can change.
    """

    uid: str
    name: str = ""
    node: str | None = None
    first: int | None = None
    last: int | None = None
    alive: int | None = None
    finished: int | None = None
    scheduled: int | None = None
    started: int | None = None
    completed: int | None = None
    deletion: int | None = None
    listed: bool = False
    told: bool = False
    marks: dict[str, str] = field(default_factory=dict)
    marked: int | None = None
    user_label: str = ""
    server_label: str = ""
    sidecars: set[str] = field(default_factory=set)
    least: dict[Ask, float] = field(default_factory=dict)
    most: dict[Ask, float] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether it was told that one of its containers asks for something."""
        return any(ask.container and not ask.initial and not ask.limit for ask in self.most)

    def note(self, which: Instants, at: int) -> None:
        """One more instant: of ends and last times the latest counts, of others the earliest."""
        known: int | None = getattr(self, which)
        better = max if which in ("last", "alive", "completed") else min
        setattr(self, which, at if known is None else better(known, at))

    def mark(self, marks: Mapping[str, str], at: int) -> None:
        """Annotations from an instant on: what the hub wrote at creation counts, not what somebody made of it later."""
        if marks and (self.marked is None or at < self.marked):
            self.marks, self.marked = dict(marks), at


#: Takes in one row of an answer: its labels and its value.
Take = Callable[[Sighting, Labels, float], None]


def instants(which: Instants) -> Take:
    """The value is an instant. What cannot be one is passed over."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        if 0 < value < 1e11:
            sighting.note(which, instant(value))

    return take


def placed(pod: str, node: str) -> Take:
    """The value is the first scrape; these labels have its name and node, if it is on one."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.listed = True
        if not labels.get(node):
            return
        sighting.note("first", instant(value))
        sighting.name = sighting.name or labels.get(pod, "")
        sighting.node = sighting.node or labels.get(node)

    return take


def annotations(by_label: Mapping[str, str]) -> Take:
    """The value is the first scrape. ``by_label``: names of annotations."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.told = True
        sighting.mark({by_label[label]: text for label, text in labels.items() if label in by_label}, instant(value))

    return take


def labels_of(user: str, server: str) -> Take:
    """These labels have the pod's labels of the same meaning."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.told = True
        sighting.user_label = sighting.user_label or labels.get(user, "")
        sighting.server_label = sighting.server_label or labels.get(server, "")

    return take


def most(ask: Callable[[Labels], Ask]) -> Take:
    """The value is the most that was asked for."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.most[ask(labels)] = value

    return take


def least(ask: Callable[[Labels], Ask]) -> Take:
    """The value is the least that was asked for."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.least[ask(labels)] = value

    return take


def sidecars(container: str) -> Take:
    """This label names a container that goes on beside the others."""

    def take(sighting: Sighting, labels: Labels, value: float) -> None:
        sighting.sidecars.add(labels.get(container, ""))

    return take
