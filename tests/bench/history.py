"""The life of a hub, made up from a seed: whose pods there were, what they held, from when to when.

What is decided here is the truth. A user's pods follow from the seed and the user's number alone, so a hub of 10,000
users can be walked through without being kept. All times are whole seconds since 1970, as Kubernetes tells them.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from tests.bench import names
from tests.bench.profiles import PLACES

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
HUB: Final = "hub"
#: Profiles of one container, which may be resized in place.
_GROWING: Final = ("small", "medium", "limited", "no-cpu", "nothing")
#: A Saturday morning. The 35 days before it hold a change of clocks in Berlin (29 March), one in Cairo that skips
#: midnight (24 April), and the beginnings of two months.
UNTIL: Final = int(datetime(2026, 5, 2, 10, tzinfo=UTC).timestamp())
#: Instants at which windows or periods begin or clocks are changed, besides those that hang on ``until``.
_EDGES: Final = tuple(
    int(datetime.fromisoformat(text).timestamp())
    for text in (
        "2026-03-29T01:00:00Z",  # Berlin: 02:00 is 03:00
        "2026-03-31T22:00:00Z",  # Berlin: April begins
        "2026-04-19T22:00:00Z",  # Berlin: a week begins
        "2026-04-23T22:00:00Z",  # Cairo: midnight is 01:00
        "2026-04-25T03:00:00Z",  # São Paulo: midnight
        "2026-04-30T22:00:00Z",  # Berlin: May begins
        "2026-05-01T21:00:00Z",  # Cairo: midnight
    )
)


class Ending(StrEnum):
    """How a pod's end came to be known."""

    FINISHED = "finished"  # its containers' ends are told
    DELETED = "deleted"  # it was gone at once
    NEVER_RAN = "never ran"  # placed; its image could not be had
    EVICTED = "evicted"  # failed, and nothing says when its containers ended
    WRONG_CLOCK = "wrong clock"  # its node says that it ended in an hour's time


class Told(StrEnum):
    """Which annotations say whose a pod is."""

    HUB = "KubeSpawner's"
    PRIMEHUB = "PrimeHub's"
    GROUP = "a group alone"


class Life(NamedTuple):
    """One pod. ``resizes``: when, and to which profile.

    ``placed`` None: it never was. ``ended`` None: it runs. ``gone`` None: its object is still there. ``server`` None:
    it is not a server. ``restarted`` None: no container of it ever was.
    """

    uid: str
    name: str
    user: str | None
    server: str | None
    told: Told
    profile: int
    created: int
    placed: int | None
    ended: int | None
    gone: int | None
    ending: Ending
    groups: tuple[str, ...] = ()
    chosen: str | None = None
    resizes: tuple[tuple[int, int], ...] = ()
    restarted: int | None = None

    @property
    def charged(self) -> frozenset[str]:
        """The groups whose pools it charges."""
        return frozenset(self.groups if self.chosen is None else (self.chosen,))


@dataclass(frozen=True)
class Member:
    """A user, and the groups before and from ``changes`` on."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    changes: int

    def groups(self, at: int) -> tuple[str, ...]:
        """The user's groups at an instant."""
        return self.before if at < self.changes else self.after


@dataclass(frozen=True)
class Hub:
    """A hub of so many users over so many days up to ``until``. ``busy``: how often they start servers, 1 as a rule."""

    users: int = 2000
    days: int = 35
    seed: int = 1
    until: int = UNTIL
    busy: float = 1.0

    @property
    def start(self) -> int:
        """The first second."""
        return self.until - self.days * DAY

    def groups(self) -> list[str]:
        """All groups: a few large ones, and courses."""
        return ["staff", "students", "research", *(f"course-{n}" for n in range(1 + self.users // 25))]

    def members(self) -> list[Member]:
        """All users."""
        return [self._member(i, name) for i, name in enumerate(names.users(self.users))]

    def lives(self) -> Iterator[Life]:
        """All pods, user by user; then those without a user."""
        for i, member in enumerate(self.members()):
            yield from self.lives_of(i, member)
        yield from self._of_groups()

    def lives_of(self, i: int, member: Member) -> Iterator[Life]:
        """One user's pods."""
        yield from _Author(self, i, member).write()

    def luck(self, *what: object) -> random.Random:
        """Numbers that depend on the seed and on ``what`` alone."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, what))}")

    def _member(self, i: int, name: str) -> Member:
        luck, groups = self.luck("member", i), self.groups()

        def some() -> tuple[str, ...]:
            return tuple(sorted(luck.sample(groups, luck.choice((0, 1, 1, 2, 2, 3)))))

        before = some()
        moves = luck.random() < 0.2
        return Member(name, before, some() if moves else before, luck.randrange(self.start, self.until))

    def _of_groups(self) -> Iterator[Life]:
        for group in self.groups():
            luck = self.luck("group", group)
            for n in range(luck.choice((0, 0, 1, 2))):
                start = self.start + luck.randrange(self.days * DAY)
                end = start + luck.randrange(HOUR, 9 * DAY)
                name = f"deployment-{group}-{n}"
                told = luck.choice((Told.GROUP, Told.PRIMEHUB))
                life = Life(
                    f"g-{group}-{n}", name, None, None, told, PLACES["worker"], start, start, end, end, Ending.DELETED
                )
                yield self.cut(life._replace(chosen=group))

    def cut(self, life: Life) -> Life:
        """As it is known at ``until``: what lies after it has not happened."""
        return life._replace(
            placed=_known(life.placed, self.until),
            ended=_known(life.ended, self.until),
            gone=_known(life.gone, self.until),
            resizes=tuple(r for r in life.resizes if r[0] <= self.until),
            restarted=_known(life.restarted, self.until),
        )


def _known(at: int | None, until: int) -> int | None:
    return at if at is not None and at <= until else None


class _Author:
    """Writes one user's life, from day to day."""

    def __init__(self, hub: Hub, i: int, member: Member) -> None:
        self.hub, self.i, self.member = hub, i, member
        self.luck = hub.luck("user", i)
        # Most look in now and then; some live here, and leave their servers on.
        self.daily, self.long = self.luck.choice(((0.15, 0.02), (0.15, 0.05), (0.5, 0.05), (0.5, 0.1), (1.5, 0.25)))
        self.profile = self.luck.choice(("small",) * 6 + ("medium",) * 4 + ("limited", "large", "gpu", "mig", "shared"))
        self.servers = ("",) if self.luck.random() < 0.7 else ("", "second", "training with a long name")
        self.free = dict.fromkeys(self.servers, hub.start)
        self.count = 0

    def write(self) -> Iterator[Life]:
        for day in range(self.hub.days):
            midnight = self.hub.start + day * DAY
            weekend = datetime.fromtimestamp(midnight, UTC).weekday() >= 5
            starts = sorted(self._start(midnight) for _ in range(self._sessions(weekend)))
            for start in starts:
                yield from self._session(start)
        if self.i < len(names.ODD) or self.i % 50 == 0:
            yield from self._on_edges()

    def _sessions(self, weekend: bool) -> int:
        expected = self.daily * self.hub.busy * (0.25 if weekend else 1)
        return int(expected) + (self.luck.random() < expected % 1)

    def _start(self, midnight: int) -> int:
        # Most come between ten and four; the night has some too.
        hours = self.luck.gauss(13, 3) if self.luck.random() < 0.9 else self.luck.uniform(0, 24)
        return midnight + int(min(max(hours, 0), 23.99) * HOUR)

    def _session(self, created: int) -> Iterator[Life]:
        server = self.luck.choice(self.servers)
        if created < self.free[server] or created > self.hub.until:
            return
        life = self._server(server, created, self._length())
        self.free[server] = life.gone if life.gone is not None else self.hub.until + DAY
        yield self.hub.cut(life)
        if self.luck.random() < 0.06:
            yield from self._workers(life)

    def _length(self) -> int:
        kind = self.luck.random()
        if kind < 0.3:
            return self.luck.randrange(3, 10 * MINUTE)
        if kind < 1 - self.long:
            return self.luck.randrange(10 * MINUTE, 6 * HOUR)
        return self.luck.randrange(6 * HOUR, 4 * DAY)

    def _server(self, server: str, created: int, length: int) -> Life:
        luck = self.luck
        placed = created + luck.choice((0, 1, 1, 2, 5, 240))
        ending = luck.choices(tuple(Ending), (86, 8, 2, 2, 2))[0]
        groups = self.member.groups(created)
        profile = self.profile if luck.random() < 0.8 else luck.choice(("small", "unpacking", "no-cpu", "nothing"))
        life = self._life(server, PLACES[profile], created, placed, placed + length, ending)
        life = life._replace(groups=groups, chosen=luck.choice(groups) if groups and luck.random() < 0.15 else None)
        if luck.random() < 0.01:  # never placed, and given up
            return life._replace(placed=None, ended=None, gone=created + 10 * MINUTE)
        if profile in _GROWING and luck.random() < 0.05 and length > 10 * MINUTE:
            first, second = placed + length // 3, placed + length // 2
            grown = ((first, PLACES["grown"]), (second, PLACES["grown-more"]))
            life = life._replace(resizes=grown[: luck.choice((1, 2))])
        if luck.random() < 0.05 and length > 5 * MINUTE:
            life = life._replace(restarted=placed + length // 4)
        return life

    def _life(self, server: str, profile: int, created: int, placed: int, ended: int, ending: Ending) -> Life:
        self.count += 1
        at_once = ending in (Ending.DELETED, Ending.NEVER_RAN)
        # A dead pod's object may linger until the user comes back, or somebody sweeps.
        linger = 0 if at_once else 3 * DAY if self.luck.random() < 0.05 else self.luck.randrange(6, 40)
        if ending is Ending.WRONG_CLOCK:
            linger = 20
        return Life(
            f"u-{self.i}-{self.count}",
            names.pod_name(self.member.name, server),
            self.member.name,
            server,
            Told.HUB,
            profile,
            created,
            placed,
            ended,
            ended + linger,
            ending,
        )

    def _workers(self, server: Life) -> Iterator[Life]:
        """Pods that a user's server starts."""
        if server.placed is None or server.ended is None or server.ended - server.placed < 20 * MINUTE:
            return
        for n in range(self.luck.randrange(1, 9)):
            start = self.luck.randrange(server.placed + MINUTE, server.ended - MINUTE)
            end = self.luck.randrange(start + 1, server.ended + 1)
            self.count += 1
            life = Life(
                f"w-{self.i}-{self.count}",
                f"dask-worker-{self.i}-{self.count}-{n}",
                server.user,
                None,
                Told.PRIMEHUB,
                PLACES["worker"],
                start,
                start,
                end,
                end,
                Ending.DELETED,
                server.groups,
                server.chosen,
            )
            yield self.hub.cut(life)

    def _on_edges(self) -> Iterator[Life]:
        """Servers that begin or end on the very second at which a window or a day begins, or clocks are changed."""
        until = self.hub.until
        edges = [*_EDGES, *(until - days * DAY for days in (1, 7, 30)), until - 1, until]
        for n, edge in enumerate(edges):
            for server, start, end in ((f"to{n}", edge - 30 * MINUTE, edge), (f"from{n}", edge, edge + 15 * MINUTE)):
                if self.hub.start <= start <= until:
                    life = self._life(server, PLACES["small"], start, start, end, Ending.FINISHED)
                    yield self.hub.cut(life._replace(groups=self.member.groups(start)))
