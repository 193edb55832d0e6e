"""What an admin wants, as the engine takes it: plain values, already checked."""

from dataclasses import dataclass
from enum import StrEnum


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
        return self.everyone or user in self.users or bool(self.groups & groups)


@dataclass(frozen=True, slots=True)
class Policy:
    """One valid QuotaPolicy. ``limit`` in base units x microseconds, or a count where ``window`` is None.

    ``limit`` None: unlimited. ``window``: microseconds of a rolling window; None: counted at once.
    """

    name: str
    scope: Scope
    resource: str
    limit: int | None
    unit: str
    window: int | None
    window_text: str = ""
    shared: bool = False
    combine: Combine = Combine.MIN
    enforcement: Enforcement = Enforcement.DENY
    except_profiles: frozenset[str] = frozenset()
    warn_at: int = 90
    message: str = ""
