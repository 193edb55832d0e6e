"""A hub's history as both have it, and those of its users on whom both come to the same verdict.

The peer charges some users for pods of others, and misses pods of some (its way of counting is in samples.py). Who is
faster at a wrong answer is nobody's concern: only users launch on whom its way of counting and the truth agree, now
and for as long as the benchmark runs, with some room to each limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from hubquota.domain.metering import Meter
from tests.bench.history import DAY, HOUR, MINUTE, Hub, Life, Member
from tests.bench.hook.limits import GROUP, KINDS, Limit
from tests.bench.hook.samples import Counted, Series, series
from tests.bench.hook.workers import Launch
from tests.bench.scale import loaded
from tests.bench.truth import Truth, used

_MICROS: Final = 1_000_000
#: How long what runs is taken to run on, and how long verdicts have to stay as they are.
_AHEAD: Final = 2 * HOUR
_LASTING: Final = 30 * MINUTE
#: How near to a limit nobody is, and how much of what they used both differ about.
_ROOM: Final = 0.02
_LIKE: Final = 0.1
_UNITS: Final = {"memory": 2**30 * HOUR * _MICROS, "cpu": 1000 * HOUR * _MICROS}


class Person(NamedTuple):
    """A user who launches. ``samples``: what the peer is given of them for 30 days; ``over``: limits used up."""

    launch: Launch
    samples: int
    over: frozenset[Limit]

    def refused(self, limits: Sequence[Limit]) -> bool:
        """Whether a launch is to be refused under these limits."""
        return not self.over.isdisjoint(limits)


@dataclass(frozen=True)
class World:
    """The history of one hub. Pods that were resized are left out: they are one series of two amounts.

    ``beyond``: as many of the users with usage have used more than a limit.
    """

    hub: Hub
    beyond: float = 0.03

    @cached_property
    def lives(self) -> list[Life]:
        """All pods that were placed."""
        return [life for life in self.hub.lives() if life.placed is not None and not life.resizes]

    @cached_property
    def members(self) -> list[Member]:
        """All users."""
        return self.hub.members()

    @cached_property
    def meter(self) -> Meter:
        """As the operator knows it."""
        return loaded(self.lives)

    @cached_property
    def series(self) -> list[Series]:
        """As Prometheus knows it."""
        return series(self.lives, self.hub.until + _AHEAD)

    @cached_property
    def limits(self) -> list[Limit]:
        """All limits: a few users have used more than each."""
        return [Limit(resource, days, self._limit(resource, days)) for resource, days in KINDS]

    @cached_property
    def people(self) -> list[Person]:
        """Those on whom both agree, from those of whom the peer is given least."""
        counted = Counted(self.series)
        found = [self._person(member, counted) for member in self.members]
        return sorted((p for p in found if p is not None and p.samples), key=lambda p: (p.samples, p.launch.user))

    def light(self) -> list[Person]:
        """Those of the lower half."""
        return self.people[: len(self.people) // 2]

    def heavy(self) -> list[Person]:
        """The upper tenth."""
        return self.people[-max(1, len(self.people) // 10) :]

    def groups(self, member: Member) -> tuple[str, ...]:
        """A user's groups now, as the hub knows them."""
        return tuple(sorted({GROUP, *member.groups(self.hub.until)}))

    @cached_property
    def _truth(self) -> Truth:
        return Truth(self.lives)

    def used(self, user: str, limit: Limit, after: int = 0) -> float:
        """GiB-hours or CPU-hours that a user has truly used, so many seconds after the history ends."""
        now = self.hub.until
        amount = used(limit.ours(), self._truth.by_user.get(user, ()), now + after, known=now)
        return amount / _UNITS[limit.resource]

    def _limit(self, resource: str, days: int) -> int:
        any_limit = Limit(resource, days, 1)
        found = sorted(amount for m in self.members if (amount := self.used(m.name, any_limit)) > 0)
        return max(1, int(found[int(len(found) * (1 - self.beyond))])) if found else 1

    def _person(self, member: Member, counted: Counted) -> Person | None:
        """None: they do not agree on this user."""
        over = frozenset(limit for limit in self.limits if self.used(member.name, limit) >= limit.value)
        if not all(self._agreed(member.name, limit, limit in over, counted) for limit in self.limits):
            return None
        now = self.hub.until
        launch = Launch(member.name, self.groups(member))
        return Person(launch, counted.samples(member.name, now - 30 * DAY, now), over)

    def _agreed(self, user: str, limit: Limit, over: bool, counted: Counted) -> bool:
        """Whether both say so, now and later, and for the same use."""
        for after in (0, _LASTING):
            at = self.hub.until + after
            true = self.used(user, limit, after)
            peers = counted.used(user, limit.resource, at - limit.days * DAY, at)
            if abs(peers - true) > _LIKE * true + _ROOM * limit.value:
                return False
            if not (_clear(true, limit, over) and _clear(peers, limit, over)):
                return False
        return True


def _clear(amount: float, limit: Limit, over: bool) -> bool:
    """Whether an amount is on its side of a limit, and not by a hair."""
    return amount >= limit.value * (1 + _ROOM) if over else amount <= limit.value * (1 - _ROOM)
