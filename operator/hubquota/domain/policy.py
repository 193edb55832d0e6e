"""What an admin wants, as the engine takes it: plain values, already checked."""

from dataclasses import dataclass
from enum import StrEnum

from hubquota.domain.measure import SERVERS, Measure
from hubquota.domain.windows import Window


class Enforcement(StrEnum):
    """What a used-up quota does to a launch."""

    DENY = "Deny"
    WARN = "Warn"
    OBSERVE = "Observe"


class Combine(StrEnum):
    """How a PerUser policy goes together with the user's others of the same kind (S13)."""

    MIN = "Min"
    MAX = "Max"
    SUM = "Sum"
    OVERRIDE = "Override"


@dataclass(frozen=True, slots=True)
class Scope:
    """Who: named users and members of groups (the union), or everyone, or whom nothing else covers."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    everyone: bool = False
    fallback: bool = False

    def names(self, user: str, groups: frozenset[str]) -> bool:
        """Whether the user is meant without regard to ``fallback``. Names match exactly (S8)."""
        return self.everyone or user in self.users or not self.groups.isdisjoint(groups)

    def through(self, user: str, groups: frozenset[str]) -> tuple[str, ...]:
        """The groups by which the user is meant, where it is by groups alone (S10)."""
        return () if self.everyone or user in self.users else tuple(sorted(self.groups & groups))


@dataclass(frozen=True, slots=True)
class Policy:
    """One valid QuotaPolicy.

    ``limit``: base units x microseconds over a window; a count of servers at once; bytes of storage. None: unlimited.
    ``window`` None: servers counted at once, or storage.
    """

    name: str
    scope: Scope
    measure: Measure
    limit: int | None
    unit: str
    window: Window | None
    shared: bool = False
    combine: Combine = Combine.MIN
    enforcement: Enforcement = Enforcement.DENY
    except_profiles: frozenset[str] = frozenset()
    warn_at: int = 90
    message: str = ""

    @property
    def resource(self) -> str:
        """What is limited, as the policy names it."""
        return self.measure.resource

    @property
    def at_once(self) -> bool:
        """Whether it counts servers at once, those on their way too (S23)."""
        return self.window is None and self.resource == SERVERS

    def holds_at(self, at: int) -> bool:
        """Whether it gives anybody a quota at ``at``; an event's policy does only during the event (S3)."""
        return self.window is None or self.window.holds_at(at)
